//! `vae2x info`: what a weight file or a latent file holds.

use std::path::Path;

use serde_json::{Value, json};
use vae2x::VaeConfig;
use vae2x_core::config::LAYERED;
use vae2x_core::weights::{Oddities, TensorFile, VaeWeights, Weights};
use vae2x_media::latent::{Decision, LatentFile, decide_space};

use crate::args::InfoArgs;
use crate::compute::open_weights;
use crate::latents::Reading;
use crate::ui;

/// Runs the command.
///
/// # Errors
/// If the file is neither weights nor latents, or cannot be read.
pub fn info(args: &InfoArgs) -> anyhow::Result<()> {
    let report = match latent_path(&args.file) {
        Some(path) => latent_report(path, args)?,
        None => weights_report(&open_weights(&args.file)?)?,
    };
    match args.json {
        true => ui::print_json(&report),
        false => ui::print_lines(text(&report)),
    }
}

/// The path, if it is a tensor file that does not look like weights. What cannot be opened is left to the weights' reader,
/// which explains best.
fn latent_path(file: &str) -> Option<&Path> {
    let path = Path::new(file);
    let tensors = path
        .is_file()
        .then(|| TensorFile::open(path).ok())
        .flatten()?;
    /// A model has hundreds of tensors, a latent file a few.
    const FEW: usize = 32;
    let names = || tensors.tensors().keys();
    let is_model = names().any(|k| k.starts_with("decoder.") || k.contains(".decoder."))
        || tensors.tensors().len() > FEW;
    (!is_model || names().any(|k| k.ends_with(".latent"))).then_some(path)
}

fn weights_report(weights: &VaeWeights) -> anyhow::Result<Value> {
    let config = weights.config();
    let dtypes: serde_json::Map<String, Value> = weights
        .dtypes()
        .iter()
        .map(|(dtype, tensors)| (dtype.to_string(), json!(tensors)))
        .collect();
    let Oddities { zero, not_finite } = weights.find_oddities()?;
    warn_of(weights, "are zeros alone", &zero);
    warn_of(weights, "have values that are not finite", &not_finite);
    let mut report = json!({
        "file": weights.path(),
        "kind": "weights",
        "layout": weights.layout().to_string(),
        "prefix": weights.prefix(),
        "dtype": weights.dtype().to_string(),
        "tensors_by_dtype": dtypes,
        "parameters": weights.parameters(),
        "scale": config.scale()?,
        "clips": weights.has_time(),
        "config": config_json(config),
        "zero_tensors": zero,
        "not_finite_tensors": not_finite,
    });
    if config.has_opacity() {
        report["model"] = json!(LAYERED);
    }
    Ok(report)
}

/// Warns of tensors that no trained model has.
fn warn_of(weights: &VaeWeights, what: &str, names: &[String]) {
    const NAMED: usize = 4;
    if names.is_empty() {
        return;
    }
    let (count, path) = (names.len(), weights.path().display());
    let first = names[..count.min(NAMED)].join(", ");
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    ui::warn(format!("{path}: {count} tensors {what}: {first}{more}"));
}

fn config_json(config: &VaeConfig) -> Value {
    json!({
        "encoder_base_dim": config.encoder_base_dim,
        "decoder_base_dim": config.decoder_base_dim,
        "z_dim": config.z_dim,
        "dim_mult": config.dim_mult,
        "num_res_blocks": config.num_res_blocks,
        "image_channels": config.image_channels,
        "out_channels": config.out_channels,
        "latents_mean": rounded(&config.latents_mean),
        "latents_std": rounded(&config.latents_std),
    })
}

/// As a person would write them, not as the nearest doubles of `f32`s.
fn rounded(values: &[f32]) -> Vec<f64> {
    values
        .iter()
        .map(|v| v.to_string().parse().unwrap_or(f64::NAN))
        .collect()
}

fn latent_report(path: &Path, args: &InfoArgs) -> anyhow::Result<Value> {
    let (reading, config) = (Reading::from(&args.latent), VaeConfig::default());
    let file = LatentFile::open(path, &reading.options)?;
    let [batch, channels, latent_frames, h, w] = file.shape();
    let base_pixels = [h, w].map(|n| n * config.spatial());
    let Decision {
        space,
        why,
        confidence,
        doubtful,
    } = decide_space(&file, &config, reading.space)?;
    Ok(json!({
        "file": path,
        "kind": "latents",
        "tensor": file.key,
        "shape": [batch, channels, latent_frames, h, w],
        "latent_frames": latent_frames,
        "frames": config.frames(latent_frames),
        "base_pixels": base_pixels,
        "space": space.to_string(),
        "space_confidence": (f64::from(confidence) * 1000.0).round() / 1000.0,
        "space_doubtful": doubtful,
        "space_why": why,
    }))
}

/// One `name: value` line per entry, nested entries indented.
fn text(report: &Value) -> Vec<String> {
    let mut out = Vec::new();
    lines(&mut out, report, 0);
    out
}

fn lines(out: &mut Vec<String>, value: &Value, depth: usize) {
    let Value::Object(entries) = value else {
        return;
    };
    for (name, value) in entries {
        let name = name.replace('_', " ");
        let indent = "  ".repeat(depth);
        out.push(match value {
            Value::Object(_) => format!("{indent}{name}:"),
            Value::String(s) => format!("{indent}{name}: {s}"),
            other => format!("{indent}{name}: {}", other.to_string().replace(',', ", ")),
        });
        lines(out, value, depth + 1);
    }
}
