//! What stands in a PNG that its decoder misses or refuses: it reads metadata before the pixels
//! only, and a cICP chunk that is not of RGB is an error to it.

use std::io::{BufRead, Read, Result, Seek};

use image::metadata::Orientation;

use super::chunks;
use super::limits::MAX_METADATA;

/// What every PNG begins with.
pub(super) const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What was found in a PNG's chunks.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// How to turn the image, by the first EXIF that is whole.
    pub orientation: Option<Orientation>,
    /// Bytes to be read as others, so that the decoder skips chunks that it would refuse.
    pub patches: Vec<(u64, u8)>,
}

/// Goes through the chunks of a PNG and back to its beginning.
///
/// # Errors
/// If the file cannot be read; one that ends too early is no error.
pub(super) fn look(source: &mut (impl BufRead + Seek)) -> Result<Found> {
    source.rewind()?;
    let mut found = Found::default();
    let walked = walk(source, &mut found);
    source.rewind()?;
    match walked {
        Err(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Err(e),
        _ => Ok(found),
    }
}

fn walk(source: &mut (impl BufRead + Seek), found: &mut Found) -> Result<()> {
    /// Length and name before the contents, and the checksum behind them.
    const AROUND: u64 = 12;
    let mut at = MAGIC.len() as u64;
    source.seek_relative(at as i64)?;
    loop {
        let mut head = [0; 8];
        source.read_exact(&mut head)?;
        let (length, name) = head.split_at(4);
        let length = u64::from(u32::from_be_bytes([
            length[0], length[1], length[2], length[3],
        ]));
        match name {
            b"IEND" => return Ok(()),
            b"IDAT" if found.orientation.is_some() => return Ok(()),
            b"eXIf" | b"cICP" if length <= MAX_METADATA => {
                let mut chunk = [MAGIC, &head].concat();
                source.by_ref().take(length + 4).read_to_end(&mut chunk)?;
                let Some(chunk) = chunks::png(&chunk).next() else {
                    return Ok(());
                };
                found.chunk(&chunk, at);
            }
            _ => source.seek_relative(length as i64 + 4)?,
        }
        at += AROUND + length;
    }
}

impl Found {
    fn chunk(&mut self, chunk: &chunks::PngChunk<'_>, at: u64) {
        match (&chunk.name, chunk.data) {
            (b"eXIf", block) if self.orientation.is_none() && chunk.is_whole() => {
                let stored = Orientation::from_exif_chunk(block);
                self.orientation = Some(stored.unwrap_or(Orientation::NoTransforms));
            }
            // The name of no chunk, which may be left out and does not fit its checksum.
            (b"cICP", &[_, _, matrix, full]) if matrix != 0 || full > 1 => {
                self.patches.push((at + 7, b'X'));
            }
            _ => (),
        }
    }
}
