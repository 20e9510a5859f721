//! How an image is cut so that the work fits a device: bands of rows, and how many cells the attention takes at a time.
//!
//! A band costs more than its share, because it needs rows around it, so there are as few as the estimates in
//! [`super::memory`] allow.

mod bands;
pub(in crate::wan_vae) mod decode;
pub(in crate::wan_vae) mod demand;
pub(in crate::wan_vae) mod encode;
pub(super) mod stages;
#[cfg(test)]
mod tests;
