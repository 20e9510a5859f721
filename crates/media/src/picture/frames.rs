//! How many frames an image file has, of which the first is read.

use super::chunks;

/// Frames of an animation, or pages of a TIFF file; 1 for other files.
pub(super) fn count(file: &[u8]) -> usize {
    let found = match file {
        [0x89, b'P', b'N', b'G', ..] => png(file),
        [b'R', b'I', b'F', b'F', ..] => {
            let frames = chunks::webp(file).filter(|(name, _)| name == b"ANMF");
            Some(frames.count())
        }
        [b'G', b'I', b'F', ..] => gif(file),
        [b'I', b'I', b'*', 0, ..] => tiff(file, u32::from_le_bytes, u16::from_le_bytes),
        [b'M', b'M', 0, b'*', ..] => tiff(file, u32::from_be_bytes, u16::from_be_bytes),
        _ => None,
    };
    found.unwrap_or(1).max(1)
}

fn png(file: &[u8]) -> Option<usize> {
    let control = chunks::png(file)
        .take_while(|chunk| &chunk.name != b"IDAT")
        .find(|chunk| &chunk.name == b"acTL")?;
    Some(u32::from_be_bytes(*control.data.first_chunk()?) as usize)
}

/// Blocks up to the end of the file or what is damaged.
fn gif(file: &[u8]) -> Option<usize> {
    /// Header and the description of the screen.
    const HEAD: usize = 13;
    let table = |flags: u8| match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let mut at = HEAD + table(*file.get(10)?);
    let mut frames = 0;
    while let Some(&block) = file.get(at) {
        at += match block {
            0x2c => {
                frames += 1;
                // Its place, its colours, and the width of its codes.
                match file.get(at + 9) {
                    Some(&flags) => 10 + table(flags) + 1,
                    None => break,
                }
            }
            0x21 => 2,
            _ => break,
        };
        // Parts of at most 255 bytes, each behind its length.
        while let Some(&length) = file.get(at) {
            at += 1 + usize::from(length);
            if length == 0 {
                break;
            }
        }
    }
    Some(frames)
}

/// Directories, each of which leads to the next.
fn tiff(file: &[u8], u32_of: fn([u8; 4]) -> u32, u16_of: fn([u8; 2]) -> u16) -> Option<usize> {
    const ENTRY: usize = 12;
    /// More are not counted: they may lead in a circle.
    const MOST: usize = 1000;
    let long = |at: usize| Some(u32_of(*file.get(at..)?.first_chunk()?) as usize);
    let mut at = long(4)?;
    let mut pages = 0;
    while at != 0 && pages < MOST {
        let Some(entries) = file.get(at..).and_then(|rest| rest.first_chunk()) else {
            break;
        };
        pages += 1;
        at = long(at + 2 + usize::from(u16_of(*entries)) * ENTRY).unwrap_or(0);
    }
    Some(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::gif::GifEncoder;
    use proptest::prelude::*;

    #[test]
    fn frames_of_a_gif_are_counted() {
        let mut file = Vec::new();
        let mut encoder = GifEncoder::new(&mut file);
        for shade in [10, 200, 90] {
            let frame = image::RgbaImage::from_pixel(20, 10, image::Rgba([shade, 5, 7, 255]));
            encoder.encode_frame(image::Frame::new(frame)).unwrap();
        }
        drop(encoder);
        assert_eq!(count(&file), 3);
        assert_eq!(count(b"GIF89a"), 1);
    }

    #[test]
    fn pages_of_a_tiff_are_counted() {
        // Two empty directories.
        let file = b"II*\0\x08\0\0\0\0\0\x0e\0\0\0\0\0\0\0\0\0";
        assert_eq!(count(file), 2);
        // One that leads to itself.
        let file = b"MM\0*\0\0\0\x08\0\0\0\0\0\x08";
        assert_eq!(count(file), 1000);
    }

    proptest! {
        #[test]
        fn rubbish_is_counted(rest in prop::collection::vec(any::<u8>(), 0..200)) {
            for start in [&b"GIF89a"[..], b"II*\0", b"MM\0*", b"RIFF1234WEBP", b"\x89PNG\r\n\x1a\n"] {
                prop_assert!(count(&[start, &rest].concat()) >= 1);
            }
        }
    }
}
