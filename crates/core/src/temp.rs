//! Files that appear whole or not at all: written beside their target under a temporary name, flushed to disk, renamed.
//!
//! A temporary file is deleted when its [`TempFile`] is dropped without [`TempFile::persist`]. A process that dies of a
//! signal drops nothing, so every live temporary path is also kept in one list, and a signal handler's thread deletes
//! them with [`remove_all`]. A kill that no handler sees leaves a hidden `.NAME.PID-N.tmp` behind.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Paths of the temporary files that exist now.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Distinguishes the temporary files of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn live() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file under a temporary name in its target's folder.
#[derive(Debug)]
pub struct TempFile {
    target: PathBuf,
    temp: PathBuf,
    /// Taken when the file is closed, which some systems want before it is renamed or deleted.
    file: Option<File>,
}

impl TempFile {
    /// Creates an empty file that is to become `target`. A `target` that is a link stands for the file it points to.
    ///
    /// # Errors
    /// [`Error::Io`] at `target` if its folder cannot be written, or if it exists and is not a regular file.
    pub fn create(target: &Path) -> Result<Self> {
        let at_target = |e| Error::io(target, e);
        let target = match target.metadata() {
            Ok(found) if found.is_file() => target.canonicalize().map_err(at_target)?,
            Ok(_) => {
                return Err(at_target(std::io::Error::other(
                    "exists and is not a regular file",
                )));
            }
            Err(_) => target.to_path_buf(),
        };
        let temp = temp_path(&target).map_err(at_target)?;
        // Listed before it exists, so that no moment is left in which a signal would miss it.
        live().insert(temp.clone());
        match File::create_new(&temp) {
            Ok(file) => Ok(Self {
                target,
                temp,
                file: Some(file),
            }),
            Err(e) => {
                live().remove(&temp);
                Err(at_target(e))
            }
        }
    }

    /// The open file.
    ///
    /// # Errors
    /// [`Error::Io`] at the target; only if the file was closed already.
    pub fn file(&mut self) -> Result<&mut File> {
        self.file
            .as_mut()
            .ok_or_else(|| Error::io(&self.target, std::io::Error::other("closed already")))
    }

    /// Flushes the file to disk and gives it its target's name, replacing an older file.
    ///
    /// # Errors
    /// [`Error::Io`] at the target; the temporary file is deleted then.
    pub fn persist(mut self) -> Result<()> {
        let file = self.file.take();
        let renamed = file
            .map_or(Ok(()), |f| f.sync_all())
            .and_then(|()| std::fs::rename(&self.temp, &self.target));
        renamed.map_err(|e| Error::io(&self.target, e))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        self.file = None;
        // After a rename there is nothing to delete; other failures have nobody left to report to.
        let _ = std::fs::remove_file(&self.temp);
        live().remove(&self.temp);
    }
}

/// `.NAME.PID-N.tmp` in the folder of `target`.
fn temp_path(target: &Path) -> std::io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path names no file")
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(
        ".{}-{}.tmp",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    Ok(target.with_file_name(hidden))
}

/// Flushes the entry of `path` in its folder to disk: a rename too can be lost with the power until then. Systems that cannot flush
/// a folder are trusted to do without.
///
/// # Errors
/// [`Error::Io`] at `path`.
pub fn sync_folder_of(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        match synced.map_err(|e| (e.kind(), e)) {
            Ok(())
            | Err((std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported, _)) => {
                Ok(())
            }
            Err((_, e)) => Err(Error::io(path, e)),
        }
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(())
    }
}

/// Deletes every temporary file of this process: for the thread that handles a signal, just before it exits.
pub fn remove_all() {
    for path in std::mem::take(&mut *live()) {
        let _ = std::fs::remove_file(path);
    }
}

/// Writes `path` whole or not at all: `fill` gets the temporary file, buffered.
///
/// # Errors
/// What `fill` returns, or [`Error::Io`] at `path`. The temporary file is deleted then and `path` is as it was.
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let mut temp = TempFile::create(path)?;
    let file = temp.file()?.try_clone().map_err(|e| Error::io(path, e))?;
    let mut out = BufWriter::new(file);
    fill(&mut out)?;
    out.flush().map_err(|e| Error::io(path, e))?;
    drop(out);
    temp.persist()
}

/// Writes `bytes` to `path`, whole or not at all.
///
/// # Errors
/// As [`write()`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, |out| {
        out.write_all(bytes).map_err(|e| Error::io(path, e))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write_bytes(&path, b"old").unwrap();
        let failed = write(&path, |out| {
            out.write_all(b"half").unwrap();
            Err(Error::Device("stop".into()))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(entries(folder.path()), ["a.bin"]);
        write_bytes(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(entries(folder.path()), ["a.bin"]);
    }

    #[test]
    fn folders_and_missing_folders_are_refused_at_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let lost = folder.path().join("missing/a.bin");
        for target in [folder.path(), &lost] {
            let error = write_bytes(target, b"x").unwrap_err();
            assert!(
                matches!(&error, Error::Io { path, .. } if path == target),
                "{error:?}"
            );
        }
        assert_eq!(entries(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn live_files_are_listed_until_they_are_dropped_or_persisted() {
        let folder = tempfile::tempdir().unwrap();
        let listed = |temp: &TempFile| live().contains(&temp.temp);
        let dropped = TempFile::create(&folder.path().join("a")).unwrap();
        assert!(listed(&dropped) && dropped.temp.exists());
        let path = dropped.temp.clone();
        drop(dropped);
        assert!(!live().contains(&path) && !path.exists());
        let kept = TempFile::create(&folder.path().join("b")).unwrap();
        let path = kept.temp.clone();
        kept.persist().unwrap();
        assert!(!live().contains(&path));
        assert_eq!(entries(folder.path()), ["b"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        write_bytes(&real, b"old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_bytes(&link, b"new").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
    }
}
