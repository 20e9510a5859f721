//! The weights of any model from a file or a folder, given the list of its tensors.
//!
//! In two steps, because a model's sizes often follow from its tensors' shapes alone: [`ModelTensors`] lists what the files
//! hold; [`ModelTensors::assign`] finds every tensor of the model in it and returns [`ModelWeights`], or lists missing and
//! unused tensors. Only headers are read until a tensor is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::assign::Report;
use super::dtype::DType;
use super::file::TensorFile;
use super::folder::{self, FileNames};
use super::scales::Scale;
use super::table::TensorInfo;
use crate::array::{Array, element_count};
use crate::error::{Error, Result};

/// The tensors in the files of a model.
#[derive(Debug)]
pub struct ModelTensors {
    pub(super) path: PathBuf,
    pub(super) files: Vec<TensorFile>,
    /// Every tensor's file.
    pub(super) names: BTreeMap<String, usize>,
    config_json: Option<String>,
}

impl ModelTensors {
    /// Opens a file, or a folder with files named after `kind`, in shards or not, or with a single weight file. A
    /// `config.json` beside them is read.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] for files that cannot be read, [`Error::Tensor`] for a tensor in two shards.
    pub fn open(path: &Path, kind: FileNames) -> Result<Self> {
        let found = folder::find(path, kind)?;
        let files = found
            .files
            .iter()
            .map(|p| TensorFile::open(p))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            path: path.to_path_buf(),
            names: join(&files)?,
            files,
            config_json: found.config,
        })
    }

    /// Takes an open file, with the text of its `config.json` if it has one.
    pub fn from_file(file: TensorFile, config_json: Option<String>) -> Self {
        let names = file
            .tensors()
            .keys()
            .map(|name| (name.clone(), 0))
            .collect();
        Self {
            path: file.path().to_path_buf(),
            files: vec![file],
            names,
            config_json,
        }
    }

    /// The file or the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open files, in order.
    pub(super) fn tensor_files(&self) -> &[TensorFile] {
        &self.files
    }

    /// The files that hold the tensors, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(TensorFile::path)
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.keys().map(String::as_str)
    }

    /// Type and shape of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.files[*self.names.get(name)?].tensors().get(name)
    }

    /// The text of `config.json`.
    pub fn config_json(&self) -> Option<&str> {
        self.config_json.as_deref()
    }
}

/// Where a tensor is.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Index of the file.
    pub file: usize,
    /// Name there.
    pub name: String,
    /// As the model needs it.
    pub shape: Vec<usize>,
    /// What its elements are multiplied by.
    pub scale: Option<Scale>,
}

impl Slot {
    /// Multiplies elements of the file by their scale.
    fn scale_values(&self, values: &mut [f32]) {
        if let Some(scale) = &self.scale {
            scale.apply(values);
        }
    }
}

/// All tensors of a model, under its own names.
#[derive(Debug)]
pub struct ModelWeights {
    pub(super) path: PathBuf,
    pub(super) files: Vec<TensorFile>,
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) report: Report,
}

impl ModelWeights {
    /// The file or the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What became of the files' tensors.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Parameters of the model.
    pub fn parameters(&self) -> usize {
        self.slots
            .values()
            .filter_map(|slot| element_count(&slot.shape))
            .sum()
    }

