//! Latent files: what ComfyUI, diffusers, WanVideoWrapper, torch and numpy save, as `[B, 16, T, h, w]`.
//!
//! [`LatentFile::open`] finds the tensor and brings it into one layout; [`decide_space`] says whether it is raw or
//! normalized, how sure that is and why; [`write_latent`] writes files that those programs read.

mod file;
mod layout;
mod space;
mod write;

pub use file::{LatentFile, LatentOptions, Origin, look_at_latent};
pub use layout::pack;
pub use space::{Decision, SpaceChoice, decide_space};
pub use write::{LatentFormat, write_latent};

/// The tensor of ComfyUI's SaveLatent.
const COMFY_TENSOR: &str = "latent_tensor";
/// An empty tensor whose presence says that [`COMFY_TENSOR`] is as the VAE made it.
const COMFY_VERSION: &str = "latent_format_version_0";
/// The tensor's name in files of diffusers users, and in those written here.
const LATENTS: &str = "latents";
/// The metadata entry of files written here that names the space: `raw` or `normalized`.
const SPACE_MARKER: &str = "latent_space";
/// Metadata that ComfyUI carries along, and finds again in PNG text chunks.
pub(crate) const TEXTS: [&str; 2] = ["prompt", "workflow"];
