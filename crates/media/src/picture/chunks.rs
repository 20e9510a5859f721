//! The parts that image files are made of, as they lie in the file: chunks of PNG and WebP, segments
//! of JPEG before its pixels. Each walk ends where the file or its structure does.

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A chunk of a PNG file.
pub(super) struct PngChunk<'a> {
    /// Its four letters.
    pub name: [u8; 4],
    /// Its contents.
    pub data: &'a [u8],
    /// Name and contents, which the checksum covers.
    covered: &'a [u8],
    checksum: u32,
}

impl PngChunk<'_> {
    /// Whether the chunk has its right checksum.
    pub fn is_whole(&self) -> bool {
        let mut crc = flate2::Crc::new();
        crc.update(self.covered);
        crc.sum() == self.checksum
    }
}

/// The chunks of a PNG file; none for other files.
pub(super) fn png(file: &[u8]) -> impl Iterator<Item = PngChunk<'_>> {
    let mut rest = file.strip_prefix(PNG).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (covered, after) = after.split_at_checked(length.checked_add(4)?)?;
        let (name, data) = covered.split_first_chunk()?;
        let (checksum, after) = after.split_first_chunk()?;
        rest = after;
        Some(PngChunk {
            name: *name,
            data,
            covered,
            checksum: u32::from_be_bytes(*checksum),
        })
    })
}

/// The chunks of a WebP file; none for other files.
pub(super) fn webp(file: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let is_webp = file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP");
    let mut rest = match is_webp {
        true => &file[12..],
        false => &[],
    };
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (data, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        // Chunks of odd length are filled up.
        rest = after.get(data.len() % 2..).unwrap_or_default();
        Some((*name, data))
    })
}

/// Markers and contents of a JPEG's segments before its pixels; none for other files.
pub(super) fn jpeg(file: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = file.strip_prefix(b"\xff\xd8").unwrap_or_default();
    std::iter::from_fn(move || {
        // Any number of bytes may fill the space before a marker.
        let at = rest.iter().position(|&byte| byte != 0xff)?;
        let ([marker], after) = rest.get(at.max(1)..)?.split_first_chunk()?;
        if at == 0 || *marker == START_OF_SCAN {
            return None;
        }
        let (length, _) = after.split_first_chunk()?;
        let (segment, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        rest = after;
        Some((*marker, segment.get(2..)?))
    })
}
