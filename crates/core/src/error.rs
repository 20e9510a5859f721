//! The error type that the library crates share. Variants carry values: the path, the tensor, what was expected, what was found.

use std::path::{Path, PathBuf};

/// A result with the libraries' error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong below the command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a read or a write.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is not what its name or its first bytes promise: truncated, corrupted, or of another format.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, as a sentence.
        problem: String,
    },
    /// A tensor in a file has an unexpected shape or type.
    #[error("{}: {}: expected {expected}, found {got}", path.display(), tensor_named(tensor))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor, as the file names it.
        tensor: String,
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// The tensors of a weight file are not those of the model.
    #[error("{}: {}", path.display(), tensor_set(missing, unused))]
    TensorSet {
        /// The file.
        path: PathBuf,
        /// Tensors that the model needs and the file lacks.
        missing: Vec<String>,
        /// Tensors that the file has and the model does not know.
        unused: Vec<String>,
    },
    /// Values passed between parts of the program do not fit together.
    #[error("{what}: expected {expected}, found {got}")]
    Shape {
        /// The value.
        what: String,
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A clip for weights of the 2-D layout, which have no temporal taps.
    #[error(
        "a clip of {frames} latent frames, but these weights have the 2-D layout, which takes single frames only"
    )]
    ImagesOnly {
        /// Latent frames of the clip.
        frames: usize,
    },
    /// A configuration value that is impossible.
    #[error("model config: {0}")]
    Config(String),
    /// A file of another model than the one that is expected.
    #[error("{}: {found}", path.display())]
    NotThisModel {
        /// The file or folder.
        path: PathBuf,
        /// What it is, or why it is not the model, as a sentence.
        found: String,
    },
    /// What the caller asked for is impossible or contradicts itself, whatever the files hold. The program exits with 2.
    #[error("{0}")]
    BadRequest(String),
    /// A model hub that cannot give what was asked of it, in its own error.
    #[error("{0}")]
    Fetch(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A part that this build lacks.
    #[error("{what} is not in this build; build with `--features {feature}`")]
    Missing {
        /// What was asked for.
        what: String,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// A program of others that is needed and not installed.
    #[error("{program} is not installed: {how}")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// What to do.
        how: &'static str,
    },
    /// A device that is not there, or cannot compute what is asked of it.
    #[error("{0}")]
    NoDevice(String),
    /// What was asked for needs more memory than may be used.
    #[error("{0}")]
    Memory(String),
    /// Values that are NaN or infinite.
    #[error("{what}: {count} of {total} values are not finite")]
    NotFinite {
        /// Where they are.
        what: String,
        /// How many there are.
        count: usize,
        /// Among how many.
        total: usize,
    },
    /// A device has no memory left for what was asked of it.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The work was asked to stop, by a [`Cancel`](crate::Cancel).
    #[error("cancelled")]
    Cancelled,
    /// A device failed, in its own words.
    #[error("the device failed: {0}")]
    Device(String),
}

impl Error {
    /// An [`Error::Io`] at `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    /// An [`Error::Format`] at `path`.
    pub fn format(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Format {
            path: path.as_ref().to_path_buf(),
            problem: problem.into(),
        }
    }
}

/// A few of some names, and how many more there are.
pub(crate) fn list(names: &[String]) -> String {
    const NAMED: usize = 4;
    let named = names.iter().take(NAMED).map(|n| format!("'{n}'"));
    let head = named.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => head,
        more => format!("{head} and {more} more"),
    }
}

/// A tensor in a sentence; one that is alone in its file may have no name.
pub(crate) fn tensor_named(name: &str) -> String {
    match name {
        "" => "the tensor".into(),
        name => format!("tensor '{name}'"),
    }
}

/// Lists missing and unknown tensors, a few of each.
fn tensor_set(missing: &[String], unused: &[String]) -> String {
    match (missing.is_empty(), unused.is_empty()) {
        (false, false) => format!(
            "{} tensors are missing: {}; {} are not of this model: {}",
            missing.len(),
            list(missing),
            unused.len(),
            list(unused)
        ),
        (false, true) => format!("{} tensors are missing: {}", missing.len(), list(missing)),
        _ => format!(
            "{} tensors are not of this model: {}",
            unused.len(),
            list(unused)
        ),
    }
}
