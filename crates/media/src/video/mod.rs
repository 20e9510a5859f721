//! Video files: what is written, and how frames are stored in them.
//!
//! `.y4m` files and animated images are written here; the others by FFmpeg, which runs as a child process. Frames are planar arrays of sRGB in
//! [-1, 1] on one side, and Y'CbCr of BT.709 in files written here on the other.

pub(crate) mod ffmpeg;
mod format;
mod rate;
pub(crate) mod webp;
pub(crate) mod y4m;
pub(crate) mod yuv;

pub use ffmpeg::{Ffmpeg, end_all};
pub use format::{Animation, Codec, Container, Encoding, PixelFormat, Wishes};
pub use rate::Rate;
