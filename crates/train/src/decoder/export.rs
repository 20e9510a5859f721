//! A run's model as a weight file that ComfyUI, diffusers and this program load.
//!
//! What was trained is written in 32-bit floats, or in the type that is asked for; what was not keeps the bytes of the model that
//! the run started from. The last temporal taps, which training on images changes, go back among the others.

use std::path::Path;

use vae2x_core::arch::{self, TensorSpec};
use vae2x_core::weights::write::{Entry, write_safetensors};
use vae2x_core::weights::{
    ConvertOptions, DType, Layout, OutputScale, VaeWeights, Weights, convert, hub_config,
};
use vae2x_core::{Error as CoreError, VaeConfig};

use super::checkpoint::{AVERAGE, Checkpoint, GENERATOR};
use super::config::Part;
use super::images::{image_shape, with_last_tap};
use super::model::Overlay;
use crate::run::checkpoint::read;
use crate::{Error, Result};

/// How to write a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// Names and shapes.
    pub layout: Layout,
    /// Type of the trained tensors.
    pub dtype: DType,
    /// The moving average instead of the last weights; a milestone has one of both.
    pub average: bool,
}

/// Writes the model of a checkpoint. `base` is the model that the run started from; a VAE trained from scratch has none.
///
/// # Errors
/// If the run has no average and one is asked for, or the checkpoint lacks tensors or has values that are not finite; reading and
/// writing errors. No half-written file remains.
pub fn export(
    checkpoint: &Checkpoint,
    base: Option<&VaeWeights>,
    options: &ExportOptions,
    out: &Path,
) -> Result<()> {
    let average = match checkpoint.is_milestone() {
        true => checkpoint.has_average(),
        false => options.average,
    };
    let prefix = if average { AVERAGE } else { GENERATOR };
    if !checkpoint
        .file
        .tensors()
        .keys()
        .any(|name| name.starts_with(&format!("{prefix}.")))
    {
        return Err(Error::Config(
            "the run does not keep a moving average (train.ema = 0)".into(),
        ));
    }
    let scale = checkpoint.config.scale();
    let config = match (base, checkpoint.config.model.base_dim) {
        (Some(base), _) => VaeConfig {
            out_channels: 3 * scale * scale,
            ..base.config().clone()
        },
        (None, Some(width)) if checkpoint.config.part() == Part::Base => {
            VaeConfig::with_widths(width, 3)
        }
        _ => {
            return Err(Error::Config(
                "the model that the run started from is needed".into(),
            ));
        }
    };
    checkpoint.check(&config, !checkpoint.config.is_of_images())?;
    let whole = base
        .filter(|_| checkpoint.config.is_of_images())
        .map(|base| Overlay::new(base, scale, checkpoint.config.model.start))
        .transpose()?;
    let export = Export {
        checkpoint,
        base,
        whole,
        prefix,
        dtype: options.dtype,
    };
    if options.layout == Layout::Original {
        return export.write(&config, out);
    }
    // By way of a file in the original layout.
    let folder = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let original = folder.path().join("model.safetensors");
    export.write(&config, &original)?;
    let conversion = ConvertOptions {
        layout: options.layout,
        dtype: None,
        scale: OutputScale::Keep,
    };
    Ok(convert(&VaeWeights::open(&original)?, &conversion, out)?)
}

struct Export<'a> {
    checkpoint: &'a Checkpoint,
    base: Option<&'a VaeWeights>,
    /// The model as it was before training, where only what images meet was trained.
    whole: Option<Overlay<'a>>,
    prefix: &'a str,
    dtype: DType,
}

impl Export<'_> {
    fn write(&self, config: &VaeConfig, out: &Path) -> Result<()> {
        let specs = arch::tensors(config);
        let entries: Vec<Entry> = specs.iter().map(|spec| self.entry(spec)).collect();
        let find = |entry: &Entry| specs.iter().find(|s| s.name == entry.name);
        Ok(write_safetensors(
            out,
            &entries,
            &hub_config::metadata(config)?,
            |entry| {
                let spec = find(entry)
                    .ok_or_else(|| CoreError::Config(format!("no tensor '{}'", entry.name)))?;
                self.bytes(spec, entry.dtype)
            },
        )?)
    }

    /// Name in the checkpoint, if the tensor was trained.
    fn trained(&self, spec: &TensorSpec) -> Option<String> {
        let name = format!("{}.{}", self.prefix, spec.name);
        self.checkpoint
            .file
            .tensors()
            .contains_key(&name)
            .then_some(name)
    }

    fn entry(&self, spec: &TensorSpec) -> Entry {
        let kept = self.base.filter(|_| self.trained(spec).is_none());
        let dtype = kept.map_or(self.dtype, |base| base.tensor_dtype(spec));
        Entry {
            name: spec.name.clone(),
            dtype,
            shape: spec.shape.clone(),
        }
    }

    fn bytes(&self, spec: &TensorSpec, dtype: DType) -> vae2x_core::Result<Vec<u8>> {
        match (self.trained(spec), self.base) {
            (Some(name), _) => {
                let file = &self.checkpoint.file;
                let values = match &self.whole {
                    Some(whole) => {
                        let last = read(file, &name, &image_shape(spec))?;
                        with_last_tap(whole.tensor(spec)?, &last, spec)?
                    }
                    None => read(file, &name, &spec.shape)?,
                };
                dtype.narrow(values.data()).ok_or_else(|| {
                    CoreError::BadRequest(format!("weights cannot be written as {dtype}"))
                })
            }
            (None, Some(base)) => Ok(base.tensor_bytes(spec)?.1),
            (None, None) => Err(CoreError::format(
                self.checkpoint.file.path(),
                format!("no tensor '{}'", spec.name),
            )),
        }
    }
}
