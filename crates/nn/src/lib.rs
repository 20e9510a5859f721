//! The networks as burn modules: everything that has a gradient, and inference on any device that burn knows.
//!
//! Modules are built from the layer list and the weights of `vae2x-core`; nothing here opens a file. This is the
//! reference that faster engines are compared with.

pub mod array;
pub mod conv;
#[cfg(any(feature = "cuda-llvm", test))]
pub mod cuda;
pub mod degradation;
pub mod device;
pub mod discriminator;
pub mod layers;
pub mod loss;
mod norm_silu;
pub mod shuffle;
pub mod sort;
pub mod vgg;
pub mod wan_vae;
