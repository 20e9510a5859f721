//! Samples on a device.

use burn::tensor::{Device, Tensor};
use vae2x_core::Array;
use vae2x_nn::array::to_tensor;

use crate::Result;
use crate::data::Sample;

/// Images on the device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The photos.
    pub names: Vec<String>,
    /// `[B, 3, H, W]` in [-1, 1]
    pub target: Tensor<4>,
    /// `[B, 3, H / r, W / r]` in [-1, 1]
    pub input: Tensor<4>,
}

impl Batch {
    /// Copies samples of one size to the device.
    ///
    /// # Errors
    /// If sizes differ.
    pub fn new(samples: Vec<Sample>, device: &Device) -> Result<Self> {
        let stack = |part: fn(&Sample) -> &Array, what: &str| {
            let parts: Vec<_> = samples.iter().map(|s| part(s).clone()).collect();
            to_tensor(&Array::stack(&parts)?, what, device)
        };
        Ok(Self {
            target: stack(|s| &s.target, "targets")?,
            input: stack(|s| &s.input, "inputs")?,
            names: samples.iter().map(|s| s.name.clone()).collect(),
        })
    }
}
