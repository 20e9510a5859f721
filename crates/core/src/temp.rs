//! Files that appear whole or not at all: written beside their target under a temporary name, flushed to disk, renamed.
//!
//! A temporary file is deleted when its [`TempFile`] is dropped without [`TempFile::persist`]. A process that dies of a
//! signal drops nothing, so the paths of all temporary files are also kept in one list, and a signal handler's thread
//! deletes them with [`remove_all`]. Files are created, renamed and deleted under the list's lock, which `remove_all` never
//! gives back: none is missed, and none is created after it.
//!
//! A kill that no handler sees leaves a hidden `.NAME.vae2x-RANDOM.tmp` behind. A temporary file is locked as long as it is
//! written, and the system ends the lock with the process, so that a later process can tell what is left over and delete it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Paths of the temporary files that exist now.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// What follows the target's name in a temporary name, before 16 hexadecimal digits.
const MARK: &str = ".vae2x-";
/// Bytes of the target's name that are kept: some file systems allow names of 143 bytes.
const KEPT: usize = 100;

fn live() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file under a temporary name in its target's folder.
#[derive(Debug)]
pub struct TempFile {
    target: PathBuf,
    temp: PathBuf,
    /// Taken when the file is closed.
    file: Option<File>,
}

impl TempFile {
    /// Creates an empty file that is to become `target`. A `target` that is a link stands for the file it points to. It gets
    /// the permissions of the file that it replaces.
    ///
    /// # Errors
    /// [`Error::Io`] at `target` if its folder cannot be written, or if it exists and is not a regular file or marked read-only.
    pub fn create(target: &Path) -> Result<Self> {
        let at_target = |e| Error::io(target, e);
        let (target, replaced) = match target.metadata() {
            // The folder decides who may replace a file, but this mark asks that nobody does.
            Ok(found) if found.is_file() && found.permissions().readonly() => {
                return Err(at_target(std::io::Error::new(
                    ErrorKind::PermissionDenied,
                    "exists and is marked read-only",
                )));
            }
            Ok(found) if found.is_file() => {
                let target = target.canonicalize().map_err(at_target)?;
                (target, Some(found.permissions()))
            }
            Ok(_) => {
                return Err(at_target(std::io::Error::other(
                    "exists and is not a regular file",
                )));
            }
            Err(_) => (target.to_path_buf(), None),
        };
        let (temp, file) = create_beside(&target).map_err(at_target)?;
        let created = Self {
            target,
            temp,
            file: Some(file),
        };
        if let (Some(permissions), Some(file)) = (replaced, &created.file) {
            take_permissions(file, permissions).map_err(at_target)?;
        }
        #[cfg(unix)]
        leftovers::remove_beside(&created);
        Ok(created)
    }

    /// Where the file is until it gets its target's name.
    pub fn path(&self) -> &Path {
        &self.temp
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

    /// As [`Self::persist`], under another name in the same folder.
    ///
    /// # Errors
    /// As [`Self::persist`].
    pub fn persist_as(mut self, target: PathBuf) -> Result<()> {
        self.target = target;
        self.persist()
    }

    /// Flushes the file to disk and gives it its target's name, replacing an older file.
    ///
    /// # Errors
    /// [`Error::Io`] at the target; the temporary file is deleted then.
    pub fn persist(mut self) -> Result<()> {
        let at_target = |e| Error::io(&self.target, e);
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(at_target)?;
            // Closed first, as some systems want; on others the lock is held until the file has its name.
            if cfg!(unix) {
                self.file = Some(file);
            }
        }
        let mut live = live();
        std::fs::rename(&self.temp, &self.target).map_err(at_target)?;
        live.remove(&self.temp);
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        self.file = None;
        let mut live = live();
        if live.remove(&self.temp) {
            // A failure has nobody left to be reported to.
            let _ = std::fs::remove_file(&self.temp);
        }
    }
}

/// Gives a file the permissions of another; not what they mean for programs, such as whose rights they run with.
fn take_permissions(file: &File, permissions: Permissions) -> std::io::Result<()> {
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt;
        Permissions::from_mode(permissions.mode() & 0o777)
    };
    file.set_permissions(permissions)
}

/// Creates, locks and lists a file under a temporary name in the folder of `target`.
fn create_beside(target: &Path) -> std::io::Result<(PathBuf, File)> {
    let name = target
        .file_name()
        .ok_or_else(|| std::io::Error::new(ErrorKind::InvalidInput, "the path names no file"))?;
    let mut live = live();
    loop {
        let temp = target.with_file_name(temp_name(name));
        match File::create_new(&temp) {
            // 64 random bits: it happens, if ever, once.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => (),
            Err(e) => return Err(e),
            Ok(file) => {
                // A file system without locks has no locks for others to find either.
                #[cfg(unix)]
                let _ = file.try_lock();
                live.insert(temp.clone());
                return Ok((temp, file));
            }
        }
    }
}

/// `.NAME.vae2x-RANDOM.tmp`, which fits wherever a name fits.
fn temp_name(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let kept = &name[..name.floor_char_boundary(KEPT)];
    // The keys are random.
    let random = RandomState::new().hash_one(std::process::id());
    format!(".{kept}{MARK}{random:016x}.tmp")
}

/// What killed processes have left.
#[cfg(unix)]
mod leftovers {
    use std::time::Duration;

    use super::*;

