//! Decode and encode images and clips with the VAE of Wan2.1, Wan2.2-14B, Qwen-Image, Krea 2 and Anima, from any public
//! weight layout, at base resolution or twice that.
//!
//! ```
//! use vae2x::{Latent, Vae};
//!
//! # fn main() -> vae2x::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let (latent, picture) = (folder.path().join("picture.latent"), folder.path().join("picture.png"));
//! # Latent::raw(vae2x::Array::zeros([1, 16, 1, 2, 3]))?.save(&latent)?;
//! let vae = Vae::open("demo:2x")?.build()?; // a path, a hub id, or a bundled demo model
//! let image = vae.decode(&Latent::open(&latent)?)?; // raw or normalized is settled inside
//! image.save(&picture)?;
//! # assert_eq!(image.array().shape(), [1, 3, 1, 32, 48]);
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

pub use demo::DEMO_MODELS;
pub use device::{Api, Device};
#[cfg(feature = "burn")]
pub use device::{DeviceInfo, devices, memory_for_training, open_for_training};
pub use finish::{Colours, Detail, Finish, Finisher, Light, Taking};
pub use image::Image;
pub use latent::{Latent, LatentOptions};
pub use memory::{available_bytes, check_memory};
pub use open::{local_path, open_weights};
pub use pixels::Pixels;
pub use session::{DecodeSession, EncodeSession, join_frames};
pub use upscale::{RefineSession, Upscale, in_turn};
pub use vae::{Vae, VaeBuilder};
pub use vae2x_core::engine::Progress;
pub use vae2x_core::latent::Space;
pub use vae2x_core::{Array, Error, Estimate, Extent, Precision, Result, VaeConfig};
pub use vae2x_media::latent::{Decision, SpaceChoice};
