//! Zip archives, with what zip writers refuse: members twice, names that climb out.

use super::{crc, deflate};

/// Bytes of an archive's end record.
const END: usize = 22;

/// An archive of these members, stored or deflated.
pub fn zip(members: &[(&str, &[u8])], compress: bool) -> Vec<u8> {
    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let packed = if compress {
            deflate(data)
        } else {
            data.to_vec()
        };
        let offset = body.len() as u32;
        // Version, flags, method, time, date, checksum, sizes, lengths of the name and of what is extra.
        let mut common = Vec::new();
        for value in [20u16, 0, if compress { 8 } else { 0 }, 0, 0x21] {
            common.extend(value.to_le_bytes());
        }
        for value in [crc(data), packed.len() as u32, data.len() as u32] {
            common.extend(value.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        body.extend(b"PK\x03\x04");
        body.extend(&common);
        body.extend(name.as_bytes());
        body.extend(packed);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        // Comment, disk, attributes inside, attributes outside.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = body.len() as u32;
    body.extend(&directory);
    let count = u16::try_from(members.len()).unwrap_or(u16::MAX);
    if count == u16::MAX {
        body.extend(zip64_end(
            [members.len(), directory.len(), start as usize],
            body.len(),
        ));
    }
    let count = count.to_le_bytes();
    body.extend(b"PK\x05\x06\0\0\0\0");
    body.extend([count, count].concat());
    body.extend((directory.len() as u32).to_le_bytes());
    body.extend(start.to_le_bytes());
    body.extend([0; 2]);
    body
}

/// What goes before the end record where there are too many members for it. It lies at `place`.
fn zip64_end([count, size, start]: [usize; 3], place: usize) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.extend(44u64.to_le_bytes());
    bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(
        [count, count, size, start]
            .map(|n| (n as u64).to_le_bytes())
            .concat(),
    );
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend((place as u64).to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes
}

/// A torch file: a pickle and the storages that it names.
pub fn torch(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<String> = storages
        .iter()
        .map(|(name, _)| format!("archive/data/{name}"))
        .collect();
    let mut members = vec![("archive/data.pkl", pickle)];
    members.extend(
        names
            .iter()
            .map(String::as_str)
            .zip(storages.iter().map(|(_, data)| *data)),
    );
    zip(&members, false)
}

/// Where the first entry of the directory is.
pub fn directory(archive: &[u8]) -> usize {
    super::position(archive, b"PK\x01\x02")
}

/// Where the end record is, in an archive without a comment.
pub fn end(archive: &[u8]) -> usize {
    archive.len() - END
}
