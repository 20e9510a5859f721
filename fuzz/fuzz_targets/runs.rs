//! The files of a run: any log is cut back to its whole lines, any checkpoint is one or is refused, any text is a configuration or is refused.
//!
//! The first byte says which it is, the rest is the file.

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vae2x_core::weights::TensorFile;
use vae2x_train::log::{JsonLog, Line};
use vae2x_train::run::checkpoint::{Expected, find, metadata};
use vae2x_train::run::parse_config;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 3 {
        0 => log(bytes),
        1 => checkpoint(bytes),
        _ => configuration(bytes),
    }
});

fn log(bytes: &[u8]) {
    const STEP: u64 = 5;
    let path = folder().join("log.jsonl");
    std::fs::write(&path, bytes).unwrap();
    drop(JsonLog::open(&path, STEP).unwrap());
    let kept = std::fs::read(&path).unwrap();
    assert!(kept.len() <= bytes.len() + 1);
    for line in kept.split_inclusive(|&b| b == b'\n') {
        assert!(line.ends_with(b"\n"));
        assert!(serde_json::from_slice::<Line>(line).unwrap().step <= STEP);
    }
}

fn checkpoint(bytes: &[u8]) {
    const SHAPE: &[usize] = &[2, 3];
    let Ok(file) = TensorFile::from_bytes("fuzz", bytes.to_vec()) else {
        return;
    };
    let _ = metadata(&file, "vae2x.step", str::parse::<u64>);
    let expected = Expected::default()
        .weights("model", [("a", SHAPE), ("b", SHAPE)])
        .states("optimizer", [("a", SHAPE), ("b", SHAPE)]);
    let is_whole = expected.check(&file).is_ok();
    for name in file.tensors().keys().take(64) {
        if let Ok(array) = find(&file, name) {
            assert!(array.unwrap().data().iter().all(|value| value.is_finite()));
        }
    }
    if is_whole {
        assert!(file.tensors()["model.a"].shape == SHAPE && file.tensors()["model.b"].shape == SHAPE);
    }
}

fn configuration(bytes: &[u8]) {
    // The text, and after a zero byte a change.
    let mut parts = bytes.splitn(2, |&b| b == 0).map(std::str::from_utf8);
    let Some(Ok(text)) = parts.next() else {
        return;
    };
    let changes: Vec<String> = parts.flatten().map(String::from).collect();
    let _ = parse_config::<toml::Table>(text, &changes, |_| Ok(()));
}

/// A folder for files; memory where the system has such a folder.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let root = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = root.join(format!("vae2x-fuzz-runs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}
