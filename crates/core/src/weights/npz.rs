//! The npz format: a zip archive of npy files, as `numpy.savez` and `numpy.savez_compressed` write it.
//!
//! Stored arrays are read in place like those of any other format, once their checksum is found right. A deflated one is unpacked into memory when it is read,
//! up to a limit and never beyond the size that the directory and the array's own header agree on, so that a short file
//! buys little memory. Arrays of texts and objects are listed, not read.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::archive::Member;
use super::npy::{self, Trouble};
use super::source::Source;
use super::table::{Checksum, Contents, MAX_TENSORS, Packed};
use crate::error::{Error, Result};

/// Extension of every array's file.
const EXTENSION: &str = ".npy";
/// Bytes that any deflated array may unpack to: a long clip's latent.
const UNPACKED: u64 = 256 << 20;
/// How many times its packed size a larger array may unpack to: latents hardly shrink.
const RATIO: u64 = 8;

/// Whether the members of an archive are those of an npz file.
pub(crate) fn is_npz(members: &BTreeMap<String, Member>) -> bool {
    members.keys().any(|name| name.ends_with(EXTENSION))
}

/// Reads the header of each array.
pub(crate) fn read(source: &Source, members: &BTreeMap<String, Member>) -> Result<Contents> {
    let mut contents = Contents::default();
    let arrays = members
        .iter()
        .filter_map(|(file, member)| Some((file.strip_suffix(EXTENSION)?, member)));
    for (name, member) in arrays {
        if contents.tensors.len() >= MAX_TENSORS {
            return Err(source.problem(format!("more than {MAX_TENSORS} arrays")));
        }
        let wrong = |problem: String| source.problem(format!("array '{name}': {problem}"));
        match npy::parse(&head(source, member).map_err(&wrong)?, member.size) {
            Ok((info, mut place)) => {
                match member.packed {
                    None => {
                        place.offset += member.offset;
                        place.sum = Some(Checksum {
                            offset: member.offset,
                            size: member.size,
                            crc: member.crc,
                        });
                    }
                    Some(packed) => {
                        require_plausible(member.size, packed).map_err(&wrong)?;
                        place.packed = Some(Packed {
                            offset: member.offset,
                            packed: packed as usize,
                            size: member.size as usize,
                            crc: member.crc,
                        });
                    }
                }
                contents.insert(name.into(), info, place);
            }
            Err(Trouble::Type(descr)) => {
                contents.unread.insert(name.into(), descr);
            }
            Err(Trouble::Broken(problem)) => return Err(wrong(problem)),
        }
    }
    match contents.unread.first_key_value() {
        Some((name, descr)) if contents.tensors.is_empty() => {
            Err(source.problem(format!("array '{name}': {}", npy::unknown_type(descr))))
        }
        _ => Ok(contents),
    }
}

/// The first bytes of a member, enough for any header.
fn head(source: &Source, member: &Member) -> Result<Vec<u8>, String> {
    let wanted = member.size.min(npy::MAX_HEAD as u64) as usize;
    let text = |e: Error| e.to_string();
    match member.packed {
        None => source.read_at(member.offset, wanted).map_err(text),
        Some(packed) => {
            // Deflate makes no more than a few bytes of incompressible data larger.
            let taken = packed.min(2 * npy::MAX_HEAD as u64) as usize;
            let packed = source.read_at(member.offset, taken).map_err(text)?;
            inflate(&packed, wanted)
        }
    }
}

/// Refuses an array that unpacks to far more than the file holds.
fn require_plausible(size: u64, packed: u64) -> Result<(), String> {
    match size <= UNPACKED.max(packed.saturating_mul(RATIO)) {
        true => Ok(()),
        false => Err(format!(
            "{packed} deflated bytes that unpack to {size}; expected at most {UNPACKED}, or {RATIO} times as many"
        )),
    }
}

/// Unpacks the array's file.
pub(crate) fn unpack(source: &Source, packed: &Packed) -> Result<Vec<u8>> {
    let bytes = source.read_at(packed.offset, packed.packed)?;
    let out = inflate(&bytes, packed.size).map_err(|problem| source.problem(problem))?;
    let mut crc = Crc::new();
    crc.update(&out);
    match crc.sum() == packed.crc {
        true => Ok(out),
        false => Err(source.problem("damaged: the deflated data does not match its checksum")),
    }
}

/// Checks stored bytes, a piece at a time.
pub(crate) fn check(source: &Source, sum: &Checksum) -> Result<()> {
    const PIECE: u64 = 1 << 20;
    let mut crc = Crc::new();
    let mut done = 0;
    while done < sum.size {
        let count = PIECE.min(sum.size - done);
        crc.update(&source.read_at(sum.offset + done, count as usize)?);
        done += count;
    }
    match crc.sum() == sum.crc {
        true => Ok(()),
        false => Err(source.problem("damaged: the data of an array does not match its checksum")),
    }
}

/// The first `size` bytes of deflated data.
fn inflate(packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    out.try_reserve_exact(size)
        .map_err(|_| format!("no memory for {size} bytes to unpack"))?;
    DeflateDecoder::new(packed)
        .take(size as u64)
        .read_to_end(&mut out)
        .map_err(|e| format!("the deflated data is damaged: {e}"))?;
    match out.len() == size {
        true => Ok(out),
        false => Err(format!(
            "the deflated data ends after {} of {size} bytes",
            out.len()
        )),
    }
}
