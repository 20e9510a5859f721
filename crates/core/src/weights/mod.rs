//! Weights of a VAE from any public file, under canonical names and shapes.
//!
//! [`Weights`] is what engines load from: tensors by their names in [`crate::arch`], always `f32`, always of the canonical
//! shape, whatever the file's layout and precision.
//!
//! - [`file`](mod@file) opens safetensors, torch, npy and npz files and reads tensors one at a time; it knows nothing of models;
//! - [`vae`] finds a VAE in them: [`layout`] and [`keys`] know its published forms, [`Report`] lists what was found;
//! - [`model`] assigns the tensors of any model, given a list of names and shapes, and multiplies quantized ones by their
//!   scales;
//! - [`write`](mod@write) and [`convert`](mod@convert) write models; [`formula`] makes them up.
//!
//! Files are hostile: every size in a header is checked against the file before memory is allocated for it, and no file
//! runs code.

mod archive;
mod assign;
pub mod convert;
pub mod dtype;
pub mod file;
mod folder;
mod foreign;
pub mod formula;
pub mod hub_config;
mod identify;
pub mod keys;
mod kind;
pub mod layout;
pub mod model;
mod npy;
mod npz;
mod pickle;
mod pickle_heap;
mod pickle_names;
mod rescale;
mod safetensors;
mod scales;
mod slice;
mod source;
mod table;
mod torch;
pub mod vae;
pub mod write;

pub use assign::Report;
pub use convert::{ConvertOptions, convert, convert_with_encoder};
pub use dtype::DType;
pub use file::{Format, TensorFile};
pub use folder::FileNames;
pub use kind::{ModelKind, is_weight_name, model_kind};
pub use layout::Layout;
pub use model::{ModelTensors, ModelWeights};
pub use rescale::OutputScale;
pub use table::TensorInfo;
pub use vae::{Oddities, VaeWeights};

use crate::arch::TensorSpec;
use crate::array::Array;
use crate::config::VaeConfig;
use crate::error::{Error, Result};

/// A complete set of tensors for a model.
pub trait Weights: Send + Sync {
    /// The model they are for.
    fn config(&self) -> &VaeConfig;

    /// Reads a tensor, widened to `f32`, in the canonical shape.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold the tensor in that shape.
    fn tensor(&self, spec: &TensorSpec) -> Result<Array>;

    /// As [`Self::tensor`], into `out`, which has exactly the tensor's size.
    ///
    /// # Errors
    /// As [`Self::tensor`], or if the size is another.
    fn read(&self, spec: &TensorSpec, out: &mut [f32]) -> Result<()> {
        copy_tensor(spec, &self.tensor(spec)?, out)
    }

    /// Whether there are temporal taps; without them (2-D files) only images can be run.
    fn has_time(&self) -> bool {
        true
    }
}

/// Copies a tensor to `out`.
fn copy_tensor(spec: &TensorSpec, tensor: &Array, out: &mut [f32]) -> Result<()> {
    if tensor.data().len() != out.len() {
        return Err(Error::Shape {
            what: format!("room for tensor '{}'", spec.name),
            expected: format!("the values of shape {:?}", spec.shape),
            got: format!("{} values", out.len()),
        });
    }
    out.copy_from_slice(tensor.data());
    Ok(())
}
