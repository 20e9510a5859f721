//! Diffusers' `config.json` of a VAE, read and written, and the latent statistics in safetensors metadata.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::file::TensorFile;
use super::folder;
use super::foreign::{self, QWEN_IMAGE_21, WAN22_5B};
use crate::config::VaeConfig;
use crate::error::{Error, Result};

/// Metadata keys of latent statistics, each a JSON array of one number per latent channel.
pub const MEAN_KEY: &str = "latents_mean";
/// As [`MEAN_KEY`].
pub const STD_KEY: &str = "latents_std";
/// The release of diffusers whose configuration is written.
const DIFFUSERS_VERSION: &str = "0.35.0";
/// Classes whose weights have this architecture: Wan2.1's and Wan2.2-14B's; Qwen-Image's, which Krea 2 and Anima use, of one width
/// and no scale, which the pipeline of Qwen-Image-Layered loads, too.
const CLASSES: [&str; 2] = ["AutoencoderKLWan", "AutoencoderKLQwenImage"];
/// Classes of diffusers that are taken for these, and whose they are.
const OTHER_CLASSES: [(&str, &str); 13] = [
    ("AutoencoderKLQwenImage21", QWEN_IMAGE_21),
    (
        "AutoencoderKL",
        "the VAE of Stable Diffusion, SD3, Flux.1 or Z-Image",
    ),
    ("AutoencoderKLFlux2", "the VAE of Flux.2"),
    ("AutoencoderKLLTXVideo", "the VAE of LTX-Video"),
    ("AutoencoderKLLTX2Video", "the VAE of LTX-2"),
    ("AutoencoderKLHunyuanVideo", "the VAE of HunyuanVideo"),
    ("AutoencoderKLHunyuanVideo15", "the VAE of HunyuanVideo 1.5"),
    ("AutoencoderKLHunyuanImage", "the VAE of HunyuanImage"),
    ("AutoencoderKLCogVideoX", "the VAE of CogVideoX"),
    ("AutoencoderKLMochi", "the VAE of Mochi"),
    ("AutoencoderKLCosmos", "the VAE of Cosmos 1"),
    ("AutoencoderDC", "the VAE of Sana"),
    (
        "AutoencoderTiny",
        "a tiny autoencoder (TAE), not the full VAE",
    ),
];

/// The keys of a `config.json` that are read; the others only repeat what the tensors show.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    #[serde(rename = "_class_name")]
    class_name: Option<String>,
    attn_scales: Vec<f64>,
    dim_mult: Option<Vec<usize>>,
    is_residual: bool,
    latents_mean: Option<Vec<f32>>,
    latents_std: Option<Vec<f32>>,
    num_res_blocks: Option<usize>,
    patch_size: Option<usize>,
    /// Spelt as upstream spells it.
    temperal_downsample: Option<Vec<bool>>,
    z_dim: Option<usize>,
}

/// Puts what the `config.json` of the model at `path` says into `config`, whose widths are known from the tensors.
///
/// # Errors
/// [`Error::Format`] if it is not JSON or does not fit the tensors, [`Error::NotThisModel`] if it is of another model.
pub(crate) fn apply(path: &Path, json: &str, config: &mut VaeConfig) -> Result<()> {
    let invalid = |problem: String| Error::format(path, format!("{}: {problem}", folder::CONFIG));
    let input: Input =
        serde_json::from_str(json).map_err(|e| invalid(format!("invalid JSON: {e}")))?;
    if let Some(found) = other_model(&input) {
        return Err(Error::NotThisModel {
            path: path.to_path_buf(),
            found,
        });
    }
    if let Some(z_dim) = input.z_dim.filter(|&z| z != config.z_dim) {
        return Err(invalid(format!(
            "z_dim is {z_dim}, but the tensors have {} latent channels",
            config.z_dim
        )));
    }
    if let Some(dim_mult) = input.dim_mult {
        config.dim_mult = stages("dim_mult", dim_mult).map_err(invalid)?;
    }
    if let Some(temporal) = input.temperal_downsample {
        config.temporal_downsample = stages("temperal_downsample", temporal).map_err(invalid)?;
    }
    if let Some(blocks) = input.num_res_blocks {
        config.num_res_blocks = blocks;
    }
    if let Some(mean) = input.latents_mean {
        config.latents_mean = mean;
    }
    if let Some(std) = input.latents_std {
        config.latents_std = std;
    }
    Ok(())
}

