//! Kinds of TIFF that the decoder of `image` refuses or reads wrongly, and sentences on those that
//! are not read at all. Palettes, 32-bit integers, half floats, and grey of floats, of 2 and 4 bits
//! or with opacity are read here.

use std::io::{BufRead, Cursor, Read, Seek, SeekFrom};

use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError,
    UnsupportedErrorKind,
};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::limits;
use super::patched::Patched;

/// What the first directory of a TIFF file says of its pixels, with the format's defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tags {
    compression: u32,
    photometric: u32,
    /// Where the byte lies that holds `photometric`.
    photometric_at: u64,
    bits: u32,
    samples: u32,
    format: u32,
    /// What the first sample beside the colours is.
    extra: u32,
    has_extra: bool,
    is_planar: bool,
}

const PALETTE: u32 = 3;
const UNSIGNED: u32 = 1;
const FLOAT: u32 = 3;

/// Whether a file is a TIFF file.
pub(super) fn is_tiff(start: &[u8]) -> bool {
    start.starts_with(b"II*\0") || start.starts_with(b"MM\0*")
}

/// Reads the first directory of a TIFF file, if there is one, and goes back to the beginning.
pub(super) fn look(source: &mut (impl BufRead + Seek)) -> Option<Tags> {
    let tags = tags(source);
    source.rewind().ok()?;
    tags
}

/// Whether the colours of a file are multiplied by their opacity.
pub(super) fn is_multiplied(file: &[u8]) -> bool {
    const ASSOCIATED: u32 = 1;
    is_tiff(file) && look(&mut Cursor::new(file)).is_some_and(|tags| tags.extra == ASSOCIATED)
}

fn tags(source: &mut (impl BufRead + Seek)) -> Option<Tags> {
    let mut head = [0; 8];
    source.read_exact(&mut head).ok()?;
    let is_little = head[0] == b'I';
    let short = |b: [u8; 2]| match is_little {
        true => u16::from_le_bytes(b),
        false => u16::from_be_bytes(b),
    };
    let long = |b: [u8; 4]| match is_little {
        true => u32::from_le_bytes(b),
        false => u32::from_be_bytes(b),
    };
    let at = u64::from(long([head[4], head[5], head[6], head[7]]));
    source.seek(SeekFrom::Start(at)).ok()?;
    let mut count = [0; 2];
    source.read_exact(&mut count).ok()?;
    let mut entries = Vec::new();
    let length = u64::from(short(count)) * 12;
    source
        .by_ref()
        .take(length)
        .read_to_end(&mut entries)
        .ok()?;
    if entries.len() as u64 != length {
        return None;
    }
    let mut tags = DEFAULT;
    for (i, e) in entries.as_chunks::<12>().0.iter().enumerate() {
        const SHORT: u16 = 3;
        let (kind, count) = (short([e[2], e[3]]), long([e[4], e[5], e[6], e[7]]));
        let value = match kind {
            SHORT if count <= 2 => short([e[8], e[9]]).into(),
            SHORT => {
                let at = long([e[8], e[9], e[10], e[11]]);
                source.seek(SeekFrom::Start(at.into())).ok()?;
                let mut value = [0; 2];
                source.read_exact(&mut value).ok()?;
                short(value).into()
            }
            _ => long([e[8], e[9], e[10], e[11]]),
        };
        let value_at = at + 2 + 12 * i as u64 + 8;
        let lowest_at = match (is_little, kind) {
            (true, _) => value_at,
            (false, SHORT) => value_at + 1,
            (false, _) => value_at + 3,
        };
        tags.set(short([e[0], e[1]]), value, lowest_at);
    }
    Some(tags)
}

/// What holds where tags are missing; `photometric` must be there.
const DEFAULT: Tags = Tags {
    compression: 1,
    photometric: u32::MAX,
    photometric_at: 0,
    bits: 1,
    samples: 1,
    format: UNSIGNED,
    extra: 0,
    has_extra: false,
    is_planar: false,
};

impl Tags {
    /// Takes a tag's first value, whose lowest byte lies at `at`.
    fn set(&mut self, tag: u16, value: u32, at: u64) {
        match tag {
            258 => self.bits = value,
            259 => self.compression = value,
            262 => (self.photometric, self.photometric_at) = (value, at),
            277 => self.samples = value,
            284 => self.is_planar = value == 2,
            338 => (self.extra, self.has_extra) = (value, true),
            339 => self.format = value,
            _ => (),
        }
    }

    /// Whether this module reads the pixels.
    pub fn is_read_here(&self) -> bool {
        if self.is_planar && self.samples > 1 {
            return false;
        }
        matches!(
            (self.photometric, self.format, self.bits, self.samples),
            (PALETTE, UNSIGNED, 1 | 2 | 4 | 8, 1)
                | (0 | 1, UNSIGNED, 2 | 4 | 32, 1)
                | (1, UNSIGNED, 8 | 16, 2)
                | (2, UNSIGNED, 32, 3 | 4)
                | (0 | 1, FLOAT, 32, 1)
                | (1, FLOAT, 16, 1)
                | (2, FLOAT, 16, 3 | 4)
        )
    }

