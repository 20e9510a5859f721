//! What the workspace's tests share: where fixtures are, how numbers are compared, and one list of cases that every
//! engine must pass. Everything here panics on failure, as tests do; a missing fixture is a failure.

pub mod compare;
pub mod files;
#[cfg(unix)]
pub mod special;
pub mod tolerance;
pub mod vae;

use std::path::{Path, PathBuf};

use vae2x_core::weights::TensorFile;

/// A file or folder of `tests/fixtures`, such as `vae_tiny_up2x/cases.safetensors`.
///
/// # Panics
/// If it does not exist.
pub fn fixture(path: &str) -> PathBuf {
    in_repository("tests/fixtures", path)
}

/// A file of a model that ships with the program: `demo_base.safetensors` or `demo_2x.safetensors`.
///
/// # Panics
/// If it does not exist.
pub fn demo_model(name: &str) -> PathBuf {
    in_repository("crates/vae2x/assets/models", name)
}

fn in_repository(folder: &str, path: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let full = PathBuf::from(root).join(folder).join(path);
    assert!(full.exists(), "the fixture {} is missing", full.display());
    full
}

/// Opens a tensor file of `tests/fixtures`.
///
/// # Panics
/// If it cannot be read.
pub fn open(path: &str) -> TensorFile {
    Fixtures::default().open(path)
}

/// The folder `tests/fixtures`, or a copy of it that programs outside the repository are given.
pub struct Fixtures(PathBuf);

impl Default for Fixtures {
    /// That of the repository.
    fn default() -> Self {
        Self(in_repository("tests", "fixtures"))
    }
}

impl Fixtures {
    /// A copy.
    pub fn at(folder: &Path) -> Self {
        Self(folder.into())
    }

    /// A file or folder in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Opens a tensor file.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn open(&self, path: &str) -> TensorFile {
        TensorFile::open(&self.path(path)).unwrap_or_else(|e| panic!("{e}"))
    }
}
