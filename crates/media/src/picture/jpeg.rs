//! JPEG files, by `zune-jpeg` as it is: through the `image` crate what is damaged or missing comes
//! out as flat colours without a word. Headers are read leniently, as browsers do; coded pixels must
//! all be there and be right.

use std::io::{BufRead, Seek};

use image::error::{DecodingError, ImageFormatHint};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageResult};
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

/// What every JPEG begins with.
pub(super) const MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];

/// A JPEG whose headers have been read.
pub(super) struct JpegDecoder<R: BufRead + Seek> {
    decoder: zune_jpeg::JpegDecoder<R>,
    size: (u32, u32),
    colour: ColorType,
}

impl<R: BufRead + Seek> JpegDecoder<R> {
    /// Reads the headers.
    ///
    /// # Errors
    /// If they are damaged or of a kind that is not supported.
    pub fn new(source: R) -> ImageResult<Self> {
        // The size is checked by who asks for it.
        let options = DecoderOptions::default()
            .set_strict_mode(false)
            .set_max_width(usize::MAX)
            .set_max_height(usize::MAX);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(source, options);
        decoder.decode_headers().map_err(damaged)?;
        let (colour, space) = match decoder.input_colorspace() {
            Some(ColorSpace::Luma) => (ColorType::L8, ColorSpace::Luma),
            _ => (ColorType::Rgb8, ColorSpace::RGB),
        };
        decoder.set_options(options.set_strict_mode(true).jpeg_set_out_colorspace(space));
        let (width, height) = decoder.dimensions().unwrap_or_default();
        Ok(Self {
            decoder,
            size: (width as u32, height as u32),
            colour,
        })
    }
}

/// A sentence on a kind of JPEG that is not read; goes back to the beginning.
///
/// # Errors
/// If the file cannot be read; one that ends too early is no error.
pub(super) fn problem(source: &mut (impl BufRead + Seek)) -> std::io::Result<Option<String>> {
    let found = unread(source);
    source.rewind()?;
    let what = match found {
        Ok(None) => return Ok(None),
        Ok(Some(what)) => what,
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(Some(match what {
        Unread::Kind(kind) => format!("a JPEG of {kind}, which is not read; save it as PNG"),
        Unread::Start => {
            "the image is damaged: a second JPEG begins before the first one has pixels".into()
        }
    }))
}

/// Why a JPEG is not read.
enum Unread {
    Kind(&'static str),
    /// Another image begins.
    Start,
}

/// Goes from segment to segment to the one that tells how pixels are coded.
fn unread(source: &mut (impl BufRead + Seek)) -> std::io::Result<Option<Unread>> {
    source.seek_relative(2)?;
    let mut next = [0; 1];
    loop {
        source.read_exact(&mut next)?;
        if next != [0xff] {
            return Ok(None);
        }
        while next == [0xff] {
            source.read_exact(&mut next)?;
        }
        let mut head = [0; 3];
        match next[0] {
            0xd8 => return Ok(Some(Unread::Start)),
            0xda | 0xd9 => return Ok(None),
            0x01 | 0xd0..=0xd7 => continue,
            _ => source.read_exact(&mut head[..2])?,
        }
        let length = u16::from_be_bytes([head[0], head[1]]);
        let kind = match next[0] {
            0xc0..=0xc2 => {
                source.read_exact(&mut head[2..])?;
                match head[2] {
                    12 => "12 bits",
                    16 => "16 bits",
                    _ => return Ok(None),
                }
            }
            0xc3 => "lossless coding",
            0xc5..=0xc7 => "several layers (hierarchical)",
            0xc9..=0xcb | 0xcd..=0xcf => "arithmetic coding",
            _ => {
                source.seek_relative(i64::from(length.saturating_sub(2)))?;
                continue;
            }
        };
        return Ok(Some(Unread::Kind(kind)));
    }
}

impl<R: BufRead + Seek> ImageDecoder for JpegDecoder<R> {
    fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    fn color_type(&self) -> ColorType {
        self.colour
    }

    fn icc_profile(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.decoder.icc_profile())
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.decoder.exif().cloned())
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        let exif = self.decoder.exif();
        let stored = exif.and_then(|exif| Orientation::from_exif_chunk(exif));
        Ok(stored.unwrap_or(Orientation::NoTransforms))
    }

    fn read_image(mut self, out: &mut [u8]) -> ImageResult<()> {
        self.decoder.decode_into(out).map_err(damaged)
    }

    fn read_image_boxed(self: Box<Self>, out: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(out)
    }
}