    /// A sentence on a kind that is not read.
    pub fn problem(&self) -> Option<String> {
        let what = self.unread()?;
        Some(format!(
            "a TIFF {what}, which is not read; save it as PNG or as an RGB TIFF"
        ))
    }

    fn unread(&self) -> Option<String> {
        let colours = match self.photometric {
            // Without one the file is damaged.
            0..=2 | 5 | u32::MAX => "",
            PALETTE => "palette colours",
            4 => "transparency masks",
            6 => "YCbCr colours",
            8..=10 => "Lab colours",
            32803 | 34892 => "the raw values of a camera",
            32844 | 32845 => "LogLuv colours",
            _ => "unknown colours",
        };
        if let Some(name) = self.unread_compression() {
            return Some(format!("with {name} compression"));
        }
        if self.is_read_here() {
            return None;
        }
        if !colours.is_empty() {
            return Some(format!("of {colours}"));
        }
        let (bits, samples) = (self.bits, self.samples);
        let channels = match samples {
            1 => "one channel".to_owned(),
            more => format!("{more} channels"),
        };
        match (self.photometric, self.format, bits) {
            (_, 2, _) => Some(format!("of signed {bits}-bit numbers")),
            (_, UNSIGNED, 1 | 8 | 16) | (2, FLOAT, 32) => match self.photometric {
                0 | 1 if samples > 1 => Some(format!("of grey among {channels}")),
                2 if bits == 1 => Some("of 1-bit colours".into()),
                _ => None,
            },
            (_, UNSIGNED, _) => Some(format!("of {bits}-bit numbers in {channels}")),
            (_, FLOAT, _) => Some(format!("of {bits}-bit floats in {channels}")),
            _ => Some("of complex or unknown numbers".into()),
        }
    }

    fn unread_compression(&self) -> Option<String> {
        Some(match self.compression {
            1 | 4 | 5 | 7 | 8 | 32773 | 32946 => return None,
            2 | 3 => "CCITT group 3".into(),
            6 => "old JPEG".into(),
            34712 => "JPEG 2000".into(),
            34887 => "LERC".into(),
            34925 => "LZMA".into(),
            50000 => "zstd".into(),
            50001 => "WebP".into(),
            50002 => "JPEG XL".into(),
            other => format!("unknown ({other})"),
        })
    }

    fn colour(&self) -> ColorType {
        use ColorType as C;
        match (self.photometric, self.bits, self.samples) {
            (PALETTE, ..) => C::Rgb8,
            (0 | 1, ..=8, 1) => C::L8,
            (_, 8, 2) => C::La8,
            (_, 16, 2) => C::La16,
            (_, _, 1) if self.format == UNSIGNED => C::L16,
            (_, _, 4) if !self.has_opacity() => match self.format {
                UNSIGNED => C::Rgb16,
                _ => C::Rgb32F,
            },
            (_, _, 4) if self.format == UNSIGNED => C::Rgba16,
            (_, _, 4) => C::Rgba32F,
            _ if self.format == UNSIGNED => C::Rgb16,
            _ => C::Rgb32F,
        }
    }

    /// Whether the fourth sample of RGB is opacity, which is so unless the file says otherwise.
    fn has_opacity(&self) -> bool {
        !self.has_extra || matches!(self.extra, 1 | 2)
    }
}

/// A TIFF of a kind that is read here.
pub(super) struct TiffDecoder<R: BufRead + Seek> {
    decoder: Decoder<Patched<R>>,
    tags: Tags,
    size: (u32, u32),
}

impl<R: BufRead + Seek> TiffDecoder<R> {
    /// Reads the header of a file whose kind is [read here](Tags::is_read_here).
    ///
    /// # Errors
    /// If it is damaged.
    pub fn new(source: R, tags: Tags) -> ImageResult<Self> {
        // Indices are read as if they were grey.
        let patches = match tags.photometric {
            PALETTE => vec![(tags.photometric_at, 1)],
            _ => Vec::new(),
        };
        let most = limits::decoder(None).max_alloc.unwrap_or_default();
        let mut limits = Limits::default();
        limits.decoding_buffer_size = most.try_into().unwrap_or(usize::MAX);
        limits.intermediate_buffer_size = limits.decoding_buffer_size;
        let decoder = Decoder::new(Patched::new(source, patches)).map_err(failed)?;
        let mut decoder = decoder.with_limits(limits);
        let size = decoder.dimensions().map_err(failed)?;
        Ok(Self {
            decoder,
            tags,
            size,
        })
    }

