//! Manifests of photos, as `dataset scan` writes them: one line of JSON per photo.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::source::Source;

/// Bytes of the longest line that is read.
pub const LONGEST_LINE: u64 = 1 << 20;

/// A line of a manifest.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// Name inside a tar file, offset and length there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<(String, u64, u64)>,
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Variance of the Laplacian in the sharpest square of 256 pixels, in 8-bit units.
    pub sharpness: f64,
    /// Estimated, of a JPEG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jpeg_quality: Option<u8>,
    /// Hash of brightness differences, 64 bits in hexadecimal.
    pub hash: String,
    /// A photo that looks the same and is to be kept rather than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<String>,
    /// From a `.license` file next to the photo (REUSE) or its XMP metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Why the photo should not be trained on; empty for good ones.
    #[serde(default)]
    pub drop: Vec<String>,
}

impl Entry {
    /// The photo.
    pub fn source(&self) -> Source {
        Source {
            path: self.path.clone(),
            member: self.member.clone(),
        }
    }
}
