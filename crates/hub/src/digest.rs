//! Hashes of files.

use std::io::{self, Read};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::remote::Hash;

/// The hash of all that `file` has, of the kind of `like`; of `size` bytes, which git's hash begins with.
pub(crate) fn of(file: &mut dyn Read, like: Option<&Hash>, size: u64) -> io::Result<Hash> {
    match like {
        Some(Hash::Git(_)) => {
            let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            hash.update(format!("blob {size}\0").as_bytes());
            Ok(Hash::Git(digits(file, hash)?))
        }
        Some(Hash::Sha256(_)) | None => Ok(Hash::Sha256(digits(file, Context::new(&SHA256))?)),
    }
}

/// The SHA-256 of a text, as digits.
pub(crate) fn of_text(text: &str) -> String {
    hex(ring::digest::digest(&SHA256, text.as_bytes()).as_ref())
}

fn digits(file: &mut dyn Read, mut hash: Context) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(hash.finish().as_ref())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum_and_git() {
        let sha256 = of(&mut &b"hello\n"[..], None, 6).unwrap();
        assert_eq!(
            sha256.digits(),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        // What `git hash-object` prints.
        let git = of(&mut &b"hello\n"[..], Some(&Hash::Git(String::new())), 6).unwrap();
        assert_eq!(git.digits(), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
