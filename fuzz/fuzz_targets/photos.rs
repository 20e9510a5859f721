//! Any tar file and any manifest of photos are listed or refused, and what is listed lies inside its file.
//!
//! The first byte says which it is, the rest is the file.

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vae2x_train::data::list;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let name = if kind % 2 == 0 { "x.tar" } else { "x.jsonl" };
    let path = folder().join(name);
    std::fs::write(&path, bytes).unwrap();
    let Ok(listing) = list(&[path.display().to_string()]) else {
        return;
    };
    for photo in listing.photos.iter().take(16) {
        // A manifest may name any file of the machine; only members of the tar file are read.
        if photo.path == path {
            assert!(photo.read().unwrap().len() <= bytes.len());
            assert!(photo.head(16).unwrap().len() <= 16);
        }
    }
});

/// A folder for files; memory where the system has such a folder.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let root = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = root.join(format!("vae2x-fuzz-photos-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}
