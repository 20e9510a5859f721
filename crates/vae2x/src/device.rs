//! From a device's name to a loaded engine.

use vae2x_core::Result;
use vae2x_core::engine::Engine;
use vae2x_core::weights::Weights;
use vae2x_nn::wan_vae::{BurnEngine, Parts};

/// Devices of this build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor, through burn.
    #[default]
    Cpu,
}

/// Which half of the model to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Latents to pixels.
    Decoder,
    /// Pixels to latents.
    Encoder,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// The device.
    pub device: Device,
}

/// Loads one half of a model.
///
/// # Errors
/// If the weights cannot be read or their configuration is impossible.
pub(crate) fn load(weights: &dyn Weights, side: Side, options: &EngineOptions) -> Result<Box<dyn Engine>> {
    let parts = match side {
        Side::Decoder => Parts::Decoder,
        Side::Encoder => Parts::Encoder,
    };
    match options.device {
        Device::Cpu => Ok(Box::new(BurnEngine::load("burn-flex", weights, parts, &burn::tensor::Device::flex())?)),
    }
}
