//! The part of the shared cache that belongs to one repository.
//!
//! The layout is huggingface_hub's: `models--owner--name/refs/<revision>` holds a commit, `snapshots/<commit>/<file>` links to
//! `blobs/<hash>`, and `.locks/models--owner--name/<hash>.lock` is locked while a blob is written. A file on its way is
//! `blobs/<hash>.part`.
//!
//! Nothing is written through a link or outside this part: folders below the cache must be folders, files that are written must
//! be regular files with one name, and a blob or a ref takes the place of what was there instead of being written into it.
//! Names come from checked hashes, commits, revisions and paths alone. Limit: another program that swaps a folder for a link
//! between the check and the use is not noticed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{HubError, Result};
use crate::id::HubId;
use crate::remote::is_commit;

/// A ref holds a commit.
const MAX_REF: u64 = 256;
/// Folders in folders that a cached snapshot is searched for, and how many files are listed at most.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 100_000;
/// Names for a temporary file that are tried, should earlier ones be there.
const TEMPORARY_NAMES: u32 = 1000;

/// The files of one repository in the cache.
pub(crate) struct RepoCache {
    cache: PathBuf,
    /// `models--owner--name`.
    name: String,
}

/// A locked blob; unlocked when dropped. None if the file system knows no locks.
pub(crate) struct BlobLock(#[expect(dead_code, reason = "held for its lock")] Option<File>);

impl RepoCache {
    pub(crate) fn new(cache: &Path, id: &HubId) -> Self {
        Self {
            cache: cache.to_path_buf(),
            name: format!("models--{}", id.repo.replace('/', "--")),
        }
    }

    fn root(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    /// Where a file of a commit lies. `file` is a path that stays inside: see [`crate::remote::is_safe`].
    pub(crate) fn pointer(&self, commit: &str, file: &str) -> PathBuf {
        self.root().join("snapshots").join(commit).join(file)
    }

    pub(crate) fn blob(&self, name: &str) -> PathBuf {
        self.root().join("blobs").join(name)
    }

    /// The commit that a revision was when it was last asked for.
    pub(crate) fn commit_of(&self, revision: &str) -> Option<String> {
        let bytes = read_small(&self.root().join("refs").join(revision), MAX_REF).ok()?;
        let commit = String::from_utf8(bytes).ok()?.trim().to_owned();
        is_commit(&commit).then_some(commit)
    }

    /// Notes which commit a revision is.
    pub(crate) fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        let path = self.root().join("refs").join(revision);
        self.folder_of(&path)?;
        replace(&path, commit.as_bytes()).map_err(|source| failed(&path, source))
    }

    /// The files of a commit that are in the cache, as paths with `/` between their parts.
    pub(crate) fn files_of(&self, commit: &str) -> Vec<String> {
        let mut names = Vec::new();
        let folder = self.root().join("snapshots").join(commit);
        walk(&folder, "", MAX_DEPTH, &mut names);
        names.sort_unstable();
        names
    }

    /// Whether a blob is there with this size. A link is no blob.
    pub(crate) fn has_blob(&self, name: &str, size: u64) -> bool {
        std::fs::symlink_metadata(self.blob(name)).is_ok_and(|m| m.is_file() && m.len() == size)
    }

    /// Links a file of a commit to its blob, in place of what was there.
    pub(crate) fn link(&self, blob: &str, commit: &str, file: &str) -> Result<()> {
        let pointer = self.pointer(commit, file);
        self.folder_of(&pointer)?;
        remove(&pointer)?;
        match link(&self.blob(blob), blob, &pointer, file) {
            // Another program was faster.
            Err(e) if e.kind() == ErrorKind::AlreadyExists && pointer.is_file() => Ok(()),
            Err(source) => Err(failed(&pointer, source)),
            Ok(()) => Ok(()),
        }
    }

    /// Opens the beginning of a file that is on its way, empty if there is none.
    pub(crate) fn open_part(&self, key: &str) -> Result<(PathBuf, File)> {
        let path = self.blob(&format!("{key}.part"));
        self.folder_of(&path)?;
        let file = open_own(&path).map_err(|source| failed(&path, source))?;
        Ok((path, file))
    }

    /// The bytes of a file that is on its way, of this program's or huggingface_hub's.
    pub(crate) fn arrived(&self, key: &str) -> u64 {
        let length = |end: &str| {
            std::fs::symlink_metadata(self.blob(&format!("{key}.{end}"))).map_or(0, |m| m.len())
        };
        length("part").max(length("incomplete"))
    }

    /// Makes a whole file a blob.
    pub(crate) fn keep_part(&self, part: &Path, blob: &str) -> Result<()> {
        let path = self.blob(blob);
        std::fs::rename(part, &path).map_err(|source| failed(&path, source))
    }

    /// Locks a blob. While another program has it, `wait` is called, and ends the waiting with an error.
    pub(crate) fn lock(
        &self,
        key: &str,
        wait: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<BlobLock> {
        let path = self
            .cache
            .join(".locks")
            .join(&self.name)
            .join(format!("{key}.lock"));
        self.folder_of(&path)?;
        let file = open_own(&path).map_err(|source| failed(&path, source))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(BlobLock(Some(file))),
                Err(TryLockError::WouldBlock) => wait(&path)?,
                // Some network file systems have no locks. Then the hash tells if two programs wrote at once.
                Err(TryLockError::Error(_)) => return Ok(BlobLock(None)),
            }
        }
    }

    /// Makes the folders from the cache to `path`. What stands in their place, be it a link, is an error.
    fn folder_of(&self, path: &Path) -> Result<()> {
        std::fs::create_dir_all(&self.cache).map_err(|source| failed(&self.cache, source))?;
        let below = path
            .parent()
            .and_then(|folder| folder.strip_prefix(&self.cache).ok())
            .unwrap_or(Path::new(""));
        let mut folder = self.cache.clone();
        for part in below {
            folder.push(part);
            match std::fs::create_dir(&folder) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(failed(&folder, e)),
                _ => {}
            }
            let found = std::fs::symlink_metadata(&folder).map_err(|e| failed(&folder, e))?;
            if !found.is_dir() {
                let problem = match found.is_symlink() {
                    true => "a link in the cache, through which nothing is written",
                    false => "not a folder",
                };
                return Err(failed(&folder, io::Error::other(problem)));
            }
        }
        Ok(())
    }
}

