//! Any folder of pairs, and any description of one, can be read or is refused.
//!
//! The input is the text of `manifest.json`, a zero byte, and a file of pairs; without a zero byte it is the file alone. A mutated manifest
//! is also tried beside a small file of pairs that fits the seeds.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use libfuzzer_sys::fuzz_target;
use vae2x_soften::proxy::{PairFiles, Pairs};
use vae2x_soften::sdedit::{MANIFEST_FILE, merge};

const PAIRS: &str = "pairs-00000.safetensors";

fuzz_target!(|bytes: &[u8]| {
    let (manifest, file) = match bytes.iter().position(|&b| b == 0) {
        Some(end) => (Some(&bytes[..end]), &bytes[end + 1..]),
        None => (None, bytes),
    };
    let folder = folder();
    read(folder, file);
    if let Some(manifest) = manifest {
        std::fs::write(folder.join(MANIFEST_FILE), manifest).unwrap();
        join(folder);
        std::fs::write(folder.join(PAIRS), include_bytes!("../seeds/pairs.safetensors")).unwrap();
        join(folder);
        std::fs::remove_file(folder.join(MANIFEST_FILE)).unwrap();
    }
});

fn read(folder: &Path, file: &[u8]) {
    std::fs::write(folder.join(PAIRS), file).unwrap();
    let _ = PairFiles::are_in(folder);
    let Ok(pairs) = PairFiles::open(folder) else {
        return;
    };
    let _ = pairs.refuse_raw();
    for index in (0..pairs.len()).take(16) {
        assert!(pairs.latent(index) < pairs.len());
        if let Ok(pair) = pairs.pair(index) {
            assert!((0.0..=1.0).contains(&pair.time));
            assert_eq!(pair.clean.shape(), pair.degraded.shape());
            let values = pair.clean.data().iter().chain(pair.degraded.data());
            assert!(values.into_iter().all(|value| value.is_finite()));
        }
    }
}

fn join(folder: &Path) {
    let target = folder.with_extension("joined");
    let joined = merge(&[folder.to_path_buf()], &target, &AtomicBool::new(false));
    if joined.is_ok() {
        std::fs::remove_dir_all(&target).unwrap();
    }
    assert!(!target.exists());
}

/// A folder for files; memory where the system has such a folder.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let root = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = root.join(format!("vae2x-fuzz-pairs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}
