//! The run: inputs are read ahead, computed and written behind, the same way for every command.
//!
//! ```text
//! reader thread:  source of each job   -> pieces, at most one ahead of what is computed
//! this thread:    stage of each job    -> one or more results per piece
//! writer thread:  sink of each job     <- results, at most WAITING behind what is computed
//! ```
//!
//! A command is a [`Work`]: a source, a stage and a sink. [`run`] checks memory before any work, moves the pieces, shows
//! progress, takes times and prints what was written. It goes on after an input that fails, and names it at the end.

mod need;
mod threads;
mod timings;

pub use need::Need;
pub use timings::{Clock, Direction, Timings, timed};

use std::path::PathBuf;

use anyhow::Result;
use vae2x::{Progress, Vae};

use crate::compute::Compute;
use crate::signals::stopping::stoppable;
use crate::ui;

/// The pieces of one input, in order. Read on the reader thread.
pub type Source<I> = Box<dyn Iterator<Item = Result<I>> + Send>;

/// The computation on the pieces of one input, in order, on the calling thread.
pub trait Stage<I, O> {
    /// Takes the next piece; `progress` is called with the completed fraction of this step.
    fn step(&mut self, piece: I, progress: Progress<'_>) -> Result<Vec<O>>;

    /// The results that are left after the last piece.
    fn finish(&mut self) -> Result<Vec<O>> {
        Ok(Vec::new())
    }
}

/// The output of one input, which takes its results in order, on the writer thread. Dropped without [`Self::finish`] if the
/// input fails.
pub trait Sink<O>: Send {
    /// Takes the next result.
    fn push(&mut self, result: O) -> Result<()>;

    /// Completes the output.
    fn finish(self: Box<Self>) -> Result<Vec<Written>>;

    /// Ends the output early, with what has come of it, where that is of use.
    fn keep_part(self: Box<Self>) -> Result<Vec<Written>> {
        Ok(Vec::new())
    }
}

/// A file that was written.
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// A note that is printed after it, such as the space of a latent.
    pub note: Option<String>,
}

/// A command's work on each of its inputs.
pub trait Work: Sync {
    /// An input and where its result goes.
    type Job: Sync;
    /// The items of a source.
    type Piece: Send;
    /// The items that a sink takes.
    type Result: Send;

    /// The label of the progress bar.
    const LABEL: &'static str;
    /// The unit that progress counts.
    const UNIT: &'static str;

    /// The input's name in messages.
    fn name(&self, job: &Self::Job) -> String;

    /// The number of units of an input.
    fn units(&self, job: &Self::Job) -> f64;

    /// The number of units of a piece.
    fn piece_units(&self, _piece: &Self::Piece) -> f64 {
        1.0
    }

    /// The memory that an input needs; `None` on devices that cut their work to what they can hold.
    fn need(&self, job: &Self::Job) -> Result<Option<Need>>;

    /// Opens an input, on the reader thread.
    fn source(&self, job: &Self::Job) -> Result<Source<Self::Piece>>;

    /// Prepares the computation of an input, which loads the weights that it needs.
    fn stage<'a>(
        &'a self,
        job: &'a Self::Job,
    ) -> Result<Box<dyn Stage<Self::Piece, Self::Result> + 'a>>;

    /// Opens the output of an input, on the writer thread, when its first result arrives.
    fn sink<'a>(&'a self, job: &'a Self::Job) -> Result<Box<dyn Sink<Self::Result> + 'a>>;

    /// Whether a job that fails or is stopped leaves what was done of it, and a signal waits for the step that is under way.
    fn keeps_part(&self) -> bool {
        false
    }

    /// Pixels that a result stands for, for the timings.
    fn pixels(&self, _result: &Self::Result) -> u64 {
        0
    }

    /// The lines that are printed for the files written.
    fn report(&self, written: &[Written]) -> Vec<String> {
        written.iter().map(line).collect()
    }
}

/// `PATH` or `PATH (NOTE)`.
pub fn line(written: &Written) -> String {
    let path = written.path.display();
    match &written.note {
        Some(note) => format!("{path} ({note})"),
        None => path.to_string(),
    }
}

