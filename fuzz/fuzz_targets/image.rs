//! Any bytes are an image or an error, with texts, colour profile and orientation; what is read can be written.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vae2x_media::picture::{
    BitDepth, PictureFormat, PictureOptions, decode_image, encode_image,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = decode_image(Path::new("fuzz"), bytes) else {
        return;
    };
    let values = image.pixels.data();
    assert!(values.iter().all(|v| (-1.0..=1.0).contains(v)));
    /// Writing takes longer than reading.
    const WRITTEN: usize = 1 << 14;
    if values.len() <= WRITTEN {
        let mut options = PictureOptions {
            depth: image.depth,
            metadata: image.metadata,
            ..PictureOptions::default()
        };
        encode_image(&image.pixels, PictureFormat::Png, &options).unwrap();
        options.depth = BitDepth::Eight;
        for format in [PictureFormat::Jpeg, PictureFormat::Webp] {
            encode_image(&image.pixels, format, &options).unwrap();
        }
    }
});