    /// The age from which a file without a lock counts as left over. Locks of network file systems may not reach other
    /// machines, but what is being written there is not that old.
    pub const OLD: Duration = Duration::from_secs(600);

    /// Folders in which leftovers have been looked for.
    static SEEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

    /// Deletes the leftovers in the folder of `ours`, once per folder. Nothing depends on it, so errors are not reported.
    pub fn remove_beside(ours: &TempFile) {
        let folder = ours.temp.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(folder.to_path_buf()) {
            let _ = remove_in(folder, ours);
        }
    }

    fn remove_in(folder: &Path, ours: &TempFile) -> std::io::Result<()> {
        // The file system's own time.
        let now = ours.temp.metadata()?.modified()?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if !is_temp_name(entry.file_name().as_encoded_bytes()) {
                continue;
            }
            // Not followed if it is a link.
            let found = entry.metadata()?;
            let age = now.duration_since(found.modified()?).unwrap_or_default();
            if found.is_file() && age >= OLD && has_no_owner(&entry.path()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Whether a name is one that [`temp_name`] makes.
    fn is_temp_name(name: &[u8]) -> bool {
        let parts = name
            .strip_suffix(b".tmp")
            .and_then(|rest| rest.split_last_chunk::<16>());
        parts.is_some_and(|(start, random)| {
            start
                .strip_prefix(b".")
                .is_some_and(|kept| kept.ends_with(MARK.as_bytes()))
                && random.iter().all(u8::is_ascii_hexdigit)
        })
    }

    fn has_no_owner(path: &Path) -> bool {
        // Locks of network file systems want a file that can be written.
        let file = File::options().read(true).write(true).open(path);
        file.is_ok_and(|file| file.try_lock().is_ok())
    }
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

/// Deletes every temporary file of this process, for a thread that then ends the process: whoever creates,
/// renames or drops one from now on waits for ever.
pub fn remove_all() {
    let mut live = live();
    for path in std::mem::take(&mut *live) {
        // Already gone, or beyond reach.
        let _ = std::fs::remove_file(path);
    }
    std::mem::forget(live);
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

    #[test]
    fn long_names_leave_room_for_the_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["n".repeat(255), "\u{e4}".repeat(127), "\u{6f22}".repeat(85)] {
            write_bytes(&folder.path().join(&name), b"x").unwrap();
            assert_eq!(entries(folder.path()), std::slice::from_ref(&name));
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        let name = temp_name(OsStr::new(&"\u{6f22}".repeat(85)));
        assert!(name.len() <= 143, "{name}");
    }

    #[test]
    fn no_two_temporary_names_are_alike() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let created: Vec<_> = (0..200)
            .map(|_| TempFile::create(&target).unwrap())
            .collect();
        assert_eq!(entries(folder.path()).len(), created.len());
        drop(created);
        assert_eq!(entries(folder.path()), Vec::<String>::new());
    }

    /// A file of a name like a temporary one's, as old as if nobody wrote to it any more.
    #[cfg(unix)]
    fn leave(path: &Path) -> File {
        let file = File::create_new(path).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - leftovers::OLD).unwrap();
        file
    }

    #[cfg(unix)]
    #[test]
    fn only_old_files_that_nobody_holds_are_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        leave(&at(".other.png.vae2x-0123456789abcdef.tmp"));
        let held = leave(&at(".held.png.vae2x-0123456789abcdef.tmp"));
        held.try_lock().unwrap();
        File::create_new(at(".new.png.vae2x-0123456789abcdef.tmp")).unwrap();
        let others = [
            ".a.1-1.tmp",
            ".vae2x-0123456789abcdef.tmp",
            ".a.vae2x-0123456789abcde.tmp",
            ".a.vae2x-0123456789abcdeg.tmp",
            ".a.vae2x-0123456789abcdef.tmp2",
            "a.vae2x-0123456789abcdef.tmp",
        ];
        for name in others {
            leave(&at(name));
        }
        leave(&at("real"));
        std::os::unix::fs::symlink("real", at(".link.vae2x-0123456789abcdef.tmp")).unwrap();
        std::fs::create_dir(at(".folder.vae2x-0123456789abcdef.tmp")).unwrap();

        let before = entries(folder.path());
        write_bytes(&at("x.png"), b"x").unwrap();
        let mut expected = before;
        expected.retain(|name| !name.starts_with(".other"));
        expected.push("x.png".into());
        expected.sort();
        assert_eq!(entries(folder.path()), expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_being_written_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let temp = TempFile::create(&folder.path().join("a")).unwrap();
        let other = File::open(&temp.temp).unwrap();
        assert!(other.try_lock().is_err());
        drop(temp);
        assert!(other.try_lock().is_ok());
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

    #[cfg(unix)]
    #[test]
    fn permissions_stay_and_a_read_only_file_is_not_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o7777;
        for (before, after) in [(0o600, 0o600), (0o664, 0o664), (0o4755, 0o755)] {
            std::fs::write(&path, b"old").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            // From the start, not only when it is complete.
            let temp = TempFile::create(&path).unwrap();
            assert_eq!(
                temp.temp.metadata().unwrap().permissions().mode() & 0o7777,
                after
            );
            temp.persist().unwrap();
            assert_eq!(mode(), after);
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        let refused = write_bytes(&path, b"new").unwrap_err().to_string();
        assert!(
            refused.ends_with("exists and is marked read-only"),
            "{refused}"
        );
        assert_eq!(entries(folder.path()), ["a"]);
    }
}
