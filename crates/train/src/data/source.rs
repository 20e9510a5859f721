//! A photo's place: a file, or a part of a tar file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::{Error, Result};

/// An image file, or a part of a tar file that is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Name inside a tar file, offset and length there.
    pub member: Option<(String, u64, u64)>,
}

impl Source {
    /// The bytes.
    ///
    /// # Errors
    /// Reading errors.
    pub fn read(&self) -> Result<Vec<u8>> {
        let fail = |e| Error::io(&self.path, e);
        let Some((_, offset, length)) = &self.member else {
            return std::fs::read(&self.path).map_err(fail);
        };
        let mut file = File::open(&self.path).map_err(fail)?;
        file.seek(SeekFrom::Start(*offset)).map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(*length).read_to_end(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }

    /// Where the bytes are, however the path is spelled: the file with all links followed, and the offset inside a tar file.
    pub fn place(&self) -> (PathBuf, Option<u64>) {
        let path = self
            .path
            .canonicalize()
            .unwrap_or_else(|_| self.path.clone());
        (path, self.member.as_ref().map(|(_, offset, _)| *offset))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.member {
            None => write!(f, "{}", self.path.display()),
            Some((name, ..)) => write!(f, "{}:{name}", self.path.display()),
        }
    }
}
