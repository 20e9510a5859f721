//! Any bytes are an MP4 file or an error, without FFmpeg; what is counted can be read, or is an error again.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vae2x_media::frames::{SourceOptions, open_source};

/// Pixels that are decoded of a file: one may hold as many frames as it has bytes.
const MAX_PIXELS: usize = 1 << 24;

/// The reader takes frames by position, for which it needs a file.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    for name in ["PATH", "VAE2X_FFMPEG", "IMAGEIO_FFMPEG_EXE", "VIRTUAL_ENV", "CONDA_PREFIX"] {
        // SAFETY: it is called before any other thread is started.
        unsafe { std::env::remove_var(name) };
    }
    std::env::temp_dir().join(format!("vae2x-fuzz-{}.mp4", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).unwrap();
    let Ok(mut source) = open_source(&FILE, &SourceOptions::default()) else {
        return;
    };
    let ([height, width], frames) = (source.spec().size, source.spec().frames);
    for index in 0..frames.min(MAX_PIXELS / (height * width)) {
        let Ok(frame) = source.next() else {
            return;
        };
        let frame = frame.unwrap();
        assert_eq!(frame.index, index);
        assert_eq!(frame.pixels.shape(), [3, height, width]);
        assert!(frame.pixels.data().iter().all(|v| (-1.0..=1.0).contains(v)));
    }
});
