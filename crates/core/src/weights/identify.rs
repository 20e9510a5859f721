//! Tells from names and shapes which layout a file has and which model it holds.

use std::path::Path;

use super::file::{TensorFile, TensorInfo};
use super::foreign::{self, WAN22_5B};
use super::hub_config;
use super::keys::PREFIXES;
use super::layout::Layout;
use crate::config::VaeConfig;
use crate::error::{Error, Result};

/// Prefixes of the other models in a bundled checkpoint.
const OTHER_MODELS: [&str; 6] = [
    "model.",
    "cond_stage_model.",
    "conditioner.",
    "text_encoder",
    "transformer.",
    "diffusion_model.",
];

/// Tensors whose shapes tell the configuration (encoder width, decoder width, output and latent channels), and one more
/// whose name tells the model.
struct Telling {
    encoder_norm: &'static str,
    encoder_in: &'static str,
    decoder_norm: &'static str,
    decoder_out: &'static str,
    post_quant: &'static str,
}

const ORIGINAL: Telling = Telling {
    encoder_norm: "encoder.head.0.gamma",
    encoder_in: "encoder.conv1.weight",
    decoder_norm: "decoder.head.0.gamma",
    decoder_out: "decoder.head.2.weight",
    post_quant: "conv2.weight",
};

const DIFFUSERS: Telling = Telling {
    encoder_norm: "encoder.norm_out.gamma",
    encoder_in: "encoder.conv_in.weight",
    decoder_norm: "decoder.norm_out.gamma",
    decoder_out: "decoder.conv_out.weight",
    post_quant: "post_quant_conv.weight",
};

/// Layout and prefix of a model's names; `info` finds a tensor by its name in the file.
///
/// # Errors
/// [`Error::Unsupported`] if the file holds another model, naming it where it is known.
pub(crate) fn layout<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str> + Clone,
    info: impl Fn(&str) -> Option<&'a TensorInfo>,
) -> Result<(Layout, &'static str)> {
    for prefix in PREFIXES {
        let has = |name: &str| info(&format!("{prefix}{name}")).is_some();
        // One of the two is enough: what is missing is reported later.
        if has(DIFFUSERS.decoder_norm) || has(DIFFUSERS.encoder_norm) {
            return ours(path, prefix, names).map(|()| (Layout::Diffusers, prefix));
        }
        if has(ORIGINAL.decoder_norm) || has(ORIGINAL.encoder_norm) {
            ours(path, prefix, names)?;
            let weight = info(&format!("{prefix}{}", ORIGINAL.decoder_out));
            let flat = weight.is_some_and(|w| w.shape.len() == 4);
            return Ok((if flat { Layout::TwoD } else { Layout::Original }, prefix));
        }
    }
    let what = match (foreign::recognise(names.clone()), names.clone().next()) {
        (Some(model), _) => format!("this is {model}"),
        (None, Some(first)) => {
            format!(
                "no VAE of Wan2.1's kind among its {} tensors, of which the first is '{first}'",
                names.count()
            )
        }
        (None, None) => "the file holds no tensors".into(),
    };
    Err(Error::Unsupported(format!("{}: {what}", path.display())))
}

/// Refuses a known other model among the names under `prefix`.
fn ours<'a>(path: &Path, prefix: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
    match foreign::recognise(names.filter(|n| !is_elsewhere(n, prefix))) {
        Some(model) => Err(Error::Unsupported(format!(
            "{}: this is {model}",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Whether a tensor belongs to another model of a bundled checkpoint.
pub(crate) fn is_elsewhere(name: &str, prefix: &str) -> bool {
    !prefix.is_empty()
        && !name.starts_with(prefix)
        && OTHER_MODELS.iter().any(|other| name.starts_with(other))
}

/// The configuration: widths from shapes (`info` finds a tensor by its name without prefix), the rest from the text of a
/// `config.json` or from safetensors metadata, else Wan2.1's.
///
/// # Errors
/// [`Error::Tensor`] if a telling tensor is a single number; [`Error::Config`] or [`Error::Unsupported`] if no such model
/// exists.
pub(crate) fn config<'a>(
    path: &Path,
    layout: Layout,
    config_json: Option<&str>,
    files: &[TensorFile],
    info: impl Fn(&str) -> Option<&'a TensorInfo>,
) -> Result<VaeConfig> {
    let telling = if layout == Layout::Diffusers {
        DIFFUSERS
    } else {
        ORIGINAL
    };
    let first = |name: &str| first_extent(path, name, info(name));
    let (encoder, decoder) = (first(telling.encoder_in)?, first(telling.decoder_norm)?);
    let wan21 = VaeConfig::default();
    // Where one of these is missing the file will be refused; what stands in only serves to name all that is missing.
    let mut config = VaeConfig {
        encoder_base_dim: encoder.or(decoder).unwrap_or(wan21.encoder_base_dim),
        decoder_base_dim: decoder.or(encoder).unwrap_or(wan21.decoder_base_dim),
        out_channels: first(telling.decoder_out)?.unwrap_or(wan21.out_channels),
        z_dim: first(telling.post_quant)?.unwrap_or(wan21.z_dim),
        ..wan21
    };
    if config.z_dim == 48 {
        return Err(Error::Unsupported(format!(
            "{}: this is {WAN22_5B}",
            path.display()
        )));
    }
    refine(&mut config, layout, config_json, files).map_err(|e| at(path, e))?;
    Ok(config)
}

fn refine(
    config: &mut VaeConfig,
    layout: Layout,
    config_json: Option<&str>,
    files: &[TensorFile],
) -> Result<()> {
    for file in files {
        hub_config::apply_metadata(file.metadata(), config)?;
    }
    if let Some(json) = config_json.filter(|_| layout == Layout::Diffusers) {
        hub_config::apply(json, config)?;
    }
    config.validate()
}

/// The first extent of a tensor; `None` if there is no such tensor.
fn first_extent(path: &Path, name: &str, info: Option<&TensorInfo>) -> Result<Option<usize>> {
    match info.map(|i| &i.shape[..]) {
        Some([]) => Err(Error::Tensor {
            path: path.to_path_buf(),
            tensor: name.into(),
            expected: "a shape of several axes".into(),
            got: "a single number".into(),
        }),
        shape => Ok(shape.map(|s| s[0])),
    }
}

/// Names the file in an error that has none.
fn at(path: &Path, error: Error) -> Error {
    match error {
        Error::Config(what) => Error::Config(format!("{}: {what}", path.display())),
        Error::Unsupported(what) => Error::Unsupported(format!("{}: {what}", path.display())),
        other => other,
    }
}
