//! Animated images, which every browser plays and which need no other program: APNG and WebP, both lossless at 8 bits, and GIF.
//!
//! A GIF has 256 colours, chosen for each frame, and counts time in hundredths of a second.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::Delay;
use image::codecs::gif::{GifEncoder, Repeat};
use vae2x_core::temp::TempFile;
use vae2x_core::{Array, Error, Result};

use super::count::Count;
use crate::frames::contract::{FrameSink, partial};
use crate::picture::{Metadata, PictureFormat, PictureOptions, Stored, add_png_text, encode_image};
use crate::pixels::{self, picture_size};
use crate::video::{Animation, Rate, webp};

/// The image crate's trade of time for the choice of colours, from 1, the best, to 30.
const GIF_SPEED: i32 = 10;
/// Browsers take shorter durations than two hundredths of a second for ten.
const GIF_MOST: f64 = 50.0;

/// Writes frames as an animation that plays for ever. The file appears when it is complete.
pub struct AnimationSink {
    path: PathBuf,
    format: Animation,
    temp: TempFile,
    rate: Rate,
    frames: usize,
    text: Vec<(String, String)>,
    notes: Vec<String>,
    /// From the first frame on, which tells the size.
    writer: Option<Writer>,
    count: Count,
}

enum Writer {
    Png(Box<png::Writer<BufWriter<File>>>),
    Webp(webp::Animation<BufWriter<File>>),
    Gif(Box<GifEncoder<Recorder>>, Failure),
}

/// What an encoder that ends its file when it is dropped could not write.
type Failure = Arc<Mutex<Option<std::io::Error>>>;

/// A file whose errors are kept.
struct Recorder {
    file: BufWriter<File>,
    failure: Failure,
}

impl Recorder {
    fn record<T>(&self, result: std::io::Result<T>) -> std::io::Result<T> {
        result.map_err(|e| {
            let copy = std::io::Error::new(e.kind(), e.to_string());
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(e);
            copy
        })
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes);
        self.record(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.file.flush();
        self.record(flushed)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Kept for who asks.
        let _ = self.flush();
    }
}

impl AnimationSink {
    /// Will write `frames` frames to `path`; APNG keeps the texts, WebP those of ComfyUI.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a rate that the format does not hold; [`Error::Io`] if the file cannot be created.
    pub fn create(
        path: &Path,
        format: Animation,
        rate: Rate,
        frames: usize,
        text: Vec<(String, String)>,
    ) -> Result<Self> {
        if format == Animation::Gif && rate.per_second() > GIF_MOST {
            return Err(Error::BadRequest(format!(
                "--fps {rate}: a GIF shows at most {GIF_MOST} frames per second; write .webp or .apng"
            )));
        }
        Ok(Self {
            path: path.to_path_buf(),
            format,
            notes: Vec::new(),
            temp: TempFile::create(path)?,
            rate,
            frames,
            text,
            writer: None,
            count: Count::new(1, frames),
        })
    }

    fn begin(&mut self, size: [usize; 2]) -> Result<Writer> {
        let file = self.temp.file()?.try_clone();
        let file = BufWriter::new(file.map_err(|e| Error::io(&self.path, e))?);
        match self.format {
            Animation::Png => {
                let writer = self.png(file, size).map_err(|e| from_png(&self.path, e))?;
                Ok(Writer::Png(Box::new(writer)))
            }
            Animation::Webp => {
                let metadata = Metadata::from(self.text.clone());
                let stored = Stored::new(PictureFormat::Webp, &metadata);
                self.left_out(metadata.note_on(PictureFormat::Webp));
                webp::Animation::new(file, size, stored.exif)
                    .map(Writer::Webp)
                    .map_err(|e| Error::io(&self.path, e))
            }
            Animation::Gif => {
                let names: Vec<_> = self
                    .text
                    .iter()
                    .map(|(name, _)| format!("'{name}'"))
                    .collect();
                let left_out = format!("GIF does not keep {}", names.join(" and "));
                self.left_out((!names.is_empty()).then_some(left_out));
                let failure = Failure::default();
                let recorder = Recorder {
                    file,
                    failure: Arc::clone(&failure),
                };
                let mut encoder = GifEncoder::new_with_speed(recorder, GIF_SPEED);
                let endless = encoder.set_repeat(Repeat::Infinite);
                endless.map_err(|e| from_gif(&self.path, e))?;
                Ok(Writer::Gif(Box::new(encoder), failure))
            }
        }
    }

