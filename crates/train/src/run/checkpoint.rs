//! Checkpoint files: named tensors and metadata, all of a run's state in one safetensors file.
//!
//! Names are `PREFIX.NAME`, one prefix for each set of weights; see [`Adam::read`](super::Adam::read) for the optimizer's. Everything
//! random follows from the seed and the step, so no random state is stored.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, temp};
use vae2x_nn::wan_vae::parameters;

use crate::{Error, Result};

/// The weights of a module, named `PREFIX.NAME` after `specs`.
///
/// # Errors
/// If the device fails.
pub fn weights(
    prefix: &str,
    module: &impl Module,
    specs: &[TensorSpec],
) -> Result<Vec<(String, Array)>> {
    let named = |(name, array)| (format!("{prefix}.{name}"), array);
    let arrays = parameters::read(module, specs)?;
    Ok(arrays.into_iter().map(named).collect())
}

/// Writes arrays under their names; when this returns, the file outlasts a power cut.
///
/// # Errors
/// Writing errors: what was there before stays.
pub fn write(
    path: &Path,
    arrays: &[(String, Array)],
    metadata: BTreeMap<String, String>,
) -> Result<()> {
    let arrays: Vec<(&str, &Array)> = arrays
        .iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect();
    write_arrays(path, &arrays, &metadata)?;
    Ok(temp::sync_folder_of(path)?)
}

/// A tensor, if the file has it.
///
/// # Errors
/// Reading errors.
pub fn find(file: &TensorFile, name: &str) -> Result<Option<Array>> {
    let known = file.tensors().contains_key(name);
    Ok(known.then(|| file.read(name)).transpose()?)
}

/// An entry of the metadata, parsed.
///
/// # Errors
/// [`Error::Run`] if the file lacks it, and so is not a checkpoint, or if `parse` fails.
pub fn metadata<T, E: std::fmt::Display>(
    file: &TensorFile,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T> {
    let text = file.metadata().get(key).ok_or_else(|| {
        let problem = format!("not a checkpoint of a training run: '{key}' is missing");
        Error::run(file.path(), problem)
    })?;
    parse(text).map_err(|e| Error::run(file.path(), format!("{key}: {e}")))
}
