//! One image file.

use std::path::{Path, PathBuf};

use vae2x_core::{Array, Result};

use super::count::Count;
use crate::frames::contract::FrameSink;
use crate::picture::{PictureFormat, PictureOptions, without_opacity, write_image};

/// Writes one frame as an image, with its opacity where the format keeps it.
#[derive(Debug)]
pub struct ImageSink {
    path: PathBuf,
    options: PictureOptions,
    count: Count,
    notes: Vec<String>,
}

impl ImageSink {
    /// Will write `path` in the format of its extension.
    pub fn new(path: PathBuf, options: PictureOptions) -> Self {
        Self {
            path,
            options,
            count: Count::new(1, 1),
            notes: Vec::new(),
        }
    }
}

impl FrameSink for ImageSink {
    fn push(&mut self, frame: &Array) -> Result<()> {
        self.count.next()?;
        self.notes.extend(write(&self.path, frame, &self.options)?);
        self.notes
            .extend(note_on_metadata(&self.path, &self.options));
        self.count.add();
        Ok(())
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.count.finish()?;
        Ok(vec![self.path])
    }
}

/// A note on metadata that an image's format leaves out.
pub(super) fn note_on_metadata(path: &Path, options: &PictureOptions) -> Option<String> {
    let format = PictureFormat::from_path(path)?;
    let note = options.metadata.note_on(format)?;
    Some(format!("{}: {note}", path.display()))
}

/// Writes an image, without its opacity if the format keeps none; a note if so.
pub(super) fn write(
    path: &Path,
    frame: &Array,
    options: &PictureOptions,
) -> Result<Option<String>> {
    let has_opacity = frame.shape().first() == Some(&4);
    let keeps_it = PictureFormat::from_path(path).is_none_or(PictureFormat::keeps_opacity);
    if !has_opacity || keeps_it {
        return write_image(path, frame, options).map(|()| None);
    }
    write_image(path, &without_opacity(frame)?, options)?;
    Ok(Some(format!(
        "{}: JPEG does not store transparency; write PNG, WebP or EXR to keep it",
        path.display()
    )))
}
