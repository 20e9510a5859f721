//! Where photos are: folders, globs, manifests, tar shards. Listing reads names only.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use vae2x_core::files;

use super::manifest::{Entry, LONGEST_LINE};
use super::shard;
use super::source::Source;
use crate::{Error, Result};

/// Extensions that are taken for images, in lower case.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// The photos of some places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In order, each once.
    pub photos: Vec<Source>,
    /// Tar shards below a folder or of a pattern that are damaged, or not tar files, and why. What can be read of them is listed.
    pub damaged: Vec<(PathBuf, String)>,
}

/// All photos of the places.
///
/// # Errors
/// [`Error::Data`] naming a place without photos, or a damaged line of a manifest; a damaged tar shard that is a place of its own; reading
/// errors.
pub fn list(places: &[String]) -> Result<Listing> {
    let mut all = Listing::default();
    for place in places {
        let found = one_place(place)?;
        if found.photos.is_empty() {
            let why = found.damaged.first();
            let why = why.map(|(path, why)| format!("; {}: {why}", path.display()));
            return Err(Error::Data(format!(
                "{place}: no photos found; expected .jpg, .png, .webp or .bmp files{}",
                why.unwrap_or_default()
            )));
        }
        all.photos.extend(found.photos);
        all.damaged.extend(found.damaged);
    }
    all.photos.sort();
    all.photos.dedup();
    all.damaged.sort();
    all.damaged.dedup();
    Ok(all)
}

fn one_place(place: &str) -> Result<Listing> {
    let path = Path::new(place);
    let mut found = Listing::default();
    if path.is_dir() {
        walk(path, &mut found)?;
        return Ok(found);
    }
    if let Ok(metadata) = path.metadata() {
        files::require_regular(path, &metadata)?;
        if extension(path).as_deref() == Some("tar") {
            let (photos, fault) = shard::images(path);
            found.photos = photos;
            return fault.map_or(Ok(found), Err);
        }
        one_file(path, &mut found)?;
        return Ok(found);
    }
    let paths = glob::glob(place).map_err(|e| Error::Data(format!("{place}: {e}")))?;
    for path in paths {
        let path = path.map_err(|e| Error::Data(e.to_string()))?;
        if path.is_file() {
            one_file(&path, &mut found)?;
        }
    }
    Ok(found)
}

/// Adds what a file has. Images are not looked at: that they are none shows when they are read.
fn one_file(path: &Path, found: &mut Listing) -> Result<()> {
    match extension(path).as_deref() {
        Some("jsonl") => found.photos.extend(manifest(path)?),
        Some("tar") => {
            let (photos, fault) = shard::images(path);
            found.photos.extend(photos);
            let fault = fault.map(|fault| (path.to_path_buf(), fault.unusable().to_string()));
            found.damaged.extend(fault);
        }
        Some(e) if EXTENSIONS.contains(&e) => found.photos.push(Source {
            path: path.to_path_buf(),
            member: None,
        }),
        _ => (),
    }
    Ok(())
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// Whether a file is called as an image is.
pub(super) fn is_picture(path: &Path) -> bool {
    extension(path).is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// Images and tar shards below a folder; links to folders are not followed.
fn walk(folder: &Path, found: &mut Listing) -> Result<()> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
            let entry = entry.map_err(|e| Error::io(&folder, e))?;
            let kind = entry.file_type().map_err(|e| Error::io(&folder, e))?;
            let path = entry.path();
            if kind.is_dir() {
                folders.push(path);
            } else if is_picture(&path) || extension(&path).as_deref() == Some("tar") {
                one_file(&path, found)?;
            }
        }
    }
    Ok(())
}

/// The entries of a manifest that `dataset scan` did not drop.
fn manifest(path: &Path) -> Result<Vec<Source>> {
    let mut reader = BufReader::new(files::open(path)?);
    let (mut found, mut line) = (Vec::new(), Vec::new());
    for number in 1.. {
        let bad = |what: String| Error::Data(format!("{}, line {number}: {what}", path.display()));
        line.clear();
        (&mut reader)
            .take(LONGEST_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::io(path, e))?;
        if line.is_empty() {
            break;
        }
        if line.len() as u64 > LONGEST_LINE {
            return Err(bad(format!("longer than {LONGEST_LINE} bytes")));
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let entry: Entry = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        if entry.drop.is_empty() {
            found.push(entry.source());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(places: &[String]) -> Vec<String> {
        let listing = list(places).unwrap();
        assert!(listing.damaged.is_empty());
        listing.photos.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn folders_globs_and_shards_are_listed_in_order_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        for name in ["b.jpg", "sub/a.PNG", "notes.txt"] {
            std::fs::write(at(name), name).unwrap();
        }
        let mut shard = tar::Builder::new(std::fs::File::create(at("s.tar")).unwrap());
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
        let member = &list(&[format!("{root}/s.tar")]).unwrap().photos[0];
        assert_eq!(member.read().unwrap(), b"b.jpg");
        assert!(matches!(
            list(&[format!("{root}/*.gif")]),
            Err(Error::Data(problem)) if problem.contains("*.gif")
        ));
    }

    #[test]
    fn a_damaged_shard_stops_a_folder_only_where_it_is_all_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let root = folder.path().display().to_string();
        std::fs::write(at("s.tar"), [7; 1024]).unwrap();
        for place in [
            root.clone(),
            format!("{root}/*.tar"),
            format!("{root}/s.tar"),
        ] {
            let error = list(&[place]).unwrap_err().to_string();
            assert!(
                error.contains("s.tar") && error.contains("not a tar"),
                "{error}"
            );
        }
        std::fs::write(at("a.png"), b"").unwrap();
        for place in [root.clone(), format!("{root}/*")] {
            let listing = list(&[place]).unwrap();
            assert_eq!(listing.photos.len(), 1);
            assert_eq!(listing.damaged.len(), 1);
            assert_eq!(listing.damaged[0].0, at("s.tar"));
        }
    }

    #[test]
    fn lines_of_manifests_have_a_length_and_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        let entry = serde_json::to_string(&Entry {
            path: "a.png".into(),
            ..Entry::default()
        });
        let entry = entry.unwrap();
        let place = [path.display().to_string()];
        std::fs::write(&path, format!("{entry}\r\n\n  \n{entry}")).unwrap();
        assert_eq!(
            list(&place).unwrap().photos,
            [Source {
                path: "a.png".into(),
                member: None
            }]
        );
        let long = "x".repeat(LONGEST_LINE as usize + 1);
        for (bad, said) in [
            (long, "longer"),
            ("[".repeat(10_000), "recursion"),
            (
                entry.replace("width\":0", "width\":18446744073709551616"),
                "invalid",
            ),
            (
                entry.replace("sharpness\":0.0", "sharpness\":1e999"),
                "number",
            ),
        ] {
            std::fs::write(&path, format!("{entry}\n{bad}\n")).unwrap();
            let error = list(&place).unwrap_err().to_string();
            assert!(
                error.contains("line 2: ") && error.contains(said),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn special_files_are_named() {
        for place in ["/dev/zero", "/dev/null"] {
            let error = list(&[place.to_string()]).unwrap_err().to_string();
            assert!(
                error.contains(place) && error.contains("regular"),
                "{error}"
            );
        }
    }
}
