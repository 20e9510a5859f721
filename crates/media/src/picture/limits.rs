//! How much an image file may claim, judged before pixels are decoded: a few bytes must not take
//! gigabytes or minutes.

use std::path::Path;

use image::Limits;
use vae2x_core::{Error, Result};

/// Most pixels that an image may have: 16384 x 8192, beyond what the model can take on any machine.
pub const MAX_PIXELS: u64 = 1 << 27;

/// Pixels that every file may have, however small it is: 2048 x 2048.
const SMALL: u64 = 1 << 22;
/// Pixels beyond [`SMALL`] per byte of the file. Deflate's limit is 1032 bytes for one, so an 8-bit
/// PNG of a single colour passes; other formats take more, but for WebP and run lengths.
const PIXELS_PER_BYTE: u64 = 1 << 10;
/// Bytes of profiles and texts once they are unpacked. The largest profiles of printers take three
/// megabytes, workflows less.
pub(super) const MAX_METADATA: u64 = 16 << 20;
/// Bytes of a pixel in the largest form that formats store: RGBA of 32-bit floats.
const LARGEST_PIXEL: u64 = 16;

/// Refuses an image that is empty, too large, or too large for a file of `length` bytes.
pub(super) fn check_size(path: &Path, (width, height): (u32, u32), length: u64) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    let problem = if pixels == 0 {
        format!("an empty image of {width}x{height} pixels")
    } else if pixels > MAX_PIXELS {
        format!("{width}x{height} pixels; at most {MAX_PIXELS} are read")
    } else if pixels > SMALL.max(length.saturating_mul(PIXELS_PER_BYTE)) {
        format!(
            "{width}x{height} pixels in a file of {length} bytes; images of more than {SMALL} pixels take a byte \
             for {PIXELS_PER_BYTE} pixels or more"
        )
    } else {
        return Ok(());
    };
    Err(Error::format(path, problem))
}

/// Most bytes of a file with an image of that size.
pub(super) fn file_bytes((width, height): (u32, u32)) -> u64 {
    /// Metadata that is skipped, such as previews and notes of cameras.
    const OTHER: u64 = 64 << 20;
    OTHER + u64::from(width) * u64::from(height) * LARGEST_PIXEL
}

/// What a decoder may allocate, for a PNG besides its pixels.
pub(super) fn decoder(png_size: Option<(u32, u32)>) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(match png_size {
        // Pixels are counted against it as well.
        Some((width, height)) => MAX_METADATA + u64::from(width) * u64::from(height) * 8,
        None => MAX_PIXELS * LARGEST_PIXEL,
    });
    limits
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Width and height of a PNG, from its first bytes.
pub(super) fn png_size(start: &[u8]) -> Option<(u32, u32)> {
    let header = start.strip_prefix(PNG)?;
    let (_, size) = header.split_first_chunk::<4>()?;
    let (width, rest) = size.strip_prefix(b"IHDR")?.split_first_chunk()?;
    let (height, _) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}

/// Refuses an image that would not fit in the memory that the system gives: `decoded` bytes, then
/// `f32` for each colour of a pixel.
pub(super) fn check_memory(path: &Path, (width, height): (u32, u32), decoded: u64) -> Result<()> {
    let planes = u64::from(width) * u64::from(height) * 3 * size_of::<f32>() as u64;
    let bytes = usize::try_from(decoded.saturating_add(planes)).unwrap_or(usize::MAX);
    // Given back at once, untouched.
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| {
        let name = path.display();
        Error::OutOfMemory(format!("{bytes} bytes for {name}, {width}x{height} pixels"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(size: (u32, u32), length: u64) -> Option<String> {
        let result = check_size(Path::new("a.png"), size, length);
        result.err().map(|e| e.to_string())
    }

    #[test]
    fn large_images_need_large_files() {
        assert_eq!(refused((2048, 2048), 38), None);
        assert_eq!(refused((16384, 8192), 1 << 17), None);
        let problem = refused((16383, 8192), 38).unwrap();
        assert!(problem.contains("16383x8192 pixels in a file of 38 bytes"));
        assert!(refused((u32::MAX, u32::MAX), u64::MAX).is_some());
        assert!(refused((0, 4), 100).is_some());
    }

    #[test]
    fn the_size_of_a_png_is_in_its_first_bytes() {
        let mut file = Vec::new();
        let writer = png::Encoder::new(&mut file, 300, 2).write_header().unwrap();
        drop(writer);
        assert_eq!(png_size(&file), Some((300, 2)));
        assert_eq!(png_size(&file[..23]), None);
        assert_eq!(png_size(b"GIF89a"), None);
    }
}