    /// Colours of a palette, in 8 bits.
    fn palette(&mut self) -> ImageResult<Vec<[u8; 3]>> {
        let map = self
            .decoder
            .get_tag_u16_vec(Tag::ColorMap)
            .map_err(failed)?;
        let count = 1 << self.tags.bits;
        if map.len() != 3 * count {
            let problem = format!("a palette of {} numbers, not {}", map.len(), 3 * count);
            return Err(ImageError::Decoding(DecodingError::new(HINT, problem)));
        }
        // Some programs write 8 bits where 16 belong.
        let shift = if map.iter().all(|&v| v < 256) { 0 } else { 8 };
        let colour = |i: usize| [0, 1, 2].map(|c| (map[c * count + i] >> shift) as u8);
        Ok((0..count).map(colour).collect())
    }

    /// Samples of less than 8 bits, one a byte; rows begin on whole bytes.
    fn unpacked(&self, packed: &[u8]) -> Vec<u8> {
        let (width, bits) = (self.size.0 as usize, self.tags.bits as usize);
        let rows = packed.chunks((width * bits).div_ceil(8));
        let sample = |row: &[u8], x: usize| {
            let shift = 8 - bits - x * bits % 8;
            row[x * bits / 8] >> shift & ((1 << bits) - 1) as u8
        };
        rows.flat_map(|row| (0..width.min(row.len() * 8 / bits)).map(move |x| sample(row, x)))
            .collect()
    }

    /// The image's bytes as [`ColorType`] has them.
    fn decoded(mut self) -> ImageResult<Vec<u8>> {
        let colour = self.tags.colour();
        let samples = self.tags.samples as usize;
        let kept = usize::from(colour.channel_count()).min(samples);
        let read = self.decoder.read_image().map_err(failed)?;
        Ok(match read {
            DecodingResult::U8(v) if self.tags.photometric == PALETTE => {
                let palette = self.palette()?;
                let indices = self.unpacked(&v);
                let colours = indices.into_iter().map(|i| palette[usize::from(i)]);
                colours.flatten().collect()
            }
            DecodingResult::U8(v) if self.tags.bits < 8 => {
                let scale = 255 / ((1 << self.tags.bits) - 1);
                self.unpacked(&v).into_iter().map(|i| i * scale).collect()
            }
            DecodingResult::U8(v) => v,
            DecodingResult::U16(v) => v.iter().flat_map(|v| v.to_ne_bytes()).collect(),
            DecodingResult::U32(v) => {
                let pixels = v.chunks_exact(samples).flat_map(|pixel| &pixel[..kept]);
                let sixteen = pixels.map(|v| (v >> 16) as u16);
                sixteen.flat_map(u16::to_ne_bytes).collect()
            }
            DecodingResult::F16(v) => {
                let floats = v.iter().map(|v| v.to_f32()).collect();
                self.floats(floats, kept)
            }
            DecodingResult::F32(v) => self.floats(v, kept),
            _ => {
                return Err(ImageError::Unsupported(
                    UnsupportedError::from_format_and_kind(
                        HINT,
                        UnsupportedErrorKind::GenericFeature("the kind of its numbers".into()),
                    ),
                ));
            }
        })
    }

    /// Grey is repeated: there is no image of grey floats.
    fn floats(&self, values: Vec<f32>, kept: usize) -> Vec<u8> {
        let repeated = if kept == 1 { 3 } else { 1 };
        values
            .chunks_exact(self.tags.samples as usize)
            .flat_map(|pixel| &pixel[..kept])
            .flat_map(|v| std::iter::repeat_n(v.to_ne_bytes(), repeated))
            .flatten()
            .collect()
    }
}

impl<R: BufRead + Seek> ImageDecoder for TiffDecoder<R> {
    fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    fn color_type(&self) -> ColorType {
        self.tags.colour()
    }

    fn icc_profile(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.decoder.get_tag_u8_vec(Tag::IccProfile).ok())
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        let stored = self.decoder.find_tag_unsigned::<u8>(Tag::Orientation);
        let stored = stored.map_err(failed)?.and_then(Orientation::from_exif);
        Ok(stored.unwrap_or(Orientation::NoTransforms))
    }

    fn read_image(self, out: &mut [u8]) -> ImageResult<()> {
        let decoded = self.decoded()?;
        if decoded.len() != out.len() {
            let problem = format!("{} bytes of pixels, not {}", decoded.len(), out.len());
            return Err(ImageError::Decoding(DecodingError::new(HINT, problem)));
        }
        out.copy_from_slice(&decoded);
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, out: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(out)
    }
}

const HINT: ImageFormatHint = ImageFormatHint::Exact(ImageFormat::Tiff);

fn failed(error: TiffError) -> ImageError {
    match error {
        TiffError::IoError(e) => ImageError::IoError(e),
        TiffError::LimitsExceeded => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        TiffError::UnsupportedError(e) => {
            ImageError::Unsupported(UnsupportedError::from_format_and_kind(
                HINT,
                UnsupportedErrorKind::GenericFeature(e.to_string()),
            ))
        }
        e => ImageError::Decoding(DecodingError::new(HINT, e)),
    }
}
