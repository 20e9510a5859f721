//! Writes weights in another layout, precision or output scale.
//!
//! Tensors go through one at a time, as bytes: where neither precision nor scale changes, every element keeps its bits.
//! 8-bit floats are widened, and quantized weights multiplied by their scales, which the file that is written has not.
//! What a 2-D file lacks is filled in as [`super::layout`] describes.

use std::collections::BTreeMap;
use std::path::Path;

use super::dtype::DType;
use super::keys::KeyMap;
use super::layout::{Layout, last_taps};
use super::vae::VaeWeights;
use super::write::{Entry, write_safetensors};
use super::{Weights, folder, hub_config};
use crate::arch::{self, TensorSpec};
use crate::config::VaeConfig;
use crate::error::{Error, Result};
use crate::temp;

/// The convolution that [`ConvertOptions::to_2x`] widens.
const LAST_CONVOLUTION: &str = "decoder.head.2.";
/// Output channels of a 2x decoder per output channel of a base decoder.
const CHANNELS_PER_PIXEL: usize = 4;

/// How to convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertOptions {
    /// Names and shapes.
    pub layout: Layout,
    /// Element type; `None` keeps each tensor's own, or what holds its values where that is an 8-bit float.
    pub dtype: Option<DType>,
    /// Turns a base decoder into a 2x decoder that repeats each pixel four times.
    pub to_2x: bool,
}

/// Converts a model. `out` is a `.safetensors` file; for [`Layout::Diffusers`] it may also be a folder (any other name),
/// which gets `diffusion_pytorch_model.safetensors`. A `config.json` is put beside diffusers' weights; the other layouts
/// carry the latent statistics in the metadata.
///
/// # Errors
/// [`Error::BadRequest`] for a type that is not floating point or a name that does not fit; [`Error::NotThisModel`] for a
/// 2x decoder to be made 2x; [`Error::Tensor`] for values that the type cannot hold; reading and writing errors. No
/// half-written file remains.
pub fn convert(weights: &VaeWeights, options: &ConvertOptions, out: &Path) -> Result<()> {
    let conversion = Conversion::new(weights, options)?;
    match (options.layout, is_safetensors(out)) {
        (Layout::Diffusers, true) => {
            conversion.write_diffusers(out, &out.with_file_name(folder::CONFIG))
        }
        (Layout::Diffusers, false) => in_new_folder(out, |folder| {
            conversion.write_diffusers(&folder.join(folder::WEIGHTS), &folder.join(folder::CONFIG))
        }),
        (_, true) => conversion.write(out, &hub_config::metadata(&conversion.config)?),
        (layout, false) => Err(Error::BadRequest(format!(
            "{}: weights of the {layout} layout go to a file whose name ends in .safetensors",
            out.display()
        ))),
    }
}

fn is_safetensors(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("safetensors"))
}

/// Runs `fill` in a folder, which is made if need be and removed again if `fill` fails.
fn in_new_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let is_new = !path.exists();
    std::fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
    fill(path).inspect_err(|_| {
        if is_new {
            // Empty after a failure; what is not empty stays.
            let _ = std::fs::remove_dir(path);
        }
    })
}

struct Conversion<'a> {
    weights: &'a VaeWeights,
    options: &'a ConvertOptions,
    /// The configuration of the model that is written.
    config: VaeConfig,
    keys: KeyMap,
    /// By name in the file that is written.
    specs: BTreeMap<String, TensorSpec>,
}

impl<'a> Conversion<'a> {
    fn new(weights: &'a VaeWeights, options: &'a ConvertOptions) -> Result<Self> {
        let mut config = weights.config().clone();
        if options.to_2x {
            if config.scale()? != 1 {
                return Err(Error::NotThisModel {
                    path: weights.path().to_path_buf(),
                    found: format!(
                        "the decoder has {} output channels; only a base decoder, with 3, can be made 2x",
                        config.out_channels
                    ),
                });
            }
            config.out_channels *= CHANNELS_PER_PIXEL;
        }
        if let Some(dtype) = options.dtype.filter(|d| !d.is_float()) {
            return Err(Error::BadRequest(format!(
                "weights cannot be written as {dtype}; expected F32, F16, BF16 or F64"
            )));
        }
        Ok(Self {
            keys: KeyMap::new(&config),
            specs: BTreeMap::new(),
            weights,
            options,
            config,
        }
        .with_specs())
    }

