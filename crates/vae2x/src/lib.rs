//! Decode and encode images and clips with the VAE of Wan2.1, Wan2.2-14B and Qwen-Image, from any public weight layout, at
//! base resolution or twice that.
//!
//! ```no_run
//! use std::sync::Arc;
//! use vae2x::{Decoder, EngineOptions, core::{latent::Raw, weights::VaeWeights}, media::latent::LatentFile};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let weights = VaeWeights::open("Wan2.1_VAE_upscale2x.safetensors".as_ref())?;
//! let decoder = Decoder::load(Arc::new(weights), &EngineOptions::default())?;
//! let file = LatentFile::open("picture.latent".as_ref(), &Default::default())?;
//! let pixels = decoder.decode(&Raw::new(file.array)?)?; // [B, 3, F, H, W] in [-1, 1]
//! # Ok(()) }
//! ```

mod codec;
pub mod constant;
mod device;
mod host;

pub use codec::{DecodedClip, Decoder, EncodedClip, Encoder, Frame, whole_cells};
pub use device::{Device, EngineOptions, Precision};
pub use host::available_bytes;
pub use vae2x_nn::wan_vae::Parts;
pub use {
    vae2x_compare as compare, vae2x_core as core, vae2x_cpu as cpu, vae2x_media as media,
    vae2x_nn as nn,
};
