//! Weights of a VAE from any public file, under canonical names and shapes.
//!
//! [`Weights`] is what engines load from: tensors by their names in [`crate::arch`], always `f32`, always of the canonical
//! shape, whatever the file's layout and precision.

pub mod formula;

use crate::arch::TensorSpec;
use crate::array::Array;
use crate::config::VaeConfig;
use crate::error::Result;

/// A complete set of tensors for a model.
pub trait Weights: Send + Sync {
    /// The model they are for.
    fn config(&self) -> &VaeConfig;

    /// Reads a tensor, widened to `f32`, in the canonical shape.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold the tensor in that shape.
    fn tensor(&self, spec: &TensorSpec) -> Result<Array>;

    /// Whether temporal taps are there; without them (2-D files) only single frames can be run.
    fn has_time(&self) -> bool {
        true
    }
}
