//! FFmpeg as a child process: it reads and writes what this program does not.
//!
//! Frames pass through pipes in the form in which the file stores them, and are converted here; so a file's colours mean the same
//! whichever version of FFmpeg is installed.

mod decode;
mod encode;
mod metadata;
mod probe;
mod program;

pub use program::{Ffmpeg, end_all};
