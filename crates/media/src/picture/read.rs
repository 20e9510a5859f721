//! Image files to `[3, H, W]` in [-1, 1].
//!
//! The format is detected from the first bytes. 8- and 16-bit samples are taken as sRGB unless the
//! file says otherwise ([`colour`]), floats (EXR, TIFF) as linear light; all are converted to sRGB. EXIF
//! orientation is applied. Transparency is dropped with a note, unless it is asked for. What a
//! file may claim is judged before pixels are decoded, by [`limits`].

use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::error::UnsupportedErrorKind;
use image::metadata::Orientation as O;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use vae2x_core::{Array, Error, Result, files};

use super::format::BitDepth;
use super::metadata::{self, Metadata};
use super::patched::Patched;
use super::{colour, foreign, frames, jpeg, limits, png, tiff};
use crate::pixels;

/// An image as read from a file.
#[derive(Clone, Debug)]
pub struct Picture {
    /// `[3, H, W]`, sRGB in [-1, 1].
    pub pixels: Array,
    /// `[1, H, W]` from -1, clear, to 1, opaque, where it was asked for and any pixel is not
    /// opaque.
    pub opacity: Option<Array>,
    /// The depth that holds what the file does: 16 bits for floats.
    pub depth: BitDepth,
    /// What the file carries besides pixels.
    pub metadata: Metadata,
    /// Sentences on what was changed or left out, each naming the file; empty for most files.
    pub notes: Vec<String>,
}

/// How transparency is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opacity {
    /// Left out, with a note.
    #[default]
    Ignore,
    /// Kept apart from the colours, which are not multiplied by it.
    Keep,
}

/// Reads an image file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Format`] if it is not an image, damaged, above
/// [`MAX_PIXELS`](super::MAX_PIXELS), or has far more pixels than a file of its size can show.
pub fn read_image(path: &Path) -> Result<Picture> {
    read_image_with(path, Opacity::Ignore)
}

/// As [`read_image`], with a choice about transparency.
///
/// # Errors
/// As [`read_image`].
pub fn read_image_with(path: &Path, opacity: Opacity) -> Result<Picture> {
    read(path, &image_bytes(path)?, opacity)
}

/// The bytes of an image file, once its header has been found fit to be read.
///
/// # Errors
/// As [`image_head`]; [`Error::Format`] for a file that is much longer than its pixels can take.
pub fn image_bytes(path: &Path) -> Result<Vec<u8>> {
    let file = files::open(path)?;
    let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
    let (decoder, _) = open(path, BufReader::new(file), length)?;
    files::read(path, limits::file_bytes(decoder.dimensions()))
}

/// The contents of an image file's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHead {
    /// Height and width, after the image is turned upright.
    pub size: [usize; 2],
    /// As [`Picture::depth`].
    pub depth: BitDepth,
}

/// Reads the header of an image file only.
///
/// # Errors
/// As [`read_image`], as far as the header shows.
pub fn image_head(path: &Path) -> Result<ImageHead> {
    let file = files::open(path)?;
    let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
    let (decoder, orientation) = open(path, BufReader::new(file), length)?;
    Ok(ImageHead {
        size: upright(decoder.dimensions(), orientation),
        depth: depth(decoder.color_type()),
    })
}

/// What an image file carries besides pixels.
///
/// # Errors
/// As [`image_bytes`].
pub fn image_metadata(path: &Path) -> Result<Metadata> {
    Ok(metadata::read(&image_bytes(path)?))
}

/// Height and width of an image file as [`read_image`] would give it, from its header alone.
///
/// # Errors
/// As [`image_head`].
pub fn look_at_image(path: &Path) -> Result<[usize; 2]> {
    image_head(path).map(|head| head.size)
}

/// Whether files of a format are read, of those that decoders are there for.
fn is_read(format: ImageFormat) -> bool {
    use ImageFormat as F;
    matches!(
        format,
        F::Png | F::WebP | F::Gif | F::Tiff | F::OpenExr | F::Bmp
    )
}