    fn with_specs(mut self) -> Self {
        let specs = arch::tensors(self.weights.config()).into_iter();
        let specs = specs.filter(|s| self.options.layout.file_shape(s).is_some());
        self.specs = specs.map(|s| (self.name(&s.name), s)).collect();
        self
    }

    fn name(&self, canonical: &str) -> String {
        let diffusers = self
            .keys
            .diffusers(canonical)
            .filter(|_| self.options.layout == Layout::Diffusers);
        diffusers.unwrap_or(canonical).to_string()
    }

    fn write_diffusers(&self, file: &Path, config: &Path) -> Result<()> {
        let json = hub_config::to_json(&self.config)?;
        // Both files or none: the small one is tried before the large one is written.
        drop(temp::TempFile::create(config)?);
        self.write(
            file,
            &BTreeMap::from([("format".to_string(), "pt".to_string())]),
        )?;
        temp::write_bytes(config, json.as_bytes())
    }

    fn write(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
        let entries = self
            .specs
            .iter()
            .map(|(name, spec)| self.entry(name, spec))
            .collect::<Result<Vec<_>>>()?;
        write_safetensors(path, &entries, metadata, |entry| self.bytes(entry))
    }

    fn entry(&self, name: &str, spec: &TensorSpec) -> Result<Entry> {
        let mut shape = self
            .options
            .layout
            .file_shape(spec)
            .unwrap_or_else(|| spec.shape.clone());
        if self.widens(spec) {
            shape[0] *= CHANNELS_PER_PIXEL;
        }
        let dtype = self
            .options
            .dtype
            .unwrap_or_else(|| self.weights.tensor_dtype(spec));
        Ok(Entry {
            name: name.into(),
            dtype,
            shape,
        })
    }

    fn widens(&self, spec: &TensorSpec) -> bool {
        self.options.to_2x && spec.name.starts_with(LAST_CONVOLUTION)
    }

    fn bytes(&self, entry: &Entry) -> Result<Vec<u8>> {
        let spec = self
            .specs
            .get(&entry.name)
            .ok_or_else(|| Error::Config(format!("no tensor '{}'", entry.name)))?;
        let (dtype, bytes) = self.weights.tensor_bytes(spec)?;
        let bytes = if self.options.layout == Layout::TwoD {
            last_taps(spec, dtype, &bytes)
        } else {
            bytes
        };
        let bytes = if self.widens(spec) {
            repeat_rows(&bytes, spec.shape[0])
        } else {
            bytes
        };
        if dtype == entry.dtype {
            return Ok(bytes);
        }
        retype(&bytes, dtype, entry.dtype).ok_or_else(|| Error::Tensor {
            path: self.weights.path().to_path_buf(),
            tensor: entry.name.clone(),
            expected: format!("values that {} can hold", entry.dtype),
            got: "larger ones".into(),
        })
    }
}

/// Repeats each of `rows` equal parts, so that channel `c` becomes channels `4c` to `4c + 3`: the pixels of one block.
fn repeat_rows(bytes: &[u8], rows: usize) -> Vec<u8> {
    let row = (bytes.len() / rows.max(1)).max(1);
    bytes
        .chunks_exact(row)
        .flat_map(|r| std::iter::repeat_n(r, CHANNELS_PER_PIXEL))
        .flatten()
        .copied()
        .collect()
}

/// Converts elements by way of `f32`; `None` if a finite value overflows.
fn retype(bytes: &[u8], from: DType, to: DType) -> Option<Vec<u8>> {
    let values = from.widen(bytes)?;
    let out = to.narrow(&values)?;
    let finite = |values: &[f32]| values.iter().filter(|v| v.is_finite()).count();
    (finite(&to.widen(&out)?) == finite(&values)).then_some(out)
}
