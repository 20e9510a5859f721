//! `core`'s engine over the network: frames are cut into bands that fit the device ([`plan`]), a pass runs them, a stream
//! keeps the past of a clip and starts again in smaller bands where memory runs out.

pub(super) mod burn;
mod memory;
mod pass;
mod place;
pub(super) mod plan;
mod stream;
