//! Watching which paths a run changes, with `strace`, when `VAE2X_TRACE` is set: see `tools/strace_hostile.sh`.

use std::path::{Component, Path, PathBuf};

/// System calls that make, change or remove what a path names. `open` and its kin are judged by their flags.
const CHANGING: &[&str] = &[
    "creat", "rename", "unlink", "rmdir", "mkdir", "mknod", "link", "symlink", "truncate", "chmod",
    "chown", "utime", "setxattr", "mount",
];
const WRITING: &[&str] = &["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
/// Devices that swallow what is written.
const HARMLESS: &[&str] = &["/dev/null", "/dev/tty"];

/// A run under `strace`.
pub struct Trace {
    log: PathBuf,
}

impl Trace {
    /// A log in `folder`, if runs are to be watched.
    pub fn wanted(folder: &Path) -> Option<Self> {
        std::env::var_os("VAE2X_TRACE")?;
        let log = folder.join("strace.log");
        Some(Self { log })
    }

    /// What goes before the program on a command line of a shell.
    pub fn prefix(&self) -> String {
        format!(
            "strace -f -qq -s 4096 -e trace=%file -o '{}' ",
            self.log.display()
        )
    }

    /// Paths outside of the `allowed` folders that a run in `cwd` changed or tried to change.
    pub fn outside(self, cwd: &Path, allowed: &[&Path]) -> Vec<String> {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if log.is_empty() {
            return vec!["nothing was traced".into()];
        }
        let _ = std::fs::remove_file(&self.log);
        let mut found: Vec<String> = log
            .lines()
            .flat_map(changed_paths)
            .filter(|path| {
                let path = resolve(cwd, Path::new(path));
                !allowed.iter().any(|folder| path.starts_with(folder))
                    && !HARMLESS.iter().any(|h| path == Path::new(h))
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }
}

/// Paths that a line of the log changes. A rename has two.
fn changed_paths(line: &str) -> Vec<String> {
    let line = line
        .split_once(' ')
        .map_or(line, |(_, call)| call.trim_start());
    let Some((name, arguments)) = line.split_once('(') else {
        return Vec::new();
    };
    let opens = name.starts_with("open");
    let changes = CHANGING
        .iter()
        .any(|call| name.starts_with(call) || name.starts_with(&format!("f{call}")));
    if !(changes || opens && WRITING.iter().any(|flag| arguments.contains(flag))) {
        return Vec::new();
    }
    let paths = quoted(arguments);
    // The first path of a symbolic link is its content.
    let skip = usize::from(name.starts_with("symlink"));
    paths.into_iter().skip(skip).collect()
}

/// The strings in quotes, as strace escapes them.
fn quoted(arguments: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut current: Option<String> = None;
    let mut escaped = false;
    for c in arguments.chars() {
        match (&mut current, c) {
            (Some(text), _) if escaped => {
                text.push(c);
                escaped = false;
            }
            (Some(_), '\\') => escaped = true,
            (Some(text), '"') => {
                found.push(std::mem::take(text));
                current = None;
            }
            (Some(text), _) => text.push(c),
            (None, '"') => current = Some(String::new()),
            (None, _) => {}
        }
    }
    found
}

/// `path` from `cwd`, without `.` and `..`.
fn resolve(cwd: &Path, path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    resolved
}
