//! Names with wildcards, for shells that pass them on as they are: `*`, `?` and `[...]` within a
//! name, `**` for folders at any depth.
//!
//! A name that exists as it stands is never a pattern, so `a[1].png` and files in `set [2]/` are
//! found. Hidden files match only a pattern that begins with a dot; `**` follows no links.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::natural;

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: !cfg!(windows),
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The files and folders that a path with wildcards stands for, in natural order, each once; `None`
/// if it has none or exists as it stands.
pub(super) fn expand(path: &Path) -> Option<Vec<PathBuf>> {
    if path.symlink_metadata().is_ok() || !path.iter().any(|name| pattern(name).is_some()) {
        return None;
    }
    let mut found = vec![PathBuf::new()];
    for component in path.components() {
        found = match component {
            Component::Normal(name) => found.iter().flat_map(|at| step(at, name)).collect(),
            other => found.into_iter().map(|at| at.join(other)).collect(),
        };
    }
    let mut seen = HashSet::new();
    found.retain(|path| seen.insert(path.clone()));
    Some(found)
}

/// The part of a pattern, if it has wildcards.
fn pattern(name: &OsStr) -> Option<Pattern> {
    let text = name
        .to_str()
        .filter(|text| text.contains(['*', '?', '[']))?;
    Pattern::new(text).ok()
}

/// What `name` stands for in a folder.
fn step(folder: &Path, name: &OsStr) -> Vec<PathBuf> {
    let literal = folder.join(name);
    if literal.symlink_metadata().is_ok() {
        return vec![literal];
    }
    if name == "**" {
        return folders_from(folder);
    }
    let Some(pattern) = pattern(name) else {
        return Vec::new();
    };
    let is_match = |name: &OsStr| pattern.matches_with(&name.to_string_lossy(), OPTIONS);
    let mut names = names_in(folder);
    names.retain(|name| is_match(name));
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// The folder and all below it, each before those in it.
fn folders_from(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = waiting.pop() {
        let inner = names_in(&folder).into_iter().rev();
        let inner = inner.filter(|name| !name.as_encoded_bytes().starts_with(b"."));
        let is_folder = |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        waiting.extend(inner.map(|name| folder.join(name)).filter(is_folder));
        found.push(folder);
    }
    found
}

/// The names in a folder, in natural order; none if it cannot be read, as for a shell.
fn names_in(folder: &Path) -> Vec<std::ffi::OsString> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort_by(|a, b| natural::compare(Path::new(a), Path::new(b)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty files of these names.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, []).unwrap();
        }
        folder
    }

    fn found(folder: &Path, pattern: &str) -> Option<Vec<String>> {
        let name = |path: &PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
        Some(expand(&folder.join(pattern))?.iter().map(name).collect())
    }

    #[test]
    fn wildcards_match_names_in_natural_order() {
        let names = [
            "b/x2.png",
            "b/x10.png",
            "b/y.png",
            "b/.x3.png",
            "b/c/x1.png",
            "a.txt",
        ];
        let folder = folder(&names);
        for (pattern, expected) in [
            ("b/x*.png", &["b/x2.png", "b/x10.png"][..]),
            ("b/[yz].png", &["b/y.png"]),
            ("b/?.png", &["b/y.png"]),
            ("**/x?.png", &["b/x2.png", "b/c/x1.png"]),
            ("b/**/x1*.png", &["b/x10.png", "b/c/x1.png"]),
            ("**/**/x1.png", &["b/c/x1.png"]),
            ("*/.x*", &["b/.x3.png"]),
            ("*/*/x1.png", &["b/c/x1.png"]),
            ("*.gif", &[]),
            ("none/*", &[]),
        ] {
            assert_eq!(
                found(folder.path(), pattern).unwrap(),
                expected,
                "{pattern}"
            );
        }
        assert_eq!(found(folder.path(), "b/y.png"), None);
        assert_eq!(found(folder.path(), "none.png"), None);
        assert_eq!(found(folder.path(), "[.png"), None);
    }

    #[test]
    fn what_exists_as_it_stands_is_no_pattern() {
        let folder = folder(&["a[1].png", "a1.png", "set [2]/a1.png", "set [2]/b.png"]);
        assert_eq!(found(folder.path(), "a[1].png"), None);
        assert_eq!(found(folder.path(), "a[12].png").unwrap(), ["a1.png"]);
        let inside = found(folder.path(), "set [2]/*.png").unwrap();
        assert_eq!(inside, ["set [2]/a1.png", "set [2]/b.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_followed_by_name_only() {
        let folder = folder(&["in/a.png"]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        assert_eq!(found(folder.path(), "**/a.png").unwrap(), ["in/a.png"]);
        assert_eq!(
            found(folder.path(), "loop/*/a.png").unwrap(),
            ["loop/in/a.png"]
        );
    }
}
