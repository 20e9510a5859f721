//! Latent files: what ComfyUI, diffusers, WanVideoWrapper, torch and numpy save, as `[B, 16, T, h, w]`.
//!
//! [`LatentFile::open`] finds the tensor and brings it into one layout; [`decide_space`] says whether it is raw or
//! normalized, how sure that is and why; [`write_latent`] writes files that those programs read.

mod file;
mod layout;
mod names;
mod space;
mod write;

pub use file::{LatentFile, LatentOptions, Origin, look_at_latent};
pub use layout::pack;
pub use space::{Decision, SpaceChoice, decide_space};
pub use write::{LatentFormat, write_latent};