/// Height and width after an image is turned.
fn upright((width, height): (u32, u32), orientation: O) -> [usize; 2] {
    let is_turned = matches!(
        orientation,
        O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH
    );
    match is_turned {
        true => [width as usize, height as usize],
        false => [height as usize, width as usize],
    }
}

/// Reads an image held in memory; `name` stands for its path in errors and notes.
///
/// # Errors
/// As [`read_image`].
pub fn decode_image(name: &Path, bytes: &[u8]) -> Result<Picture> {
    decode_image_with(name, bytes, Opacity::Ignore)
}

/// As [`decode_image`], with a choice about transparency.
///
/// # Errors
/// As [`read_image`].
pub fn decode_image_with(name: &Path, bytes: &[u8], opacity: Opacity) -> Result<Picture> {
    read(name, bytes, opacity)
}

/// A decoder for an image of allowed size, in a file of `length` bytes, and the orientation to apply.
fn open<'a, R: BufRead + Seek + 'a>(
    path: &Path,
    mut source: R,
    length: u64,
) -> Result<(Box<dyn ImageDecoder + 'a>, O)> {
    let fail = |e: ImageError| from_image_error(path, e);
    let start = source.fill_buf().map_err(|e| Error::io(path, e))?;
    if start.is_empty() {
        return Err(Error::format(path, "the file is empty"));
    }
    if let Some(problem) = foreign::named(path, start) {
        return Err(Error::format(path, problem));
    }
    let mut orientation = None;
    let mut decoder: Box<dyn ImageDecoder + 'a> = if start.starts_with(&jpeg::MAGIC) {
        if let Some(problem) = jpeg::problem(&mut source).map_err(|e| Error::io(path, e))? {
            return Err(Error::format(path, problem));
        }
        Box::new(jpeg::JpegDecoder::new(source).map_err(fail)?)
    } else if let Some(tags) = unusual_tiff(path, &mut source)? {
        Box::new(tiff::TiffDecoder::new(source, tags).map_err(fail)?)
    } else {
        let start = source.fill_buf().map_err(|e| Error::io(path, e))?;
        let size = limits::png_size(start);
        // The decoder of PNG unpacks metadata as soon as it is made.
        size.map_or(Ok(()), |size| limits::check_size(path, size, length))?;
        let found = match start.starts_with(png::MAGIC) {
            true => png::look(&mut source).map_err(|e| Error::io(path, e))?,
            false => png::Found::default(),
        };
        orientation = found.orientation;
        let mut reader = ImageReader::new(Patched::new(source, found.patches))
            .with_guessed_format()
            .map_err(|e| Error::io(path, e))?;
        if reader.format().is_none_or(|format| !is_read(format)) {
            let problem = format!("not an image: expected one of {}", foreign::READ);
            return Err(Error::format(path, problem));
        }
        reader.limits(limits::decoder(size));
        Box::new(reader.into_decoder().map_err(fail)?)
    };
    limits::check_size(path, decoder.dimensions(), length)?;
    let orientation = orientation.map_or_else(|| decoder.orientation().map_err(fail), Ok)?;
    Ok((decoder, orientation))
}

/// What a TIFF of a kind that [`tiff`] reads says of itself; `None` for other files.
fn unusual_tiff(path: &Path, source: &mut (impl BufRead + Seek)) -> Result<Option<tiff::Tags>> {
    let start = source.fill_buf().map_err(|e| Error::io(path, e))?;
    if !tiff::is_tiff(start) {
        return Ok(None);
    }
    let tags = tiff::look(source);
    match tags.and_then(|tags| tags.problem()) {
        Some(problem) => Err(Error::format(path, problem)),
        None => Ok(tags.filter(tiff::Tags::is_read_here)),
    }
}

