//! `vae2x info`: what a weight file or a latent file holds.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use vae2x::VaeConfig;
use vae2x_core::arch;
use vae2x_core::config::LAYERED;
use vae2x_core::weights::{Oddities, TensorFile, VaeWeights, Weights};
use vae2x_media::frames::Folders;
use vae2x_media::latent::{Decision, LatentFile, decide_space};

use super::known_weights;
use crate::args::InfoArgs;
use crate::batch;
use crate::compute::open_weights;
use crate::latents::{Reading, note_reading};
use crate::ui;

/// What the names of the encoder's tensors begin with, in either layout.
const ENCODER: &str = "encoder.";

/// Runs the command.
///
/// # Errors
/// If the file is neither weights nor latents, or cannot be read.
pub fn info(args: &InfoArgs) -> anyhow::Result<()> {
    let (files, mut failed) = batch::list(&args.files, Folders::Themselves)?;
    let mut reports = Vec::with_capacity(files.len());
    for file in &files {
        let name = file.to_string_lossy();
        reports.extend(failed.note(&name, report(&name, args)));
    }
    match (&reports[..], args.json) {
        ([], _) => (),
        ([only], true) if files.len() == 1 => ui::print_json(only)?,
        (all, true) => ui::print_json(&all)?,
        (all, false) => ui::print_lines(
            all.iter()
                .map(text)
                .collect::<Vec<_>>()
                .join(&String::new()),
        )?,
    }
    failed.result()
}

fn report(file: &str, args: &InfoArgs) -> anyhow::Result<Value> {
    match latent_path(file) {
        Some(path) => latent_report(path, args),
        None => weights_report(&open_weights(file)?),
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
    let Oddities { zero, not_finite } = warn_of_oddities(weights)?;
    let scale = config.scale()?;
    let mut report = json!({
        "file": weights.path(),
        "kind": "weights",
    });
    if let Some(known) = known_weights::name(weights)? {
        report["known_as"] = known.into();
    }
    for (name, value) in [
        ("layout", json!(weights.layout().to_string())),
        ("prefix", json!(weights.prefix())),
        ("dtype", json!(weights.dtype().to_string())),
        ("tensors_by_dtype", tensors_by_dtype(weights)),
        ("scaled_tensors", json!(weights.scaled())),
        ("parameters", json!(weights.parameters())),
        ("scale", json!(scale)),
        ("decoder", json!(decoder(scale))),
        ("encoder", json!(has_encoder(weights, &zero))),
        ("clips", json!(weights.has_time())),
        ("config", config_json(config)),
        ("zero_tensors", json!(zero)),
        ("not_finite_tensors", json!(not_finite)),
    ] {
        report[name] = value;
    }
    if config.has_opacity() {
        report["model"] = json!(LAYERED);
    }
    let ignored = &weights.report().ignored;
    if !ignored.is_empty() {
        report["ignored_tensors"] = by_first_part(ignored);
    }
    Ok(report)
}

fn tensors_by_dtype(weights: &VaeWeights) -> Value {
    let counts = weights.dtypes().iter();
    let counts = counts.map(|(dtype, tensors)| (dtype.to_string(), json!(tensors)));
    Value::Object(counts.collect())
}

/// What a decoder of this scale is called.
fn decoder(scale: usize) -> String {
    match scale {
        1 => "base".into(),
        scale => format!("{scale}x"),
    }
}

/// Whether there is an encoder: files of decoders alone have zeros in its place, given the weights that are zeros.
fn has_encoder(weights: &VaeWeights, zero: &[String]) -> bool {
    let here = format!("{}{ENCODER}", weights.prefix());
    let specs = arch::tensors(weights.config()).into_iter();
    let are_weights = specs.filter(|spec| {
        let shape = weights.layout().file_shape(spec);
        spec.name.starts_with(ENCODER) && shape.is_some_and(|shape| shape.len() > 1)
    });
    zero.iter().filter(|name| name.starts_with(&here)).count() < are_weights.count()
}

/// How many of some tensors have names with each first part.
fn by_first_part(names: &[String]) -> Value {
    let mut counts = BTreeMap::<&str, usize>::new();
    for name in names {
        let first = name.split_inclusive('.').next().unwrap_or(name);
        *counts.entry(first).or_default() += 1;
    }
    json!(counts)
}

/// Warns of tensors that no trained model has; reads all of them.
pub fn warn_of_oddities(weights: &VaeWeights) -> anyhow::Result<Oddities> {
    let found = weights.find_oddities()?;
    warn_of(weights, "zeros alone", &found.zero);
    warn_of(weights, "values that are not finite", &found.not_finite);
    Ok(found)
}

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
    let tensors = if count == 1 { "tensor" } else { "tensors" };
    ui::warn(format!(
        "{path}: {what} in {count} {tensors}: {first}{more}"
    ));
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
    note_reading(&file);
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

/// Entries whose names are those of the file, not of the report.
const NAMED_BY_FILE: [&str; 2] = ["tensors_by_dtype", "ignored_tensors"];

/// One `name: value` line per entry, nested entries indented.
fn text(report: &Value) -> Vec<String> {
    let mut out = Vec::new();
    lines(&mut out, report, "");
    out
}

/// The entries of what is called `of`, which is empty for the whole report.
fn lines(out: &mut Vec<String>, value: &Value, of: &str) {
    let Value::Object(entries) = value else {
        return;
    };
    let indent = if of.is_empty() { "" } else { "  " };
    for (key, value) in entries {
        let name = match NAMED_BY_FILE.contains(&of) {
            true => key.clone(),
            false => key.replace('_', " "),
        };
        out.push(match value {
            Value::Object(_) => format!("{indent}{name}:"),
            Value::String(s) => format!("{indent}{name}: {s}"),
            other => format!("{indent}{name}: {}", other.to_string().replace(',', ", ")),
        });
        lines(out, value, key);
    }
}
