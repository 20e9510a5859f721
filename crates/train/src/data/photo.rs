//! One photo: read, measured, kept or dropped with a reason.

use vae2x_core::Array;
use vae2x_measure::metrics::sharpness;
use vae2x_media::picture::{Opacity, decode_image_with};
use vae2x_media::pixels::picture_size;

use super::crop::{lay_on, window_of};
use super::source::Source;
use crate::Result;

/// Sharpness is measured in squares of this side where a photo is judged as a whole.
const TILE: usize = 256;

/// A decoded photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// `[3, H, W]` in [-1, 1], whatever its opacity.
    pub pixels: Array,
    /// `[1, H, W]` from -1, clear, to 1, where not all of it is opaque.
    pub opacity: Option<Array>,
}

impl Photo {
    /// A photo without transparency.
    pub fn opaque(pixels: Array) -> Self {
        Self {
            pixels,
            opacity: None,
        }
    }

    /// The number of values that it holds.
    pub fn values(&self) -> usize {
        let opacity = self.opacity.as_ref().map_or(0, |o| o.data().len());
        self.pixels.data().len() + opacity
    }

    /// The photo laid on grey.
    pub fn on_grey(mut self) -> Array {
        if let Some(opacity) = &self.opacity {
            lay_on(&mut self.pixels, opacity, [0.0; 3]);
        }
        self.pixels
    }
}

/// Limits below which a photo is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Least pixels along the shorter side.
    pub min_side: usize,
    /// Least variance of the Laplacian, in 8-bit units: of a crop in training, of the sharpest part in a scan.
    pub min_sharpness: f64,
    /// Least estimated quality of a JPEG.
    pub min_jpeg_quality: u8,
}

/// Measurements of a photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Height and width.
    pub size: [usize; 2],
    /// Variance of the Laplacian in the sharpest square of 256 pixels, in 8-bit units, where it is measured.
    pub sharpness: Option<f64>,
    /// Estimated quality of a JPEG, 1 to 100.
    pub jpeg_quality: Option<u8>,
}

impl Limits {
    /// Why a photo is not used; empty if it is.
    pub fn reasons(&self, quality: &Quality) -> Vec<String> {
        let side = quality.size[0].min(quality.size[1]);
        let small = (side < self.min_side)
            .then(|| format!("small: {side} pixels, at least {}", self.min_side));
        // NaN is blurred.
        let is_sharp = |sharpness: &f64| *sharpness >= self.min_sharpness;
        let blurred = quality.sharpness.filter(|sharpness| !is_sharp(sharpness));
        let blurred = blurred.map(|sharpness| {
            format!(
                "blurred: sharpness {sharpness:.1}, at least {}",
                self.min_sharpness
            )
        });
        let compressed = quality.jpeg_quality.filter(|&q| q < self.min_jpeg_quality);
        let compressed = compressed.map(|q| {
            format!(
                "compressed: JPEG quality {q}, at least {}",
                self.min_jpeg_quality
            )
        });
        small.into_iter().chain(blurred).chain(compressed).collect()
    }
}

/// Reads a photo; its sharpness is not measured.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn read(source: &Source) -> Result<(Photo, Quality)> {
    let bytes = source.read()?;
    let picture = decode_image_with(source.to_string().as_ref(), &bytes, Opacity::Keep)?;
    let quality = Quality {
        size: picture_size(&picture.pixels)?,
        sharpness: None,
        jpeg_quality: jpeg_quality(&bytes),
    };
    let photo = Photo {
        pixels: picture.pixels,
        opacity: picture.opacity,
    };
    Ok((photo, quality))
}

/// Reads and measures a photo, laid on grey.
///
/// # Errors
/// As [`read`].
pub fn measure(source: &Source) -> Result<(Array, Quality)> {
    let (photo, quality) = read(source)?;
    let picture = photo.on_grey();
    let sharpness = Some(sharpest(&picture)?);
    Ok((
        picture,
        Quality {
            sharpness,
            ..quality
        },
    ))
}

/// The largest sharpness of the squares of a photo; smaller ones at its edges are left out, unless it has no others.
fn sharpest(picture: &Array) -> Result<f64> {
    let [height, width] = picture_size(picture)?;
    let size = [height.min(TILE), width.min(TILE)];
    let mut best = f64::NEG_INFINITY;
    for top in (0..=height - size[0]).step_by(TILE) {
        for left in (0..=width - size[1]).step_by(TILE) {
            let tile = window_of(picture, [top, left], size, false)?;
            best = best.max(sharpness(&tile)?);
        }
    }
    Ok(best)
}

