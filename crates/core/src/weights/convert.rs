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
use super::rescale::{OutputScale, Rows, mean_rows, repeat_rows};
use super::vae::VaeWeights;
use super::write::{Entry, write_safetensors};
use super::{Weights, folder, hub_config};
use crate::arch::{self, TensorSpec};
use crate::config::VaeConfig;
use crate::error::{Error, Result};
use crate::temp;

/// How to convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertOptions {
    /// Names and shapes.
    pub layout: Layout,
    /// Element type; `None` keeps each tensor's own, or what holds its values where that is an 8-bit float.
    pub dtype: Option<DType>,
    /// The scale of the decoder's output.
    pub scale: OutputScale,
}

/// As [`convert_with_encoder`], with the model's own encoder.
///
/// # Errors
/// As [`convert_with_encoder`].
pub fn convert(weights: &VaeWeights, options: &ConvertOptions, out: &Path) -> Result<()> {
    convert_with_encoder(weights, None, options, out)
}

/// Converts a model, whose encoder is replaced by that of `encoder` if it is given. `out` is a `.safetensors` file; for [`Layout::Diffusers`] it may also be a folder (any other name),
/// which gets `diffusion_pytorch_model.safetensors`. A `config.json` is put beside diffusers' weights; the other layouts
/// carry the latent statistics in the metadata.
///
/// # Errors
/// [`Error::BadRequest`] for a type that is not floating point, a name that does not fit, or an encoder of another latent
/// space; [`Error::NotThisModel`] for a 2x decoder to be made 2x or a base decoder to be made 1x; [`Error::Tensor`] for
/// values that the type cannot hold; reading and writing errors. No half-written file remains.
pub fn convert_with_encoder(
    weights: &VaeWeights,
    encoder: Option<&VaeWeights>,
    options: &ConvertOptions,
    out: &Path,
) -> Result<()> {
    let conversion = Conversion::new(weights, encoder, options)?;
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
    /// Where the encoder's tensors come from.
    encoder: &'a VaeWeights,
    options: &'a ConvertOptions,
    rows: Rows,
    /// The configuration of the model that is written.
    config: VaeConfig,
    keys: KeyMap,
    /// By name in the file that is written; shapes are those of the source.
    specs: BTreeMap<String, TensorSpec>,
}

impl<'a> Conversion<'a> {
    fn new(
        weights: &'a VaeWeights,
        encoder: Option<&'a VaeWeights>,
        options: &'a ConvertOptions,
    ) -> Result<Self> {
        let mut config = weights.config().clone();
        let rows = Rows::new(options.scale, &config).map_err(|found| Error::NotThisModel {
            path: weights.path().to_path_buf(),
            found,
        })?;
        if let Some(encoder) = encoder {
            check_encoder(encoder, &config)?;
            config.encoder_base_dim = encoder.config().encoder_base_dim;
        }
        if let Some(dtype) = options.dtype.filter(|d| !d.is_float()) {
            return Err(Error::BadRequest(format!(
                "weights cannot be written as {dtype}; expected F32, F16, BF16 or F64"
            )));
        }
        let sources = arch::tensors(&config).into_iter();
        let sources = sources.filter(|s| options.layout.file_shape(s).is_some());
        let sources: Vec<TensorSpec> = sources.collect();
        config.out_channels = rows.count(config.out_channels);
        let mut conversion = Self {
            keys: KeyMap::new(&config),
            specs: BTreeMap::new(),
            weights,
            encoder: encoder.unwrap_or(weights),
            options,
            rows,
            config,
        };
        conversion.specs = sources
            .into_iter()
            .map(|s| (conversion.name(&s.name), s))
            .collect();
        Ok(conversion)
    }

    /// The model that a tensor comes from.
    fn source(&self, spec: &TensorSpec) -> &VaeWeights {
        match arch::is_of_encoder(&spec.name) {
            true => self.encoder,
            false => self.weights,
        }
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
        if self.rows.change(spec) {
            shape[0] = self.rows.count(shape[0]);
        }
        let dtype = self
            .options
            .dtype
            .unwrap_or_else(|| self.source(spec).tensor_dtype(spec));
        Ok(Entry {
            name: name.into(),
            dtype,
            shape,
        })
    }

    fn bytes(&self, entry: &Entry) -> Result<Vec<u8>> {
        let spec = self
            .specs
            .get(&entry.name)
            .ok_or_else(|| Error::Config(format!("no tensor '{}'", entry.name)))?;
        let source = self.source(spec);
        let (dtype, bytes) = source.tensor_bytes(spec)?;
        let bytes = if self.options.layout == Layout::TwoD {
            last_taps(spec, dtype, &bytes)
        } else {
            bytes
        };
        let rows = if self.rows.change(spec) {
            self.rows
        } else {
            Rows::Keep
        };
        let written = match rows {
            Rows::Mean(group) => mean_rows(&bytes, [dtype, entry.dtype], spec.shape[0], group),
            Rows::Repeat(times) => {
                let bytes = repeat_rows(&bytes, spec.shape[0], times);
                retype(bytes, dtype, entry.dtype)
            }
            Rows::Keep => retype(bytes, dtype, entry.dtype),
        };
        written.ok_or_else(|| Error::Tensor {
            path: source.path().to_path_buf(),
            tensor: entry.name.clone(),
            expected: format!("values that {} can hold", entry.dtype),
            got: "larger ones".into(),
        })
    }
}

/// Refuses an encoder whose latents are not those that the decoder of `config` reads.
fn check_encoder(encoder: &VaeWeights, config: &VaeConfig) -> Result<()> {
    let theirs = encoder.config();
    let shape = |c: &VaeConfig| {
        let channels = (c.image_channels, c.z_dim);
        (
            channels,
            c.dim_mult,
            c.num_res_blocks,
            c.temporal_downsample,
        )
    };
    let problem = if shape(theirs) != shape(config) {
        "its stages, its latent channels or its input channels are others"
    } else if differ(&theirs.latents_mean, &config.latents_mean)
        || differ(&theirs.latents_std, &config.latents_std)
    {
        "the statistics of its latents are others"
    } else {
        return Ok(());
    };
    Err(Error::BadRequest(format!(
        "{}: this encoder does not fit the decoder: {problem}",
        encoder.path().display()
    )))
}

/// Whether two lists of statistics are those of different latents, not roundings of the same.
fn differ(a: &[f32], b: &[f32]) -> bool {
    /// Statistics are published with four decimals.
    const ROUNDING: f32 = 1e-3;
    a.len() != b.len() || a.iter().zip(b).any(|(a, b)| (a - b).abs() > ROUNDING)
}

/// Converts elements by way of `f32`, or not at all; `None` if a finite value overflows.
fn retype(bytes: Vec<u8>, from: DType, to: DType) -> Option<Vec<u8>> {
    if from == to {
        return Some(bytes);
    }
    let values = from.widen(&bytes)?;
    let out = to.narrow(&values)?;
    let finite = |values: &[f32]| values.iter().filter(|v| v.is_finite()).count();
    (finite(&to.widen(&out)?) == finite(&values)).then_some(out)
}
