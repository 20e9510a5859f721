//! The one door through which files are read: regular files only, and no more of them than is expected.
//!
//! Opening a named pipe waits for a writer, and a device may have no end. Anything but a regular file is therefore refused
//! before it is opened, and once more afterwards, as the path may name something else by then; the open itself cannot wait.
//! Sizes are checked before memory is allocated, and a file that grows or has no size (as in `/proc`) ends at the limit.
//!
//! A text may also come from a pipe that the shell opened: `/dev/stdin`, or `/dev/fd/N` of a process substitution. Only paths
//! that are spelt so are read that way, never links to them.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// More than any configuration, index or list of shards takes, in bytes.
pub const MAX_TEXT: u64 = 16 << 20;

/// Opens a regular file for reading.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened, [`Error::Format`] if it is not a regular file.
pub fn open(path: &Path) -> Result<File> {
    let failed = |e| Error::io(path, e);
    require_regular(path, &path.metadata().map_err(failed)?)?;
    let file = without_waiting().open(path).map_err(failed)?;
    require_regular(path, &file.metadata().map_err(failed)?)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open`]; [`Error::Format`] if there are more bytes, [`Error::OutOfMemory`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_open(path, &mut open(path)?, limit)
}

/// Reads a UTF-8 text of at most `limit` bytes from a regular file, or from a pipe that the shell opened.
///
/// # Errors
/// As [`read`]; [`Error::Format`] if it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let bytes = if is_passed_by_shell(path) {
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        read_open(path, &mut file, limit)?
    } else {
        read(path, limit)?
    };
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::format(path, format!("not UTF-8 text, from byte {at} on"))
    })
}

/// Refuses anything but a regular file; `found` is the metadata of `path`.
///
/// # Errors
/// [`Error::Format`] that names the kind.
pub fn require_regular(path: &Path, found: &Metadata) -> Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let kind = kind(found.file_type());
    Err(Error::format(
        path,
        format!("{kind}; expected a regular file"),
    ))
}

/// Reads what is left of an open file, at most `limit` bytes.
fn read_open(path: &Path, file: &mut File, limit: u64) -> Result<Vec<u8>> {
    let failed = |e| Error::io(path, e);
    let too_long = |found: String| {
        let problem = format!("{found} bytes; at most {limit} bytes are read");
        Error::format(path, problem)
    };
    let size = file.metadata().map_err(failed)?.len();
    if size > limit {
        return Err(too_long(size.to_string()));
    }
    let mut bytes = Vec::new();
    reserve(path, &mut bytes, size)?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(too_long(format!("more than {limit}"))),
        false => Ok(bytes),
    }
}

fn reserve(path: &Path, bytes: &mut Vec<u8>, size: u64) -> Result<()> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(size).map_err(|_| {
        let what = format!("{size} bytes to read {}", path.display());
        Error::OutOfMemory(what)
    })
}

/// Whether a path is one that a shell makes for a pipe of its own.
fn is_passed_by_shell(path: &Path) -> bool {
    path == Path::new("/dev/stdin")
        || ["/dev/fd", "/proc/self/fd"]
            .iter()
            .any(|folder| path.parent() == Some(Path::new(folder)))
}

/// Options to read a file; opening it does not wait, even if it became a pipe since it was looked at.
fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NONBLOCK | libc::O_NOCTTY,
    );
    options
}

fn kind(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "a named pipe";
        } else if found.is_socket() {
            return "a socket";
        } else if found.is_block_device() || found.is_char_device() {
            return "a device";
        }
    }
    match found.is_dir() {
        true => "a folder",
        false => "a special file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl std::fmt::Debug>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read_text(&path, 5).unwrap(), "four");
        let refused = message(read(&path, 3));
        assert!(refused.contains("a: 4 bytes; at most 3"), "{refused}");
        std::fs::write(&path, b"\xff").unwrap();
        assert!(message(read_text(&path, 4)).contains("not UTF-8"));
    }

    #[test]
    fn folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(message(open(folder.path())).contains("a folder; expected a regular file"));
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_sockets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(message(read(&socket, 9)).contains("a socket"));
        assert!(message(read(Path::new("/dev/zero"), 9)).contains("a device"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/stdin", &link).unwrap();
        // What standard input is differs between runs; a link to it is never read as one that the shell passed.
        assert!(!is_passed_by_shell(&link));
    }

    /// What `stat` shows a size of 0 for, and what grows after it was looked at, ends at the limit as well.
    #[cfg(target_os = "linux")]
    #[test]
    fn files_without_a_size_end_at_the_limit() {
        let maps = Path::new("/proc/self/maps");
        assert_eq!(maps.metadata().unwrap().len(), 0);
        assert!(message(read(maps, 16)).contains("more than 16 bytes"));
        assert!(read(maps, MAX_TEXT).unwrap().len() > 16);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_refused_without_waiting_unless_the_shell_passed_it() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert!(message(open(&pipe)).contains("a named pipe"));
        assert!(message(read_text(&pipe, 9)).contains("a named pipe"));

        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"text").unwrap();
        drop(writer);
        let passed = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(read_text(Path::new(&passed), 4).unwrap(), "text");
    }
}
