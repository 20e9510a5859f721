//! Video files: what is written, and how frames are stored in them.
//!
//! `.y4m` files and animated images are written here; the others by FFmpeg, which runs as a child process, or, where it is not
//! installed and the feature `mp4` is there, `.mp4` files too. Frames are planar arrays of sRGB in [-1, 1] on one side, and Y'CbCr of
//! BT.709 in files written here on the other.

use std::path::PathBuf;

use vae2x_core::temp::TempFile;
use vae2x_core::{Array, Result};

pub(crate) mod ffmpeg;
mod format;
#[cfg(feature = "mp4")]
pub(crate) mod mp4;
mod rate;
pub(crate) mod stream;
pub(crate) mod webp;
pub(crate) mod y4m;
pub(crate) mod yuv;

pub use ffmpeg::{Ffmpeg, end_all};
pub use format::{Animation, Codec, Container, Encoding, PixelFormat, Wishes};
pub use rate::Rate;

/// The keys of texts that ComfyUI reads.
const COMFY_KEYS: [&str; 2] = ["prompt", "workflow"];

/// A video file to write.
#[derive(Clone, Debug)]
pub(crate) struct Movie {
    /// The file.
    pub path: PathBuf,
    /// Codec and format.
    pub encoding: Encoding,
    /// Frames per second.
    pub rate: Rate,
    /// Frames, of which the sound's length follows.
    pub frames: usize,
    /// The sound.
    pub audio: Option<Audio>,
    /// ComfyUI's texts.
    pub text: Vec<(String, String)>,
}

/// The sound of a video.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Audio {
    /// The file, of which the first audio stream is taken.
    pub path: PathBuf,
    /// FFmpeg's name of its codec.
    pub codec: String,
    /// Seconds of it that are left out.
    pub from: f64,
}

/// What writes the frames of one file, which appears when it is complete.
pub(crate) trait Encode: std::fmt::Debug + Send {
    /// Writes a frame, `[3, H, W]`, of the size that was told.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Format`] with what the encoder says; [`vae2x_core::Error::Io`].
    fn push(&mut self, frame: &Array) -> Result<()>;

    /// Completes the file after so many frames, and checks that it holds them.
    ///
    /// # Errors
    /// As [`Self::push`].
    fn close(self: Box<Self>, frames: usize) -> Result<TempFile>;
}

/// What reads the frames of one file in order.
pub(crate) trait Decode: std::fmt::Debug + Send {
    /// The next frame, `[3, H, W]` in [-1, 1]; `index` is its number.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Format`] if the file ends before, or within, this frame.
    fn next(&mut self, index: usize) -> Result<Array>;
}
