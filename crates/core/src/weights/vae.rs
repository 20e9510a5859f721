//! The weights of a VAE from a file or a diffusers folder of any supported layout, under canonical names and shapes.
//!
//! Opening reads headers only and settles everything that can be wrong: which model this is, whether all tensors are
//! there, whether there are others, whether shapes and types fit. Reading a tensor then goes to the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dtype::DType;
use super::file::{TensorFile, TensorInfo};
use super::folder::{self, FileNames};
use super::keys::KeyMap;
use super::layout::{Layout, copying_time_conv, is_time_conv, with_zero_taps};
use super::{Weights, copy_tensor, identify};
use crate::arch::{self, TensorSpec};
use crate::array::{Array, element_count};
use crate::config::VaeConfig;
use crate::error::{Error, Result};

/// What became of a file's tensors. Opening fails unless `missing` and `unused` are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Canonical names of the tensors found.
    pub applied: Vec<String>,
    /// Tensors that the model needs and the file lacks, as the file would name them.
    pub missing: Vec<String>,
    /// Tensors that the file has and the model does not know, as the file names them. Those of the other models of a
    /// bundled checkpoint are not counted.
    pub unused: Vec<String>,
}

/// Where a tensor is.
#[derive(Clone, Debug)]
struct Slot {
    /// Index of the file, for models in several.
    file: usize,
    /// Name there.
    name: String,
}

/// The weights of a VAE.
#[derive(Debug)]
pub struct VaeWeights {
    path: PathBuf,
    files: Vec<TensorFile>,
    config: VaeConfig,
    layout: Layout,
    prefix: &'static str,
    /// By canonical name.
    slots: BTreeMap<String, Slot>,
    dtypes: BTreeMap<DType, usize>,
    parameters: usize,
    report: Report,
}

impl VaeWeights {
    /// Opens a file, a diffusers folder (`config.json` and `diffusion_pytorch_model*.safetensors`, also in shards), a
    /// folder with such a folder named `vae`, or a folder with a single `.safetensors` or `.pth` file. A `config.json`
    /// beside a file counts if the file has diffusers' names.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] for files that cannot be read; [`Error::Unsupported`] for other models;
    /// [`Error::TensorSet`] for missing or unknown tensors; [`Error::Tensor`] for a wrong shape or type;
    /// [`Error::Config`] for impossible configurations.
    pub fn open(path: &Path) -> Result<Self> {
        let found = folder::find(path, FileNames::VAE)?;
        let files = found
            .files
            .iter()
            .map(|p| TensorFile::open(p))
            .collect::<Result<Vec<_>>>()?;
        Self::build(path.to_path_buf(), files, found.config.as_deref())
    }

