//! What is compared with what: `NAME=PATH` arguments, and which images and clips of them belong together.
//!
//! A side is a name and its images and clips: a clip is a video, or a folder where folders are clips. Those of several sides that
//! show the same thing make a row: those with the same file stem, or, where every side is a single one, simply those. A name given
//! twice has what both arguments stand for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vae2x_core::{Error, Result};
use vae2x_media::frames::{Folders, is_video_name, list_inputs};

/// A name and its images and clips by stem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// As the page and the tables show it.
    pub name: String,
    /// File stem, or the name of a folder -> its path.
    pub pictures: BTreeMap<String, PathBuf>,
    /// Sentences on what was left out of its folders.
    pub notes: Vec<String>,
}

/// Images or clips that show the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stem that they share; the first side's where every side is a single one.
    pub stem: String,
    /// One per side, in the sides' order; none where a side lacks the stem.
    pub pictures: Vec<Option<PathBuf>>,
}

impl Row {
    /// Whether any of them is a clip; then an image among them is a clip of one frame.
    pub fn is_clip(&self) -> bool {
        self.pictures
            .iter()
            .flatten()
            .any(|path| is_video_name(path) || path.is_dir())
    }
}

/// Reads `NAME=PATH` arguments, of which `folders` are lists or clips; sides come in the order in which their names first occur.
///
/// # Errors
/// [`Error::BadRequest`] for an argument that has no name or path, [`Error::Io`] for a path that cannot be read,
/// [`Error::Format`] for a folder without images or two paths of one side with the same stem.
pub fn parse(arguments: &[String], folders: Folders) -> Result<Vec<Side>> {
    let mut sides: Vec<Side> = Vec::new();
    for argument in arguments {
        let (name, path) = match argument.split_once('=') {
            Some((name, path)) if !name.trim().is_empty() && !path.is_empty() => {
                (name.trim(), Path::new(path))
            }
            _ => {
                return Err(Error::BadRequest(format!(
                    "'{argument}': expected NAME=IMAGE, NAME=VIDEO or NAME=FOLDER"
                )));
            }
        };
        let index = sides
            .iter()
            .position(|side| side.name == name)
            .unwrap_or_else(|| {
                sides.push(Side {
                    name: name.into(),
                    pictures: BTreeMap::new(),
                    notes: Vec::new(),
                });
                sides.len() - 1
            });
        let (pictures, notes) = pictures_at(path, folders)?;
        sides[index].notes.extend(notes);
        pictures
            .into_iter()
            .try_for_each(|picture| add(&mut sides[index], picture))?;
    }
    Ok(sides)
}

fn add(side: &mut Side, path: PathBuf) -> Result<()> {
    let stem = stem(&path);
    match side.pictures.get(&stem) {
        Some(known) if *known != path => Err(Error::format(
            &path,
            format!("'{}' has {} of the same stem", side.name, known.display()),
        )),
        _ => {
            side.pictures.insert(stem, path);
            Ok(())
        }
    }
}

/// The name of a file without its extension, or that of a folder.
fn stem(path: &Path) -> String {
    let stem = match path.is_dir() {
        true => path.file_name(),
        false => path.file_stem(),
    };
    stem.unwrap_or_default().to_string_lossy().into_owned()
}

/// The images and clips that a path stands for, as by [`list_inputs`], and sentences on what was left out.
fn pictures_at(path: &Path, folders: Folders) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let listed = list_inputs(&[path.to_path_buf()], folders);
    if let Some((_, error)) = listed.failed.into_iter().next() {
        return Err(error);
    }
    for file in &listed.files {
        file.metadata().map_err(|e| Error::io(file, e))?;
    }
    Ok((listed.files, listed.notes))
}

/// Puts the sides' images and clips into rows, ordered by stem.
pub fn pair(sides: &[Side]) -> Vec<Row> {
    if let Some(pictures) = sides.iter().map(only_picture).collect::<Option<Vec<_>>>() {
        let stem = sides.first().and_then(|side| side.pictures.keys().next());
        return stem
            .map(|stem| Row {
                stem: stem.clone(),
                pictures,
            })
            .into_iter()
            .collect();
    }
    let stems: std::collections::BTreeSet<&String> =
        sides.iter().flat_map(|side| side.pictures.keys()).collect();
    let row = |stem: &String| Row {
        stem: stem.clone(),
        pictures: sides
            .iter()
            .map(|side| side.pictures.get(stem).cloned())
            .collect(),
    };
    stems.into_iter().map(row).collect()
}