    /// The files that hold the tensors, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(TensorFile::path)
    }

    /// How many tensors have each type.
    pub fn dtypes(&self) -> BTreeMap<DType, usize> {
        let mut dtypes = BTreeMap::new();
        for name in self.slots.keys() {
            if let Some(dtype) = self.dtype(name) {
                *dtypes.entry(dtype).or_default() += 1;
            }
        }
        dtypes
    }

    /// The type of a tensor in its file; `None` if the model has no such tensor.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        let slot = self.slots.get(name)?;
        let info = self.files[slot.file].tensors().get(&slot.name)?;
        Some(info.dtype)
    }

    /// The type that holds a tensor's values exactly: its own, but for 8-bit floats 16 bits and with a scale 32; `None` if
    /// the model has no such tensor.
    pub fn exact_dtype(&self, name: &str) -> Option<DType> {
        let dtype = self.dtype(name)?;
        let is_scaled = self.slots.get(name)?.scale.is_some();
        Some(match is_scaled {
            true => DType::F32,
            false if dtype.is_fp8() => DType::BF16,
            false => dtype,
        })
    }

    /// Reads a tensor's values by its canonical name as [`Self::exact_dtype`], little-endian: of all but 8-bit floats and
    /// scaled tensors the bits of the file.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn bytes(&self, name: &str, shape: &[usize]) -> Result<(DType, Vec<u8>)> {
        let slot = self.slot(name, shape)?;
        let (dtype, _, bytes) = self.files[slot.file].read_bytes(&slot.name)?;
        let exact = self.exact_dtype(name).unwrap_or(dtype);
        if exact == dtype && slot.scale.is_none() {
            return Ok((dtype, bytes));
        }
        let values = dtype.widen(&bytes).map(|mut values| {
            slot.scale_values(&mut values);
            values
        });
        let bytes = values.and_then(|values| exact.narrow(&values));
        let bytes =
            bytes.ok_or_else(|| self.error(name, "floating point".into(), dtype.to_string()))?;
        Ok((exact, bytes))
    }

    /// As [`Self::tensor`], into `out`, which has exactly the tensor's size.
    ///
    /// # Errors
    /// As [`Self::tensor`], or if the size is another.
    pub fn read(&self, name: &str, shape: &[usize], out: &mut [f32]) -> Result<()> {
        let slot = self.slot(name, shape)?;
        self.files[slot.file].read_into(&slot.name, out)?;
        slot.scale_values(out);
        self.require_finite(slot, out)
    }

    /// Reads a tensor by its canonical name, widened to `f32`.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the model has no such tensor in this shape; [`Error::NotFinite`] if there are values that nothing
    /// can be computed with; [`Error::Io`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Array> {
        let slot = self.slot(name, shape)?;
        let mut tensor = self.files[slot.file].read(&slot.name)?;
        slot.scale_values(tensor.data_mut());
        self.require_finite(slot, tensor.data())?;
        Ok(tensor)
    }

    /// Reads some rows of a tensor by its canonical name, widened to `f32`.
    ///
    /// # Errors
    /// [`Error::Tensor`] if there is no such tensor or row; [`Error::NotFinite`]; [`Error::Io`].
    pub fn rows(&self, name: &str, rows: &[usize]) -> Result<Array> {
        let slot = self.find(name)?;
        let mut read = self.files[slot.file].read_rows(&slot.name, rows)?;
        if let Some(scale) = &slot.scale {
            scale.of(rows).apply(read.data_mut());
        }
        self.require_finite(slot, read.data())?;
        Ok(read)
    }

    /// Refuses weights with which nothing can be computed, as [`Self::read`] does.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the file and the tensor there; [`Error::Tensor`] if there is no such tensor.
    pub(super) fn check_finite(&self, name: &str, values: &[f32]) -> Result<()> {
        self.require_finite(self.find(name)?, values)
    }

    fn require_finite(&self, slot: &Slot, values: &[f32]) -> Result<()> {
        let count = values.iter().filter(|v| !v.is_finite()).count();
        match count {
            0 => Ok(()),
            _ => Err(Error::NotFinite {
                what: format!(
                    "{}: tensor '{}'",
                    self.files[slot.file].path().display(),
                    slot.name
                ),
                count,
                total: values.len(),
            }),
        }
    }

    /// A tensor's name in its file; `None` if the model has no such tensor.
    pub fn name_in_file(&self, name: &str) -> Option<&str> {
        self.slots.get(name).map(|slot| slot.name.as_str())
    }

    fn find(&self, name: &str) -> Result<&Slot> {
        let slot = self.slots.get(name);
        slot.ok_or_else(|| self.error(name, "a tensor of the model".into(), "none".into()))
    }

    /// A tensor of this shape.
    fn slot(&self, name: &str, shape: &[usize]) -> Result<&Slot> {
        let slot = self.find(name)?;
        if slot.shape == shape {
            return Ok(slot);
        }
        let (expected, got) = (format!("shape {shape:?}"), format!("{:?}", slot.shape));
        Err(self.error(name, expected, got))
    }

    fn error(&self, name: &str, expected: String, got: String) -> Error {
        Error::Tensor {
            path: self.path.clone(),
            tensor: name.into(),
            expected,
            got,
        }
    }
}

