//! The images in a tar file: where they are, in the order of the file. Nothing is unpacked.
//!
//! Long names come before their member, in a member of their own (GNU's `L`, or a record of `pax`). They are read here, up to a length,
//! as the archive would read all of what such a member claims to have.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use tar::{Archive, Entry, PaxExtensions};
use vae2x_core::{Error as CoreError, files};

use super::list::is_picture;
use super::source::Source;
use crate::{Error, Result};

/// Bytes of the longest name, or of the records with it.
const LONGEST: u64 = 1 << 16;

/// The images of a tar file, and what is wrong with the rest of it.
pub(super) fn images(path: &Path) -> (Vec<Source>, Option<Error>) {
    let mut found = Vec::new();
    let fault = read(path, &mut found).err();
    (found, fault)
}

/// What the members before a member say of it.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

fn read(path: &Path, found: &mut Vec<Source>) -> Result<()> {
    let fail = |e| Error::io(path, e);
    let file = files::open(path)?;
    let size = file.metadata().map_err(fail)?.len();
    let mut archive = Archive::new(BufReader::new(file));
    let mut extended = Extended::default();
    for (index, entry) in archive
        .entries_with_seek()
        .map_err(fail)?
        .raw(true)
        .enumerate()
    {
        let damaged =
            |what: &str| Error::from(CoreError::format(path, format!("member {index}: {what}")));
        let mut entry = entry.map_err(|e| match e.raw_os_error() {
            Some(_) => fail(e),
            None if index == 0 => CoreError::format(path, "not a tar file").into(),
            None => damaged("its head is damaged"),
        })?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            if entry.size() > LONGEST {
                return Err(damaged(&format!(
                    "a name of {} bytes; expected at most {LONGEST}",
                    entry.size()
                )));
            }
            extended.read(&mut entry).map_err(fail)?;
            continue;
        }
        if kind.is_pax_global_extensions() || kind.is_gnu_longlink() {
            continue;
        }
        let Extended { name, size: other } = std::mem::take(&mut extended);
        let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let name = String::from_utf8_lossy(&name).into_owned();
        let (offset, length) = (entry.raw_file_position(), entry.size());
        if other.is_some_and(|other| other != length) {
            return Err(damaged("it says two sizes"));
        }
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(damaged(&format!(
                "'{name}' of {length} bytes at offset {offset}; the file has {size}"
            )));
        }
        if kind.is_file() && is_picture(Path::new(&name)) {
            found.push(Source {
                path: path.to_path_buf(),
                member: Some((name, offset, length)),
            });
        }
    }
    Ok(())
}

impl Extended {
    fn read(&mut self, entry: &mut Entry<'_, BufReader<File>>) -> std::io::Result<()> {
        let kind = entry.header().entry_type();
        let mut bytes = Vec::new();
        entry.take(LONGEST).read_to_end(&mut bytes)?;
        if kind.is_gnu_longname() {
            bytes.truncate(bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len()));
            self.name = Some(bytes);
            return Ok(());
        }
        for record in PaxExtensions::new(&bytes) {
            let record = record?;
            match record.key_bytes() {
                b"path" => self.name = Some(record.value_bytes().to_vec()),
                b"size" => {
                    self.size = record
                        .value()
                        .ok()
                        .and_then(|text| text.parse().ok())
                        .or(Some(u64::MAX))
                }
                _ => (),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, EntryType, Header};

    /// A member of a tar file.
    fn member(name: &str, kind: EntryType, size: u64, data: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        let padding = vec![0; data.len().next_multiple_of(512) - data.len()];
        [header.as_bytes(), data, &padding].concat()
    }

    /// Names and contents of the images that a file of `parts` has, and what is wrong with it.
    fn listed(parts: &[Vec<u8>]) -> (Vec<(String, Vec<u8>)>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.tar");
        std::fs::write(&path, parts.concat()).unwrap();
        let (found, fault) = images(&path);
        let content = |source: Source| {
            let bytes = source.read().unwrap();
            (source.member.unwrap().0, bytes)
        };
        let fault = fault.map(|fault| fault.to_string());
        (found.into_iter().map(content).collect(), fault)
    }

    #[test]
    fn long_names_are_those_of_their_members() {
        let long = format!("{}/b.jpg", "n".repeat(200));
        let mut builder = Builder::new(Vec::new());
        for (name, data) in [
            ("a.png", &b"first"[..]),
            (&long, b"second"),
            ("c.txt", b"x"),
        ] {
            let mut header = Header::new_gnu();
            header.set_size(data.len() as u64);
            builder.append_data(&mut header, name, data).unwrap();
        }
        let records = [("path", b"d.webp".as_slice()), ("size", b"5")];
        builder.append_pax_extensions(records).unwrap();
        let mut header = Header::new_ustar();
        header.set_size(5);
        builder
            .append_data(&mut header, "short.png", &b"third"[..])
            .unwrap();
        let (found, fault) = listed(&[builder.into_inner().unwrap()]);
        assert_eq!(fault, None);
        let expected = [("a.png", "first"), (&long, "second"), ("d.webp", "third")];
        assert_eq!(
            found,
            expected.map(|(n, d)| (n.to_string(), d.as_bytes().to_vec()))
        );
    }

    #[test]
    fn what_lies_is_named_and_what_comes_before_it_is_kept() {
        let good = member("a.png", EntryType::Regular, 4, b"good");
        let mut broken = member("b.png", EntryType::Regular, 3, b"bad");
        broken[148] = b'9';
        for (part, said) in [
            (
                member("b.png", EntryType::Regular, 1 << 40, b"bad"),
                "1099511627776",
            ),
            (
                member("b", EntryType::GNULongName, 1 << 30, b"bad"),
                "1073741824",
            ),
            (
                member("b", EntryType::XHeader, 1 << 30, b"bad"),
                "1073741824",
            ),
            (broken, "head"),
        ] {
            let (found, fault) = listed(&[good.clone(), part]);
            assert_eq!(found, [("a.png".to_string(), b"good".to_vec())]);
            assert!(
                fault.as_ref().is_some_and(|text| text.contains(said)),
                "{fault:?}"
            );
        }
        let two = [
            member("x", EntryType::XHeader, 9, b"9 size=7\n"),
            member("b.png", EntryType::Regular, 3, b"bad"),
        ];
        assert!(listed(&two).1.unwrap().contains("two sizes"));
        assert!(
            listed(&[vec![7; 2048]])
                .1
                .unwrap()
                .contains("not a tar file")
        );
    }

    #[test]
    fn links_and_devices_are_no_images() {
        let kinds = [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Char,
            EntryType::Fifo,
            EntryType::GNUSparse,
        ];
        for kind in kinds {
            let (found, fault) = listed(&[member("l.png", kind, 0, b"")]);
            assert!(found.is_empty() && fault.is_none(), "{kind:?}");
        }
    }

    proptest::proptest! {
        /// Whatever the bytes, reading ends, and what is found lies inside the file.
        #[test]
        fn damaged_files_do_not_panic(
            at in 0usize..1536,
            value in proptest::num::u8::ANY,
            fix in proptest::bool::ANY,
        ) {
            let mut bytes = [
                member("b", EntryType::GNULongName, 5, b"n.png"),
                member("a.png", EntryType::Regular, 4, b"good"),
            ].concat();
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
            if fix {
                let start = at / 1024 * 1024;
                let head = &mut bytes[start..start + 512];
                head[148..156].fill(b' ');
                let sum: u32 = head.iter().map(|&b| u32::from(b)).sum();
                head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
            listed(&[bytes]);
        }
    }
}