/// Whether the end of a JPEG is missing, so that decoders fill the rest with whatever comes out.
///
/// Behind an end marker that comes too early a decoder reads zeros. To see whether it did, other bits
/// are put before the marker: an image that is whole needs none of them and stays the same. As this
/// decodes twice, it is done only where the last pixels look as if they were made of zeros, or the
/// image is progressive.
pub(super) fn is_cut(bytes: &[u8], decoded: &DynamicImage) -> bool {
    let Some(Ending { at, is_progressive }) = find_end(bytes) else {
        return true;
    };
    if !is_progressive && !ends_alike(decoded) {
        return false;
    }
    /// More than what is left of an image takes to differ. There is no 0xff in it.
    const OTHER_BITS: [u8; 1024] = [0x55; 1024];
    let padded = [&bytes[..at], &OTHER_BITS, &END_OF_IMAGE].concat();
    let again = JpegDecoder::new(std::io::Cursor::new(padded)).and_then(DynamicImage::from_decoder);
    !again.is_ok_and(|again| again.as_bytes() == decoded.as_bytes())
}

/// Where the coded pixels end.
struct Ending {
    /// Position of the end marker.
    at: usize,
    is_progressive: bool,
}

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// Goes from marker to marker, so that those in embedded thumbnails do not count, to the first end
/// marker: a clip or another image may lie behind it. None if there is no end marker.
fn find_end(bytes: &[u8]) -> Option<Ending> {
    let (mut at, mut is_progressive) = (MAGIC.len() - 1, false);
    loop {
        // Coded bytes and fill bytes lie between markers; 0xff is coded as 0xff00.
        at += bytes.get(at..)?.windows(2).position(|pair| {
            let is_restart = (0xd0..=0xd7).contains(&pair[1]);
            pair[0] == 0xff && !matches!(pair[1], 0x00 | 0x01 | 0xff) && !is_restart
        })?;
        match bytes[at + 1] {
            0xd9 => return Some(Ending { at, is_progressive }),
            // Another image begins, as behind the first one of some cameras' files.
            0xd8 => return None,
            0xc2 | 0xc6 | 0xca | 0xce => is_progressive = true,
            _ => {}
        }
        let length = bytes.get(at + 2..at + 4)?;
        at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
}

/// Whether the last block of an image is that before it, but for its brightness.
fn ends_alike(image: &DynamicImage) -> bool {
    /// A multiple of the width of every group of blocks that is coded together.
    const APART: usize = 32;
    const BLOCK: usize = 8;
    /// Rounding, twice.
    const ROUNDING: i16 = 4;
    let channels = usize::from(image.color().channel_count());
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width < APART + BLOCK {
        return true;
    }
    let rows = image.as_bytes().chunks_exact(width * channels);
    let rows = rows.skip(height.saturating_sub(BLOCK));
    let (mut least, mut most) = (vec![i16::MAX; channels], vec![i16::MIN; channels]);
    for row in rows {
        let last = &row[(width - BLOCK) * channels..];
        let before = &row[(width - BLOCK - APART) * channels..];
        for (i, (a, b)) in last.iter().zip(before).enumerate() {
            let difference = i16::from(*a) - i16::from(*b);
            let channel = i % channels;
            least[channel] = least[channel].min(difference);
            most[channel] = most[channel].max(difference);
        }
    }
    least.iter().zip(&most).all(|(a, b)| b - a <= ROUNDING)
}

fn damaged(error: zune_jpeg::errors::DecodeErrors) -> ImageError {
    let format = ImageFormatHint::Exact(ImageFormat::Jpeg);
    ImageError::Decoding(DecodingError::new(format, error))
}
