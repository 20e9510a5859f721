//! A video file of H.264, as OpenH264 compresses frames that are converted here.

use std::fmt;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use openh264::OpenH264API;
use openh264::encoder::{
    Complexity, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, QpRange,
    RateControlMode, VuiConfig,
};
use openh264::formats::YUVSlices;
use vae2x_core::temp::TempFile;
use vae2x_core::{Array, Error, Result};

use super::INSTALL;
use super::write::{Track, file_type, index};
use crate::video::yuv::{Chroma, Matrix, Range, Yuv};
use crate::video::{Codec, Container, Encode, Movie, PixelFormat, Wishes};

/// The sides of the largest frame that OpenH264 compresses, either way round.
const LARGEST: [usize; 2] = [3840, 2160];
/// The least height and width.
const SMALLEST: usize = 16;
/// The finest quantization of OpenH264.
const FINEST: u8 = 12;
/// Frames from one that needs none before it to the next, as in FFmpeg.
const KEY_DISTANCE: u32 = 250;
/// Bytes of the head of a box, and of one whose size has 64 bits.
const HEAD: usize = 8;
const LONG_HEAD: usize = 16;

/// Refuses what needs FFmpeg: `Ok` for an .mp4 file of H.264 in 4:2:0 of 8 bits.
///
/// # Errors
/// [`Error::NoProgram`].
pub(crate) fn check(container: Container, wishes: Wishes, has_audio: bool) -> Result<()> {
    let plain = PixelFormat {
        chroma: Chroma::MPEG2,
        bits: 8,
    };
    let how = if container != Container::Mp4 {
        "of videos, only .mp4 and .y4m files are written without it; install it, or name it with --ffmpeg or VAE2X_FFMPEG"
    } else if wishes.codec.is_some_and(|codec| codec != Codec::H264) {
        "--codec needs it, as .mp4 files are H.264 without it; install it, or name it with --ffmpeg or VAE2X_FFMPEG"
    } else if wishes.format.is_some_and(|format| format != plain) {
        "--pixel-format needs it, as .mp4 files are yuv420p without it; install it, or name it with --ffmpeg or VAE2X_FFMPEG"
    } else if has_audio {
        "sound needs it; install it, or name it with --ffmpeg or VAE2X_FFMPEG"
    } else {
        return Ok(());
    };
    Err(Error::NoProgram {
        program: "ffmpeg",
        how,
    })
}

/// Writes a file, which appears when it is complete.
pub(crate) struct Encoder {
    path: PathBuf,
    temp: TempFile,
    frames: usize,
    yuv: Yuv,
    codec: openh264::encoder::Encoder,
    track: Track,
    /// Bytes from the first box on that are left for the index; 0 before the first frame.
    room: usize,
    /// The frame as it is stored, and compressed.
    bytes: Vec<u8>,
    packet: Vec<u8>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Encoder");
        shown.field("temp", &self.temp).field("track", &self.track);
        shown.finish_non_exhaustive()
    }
}

