//! A video file that FFmpeg reads, or, where it is not installed and the feature `mp4` is there, an MP4 file of H.264.

use std::path::{Path, PathBuf};
#[cfg(feature = "mp4")]
use std::sync::Arc;

use vae2x_core::{Error, Result};

use crate::frames::contract::{Frame, FrameSource, Spec};
use crate::picture::BitDepth;
#[cfg(feature = "mp4")]
use crate::video::mp4;
use crate::video::stream::Video;
use crate::video::{Decode, Ffmpeg};

/// Most pixels of a frame; as many as an image may have.
const MAX_PIXELS: usize = crate::picture::MAX_PIXELS as usize;

/// Frames of a video, decoded one ahead of what is used.
#[derive(Debug)]
pub struct MovieFile {
    path: PathBuf,
    program: Program,
    video: Video,
    spec: Spec,
    /// Running from the first frame to the last only.
    decoder: Option<Box<dyn Decode>>,
    next: usize,
}

/// What decodes the frames.
#[derive(Debug)]
enum Program {
    Ffmpeg(Ffmpeg),
    #[cfg(feature = "mp4")]
    OpenH264(Arc<mp4::Index>),
}

impl Program {
    /// Finds what reads a file, and looks at the file.
    fn find(path: &Path, ffmpeg: Option<&Path>) -> Result<(Self, Video)> {
        match Ffmpeg::find(ffmpeg) {
            Ok(ffmpeg) => {
                let video = ffmpeg.probe(path)?;
                Ok((Self::Ffmpeg(ffmpeg), video))
            }
            #[cfg(feature = "mp4")]
            Err(Error::NoProgram { .. }) if MovieFile::is_mp4(path) => {
                let index = mp4::Index::read(path)?;
                let video = index.video.clone();
                Ok((Self::OpenH264(index.into()), video))
            }
            Err(e) => Err(e),
        }
    }

    fn decode(&self, path: &Path, video: &Video) -> Result<Box<dyn Decode>> {
        Ok(match self {
            Self::Ffmpeg(ffmpeg) => Box::new(ffmpeg.decode(path, video)?),
            #[cfg(feature = "mp4")]
            Self::OpenH264(index) => Box::new(mp4::Decoder::new(path, index)?),
        })
    }
}

impl MovieFile {
    /// Names of files that are videos, in lower case.
    const NAMES: [&str; 12] = [
        "mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "mts", "ogv", "wmv",
    ];

    /// Whether a path is named as a video that FFmpeg reads.
    pub fn is_name(path: &Path) -> bool {
        path.extension()
            .is_some_and(|e| Self::NAMES.iter().any(|n| e.eq_ignore_ascii_case(n)))
    }

    /// Whether a path is named as a file of MP4's boxes.
    #[cfg(feature = "mp4")]
    fn is_mp4(path: &Path) -> bool {
        let names = ["mp4", "m4v", "mov"];
        path.extension()
            .is_some_and(|e| names.iter().any(|n| e.eq_ignore_ascii_case(n)))
    }

    /// Counts the frames of a video and looks at its facts; FFmpeg decodes it once for that.
    ///
    /// # Errors
    /// As [`Ffmpeg::find`]; [`Error::Format`] if the file cannot be read.
    pub fn open(path: &Path, ffmpeg: Option<&Path>) -> Result<Self> {
        vae2x_core::files::open(path)?;
        let (program, video) = Program::find(path, ffmpeg)?;
        let [height, width] = video.size;
        if height.saturating_mul(width) > MAX_PIXELS {
            let problem =
                format!("frames of {width}x{height} pixels; at most {MAX_PIXELS} are read");
            return Err(Error::format(path, problem));
        }
        Ok(Self {
            path: path.to_path_buf(),
            spec: Spec {
                items: 1,
                frames: video.frames,
                size: video.size,
                depth: depth(&video.pixel_format),
                text: video.text.clone(),
                rate: video.rate,
                has_audio: video.audio.is_some(),
            },
            program,
            video,
            decoder: None,
            next: 0,
        })
    }

    /// Sentences on what a player would show in another way.
    fn notes(&self) -> Vec<String> {
        let (path, video) = (self.path.display(), &self.video);
        let mut notes = shape_notes(&self.path, video.is_interlaced, video.pixel_aspect);
        if let Some(rate) = video.rate.filter(|_| video.is_varying) {
            notes.push(format!(
                "{path}: its frame rate varies; all {} frames are kept, as if at {:.3} per second",
                video.frames,
                rate.per_second()
            ));
        }
        if has_opacity(&video.pixel_format) {
            notes.push(format!("{path}: its transparency is left out"));
        }
        if let Some(damage) = &video.damage {
            notes.push(format!("{path}: ffmpeg cannot read all of it: {damage}"));
        }
        let colours = &video.colours;
        if matches!(colours.transfer.as_str(), "smpte2084" | "arib-std-b67") {
            notes.push(format!(
                "{path}: high dynamic range ({}) is taken as it is, as if it were sRGB",
                colours.transfer
            ));
        } else if colours.primaries == "bt2020" {
            notes.push(format!(
                "{path}: wide colours (BT.2020) are taken as they are, as if they were sRGB's"
            ));
        }
        notes
    }
}

impl FrameSource for MovieFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        if self.next == self.spec.frames {
            self.decoder = None;
            return Ok(None);
        }
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => self
                .decoder
                .insert(self.program.decode(&self.path, &self.video)?),
        };
        let pixels = decoder.next(self.next)?;
        let notes = match self.next {
            0 => self.notes(),
            _ => Vec::new(),
        };
        self.next += 1;
        Ok(Some(Frame {
            item: 0,
            index: self.next - 1,
            pixels,
            opacity: None,
            notes,
        }))
    }
}

/// The depth that holds what a stream does.
fn depth(pixel_format: &str) -> BitDepth {
    let deep = [
        "p9", "p10", "p12", "p14", "p16", "48", "64", "p010", "p016", "y210", "gray10", "gray12",
        "gray16",
    ];
    match deep.iter().any(|mark| pixel_format.contains(mark)) {
        true => BitDepth::Sixteen,
        false => BitDepth::Eight,
    }
}

/// Whether FFmpeg's name of a format is that of one with opacity.
fn has_opacity(pixel_format: &str) -> bool {
    let transparent = [
        "yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16",
    ];
    transparent
        .iter()
        .any(|mark| pixel_format.starts_with(mark))
}

/// Sentences on fields, and on pixels that are not square.
pub(super) fn shape_notes(
    path: &Path,
    is_interlaced: bool,
    aspect: Option<(u32, u32)>,
) -> Vec<String> {
    let path = path.display();
    let mut notes = Vec::new();
    if is_interlaced {
        notes.push(format!(
            "{path}: it is interlaced; frames are taken as they are, with both fields"
        ));
    }
    if let Some((width, height)) = aspect {
        notes.push(format!(
            "{path}: its pixels are not square ({width}:{height}); they are taken as if they were"
        ));
    }
    notes
}
