//! What every source of frames and every sink for them promises.

use std::path::{Path, PathBuf};

use vae2x_core::{Array, Result};

use crate::picture::BitDepth;
use crate::video::Rate;

/// The contents of a source, known before any pixel is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Clips, or images, one after another: the items of a batch.
    pub items: usize,
    /// Frames of each item; 1 for images.
    pub frames: usize,
    /// Height and width in pixels, the same for all frames.
    pub size: [usize; 2],
    /// The bit depth that holds what the file does: 16 for floats.
    pub depth: BitDepth,
    /// Keywords and texts that the file carries, such as ComfyUI's `prompt` and `workflow`.
    pub text: Vec<(String, String)>,
    /// Frames per second, of videos.
    pub rate: Option<Rate>,
    /// Whether the file has sound.
    pub has_audio: bool,
}

impl Spec {
    /// Frames of all items.
    pub fn all_frames(&self) -> usize {
        self.items.saturating_mul(self.frames)
    }

    /// Bytes of one frame in memory, without opacity.
    pub fn frame_bytes(&self) -> usize {
        let values = self.size[0].saturating_mul(self.size[1]).saturating_mul(3);
        values.saturating_mul(size_of::<f32>())
    }
}

/// One frame of a source.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The item that the frame belongs to, from 0.
    pub item: usize,
    /// The number of the frame in its item, from 0.
    pub index: usize,
    /// `[3, H, W]`, sRGB in [-1, 1].
    pub pixels: Array,
    /// `[1, H, W]` from -1, clear, to 1, opaque, if it was asked for and any pixel is not opaque.
    pub opacity: Option<Array>,
    /// Sentences on what was changed or left out, each naming the file.
    pub notes: Vec<String>,
}

/// Gives the frames of one input in order: all frames of an item, then the next item.
pub trait FrameSource: Send {
    /// The file or folder.
    fn path(&self) -> &Path;

    /// The contents of the source.
    fn spec(&self) -> &Spec;

    /// The next frame; `None` after the last.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Io`] and [`vae2x_core::Error::Format`], naming the file, if a frame
    /// cannot be read or is not what [`Self::spec`] says.
    fn next(&mut self) -> Result<Option<Frame>>;
}

/// Takes the frames of one input in order: all frames of an item, then the next item.
///
/// A sink that is dropped before [`Self::finish`] leaves no half-written file.
pub trait FrameSink: Send {
    /// Writes the next frame.
    ///
    /// # Shapes
    /// `[3, H, W]`, or `[4, H, W]` with opacity; values outside [-1, 1] are clamped, unless the sink
    /// was made to keep them.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] if it is one too many, not an image, or of another size than an
    /// array file holds; [`vae2x_core::Error::NotFinite`]; [`vae2x_core::Error::Io`].
    fn push(&mut self, frame: &Array) -> Result<()>;

    /// Sentences on what was left out since the last call, each naming the file.
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Completes the output and returns the files written.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] if frames are missing, in which case an array file is not
    /// written; [`vae2x_core::Error::Io`].
    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>>;

    /// Ends the output early, with the frames that have come, and returns the files that hold them:
    /// `clip.partial.mp4` for `clip.mp4`, so that nothing takes it for the whole. None where the format
    /// must know the number of frames beforehand, as arrays and APNG do.
    ///
    /// # Errors
    /// As [`Self::finish`], but for missing frames.
    fn keep_part(self: Box<Self>) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

/// The name of a file that holds the first part of what was to be `path`.
pub(super) fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".partial");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}
