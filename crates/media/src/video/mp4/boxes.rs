//! Walking the boxes of an MP4 file (ISO/IEC 14496-12, 4.2).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::foreign;

/// Bytes of the largest index that is read: days of video.
const MAX_INDEX: u64 = 64 << 20;
/// Boxes that a file may begin with before it is given up.
const MAX_BOXES: usize = 4096;

/// The index of a file: the contents of its `moov`.
pub(super) fn index(file: &mut File, length: u64) -> Result<Vec<u8>, String> {
    let mut at = 0;
    for number in 0..MAX_BOXES {
        if at == length {
            break;
        }
        let (kind, head, size) = head(file, at, length)?;
        if number == 0
            && ![*b"ftyp", *b"moov", *b"mdat", *b"free", *b"skip", *b"wide"].contains(&kind)
        {
            return Err("not an MP4 file".into());
        }
        if size < head || size > length - at {
            return Err(format!("the file ends within its '{}' box", name(kind)));
        }
        if kind == *b"moof" {
            return Err(foreign(FRAGMENTED));
        }
        if kind == *b"moov" {
            if size > MAX_INDEX {
                return Err(format!(
                    "its index has {size} bytes; at most {MAX_INDEX} are read"
                ));
            }
            let mut body = vec![0; (size - head) as usize];
            file.seek(SeekFrom::Start(at + head))
                .map_err(|e| e.to_string())?;
            file.read_exact(&mut body).map_err(|e| e.to_string())?;
            return Ok(body);
        }
        at += size;
    }
    Err("there is no index ('moov' box) in it".into())
}

/// The problem of a file in fragments.
pub(super) const FRAGMENTED: &str = "an MP4 file in fragments";

/// Kind, bytes of the head, and bytes of all of the box at `at`.
fn head(file: &mut File, at: u64, length: u64) -> Result<([u8; 4], u64, u64), String> {
    let mut bytes = [0; 16];
    let there = (length - at).min(16) as usize;
    file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
    file.read_exact(&mut bytes[..there])
        .map_err(|e| e.to_string())?;
    if there < 8 {
        return Err(match at {
            0 => "not an MP4 file".into(),
            _ => "the file ends within the head of a box".into(),
        });
    }
    let [size, kind, wide] =
        [0, 4, 8].map(|at| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let low = [bytes[12], bytes[13], bytes[14], bytes[15]];
    Ok(match u32::from_be_bytes(size) {
        0 => (kind, 8, length - at),
        1 => {
            let size =
                u64::from(u32::from_be_bytes(wide)) << 32 | u64::from(u32::from_be_bytes(low));
            (kind, 16, size)
        }
        size => (kind, 8, size.into()),
    })
}

/// A kind as text.
pub(super) fn name(kind: [u8; 4]) -> String {
    kind.escape_ascii().to_string()
}

/// The boxes within a box: kinds and contents.
pub(super) struct Children<'a>(pub &'a [u8]);

impl<'a> Iterator for Children<'a> {
    type Item = ([u8; 4], &'a [u8]);

    /// The next; `None` at the end, or where a box is damaged.
    fn next(&mut self) -> Option<Self::Item> {
        let (size, rest) = self.0.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = match u32::from_be_bytes(*size) {
            0 => (rest.len(), rest),
            1 => {
                let (wide, rest) = rest.split_first_chunk::<8>()?;
                let length = u64::from_be_bytes(*wide).checked_sub(16)?;
                (usize::try_from(length).ok()?, rest)
            }
            size => (size.checked_sub(8)? as usize, rest),
        };
        let (body, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*kind, body))
    }
}

/// The contents of the first box of a kind within a box.
pub(super) fn child<'a>(body: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    Children(body)
        .find(|(found, _)| found == kind)
        .map(|(_, body)| body)
}

/// The contents of a box that lies some levels below.
pub(super) fn descend<'a>(body: &'a [u8], kinds: &[&[u8; 4]]) -> Option<&'a [u8]> {
    kinds.iter().try_fold(body, |body, kind| child(body, kind))
}
