//! Entries of folders that are no files.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// Makes a named pipe in place of whatever is there. It blocks whoever opens it.
///
/// # Panics
/// If it cannot be made.
pub fn fifo(path: &Path) {
    let _ = std::fs::remove_file(path);
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo starts").success());
}

/// Makes a socket. It stays when its listener is gone.
///
/// # Panics
/// If it cannot be made.
pub fn socket(path: &Path) {
    UnixListener::bind(path).expect("a socket");
}

/// Makes a link, wherever it leads.
///
/// # Panics
/// If it cannot be made.
pub fn link(target: &str, path: &Path) {
    symlink(target, path).expect("a link");
}
