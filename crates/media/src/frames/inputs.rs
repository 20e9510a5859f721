//! The files that a list of paths stands for.

use std::path::{Path, PathBuf};

use vae2x_core::{Error, Result};

use super::natural;
use crate::picture::is_picture_name;

/// The inputs of a command: files as they are, and for each folder the images in it, or, if folders
/// are clips, the folder itself.
///
/// # Errors
/// [`Error::Io`] for a path that cannot be read, [`Error::Format`] for a folder without images.
pub fn list_inputs(paths: &[PathBuf], folders_are_clips: bool) -> Result<Vec<PathBuf>> {
    let list = |path: &PathBuf| match folders_are_clips {
        true => Ok(vec![path.clone()]),
        false => images_at(path),
    };
    let lists: Vec<_> = paths.iter().map(list).collect::<Result<_>>()?;
    Ok(lists.concat())
}

/// The file itself, or the files of a folder that are named as images, ordered by name. Hidden
/// files and inner folders are left out.
///
/// # Errors
/// [`Error::Io`] for a path that cannot be read, [`Error::Format`] for a folder without images.
pub fn images_at(path: &Path) -> Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)
        .map_err(|e| Error::io(path, e))?
        .is_dir()
    {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut images = images_in(path)?;
    images.sort();
    Ok(images)
}

/// The images of a folder in the order in which people number them.
///
/// # Errors
/// As [`images_at`].
pub(super) fn frames_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut images = images_in(folder)?;
    images.sort_by(|a, b| natural::compare(a, b));
    Ok(images)
}

fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let at = |e| Error::io(folder, e);
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at)? {
        let file = entry.map_err(at)?.path();
        let is_hidden = file
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && is_picture_name(&file) && file.is_file() {
            images.push(file);
        }
    }
    match images.is_empty() {
        true => Err(Error::format(
            folder,
            "the folder holds no images (.png, .jpg, .webp, .gif, .tif, .exr, .bmp)",
        )),
        false => Ok(images),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_listed_without_what_is_no_image() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["f10.png", "f2.JPG", "notes.txt", ".hidden.png"] {
            std::fs::write(at(name), []).unwrap();
        }
        std::fs::create_dir(at("inner.png")).unwrap();
        let paths = [folder.path().to_path_buf(), at("notes.txt")];
        let listed = list_inputs(&paths, false).unwrap();
        assert_eq!(listed, [at("f10.png"), at("f2.JPG"), at("notes.txt")]);
        assert_eq!(list_inputs(&paths, true).unwrap(), paths);
        let numbered = frames_in(folder.path()).unwrap();
        assert_eq!(numbered, [at("f2.JPG"), at("f10.png")]);
    }

    #[test]
    fn folders_without_images_and_missing_paths_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let empty = images_at(folder.path()).unwrap_err();
        assert!(matches!(empty, Error::Format { path, .. } if path == folder.path()));
        let missing = folder.path().join("none");
        assert!(matches!(images_at(&missing), Err(Error::Io { .. })));
    }
}
