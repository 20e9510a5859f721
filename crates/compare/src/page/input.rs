//! An image as it goes into the page: its pixels for the numbers, and bytes that a browser shows.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};
use vae2x_core::{Array, Error, Result};
use vae2x_media::picture::{
    PictureFormat, PictureOptions, decode_image, encode_image, image_bytes, look_at_image,
};
use vae2x_media::pixels;

use super::spool::Spooled;

/// Where an image comes from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Pixels that need not be on disk.
    Pixels {
        /// The name of the file that holds them, or would.
        file: String,
        /// `[3, H, W]` in [-1, 1]
        pixels: Array,
    },
}

/// A rectangle, in pixels of a row's widest image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Its first column.
    pub left: usize,
    /// Its first row.
    pub top: usize,
}

impl Crop {
    /// Whether it lies in an image `[H, W]` and is not empty.
    pub(super) fn is_inside(self, [height, width]: [usize; 2]) -> bool {
        let fits = |start: usize, length: usize, all: usize| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= all)
        };
        fits(self.left, self.width, width) && fits(self.top, self.height, height)
    }

    /// The same part of the field in an image of another size, if it has whole pixels there.
    pub(super) fn scaled(self, [h, w]: [usize; 2], [to_h, to_w]: [usize; 2]) -> Option<Self> {
        let scaled = |value: usize, from: usize, to: usize| {
            let product = value.checked_mul(to)?;
            product.is_multiple_of(from).then(|| product / from)
        };
        Some(Self {
            width: scaled(self.width, w, to_w)?,
            height: scaled(self.height, h, to_h)?,
            left: scaled(self.left, w, to_w)?,
            top: scaled(self.top, h, to_h)?,
        })
    }
}

impl std::fmt::Display for Crop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}x{}+{}+{}",
            self.width, self.height, self.left, self.top
        )
    }
}

/// Bytes of an image that browsers show.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// As they are in a file.
    File(PathBuf),
    /// Made for the page.
    Png(Vec<u8>),
    /// Made for the page, and put where it takes no memory.
    Spooled(Spooled),
}

/// An image that has been read.
pub(super) struct Loaded {
    pub file: String,
    /// Format and depth, in words.
    pub format: String,
    /// Length of the file, or of what is made for the page where there is none.
    pub length: u64,
    /// Differences between the file and what the page shows.
    pub notes: Vec<String>,
    pub pixels: Array,
    pub media_type: &'static str,
    pub source: Source,
}

/// The size of an image, `[H, W]`, upright, from the first bytes of its file.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] if it is not an image.
pub(super) fn size(input: &Input) -> Result<[usize; 2]> {
    match input {
        Input::Pixels { pixels, .. } => pixels::picture_size(pixels),
        Input::File(path) => look_at_image(path),
    }
}

/// Reads an image; of the part `crop`, in its own pixels, if there is one.
///
/// # Errors
/// As [`decode_image`]; [`Error::Shape`] if a part reaches beyond the image.
pub(super) fn load(input: &Input, crop: Option<Crop>) -> Result<Loaded> {
    match input {
        Input::File(path) => load_file(path, crop),
        Input::Pixels { file, pixels } => {
            let pixels = cut(pixels.clone(), crop)?;
            let png = encode_image(&pixels, PictureFormat::Png, &PictureOptions::default())?;
            Ok(Loaded {
                file: file.clone(),
                format: "PNG, 8 bit".into(),
                length: png.len() as u64,
                notes: Vec::new(),
                pixels,
                media_type: "image/png",
                source: Source::Png(png),
            })
        }
    }
}

