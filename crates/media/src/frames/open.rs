//! Which source a path stands for.

use std::path::{Path, PathBuf};

use vae2x_core::{Error, Result};

use super::contract::FrameSource;
use super::source::{ArrayFile, FolderOfFrames, ImageFile, MovieFile, Y4mFile};
use crate::video::Container;

/// How a path is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// Whether the images of a folder are the frames of one clip.
    pub clip: bool,
    /// Whether opacity is kept next to the colours; otherwise it is dropped, with a note.
    pub opacity: bool,
    /// The FFmpeg program, for videos; else it is looked for.
    pub ffmpeg: Option<PathBuf>,
}

/// Whether a path is named as a video.
pub fn is_video_name(path: &Path) -> bool {
    Container::from_path(path) == Some(Container::Y4m) || MovieFile::is_name(path)
}

/// Opens a path by its kind: a folder as the frames of a clip, a video or a tensor file by its
/// extension, anything else as an image. Only heads are read, but videos that FFmpeg reads are
/// decoded once, to count their frames.
///
/// # Errors
/// [`Error::BadRequest`] for a folder unless `options.clip`; otherwise as the source's own `open`.
pub fn open_source(path: &Path, options: &SourceOptions) -> Result<Box<dyn FrameSource>> {
    if path.is_dir() {
        return match options.clip {
            true => Ok(Box::new(FolderOfFrames::open(path, options.opacity)?)),
            false => Err(Error::BadRequest(format!(
                "{}: a folder; its images make a clip only with --clip",
                path.display()
            ))),
        };
    }
    if ArrayFile::is_name(path) {
        return Ok(Box::new(ArrayFile::open(path, options.opacity)?));
    }
    if Container::from_path(path) == Some(Container::Y4m) {
        return Ok(Box::new(Y4mFile::open(path)?));
    }
    if MovieFile::is_name(path) {
        return Ok(Box::new(MovieFile::open(path, options.ffmpeg.as_deref())?));
    }
    Ok(Box::new(ImageFile::open(path, options.opacity)?))
}
