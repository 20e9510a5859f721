//! What the workspace's tests share: where fixtures are, how numbers are compared, and one list of cases that every
//! engine must pass. Everything here panics on failure, as tests do; a missing fixture is a failure.

pub mod compare;
pub mod tolerance;
pub mod vae;

use std::path::PathBuf;

use vae2x_core::weights::TensorFile;

/// A file of the shared folder beside the workspace, such as `fixtures/vae_tiny_up2x/cases.safetensors`.
///
/// # Panics
/// If it does not exist.
pub fn shared(path: &str) -> PathBuf {
    let full = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    assert!(full.exists(), "the fixture {} is missing", full.display());
    full
}

/// Opens a tensor file of the shared folder.
///
/// # Panics
/// If it cannot be read.
pub fn open(path: &str) -> TensorFile {
    TensorFile::open(&shared(path)).unwrap_or_else(|e| panic!("{e}"))
}
