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
    /// The one of a value's names that fits: with trained features, random ones, ones by formula. The first would promise too much
    /// for the others.
    pub fn label(&self, [trained, random, formula]: [&'static str; 3]) -> &'static str {
        match self {
            Self::File(_) => trained,
            Self::Random(_) => random,
            Self::Formula => formula,
        }
    }

    /// Reads `random:SEED` or `formula`; all else is a file or a hub id, which `fetch` turns into a path.
    ///
    /// # Errors
    /// [`Error::Config`] for a seed that is not a number; what `fetch` returns.
    pub fn parse<E: From<Error>>(
        text: &str,
        fetch: impl FnOnce(&str) -> Result<PathBuf, E>,
    ) -> Result<Self, E> {
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
