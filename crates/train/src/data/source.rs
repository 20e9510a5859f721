//! A photo's place: a file, or a part of a tar file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::PathBuf;

use vae2x_core::{Error as CoreError, files};

use crate::{Error, Result};

/// Bytes of the largest photo that is read: those of a bitmap of 85 million pixels.
const LARGEST: u64 = 256 << 20;

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
    /// A file that is not a regular one or is too large, a part that is not inside its file; reading errors.
    pub fn read(&self) -> Result<Vec<u8>> {
        let (length, part) = self.open()?;
        if length > LARGEST {
            return Err(self.problem(format!(
                "{length} bytes; photos of at most {LARGEST} are read"
            )));
        }
        self.read_part(part)
    }

    /// The first bytes, at most `most`.
    ///
    /// # Errors
    /// As [`Self::read`], whatever the length.
    pub fn head(&self, most: u64) -> Result<Vec<u8>> {
        let (length, part) = self.open()?;
        self.read_part(part.into_inner().take(length.min(most)))
    }

    fn read_part(&self, mut part: Take<File>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes)
            .map_err(|e| Error::io(&self.path, e))?;
        Ok(bytes)
    }

    /// Where its bytes begin, and how many there are; no more can be read, even of a file that grows.
    fn open(&self) -> Result<(u64, Take<File>)> {
        let fail = |e| Error::io(&self.path, e);
        let mut file = files::open(&self.path)?;
        let size = file.metadata().map_err(fail)?.len();
        let Some((_, offset, length)) = self.member else {
            return Ok((size, file.take(size)));
        };
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(self.problem(format!(
                "expected {length} bytes at offset {offset}; the tar file has {size}"
            )));
        }
        file.seek(SeekFrom::Start(offset)).map_err(fail)?;
        Ok((length, file.take(length)))
    }

    fn problem(&self, what: String) -> Error {
        CoreError::format(self.to_string(), what).into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_inside_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.tar");
        std::fs::write(&path, b"0123456789").unwrap();
        let part = |offset, length| Source {
            path: path.clone(),
            member: Some(("x.png".into(), offset, length)),
        };
        assert_eq!(part(3, 4).read().unwrap(), b"3456");
        assert_eq!(part(3, 4).head(2).unwrap(), b"34");
        assert_eq!(part(10, 0).read().unwrap(), b"");
        for (offset, length) in [(3, 8), (11, 0), (u64::MAX, 10), (1, u64::MAX)] {
            let error = part(offset, length).read().unwrap_err().to_string();
            assert!(
                error.contains("s.tar:x.png") && error.contains(&offset.to_string()),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        // Takes no space on the disk.
        File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        let source = Source { path, member: None };
        let error = source.read().unwrap_err().to_string();
        assert!(
            error.contains("x.png") && error.contains(&LARGEST.to_string()),
            "{error}"
        );
        assert_eq!(source.head(3).unwrap(), [0; 3]);
    }

    #[cfg(unix)]
    #[test]
    fn special_files_are_refused() {
        for path in ["/dev/zero", "/dev/null"] {
            let file = Source {
                path: path.into(),
                member: None,
            };
            let part = Source {
                member: Some(("x.png".into(), 0, 9)),
                ..file.clone()
            };
            for source in [file, part] {
                let error = source.read().unwrap_err().to_string();
                assert!(error.contains(path) && error.contains("regular"), "{error}");
            }
        }
    }
}
