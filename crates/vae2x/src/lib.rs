//! Decode and encode images and clips with the VAE of Wan2.1, Wan2.2-14B, Qwen-Image, Krea 2 and Anima, from any public
//! weight layout, at base resolution or twice that.
//!
//! ```
//! # fn main() -> vae2x::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # std::env::set_current_dir(folder.path()).unwrap();
//! # // Raw as ComfyUI saves it, and normalized as diffusers has it: the same latent.
//! # let config = Vae::open("demo:2x")?.config().clone();
//! # let values = vae2x::Array::new([1, 16, 1, 8, 8], (0..1024).map(|i| (0.7 * i as f32).sin()).collect())?;
//! # let normalized = vae2x_core::latent::Normalized::new(values)?;
//! # let write = |path: &str, space| {
//! #     let options = vae2x_media::latent::WriteOptions { space: Some(space), ..Default::default() };
//! #     let raw = normalized.clone().denormalize(&config)?;
//! #     vae2x_media::latent::write_raw(path.as_ref(), &raw, &config, &options)
//! # };
//! # write("picture.latent", vae2x::Space::Raw)?;
//! # write("picture.safetensors", vae2x::Space::Normalized)?;
//! use vae2x::{Latent, Vae};
//!
//! let vae = Vae::open("demo:2x")?.build()?; // a path, a hub id, or a bundled demo model
//! let image = vae.decode(&Latent::open("picture.latent")?)?; // raw or normalized is settled inside
//! image.save("picture.png")?;
//! # assert!(std::path::Path::new("picture.png").exists());
//! # assert_eq!(image.array().shape(), [1, 3, 1, 128, 128]);
//! # let same = vae.decode(&Latent::open("picture.safetensors")?)?;
//! # let difference = |(a, b): (&f32, &f32)| (a - b).abs();
//! # let both = image.array().data().iter().zip(same.array().data());
//! # assert!(both.map(difference).fold(0.0, f32::max) < 1e-4);
//! # // The statistics of the other space give another image.
//! # let wrong = vae.decode(&Latent::raw(normalized.array().clone())?)?;
//! # let both = image.array().data().iter().zip(wrong.array().data());
//! # assert!(both.map(difference).fold(0.0, f32::max) > 1e-2);
//! # Ok(()) }
//! ```
//!
//! A clip streams through a session, one latent frame in, one or four frames out, in memory that does not grow with it:
//!
//! ```
//! # use vae2x::{Array, Extent, Vae};
//! # fn main() -> vae2x::Result<()> {
//! # let vae = Vae::open("demo:2x")?.build()?;
//! # let latent_frames = [Array::zeros([16, 1, 2, 2]), Array::zeros([16, 1, 2, 2])];
//! let mut clip = vae.decoder(Extent { frames: 2, cells: [2, 2] })?;
//! let mut count = 0;
//! for latent_frame in &latent_frames {
//!     count += clip.step(latent_frame)?.len();
//! }
//! assert_eq!(count, 5);
//! # Ok(()) }
//! ```

mod batch;
mod demo;
mod device;
mod finish;
mod image;
mod latent;
mod memory;
mod open;
mod pixels;
mod session;
mod upscale;
mod vae;

pub use batch::{BatchDecoder, DecodedFrame};
pub use demo::DEMO_MODELS;
#[cfg(feature = "cuda-llvm")]
pub use device::restart_for_cuda;
pub use device::{Api, Check, Device, check_device, is_built};
#[cfg(feature = "burn")]
pub use device::{DeviceInfo, devices, memory_for_training, open_for_training};
pub use finish::{ClipFinisher, Colours, Detail, Finish, Finisher, Light, Overshoot, Taking};
pub use image::Image;
pub use latent::{Latent, LatentOptions};
pub use memory::{available_bytes, check_bytes, check_memory};
pub use open::{local_path, open_weights};
pub use pixels::Pixels;
pub use session::{DecodeSession, EncodeSession, join_frames};
pub use upscale::{EnlargeSession, RefineSession, Upscale, in_turn};
pub use vae::{Vae, VaeBuilder};
#[doc(inline)]
pub use vae2x_core::engine::Progress;
#[doc(inline)]
pub use vae2x_core::latent::Space;
#[doc(inline)]
pub use vae2x_core::{Array, Cancel, Error, Estimate, Extent, Precision, Result, VaeConfig};
#[doc(inline)]
pub use vae2x_media::latent::{Axes, Decision, SpaceChoice};
