//! One process at a time in a run's folder. The lock is the operating system's, on an open file: it ends with its process, however
//! that ends, and no file has to be removed.

use std::fs::{File, TryLockError};
use std::path::Path;

use vae2x_core::files;

use crate::{Error, Result};

/// The file that is locked.
const LOCK_FILE: &str = ".lock";

/// Held as long as a run is under way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks a folder that exists. File systems without locks are trusted.
    ///
    /// # Errors
    /// [`Error::Run`] if another process holds the lock; a lock that is a link or a special file; if it cannot be made.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK_FILE);
        if let Ok(found) = path.symlink_metadata() {
            files::require_regular(&path, &found)?;
        }
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(|e| Error::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            // Not every network file system has locks, and each reports that in a different way.
            Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::run(
                folder,
                "another process is working in this folder",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_lock_is_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join(LOCK_FILE);
        for target in ["/dev/null", "elsewhere"] {
            std::os::unix::fs::symlink(target, &lock).unwrap();
            let error = Lock::take(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains(LOCK_FILE) && error.contains("regular"),
                "{error}"
            );
            std::fs::remove_file(&lock).unwrap();
        }
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn a_folder_is_locked_once_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        assert!(matches!(
            Lock::take(folder.path()),
            Err(Error::Run { path, .. }) if path == folder.path()
        ));
        drop(lock);
        Lock::take(folder.path()).unwrap();
    }
}
