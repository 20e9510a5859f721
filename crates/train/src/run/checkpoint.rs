//! Checkpoint files: named tensors and metadata, all of a run's state in one safetensors file.
//!
//! Names are `PREFIX.NAME`, one prefix for each set of weights; see [`Adam::read`](super::Adam::read) for the optimizer's. Everything
//! random follows from the seed and the step, so no random state is stored.

use std::collections::BTreeMap;
use std::path::Path;

#[cfg(feature = "networks")]
use burn::module::Module;
#[cfg(feature = "networks")]
use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, temp};
#[cfg(feature = "networks")]
use vae2x_nn::wan_vae::parameters;

use crate::{Error, Result};

/// The weights of a module, named `PREFIX.NAME` after `specs`.
///
/// # Errors
/// If the device fails.
#[cfg(feature = "networks")]
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
/// Values that are not finite; reading errors.
pub fn find(file: &TensorFile, name: &str) -> vae2x_core::Result<Option<Array>> {
    let known = file.tensors().get(name);
    known.map(|info| read(file, name, &info.shape)).transpose()
}

/// A tensor of a shape, all of its values finite.
///
/// # Errors
/// [`Tensor`](vae2x_core::Error::Tensor) for one that is missing or of another shape, [`NotFinite`](vae2x_core::Error::NotFinite); reading
/// errors.
pub fn read(file: &TensorFile, name: &str, shape: &[usize]) -> vae2x_core::Result<Array> {
    check_shape(file, name, shape)?;
    file.read_finite(name)
}

fn check_shape(file: &TensorFile, name: &str, shape: &[usize]) -> vae2x_core::Result<()> {
    let expected = || format!("shape {shape:?}");
    match file.tensors().get(name) {
        Some(info) if info.shape == shape => Ok(()),
        Some(info) => Err(file.tensor_error(name, &expected(), &format!("{:?}", info.shape))),
        None => Err(file.tensor_error(name, &expected(), "no such tensor")),
    }
}

/// The tensors of a run's state, as its checkpoint must hold them.
#[derive(Debug, Default)]
pub struct Expected {
    required: BTreeMap<String, Vec<usize>>,
    /// What an optimizer keeps of a parameter: all three, or none where there never was a gradient.
    states: BTreeMap<String, usize>,
}

impl Expected {
    /// Adds the tensors `PREFIX.NAME` of a set of weights.
    pub fn weights<'a>(
        mut self,
        prefix: &str,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Self {
        let named = |(name, shape): (&str, &[usize])| (format!("{prefix}.{name}"), shape.to_vec());
        self.required.extend(tensors.into_iter().map(named));
        self
    }

    /// Adds what [`Adam::read`](super::optim::Adam::read) gives of the parameters `PREFIX.NAME`.
    pub fn states<'a>(
        mut self,
        prefix: &str,
        parameters: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Self {
        let named =
            |(name, shape): (&str, &[usize])| (format!("{prefix}.{name}"), shape.iter().product());
        self.states.extend(parameters.into_iter().map(named));
        self
    }

    /// Checks that a file has these tensors, in their shapes, and no others.
    ///
    /// # Errors
    /// [`TensorSet`](vae2x_core::Error::TensorSet), [`Tensor`](vae2x_core::Error::Tensor).
    pub fn check(mut self, file: &TensorFile) -> vae2x_core::Result<()> {
        for (name, count) in self.states {
            let parts = [("m", count), ("v", count), ("t", 1)]
                .map(|(part, count)| (format!("{name}.{part}"), vec![count]));
            if parts
                .iter()
                .any(|(name, _)| file.tensors().contains_key(name))
            {
                self.required.extend(parts);
            }
        }
        let (known, unused) = file
            .tensors()
            .keys()
            .cloned()
            .partition::<Vec<_>, _>(|name| self.required.contains_key(name));
        if known.len() < self.required.len() || !unused.is_empty() {
            let lacks = |name: &&String| !file.tensors().contains_key(*name);
            return Err(vae2x_core::Error::TensorSet {
                path: file.path().to_path_buf(),
                missing: self.required.keys().filter(lacks).cloned().collect(),
                unused,
            });
        }
        self.required
            .iter()
            .try_for_each(|(name, shape)| check_shape(file, name, shape))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::Error as CoreError;

    const SHAPE: &[usize] = &[2, 3];

    /// A file of `names`, tensors of 6 values, or 1 for `.t`, in the shape that a state has.
    fn file(folder: &Path, names: &[&str]) -> TensorFile {
        let array = |name: &&str| {
            let shape = match name {
                name if name.ends_with(".t") => vec![1],
                name if name.starts_with("optimizer") => vec![6],
                _ => SHAPE.to_vec(),
            };
            (name.to_string(), Array::zeros(shape))
        };
        let arrays: Vec<_> = names.iter().map(array).collect();
        let path = folder.join("c.safetensors");
        write(&path, &arrays, Default::default()).unwrap();
        TensorFile::open(&path).unwrap()
    }

    fn expected() -> Expected {
        Expected::default()
            .weights("model", [("a", SHAPE), ("b", SHAPE)])
            .states("optimizer", [("a", SHAPE), ("b", SHAPE)])
    }

    #[test]
    fn every_tensor_is_there_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let check = |names: &[&str]| expected().check(&file(folder.path(), names));
        let state = ["optimizer.a.m", "optimizer.a.v", "optimizer.a.t"];
        let whole = [&["model.a", "model.b"][..], &state].concat();
        check(&whole).unwrap();
        check(&whole[..2]).unwrap();
        for (names, lacks, extra) in [
            (&whole[1..], "model.a", None),
            (&whole[..4], "optimizer.a.t", None),
            (&["model.a", "model.c"], "model.b", Some("model.c")),
        ] {
            match check(names) {
                Err(CoreError::TensorSet {
                    missing, unused, ..
                }) => {
                    assert_eq!(missing, [lacks]);
                    assert_eq!(unused.first().map(String::as_str), extra);
                }
                other => panic!("{names:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn shapes_are_compared_and_values_are_finite() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let mut array = Array::zeros([3, 2]);
        write(
            &path,
            &[("model.a".into(), array.clone())],
            Default::default(),
        )
        .unwrap();
        let reversed = TensorFile::open(&path).unwrap();
        for error in [
            Expected::default()
                .weights("model", [("a", SHAPE)])
                .check(&reversed),
            read(&reversed, "model.a", SHAPE).map(drop),
        ] {
            assert!(
                matches!(&error, Err(CoreError::Tensor { tensor, .. }) if tensor == "model.a"),
                "{error:?}"
            );
        }
        array.data_mut()[4] = f32::NAN;
        write(&path, &[("model.a".into(), array)], Default::default()).unwrap();
        match find(&TensorFile::open(&path).unwrap(), "model.a") {
            Err(CoreError::NotFinite { what, count, total }) => {
                assert!(
                    what.contains("c.safetensors") && what.contains("'model.a'"),
                    "{what}"
                );
                assert_eq!((count, total), (1, 6));
            }
            other => panic!("{other:?}"),
        }
    }
}
