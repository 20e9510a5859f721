//! A file of a repository, as the hub lists it.

use serde::Deserialize;

/// A file as the hub lists it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemoteFile {
    #[serde(rename = "rfilename")]
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: Option<u64>,
    /// Git's hash; names the blob of a small file.
    blob_id: Option<String>,
    /// Present for large files.
    lfs: Option<Lfs>,
}

#[derive(Clone, Debug, Deserialize)]
struct Lfs {
    /// Names the blob of a large file.
    sha256: String,
}

impl RemoteFile {
    /// A file of a cached snapshot, of which nothing but the name is known.
    pub(crate) fn cached(name: String) -> Self {
        Self {
            name,
            size: None,
            blob_id: None,
            lfs: None,
        }
    }

    /// The name of the blob in the cache, if the hub gave one that can be a file name.
    pub(crate) fn blob(&self) -> Option<&str> {
        let name = self
            .lfs
            .as_ref()
            .map(|lfs| lfs.sha256.as_str())
            .or(self.blob_id.as_deref())?;
        is_plain(name).then_some(name)
    }
}

/// Whether a commit or hash is a single plain file name.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blob_of_a_large_file_is_named_by_its_sha256() {
        let file = |json: &str| serde_json::from_str::<RemoteFile>(json).unwrap();
        let large = file(
            r#"{"rfilename":"a","size":9,"blobId":"g","lfs":{"sha256":"s","size":9,"pointerSize":1}}"#,
        );
        assert_eq!((large.blob(), large.size), (Some("s"), Some(9)));
        assert_eq!(file(r#"{"rfilename":"a","blobId":"g"}"#).blob(), Some("g"));
        assert_eq!(file(r#"{"rfilename":"a","blobId":"../g"}"#).blob(), None);
        assert_eq!(file(r#"{"rfilename":"a"}"#).blob(), None);
    }

    #[test]
    fn hashes_are_plain_names() {
        assert!(is_plain("0123abcdef") && !is_plain("..") && !is_plain("a/b") && !is_plain(""));
    }
}
