//! Animated images, which every browser plays and which need no other program: APNG and WebP, both lossless at 8 bits.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use vae2x_core::temp::TempFile;
use vae2x_core::{Array, Error, Result};

use super::count::Count;
use crate::frames::contract::FrameSink;
use crate::picture::{PictureFormat, PictureOptions, add_png_text, encode_image};
use crate::pixels::{self, picture_size, require_finite};
use crate::video::{Animation, Rate, webp};

/// Writes frames as an animation that plays for ever. The file appears when it is complete.
pub struct AnimationSink {
    path: PathBuf,
    format: Animation,
    temp: TempFile,
    rate: Rate,
    frames: usize,
    text: Vec<(String, String)>,
    /// From the first frame on, which tells the size.
    writer: Option<(Writer, [usize; 2])>,
    count: Count,
}

enum Writer {
    Png(Box<png::Writer<BufWriter<File>>>),
    Webp(webp::Animation<BufWriter<File>>),
}

impl AnimationSink {
    /// Will write `frames` frames to `path`; APNG keeps the texts.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be created.
    pub fn create(
        path: &Path,
        format: Animation,
        rate: Rate,
        frames: usize,
        text: Vec<(String, String)>,
    ) -> Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            format,
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
            Animation::Webp => webp::Animation::new(file, size)
                .map(Writer::Webp)
                .map_err(|e| Error::io(&self.path, e)),
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

/// The duration of a frame as a fraction of a second in 16 bits.
fn png_delay(rate: Rate) -> (u16, u16) {
    let (frames, seconds) = rate.fraction();
    match (u16::try_from(seconds), u16::try_from(frames)) {
        (Ok(seconds), Ok(frames)) => (seconds, frames),
        _ => ((1000.0 / rate.per_second()).round() as u16, 1000),
    }
}

/// Milliseconds that a frame is shown, so that sums are never off by more than half of one.
fn milliseconds(rate: Rate, index: usize) -> u32 {
    let at = |index: usize| (index as f64 * 1000.0 / rate.per_second()).round();
    (at(index + 1) - at(index)) as u32
}

fn from_png(path: &Path, error: png::EncodingError) -> Error {
    match error {
        png::EncodingError::IoError(e) => Error::io(path, e),
        e => Error::format(path, e.to_string()),
    }
}

impl FrameSink for AnimationSink {
    fn push(&mut self, frame: &Array) -> Result<()> {
        self.count.next()?;
        let index = self.count.pushed();
        require_finite(&format!("frame {index}"), frame)?;
        let size = picture_size(frame)?;
        let (mut writer, first) = match self.writer.take() {
            Some(begun) => begun,
            None => (self.begin(size)?, size),
        };
        if size != first {
            return Err(Error::Shape {
                what: format!("frame {index}"),
                expected: format!("{}x{} pixels, as the first", first[1], first[0]),
                got: format!("{}x{}", size[1], size[0]),
            });
        }
        match &mut writer {
            Writer::Png(png) => {
                let samples = pixels::interleave(frame, pixels::to_u8)?;
                let written = png.write_image_data(&samples);
                written.map_err(|e| from_png(&self.path, e))?;
            }
            Writer::Webp(webp) => {
                let image = encode_image(frame, PictureFormat::Webp, &PictureOptions::default())?;
                let written = webp.push(&image, milliseconds(self.rate, index));
                written.map_err(|e| Error::io(&self.path, e))?;
            }
        }
        self.writer = Some((writer, first));
        self.count.add();
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.count.finish()?;
        match self.writer.take() {
            Some((Writer::Png(png), _)) => png.finish().map_err(|e| from_png(&self.path, e))?,
            Some((Writer::Webp(webp), _)) => webp
                .finish()
                .map(drop)
                .map_err(|e| Error::io(&self.path, e))?,
            None => {}
        }
        self.temp.persist()?;
        Ok(vec![self.path])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_add_up_to_the_length() {
        let rate = |text: &str| text.parse::<Rate>().unwrap();
        let total: u32 = (0..160).map(|i| milliseconds(rate("16"), i)).sum();
        assert_eq!(total, 10_000);
        assert_eq!(png_delay(rate("16")), (1, 16));
        assert_eq!(png_delay(rate("30000/1001")), (1001, 30000));
        assert_eq!(png_delay(rate("97.123")), (10, 1000));
    }
}
