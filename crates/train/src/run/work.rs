//! The loop over what is trained.

use std::sync::atomic::{AtomicBool, Ordering};

use super::record::Record;
use crate::Result;

/// Something in training: one step at a time, with all of its state in checkpoints.
pub trait Work {
    /// Steps done.
    fn step(&self) -> u64;

    /// Is called before the first step of a run.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    fn begin(&mut self, record: &mut Record<'_>) -> Result<()> {
        let _ = record;
        Ok(())
    }

    /// Does one step.
    ///
    /// # Errors
    /// Data that cannot be used; [`Error::Diverged`](crate::Error::Diverged), before any weight is changed.
    fn advance(&mut self, record: &mut Record<'_>) -> Result<()>;

    /// The numbers of a line of the log, since the line before.
    fn report(&mut self) -> Vec<(String, f64)>;

    /// Measures on held-out data and adds lines to the record. Returns whether this is the best result so far.
    ///
    /// # Errors
    /// Data that cannot be used; writing errors.
    fn evaluate(&mut self, record: &mut Record<'_>) -> Result<bool>;

    /// Keeps the model as it is now for ever, after an evaluation.
    ///
    /// # Errors
    /// Writing errors.
    fn keep_milestone(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether to stop after this step, given that this process was asked to. Processes that train together agree.
    ///
    /// # Errors
    /// If another one has ended.
    fn agree(&mut self, is_stopped: bool) -> Result<bool> {
        Ok(is_stopped)
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// Writing errors: the checkpoint before stays.
    fn store(&mut self) -> Result<()>;
}

/// How long a run is, and the steps between what it does now and then. All of it is also done at the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Optimizer steps of the whole run.
    pub steps: u64,
    /// Steps between lines of the log.
    pub log: u64,
    /// Steps between measurements on held-out data.
    pub evaluate: u64,
    /// Steps between checkpoints.
    pub checkpoint: u64,
    /// Steps between milestones; 0 for none.
    pub milestone: u64,
}

impl Intervals {
    /// Whether something is done after `step` steps.
    fn is_due(&self, step: u64, every: u64) -> bool {
        step == self.steps || step.is_multiple_of(every)
    }

    /// Whether a milestone is kept after `step` steps.
    pub fn is_milestone(&self, step: u64) -> bool {
        self.milestone > 0 && self.is_due(step, self.milestone)
    }
}

/// Trains to the last step (`true`) or until `stop` is set (`false`); a checkpoint is written either way, and after every result that
/// is the best so far.
///
/// # Errors
/// Those of the work; files that cannot be written. The checkpoints written so far stay.
pub fn train(
    work: &mut dyn Work,
    intervals: Intervals,
    record: &mut Record<'_>,
    stop: &AtomicBool,
) -> Result<bool> {
    if work.step() == 0 {
        work.begin(record)?;
    }
    while work.step() < intervals.steps {
        work.advance(record)?;
        let step = work.step();
        record.step(step);
        let is_last = step == intervals.steps;
        let is_stopped = work.agree(stop.load(Ordering::Relaxed))?;
        let due = |every: u64| intervals.is_due(step, every);
        let is_milestone = intervals.is_milestone(step);
        if due(intervals.log) {
            record.add("train", step, work.report())?;
        }
        let is_best = (due(intervals.evaluate) || is_milestone) && work.evaluate(record)?;
        if is_milestone {
            work.keep_milestone()?;
        }
        if due(intervals.checkpoint) || is_best || is_stopped {
            record.sync()?;
            work.store()?;
        }
        if is_stopped && !is_last {
            return Ok(false);
        }
    }
    Ok(true)
}