    /// Takes an open file, with the text of its `config.json` if it has one. The text counts only if the file has
    /// diffusers' names.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_file(file: TensorFile, config_json: Option<&str>) -> Result<Self> {
        Self::build(file.path().to_path_buf(), vec![file], config_json)
    }

    fn build(path: PathBuf, files: Vec<TensorFile>, config_json: Option<&str>) -> Result<Self> {
        let names = join(&files)?;
        let infos = |name: &str| {
            names
                .get(name)
                .and_then(|&file| files[file].tensors().get(name))
        };
        let (layout, prefix) = identify::layout(&path, names.keys().map(String::as_str), infos)?;
        let config = identify::config(&path, layout, config_json, &files, |name| {
            infos(&format!("{prefix}{name}"))
        })?;
        let mut weights = Self {
            path,
            config,
            layout,
            prefix,
            slots: BTreeMap::new(),
            dtypes: BTreeMap::new(),
            parameters: 0,
            report: Report::default(),
            files,
        };
        weights.assign(names)?;
        Ok(weights)
    }

    /// Finds a slot for every tensor of the model.
    fn assign(&mut self, mut names: BTreeMap<String, usize>) -> Result<()> {
        let keys = KeyMap::new(&self.config);
        let specs = arch::tensors(&self.config);
        for spec in specs.iter().filter(|s| self.layout.file_shape(s).is_some()) {
            let name = file_name(self.layout, self.prefix, &keys, &spec.name);
            match names.remove(&name) {
                Some(file) => {
                    self.report.applied.push(spec.name.clone());
                    self.slots.insert(spec.name.clone(), Slot { file, name });
                }
                None => self.report.missing.push(name),
            }
        }
        self.report.unused = names
            .into_keys()
            .filter(|n| !identify::is_elsewhere(n, self.prefix))
            .collect();
        if !(self.report.missing.is_empty() && self.report.unused.is_empty()) {
            let (missing, unused) = (self.report.missing.clone(), self.report.unused.clone());
            return Err(Error::TensorSet {
                path: self.path.clone(),
                missing,
                unused,
            });
        }
        for spec in &specs {
            self.check(spec)?;
        }
        Ok(())
    }

    /// Checks shape and type of a tensor and counts it.
    fn check(&mut self, spec: &TensorSpec) -> Result<()> {
        let Some(slot) = self.slots.get(&spec.name) else {
            return Ok(());
        };
        let file = &self.files[slot.file];
        let (Some(TensorInfo { dtype, shape }), Some(expected)) =
            (file.tensors().get(&slot.name), self.layout.file_shape(spec))
        else {
            return Ok(());
        };
        if *shape != expected {
            return Err(file.tensor_error(
                &slot.name,
                &format!("shape {expected:?}"),
                &format!("{shape:?}"),
            ));
        }
        if !dtype.is_float() {
            return Err(file.tensor_error(&slot.name, "F32, F16, BF16 or F64", dtype.name()));
        }
        *self.dtypes.entry(*dtype).or_default() += 1;
        self.parameters += element_count(shape).unwrap_or(0);
        Ok(())
    }

    /// What was opened: a file or a folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold the tensors, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(TensorFile::path)
    }

    /// The layout found.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The prefix of all names in the file: one of [`super::keys::PREFIXES`].
    pub fn prefix(&self) -> &str {
        self.prefix
    }

    /// The type of most tensors.
    pub fn dtype(&self) -> DType {
        self.dtypes
            .iter()
            .max_by_key(|(_, count)| **count)
            .map_or(DType::F32, |(dtype, _)| *dtype)
    }

    /// How many tensors have each type.
    pub fn dtypes(&self) -> &BTreeMap<DType, usize> {
        &self.dtypes
    }

    /// Parameters in the file; a 2-D file has fewer than the model it stands for.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// What became of the file's tensors.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Reads a tensor's elements in the canonical shape without changing their bits: type and little-endian bytes. Taps
    /// that a 2-D file lacks are filled in as [`super::layout`] tells.
    ///
    /// # Errors
    /// [`Error::Tensor`] if `spec` is not of this model; [`Error::Io`].
    pub fn tensor_bytes(&self, spec: &TensorSpec) -> Result<(DType, Vec<u8>)> {
        if let Some(slot) = self.slots.get(&spec.name) {
            return self.read_slot(slot, spec);
        }
        if self.layout != Layout::TwoD || !is_time_conv(spec) {
            return Err(self.not_of_this_model(spec));
        }
        let dtype = self.dtype();
        let bytes = dtype
            .narrow(&copying_time_conv(spec))
            .ok_or_else(|| self.not_of_this_model(spec))?;
        Ok((dtype, bytes))
    }

    /// The type of a tensor in the file; [`Self::dtype`] where a 2-D file lacks it.
    pub fn tensor_dtype(&self, spec: &TensorSpec) -> DType {
        let info = self
            .slots
            .get(&spec.name)
            .and_then(|s| self.files[s.file].tensors().get(&s.name));
        info.map_or_else(|| self.dtype(), |info| info.dtype)
    }

    fn read_slot(&self, slot: &Slot, spec: &TensorSpec) -> Result<(DType, Vec<u8>)> {
        let (dtype, shape, bytes) = self.files[slot.file].read_bytes(&slot.name)?;
        if Some(&shape) != self.layout.file_shape(spec).as_ref() {
            return Err(self.not_of_this_model(spec));
        }
        Ok((
            dtype,
            if self.layout == Layout::TwoD {
                with_zero_taps(spec, dtype, bytes)
            } else {
                bytes
            },
        ))
    }

    fn not_of_this_model(&self, spec: &TensorSpec) -> Error {
        Error::Tensor {
            path: self.path.clone(),
            tensor: spec.name.clone(),
            expected: format!("shape {:?}", spec.shape),
            got: "no such tensor in this model".into(),
        }
    }
}

impl Weights for VaeWeights {
    fn config(&self) -> &VaeConfig {
        &self.config
    }

    fn tensor(&self, spec: &TensorSpec) -> Result<Array> {
        let (dtype, bytes) = self.tensor_bytes(spec)?;
        Array::new(
            spec.shape.clone(),
            dtype
                .widen(&bytes)
                .ok_or_else(|| self.not_of_this_model(spec))?,
        )
    }

    fn read(&self, spec: &TensorSpec, out: &mut [f32]) -> Result<()> {
        match self.slots.get(&spec.name).filter(|_| self.has_time()) {
            // The layout's shapes differ from the canonical ones in nothing but the 2-D layout's missing taps.
            Some(slot) => self.files[slot.file].read_into(&slot.name, out),
            None => copy_tensor(spec, &self.tensor(spec)?, out),
        }
    }

    fn has_time(&self) -> bool {
        self.layout != Layout::TwoD
    }
}

/// Every tensor's file.
pub(crate) fn join(files: &[TensorFile]) -> Result<BTreeMap<String, usize>> {
    let mut names = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        for name in file.tensors().keys() {
            if names.insert(name.clone(), index).is_some() {
                return Err(file.tensor_error(
                    name,
                    "each tensor in one shard",
                    "it in another shard too",
                ));
            }
        }
    }
    Ok(names)
}

/// The name of a tensor in a file.
fn file_name(layout: Layout, prefix: &str, keys: &KeyMap, canonical: &str) -> String {
    let name = if layout == Layout::Diffusers {
        keys.diffusers(canonical).unwrap_or(canonical)
    } else {
        canonical
    };
    format!("{prefix}{name}")
}
