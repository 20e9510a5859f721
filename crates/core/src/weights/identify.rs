//! Recognizes by names and shapes which layout a file has and which model it holds.

use super::foreign::{self, WAN22_5B, WAN22_5B_CHANNELS};
use super::hub_config;
use super::keys::PREFIXES;
use super::layout::Layout;
use super::model::ModelTensors;
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

/// Tensors whose shapes give the configuration: encoder width, decoder width, output and latent channels; and one more whose
/// name identifies the model.
struct Landmarks {
    encoder_norm: &'static str,
    encoder_in: &'static str,
    decoder_norm: &'static str,
    decoder_out: &'static str,
    post_quant: &'static str,
}

const ORIGINAL: Landmarks = Landmarks {
    encoder_norm: "encoder.head.0.gamma",
    encoder_in: "encoder.conv1.weight",
    decoder_norm: "decoder.head.0.gamma",
    decoder_out: "decoder.head.2.weight",
    post_quant: "conv2.weight",
};

const DIFFUSERS: Landmarks = Landmarks {
    encoder_norm: "encoder.norm_out.gamma",
    encoder_in: "encoder.conv_in.weight",
    decoder_norm: "decoder.norm_out.gamma",
    decoder_out: "decoder.conv_out.weight",
    post_quant: "post_quant_conv.weight",
};

/// Layout and prefix of the names of a model's tensors.
///
/// # Errors
/// [`Error::NotThisModel`] if the files hold another model, naming it where it is known.
pub(crate) fn layout(tensors: &ModelTensors) -> Result<(Layout, &'static str)> {
    for prefix in PREFIXES {
        let has = |name: &str| tensors.info(&format!("{prefix}{name}")).is_some();
        // One of the two is enough: what is missing is reported later.
        if has(DIFFUSERS.decoder_norm) || has(DIFFUSERS.encoder_norm) {
            return ours(tensors, prefix).map(|()| (Layout::Diffusers, prefix));
        }
        if has(ORIGINAL.decoder_norm) || has(ORIGINAL.encoder_norm) {
            ours(tensors, prefix)?;
            let weight = tensors.info(&format!("{prefix}{}", ORIGINAL.decoder_out));
            let flat = weight.is_some_and(|w| w.shape.len() == 4);
            return Ok((if flat { Layout::TwoD } else { Layout::Original }, prefix));
        }
    }
    let names = tensors.names();
    let found = match (foreign::recognise(names.clone()), names.clone().next()) {
        (Some(model), _) => format!("this is {model}"),
        (None, Some(first)) => {
            let count = names.count();
            format!("no Wan2.1 VAE among its {count} tensors, of which the first is '{first}'")
        }
        (None, None) => "the file holds no tensors".into(),
    };
    Err(not_this_model(tensors, found))
}

/// Refuses a known other model among the names under `prefix`.
fn ours(tensors: &ModelTensors, prefix: &str) -> Result<()> {
    let names = tensors.names().filter(|n| !is_elsewhere(n, prefix));
    match foreign::recognise(names) {
        Some(model) => Err(not_this_model(tensors, format!("this is {model}"))),
        None => Ok(()),
    }
}

fn not_this_model(tensors: &ModelTensors, found: String) -> Error {
    Error::NotThisModel {
        path: tensors.path().to_path_buf(),
        found,
    }
}

/// Whether a tensor belongs to another model of a bundled checkpoint.
pub(crate) fn is_elsewhere(name: &str, prefix: &str) -> bool {
    !prefix.is_empty()
        && !name.starts_with(prefix)
        && OTHER_MODELS.iter().any(|other| name.starts_with(other))
}

/// The configuration: widths from the shapes of tensors whose names have this prefix, the rest from `config.json` or from
/// safetensors metadata, else Wan2.1's.
///
/// # Errors
/// [`Error::Tensor`] if one of these tensors is a single number; [`Error::Format`] if the configuration is impossible;
/// [`Error::NotThisModel`] if it is that of another model.
pub(crate) fn config(tensors: &ModelTensors, layout: Layout, prefix: &str) -> Result<VaeConfig> {
    let landmarks = if layout == Layout::Diffusers {
        DIFFUSERS
    } else {
        ORIGINAL
    };
    let first = |name: &str| first_extent(tensors, &format!("{prefix}{name}"));
    let (encoder, decoder) = (first(landmarks.encoder_in)?, first(landmarks.decoder_norm)?);
    // What 16 output channels mean, colours at 2x and opacity or not, only the encoder shows.
    let input = tensors.info(&format!("{prefix}{}", landmarks.encoder_in));
    let image_channels = input.and_then(|info| info.shape.get(1).copied());
    let wan21 = VaeConfig::default();
    // Where one of these is missing the file will be refused; what stands in only serves to name all that is missing.
    let mut config = VaeConfig {
        encoder_base_dim: encoder.or(decoder).unwrap_or(wan21.encoder_base_dim),
        decoder_base_dim: decoder.or(encoder).unwrap_or(wan21.decoder_base_dim),
        image_channels: image_channels.unwrap_or(wan21.image_channels),
        out_channels: first(landmarks.decoder_out)?.unwrap_or(wan21.out_channels),
        z_dim: first(landmarks.post_quant)?.unwrap_or(wan21.z_dim),
        ..wan21
    };
    if config.z_dim == WAN22_5B_CHANNELS {
        return Err(not_this_model(tensors, format!("this is {WAN22_5B}")));
    }
    for file in tensors.tensor_files() {
        hub_config::apply_metadata(file, &mut config)?;
    }
    if let Some(json) = tensors
        .config_json()
        .filter(|_| layout == Layout::Diffusers)
    {
        hub_config::apply(tensors.path(), json, &mut config)?;
    }
    let checked = config.check();
    checked.map_err(|problem| Error::format(tensors.path(), problem))?;
    Ok(config)
}

/// The first extent of a tensor; `None` if there is no such tensor.
fn first_extent(tensors: &ModelTensors, name: &str) -> Result<Option<usize>> {
    match tensors.info(name).map(|i| &i.shape[..]) {
        Some([]) => Err(Error::Tensor {
            path: tensors.path().to_path_buf(),
            tensor: name.into(),
            expected: "a shape of several axes".into(),
            got: "a single number".into(),
        }),
        shape => Ok(shape.map(|s| s[0])),
    }
}
