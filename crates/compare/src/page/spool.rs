//! Frames that are made for the page: in a file beside it until the page is written, so that no clip is held in memory.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use vae2x_core::temp::TempFile;
use vae2x_core::{Error, Result};

/// The file, which is deleted with the last frame that refers to it.
#[derive(Debug)]
pub struct Spool {
    page: PathBuf,
    /// Bytes that the frames of all clips may take in the page.
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: TempFile,
    length: u64,
    /// Bytes of all frames, of those that are files already, too.
    counted: u64,
}

/// Where a frame is.
#[derive(Clone, Debug)]
pub(super) struct Spooled {
    spool: Arc<Spool>,
    start: u64,
    length: usize,
}

impl Spool {
    /// An empty file beside `page`, whose clips may take `limit` bytes of it.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be created.
    pub fn beside(page: &Path, limit: u64) -> Result<Arc<Self>> {
        let state = State {
            file: TempFile::create(page)?,
            length: 0,
            counted: 0,
        };
        Ok(Arc::new(Self {
            page: page.to_path_buf(),
            limit,
            state: Mutex::new(state),
        }))
    }

    /// Bytes that the frames of all clips may take in the page.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Counts the bytes of a frame, and gives the sum in the page.
    pub(super) fn count(&self, bytes: u64) -> u64 {
        let mut state = self.lock();
        state.counted += bytes;
        in_page(state.counted)
    }

    /// What the frames that were counted take in the page.
    pub(super) fn counted(&self) -> u64 {
        in_page(self.lock().counted)
    }

    pub(super) fn push(self: &Arc<Self>, bytes: &[u8]) -> Result<Spooled> {
        let mut state = self.lock();
        let start = state.length;
        let file = state.file.file()?;
        let at = |e| Error::io(&self.page, e);
        file.seek(SeekFrom::Start(start)).map_err(at)?;
        file.write_all(bytes).map_err(at)?;
        state.length += bytes.len() as u64;
        Ok(Spooled {
            spool: Arc::clone(self),
            start,
            length: bytes.len(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes as base64.
fn in_page(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4
}

impl Spooled {
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut state = self.spool.lock();
        let file = state.file.file()?;
        let mut bytes = vec![0; self.length];
        file.seek(SeekFrom::Start(self.start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| Error::io(&self.spool.page, e))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::beside(&folder.path().join("page.html"), 1000).unwrap();
        let frames = [&b"first"[..], b"", b"third"].map(|bytes| spool.push(bytes).unwrap());
        assert_eq!((spool.count(4), spool.counted()), (8, 8));
        drop(spool);
        let read = |i: usize| frames[i].bytes().unwrap();
        assert_eq!([read(2), read(0), read(1)], [&b"third"[..], b"first", b""]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(frames);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