/// The image or clip of a side that has a single one.
fn only_picture(side: &Side) -> Option<Option<PathBuf>> {
    let mut pictures = side.pictures.values();
    let first = pictures.next()?;
    pictures.next().is_none().then(|| Some(first.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty files of these names.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        names
            .iter()
            .for_each(|name| std::fs::write(folder.path().join(name), []).unwrap());
        folder
    }

    fn parse_files(arguments: &[String]) -> Result<Vec<Side>> {
        parse(arguments, Folders::OfImagesAndVideos)
    }

    fn argument(name: &str, path: &Path) -> String {
        format!("{name}={}", path.display())
    }

    #[test]
    fn folders_pair_by_stem_and_gaps_stay() {
        let a = folder(&["cat.png", "dog.JPG", "notes.txt", ".hidden.png"]);
        let b = folder(&["dog.webp", "emu.png"]);
        let sides = parse_files(&[argument("base", a.path()), argument("2x", b.path())]).unwrap();
        let rows = pair(&sides);
        let shape: Vec<_> = rows
            .iter()
            .map(|r| {
                (
                    r.stem.as_str(),
                    r.pictures.iter().map(Option::is_some).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            shape,
            [
                ("cat", vec![true, false]),
                ("dog", vec![true, true]),
                ("emu", vec![false, true])
            ]
        );
        assert_eq!(
            rows[1].pictures[1].as_deref(),
            Some(b.path().join("dog.webp").as_path())
        );
    }

    #[test]
    fn single_pictures_make_one_row_whatever_their_names() {
        let a = folder(&["cat_original.png", "cat_2x.png", "b=c.png"]);
        let at = |name: &str| a.path().join(name);
        let sides = parse_files(&[
            argument("photo", &at("cat_original.png")),
            argument("2x", &at("cat_2x.png")),
        ])
        .unwrap();
        let row = Row {
            stem: "cat_original".into(),
            pictures: vec![Some(at("cat_original.png")), Some(at("cat_2x.png"))],
        };
        assert_eq!(pair(&sides), [row]);
        // The first = ends the name.
        assert_eq!(
            parse_files(&[argument("a", &at("b=c.png"))]).unwrap()[0].pictures["b=c"],
            at("b=c.png")
        );
        // A name may be given for each of its images.
        let twice = [
            argument("a", &at("cat_2x.png")),
            argument("a", &at("b=c.png")),
        ];
        assert_eq!(parse_files(&twice).unwrap()[0].pictures.len(), 2);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let none = folder(&["notes.txt"]);
        let twins = folder(&["a.png", "a.jpg"]);
        let refused = |argument: String| parse_files(&[argument]).unwrap_err();
        for bad in ["picture.png", "=picture.png", "name=", " =x"] {
            let error = refused(bad.into());
            assert!(
                matches!(&error, Error::BadRequest(problem) if problem.contains(bad)),
                "{error:?}"
            );
        }
        let error = refused("a=/no/such/file.png".into());
        assert!(
            matches!(&error, Error::Io { path, .. } if path == Path::new("/no/such/file.png")),
            "{error:?}"
        );
        let error = refused(argument("a", none.path()));
        assert!(
            matches!(&error, Error::Format { path, .. } if path == none.path()),
            "{error:?}"
        );
        let error = refused(argument("a", twins.path()));
        let two = ["a.jpg", "a.png"].map(|name| twins.path().join(name));
        assert!(
            matches!(
                &error,
                Error::Format { path, problem }
                    if *path == two[1] && problem.contains(&two[0].display().to_string())
            ),
            "{error:?}"
        );
        assert!(pair(&[]).is_empty());
    }

    #[test]
    fn videos_are_clips_and_folders_are_if_they_are_meant_to() {
        let a = folder(&["cat.png", "dog.mp4", "notes.txt"]);
        let b = folder(&["dog.y4m"]);
        std::fs::create_dir(b.path().join("run.2")).unwrap();
        let rows = pair(&parse_files(&[argument("a", a.path()), argument("b", b.path())]).unwrap());
        let shape: Vec<_> = rows.iter().map(|r| (&*r.stem, r.is_clip())).collect();
        assert_eq!(shape, [("cat", false), ("dog", true)]);
        let paths = [a.path().to_path_buf(), b.path().join("run.2")];
        let arguments = [argument("a", &paths[0]), argument("b", &paths[1])];
        let sides = parse(&arguments, Folders::Themselves).unwrap();
        assert_eq!(sides[1].pictures["run.2"], paths[1]);
        let rows = pair(&sides);
        assert!(rows.len() == 1 && rows[0].is_clip());
    }
}
