//! One image file.

use std::path::PathBuf;

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
        let opaque;
        let mut frame = frame;
        if frame.shape().first() == Some(&4)
            && PictureFormat::from_path(&self.path).is_some_and(|format| !format.keeps_opacity())
        {
            opaque = without_opacity(frame)?;
            frame = &opaque;
            self.notes.push(format!(
                "{}: JPEG keeps no transparency; write PNG, WebP or EXR for it",
                self.path.display()
            ));
        }
        write_image(&self.path, frame, &self.options)?;
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
