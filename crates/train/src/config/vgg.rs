//! Where a loss's network comes from.

use std::path::PathBuf;

use crate::{Error, Result};

/// Where weights of a VGG come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VggChoice {
    /// By name, equal in every language: tests.
    Formula,
    /// Untrained.
    Random(u64),
    /// A file.
    File(PathBuf),
}

impl VggChoice {
    /// Reads `random:SEED` or `formula`; all else is a file or a hub id, which `fetch` turns into a path.
    ///
    /// # Errors
    /// [`Error::Config`] for a seed that is no number; what `fetch` returns.
    pub fn parse<E: From<Error>>(text: &str, fetch: impl FnOnce(&str) -> Result<PathBuf, E>) -> Result<Self, E> {
        match (text, text.strip_prefix("random:")) {
            ("formula", _) => Ok(Self::Formula),
            (_, Some(seed)) => seed
                .parse()
                .map(Self::Random)
                .map_err(|_| Error::Config(format!("{text}: expected random:SEED")).into()),
            _ => fetch(text).map(Self::File),
        }
    }
}