fn read(path: &Path, bytes: &[u8], opacity: Opacity) -> Result<Picture> {
    let fail = |e: ImageError| from_image_error(path, e);
    let (mut decoder, orientation) = open(path, Cursor::new(bytes), bytes.len() as u64)?;
    let profile = decoder.icc_profile().map_err(fail)?;
    limits::check_memory(path, decoder.dimensions(), decoder.total_bytes())?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fail)?;
    if bytes.starts_with(&jpeg::MAGIC) && jpeg::is_cut(bytes, &image) {
        let problem = "the JPEG is truncated: the end of the image is missing";
        return Err(Error::format(path, problem));
    }
    image.apply_orientation(orientation);

    let mut notes = Vec::new();
    let count = frames::count(bytes);
    if count > 1 {
        notes.push(format!("the first of {count} frames is read"));
    }
    let depth = depth(image.color());
    let is_grey = !image.color().has_color();
    let transparent = is_transparent(&image);
    let is_kept = opacity == Opacity::Keep && transparent;
    let is_divided = tiff::is_multiplied(bytes);
    if is_divided || is_kept && bytes.starts_with(EXR) {
        divide_by_opacity(&mut image);
    }
    let opacity = is_kept.then(|| opacity_of(&image)).transpose()?;
    if transparent && !is_kept {
        let colours = match is_divided {
            true => "colours are taken as they are without it",
            false => "colours are taken as they are stored",
        };
        notes.push(format!("its transparency is ignored; {colours}"));
    }
    let (mut pixels, clipped) = to_array(path, image)?;
    notes.extend(clipped);
    let profile = profile.as_deref();
    notes.extend(colour::to_srgb(bytes, profile, &mut pixels, is_grey));
    let notes = notes
        .into_iter()
        .map(|note| format!("{}: {note}", path.display()))
        .collect();
    Ok(Picture {
        pixels,
        opacity,
        depth,
        metadata: metadata::read(bytes),
        notes,
    })
}

fn is_transparent(image: &DynamicImage) -> bool {
    match image {
        DynamicImage::ImageLumaA8(i) => i.pixels().any(|p| p.0[1] != u8::MAX),
        DynamicImage::ImageRgba8(i) => i.pixels().any(|p| p.0[3] != u8::MAX),
        DynamicImage::ImageLumaA16(i) => i.pixels().any(|p| p.0[1] != u16::MAX),
        DynamicImage::ImageRgba16(i) => i.pixels().any(|p| p.0[3] != u16::MAX),
        DynamicImage::ImageRgba32F(i) => i.pixels().any(|p| share(p.0[3]) < 1.0),
        _ => false,
    }
}

/// What every EXR begins with.
const EXR: &[u8] = &[0x76, 0x2f, 0x31, 0x01];

/// Undoes the multiplication of colours with opacity, as EXR files and some TIFF files have it. What
/// is clear stays as it is.
fn divide_by_opacity(image: &mut DynamicImage) {
    match image {
        DynamicImage::ImageLumaA8(i) => i.pixels_mut().for_each(|p| divide(&mut p.0)),
        DynamicImage::ImageRgba8(i) => i.pixels_mut().for_each(|p| divide(&mut p.0)),
        DynamicImage::ImageLumaA16(i) => i.pixels_mut().for_each(|p| divide(&mut p.0)),
        DynamicImage::ImageRgba16(i) => i.pixels_mut().for_each(|p| divide(&mut p.0)),
        DynamicImage::ImageRgba32F(i) => {
            for pixel in i.pixels_mut().filter(|p| p.0[3] > 0.0) {
                let opacity = pixel.0[3];
                pixel.0[..3].iter_mut().for_each(|v| *v /= opacity);
            }
        }
        _ => (),
    }
}

/// Divides the samples of a pixel by the last one, of which the largest value stands for 1.
fn divide<T: Copy + Into<u32> + TryFrom<u32> + image::Primitive>(pixel: &mut [T]) {
    let Some((opacity, colours)) = pixel.split_last_mut() else {
        return;
    };
    let (opacity, most) = ((*opacity).into(), T::DEFAULT_MAX_VALUE.into());
    for value in colours.iter_mut().filter(|_| opacity > 0) {
        let divided = ((*value).into() * most + opacity / 2) / opacity;
        *value = T::try_from(divided).unwrap_or(T::DEFAULT_MAX_VALUE);
    }
}

