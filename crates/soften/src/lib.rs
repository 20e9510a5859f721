//! How a diffusion model softens latents, and networks that imitate it.
//!
//! [`sdedit`] makes pairs of a clean latent and what a diffusion model makes of it after some noise; [`proxy`] learns them; [`flow`] trains a
//! small flow model for a VAE that has none. The models are [`wan_dit`] and, for captions, [`umt5`] and `text` (cargo feature `text`);
//! [`velocity`] is the flow between latent and noise; [`latents`] reads folders of latents.
//!
//! This crate never trains a decoder: `vae2x-train` uses a finished proxy through `vae2x-nn`, and never sees this crate.

pub mod flow;
pub mod latents;
pub mod proxy;
pub mod sdedit;
#[cfg(feature = "text")]
pub mod text;
pub mod umt5;
pub mod velocity;
pub mod wan_dit;
