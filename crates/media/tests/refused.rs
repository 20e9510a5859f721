//! Files that are not read, or in part only, and what is said of them.

use std::path::Path;

use vae2x_core::Array;
use vae2x_media::picture::{
    PictureFormat, PictureOptions, decode_image, encode_image, look_at_image,
};

/// A JPEG of noise.
fn jpeg() -> Vec<u8> {
    let values = (0..3 * 16 * 16).map(|i| (i * 7919 % 251) as f32 / 125.0 - 1.0);
    let image = Array::new([3, 16, 16], values.collect()).unwrap();
    encode_image(&image, PictureFormat::Jpeg, &PictureOptions::default()).unwrap()
}

/// With a segment behind the first marker.
fn with_segment(file: &[u8], marker: u8, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xff, marker], &length, data, &file[2..]].concat()
}

#[track_caller]
fn assert_refused(name: &str, file: &[u8], problem: &str) {
    let expected = format!("{name}: {problem}");
    let error = decode_image(Path::new(name), file).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, file).unwrap();
    let error = look_at_image(&path).unwrap_err().to_string();
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn an_empty_file_is_called_empty() {
    assert_refused("a.png", b"", "the file is empty");
    assert_refused("a.jpg", b"", "the file is empty");
}

#[test]
fn kinds_of_jpeg_that_are_not_read_are_named() {
    let whole = jpeg();
    let at = whole.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    for (marker, kind) in [
        (0xc3, "lossless coding"),
        (0xc5, "several layers (hierarchical)"),
        (0xc9, "arithmetic coding"),
        (0xca, "arithmetic coding"),
    ] {
        let mut file = whole.clone();
        file[at + 1] = marker;
        // Far behind what is read at first.
        let file = with_segment(&file, 0xe5, &[0xff; 60_000]);
        let problem = format!("a JPEG of {kind}, which is not read; save it as PNG");
        assert_refused("a.jpg", &file, &problem);
    }
    let mut file = whole.clone();
    file[at + 4] = 12;
    let problem = "a JPEG of 12 bits, which is not read; save it as PNG";
    assert_refused("a.jpg", &file, problem);
    let twice = [&whole[..2], &whole].concat();
    let problem = "the image is damaged: a second JPEG begins before the first one has pixels";
    assert_refused("a.jpg", &twice, problem);
}

#[test]
fn apples_own_png_is_named() {
    let file = b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBI\x50\0\x20\x02\x2b\xd5\xb3\x7f\0\0\0\x0dIHDR";
    let problem =
        "Apple's own PNG (CgBI) images are not read; convert it to PNG, JPEG or TIFF first";
    assert_refused("a.png", file, problem);
}

#[test]
fn a_profile_that_lacks_a_part_is_noted() {
    let file = with_segment(&jpeg(), 0xe2, b"ICC_PROFILE\0\x01\x02abcdef");
    let image = decode_image(Path::new("a.jpg"), &file).unwrap();
    assert_eq!(
        image.notes,
        ["a.jpg: its colour profile cannot be read; its colours are taken as sRGB"]
    );
    let file = with_segment(&jpeg(), 0xe2, b"MPF\0II*\0");
    let image = decode_image(Path::new("a.jpg"), &file).unwrap();
    assert_eq!(image.notes, Vec::<String>::new());
}
