//! The images of a folder as one clip.
//!
//! Frames are in the order in which people number files, and all of one size, which their heads
//! tell before any work.

use std::path::{Path, PathBuf};

use vae2x_core::{Error, Result};

use super::image::{opacity, read};
use crate::frames::contract::{Frame, FrameSource, Spec};
use crate::frames::inputs::frames_in;
use crate::picture::{BitDepth, ImageHead, Opacity, image_head, image_metadata};
use crate::pixels::picture_size;

/// A folder of images, read one at a time.
#[derive(Debug)]
pub struct FolderOfFrames {
    folder: PathBuf,
    files: Vec<PathBuf>,
    spec: Spec,
    opacity: Opacity,
    /// What was left out of the folder, told with the first frame.
    left_out: Option<String>,
    next: usize,
}

impl FolderOfFrames {
    /// Lists the images of a folder and reads their heads. Texts are those of the first image.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a folder without images, a damaged one, or one of
    /// another size than the first.
    pub fn open(folder: &Path, keep_opacity: bool) -> Result<Self> {
        let (files, left_out) = frames_in(folder)?;
        let (mut first, mut depth): (Option<ImageHead>, _) = (None, BitDepth::Eight);
        for file in &files {
            let head = image_head(file)?;
            if head.depth == BitDepth::Sixteen {
                depth = BitDepth::Sixteen;
            }
            let first = first.get_or_insert_with(|| head.clone());
            check_size(file, first.size, head.size, &files[0])?;
        }
        let Some(first) = first else {
            return Err(Error::format(folder, "the folder holds no images"));
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            spec: Spec {
                items: 1,
                frames: files.len(),
                size: first.size,
                depth,
                text: image_metadata(&files[0])?.text,
                rate: None,
                has_audio: false,
            },
            files,
            opacity: opacity(keep_opacity),
            left_out,
            next: 0,
        })
    }

    /// The images, in the order of the frames.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl FrameSource for FolderOfFrames {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        let Some(file) = self.files.get(self.next) else {
            return Ok(None);
        };
        let mut frame = read(file, self.opacity, self.next)?;
        // It may have been replaced since its head was read.
        check_size(
            file,
            self.spec.size,
            picture_size(&frame.pixels)?,
            &self.files[0],
        )?;
        self.next += 1;
        frame.notes.extend(self.left_out.take());
        Ok(Some(frame))
    }
}

fn check_size(file: &Path, expected: [usize; 2], found: [usize; 2], first: &Path) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let first = first.file_name().unwrap_or_default().to_string_lossy();
    Err(Error::format(
        file,
        format!(
            "expected a frame of {}x{} pixels, as {first}, found {}x{}",
            expected[1], expected[0], found[1], found[0]
        ),
    ))
}
