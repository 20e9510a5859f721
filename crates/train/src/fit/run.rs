//! A run's folder (`config.toml`, `log.jsonl`, one checkpoint that is replaced) and the loop over it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use vae2x_core::temp;
use vae2x_core::weights::TensorFile;

use crate::log::{JsonLog, Line, Screen};
use crate::run::{CONFIG_FILE, check_new};
use crate::{Error, Result};

/// The run's state.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Reads a configuration; `validate` refuses what cannot be meant.
///
/// # Errors
/// [`Error::Config`] naming the file and the key.
pub fn open_config<C: DeserializeOwned>(
    path: &Path,
    validate: impl Fn(&C) -> Result<()>,
) -> Result<C> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let named = |e: String| Error::Config(format!("{}: {}", path.display(), e.trim_end()));
    let config: C = toml::from_str(&text).map_err(|e| named(e.to_string()))?;
    validate(&config).map_err(|e| match e {
        Error::Config(problem) => named(problem),
        other => other,
    })?;
    Ok(config)
}

/// Writes a new run's configuration.
///
/// # Errors
/// [`Error::Run`] if the folder holds a run already.
pub fn create(folder: &Path, config: &impl Serialize) -> Result<()> {
    check_new(folder)?;
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let text = toml::to_string(config).map_err(|e| Error::Config(e.to_string()))?;
    Ok(temp::write_bytes(
        &folder.join(CONFIG_FILE),
        text.as_bytes(),
    )?)
}

/// The run's checkpoint, if there is one.
///
/// # Errors
/// If it cannot be read.
pub fn checkpoint(folder: &Path) -> Result<Option<TensorFile>> {
    let path = folder.join(CHECKPOINT_FILE);
    Ok(path.exists().then(|| TensorFile::open(&path)).transpose()?)
}

/// What is trained.
pub trait Work {
    /// Steps done.
    fn step(&self) -> u64;

    /// One step; gives its loss.
    ///
    /// # Errors
    /// Data that cannot be used; [`Error::Diverged`].
    fn advance(&mut self) -> Result<f64>;

    /// Writes all of the state in one file.
    ///
    /// # Errors
    /// Writing errors.
    fn store(&self, path: &Path) -> Result<()>;

    /// What a line of the log says of a checkpoint before the last step; as a rule nothing.
    ///
    /// # Errors
    /// Data that cannot be used.
    fn evaluate(&self) -> Result<Vec<(String, f64)>> {
        Ok(Vec::new())
    }
}

/// How long a run is, and how often it says and stores something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Optimizer steps.
    pub steps: u64,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

impl Pace {
    /// Refuses intervals of 0.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let holds = self.log_every > 0 && self.checkpoint_every > 0;
        super::check(holds, "log_every and checkpoint_every must be 1 or more")
    }
}

/// A run's log.
pub struct Record<'a> {
    log: JsonLog,
    screen: &'a mut dyn Screen,
}

impl<'a> Record<'a> {
    /// The log of a folder, with no line beyond `step`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(folder: &Path, step: u64, screen: &'a mut dyn Screen) -> Result<Self> {
        Ok(Self {
            log: JsonLog::open(&folder.join("log.jsonl"), step)?,
            screen,
        })
    }

    /// Adds a line; numbers that are not finite are left out: JSON has none.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(
        &mut self,
        kind: &str,
        step: u64,
        values: impl IntoIterator<Item = (String, f64)>,
    ) -> Result<()> {
        let values: BTreeMap<_, _> = values.into_iter().filter(|(_, v)| v.is_finite()).collect();
        let line = Line {
            step,
            kind: kind.into(),
            values,
        };
        self.screen.line(&line);
        self.log.add(&line)
    }

    /// As [`JsonLog::sync`].
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.log.sync()
    }
}

/// Trains to the last step, or until `stop` is set: then `false`. The checkpoint is written either way. Lines hold the mean loss
/// since the line before.
///
/// # Errors
/// Those of the work; files that cannot be written. The checkpoint written last stays.
pub fn go(
    folder: &Path,
    pace: Pace,
    work: &mut dyn Work,
    record: &mut Record<'_>,
    stop: &AtomicBool,
) -> Result<bool> {
    let path = folder.join(CHECKPOINT_FILE);
    let mut losses = Vec::new();
    while work.step() < pace.steps {
        losses.push(work.advance()?);
        let step = work.step();
        let stopped = stop.load(Ordering::Relaxed);
        let due = |every: u64| step == pace.steps || step.is_multiple_of(every);
        if due(pace.log_every) {
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            losses.clear();
            record.add("train", step, [("loss".to_string(), mean)])?;
        }
        if stopped || due(pace.checkpoint_every) {
            record.sync()?;
            work.store(&path)?;
        }
        if stopped && step < pace.steps {
            return Ok(false);
        }
        if due(pace.checkpoint_every) && step < pace.steps {
            let values = work.evaluate()?;
            if !values.is_empty() {
                record.add("eval", step, values)?;
            }
        }
    }
    Ok(true)
}
