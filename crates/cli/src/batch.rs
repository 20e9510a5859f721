//! The inputs of a command that maps each to an output: listed, and left out where the output exists.

use std::path::{Path, PathBuf};

use vae2x_media::frames::{Folders, Inputs, list_inputs};
use vae2x_media::output::{Output, is_finished};
use vae2x_media::shard::Shard;

use crate::files::is_folder;
use crate::run::Failures;
use crate::{ui, usage};

/// The files that arguments stand for, and those arguments that stand for none, which are reported. Prints what was left out of
/// folders.
///
/// # Errors
/// If no file is left.
pub fn list(paths: &[PathBuf], folders: Folders) -> anyhow::Result<(Vec<PathBuf>, Failures)> {
    let Inputs {
        files,
        failed: refused,
        notes,
    } = list_inputs(paths, folders);
    notes.iter().for_each(ui::note);
    let mut failed = Failures::among(files.len() + refused.len());
    for (path, error) in refused {
        failed.note::<()>(&path.display().to_string(), Err(error.into()));
    }
    match files.is_empty() {
        true => Err(failed
            .result()
            .err()
            .unwrap_or_else(|| anyhow::anyhow!("there are no inputs"))),
        false => Ok((files, failed)),
    }
}

/// An input, and the file that its result goes to.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The input.
    pub input: PathBuf,
    /// The result.
    pub output: PathBuf,
}

impl Pair {
    /// The input's name in messages.
    pub fn name(&self) -> String {
        self.input.display().to_string()
    }
}

/// What belongs to a shard, of what stands for all inputs in their order.
pub fn of_shard<T>(all: Vec<T>, shard: Shard, failed: &mut Failures) -> Vec<T> {
    let count = all.len();
    let mine = shard.take(all);
    if shard != Shard::WHOLE {
        failed.narrow(mine.len());
        if mine.is_empty() {
            ui::note(format!("shard {shard} has none of the {count} inputs"));
        }
    }
    mine
}

/// Refuses one file for the results of shards.
///
/// # Errors
/// An invalid command line.
pub fn check_shard(output: &Path, inputs: usize, shard: Shard) -> anyhow::Result<()> {
    match shard == Shard::WHOLE || inputs < 2 || is_folder(output) {
        true => Ok(()),
        false => usage(format!(
            "{}: one file cannot hold the results of {inputs} inputs; give a folder",
            output.display()
        )),
    }
}

/// Inputs with their outputs; with `skip_existing`, those whose output is not there yet.
pub fn pairs(
    inputs: Vec<PathBuf>,
    outputs: Vec<PathBuf>,
    shard: Shard,
    skip_existing: bool,
    failed: &mut Failures,
) -> Vec<Pair> {
    let pair = |(input, output)| Pair { input, output };
    let pairs = inputs.into_iter().zip(outputs).map(pair).collect();
    let pairs = of_shard(pairs, shard, failed);
    not_done(pairs, skip_existing, |pair: &Pair| {
        is_finished(&pair.output)
    })
}

/// Jobs by their place in the plan; with `skip_existing`, those of which not all files are there yet.
pub fn places<J>(jobs: Vec<J>, output: &Output, skip_existing: bool) -> Vec<(usize, J)> {
    let places = jobs.into_iter().enumerate().collect();
    not_done(places, skip_existing, |(place, _)| {
        output.is_written(*place)
    })
}

/// Leaves out what is done, and prints how much that is.
pub fn not_done<T>(mut all: Vec<T>, skip_existing: bool, is_done: impl Fn(&T) -> bool) -> Vec<T> {
    let count = all.len();
    if skip_existing {
        all.retain(|one| !is_done(one));
    }
    match count - all.len() {
        0 => (),
        1 => ui::note("1 input skipped: its output exists"),
        skipped => ui::note(format!("{skipped} inputs skipped: their outputs exist")),
    }
    all
}
