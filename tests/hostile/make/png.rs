//! PNG, chunk by chunk.

use super::{Random, crc, zlib};

/// A chunk with its length and checksum.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [&kind[..], data].concat();
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &named, &crc(&named).to_be_bytes()].concat()
}

/// What a PNG says of itself, and its parts.
#[derive(Clone, Default)]
pub struct Png {
    pub width: u32,
    pub height: u32,
    /// 0: grey, 2: RGB, 3: palette.
    pub colour: u8,
    pub depth: u8,
    /// Chunks before the image data.
    pub extra: Vec<u8>,
    /// Compressed image data.
    pub data: Vec<u8>,
}

impl Png {
    /// An RGB image whose data is as given.
    pub fn of(width: u32, height: u32, data: Vec<u8>) -> Self {
        Self {
            width,
            height,
            colour: 2,
            depth: 8,
            extra: Vec::new(),
            data,
        }
    }

    pub fn write(self) -> Vec<u8> {
        let mut head = [self.width.to_be_bytes(), self.height.to_be_bytes()].concat();
        head.extend([self.depth, self.colour, 0, 0, 0]);
        [
            &b"\x89PNG\r\n\x1a\n"[..],
            &chunk(b"IHDR", &head),
            &self.extra,
            &chunk(b"IDAT", &self.data),
            &chunk(b"IEND", b""),
        ]
        .concat()
    }
}

/// An RGB image of noise.
pub fn noise(width: u32, height: u32) -> Vec<u8> {
    with_chunks(width, height, Vec::new())
}

/// An RGB image of noise with further chunks.
pub fn with_chunks(width: u32, height: u32, extra: Vec<u8>) -> Vec<u8> {
    let mut random = Random::new(u64::from(width) * 31 + u64::from(height));
    let rows = (0..height).flat_map(|_| [vec![0], random.bytes(3 * width as usize)].concat());
    let data = zlib(&rows.collect::<Vec<_>>());
    Png {
        extra,
        ..Png::of(width, height, data)
    }
    .write()
}

/// A smooth RGB image.
pub fn photo(width: u32, height: u32, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed + 1);
    let mut between = |low: f32, high: f32| low + (high - low) * random.below(1000) as f32 / 1000.0;
    let (a, b, c) = (between(0.1, 0.4), between(0.1, 0.4), between(0.02, 0.1));
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0);
        for x in 0..width {
            let v = (x as f32 * a).sin() * (y as f32 * b).cos();
            let u = ((x + y) as f32 * c).sin();
            rows.extend(
                [127.0 + 120.0 * v, 127.0 + 100.0 * u, 127.0 + 60.0 * (v + u)].map(|p| p as u8),
            );
        }
    }
    Png::of(width, height, zlib(&rows)).write()
}

/// A chunk of Exif data with this directory.
pub fn exif(directory: &[u8]) -> Vec<u8> {
    chunk(b"eXIf", &[b"II*\0\x08\0\0\0", directory].concat())
}

/// A directory of one entry: the tag of orientation, with any type, count and value.
pub fn orientation(kind: u16, count: u32, value: u32) -> Vec<u8> {
    let mut bytes = 1u16.to_le_bytes().to_vec();
    bytes.extend(0x112u16.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(value.to_le_bytes());
    bytes
}
