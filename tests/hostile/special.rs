//! Entries of folders that are no files.

use std::path::Path;

/// A fifo, which blocks whoever opens it.
pub fn fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo runs").success());
}

/// A socket. It stays when its listener is gone.
pub fn socket(path: &Path) {
    std::os::unix::net::UnixListener::bind(path).expect("a socket");
}

/// A link, wherever it leads.
pub fn link(target: &str, path: &Path) {
    std::os::unix::fs::symlink(target, path).expect("a link");
}
