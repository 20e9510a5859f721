//! The files that a list of paths stands for: files, folders, and names with wildcards.
//!
//! Nothing here ends the list: a path that stands for nothing is returned with the reason, and a
//! file that is missing is listed and fails when it is opened, so that the others are still done.

use std::path::{Path, PathBuf};

use vae2x_core::{Error, Result};

use super::open::is_video_name;
use super::{natural, pattern};
use crate::latent::is_latent_name;
use crate::picture::is_picture_name;

/// Names that are given in a note.
const NAMED: usize = 5;
/// Names that systems and cameras leave in folders, in lower case.
const LEFT_BY_SYSTEMS: [&str; 5] = [
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
];
/// Extensions of images, in lower case; those that are read are taken before this is asked.
const IMAGES: &[&str] = &[
    "apng", "arw", "avif", "avifs", "cr2", "cr3", "dds", "dng", "gif", "hdr", "heic", "heif",
    "hif", "ico", "j2k", "jfif", "jp2", "jpe", "jpx", "jxl", "jxr", "nef", "orf", "pgm", "pnm",
    "ppm", "psd", "qoi", "raf", "rw2", "svg", "tga", "tif", "tiff",
];

/// What a folder among the inputs of a command stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folders {
    /// The images in it.
    OfImages,
    /// The images and videos in it.
    OfImagesAndVideos,
    /// The latents in it.
    OfLatents,
    /// Itself: a clip, or weights.
    Themselves,
}

impl Folders {
    /// Whether a file in a folder is one that it stands for.
    fn wants(self, path: &Path) -> bool {
        match self {
            Self::OfImages => is_picture_name(path),
            Self::OfImagesAndVideos => is_picture_name(path) || is_video_name(path),
            Self::OfLatents => is_latent_name(path),
            Self::Themselves => true,
        }
    }
}

/// The inputs of a command.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Files, or folders that stand for themselves.
    pub files: Vec<PathBuf>,
    /// Paths that stand for no file, and why.
    pub failed: Vec<(PathBuf, Error)>,
    /// Sentences on what was left out of folders.
    pub notes: Vec<String>,
}

/// The inputs that `paths` stand for: files as they are, what matches a name with wildcards, and
/// what a folder stands for, in natural order.
pub fn list_inputs(paths: &[PathBuf], folders: Folders) -> Inputs {
    let mut inputs = Inputs::default();
    for path in paths {
        if let Err(error) = inputs.add(path, folders) {
            inputs.failed.push((path.clone(), error));
        }
    }
    inputs
}

/// How a path comes into the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Itself,
    ByPattern,
}

impl Inputs {
    fn add(&mut self, path: &Path, folders: Folders) -> Result<()> {
        let Some(matches) = pattern::expand(path) else {
            return self.add_path(path, folders, Named::Itself);
        };
        let before = self.files.len();
        let names_kind = path.extension().is_some_and(|e| e != "*");
        let mut skipped = Skipped::default();
        for path in matches {
            if !names_kind && path.is_file() && !folders.wants(&path) {
                skipped.add(&path);
                continue;
            }
            // An empty folder that was not named is no failure.
            let added = self.add_path(&path, folders, Named::ByPattern);
            if let (Err(error), false) = (added, path.is_dir()) {
                return Err(error);
            }
        }
        self.notes.extend(skipped.note(path));
        match self.files.len() > before {
            true => Ok(()),
            false => Err(Error::format(path, "no file matches this pattern")),
        }
    }

    fn add_path(&mut self, path: &Path, folders: Folders, named: Named) -> Result<()> {
        if folders == Folders::Themselves || !path.is_dir() {
            self.files.push(path.to_path_buf());
            return Ok(());
        }
        let Listed { files, mut skipped } = listed(path, |path| folders.wants(path))?;
        if named == Named::ByPattern {
            // The pattern says which folders are meant.
            skipped.folders.clear();
        }
        self.notes.extend(skipped.note(path));
        if files.is_empty() {
            let problem = match folders {
                Folders::OfLatents => {
                    "the folder holds no latents (.latent, .safetensors, .npy, .npz, .pt)"
                }
                _ => "the folder holds no images that are read",
            };
            return Err(Error::format(path, problem));
        }
        self.files.extend(files);
        Ok(())
    }
}

/// The images of a folder in natural order, and a sentence on what was left out.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub(super) fn frames_in(folder: &Path) -> Result<(Vec<PathBuf>, Option<String>)> {
    let Listed { files, skipped } = listed(folder, is_picture_name)?;
    Ok((files, skipped.note(folder)))
}

/// The contents of a folder.
struct Listed {
    /// In natural order.
    files: Vec<PathBuf>,
    skipped: Skipped,
}

/// Names in a folder that were left out, apart from hidden ones, in natural order.
#[derive(Debug, Default)]
struct Skipped {
    /// Images in formats that are not read.
    images: Vec<String>,
    others: Vec<String>,
    folders: Vec<String>,
}