fn load_file(path: &Path, crop: Option<Crop>) -> Result<Loaded> {
    let bytes = image_bytes(path)?;
    let picture = decode_image(path, &bytes)?;
    let header = header(path, &bytes)?;
    let pixels = cut(picture.pixels, crop)?;
    let mut notes: Vec<String> = picture
        .notes
        .iter()
        .map(|note| without_path(note, path))
        .collect();
    // What the numbers measure is what the page shows, so a file that a browser would show in other colours is not embedded.
    let as_it_is = if notes.is_empty() && crop.is_none() && header.bits == 8 {
        header.media_type
    } else {
        None
    };
    let (media_type, source) = match as_it_is {
        Some(media_type) => (media_type, Source::File(path.to_path_buf())),
        None => {
            let png = encode_image(&pixels, PictureFormat::Png, &PictureOptions::default())?;
            ("image/png", Source::Png(png))
        }
    };
    if header.bits != 8 {
        notes.push("shown with 8 bits; numbers are of the file's own values".into());
    }
    let file = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let format = format!("{}, {} bit", header.format, header.bits);
    Ok(Loaded {
        file,
        format,
        length: bytes.len() as u64,
        notes,
        pixels,
        media_type,
        source,
    })
}

/// The sentence of a note, which opens with its file's path.
fn without_path(note: &str, path: &Path) -> String {
    note.strip_prefix(&format!("{}: ", path.display()))
        .unwrap_or(note)
        .into()
}

struct Header {
    bits: u16,
    format: &'static str,
    /// If browsers show the format.
    media_type: Option<&'static str>,
}

fn header(path: &Path, bytes: &[u8]) -> Result<Header> {
    let refuse = |e: String| Error::format(path, format!("not a readable image: {e}"));
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Error::io(path, e))?;
    let format = reader
        .format()
        .ok_or_else(|| refuse("its format is not known".into()))?;
    let decoder = reader.into_decoder().map_err(|e| refuse(e.to_string()))?;
    let (format, media_type) = named(format);
    Ok(Header {
        bits: depth(decoder.original_color_type()),
        format,
        media_type,
    })
}

fn named(format: ImageFormat) -> (&'static str, Option<&'static str>) {
    match format {
        ImageFormat::Png => ("PNG", Some("image/png")),
        ImageFormat::Jpeg => ("JPEG", Some("image/jpeg")),
        ImageFormat::WebP => ("WebP", Some("image/webp")),
        ImageFormat::OpenExr => ("EXR", None),
        ImageFormat::Bmp => ("BMP", None),
        ImageFormat::Tiff => ("TIFF", None),
        // One that moves would not be what is measured.
        ImageFormat::Gif => ("GIF", None),
        _ => ("picture", None),
    }
}

/// Bits per channel; 8 for the few below.
fn depth(colour: ExtendedColorType) -> u16 {
    (colour.bits_per_pixel() / u16::from(colour.channel_count())).max(8)
}

/// The part of an image.
fn cut(picture: Array, crop: Option<Crop>) -> Result<Array> {
    let Some(crop) = crop else { return Ok(picture) };
    let [h, w] = pixels::picture_size(&picture)?;
    if !crop.is_inside([h, w]) {
        return Err(Error::Shape {
            what: "part of an image".into(),
            expected: format!("a rectangle inside {w}x{h}"),
            got: crop.to_string(),
        });
    }
    let Crop {
        width,
        height,
        left,
        top,
    } = crop;
    let rows = picture
        .data()
        .chunks_exact(w)
        .enumerate()
        .filter(|(i, _)| (top..top + height).contains(&(i % h)));
    Array::new(
        [3, height, width],
        rows.flat_map(|(_, row)| &row[left..left + width])
            .copied()
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_and_must_lie_inside() {
        let picture = Array::new([3, 3, 4], (0..36).map(|i| i as f32).collect()).unwrap();
        let part = cut(
            picture.clone(),
            Some(Crop {
                width: 2,
                height: 1,
                left: 1,
                top: 2,
            }),
        )
        .unwrap();
        assert_eq!(part.shape(), [3, 1, 2]);
        assert_eq!(part.data(), [9., 10., 21., 22., 33., 34.]);
        for (width, height, left, top) in [
            (5, 1, 0, 0),
            (2, 2, 3, 0),
            (1, 2, 0, 2),
            (1, 1, usize::MAX, 0),
            (0, 1, 0, 0),
        ] {
            assert!(
                cut(
                    picture.clone(),
                    Some(Crop {
                        width,
                        height,
                        left,
                        top
                    })
                )
                .is_err()
            );
        }
    }
}