fn failed(path: &Path, source: io::Error) -> HubError {
    HubError::Cache {
        path: path.to_path_buf(),
        source,
    }
}

/// Removes a file or a link, if there is one.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(path, e)),
        _ => Ok(()),
    }
}

/// The bytes of a regular file, which must not have more than `most`.
pub(crate) fn read_small(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options.read(true);
    // A pipe must not hold the program up.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(format!("more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// Opens a regular file to read and write, or makes it. What is no such file, or has another name too, is removed first.
fn open_own(path: &Path) -> io::Result<File> {
    let existing = std::fs::symlink_metadata(path).ok();
    if existing.is_some_and(|m| !m.is_dir() && !is_own(&m)) {
        std::fs::remove_file(path)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NOFOLLOW | libc::O_NONBLOCK,
    );
    let file = options.open(path)?;
    match is_own(&file.metadata()?) {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file of its own")),
    }
}

fn is_own(metadata: &std::fs::Metadata) -> bool {
    #[cfg(unix)]
    let names = std::os::unix::fs::MetadataExt::nlink(metadata);
    #[cfg(not(unix))]
    let names = 1;
    metadata.is_file() && names <= 1
}

/// Puts a file with these bytes in the place of `path`.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for number in 0..TEMPORARY_NAMES {
        let temporary = path.with_file_name(format!(".{name}.{}-{number}.tmp", std::process::id()));
        // Fails if there is anything, a link too.
        let mut file = match File::create_new(&temporary) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
            opened => opened?,
        };
        let done = file
            .write_all(bytes)
            .and_then(|()| std::fs::rename(&temporary, path));
        if done.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        return done;
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// A relative link, as other programs make it: the cache may move.
#[cfg(unix)]
fn link(_blob: &Path, name: &str, pointer: &Path, file: &str) -> io::Result<()> {
    // Out of the file's own folders, the commit's and `snapshots`.
    let up = "../".repeat(file.split('/').filter(|part| !part.is_empty()).count() + 1);
    std::os::unix::fs::symlink(format!("{up}blobs/{name}"), pointer)
}

