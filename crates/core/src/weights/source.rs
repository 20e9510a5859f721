//! Where a tensor file's bytes come from: a file read in place, or bytes in memory.
//!
//! Files are not mapped into memory, which would need `unsafe` and would turn a file that shrinks under us into a crash.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::files;

/// Bytes with a name, readable at any position from any thread.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    len: u64,
    store: Store,
}

#[derive(Debug)]
enum Store {
    File(Mutex<File>),
    Bytes(Cow<'static, [u8]>),
}

impl Source {
    /// Opens a regular file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = files::open(path)?;
        let found = file.metadata().map_err(|e| Error::io(path, e))?;
        Ok(Self {
            path: path.to_path_buf(),
            len: found.len(),
            store: Store::File(Mutex::new(file)),
        })
    }

    /// Wraps bytes; `path` only names them in errors.
    pub fn from_bytes(path: PathBuf, bytes: Cow<'static, [u8]>) -> Self {
        Self {
            path,
            len: bytes.len() as u64,
            store: Store::Bytes(bytes),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// An [`Error::Format`] here.
    pub fn problem(&self, what: impl Into<String>) -> Error {
        Error::format(&self.path, what)
    }

    /// Reads `count` bytes at `offset`. Checks that they exist before it allocates.
    pub fn read_at(&self, offset: u64, count: usize) -> Result<Vec<u8>> {
        let end = offset
            .checked_add(count as u64)
            .filter(|&end| end <= self.len);
        let end = end.ok_or_else(|| {
            self.problem(format!(
                "truncated: expected {count} bytes at offset {offset}, found {} in all",
                self.len
            ))
        })?;
        match &self.store {
            Store::Bytes(bytes) => Ok(bytes[offset as usize..end as usize].to_vec()),
            Store::File(file) => {
                let mut buffer = vec![0; count];
                read_file(file, offset, &mut buffer).map_err(|e| Error::io(&self.path, e))?;
                Ok(buffer)
            }
        }
    }

    /// The first bytes, at most `count`.
    pub fn head(&self, count: usize) -> Result<Vec<u8>> {
        self.read_at(0, count.min(usize::try_from(self.len).unwrap_or(count)))
    }

    /// A reader that starts at the beginning.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor {
            source: self,
            position: 0,
        }
    }
}

fn read_file(file: &Mutex<File>, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    // A panic elsewhere cannot leave the file in a state that the seek does not mend.
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

/// A [`Source`] as a stream.
pub(crate) struct Cursor<'a> {
    source: &'a Source,
    position: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = self.source.len.saturating_sub(self.position);
        let count = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let out = &mut out[..count];
        match &self.source.store {
            _ if count == 0 => {}
            Store::Bytes(bytes) => out.copy_from_slice(&bytes[self.position as usize..][..count]),
            Store::File(file) => read_file(file, self.position, out)?,
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.source.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position =
            target.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
