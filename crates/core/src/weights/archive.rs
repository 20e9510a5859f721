//! The directory of a zip archive: where the bytes of each member are. Torch and npz files are such archives.
//!
//! Members are stored as they are, or deflated; nothing is unpacked here.

use std::collections::BTreeMap;
use std::io::BufReader;

use zip::{CompressionMethod, ZipArchive};

use super::source::Source;
use super::table::MAX_TENSORS;
use crate::error::Result;

/// Members of an archive, of which each storage of a torch file is one.
const MAX_MEMBERS: usize = 2 * MAX_TENSORS;

/// Where a member's bytes are.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub offset: u64,
    /// Its own size in bytes.
    pub size: u64,
    /// The bytes that it takes in the archive, if they are deflated.
    pub packed: Option<u64>,
    /// The checksum of its own bytes.
    pub crc: u32,
}

/// The archive's files by name.
pub(crate) fn members(source: &Source) -> Result<BTreeMap<String, Member>> {
    let broken = |e: zip::result::ZipError| {
        source.problem(format!(
            "the zip archive of a torch or npz file is damaged: {e}"
        ))
    };
    let mut archive = ZipArchive::new(BufReader::new(source.cursor())).map_err(broken)?;
    if archive.len() > MAX_MEMBERS {
        return Err(source.problem(format!(
            "{} files in a zip archive; expected at most {MAX_MEMBERS}",
            archive.len()
        )));
    }
    let mut members = BTreeMap::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(broken)?;
        let name = member.name().map_err(broken)?.into_owned();
        let deflated = member.compression() == CompressionMethod::DEFLATE;
        let stored = member.compression() == CompressionMethod::Stored;
        if member.encrypted() || !(stored || deflated) {
            return Err(source.problem(format!(
                "'{name}' is compressed in another way than deflate, or encrypted"
            )));
        }
        let offset = member
            .data_start()
            .ok_or_else(|| source.problem(format!("'{name}' has no data")))?;
        let (size, taken) = (member.size(), member.compressed_size());
        if stored && size != taken {
            return Err(source.problem(format!(
                "'{name}' is stored as it is, but its size is given as {size} bytes and as {taken}"
            )));
        }
        if offset
            .checked_add(taken)
            .is_none_or(|end| end > source.len())
        {
            return Err(source.problem(format!(
                "truncated: '{name}' takes {taken} bytes at offset {offset}, found {} in all",
                source.len()
            )));
        }
        let packed = deflated.then_some(taken);
        members.insert(
            name,
            Member {
                offset,
                size,
                packed,
                crc: member.crc32(),
            },
        );
    }
    Ok(members)
}
