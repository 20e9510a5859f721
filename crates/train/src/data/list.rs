//! Where photos are: folders, globs, manifests, tar shards. Listing reads names only.

use std::fs::File;
use std::path::Path;

use super::manifest::Entry;
use super::source::Source;
use crate::{Error, Result};

/// Extensions that are taken for images, in lower case.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// All photos of the places, in order, each once.
///
/// # Errors
/// [`Error::Data`] naming a place without photos; reading errors.
pub fn list(places: &[String]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for place in places {
        let found = one_place(place)?;
        if found.is_empty() {
            return Err(Error::Data(format!(
                "{place}: no photos found; expected .jpg, .png, .webp or .bmp files"
            )));
        }
        sources.extend(found);
    }
    sources.sort();
    sources.dedup();
    Ok(sources)
}

fn one_place(place: &str) -> Result<Vec<Source>> {
    let path = Path::new(place);
    if path.is_dir() {
        let mut found = Vec::new();
        walk(path, &mut found)?;
        return Ok(found);
    }
    if path.is_file() {
        return one_file(path);
    }
    let paths = glob::glob(place).map_err(|e| Error::Data(format!("{place}: {e}")))?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|e| Error::Data(e.to_string()))?;
        if path.is_file() {
            found.extend(one_file(&path)?);
        }
    }
    Ok(found)
}

fn one_file(path: &Path) -> Result<Vec<Source>> {
    match extension(path).as_deref() {
        Some("jsonl") => manifest(path),
        Some("tar") => shard(path),
        Some(e) if EXTENSIONS.contains(&e) => Ok(vec![Source {
            path: path.to_path_buf(),
            member: None,
        }]),
        _ => Ok(Vec::new()),
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn is_picture(path: &Path) -> bool {
    extension(path).is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// Images and tar shards below a folder; links to folders are not followed.
fn walk(folder: &Path, found: &mut Vec<Source>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        let kind = entry.file_type().map_err(|e| Error::io(folder, e))?;
        let path = entry.path();
        if kind.is_dir() {
            walk(&path, found)?;
        } else if is_picture(&path) || extension(&path).as_deref() == Some("tar") {
            found.extend(one_file(&path)?);
        }
    }
    Ok(())
}

/// The entries of a manifest that `dataset scan` did not drop.
fn manifest(path: &Path) -> Result<Vec<Source>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let mut found = Vec::new();
    for (i, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let entry: Entry = serde_json::from_str(line)
            .map_err(|e| Error::Data(format!("{}, line {}: {e}", path.display(), i + 1)))?;
        if entry.drop.is_empty() {
            found.push(entry.source());
        }
    }
    Ok(found)
}

/// The images in a tar file.
fn shard(path: &Path) -> Result<Vec<Source>> {
    let fail = |e| Error::io(path, e);
    let mut archive = tar::Archive::new(File::open(path).map_err(fail)?);
    let mut found = Vec::new();
    for entry in archive.entries_with_seek().map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.path().map_err(fail)?.to_path_buf();
        if entry.header().entry_type().is_file() && is_picture(&name) {
            let member = (
                name.display().to_string(),
                entry.raw_file_position(),
                entry.size(),
            );
            found.push(Source {
                path: path.to_path_buf(),
                member: Some(member),
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(places: &[String]) -> Vec<String> {
        list(places)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn folders_globs_and_shards_are_listed_in_order_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        for name in ["b.jpg", "sub/a.PNG", "notes.txt"] {
            std::fs::write(at(name), name).unwrap();
        }
        let mut shard = tar::Builder::new(File::create(at("s.tar")).unwrap());
        shard
            .append_path_with_name(at("b.jpg"), "in/c.jpg")
            .unwrap();
        shard
            .append_path_with_name(at("notes.txt"), "in/notes.txt")
            .unwrap();
        shard.finish().unwrap();
        let root = folder.path().display().to_string();
        let all = names(&[root.clone(), format!("{root}/*.jpg")]);
        assert_eq!(
            all,
            ["b.jpg", "s.tar:in/c.jpg", "sub/a.PNG"].map(|n| format!("{root}/{n}"))
        );
        let member = &list(&[format!("{root}/s.tar")]).unwrap()[0];
        assert_eq!(member.read().unwrap(), b"b.jpg");
        assert!(matches!(
            list(&[format!("{root}/*.gif")]),
            Err(Error::Data(problem)) if problem.contains("*.gif")
        ));
    }
}
