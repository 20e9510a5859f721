//! The weights of a VAE from a file or a diffusers folder of any supported layout, under canonical names and shapes.
//!
//! Opening reads headers only and checks everything: which model this is, whether tensors are missing or unknown, whether
//! shapes and types fit. Reading a tensor then goes to the file.

use std::collections::BTreeMap;
use std::path::Path;

use super::assign::Report;
use super::dtype::DType;
use super::file::TensorFile;
use super::folder::FileNames;
use super::identify::{self, Place};
use super::keys::KeyMap;
use super::layout::{Layout, copying_time_conv, with_zero_taps};
use super::model::{ModelTensors, ModelWeights};
use super::{Weights, copy_tensor};
use crate::arch::{self, TensorSpec};
use crate::array::Array;
use crate::config::VaeConfig;
use crate::error::{Error, Result, list};

/// The weights of a VAE.
#[derive(Debug)]
pub struct VaeWeights {
    weights: ModelWeights,
    config: VaeConfig,
    layout: Layout,
    prefix: String,
    /// Prefixes of other copies in the file.
    copies: Vec<String>,
    dtypes: BTreeMap<DType, usize>,
}

/// Tensors that no trained model has, as the file names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Weights, not biases, that are zeros alone.
    pub zero: Vec<String>,
    /// Tensors with NaN or infinities.
    pub not_finite: Vec<String>,
}

impl VaeWeights {
    /// Opens a file, a diffusers folder (`config.json` and `diffusion_pytorch_model*.safetensors`, also in shards), a
    /// folder with such a folder named `vae`, or a folder with a single `.safetensors` or `.pth` file. A `config.json`
    /// beside a file counts if the file has diffusers' names.
    ///
    /// # Errors
    /// [`Error::Io`] for files that cannot be read; [`Error::Format`] for broken ones and impossible configurations;
    /// [`Error::NotThisModel`] for other models; [`Error::TensorSet`] for missing or unknown tensors; [`Error::Tensor`]
    /// for a wrong shape or type.
    pub fn open(path: &Path) -> Result<Self> {
        Self::build(ModelTensors::open(path, FileNames::VAE)?)
    }

