//! One image file.

use std::path::{Path, PathBuf};

use vae2x_core::Result;

use crate::frames::contract::{Frame, FrameSource, Spec};
use crate::picture::{ImageHead, Opacity, image_head, image_metadata, read_image_with};

/// An image as a clip of one frame.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    spec: Spec,
    opacity: Opacity,
    is_read: bool,
}

impl ImageFile {
    /// Reads the head of an image file, and its opacity later on if that is to be kept.
    ///
    /// # Errors
    /// As [`image_head`].
    pub fn open(path: &Path, keep_opacity: bool) -> Result<Self> {
        let ImageHead { size, depth } = image_head(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            spec: Spec {
                items: 1,
                frames: 1,
                size,
                depth,
                text: image_metadata(path)?.text,
                rate: None,
                has_audio: false,
            },
            opacity: opacity(keep_opacity),
            is_read: false,
        })
    }
}

impl FrameSource for ImageFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        if std::mem::replace(&mut self.is_read, true) {
            return Ok(None);
        }
        read(&self.path, self.opacity, 0).map(Some)
    }
}

/// The choice about transparency for the image reader.
pub(super) fn opacity(keep: bool) -> Opacity {
    match keep {
        true => Opacity::Keep,
        false => Opacity::Ignore,
    }
}

/// Frame `index` of a clip from an image file.
pub(super) fn read(path: &Path, opacity: Opacity, index: usize) -> Result<Frame> {
    let image = read_image_with(path, opacity)?;
    Ok(Frame {
        item: 0,
        index,
        pixels: image.pixels,
        opacity: image.opacity,
        notes: image.notes,
    })
}
