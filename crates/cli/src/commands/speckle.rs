//! `vae2x speckle`: how much of a grid there is in images, or in what a model makes of flat colours.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use vae2x::{Array, Pixels, Vae};
use vae2x_measure::constant::{ConstantColour, constant_colour};
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

/// Black, greys, white, muted red, green and blue.
const COLOURS: [[u8; 3]; 8] = [
    [0, 0, 0],
    [64, 64, 64],
    [128, 128, 128],
    [192, 192, 192],
    [255, 255, 255],
    [176, 64, 64],
    [64, 176, 64],
    [64, 64, 176],
];

/// Runs the command.
///
/// # Errors
/// If there is nothing to measure, or it cannot be read.
pub fn speckle(args: &SpeckleArgs) -> anyhow::Result<()> {
    match (&args.vae.vae, args.inputs.is_empty()) {
        (None, true) => usage("give images, or a model with --vae WEIGHTS"),
        (None, false) => pictures(args),
        (Some(_), true) => colours(args),
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
    score(&picture.pixels, scale).with_context(|| path.display().to_string())
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

fn colours(args: &SpeckleArgs) -> anyhow::Result<()> {
    let vae = Compute::on(args.device)?.open(&vae_name(&args.vae)?)?;
    let mut progress = Meter::new("colours", COLOURS.len() as f64, "colours");
    let measure = |(i, colour): (usize, &[u8; 3])| {
        let result = constant_colour(vae.config(), *colour, |image| round_trip(&vae, image));
        progress.set((i + 1) as f64);
        result
    };
    let results = COLOURS
        .iter()
        .enumerate()
        .map(measure)
        .collect::<Result<Vec<_>, _>>()?;
    progress.finish();
    if args.json {
        let entries = results
            .iter()
            .map(|r| with("colour", json!(hex(r.colour)), r));
        return ui::print_json(&entries.collect::<Result<Vec<_>, _>>()?);
    }
    let names = [
        "colour",
        "red",
        "green",
        "blue",
        "error",
        "ripple",
        "not constant",
    ]
    .map(String::from);
    let heading = results
        .first()
        .map(|result| [names.to_vec(), columns(&result.speckle)].concat());
    ui::print_lines(table(
        &heading
            .into_iter()
            .chain(results.iter().map(colour_row))
            .collect::<Vec<_>>(),
        1,
    ))
}

/// Encodes and decodes `[3, H, W]`.
fn round_trip(vae: &Vae, image: Array) -> vae2x::Result<Array> {
    let [c, h, w] = image.dims("image")?;
    let latent = vae.encode(&Pixels::new(image.reshape([1, c, 1, h, w])?)?)?;
    let (colours, _) = split(vae.decode(&latent)?.frame(0, 0))?;
    Ok(colours)
}

fn colour_row(result: &ConstantColour) -> Vec<String> {
    let shift = result.shift.map(|v| format!("{v:+.2}"));
    let errors = [
        number(Some(result.mean_error), 2),
        number(Some(result.ripple), 2),
    ];
    let share = format!("{:.1} %", 100.0 * result.non_constant_share);
    [
        &[hex(result.colour)][..],
        &shift,
        &errors,
        &[share],
        &cells(&result.speckle),
    ]
    .concat()
}

fn hex(colour: [u8; 3]) -> String {
    colour
        .iter()
        .fold("#".into(), |text, v| format!("{text}{v:02x}"))
}

/// Headings of [`cells`].
fn columns(score: &Speckle) -> Vec<String> {
    let periods = score.periods.iter().map(|p| format!("{} px", p.period));
    let names = ["speckle dB", "noise dB", "amplitude", "lattice dB"].map(String::from);
    names
        .into_iter()
        .chain(periods)
        .chain(["flat".into()])
        .collect()
}

fn cells(score: &Speckle) -> Vec<String> {
    let periods = score
        .periods
        .iter()
        .map(|Period { speckle_db, .. }| *speckle_db);
    let all = [
        score.speckle_db,
        score.noise_db,
        score.amplitude,
        score.lattice_energy_db,
    ]
    .into_iter()
    .chain(periods);
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