    /// Takes an open file, with the text of its `config.json` if it has one. The text counts only if the file has
    /// diffusers' names.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_file(file: TensorFile, config_json: Option<&str>) -> Result<Self> {
        Self::build(ModelTensors::from_file(file, config_json.map(String::from)))
    }

    fn build(tensors: ModelTensors) -> Result<Self> {
        let place = identify::place(&tensors)?;
        let config = identify::config(&tensors, &place)?;
        let Place {
            layout,
            prefix,
            copies,
        } = place;
        let keys = KeyMap::new(&config);
        let wanted = arch::tensors(&config).into_iter().filter_map(|spec| {
            let shape = layout.file_shape(&spec)?;
            let name = file_name(layout, &prefix, &keys, &spec.name);
            Some((TensorSpec { shape, ..spec }, name))
        });
        let weights = tensors.assign(wanted, |name| !identify::is_own(name, &prefix))?;
        Ok(Self {
            dtypes: weights.dtypes(),
            weights,
            config,
            layout,
            prefix,
            copies,
        })
    }

    /// What was opened: a file or a folder.
    pub fn path(&self) -> &Path {
        self.weights.path()
    }

    /// The files that hold the tensors, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.weights.files()
    }

    /// The layout found.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What stands before all names of the model in the file.
    pub fn prefix(&self) -> &str {
        &self.prefix
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
        self.weights.parameters()
    }

    /// What became of the file's tensors.
    pub fn report(&self) -> &Report {
        self.weights.report()
    }

    /// How many tensors are quantized with a scale.
    pub fn scaled(&self) -> usize {
        self.weights.report().scaled.len()
    }

    /// Notes on tensors at the model's own place in the file that it does not have, such as counters and losses, and on other
    /// copies of the model. What other models a bundle holds is nothing to note.
    pub fn notes(&self) -> Vec<String> {
        self.note_on_tensors()
            .into_iter()
            .chain(self.note_on_copies())
            .collect()
    }

    fn note_on_copies(&self) -> Option<String> {
        let shown = |prefix: &str| match prefix {
            "" => "the one without a prefix".to_owned(),
            prefix => format!("'{prefix}'"),
        };
        let others: Vec<String> = self.copies.iter().map(|prefix| shown(prefix)).collect();
        (!others.is_empty()).then(|| {
            let (path, taken, others) = (
                self.path().display(),
                shown(&self.prefix),
                others.join(", "),
            );
            format!("{path}: it holds several copies of the VAE; {taken} is taken, not {others}")
        })
    }

    fn note_on_tensors(&self) -> Option<String> {
        let ignored = self.weights.report().ignored.iter();
        let here: Vec<String> = ignored
            .filter(|name| name.starts_with(&self.prefix))
            .cloned()
            .collect();
        (!here.is_empty()).then(|| {
            let (path, count) = (self.path().display(), here.len());
            let tensors = if count == 1 { "tensor" } else { "tensors" };
            let names = list(&here);
            format!("{path}: {count} {tensors} beside the VAE's ignored: {names}")
        })
    }

    /// Reads a tensor's values in the canonical shape: type and little-endian bytes, those of the file but for 8-bit floats
    /// and scaled tensors ([`ModelWeights::exact_dtype`]). Taps that a 2-D file lacks are filled in as [`super::layout`]
    /// describes.
    ///
    /// # Errors
    /// [`Error::Tensor`] if `spec` is not of this model; [`Error::Io`].
    pub fn tensor_bytes(&self, spec: &TensorSpec) -> Result<(DType, Vec<u8>)> {
        if let Some(shape) = self.layout.file_shape(spec) {
            let (dtype, bytes) = self.weights.bytes(&spec.name, &shape)?;
            return Ok(match self.layout {
                Layout::TwoD => (dtype, with_zero_taps(spec, dtype, bytes)),
                Layout::Original | Layout::Diffusers => (dtype, bytes),
            });
        }
        // The 2-D layout lacks convolutions over time.
        let dtype = self.made_dtype();
        let bytes = dtype.narrow(&copying_time_conv(spec));
        Ok((dtype, bytes.ok_or_else(|| self.not_of_this_model(spec))?))
    }

    /// The type of [`Self::tensor_bytes`].
    pub fn tensor_dtype(&self, spec: &TensorSpec) -> DType {
        let dtype = self.weights.exact_dtype(&spec.name);
        dtype.unwrap_or_else(|| self.made_dtype())
    }

    /// The type of tensors that the file lacks: that of most others.
    fn made_dtype(&self) -> DType {
        match self.dtype() {
            dtype if dtype.is_fp8() => DType::BF16,
            dtype => dtype,
        }
    }

    /// Reads all tensors and lists those that no trained model has.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn find_oddities(&self) -> Result<Oddities> {
        let mut found = Oddities::default();
        for spec in arch::tensors(&self.config) {
            let Some(name) = self.weights.name_in_file(&spec.name) else {
                continue;
            };
            let tensor = self.widened(&spec)?;
            if tensor.data().iter().any(|v| !v.is_finite()) {
                found.not_finite.push(name.into());
            } else if spec.shape.len() > 1 && tensor.data().iter().all(|v| *v == 0.0) {
                found.zero.push(name.into());
            }
        }
        Ok(found)
    }

    /// A tensor as it is, in `f32`.
    fn widened(&self, spec: &TensorSpec) -> Result<Array> {
        let (dtype, bytes) = self.tensor_bytes(spec)?;
        let values = dtype.widen(&bytes);
        let values = values.ok_or_else(|| self.not_of_this_model(spec))?;
        Array::new(spec.shape.clone(), values)
    }

    fn not_of_this_model(&self, spec: &TensorSpec) -> Error {
        Error::Tensor {
            path: self.path().to_path_buf(),
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
        let tensor = self.widened(spec)?;
        if self.weights.name_in_file(&spec.name).is_some() {
            self.weights.check_finite(&spec.name, tensor.data())?;
        }
        Ok(tensor)
    }

    fn read(&self, spec: &TensorSpec, out: &mut [f32]) -> Result<()> {
        if self.has_time() {
            // The canonical shape is that of the file.
            return self.weights.read(&spec.name, &spec.shape, out);
        }
        copy_tensor(spec, &self.tensor(spec)?, out)
    }

    fn has_time(&self) -> bool {
        self.layout != Layout::TwoD
    }
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
