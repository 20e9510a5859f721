//! Numbered images in a folder.

use std::path::PathBuf;

use vae2x_core::{Array, Result};

use super::count::Count;
use super::image::{note_on_metadata, write};
use crate::frames::contract::FrameSink;
use crate::picture::{PictureFormat, PictureOptions};

/// Names of the frames of one input: `NAME_00000.png` and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The folder.
    pub folder: PathBuf,
    /// One name for all frames, or one for each item.
    pub names: Vec<String>,
    /// Items of the input.
    pub items: usize,
    /// Frames of each item.
    pub frames: usize,
    /// The format, whose extension the files have.
    pub format: PictureFormat,
}

impl Series {
    /// The file of frame `frame` of item `item`; `None` beyond the counts. Frames are numbered over
    /// a clip, or over the items of a batch of images.
    pub fn file(&self, item: usize, frame: usize) -> Option<PathBuf> {
        if item >= self.items || frame >= self.frames {
            return None;
        }
        let (name, number) = match &self.names[..] {
            [name] if self.frames == 1 => (name, item),
            [name] => (name, frame),
            names => (names.get(item)?, frame),
        };
        let file = format!("{name}_{number:05}.{}", self.format.extension());
        Some(self.folder.join(file))
    }
}

/// Writes each frame as an image of its own.
#[derive(Debug)]
pub struct FolderSink {
    series: Series,
    options: PictureOptions,
    count: Count,
    written: Vec<PathBuf>,
    notes: Vec<String>,
}

impl FolderSink {
    /// Will write the files of `series`; the folder must exist.
    pub fn new(series: Series, options: PictureOptions) -> Self {
        Self {
            count: Count::new(series.items, series.frames),
            series,
            options,
            written: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl FrameSink for FolderSink {
    fn push(&mut self, frame: &Array) -> Result<()> {
        let [item, index] = self.count.next()?;
        let file = self.series.file(item, index);
        let file = file.ok_or_else(|| self.count.miscounted(self.count.pushed() + 1))?;
        self.notes.extend(write(&file, frame, &self.options)?);
        if self.written.is_empty() {
            // The same holds for all frames.
            self.notes.extend(note_on_metadata(&file, &self.options));
        }
        self.written.push(file);
        self.count.add();
        Ok(())
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.count.finish()?;
        Ok(self.written)
    }

    /// Each frame is a file of its own.
    fn keep_part(self: Box<Self>) -> Result<Vec<PathBuf>> {
        Ok(self.written)
    }
}