/// `[1, H, W]` in [-1, 1], at the precision of the file; opaque where the file says nothing.
fn opacity_of(image: &DynamicImage) -> Result<Array> {
    let size = [1, image.height() as usize, image.width() as usize];
    let values: Vec<f32> = match image {
        DynamicImage::ImageLumaA8(i) => i.pixels().map(|p| pixels::from_u8(p.0[1])).collect(),
        DynamicImage::ImageRgba8(i) => i.pixels().map(|p| pixels::from_u8(p.0[3])).collect(),
        DynamicImage::ImageLumaA16(i) => i.pixels().map(|p| pixels::from_u16(p.0[1])).collect(),
        DynamicImage::ImageRgba16(i) => i.pixels().map(|p| pixels::from_u16(p.0[3])).collect(),
        DynamicImage::ImageRgba32F(i) => i
            .pixels()
            .map(|p| pixels::from_unit(share(p.0[3])))
            .collect(),
        _ => vec![1.0; size[1] * size[2]],
    };
    Array::new(size, values)
}

/// A float as an opacity of [0, 1]; NaN is clear.
fn share(opacity: f32) -> f32 {
    if opacity > 0.0 { opacity.min(1.0) } else { 0.0 }
}

fn depth(colour: ColorType) -> BitDepth {
    match colour.bytes_per_pixel() / colour.channel_count() {
        0 | 1 => BitDepth::Eight,
        _ => BitDepth::Sixteen,
    }
}

/// The pixels at the precision of the file, and a note if light above white was clipped.
fn to_array(path: &Path, image: DynamicImage) -> Result<(Array, Option<String>)> {
    use DynamicImage as D;
    let size = [image.height() as usize, image.width() as usize];
    match image {
        D::ImageRgb32F(_) | D::ImageRgba32F(_) => from_light(path, &image.into_rgb32f(), size),
        D::ImageLuma16(_) | D::ImageLumaA16(_) | D::ImageRgb16(_) | D::ImageRgba16(_) => Ok((
            pixels::planar(&image.into_rgb16(), size, pixels::from_u16)?,
            None,
        )),
        _ => Ok((
            pixels::planar(&image.into_rgb8(), size, pixels::from_u8)?,
            None,
        )),
    }
}

fn from_light(path: &Path, light: &[f32], size: [usize; 2]) -> Result<(Array, Option<String>)> {
    if let Some(i) = light.iter().position(|v| !v.is_finite()) {
        let (x, y) = (i / 3 % size[1], i / 3 / size[1]);
        return Err(Error::format(
            path,
            format!("a pixel is not finite, the first at x={x} y={y}"),
        ));
    }
    let bright = light.iter().filter(|&&v| v > 1.0).count();
    let note = (bright > 0).then(|| {
        format!(
            "{bright} of {} samples are brighter than white and are clipped",
            light.len()
        )
    });
    Ok((pixels::planar(light, size, pixels::from_linear)?, note))
}

fn from_image_error(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::format(path, "the image is incomplete")
        }
        ImageError::IoError(e) => Error::io(path, e),
        ImageError::Unsupported(e) => {
            let kind = match e.kind() {
                UnsupportedErrorKind::GenericFeature(what) => format!(" ({what})"),
                _ => String::new(),
            };
            let problem = format!("an image of a kind{kind} that is not read; save it as PNG");
            Error::format(path, problem)
        }
        ImageError::Limits(_) => Error::format(
            path,
            "it holds, or claims to hold, far more than an image of its size takes",
        ),
        e => {
            let problem = format!("the image is damaged: {e}");
            Error::format(path, problem.trim_end())
        }
    }
}
