//! `vae2x speckle`: how much of a grid there is in images, or in what a model makes of probe latents.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use vae2x::{Array, Latent, Pixels, Space, Vae};
use vae2x_measure::probes::{Probe, ProbeScore, Scores, probe_score, probes};
use vae2x_measure::speckle::{Period, Speckle, speckle as score};
use vae2x_media::frames::Folders;
use vae2x_media::opacity::split;
use vae2x_media::picture::read_image;

use super::measuring;
use super::table::{number, table};
use crate::args::SpeckleArgs;
use crate::batch;
use crate::compute::{Compute, vae_name};
use crate::ui::{self, Meter};
use crate::usage;

/// Runs the command.
///
/// # Errors
/// If there is nothing to measure, or it cannot be read.
pub fn speckle(args: &SpeckleArgs) -> anyhow::Result<()> {
    match (&args.vae.vae, args.inputs.is_empty()) {
        (None, true) => usage("give images, or a model with --vae WEIGHTS"),
        (None, false) => pictures(args),
        (Some(_), true) => model(args),
        (Some(_), false) => usage("give either images or --vae WEIGHTS, not both"),
    }
}

fn pictures(args: &SpeckleArgs) -> anyhow::Result<()> {
    let (files, mut failed) = batch::list(&args.inputs, Folders::OfImages)?;
    let mut progress = Meter::new("measuring", files.len() as f64, "images");
    let mut scores = Vec::with_capacity(files.len());
    for (i, path) in files.iter().enumerate() {
        let name = path.display().to_string();
        let score = failed.note(&name, picture_score(path, args.scale));
        scores.extend(score.map(|score| (name, score)));
        progress.set((i + 1) as f64);
    }
    progress.finish();
    if scores.is_empty() {
        return failed.result();
    }
    print_scores(&scores, args.json)?;
    failed.result()
}

fn picture_score(path: &Path, scale: usize) -> anyhow::Result<Speckle> {
    measuring::check_memory([path], measuring::Working::Speckle)?;
    let picture = read_image(path)?;
    picture.notes.iter().for_each(ui::note);
    let score = score(&picture.pixels, scale).with_context(|| path.display().to_string())?;
    if let Some([y, x]) = score.jpeg_blocks {
        ui::note(format!(
            "{}: has JPEG's blocks, from row {y} and column {x} on: periods of 4 to 16 pixels do not count in the lattice energy",
            path.display()
        ));
    }
    Ok(score)
}

fn print_scores(scores: &[(String, Speckle)], json: bool) -> anyhow::Result<()> {
    if json {
        let entries = scores
            .iter()
            .map(|(name, score)| with("file", json!(name), score));
        return ui::print_json(&entries.collect::<Result<Vec<_>, _>>()?);
    }
    let heading = scores
        .first()
        .map(|(_, score)| [vec!["file".into()], columns(score)].concat());
    let rows = scores
        .iter()
        .map(|(name, score)| [vec![name.clone()], cells(score)].concat());
    ui::print_lines(table(
        &heading.into_iter().chain(rows).collect::<Vec<_>>(),
        1,
    ))
}

fn model(args: &SpeckleArgs) -> anyhow::Result<()> {
    let vae = Compute::on(args.device)?.open(&vae_name(&args.vae)?)?;
    let probes = probes(vae.config(), |image| encoded(&vae, image))?;
    let mut progress = Meter::new("probes", probes.len() as f64, "probes");
    let measure = |(i, probe): (usize, &Probe)| {
        let decoded = decoded(&vae, probe)?;
        let result = probe_score(vae.config(), probe, &decoded);
        progress.set((i + 1) as f64);
        result
    };
    let scores = probes
        .iter()
        .enumerate()
        .map(measure)
        .collect::<Result<Vec<_>, _>>()?;
    progress.finish();
    let (mean, highest) = (Scores::mean(&scores), Scores::highest(&scores));
    if args.json {
        return ui::print_json(&json!({"probes": scores, "mean": mean, "highest": highest}));
    }
    let heading = scores
        .first()
        .map(|score| [vec!["probe".into()], columns(&score.speckle)].concat());
    let rows = scores
        .iter()
        .map(|ProbeScore { probe, speckle }| [vec![probe.clone()], cells(speckle)].concat());
    let mut lines: Vec<Vec<String>> = heading.into_iter().chain(rows).collect();
    let width = lines.first().map_or(0, Vec::len);
    lines.extend(
        [("mean", mean), ("highest", highest)].map(|(name, sums)| sums_row(name, sums, width)),
    );
    ui::print_lines(table(&lines, 1))
}

/// The normalized latent of `[3, H, W]`.
fn encoded(vae: &Vae, image: Array) -> vae2x::Result<Array> {
    let [c, h, w] = image.dims("image")?;
    let latent = vae.encode(&Pixels::new(image.reshape([1, c, 1, h, w])?)?)?;
    latent.values(Space::Normalized)
}

/// A probe as an image, `[3, H, W]`.
fn decoded(vae: &Vae, probe: &Probe) -> vae2x::Result<Array> {
    let pixels = vae.decode(&Latent::normalized(probe.latent.clone())?)?;
    let (colours, _) = split(pixels.frame(0, 0))?;
    Ok(colours)
}

/// A row of so many cells with both scores alone, which come first.
fn sums_row(name: &str, sums: Scores, width: usize) -> Vec<String> {
    let scores = [sums.speckle_db, sums.lattice_energy_db].map(|v| number(Some(v), 2));
    let mut row = [&[name.to_owned()][..], &scores].concat();
    row.resize(width, String::new());
    row
}

/// Headings of [`cells`].
fn columns(score: &Speckle) -> Vec<String> {
    let names = ["speckle dB", "lattice dB", "noise dB", "amplitude"].map(String::from);
    let periods = |kind: &'static str| {
        let periods = score.periods.iter();
        periods.map(move |p| format!("{kind}{} px", p.period))
    };
    names
        .into_iter()
        .chain(periods(""))
        .chain(periods("lattice "))
        .chain(["flat".into()])
        .collect()
}

fn cells(score: &Speckle) -> Vec<String> {
    let periods = |of: fn(&Period) -> f64| score.periods.iter().map(of);
    let all = [
        score.speckle_db,
        score.lattice_energy_db,
        score.noise_db,
        score.amplitude,
    ]
    .into_iter()
    .chain(periods(|p| p.speckle_db))
    .chain(periods(|p| p.lattice_energy_db));
    all.map(|v| number(Some(v), 2))
        .chain([format!("{:.0} %", 100.0 * score.flat_share)])
        .collect()
}

/// The entry of a list: its name, then what was measured.
fn with(key: &str, name: Value, measured: &impl serde::Serialize) -> anyhow::Result<Value> {
    let mut entry = serde_json::Map::from_iter([(key.to_owned(), name.clone())]);
    if let Value::Object(fields) = serde_json::to_value(measured)? {
        entry.extend(fields);
    }
    // A field of the same name would hide it.
    entry.insert(key.into(), name);
    Ok(Value::Object(entry))
}
