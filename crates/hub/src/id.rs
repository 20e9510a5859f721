//! The name of a model on the hub.

use std::fmt;

/// A repository of the hub and, optionally, a revision of it and a path inside it.
#[derive(Clone, Debug, PartialEq)]
pub struct HubId {
    /// `owner/name`.
    pub repo: String,
    /// A branch, a tag or a commit; `main` if none is given.
    pub revision: Option<String>,
    /// A file or folder of the repository, without slashes at its ends.
    pub inner: Option<String>,
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.inner {
            Some(inner) => write!(f, ":{inner}"),
            None => Ok(()),
        }
    }
}
