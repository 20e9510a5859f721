//! `vae2x roundtrip`: how images drift when they are encoded and decoded again and again.

use std::path::PathBuf;
use std::sync::PoisonError;

use serde_json::{Map, Value, json};
use vae2x::Finish;
use vae2x_measure::numbers::{NUMBERS, Number, Of, mean};
use vae2x_media::frames::Folders;
use vae2x_media::names::distinct_names;

use super::table::{finite_or_text, number, table};
use crate::args::RoundtripArgs;
use crate::batch;
use crate::compute::{Compute, vae_name};
use crate::files::{is_folder, keep_or_remove, make_folder};
use crate::run::{Direction, prepare, run_all};
use crate::work::{Round, RoundTrips, Trip, TripInput};
use crate::{ui, usage};

/// Runs the command.
///
/// # Errors
/// If an input or the weights cannot be used, or the output cannot be written.
pub fn roundtrip(args: &RoundtripArgs) -> anyhow::Result<()> {
    match &args.output {
        Some(folder) if !is_folder(folder) => usage(format!(
            "{}: the images of rounds need a folder",
            folder.display()
        )),
        Some(folder) => keep_or_remove(folder, || checked(args)),
        None => checked(args),
    }
}

fn checked(args: &RoundtripArgs) -> anyhow::Result<()> {
    let name = vae_name(&args.vae)?;
    let compute = Compute::new(&args.run)?;
    let folders = match args.clip {
        true => Folders::Themselves,
        false => Folders::OfImages,
    };
    let (files, mut failed) = batch::list(&args.inputs, folders)?;
    args.output.as_deref().map_or(Ok(()), make_folder)?;
    let vae = compute.open(&name)?;
    if vae.config().has_opacity() {
        return usage(format!(
            "{} has a channel for opacity; round trips are measured for models of three channels",
            vae.name()
        ));
    }
    let finish = Finish {
        scale: Some(1),
        ..Finish::default()
    };
    let work = RoundTrips {
        finisher: finish.for_decoder(vae.config(), vae.name())?,
        vae,
        rounds: usize::from(args.rounds),
        clip: args.clip,
        folder: args.output.clone(),
        keep: args.keep,
        allowed: compute.memory,
        trips: Default::default(),
    };
    let look = |(name, path): (String, &PathBuf)| {
        Ok(TripInput {
            spec: work.look(path)?,
            path: path.clone(),
            name,
        })
    };
    let names = distinct_names(&files, |_| "png");
    let shown = |(_, path): &(String, &PathBuf)| path.display().to_string();
    let jobs = prepare(&mut failed, names.into_iter().zip(&files), shown, look);
    let (outcome, failed) = run_all(&work, &jobs, failed)?;
    let trips = work.trips.lock();
    let trips = trips.unwrap_or_else(PoisonError::into_inner);
    match args.json {
        _ if trips.is_empty() => (),
        true => ui::print_json(&report(&work, &trips))?,
        false => ui::print_lines(lines(&trips))?,
    }
    failed.result()?;
    outcome.write_timings(&compute, &work.vae, Direction::Decoding)
}

/// Columns that are filled: all but those of networks.
fn columns() -> impl Iterator<Item = (usize, &'static Number)> {
    let all = NUMBERS.iter().enumerate();
    all.filter(|(_, number)| !matches!(number.of, Of::Network))
}

/// The table, then the files.
fn lines(trips: &[Trip]) -> Vec<String> {
    let heading = |number: &Number| format!("{} {}", number.name, number.unit);
    let headings = columns().map(|(_, number)| heading(number).trim_end().to_owned());
    let first = ["image", "round", "step dB", "red", "green", "blue"].map(String::from);
    let mut rows = vec![first.into_iter().chain(headings).collect::<Vec<_>>()];
    for trip in trips {
        let file = trip.path.display().to_string();
        rows.extend(
            trip.rounds
                .iter()
                .enumerate()
                .map(|(i, r)| row(&file, i, r)),
        );
    }
    if trips.len() > 1 {
        rows.extend(
            means(trips)
                .iter()
                .enumerate()
                .map(|(i, r)| row("mean", i, r)),
        );
    }
    let files = trips.iter().flat_map(|trip| &trip.files);
    let files = files.map(|file| file.display().to_string());
    table(&rows, 1).into_iter().chain(files).collect()
}

fn row(name: &str, number_of: usize, round: &Round) -> Vec<String> {
    let shift = |c: usize| round.shift.map_or("-".into(), |s| format!("{:+.2}", s[c]));
    let first = [
        name.to_owned(),
        number_of.to_string(),
        number(round.step, 2),
    ];
    let numbers = columns().map(|(i, column)| number(round.values[i], column.digits));
    let shifts = [0, 1, 2].map(shift);
    first.into_iter().chain(shifts).chain(numbers).collect()
}

/// The mean of each round over the inputs.
fn means(trips: &[Trip]) -> Vec<Round> {
    let rounds = trips.iter().map(|trip| trip.rounds.len()).max();
    let of = |i: usize| {
        let all: Vec<&Round> = trips.iter().filter_map(|trip| trip.rounds.get(i)).collect();
        let value = |v: usize| mean(all.iter().filter_map(|round| round.values[v]));
        let shifts: Vec<[f64; 3]> = all.iter().filter_map(|round| round.shift).collect();
        let shift = |c: usize| mean(shifts.iter().map(|s| s[c]));
        Round {
            values: (0..NUMBERS.len()).map(value).collect(),
            step: mean(all.iter().filter_map(|round| round.step)),
            shift: shift(0)
                .zip(shift(1))
                .zip(shift(2))
                .map(|((r, g), b)| [r, g, b]),
        }
    };
    (0..rounds.unwrap_or(0)).map(of).collect()
}

fn report(work: &RoundTrips, trips: &[Trip]) -> Value {
    let rounds = |rounds: &[Round]| -> Vec<Value> {
        let entry = |(i, round): (usize, &Round)| {
            let first =
                json!({"round": i, "step_psnr": finite_or_text(round.step), "shift": round.shift});
            let mut entry = first.as_object().cloned().unwrap_or_else(Map::new);
            let value = |(i, number): (usize, &Number)| {
                (number.key.to_owned(), finite_or_text(round.values[i]))
            };
            entry.extend(columns().map(value));
            Value::Object(entry)
        };
        rounds.iter().enumerate().map(entry).collect()
    };
    let trip = |trip: &Trip| {
        json!({
            "file": trip.path.display().to_string(), "size": trip.size, "frames": trip.frames,
            "rounds": rounds(&trip.rounds), "written": trip.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        })
    };
    json!({
        "vae": work.vae.name(),
        "images": trips.iter().map(trip).collect::<Vec<_>>(),
        "means": rounds(&means(trips)),
    })
}
