//! The memory that measuring images takes, checked before any of them is read.

use std::path::Path;

use vae2x::check_bytes;
use vae2x_core::Result;
use vae2x_media::picture::look_at_image;

/// Bytes of a pixel that is held: three `f32`.
const HELD: u64 = 12;

/// Bytes of a pixel of the largest image while it is measured.
#[derive(Clone, Copy, Debug)]
pub enum Working {
    /// All numbers: two planes of `f64` for each colour, their means and products, and the image brought to another's size.
    Numbers = 80,
    /// The speckle score: the image as it is decoded, and its differences.
    Speckle = 20,
}

/// Refuses images that do not fit together, by their sizes alone.
///
/// # Errors
/// As [`look_at_image`] and [`check_bytes`].
pub fn check_memory<'a>(paths: impl IntoIterator<Item = &'a Path>, working: Working) -> Result<()> {
    let (mut all, mut largest) = (0, (0, String::new()));
    for path in paths {
        let [h, w] = look_at_image(path)?;
        let pixels = (h * w) as u64;
        all += pixels;
        if pixels > largest.0 {
            largest = (pixels, format!("{}, {w}x{h} pixels", path.display()));
        }
    }
    let (most, name) = largest;
    let bytes = all * HELD + most * working as u64;
    check_bytes(&format!("measuring {name},"), bytes, None)
}