/// Every tensor's file.
fn join(files: &[TensorFile]) -> Result<BTreeMap<String, usize>> {
    let mut names = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        for name in file.tensors().keys() {
            if names.insert(name.clone(), index).is_some() {
                let (expected, got) = ("each tensor in one shard", "it in another shard too");
                return Err(file.tensor_error(name, expected, got));
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::TensorSpec;
    use crate::weights::DType;
    use crate::weights::write::{Entry, write_arrays, write_safetensors};

    const KIND: FileNames = FileNames {
        stem: "model",
        subfolder: "text_encoder",
    };

    fn spec(name: &str, shape: &[usize]) -> (TensorSpec, String) {
        (
            TensorSpec {
                name: name.to_uppercase(),
                shape: shape.into(),
            },
            name.into(),
        )
    }

    fn ramp(shape: &[usize]) -> Array {
        Array::new(
            shape,
            (0..shape.iter().product()).map(|i| i as f32).collect(),
        )
        .unwrap()
    }

    /// A folder with two shards.
    fn shards(folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        write_arrays(
            &folder.join("model-1.safetensors"),
            &[("a", &ramp(&[4, 3]))],
            &Default::default(),
        )
        .unwrap();
        write_arrays(
            &folder.join("model-2.safetensors"),
            &[("b", &ramp(&[2]))],
            &Default::default(),
        )
        .unwrap();
        let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
        std::fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
        std::fs::write(folder.join("config.json"), "{}").unwrap();
    }

    /// The name, what was expected and what was found.
    #[track_caller]
    fn wrong_tensor(error: Error) -> (String, String, String) {
        match error {
            Error::Tensor {
                tensor,
                expected,
                got,
                ..
            } => (tensor, expected, got),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn shards_of_a_subfolder_are_one_model() {
        let folder = tempfile::tempdir().unwrap();
        shards(&folder.path().join("text_encoder"));
        let tensors = ModelTensors::open(folder.path(), KIND).unwrap();
        assert_eq!(
            (tensors.names().collect::<Vec<_>>(), tensors.config_json()),
            (vec!["a", "b"], Some("{}"))
        );
        let weights = tensors
            .assign([spec("a", &[4, 3]), spec("b", &[2])], |_| false)
            .unwrap();
        assert_eq!(
            (weights.parameters(), weights.report().applied.len()),
            (14, 2)
        );
        assert_eq!(weights.tensor("B", &[2]).unwrap(), ramp(&[2]));
        assert_eq!(
            weights.rows("A", &[2, 0, 2]).unwrap().data(),
            [6.0, 7.0, 8.0, 0.0, 1.0, 2.0, 6.0, 7.0, 8.0]
        );
        let (name, _, got) = wrong_tensor(weights.rows("A", &[4]).unwrap_err());
        assert_eq!((name.to_lowercase().as_str(), got.as_str()), ("a", "row 4"));
        let (name, expected, got) = wrong_tensor(weights.tensor("A", &[3, 4]).unwrap_err());
        assert_eq!((name.as_str(), got.as_str()), ("A", "[4, 3]"));
        assert!(expected.ends_with("[3, 4]"), "{expected}");
        assert_eq!(wrong_tensor(weights.tensor("C", &[1]).unwrap_err()).0, "C");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        shards(folder.path());
        let error = |wanted: &[(TensorSpec, String)]| {
            let tensors = ModelTensors::open(folder.path(), KIND).unwrap();
            tensors.assign(wanted.to_vec(), |_| false).unwrap_err()
        };
        let set = error(&[spec("a", &[4, 3]), spec("c", &[2])]);
        assert!(
            matches!(
                &set,
                Error::TensorSet { path, missing, unused }
                    if path == folder.path() && *missing == ["c"] && *unused == ["b"]
            ),
            "{set:?}"
        );
        let (name, expected, got) = wrong_tensor(error(&[spec("a", &[4, 3]), spec("b", &[3])]));
        assert_eq!((name.as_str(), got.as_str()), ("b", "[2]"));
        assert!(expected.ends_with("[3]"), "{expected}");
        let tensors = ModelTensors::open(folder.path(), KIND).unwrap();
        assert!(
            tensors
                .assign([spec("a", &[4, 3])], |name| name == "b")
                .is_ok()
        );
    }

    #[test]
    fn types_without_a_meaning_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.safetensors");
        let entry = Entry {
            name: "a".into(),
            dtype: DType::I8,
            shape: vec![2],
        };
        write_safetensors(&file, &[entry], &Default::default(), |_| Ok(vec![0; 2])).unwrap();
        let tensors = ModelTensors::open(&file, KIND).unwrap();
        let refused = tensors.assign([spec("a", &[2])], |_| false);
        let (name, _, got) = wrong_tensor(refused.unwrap_err());
        assert_eq!((name.as_str(), got.as_str()), ("a", "I8"));
    }
}
