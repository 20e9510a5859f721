//! A file in which some bytes read as others, for decoders that refuse what can be read without
//! them.

use std::io::{BufRead, Read, Result, Seek, SeekFrom};

/// A source with single bytes replaced.
pub(super) struct Patched<R> {
    source: R,
    position: u64,
    /// Positions, rising, and what is read there.
    patches: Vec<(u64, u8)>,
}

impl<R: BufRead + Seek> Patched<R> {
    /// `source` must stand at its beginning, and positions must rise.
    pub fn new(source: R, patches: Vec<(u64, u8)>) -> Self {
        Self {
            source,
            position: 0,
            patches,
        }
    }
}

impl<R: BufRead> BufRead for Patched<R> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        let buffer = self.source.fill_buf()?;
        let next = self.patches.partition_point(|(at, _)| *at < self.position);
        let Some((at, byte)) = self.patches.get(next) else {
            return Ok(buffer);
        };
        let before = at - self.position;
        Ok(match buffer.is_empty() || before > 0 {
            true => &buffer[..buffer.len().min(before.try_into().unwrap_or(usize::MAX))],
            false => std::slice::from_ref(byte),
        })
    }

    fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.position += count as u64;
    }
}

impl<R: BufRead> Read for Patched<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let buffer = self.fill_buf()?;
        let count = buffer.len().min(out.len());
        out[..count].copy_from_slice(&buffer[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Seek> Seek for Patched<R> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.position = self.source.seek(to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Cursor};

    #[test]
    fn bytes_are_replaced_wherever_reading_begins() {
        let source = || BufReader::with_capacity(3, Cursor::new(b"abcdefgh"));
        let mut patched = Patched::new(source(), vec![(0, b'A'), (4, b'E'), (7, b'H')]);
        for (from, expected) in [(0, "AbcdEfgH"), (4, "EfgH"), (5, "fgH"), (8, "")] {
            let mut read = String::new();
            patched.seek(SeekFrom::Start(from)).unwrap();
            patched.read_to_string(&mut read).unwrap();
            assert_eq!(read, expected);
        }
    }
}