/// Runs the work on all jobs. Inputs that fail are reported at once and do not stop the others; `failed` are those that
/// could not be opened.
///
/// # Errors
/// That of the only input, or one that counts those that failed. [`vae2x::Error::Memory`] for an input that does not fit.
pub fn run<W: Work>(work: &W, jobs: &[W::Job], failed: Failures) -> Result<Outcome> {
    let (outcome, failed) = run_all(work, jobs, failed)?;
    failed.result()?;
    Ok(outcome)
}

/// As [`run`], for a command that has a result to print of the inputs that did not fail.
///
/// # Errors
/// If standard output cannot be written.
pub fn run_all<W: Work>(
    work: &W,
    jobs: &[W::Job],
    failed: Failures,
) -> Result<(Outcome, Failures)> {
    let mut failed = failed;
    let pieces: f64 = jobs.iter().map(|job| work.units(job)).sum();
    let fits: Vec<&W::Job> = jobs
        .iter()
        .filter(|job| {
            let name = work.name(job);
            let result = need::check(work, job, pieces > 1.0).map_err(|e| named(e, &name));
            failed.note(&name, result).is_some()
        })
        .collect();
    let mut progress = ui::Meter::new(
        W::LABEL,
        fits.iter().map(|job| work.units(job)).sum(),
        W::UNIT,
    );
    let (written, clock) = match work.keeps_part() {
        true => stoppable(|stop| threads::run(work, &fits, Some(stop), &mut progress, &mut failed)),
        false => threads::run(work, &fits, None, &mut progress, &mut failed),
    };
    progress.finish();
    if !written.is_empty() {
        ui::print_lines(work.report(&written))?;
    }
    Ok((Outcome { clock }, failed))
}

/// The error with the input's name in front, unless it has that already.
fn named(error: anyhow::Error, name: &str) -> anyhow::Error {
    match has_name(&error.to_string(), name) {
        true => error,
        false => error.context(name.to_owned()),
    }
}

/// Whether a name stands in a text by itself, not within a word or a longer path.
fn has_name(text: &str, name: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && !"/\\._-".contains(c));
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        ends(before) && ends(text[at + name.len()..].chars().next())
    })
}

/// The measurements of [`run`].
pub struct Outcome {
    clock: Clock,
}

impl Outcome {
    /// Writes the file of `--timings`, if there is to be one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_timings(self, compute: &Compute, vae: &Vae, direction: Direction) -> Result<()> {
        match &compute.timings {
            Some(path) => Ok(Timings::new(self.clock, vae, direction).write(path)?),
            None => Ok(()),
        }
    }
}

/// Inputs that failed among many.
pub struct Failures {
    /// All inputs of the command.
    inputs: usize,
    names: Vec<String>,
    /// The error of the only input.
    only: Option<anyhow::Error>,
}

impl Failures {
    /// No failure yet, among this number of inputs.
    pub fn among(inputs: usize) -> Self {
        Self {
            inputs,
            names: Vec::new(),
            only: None,
        }
    }

    /// Counts among so many inputs alone.
    pub fn narrow(&mut self, inputs: usize) {
        self.inputs = inputs;
    }

    /// The value, or nothing after the error has been reported. The error of a single input is kept for [`Self::result`].
    pub fn note<T>(&mut self, name: &str, result: Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if self.inputs > 1 {
            ui::error(&error);
        } else {
            self.only = Some(error);
        }
        self.names.push(name.to_owned());
        None
    }

    /// Fails if any input did.
    ///
    /// # Errors
    /// The error of the only input, or one that names those that failed.
    pub fn result(self) -> Result<()> {
        match (self.only, self.names.len()) {
            (Some(error), _) => Err(error),
            (None, 0) => Ok(()),
            (None, n) => anyhow::bail!(
                "{n} of {} inputs failed: {}",
                self.inputs,
                self.names.join(", ")
            ),
        }
    }
}

/// Makes a job of each input. Inputs that fail do not stop the others.
pub fn prepare<T, J>(
    failed: &mut Failures,
    inputs: impl IntoIterator<Item = T>,
    name: impl Fn(&T) -> String,
    prepare: impl Fn(T) -> Result<J>,
) -> Vec<J> {
    let jobs = inputs.into_iter().filter_map(|input| {
        let name = name(&input);
        failed.note(&name, prepare(input))
    });
    jobs.collect()
}

#[cfg(test)]
mod tests;
