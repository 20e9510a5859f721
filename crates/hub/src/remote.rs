//! What a hub says about a repository: its list of files, with their sizes and hashes.
//!
//! Nothing of it becomes a path or a name of a file unless it looks like what it should be: commits and hashes are hexadecimal
//! digits of the right number, names of files stay inside their folder.

use std::path::{Component, Path};

use serde::Deserialize;

/// Bytes of a file's name, with its folders and without.
const MAX_NAME: usize = 1024;
const MAX_PART: usize = 255;

/// A revision's commit and files.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: Vec<RemoteFile>,
}

/// A file as the hub lists it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RemoteFile {
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: Option<u64>,
    pub(crate) hash: Option<Hash>,
}

/// The hash of a file, as digits. It also names the file's blob in the cache.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Hash {
    /// Of the bytes of a large file.
    Sha256(String),
    /// Of git's object for a small file: SHA-1 of a header and the bytes.
    Git(String),
}

#[derive(Deserialize)]
struct RawListing {
    sha: String,
    siblings: Vec<RawFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<RawLfs>,
}

#[derive(Deserialize)]
struct RawLfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Listing {
    /// Reads the hub's answer. Files whose names would leave their folder are left out.
    ///
    /// # Errors
    /// What it is instead.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let raw: RawListing = serde_json::from_slice(json)
            .map_err(|e| format!("something that is not a list of files ({e})"))?;
        if !is_commit(&raw.sha) {
            let shown: String = raw.sha.chars().take(64).collect();
            return Err(format!("the malformed commit '{}'", shown.escape_default()));
        }
        let files = raw.siblings.into_iter().map(RemoteFile::from);
        Ok(Self {
            commit: raw.sha.to_ascii_lowercase(),
            files: files.filter(|file| is_safe(&file.name)).collect(),
        })
    }
}

impl From<RawFile> for RemoteFile {
    fn from(raw: RawFile) -> Self {
        let hash = match &raw.lfs {
            Some(lfs) => lfs.sha256.as_deref().and_then(Hash::sha256),
            None => raw.blob_id.as_deref().and_then(Hash::git),
        };
        Self {
            name: raw.rfilename,
            size: raw.size.or(raw.lfs.and_then(|lfs| lfs.size)),
            hash,
        }
    }
}

impl RemoteFile {
    /// A file of a cached snapshot, of which nothing but the name is known.
    pub(crate) fn cached(name: String) -> Self {
        Self {
            name,
            size: None,
            hash: None,
        }
    }
}

impl Hash {
    /// Takes a SHA-256 in hexadecimal digits.
    pub(crate) fn sha256(digits: &str) -> Option<Self> {
        is_hex(digits, 64).then(|| Self::Sha256(digits.to_ascii_lowercase()))
    }

    fn git(digits: &str) -> Option<Self> {
        is_hex(digits, 40).then(|| Self::Git(digits.to_ascii_lowercase()))
    }

    pub(crate) fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::Git(digits) => digits,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "git hash",
        }
    }
}

/// The SHA-256 in an `X-Linked-ETag` header, which may be quoted and marked as weak.
pub(crate) fn linked_sha256(etag: &[u8]) -> Option<Hash> {
    let etag = std::str::from_utf8(etag).ok()?.trim();
    Hash::sha256(etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"'))
}

/// `bytes FIRST-LAST/TOTAL` of a `Content-Range` header as first and total, which may be unknown.
pub(crate) fn content_range(value: &[u8]) -> Option<(u64, Option<u64>)> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = total.trim().parse().ok();
    let ordered = first <= last && total.is_none_or(|total: u64| last < total);
    ordered.then_some((first, total))
}

/// Whether this is the name of a commit: a SHA-1, or a SHA-256 in newer repositories.
pub(crate) fn is_commit(name: &str) -> bool {
    is_hex(name, 40) || is_hex(name, 64)
}