    fn left_out(&mut self, note: Option<String>) {
        let path = self.path.display();
        self.notes
            .extend(note.map(|note| format!("{path}: {note}")));
    }

    /// Writes the end of the file.
    fn close(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(Writer::Png(png)) => png.finish().map_err(|e| from_png(&self.path, e)),
            Some(Writer::Webp(webp)) => webp
                .finish()
                .map(drop)
                .map_err(|e| Error::io(&self.path, e)),
            // It writes the end of the file when it is dropped.
            Some(Writer::Gif(gif, failure)) => {
                drop(gif);
                let failure = failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                failure.map_or(Ok(()), |e| Err(Error::io(&self.path, e)))
            }
            None => Ok(()),
        }
    }

    fn png(
        &self,
        file: BufWriter<File>,
        size: [usize; 2],
    ) -> std::result::Result<png::Writer<BufWriter<File>>, png::EncodingError> {
        let [height, width] = size.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let mut encoder = png::Encoder::new(file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
        if self.frames > 1 {
            encoder.set_animated(u32::try_from(self.frames).unwrap_or(u32::MAX), 0)?;
            let (seconds, parts) = png_delay(self.rate);
            encoder.set_frame_delay(seconds, parts)?;
        }
        for (keyword, words) in &self.text {
            add_png_text(&mut encoder, keyword, words)?;
        }
        encoder.write_header()
    }
}

/// The duration of a frame as a fraction of a second in 16 bits: the nearest one.
fn png_delay(rate: Rate) -> (u16, u16) {
    let (frames, seconds) = rate.fraction();
    if let (Ok(seconds), Ok(frames)) = (u16::try_from(seconds), u16::try_from(frames)) {
        return (seconds, frames);
    }
    let duration = 1.0 / rate.per_second();
    let parts = |per_second: u16| (duration * f64::from(per_second)).round();
    let error = |&n: &u16| (parts(n) / f64::from(n) - duration).abs();
    let best = (1..=u16::MAX).min_by(|a, b| error(a).total_cmp(&error(b)));
    let per_second = best.unwrap_or(u16::MAX);
    (parts(per_second) as u16, per_second)
}

/// Ticks that a frame is shown, so that sums are never off by more than half of one.
fn ticks(rate: Rate, index: usize, per_second: f64) -> u32 {
    let at = |index: usize| (index as f64 * per_second / rate.per_second()).round();
    (at(index + 1) - at(index)) as u32
}

/// A frame of 8 bits with its duration.
fn gif_frame(frame: &Array, rate: Rate, index: usize) -> Result<image::Frame> {
    let [height, width] = picture_size(frame)?;
    let samples = pixels::interleave(frame, pixels::to_u8)?;
    let too_large = || Error::Shape {
        what: format!("frame {index}"),
        expected: "one that GIF stores, of up to 65535 pixels along each side".into(),
        got: format!("{width}x{height} pixels"),
    };
    let side = |n: usize| u16::try_from(n).map(u32::from).map_err(|_| too_large());
    let image =
        image::RgbImage::from_raw(side(width)?, side(height)?, samples).ok_or_else(too_large)?;
    let delay = Delay::from_numer_denom_ms(10 * ticks(rate, index, 100.0), 1);
    let image = image::DynamicImage::from(image).into_rgba8();
    Ok(image::Frame::from_parts(image, 0, 0, delay))
}

fn from_gif(path: &Path, error: image::ImageError) -> Error {
    match error {
        image::ImageError::IoError(e) => Error::io(path, e),
        e => Error::format(path, e.to_string()),
    }
}