/// Symbolic links need a privilege on Windows; a second name for the same file does not.
#[cfg(not(unix))]
fn link(blob: &Path, _name: &str, pointer: &Path, _file: &str) -> io::Result<()> {
    std::fs::hard_link(blob, pointer)
}

/// Collects the files under `folder`. Links to folders are not followed.
fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if names.len() >= MAX_FILES {
            return;
        }
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path.is_file() {
            names.push(name);
        } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, &format!("{name}/"), depth - 1, names);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn cache() -> (tempfile::TempDir, RepoCache, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let id = HubId {
            repo: "o/n".into(),
            revision: None,
            inner: None,
        };
        let cache = RepoCache::new(&home.path().join("hub"), &id);
        let victim = home.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        (home, cache, victim)
    }

    #[test]
    fn planted_links_are_replaced_and_not_followed() {
        let (_home, cache, victim) = cache();
        let plant = |path: &Path| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(&victim, path).unwrap();
        };
        let part = cache.blob("b.part");
        plant(&part);
        let (_, mut file) = cache.open_part("b").unwrap();
        file.write_all(b"new").unwrap();
        let reference = cache.root().join("refs/main");
        plant(&reference);
        cache.remember("main", COMMIT).unwrap();
        let lock = cache.cache.join(".locks/models--o--n/b.lock");
        plant(&lock);
        cache.lock("b", &mut |_| panic!("nobody has it")).unwrap();
        plant(&cache.pointer(COMMIT, "f"));
        std::fs::rename(&part, cache.blob("b")).unwrap();
        cache.link("b", COMMIT, "f").unwrap();

        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        assert_eq!(cache.commit_of("main").as_deref(), Some(COMMIT));
        assert_eq!(std::fs::read(cache.pointer(COMMIT, "f")).unwrap(), b"new");
        for path in [reference, lock, cache.blob("b")] {
            assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
        }
    }

    #[test]
    fn a_second_name_of_a_file_elsewhere_is_not_written_to() {
        let (_home, cache, victim) = cache();
        std::fs::create_dir_all(cache.blob("")).unwrap();
        std::fs::hard_link(&victim, cache.blob("b.part")).unwrap();
        let (_, mut file) = cache.open_part("b").unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(std::fs::read(victim).unwrap(), b"precious");
    }

    #[test]
    fn nothing_is_written_through_a_folder_that_is_a_link() {
        let (home, cache, _) = cache();
        let elsewhere = home.path().join("elsewhere");
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::fs::create_dir_all(cache.root().join("snapshots")).unwrap();
        for folder in ["refs", "blobs", "snapshots/c"] {
            symlink(&elsewhere, cache.root().join(folder)).unwrap();
        }
        assert!(cache.remember("main", COMMIT).is_err());
        assert!(cache.open_part("b").is_err());
        assert!(cache.link("b", "c", "f").is_err());
        assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0);
    }

    #[test]
    fn a_ref_is_a_commit_or_nothing() {
        let (_home, cache, _) = cache();
        cache.remember("main", COMMIT).unwrap();
        let path = cache.root().join("refs/main");
        for wrong in ["../../..", "/etc", "", "main", &"a".repeat(5000)] {
            std::fs::write(&path, wrong).unwrap();
            assert_eq!(cache.commit_of("main"), None, "{wrong}");
        }
        std::fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        assert_eq!(cache.commit_of("main"), None);
    }

    #[test]
    fn a_lock_is_waited_for() {
        let (_home, cache, _) = cache();
        let mut held = Some(cache.lock("b", &mut |_| panic!("nobody has it")).unwrap());
        let mut waited = 0;
        cache
            .lock("b", &mut |_| {
                waited += 1;
                if waited == 3 {
                    held.take();
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(waited, 3);
    }

    #[test]
    fn leftovers_of_a_killed_program_are_no_obstacle() {
        let (_home, cache, _) = cache();
        cache.remember("main", COMMIT).unwrap();
        let folder = cache.root().join("refs");
        for number in 0..3 {
            let name = format!(".main.{}-{number}.tmp", std::process::id());
            std::fs::write(folder.join(name), "").unwrap();
        }
        let other = COMMIT.replace('0', "1");
        cache.remember("main", &other).unwrap();
        assert_eq!(cache.commit_of("main"), Some(other));
    }
}
