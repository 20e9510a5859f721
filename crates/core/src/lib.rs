//! Plain data and maths of the Wan2.1 VAE: configuration, the layer list, weight files, latents, the engine contract.
//!
//! Everything here is safe, single-threaded and free of any tensor library, so that the burn modules (`vae2x-nn`) and
//! the CPU engine (`vae2x-cpu`) can share it without depending on each other. In the order the data flows:
//!
//! 1. [`weights`] opens a file of any public layout and hands out tensors under their canonical (original) names;
//! 2. [`config`] holds the model's configuration and counts frames, [`arch`] turns it into an ordered list of layers;
//! 3. [`latent`] types a latent as raw or normalized;
//! 4. an [`engine`] is built from those and runs one latent frame at a time.

pub mod arch;
pub mod array;
pub mod cancel;
pub mod config;
pub mod device;
pub mod engine;
pub mod error;
pub mod files;
pub mod latent;
pub mod precision;
pub mod temp;
pub mod weights;

pub use array::Array;
pub use cancel::Cancel;
pub use config::VaeConfig;
pub use engine::{Estimate, Extent};
pub use error::{Error, Result};
pub use precision::Precision;
