//! Tar archives of the old, GNU and pax kinds.
#![cfg_attr(
    not(feature = "train"),
    allow(dead_code, reason = "most are for training's reader")
)]

const BLOCK: usize = 512;
/// Where the size, the checksum and the kind of a member stand in its header.
pub const SIZE: usize = 124;
const CHECKSUM: usize = 148;
pub const KIND: usize = 156;

/// A member: name, data, kind and what it links to.
pub struct Member<'a> {
    pub name: &'a str,
    pub data: &'a [u8],
    pub kind: u8,
    pub link: &'a str,
}

/// A file.
pub fn plain<'a>(name: &'a str, data: &'a [u8]) -> Member<'a> {
    Member {
        name,
        data,
        kind: b'0',
        link: "",
    }
}

/// Anything but a file.
pub fn special<'a>(name: &'a str, kind: u8, link: &'a str) -> Member<'a> {
    Member {
        name,
        data: b"",
        kind,
        link,
    }
}

/// An archive of these members.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(member).collect();
    // Two blocks of zeros, and as many more as tape drives like.
    bytes.resize((bytes.len() + 2 * BLOCK).next_multiple_of(20 * BLOCK), 0);
    bytes
}

fn member(member: &Member) -> Vec<u8> {
    let mut header = vec![0; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, member.name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\x00");
    put(SIZE, format!("{:011o}\0", member.data.len()).as_bytes());
    put(136, b"00000000000\0");
    put(KIND, &[member.kind]);
    put(157, member.link.as_bytes());
    put(257, b"ustar  \0");
    let mut bytes = sealed(header);
    bytes.extend_from_slice(member.data);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// With the checksum of the first header made right.
pub fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[CHECKSUM..CHECKSUM + 8].fill(b' ');
    let sum: u32 = bytes[..BLOCK].iter().map(|&b| u32::from(b)).sum();
    bytes[CHECKSUM..CHECKSUM + 8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

/// With a part of the first header replaced.
pub fn edited(bytes: &[u8], at: usize, part: &[u8]) -> Vec<u8> {
    sealed(super::patched(bytes.to_vec(), at, part))
}

/// A header of pax with these records, which goes before a member's.
pub fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length += 1;
    }
    member(&Member {
        name: "PaxHeader",
        data: format!("{length}{rest}").as_bytes(),
        kind: b'x',
        link: "",
    })
}
