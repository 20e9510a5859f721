//! Where photos are: folders, globs, manifests, tar shards. Listing reads names only.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use vae2x_core::files;
use vae2x_media::picture::is_picture_name;

use super::manifest::{Entry, LONGEST_LINE};
use super::shard;
use super::source::Source;
use crate::{Error, Result};

/// The photos of some places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In order, each once.
    pub photos: Vec<Source>,
    /// Tar shards that are damaged or not tar files, and folders below others that cannot be read; and why. What can be read of them is
    /// listed.
    pub damaged: Vec<(PathBuf, String)>,
}

/// All photos of the places.
///
/// # Errors
/// [`Error::Data`] naming a place without photos, or a damaged line of a manifest; reading errors.
pub fn list(places: &[String]) -> Result<Listing> {
    let mut all = Listing::default();
    for place in places {
        let found = one_place(place)?;
        if found == Listing::default() {
            return Err(Error::Data(format!(
                "{place}: no photos found; expected .jpg, .png, .webp, .gif, .tif or .bmp files"
            )));
        }
        all.photos.extend(found.photos);
        all.damaged.extend(found.damaged);
    }
    all.photos.sort();
    all.photos.dedup();
    all.damaged.sort();
    all.damaged.dedup();
    match all.damaged.first() {
        Some((path, why)) if all.photos.is_empty() => Err(Error::Data(format!(
            "no photos found; {}: {why}",
            path.display()
        ))),
        _ => Ok(all),
    }
}

fn one_place(place: &str) -> Result<Listing> {
    let path = Path::new(place);
    let mut found = Listing::default();
    if path.is_dir() {
        walk(path, &mut found)?;
        return Ok(found);
    }
    if let Ok(metadata) = path.metadata() {
        // Among many, an image or a shard that cannot be read is left out, whatever it is.
        if !(is_picture(path) || is_shard(path)) {
            files::require_regular(path, &metadata)?;
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
        _ if is_picture(path) => found.photos.push(Source {
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

/// Whether a file is called as a photo is: as an image of any format that is read but EXR, which
/// holds light beyond white.
pub(super) fn is_picture(path: &Path) -> bool {
    is_picture_name(path) && extension(path).as_deref() != Some("exr")
}

fn is_shard(path: &Path) -> bool {
    extension(path).as_deref() == Some("tar")
}

/// Images and tar shards below a folder; links to folders are not followed. Folders in it that cannot be read are told of.
fn walk(root: &Path, found: &mut Listing) -> Result<()> {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if folder != root => {
                found.damaged.push((folder, e.to_string()));
                continue;
            }
            Err(e) => return Err(Error::io(&folder, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| Error::io(&folder, e))?;
            let kind = entry.file_type().map_err(|e| Error::io(&folder, e))?;
            let path = entry.path();
            if kind.is_dir() {
                folders.push(path);
            } else if is_picture(&path) || is_shard(&path) {
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
        for name in ["b.jpg", "sub/a.PNG", "notes.txt", "light.exr", "z.jfif"] {
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
            ["b.jpg", "s.tar:in/c.jpg", "sub/a.PNG", "z.jfif"].map(|n| format!("{root}/{n}"))
        );
        let member = &list(&[format!("{root}/s.tar")]).unwrap().photos[0];
        assert_eq!(member.read().unwrap(), b"b.jpg");
        assert!(matches!(
            list(&[format!("{root}/*.svg")]),
            Err(Error::Data(problem)) if problem.contains("*.svg")
        ));
    }

    #[test]
    fn a_damaged_shard_is_an_error_only_where_it_is_all_there_is() {
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
        let two = [format!("{root}/s.tar"), format!("{root}/a.png")];
        for places in [&[root.clone()][..], &[format!("{root}/*")], &two] {
            let listing = list(places).unwrap();
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
            ("[".repeat(10_000), "line 2"),
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