/// Which other model a `config.json` is of.
fn other_model(input: &Input) -> Option<String> {
    if let Some(model) = input.z_dim.and_then(foreign::by_channels) {
        return Some(format!("this is {model}"));
    }
    let class = input.class_name.as_deref();
    if let Some(class) = class.filter(|class| !CLASSES.contains(class)) {
        let known = OTHER_CLASSES.iter().find(|(name, _)| *name == class);
        return Some(match known {
            Some((_, model)) => format!("the config is of {class}: {model}"),
            None => format!(
                "the config is of {class}; expected {}",
                CLASSES.join(" or ")
            ),
        });
    }
    if input.is_residual || input.patch_size.is_some_and(|p| p > 1) {
        return Some(format!("this is {WAN22_5B}"));
    }
    let is_elsewhere = !input.attn_scales.is_empty();
    is_elsewhere
        .then(|| "attn_scales is not empty; attention is supported in the middle block only".into())
}

/// A list of a fixed length.
fn stages<T: std::fmt::Debug, const N: usize>(
    name: &str,
    values: Vec<T>,
) -> Result<[T; N], String> {
    let values = values.try_into();
    values.map_err(|v: Vec<T>| format!("{name} is {v:?}; expected {N} values"))
}

/// Puts the latent statistics of the safetensors metadata of `file` into `config`.
///
/// # Errors
/// [`Error::Format`] if a value is not a JSON array of numbers.
pub(crate) fn apply_metadata(file: &TensorFile, config: &mut VaeConfig) -> Result<()> {
    for (key, values) in [
        (MEAN_KEY, &mut config.latents_mean),
        (STD_KEY, &mut config.latents_std),
    ] {
        if let Some(text) = file.metadata().get(key) {
            *values = serde_json::from_str(text).map_err(|e| {
                let problem = format!("the metadata's {key} is not a JSON array of numbers: {e}");
                Error::format(file.path(), problem)
            })?;
        }
    }
    Ok(())
}

/// The latent statistics as safetensors metadata, with the marker that torch's readers look for.
///
/// # Errors
/// [`Error::Config`] for statistics that JSON cannot hold.
pub fn metadata(config: &VaeConfig) -> Result<BTreeMap<String, String>> {
    let json =
        |values: &[f32]| serde_json::to_string(values).map_err(|e| Error::Config(e.to_string()));
    Ok(BTreeMap::from([
        ("format".to_string(), "pt".to_string()),
        (MEAN_KEY.to_string(), json(&config.latents_mean)?),
        (STD_KEY.to_string(), json(&config.latents_std)?),
    ]))
}

/// All keys of a `config.json` of AutoencoderKLWan.
#[derive(Serialize)]
struct Output<'a> {
    _class_name: &'a str,
    _diffusers_version: &'a str,
    attn_scales: [f32; 0],
    base_dim: usize,
    decoder_base_dim: Option<usize>,
    dim_mult: [usize; 4],
    dropout: f32,
    in_channels: usize,
    is_residual: bool,
    latents_mean: &'a [f32],
    latents_std: &'a [f32],
    num_res_blocks: usize,
    out_channels: usize,
    patch_size: Option<usize>,
    scale_factor_spatial: usize,
    scale_factor_temporal: usize,
    temperal_downsample: [bool; 3],
    z_dim: usize,
}

/// All keys of a `config.json` of AutoencoderKLQwenImage.
#[derive(Serialize)]
struct QwenOutput<'a> {
    _class_name: &'a str,
    _diffusers_version: &'a str,
    attn_scales: [f32; 0],
    base_dim: usize,
    dim_mult: [usize; 4],
    dropout: f32,
    input_channels: usize,
    latents_mean: &'a [f32],
    latents_std: &'a [f32],
    num_res_blocks: usize,
    temperal_downsample: [bool; 3],
    z_dim: usize,
}

