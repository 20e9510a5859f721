//! Animated WebP: frames of lossless WebP in one container.
//!
//! The container is Google's "WebP Container Specification": RIFF chunks, of which `VP8X` says that this is an animation, `ANIM` how
//! often it plays, and each `ANMF` holds a frame with its duration.

use std::io::{Error, ErrorKind, Result, Seek, SeekFrom, Write};

/// The place of the file's length.
const LENGTH_AT: u64 = 4;
/// Bytes of the container before its first frame.
const HEAD: u32 = 12 + 18 + 14;
/// Sides are stored in 24 bits, but the pixels of a frame in 14.
const MAX_SIDE: usize = 1 << 14;

/// An animation on its way to a file.
#[derive(Debug)]
pub(crate) struct Animation<W> {
    out: W,
    size: [usize; 2],
    /// Bytes behind the file's length.
    length: u32,
    /// The last chunk, a block of EXIF.
    exif: Option<Vec<u8>>,
}

impl<W: Write + Seek> Animation<W> {
    /// Writes the head of an animation of `size`, height and width, that plays for ever.
    pub fn new(mut out: W, size: [usize; 2], exif: Option<Vec<u8>>) -> Result<Self> {
        if size.iter().any(|&n| n > MAX_SIDE) {
            let problem = format!(
                "{}x{} pixels; WebP stores up to {MAX_SIDE} along each side",
                size[1], size[0]
            );
            return Err(Error::new(ErrorKind::InvalidInput, problem));
        }
        let [height, width] = size.map(|n| (n as u32 - 1).to_le_bytes());
        out.write_all(b"RIFF\0\0\0\0WEBP")?;
        // The flags of an animation and of EXIF, and the canvas.
        let flags = 0x02 | if exif.is_some() { 0x08 } else { 0 };
        out.write_all(b"VP8X\x0a\0\0\0")?;
        out.write_all(&[flags, 0, 0, 0])?;
        out.write_all(&[&width[..3], &height[..3]].concat())?;
        // No background, no end.
        out.write_all(b"ANIM\x06\0\0\0\0\0\0\0\0\0")?;
        Ok(Self {
            out,
            size,
            length: HEAD - 8,
            exif,
        })
    }

    /// Adds a frame from the bytes of a WebP file that holds one lossless image of the same size.
    pub fn push(&mut self, file: &[u8], milliseconds: u32) -> Result<()> {
        let damaged = || Error::new(ErrorKind::InvalidData, "a frame is not lossless WebP");
        let image = file
            .get(12..)
            .filter(|rest| rest.starts_with(b"VP8L"))
            .ok_or_else(damaged)?;
        let length = u32::try_from(image.len())
            .ok()
            .and_then(|n| n.checked_add(16))
            .ok_or_else(damaged)?;
        self.grow(length)?;
        let [height, width] = self.size.map(|n| (n as u32 - 1).to_le_bytes());
        self.out.write_all(b"ANMF")?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&[0; 6])?;
        self.out
            .write_all(&[&width[..3], &height[..3], &milliseconds.to_le_bytes()[..3]].concat())?;
        // What was there is replaced, not blended with.
        self.out.write_all(&[2])?;
        self.out.write_all(image)
    }

    /// Counts a chunk of so many bytes.
    fn grow(&mut self, chunk: u32) -> Result<()> {
        let after = self
            .length
            .checked_add(8)
            .and_then(|n| n.checked_add(chunk));
        self.length =
            after.ok_or_else(|| Error::new(ErrorKind::FileTooLarge, "WebP holds at most 4 GiB"))?;
        Ok(())
    }

    /// Writes the EXIF, and the file's length into its head.
    pub fn finish(mut self) -> Result<W> {
        if let Some(exif) = self.exif.take() {
            // Chunks are filled up to an even length.
            let filled = exif.len().next_multiple_of(2);
            self.grow(u32::try_from(filled).unwrap_or(u32::MAX))?;
            self.out.write_all(b"EXIF")?;
            self.out.write_all(&(exif.len() as u32).to_le_bytes())?;
            self.out.write_all(&exif)?;
            self.out.write_all(&[0][..filled - exif.len()])?;
        }
        self.out.seek(SeekFrom::Start(LENGTH_AT))?;
        self.out.write_all(&self.length.to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::webp::{WebPDecoder, WebPEncoder};
    use image::{AnimationDecoder, ExtendedColorType, ImageDecoder};
    use std::io::Cursor;

    #[test]
    fn frames_and_durations_are_read_by_others() {
        let frame = |shade: u8| {
            let mut file = Vec::new();
            let pixels: Vec<u8> = (0..5 * 3 * 3).map(|i| shade.wrapping_add(i)).collect();
            WebPEncoder::new_lossless(&mut file)
                .encode(&pixels, 5, 3, ExtendedColorType::Rgb8)
                .unwrap();
            (file, pixels)
        };
        let mut animation =
            Animation::new(Cursor::new(Vec::new()), [3, 5], Some(vec![7; 9])).unwrap();
        for shade in [0, 90, 200] {
            animation
                .push(&frame(shade).0, 62 + u32::from(shade))
                .unwrap();
        }
        let file = animation.finish().unwrap().into_inner();
        let mut decoder = WebPDecoder::new(Cursor::new(&file)).unwrap();
        assert_eq!(decoder.exif_metadata().unwrap(), Some(vec![7; 9]));
        let frames = decoder.into_frames().collect_frames().unwrap();
        assert_eq!(frames.len(), 3);
        for (read, shade) in frames.into_iter().zip([0, 90, 200]) {
            assert_eq!(read.delay().numer_denom_ms(), (62 + u32::from(shade), 1));
            let read = image::DynamicImage::from(read.into_buffer()).into_rgb8();
            assert_eq!(read.into_raw(), frame(shade).1);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Animation::new(Cursor::new(Vec::new()), [1, MAX_SIDE + 1], None).is_err());
        let mut animation = Animation::new(Cursor::new(Vec::new()), [1, 1], None).unwrap();
        assert!(animation.push(b"RIFF\0\0\0\0WEBPVP8 ", 1).is_err());
        assert!(animation.push(b"", 1).is_err());
    }
}
