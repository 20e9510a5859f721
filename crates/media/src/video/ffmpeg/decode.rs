//! Frames of a video file, as FFmpeg decodes them.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};

use vae2x_core::{Array, Error, Result};

use super::program::{Ffmpeg, Running};
use crate::pixels;
use crate::video::Decode;
use crate::video::stream::Video;
use crate::video::yuv::{Matrix, Yuv};

/// FFmpeg decoding a file.
#[derive(Debug)]
pub(crate) struct Decoder {
    path: PathBuf,
    running: Running,
    stream: BufReader<ChildStdout>,
    layout: Layout,
    size: [usize; 2],
    bytes: Vec<u8>,
}

/// How frames come through the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// As they are stored.
    Yuv(Yuv),
    /// Interleaved red, green and blue of 16 bits, for what is stored in other ways.
    Rgb,
}

impl Layout {
    fn of(video: &Video) -> Self {
        let name = video.pixel_format.as_str();
        let (name, is_full) = match name.strip_prefix("yuvj") {
            Some(rest) => (format!("yuv{rest}"), true),
            None => (name.to_owned(), false),
        };
        let Ok(format) = name.parse::<crate::video::PixelFormat>() else {
            return Self::Rgb;
        };
        let range = match is_full {
            true => crate::video::yuv::Range::Full,
            false => video.colours.range,
        };
        Self::Yuv(Yuv {
            chroma: format.chroma,
            bits: format.bits,
            matrix: video
                .colours
                .matrix
                .unwrap_or_else(|| Matrix::usual(video.size)),
            range,
        })
    }

    fn frame_bytes(self, size: [usize; 2]) -> Option<usize> {
        match self {
            Self::Yuv(yuv) => yuv.frame_bytes(size),
            Self::Rgb => size[0].checked_mul(size[1])?.checked_mul(6),
        }
    }
}

impl Ffmpeg {
    /// Starts decoding a file that was probed.
    ///
    /// # Errors
    /// [`Error::Io`] if FFmpeg cannot be started; [`Error::OutOfMemory`].
    pub(crate) fn decode(&self, path: &Path, video: &Video) -> Result<Decoder> {
        let layout = Layout::of(video);
        let mut command = self.command(["-loglevel", "error"]);
        command
            .args(Self::input(path))
            .args(["-map", "0:v:0", self.pass_through(), "passthrough"]);
        match (layout, video.colours.matrix) {
            // As they are stored, which has several names.
            (Layout::Yuv(_), _) => {}
            (Layout::Rgb, Some(_)) => {
                command.args(["-pix_fmt", "rgb48le"]);
            }
            (Layout::Rgb, None) => {
                let usual = match Matrix::usual(video.size) {
                    Matrix::Bt601 => "bt601",
                    Matrix::Bt709 | Matrix::Bt2020 => "bt709",
                };
                let scale = format!("scale=in_color_matrix={usual}");
                command.args(["-vf", &scale, "-pix_fmt", "rgb48le"]);
            }
        }
        command.args(["-f", "rawvideo", "-"]).stdout(Stdio::piped());
        let mut running = self.start(command)?;
        let stream = running
            .output
            .take()
            .ok_or_else(|| Error::io(self.path(), std::io::Error::other("no output")))?;
        let length = layout.frame_bytes(video.size).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| {
            Error::OutOfMemory(format!("{length} bytes for a frame of {}", path.display()))
        })?;
        bytes.resize(length, 0);
        Ok(Decoder {
            path: path.to_path_buf(),
            running,
            stream: BufReader::new(stream),
            layout,
            size: video.size,
            bytes,
        })
    }
}

impl Decode for Decoder {
    fn next(&mut self, index: usize) -> Result<Array> {
        if self.stream.read_exact(&mut self.bytes).is_err() {
            let why = match self.running.finish() {
                Ok(()) => "the file ends before it".into(),
                Err(said) => format!("ffmpeg: {said}"),
            };
            return Err(Error::format(
                &self.path,
                format!("frame {index} cannot be read: {why}"),
            ));
        }
        match self.layout {
            Layout::Yuv(yuv) => yuv.read(&self.bytes, self.size),
            Layout::Rgb => {
                let samples = self
                    .bytes
                    .chunks_exact(2)
                    .map(|b| u16::from_le_bytes([b[0], b[1]]));
                pixels::planar(&samples.collect::<Vec<_>>(), self.size, pixels::from_u16)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::yuv::{Chroma, Range};

    #[test]
    fn frames_come_as_they_are_stored_where_that_is_understood() {
        let layout = |name: &str| {
            let video = Video {
                pixel_format: name.into(),
                size: [720, 1280],
                ..Video::default()
            };
            match Layout::of(&video) {
                Layout::Yuv(yuv) => Some((yuv.chroma, yuv.bits, yuv.range, yuv.matrix)),
                Layout::Rgb => None,
            }
        };
        let hd = Matrix::Bt709;
        let (limited, full) = (Range::Limited, Range::Full);
        assert_eq!(layout("yuv420p"), Some((Chroma::MPEG2, 8, limited, hd)));
        assert_eq!(layout("yuvj422p"), Some((Chroma::Half, 8, full, hd)));
        assert_eq!(layout("yuv444p12le"), Some((Chroma::Full, 12, limited, hd)));
        for other in [
            "gbrp",
            "rgb24",
            "yuva420p",
            "nv12",
            "pal8",
            "gray",
            "yuv410p",
            "yuv420p10be",
        ] {
            assert_eq!(layout(other), None, "{other}");
        }
    }
}