fn listed(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> Result<Listed> {
    let at = |e| Error::io(folder, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at)? {
        paths.push(entry.map_err(at)?.path());
    }
    paths.sort_by(|a, b| natural::compare(a, b));
    let (mut files, mut skipped) = (Vec::new(), Skipped::default());
    for path in paths {
        match is_wanted(&path) && path.is_file() && !is_left_by_systems(&path) {
            true => files.push(path),
            false => skipped.add(&path),
        }
    }
    Ok(Listed { files, skipped })
}

/// Whether a file has the extension of an image.
fn is_image_name(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    extension.is_some_and(|e| IMAGES.contains(&&*e))
}

/// Whether a file is hidden, or one that systems and cameras leave.
fn is_left_by_systems(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || LEFT_BY_SYSTEMS.contains(&&*name.to_lowercase())
}

impl Skipped {
    /// Adds a name, unless nobody asks for it.
    fn add(&mut self, path: &Path) {
        if is_left_by_systems(path) {
            return;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let names = match () {
            () if path.is_dir() => &mut self.folders,
            () if is_image_name(path) => &mut self.images,
            () => &mut self.others,
        };
        names.push(name.into_owned());
    }

    /// One sentence, if there is anything to tell.
    fn note(&self, folder: &Path) -> Option<String> {
        let parts: Vec<String> = [
            (
                "image in a format that is not read",
                "images in formats that are not read",
                &self.images,
            ),
            ("file", "files", &self.others),
            ("folder", "folders", &self.folders),
        ]
        .into_iter()
        .filter(|(.., names)| !names.is_empty())
        .map(|(one, several, names)| {
            let kind = if names.len() == 1 { one } else { several };
            format!("{} {kind} ({})", names.len(), some_of(names))
        })
        .collect();
        let all = parts.join(", ");
        (!parts.is_empty()).then(|| format!("{}: skipped {all}", folder.display()))
    }
}

/// The first names, and how many more there are.
fn some_of(names: &[String]) -> String {
    let named = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty files of these names, and folders where they end in a slash.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            match name.ends_with('/') {
                true => std::fs::create_dir_all(path).unwrap(),
                false => std::fs::write(path, []).unwrap(),
            }
        }
        folder
    }

    #[test]
    fn folders_are_listed_in_natural_order_and_what_is_left_out_is_told() {
        let hidden = [".hidden.png", "._f2.JPG", "Thumbs.db", "desktop.ini"];
        let images = ["f10.png", "f2.JPG", "a.HEIC"];
        let others = [
            "n1.txt",
            "n2.txt",
            "n3.txt",
            "n10.txt",
            "b",
            "b.png~",
            "inner.png/",
        ];
        let folder = folder(&[&hidden[..], &images, &others].concat());
        let at = |name: &str| folder.path().join(name);
        let paths = [folder.path().to_path_buf(), at("n1.txt"), at("none.png")];
        let inputs = list_inputs(&paths, Folders::OfImages);
        assert_eq!(
            inputs.files,
            ["f2.JPG", "f10.png", "n1.txt", "none.png"].map(at)
        );
        assert!(inputs.failed.is_empty());
        let note = format!(
            "{}: skipped 1 image in a format that is not read (a.HEIC), 6 files (b, b.png~, n1.txt, \
             n2.txt, n3.txt and 1 more), 1 folder (inner.png)",
            folder.path().display()
        );
        assert_eq!(inputs.notes, [&*note]);
        assert_eq!(list_inputs(&paths, Folders::Themselves).files, paths);
        let (frames, left_out) = frames_in(folder.path()).unwrap();
        assert_eq!(frames, ["f2.JPG", "f10.png"].map(at));
        assert_eq!(left_out, Some(note));
    }

    #[test]
    fn latents_are_listed_by_their_names() {
        let folder = folder(&["a.latent", "b.SAFETENSORS", "c.npz", "d.png"]);
        let inputs = list_inputs(&[folder.path().to_path_buf()], Folders::OfLatents);
        let names = ["a.latent", "b.SAFETENSORS", "c.npz"];
        assert_eq!(inputs.files, names.map(|name| folder.path().join(name)));
        assert!(
            inputs.notes[0].ends_with("skipped 1 file (d.png)"),
            "{:?}",
            inputs.notes
        );
    }

    #[test]
    fn what_stands_for_nothing_is_named_and_ends_nothing() {
        let folder = folder(&["empty/", "x1/", "x1/a.png", "x2/", "y.png"]);
        let at = |name: &str| folder.path().join(name);
        let paths = [at("empty"), at("x*"), at("z*.png"), at("y.png")];
        let inputs = list_inputs(&paths, Folders::OfImages);
        assert_eq!(inputs.files, [at("x1/a.png"), at("y.png")]);
        let failed: Vec<_> = inputs
            .failed
            .iter()
            .map(|(path, e)| (path, e.to_string()))
            .collect();
        let text = |path: &Path, why: &str| format!("{}: {why}", path.display());
        let none = "the folder holds no images that are read";
        assert_eq!(failed[0], (&paths[0], text(&paths[0], none)));
        assert_eq!(
            failed[1],
            (&paths[2], text(&paths[2], "no file matches this pattern"))
        );
        assert_eq!(failed.len(), 2);
    }
}
