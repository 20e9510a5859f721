//! Latent files: what ComfyUI, diffusers, WanVideoWrapper, torch and numpy save, as
//! `[B, 16, T, h, w]`.
//!
//! [`LatentFile::open`] finds the tensor and brings it into one layout. Whether its values are raw
//! or normalized is settled on the way out: [`LatentFile::into_raw`] decides, converts and returns
//! its decision. [`write_raw`] and [`write_normalized`] write files that those programs read, in
//! the space that the format can hold.

mod alike;
mod axes;
mod choose;
mod file;
mod frames;
mod known;
mod layout;
mod names;
mod settle;
mod space;
mod write;

use std::path::Path;

pub use axes::Axes;
pub use file::{LatentFile, LatentOptions, Origin, look_at_latent};
pub use frames::LatentFrames;
pub use known::{KnownSpace, known_spaces, space_of};
pub use layout::pack;
pub use space::{Decision, SpaceChoice, decide_space};
pub use write::{LatentFormat, WriteOptions, write_latent, write_normalized, write_raw};

/// Extensions of files that may hold a latent, in lower case.
const EXTENSIONS: [&str; 6] = ["latent", "safetensors", "npy", "npz", "pt", "pth"];

/// Whether a file has the extension of one that may hold a latent.
pub fn is_latent_name(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    extension.is_some_and(|e| EXTENSIONS.contains(&&*e))
}
