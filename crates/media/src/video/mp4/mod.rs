//! MP4 files of H.264 in 4:2:0 of 8 bits, written and read without another program.
//!
//! OpenH264 compresses and decodes; `mp4_atom` knows the boxes. Frames are converted as for FFmpeg, by `video::yuv`. Files of
//! strangers are looked at here first: every size is checked against the file, and only slices whose parameter sets are understood
//! reach the decoder. What is not read is named, as FFmpeg reads it.

mod bits;
mod boxes;
mod decode;
mod encode;
mod order;
mod parameters;
mod read;
mod samples;
mod turn;
mod write;

pub(crate) use decode::Decoder;
pub(crate) use encode::{Encoder, check};
pub(crate) use read::Index;

/// What to do about a file that is not read or written here.
const INSTALL: &str = "install FFmpeg, or name it with --ffmpeg or VAE2X_FFMPEG";

/// The problem of a file that is fine for FFmpeg.
fn foreign(what: impl std::fmt::Display) -> String {
    format!("{what}, which only FFmpeg reads: {INSTALL}")
}

#[cfg(test)]
mod tests;
