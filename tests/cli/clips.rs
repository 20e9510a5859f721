//! Clips as folders of frames, out and in again.

use std::path::Path;

use vae2x_core::Array;
use vae2x_media::picture::{PictureOptions, write_image};
use vae2x_testkit::compare::assert_close;

use crate::support::{entries, fixture, read, run, text};

/// 16 bits per channel, through an encoder.
const SIXTEEN_BITS: f64 = 1e-3;

/// Decodes a clip of the fixtures to `out`.
fn decode(out: &Path) {
    run(&[
        "decode",
        &fixture("vae_tiny_up2x/cases.safetensors"),
        "--key",
        "decode.clip2.latent",
        "--latent-space",
        "raw",
        "--vae",
        "demo:base",
        "--bit-depth",
        "16",
        "-o",
        &text(out),
    ])
    .ok();
}

/// Encodes `input` with further arguments to a raw latent.
fn encode(input: &Path, out: &Path, more: &[&str]) -> Array {
    let (input, target) = (text(input), text(out));
    let fixed = ["encode", &input, "--vae", "demo:base", "-o", &target];
    run(&[&fixed[..], more].concat()).ok();
    read(out, "latent_tensor")
}

#[test]
fn a_folder_of_frames_is_the_clip_that_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let [frames, array] = ["frames", "clip.safetensors"].map(|name| folder.path().join(name));
    decode(&frames);
    decode(&array);
    let count = entries(&frames).len();
    assert_eq!(read(&array, "pixels").shape()[2], count);
    let latent = |input: &Path, more: &[&str]| encode(input, &folder.path().join("x.latent"), more);
    let (as_clip, as_array) = (latent(&frames, &["--clip"]), latent(&array, &[]));
    assert_eq!(as_clip.shape()[2], 1 + (count - 1) / 4);
    assert_close("frames", &as_clip, &as_array, SIXTEEN_BITS);
    // Frames that fill no latent frame are left out.
    std::fs::remove_file(frames.join(entries(&frames).last().unwrap())).unwrap();
    let shorter = latent(&frames, &["--clip"]);
    assert_eq!(shorter.shape()[2], as_clip.shape()[2] - 1);
    // Without the option, each frame is an image.
    let images = folder.path().join("images");
    let (from, to) = (text(&frames), text(&images));
    run(&["encode", &from, "--vae", "demo:base", "-o", &to]).ok();
    assert_eq!(entries(&images).len(), count - 1);
}

#[test]
fn a_frame_of_another_size_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    std::fs::create_dir(&frames).unwrap();
    for (name, width) in [("1.png", 32), ("2.png", 32), ("10.png", 40)] {
        let image = Array::zeros([3, 16, width]);
        write_image(&frames.join(name), &image, &PictureOptions::default()).unwrap();
    }
    let (from, out) = (text(&frames), folder.path().join("x.latent"));
    let args = ["encode", &from, "--clip", "--vae", "demo:base", "-o"];
    let message = run(&[&args[..], &[&text(&out)]].concat()).fails(1);
    for fact in ["10.png", "32x16", "40x16"] {
        assert!(message.contains(fact), "{message}");
    }
    assert!(!out.exists());
}