fn is_hex(digits: &str, length: usize) -> bool {
    digits.len() == length && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a name from the hub stays inside the snapshot's folder, is one that file systems take, and has no control characters.
pub(crate) fn is_safe(name: &str) -> bool {
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(part) if part.len() <= MAX_PART));
    !name.is_empty()
        && name.len() <= MAX_NAME
        && inside
        && !name.contains(['\\', ':'])
        && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(files: &str) -> Result<Listing, String> {
        let commit = &SHA256[..40];
        Listing::parse(format!(r#"{{"sha":"{commit}","siblings":[{files}]}}"#).as_bytes())
    }

    fn file(json: &str) -> RemoteFile {
        parse(json).unwrap().files.remove(0)
    }

    #[test]
    fn a_large_file_has_a_sha256_and_a_small_one_a_git_hash() {
        let git = &SHA256[..40];
        let large = file(&format!(
            r#"{{"rfilename":"a","size":9,"blobId":"{git}","lfs":{{"sha256":"{SHA256}","size":9,"pointerSize":1}}}}"#
        ));
        assert_eq!(large.hash, Some(Hash::Sha256(SHA256.into())));
        assert_eq!(large.size, Some(9));
        let small = file(&format!(r#"{{"rfilename":"a","blobId":"{git}"}}"#));
        assert_eq!(small.hash, Some(Hash::Git(git.into())));
        assert_eq!(small.size, None);
    }

    #[test]
    fn what_is_no_hash_is_none() {
        for wrong in ["../g", "", "/etc/passwd", &SHA256[..39], &"g".repeat(40)] {
            let file = file(&format!(r#"{{"rfilename":"a","blobId":"{wrong}"}}"#));
            assert_eq!(file.hash, None, "{wrong}");
        }
        let path = r#"{"rfilename":"a","lfs":{"sha256":"../../pwned","size":9}}"#;
        assert_eq!(file(path).hash, None);
        assert_eq!(file(r#"{"rfilename":"a"}"#).hash, None);
        assert_eq!(linked_sha256(b"\"/home/user/.bashrc\""), None);
        let weak = format!("W/\"{SHA256}\"");
        assert_eq!(
            linked_sha256(weak.as_bytes()),
            Some(Hash::Sha256(SHA256.into()))
        );
    }

    #[test]
    fn names_that_leave_the_snapshot_are_left_out() {
        assert_eq!(
            file(r#"{"rfilename":"a/b c.safetensors"}"#).name,
            "a/b c.safetensors"
        );
        for name in [
            "",
            "../a",
            "a/../../b",
            "/etc/passwd",
            "..\\\\a",
            "C:a",
            "a/./../b",
            "./a",
            "a\\nb",
            "a\\u0000b",
            "\\u001b[31ma",
        ] {
            let listing = parse(&format!(r#"{{"rfilename":"{name}"}}"#)).unwrap();
            assert!(listing.files.is_empty(), "{name}");
        }
        assert!(!is_safe(&"a".repeat(256)) && !is_safe(&"a/".repeat(600)));
    }

    #[test]
    fn a_malformed_list_is_named() {
        for wrong in [
            "<html>",
            "",
            "[",
            r#"{"sha":1,"siblings":"x"}"#,
            r#"{"sha":"../../..","siblings":[]}"#,
            r#"{"sha":"\u001b[31mx","siblings":[]}"#,
        ] {
            let error = Listing::parse(wrong.as_bytes()).unwrap_err();
            assert!(!error.contains('\u{1b}'), "{error}");
        }
        assert!(Listing::parse(&b"[".repeat(1_000_000)).is_err());
        assert!(parse(r#"{"rfilename":"a","size":-1}"#).is_err());
    }

    #[test]
    fn a_range_has_a_start_and_a_total() {
        assert_eq!(content_range(b"bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range(b"bytes 5-9/*"), Some((5, None)));
        for wrong in ["bytes 9-5/10", "bytes 5-10/10", "bytes */10", "5-9/10", ""] {
            assert_eq!(content_range(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
