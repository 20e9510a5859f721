//! What can stop a training run.

use std::path::PathBuf;

/// A result with training's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Files, tensors, models.
    #[error(transparent)]
    Core(#[from] vae2x_core::Error),
    /// A configuration that cannot be meant.
    #[error("configuration: {0}")]
    Config(String),
    /// Photos: none found, none usable.
    #[error("data: {0}")]
    Data(String),
    /// A loss or a gradient that is not finite, or exploded.
    #[error("step {step}: {what}; the samples were {}; the losses were {losses}", names.join(", "))]
    Diverged {
        /// The step that failed; its update was not applied.
        step: u64,
        /// What was seen.
        what: String,
        /// The photos of the step.
        names: Vec<String>,
        /// The step's losses.
        losses: String,
    },
    /// One of several devices that train together has stopped.
    #[error("several devices: {0}")]
    Rank(String),
    /// A run folder that is not in the state that was asked for.
    #[error("{}: {problem}", path.display())]
    Run {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    /// An input or output error at `path`.
    pub fn io(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        vae2x_core::Error::io(path, source).into()
    }
}