/// The luminance table of the JPEG standard (ITU-T T.81, table K.1) in zigzag order.
const STANDARD: [u16; 64] = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37,
    29, 40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81,
    87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
];

/// The quality setting of libjpeg that comes nearest to a JPEG's luminance table: its entries are the standard's times
/// `(200 - 2 q) / 100`, or `50 / q` below 50. `None` for other formats.
pub fn jpeg_quality(bytes: &[u8]) -> Option<u8> {
    if !bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return None;
    }
    let table = luminance_table(&bytes[2..])?;
    let percent = 100.0 * table.iter().map(|&v| f64::from(v)).sum::<f64>()
        / STANDARD.iter().map(|&v| f64::from(v)).sum::<f64>();
    let quality = if percent <= 100.0 {
        (200.0 - percent) / 2.0
    } else {
        5000.0 / percent
    };
    Some(quality.round().clamp(1.0, 100.0) as u8)
}

/// Table 0 of the first segment that defines it; 8-bit or 16-bit entries.
fn luminance_table(mut bytes: &[u8]) -> Option<Vec<u16>> {
    const TABLES: u8 = 0xDB;
    const SCAN: u8 = 0xDA;
    while let [0xFF, marker, high, low, ..] = *bytes {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = bytes.get(4..2 + length)?;
        match (marker, segment) {
            (SCAN, _) => return None,
            (TABLES, [0x00, rest @ ..]) => {
                return Some(rest.get(..64)?.iter().map(|&v| v.into()).collect());
            }
            (TABLES, [0x10, rest @ ..]) => {
                let (pairs, _) = rest.get(..128)?.as_chunks::<2>();
                return Some(pairs.iter().map(|&p| u16::from_be_bytes(p)).collect());
            }
            _ => bytes = bytes.get(2 + length..)?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_media::picture::{PictureFormat, encode_image};

    #[test]
    fn the_quality_of_a_jpeg_is_found_again() {
        let picture =
            Array::new([3, 16, 16], (0..768).map(|i| (i as f32).sin()).collect()).unwrap();
        let jpeg = encode_image(&picture, PictureFormat::Jpeg, &Default::default()).unwrap();
        // The writer's own setting.
        assert_eq!(jpeg_quality(&jpeg), Some(95));
        let png = encode_image(&picture, PictureFormat::Png, &Default::default()).unwrap();
        assert_eq!(jpeg_quality(&png), None);
        for cut in 0..jpeg.len().min(200) {
            jpeg_quality(&jpeg[..cut]);
        }
    }

    #[test]
    fn every_limit_gives_its_reason() {
        let limits = Limits {
            min_side: 100,
            min_sharpness: 10.0,
            min_jpeg_quality: 75,
        };
        let good = Quality {
            size: [100, 200],
            sharpness: Some(10.0),
            jpeg_quality: Some(75),
        };
        assert!(limits.reasons(&good).is_empty());
        let bad = Quality {
            size: [99, 200],
            sharpness: Some(f64::NAN),
            jpeg_quality: Some(74),
        };
        let reasons = limits.reasons(&bad).join("; ");
        assert!(
            ["small: 99", "blurred", "JPEG quality 74"]
                .iter()
                .all(|r| reasons.contains(r)),
            "{reasons}"
        );
    }

    #[test]
    fn a_photo_is_as_sharp_as_its_sharpest_part() {
        let noise: Vec<f32> = vae2x_core::weights::formula::unit("tile", 3 * 300 * 800).collect();
        // Sharp between columns 256 and 512 only.
        let value = |i: usize| match i % 800 {
            256..512 => noise[i],
            _ => 0.0,
        };
        let data = (0..3 * 300 * 800).map(value).collect();
        let photo = Array::new([3, 300, 800], data).unwrap();
        let part = window_of(&photo, [0, 256], [256; 2], false).unwrap();
        let found = sharpest(&photo).unwrap();
        assert_eq!(found, sharpness(&part).unwrap());
        assert!(found > 2.0 * sharpness(&photo).unwrap());
        let small = window_of(&photo, [0, 256], [8, 20], false).unwrap();
        assert_eq!(sharpest(&small).unwrap(), sharpness(&small).unwrap());
    }
}