impl Encoder {
    /// Will write frames of `size`, which is even.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if it cannot hold them; [`Error::Io`] if the file cannot be created.
    pub fn new(movie: &Movie, size: [usize; 2]) -> Result<Self> {
        let [height, width] = size;
        let is_unfit = height.max(width) > LARGEST[0]
            || height.min(width) > LARGEST[1]
            || height.min(width) < SMALLEST;
        if is_unfit || u32::try_from(movie.frames).is_err() {
            return Err(Error::BadRequest(format!(
                "{}: {} frames of {width}x{height} pixels; without FFmpeg .mp4 files hold {SMALLEST}x{SMALLEST} to {}x{}: {INSTALL}",
                movie.path.display(),
                movie.frames,
                LARGEST[0],
                LARGEST[1]
            )));
        }
        let quantizer = movie.encoding.crf.unwrap_or(FINEST).clamp(FINEST, 51);
        let rate = movie.rate.per_second().clamp(1.0, 60.0) as f32;
        let config = EncoderConfig::new()
            // The one mode that keeps to a quantization and leaves no frame out.
            .rate_control_mode(RateControlMode::Bufferbased)
            .qp(QpRange::new(quantizer, quantizer))
            .skip_frames(false)
            .adaptive_quantization(false)
            .background_detection(false)
            .scene_change_detect(false)
            .complexity(Complexity::High)
            .profile(Profile::Baseline)
            .max_frame_rate(FrameRate::from_hz(rate))
            .intra_frame_period(IntraFramePeriod::from_num_frames(KEY_DISTANCE))
            .vui(VuiConfig::bt709());
        let codec = openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), config);
        Ok(Self {
            path: movie.path.clone(),
            temp: TempFile::create(&movie.path)?,
            frames: movie.frames,
            yuv: Yuv {
                chroma: Chroma::MPEG2,
                bits: 8,
                matrix: Matrix::Bt709,
                range: Range::Limited,
            },
            codec: codec.map_err(|e| failed(&movie.path, &e))?,
            track: Track {
                size,
                rate: movie.rate,
                parameters: Default::default(),
                sizes: Vec::new(),
                keys: Vec::new(),
                text: movie.text.clone(),
            },
            room: 0,
            bytes: Vec::new(),
            packet: Vec::new(),
        })
    }

    /// Compresses the frame in `bytes` to a packet, whose parts have their lengths in front.
    fn compress(&mut self) -> Result<()> {
        let [height, width] = self.track.size;
        let area = height * width;
        let (y, colours) = self.bytes.split_at(area);
        let (cb, cr) = colours.split_at(area / 4);
        let slices = YUVSlices::new((y, cb, cr), (width, height), (width, width / 2, width / 2));
        let stream = self.codec.encode(&slices);
        let stream = stream.map_err(|e| failed(&self.path, &e))?;
        self.packet.clear();
        let layers = (0..stream.num_layers()).filter_map(|i| stream.layer(i));
        for layer in layers {
            let units = (0..layer.nal_count()).filter_map(|i| layer.nal_unit(i));
            for unit in units.map(without_start) {
                match unit.first().map(|head| head & 31) {
                    Some(7) => self.track.parameters[0] = unit.to_vec(),
                    Some(8) => self.track.parameters[1] = unit.to_vec(),
                    _ => {
                        self.packet.extend((unit.len() as u32).to_be_bytes());
                        self.packet.extend(unit);
                    }
                }
            }
        }
        if self.packet.is_empty() {
            return Err(failed(&self.path, &"it has left a frame out"));
        }
        self.track.sizes.push(self.packet.len() as u32);
        if stream.frame_type() == FrameType::IDR {
            self.track.keys.push(self.track.sizes.len() as u32);
        }
        Ok(())
    }

    /// Writes the first box, and leaves room for the index.
    fn begin(&mut self) -> Result<()> {
        let mut full = self.track.clone();
        full.sizes = vec![0; self.frames];
        full.keys = full.sizes.clone();
        let largest = index(&full, 0).map_err(|e| failed(&self.path, &e))?;
        let mut head = file_type().map_err(|e| failed(&self.path, &e))?;
        self.room = largest.len() + HEAD;
        head.resize(head.len() + self.room + LONG_HEAD, 0);
        let written = self.temp.file()?.write_all(&head);
        written.map_err(|e| Error::io(&self.path, e))
    }

    /// Writes what the room was left for, and the size of what follows it.
    fn index(&mut self) -> Result<()> {
        let unfit = |e: &dyn fmt::Display| failed(&self.path, e);
        let first = file_type().map_err(|e| unfit(&e))?;
        let media = first.len() + self.room;
        let start = u32::try_from(media + LONG_HEAD).map_err(|e| unfit(&e))?;
        let mut bytes = index(&self.track, start).map_err(|e| unfit(&e))?;
        let spare = self.room.checked_sub(bytes.len() + HEAD);
        let spare = spare.ok_or_else(|| unfit(&"its index has no room"))? + HEAD;
        bytes.extend((spare as u32).to_be_bytes());
        bytes.extend(b"free");
        bytes.resize(self.room, 0);
        let stored: u64 = self.track.sizes.iter().map(|&size| u64::from(size)).sum();
        bytes.extend(1u32.to_be_bytes());
        bytes.extend(b"mdat");
        bytes.extend((stored + LONG_HEAD as u64).to_be_bytes());
        let file = self.temp.file()?;
        let written = file
            .seek(SeekFrom::Start(first.len() as u64))
            .and_then(|_| file.write_all(&bytes));
        written.map_err(|e| Error::io(&self.path, e))
    }
}

impl Encode for Encoder {
    fn push(&mut self, frame: &Array) -> Result<()> {
        self.bytes.clear();
        self.yuv.write(frame, &mut self.bytes)?;
        self.compress()?;
        if self.room == 0 {
            self.begin()?;
        }
        let written = self.temp.file()?.write_all(&self.packet);
        written.map_err(|e| Error::io(&self.path, e))
    }

    fn close(mut self: Box<Self>, frames: usize) -> Result<TempFile> {
        let stored = self.track.sizes.len();
        if stored != frames {
            return Err(failed(
                &self.path,
                &format!("{stored} of {frames} frames came"),
            ));
        }
        self.index()?;
        Ok(self.temp)
    }
}

/// A part of the stream without the bytes that mark its start.
fn without_start(unit: &[u8]) -> &[u8] {
    let zeros = unit.iter().take_while(|&&byte| byte == 0).count();
    match unit.get(zeros) {
        Some(1) if zeros >= 2 => &unit[zeros + 1..],
        _ => unit,
    }
}

fn failed(path: &Path, why: &dyn fmt::Display) -> Error {
    Error::format(path, format!("OpenH264 cannot write it: {why}"))
}
