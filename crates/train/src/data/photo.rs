//! One photo: read, measured, kept or dropped with a reason.

use vae2x_core::Array;
use vae2x_measure::metrics::sharpness;
use vae2x_media::picture::decode_image;

use super::source::Source;
use crate::Result;

/// Limits below which a photo is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Least pixels along the shorter side.
    pub min_side: usize,
    /// Least variance of the Laplacian, in 8-bit units.
    pub min_sharpness: f64,
    /// Least estimated quality of a JPEG.
    pub min_jpeg_quality: u8,
}

/// Measurements of a photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Height and width.
    pub size: [usize; 2],
    /// Variance of the Laplacian, in 8-bit units.
    pub sharpness: f64,
    /// Estimated quality of a JPEG, 1 to 100.
    pub jpeg_quality: Option<u8>,
}

impl Limits {
    /// Why a photo is not used; empty if it is.
    pub fn reasons(&self, quality: &Quality) -> Vec<String> {
        let side = quality.size[0].min(quality.size[1]);
        let small = (side < self.min_side)
            .then(|| format!("small: {side} pixels, at least {}", self.min_side));
        let blurred = !(quality.sharpness >= self.min_sharpness);
        let blurred = blurred.then(|| {
            format!(
                "blurred: sharpness {:.1}, at least {}",
                quality.sharpness, self.min_sharpness
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

/// Reads and measures a photo.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn read(source: &Source) -> Result<(Array, Quality)> {
    let bytes = source.read()?;
    let picture = decode_image(source.to_string().as_ref(), &bytes)?.pixels;
    let size = vae2x_media::pixels::picture_size(&picture)?;
    let quality = Quality {
        size,
        sharpness: sharpness(&picture)?,
        jpeg_quality: jpeg_quality(&bytes),
    };
    Ok((picture, quality))
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
            sharpness: 10.0,
            jpeg_quality: Some(75),
        };
        assert!(limits.reasons(&good).is_empty());
        let bad = Quality {
            size: [99, 200],
            sharpness: f64::NAN,
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
}
