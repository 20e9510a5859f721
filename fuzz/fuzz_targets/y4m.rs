//! Any bytes are plain video or an error; what is counted can be read, or is an error again.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vae2x_media::frames::{SourceOptions, open_source};

/// The reader counts frames by position, for which it needs a file.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::temp_dir().join(format!("vae2x-fuzz-{}.y4m", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).unwrap();
    let Ok(mut source) = open_source(&FILE, &SourceOptions::default()) else {
        return;
    };
    let (size, frames) = (source.spec().size, source.spec().frames);
    for index in 0..frames {
        let frame = source.next().unwrap().unwrap();
        assert_eq!(frame.index, index);
        assert_eq!(frame.pixels.shape(), [3, size[0], size[1]]);
        assert!(frame.pixels.data().iter().all(|v| (-1.0..=1.0).contains(v)));
    }
    assert!(source.next().unwrap().is_none());
});
