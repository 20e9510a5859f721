//! Picture files to `[3, H, W]` in [-1, 1].
//!
//! The format is told from the first bytes. 8- and 16-bit samples are taken as sRGB, floats (EXR) as linear light and
//! converted. EXIF orientation is applied; transparency and foreign colour profiles are left out and noted. The size is
//! checked before pixels are decoded, so that a small file cannot ask for all memory.

use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};
use vae2x_core::{Array, Error, Result};

use super::icc;
use crate::pixels;

/// Most pixels that a picture may have: 16384 x 8192, beyond what the model can take on any machine.
pub const MAX_PIXELS: u64 = 1 << 27;

/// A picture and what was left out of it.
#[derive(Clone, Debug)]
pub struct Picture {
    /// `[3, H, W]`, sRGB in [-1, 1].
    pub pixels: Array,
    /// Sentences on what the file holds and the pixels do not, each naming the file; empty for most files.
    pub notes: Vec<String>,
}

/// Reads a picture file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Format`] if it is no picture, damaged, or above [`MAX_PIXELS`].
pub fn read_image(path: &Path) -> Result<Picture> {
    // Before it is opened: opening a pipe waits for a writer.
    if !std::fs::metadata(path).map_err(|e| Error::io(path, e))?.is_file() {
        return Err(Error::format(path, "not a regular file; expected a picture"));
    }
    decode_image(path, &std::fs::read(path).map_err(|e| Error::io(path, e))?)
}

/// Reads a picture held in memory; `name` stands for its path in errors and notes.
///
/// # Errors
/// As [`read_image`].
pub fn decode_image(name: &Path, bytes: &[u8]) -> Result<Picture> {
    if is_cut_jpeg(bytes) {
        return Err(Error::format(name, "the JPEG is truncated: the end of its picture is missing"));
    }
    read(name, Cursor::new(bytes))
}

/// Whether the last scan of a JPEG has no end, which decoders fill with grey without a word. A thumbnail inside has both, before
/// the picture's own.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];
    const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|w| w == marker);
    bytes.starts_with(&MAGIC) && last(START_OF_SCAN) > last(END_OF_IMAGE)
}

fn read<R: BufRead + Seek>(path: &Path, source: R) -> Result<Picture> {
    let fail = |e: ImageError| from_image_error(path, e);
    let mut reader = ImageReader::new(source).with_guessed_format().map_err(|e| Error::io(path, e))?;
    if reader.format().is_none() {
        return Err(Error::format(path, "not a picture: expected PNG, JPEG, WebP, EXR or BMP"));
    }
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(fail)?;
    check_size(path, decoder.dimensions())?;
    let orientation = decoder.orientation().map_err(fail)?;
    let profile = decoder.icc_profile().map_err(fail)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fail)?;
    image.apply_orientation(orientation);

    let mut notes: Vec<String> = profile.as_deref().and_then(icc::note).into_iter().collect();
    notes.extend(transparency(&image));
    let (pixels, clipped) = to_array(path, image)?;
    notes.extend(clipped);
    let notes = notes.into_iter().map(|note| format!("{}: {note}", path.display())).collect();
    Ok(Picture { pixels, notes })
}

/// What a decoder may allocate: the largest picture as RGBA of 32-bit floats.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 16);
    limits
}

fn check_size(path: &Path, (width, height): (u32, u32)) -> Result<()> {
    match u64::from(width) * u64::from(height) {
        0 => Err(Error::format(path, format!("an empty picture of {width}x{height} pixels"))),
        1..=MAX_PIXELS => Ok(()),
        _ => Err(Error::format(path, format!("{width}x{height} pixels; at most {MAX_PIXELS} are read"))),
    }
}

/// A note if any pixel is not opaque.
fn transparency(image: &DynamicImage) -> Option<String> {
    let opaque = match image {
        DynamicImage::ImageLumaA8(i) => i.pixels().all(|p| p.0[1] == u8::MAX),
        DynamicImage::ImageRgba8(i) => i.pixels().all(|p| p.0[3] == u8::MAX),
        DynamicImage::ImageLumaA16(i) => i.pixels().all(|p| p.0[1] == u16::MAX),
        DynamicImage::ImageRgba16(i) => i.pixels().all(|p| p.0[3] == u16::MAX),
        DynamicImage::ImageRgba32F(i) => i.pixels().all(|p| p.0[3] >= 1.0),
        _ => true,
    };
    (!opaque).then(|| "its transparency is ignored; colours are taken as they are stored".into())
}

/// The pixels at the precision of the file, and a note if light above white was clipped.
fn to_array(path: &Path, image: DynamicImage) -> Result<(Array, Option<String>)> {
    use DynamicImage as D;
    let size = [image.height() as usize, image.width() as usize];
    match image {
        D::ImageRgb32F(_) | D::ImageRgba32F(_) => from_light(path, &image.into_rgb32f(), size),
        D::ImageLuma16(_) | D::ImageLumaA16(_) | D::ImageRgb16(_) | D::ImageRgba16(_) => {
            Ok((pixels::planar(&image.into_rgb16(), size, pixels::from_u16)?, None))
        }
        _ => Ok((pixels::planar(&image.into_rgb8(), size, pixels::from_u8)?, None)),
    }
}

fn from_light(path: &Path, light: &[f32], size: [usize; 2]) -> Result<(Array, Option<String>)> {
    if let Some(i) = light.iter().position(|v| !v.is_finite()) {
        let (x, y) = (i / 3 % size[1], i / 3 / size[1]);
        return Err(Error::format(path, format!("a pixel is not finite, the first at x={x} y={y}")));
    }
    let bright = light.iter().filter(|&&v| v > 1.0).count();
    let note =
        (bright > 0).then(|| format!("{bright} of {} samples are brighter than white and are clipped", light.len()));
    Ok((pixels::planar(light, size, pixels::from_linear)?, note))
}

fn from_image_error(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::format(path, "the picture is incomplete")
        }
        ImageError::IoError(e) => Error::io(path, e),
        ImageError::Unsupported(e) => Error::format(path, format!("{e}; PNG, JPEG, WebP, EXR and BMP are read")),
        e => Error::format(path, format!("the picture is damaged: {e}")),
    }
}
