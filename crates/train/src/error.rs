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
    /// An invalid configuration.
    #[error("configuration: {0}")]
    Config(String),
    /// Photos: none found, none usable.
    #[error("data: {0}")]
    Data(String),
    /// A photo or a file of latents that is damaged or cannot be used, and why, without its path. Jobs that can skip it do.
    #[error("{0}")]
    Unusable(String),
    /// A loss or a gradient that is not finite, or exploded.
    #[error("step {step}: {what}; the samples were {}; the losses were {losses}", names.join(", "))]
    Diverged {
        /// The step that failed; its update was not applied.
        step: u64,
        /// The problem.
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
        /// The problem.
        problem: String,
    },
}

impl Error {
    /// Turns an error about a file's content into [`Error::Unusable`]; errors of the system stay as they are.
    pub fn unusable(self) -> Self {
        use vae2x_core::Error as Core;
        Self::Unusable(match self {
            Self::Core(Core::Io { .. }) => return self,
            Self::Core(Core::Format { problem, .. }) => problem,
            Self::Core(Core::Tensor {
                tensor,
                expected,
                got,
                ..
            }) => {
                format!("tensor '{tensor}': expected {expected}, found {got}")
            }
            other => other.to_string(),
        })
    }

    /// An [`Error::Run`] of a folder or a file in it.
    pub fn run(path: impl AsRef<std::path::Path>, problem: impl Into<String>) -> Self {
        Self::Run {
            path: path.as_ref().to_path_buf(),
            problem: problem.into(),
        }
    }

    /// An input or output error at `path`.
    pub fn io(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        vae2x_core::Error::io(path, source).into()
    }
}