/// The `config.json` of a model, as diffusers' AutoencoderKLWan reads it, or AutoencoderKLQwenImage if the model has
/// opacity and fits that class.
///
/// # Errors
/// [`Error::Config`] if a number cannot be written.
pub fn to_json(config: &VaeConfig) -> Result<String> {
    let fits_qwen = config.out_channels == config.image_channels
        && config.encoder_base_dim == config.decoder_base_dim;
    if config.has_opacity() && fits_qwen {
        return pretty(&QwenOutput {
            _class_name: CLASSES[1],
            _diffusers_version: DIFFUSERS_VERSION,
            attn_scales: [],
            base_dim: config.encoder_base_dim,
            dim_mult: config.dim_mult,
            dropout: 0.0,
            input_channels: config.image_channels,
            latents_mean: &config.latents_mean,
            latents_std: &config.latents_std,
            num_res_blocks: config.num_res_blocks,
            temperal_downsample: config.temporal_downsample,
            z_dim: config.z_dim,
        });
    }
    let output = Output {
        _class_name: CLASSES[0],
        _diffusers_version: DIFFUSERS_VERSION,
        attn_scales: [],
        base_dim: config.encoder_base_dim,
        decoder_base_dim: Some(config.decoder_base_dim).filter(|&d| d != config.encoder_base_dim),
        dim_mult: config.dim_mult,
        dropout: 0.0,
        in_channels: config.image_channels,
        is_residual: false,
        latents_mean: &config.latents_mean,
        latents_std: &config.latents_std,
        num_res_blocks: config.num_res_blocks,
        out_channels: config.out_channels,
        patch_size: None,
        scale_factor_spatial: config.spatial(),
        scale_factor_temporal: config.temporal(),
        temperal_downsample: config.temporal_downsample,
        z_dim: config.z_dim,
    };
    pretty(&output)
}

fn pretty(output: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(output)
        .map(|text| text + "\n")
        .map_err(|e| Error::Config(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let written = VaeConfig {
            encoder_base_dim: 24,
            decoder_base_dim: 8,
            num_res_blocks: 3,
            dim_mult: [1, 2, 2, 4],
            latents_mean: vec![0.1; 16],
            ..VaeConfig::default()
        };
        let json = to_json(&written).unwrap();
        assert!(
            json.contains("\"decoder_base_dim\": 8") && json.contains("0.1,"),
            "{json}"
        );
        let mut read = VaeConfig {
            encoder_base_dim: 24,
            decoder_base_dim: 8,
            ..VaeConfig::default()
        };
        apply(Path::new("model"), &json, &mut read).unwrap();
        assert_eq!(read, written);
    }

    #[test]
    fn a_model_with_opacity_is_of_the_class_that_its_pipeline_loads() {
        let rgba = VaeConfig {
            image_channels: 4,
            out_channels: 4,
            ..VaeConfig::default()
        };
        let json = to_json(&rgba).unwrap();
        let has = |part: &str| json.contains(part);
        assert!(
            has("AutoencoderKLQwenImage") && has("\"input_channels\": 4"),
            "{json}"
        );
        let mut read = rgba.clone();
        apply(Path::new("model"), &json, &mut read).unwrap();
        assert_eq!(read, rgba);
        let narrow = VaeConfig {
            decoder_base_dim: 48,
            ..rgba
        };
        let json = to_json(&narrow).unwrap();
        let has = |part: &str| json.contains(part);
        assert!(
            has("AutoencoderKLWan") && has("\"in_channels\": 4"),
            "{json}"
        );
    }

    fn applied(json: &str) -> Result<()> {
        apply(Path::new("model"), json, &mut VaeConfig::default())
    }

    #[test]
    fn other_models_are_refused_by_name() {
        let found = |json: &str| match applied(json) {
            Err(Error::NotThisModel { found, .. }) => found,
            other => panic!("{other:?}"),
        };
        assert!(found(r#"{"_class_name": "AutoencoderKL"}"#).contains("AutoencoderKL: "));
        assert!(
            found(r#"{"_class_name": "AutoencoderKLMagvit"}"#).contains("AutoencoderKLMagvit;")
        );
        let qwen21 = r#"{"_class_name": "AutoencoderKLQwenImage21", "is_residual": true}"#;
        assert!(found(qwen21).contains("Qwen-Image 2.1"));
        assert!(found(r#"{"is_residual": true, "z_dim": 64}"#).contains("Qwen-Image 2.1"));
        assert!(found(r#"{"is_residual": true}"#).contains("Wan2.2 5B"));
        assert!(found(r#"{"z_dim": 48}"#).contains("Wan2.2 5B"));
        assert!(applied(r#"{"_class_name": "AutoencoderKLQwenImage"}"#).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_the_path() {
        for (json, value) in [
            (r#"{"dim_mult": [1, 2, 4]}"#, "dim_mult"),
            (r#"{"z_dim": 8}"#, "z_dim is 8"),
            ("{", ""),
        ] {
            let error = applied(json).unwrap_err();
            assert!(
                matches!(
                    &error,
                    Error::Format { path, problem }
                        if path == Path::new("model") && problem.contains(value)
                ),
                "{error:?}"
            );
        }
    }
}