fn from_png(path: &Path, error: png::EncodingError) -> Error {
    match error {
        png::EncodingError::IoError(e) => Error::io(path, e),
        e => Error::format(path, e.to_string()),
    }
}

impl FrameSink for AnimationSink {
    fn push(&mut self, frame: &Array) -> Result<()> {
        let (index, size) = self.count.next_alike(frame)?;
        let mut writer = match self.writer.take() {
            Some(begun) => begun,
            None => self.begin(size)?,
        };
        match &mut writer {
            Writer::Png(png) => {
                let samples = pixels::interleave(frame, pixels::to_u8)?;
                let written = png.write_image_data(&samples);
                written.map_err(|e| from_png(&self.path, e))?;
            }
            Writer::Webp(webp) => {
                let image = encode_image(frame, PictureFormat::Webp, &PictureOptions::default())?;
                let written = webp.push(&image, ticks(self.rate, index, 1000.0));
                written.map_err(|e| Error::io(&self.path, e))?;
            }
            Writer::Gif(gif, _) => {
                let written = gif.encode_frame(gif_frame(frame, self.rate, index)?);
                written.map_err(|e| from_gif(&self.path, e))?;
            }
        }
        self.writer = Some(writer);
        self.count.add();
        Ok(())
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.count.finish()?;
        self.close()?;
        self.temp.persist()?;
        Ok(vec![self.path])
    }

    /// All but APNG, whose header has the number of frames.
    fn keep_part(mut self: Box<Self>) -> Result<Vec<PathBuf>> {
        if matches!(self.writer, None | Some(Writer::Png(_))) {
            return Ok(Vec::new());
        }
        self.close()?;
        let path = partial(&self.path);
        self.temp.persist_as(path.clone())?;
        Ok(vec![path])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two frames in a file of this name, with a workflow, and what is said of them.
    fn written(folder: &Path, name: &str, fps: &str) -> Result<(Vec<u8>, Vec<String>)> {
        let path = folder.join(name);
        let format = Animation::from_path(&path, 2).unwrap();
        let text = vec![("workflow".into(), "{\"a\": 1}".into())];
        let sink = AnimationSink::create(&path, format, fps.parse().unwrap(), 2, text)?;
        let mut sink = Box::new(sink);
        for shade in [0.5, -0.5] {
            sink.push(&Array::new([3, 4, 6], vec![shade; 72]).unwrap())?;
        }
        let notes = sink.notes();
        sink.finish()?;
        Ok((std::fs::read(path).unwrap(), notes))
    }

    #[test]
    fn a_workflow_stays_with_the_frames_or_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let has = |file: &[u8], text: &str| file.windows(text.len()).any(|w| w == text.as_bytes());
        for name in ["a.webp", "a.apng"] {
            let (file, notes) = written(folder.path(), name, "16").unwrap();
            assert!(has(&file, "workflow") && has(&file, "{\"a\": 1}"), "{name}");
            assert!(notes.is_empty(), "{notes:?}");
        }
        let (_, notes) = written(folder.path(), "a.gif", "50").unwrap();
        assert!(
            notes.len() == 1 && notes[0].contains("'workflow'"),
            "{notes:?}"
        );
        let refused = written(folder.path(), "b.gif", "60").map(|_| ());
        assert!(matches!(refused, Err(Error::BadRequest(_))), "{refused:?}");
    }

    #[test]
    fn delays_add_up_to_the_length() {
        let rate = |text: &str| text.parse::<Rate>().unwrap();
        let total: u32 = (0..160).map(|i| ticks(rate("16"), i, 1000.0)).sum();
        assert_eq!(total, 10_000);
        assert_eq!(png_delay(rate("16")), (1, 16));
        assert_eq!(png_delay(rate("30000/1001")), (1001, 30000));
        for text in ["97.123", "120000/1001"] {
            let (seconds, parts) = png_delay(rate(text));
            let found = f64::from(parts) / f64::from(seconds);
            let wanted = rate(text).per_second();
            assert!((found / wanted - 1.0).abs() < 1e-6, "{text}: {found}");
        }
    }
}
