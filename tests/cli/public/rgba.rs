//! Qwen-Image-Layered's VAE, whose images have opacity and whose latents hold layers.

use std::path::{Path, PathBuf};

use vae2x_core::Array;
use vae2x_media::opacity::split;
use vae2x_media::picture::{Opacity, PictureOptions, read_image_with, write_image};
use vae2x_media::pixels::{from_u8, to_u8};
use vae2x_testkit::compare::assert_close;

use crate::support::{entries, read, run, text};

/// A random model of two channels rounds more than a trained one.
const TOLERANCE: f64 = 1e-4;

const DECODED: &str = "rgba_layered_decoded.safetensors";

/// A file of `tests/data/public/weights`.
fn data(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/public/weights");
    path.join(name).canonicalize().unwrap()
}

fn weights() -> String {
    text(&data("rgba_layered.safetensors"))
}

/// Decodes the three layers of the fixture.
fn decode(vae: &str, out: &Path) -> String {
    let latent = ["--key", "latent", "--latent-space", "raw"];
    let to = ["--vae", vae, "--device", "cpu", "-o", &text(out)];
    run(&[&["decode", &text(&data(DECODED))][..], &latent, &to].concat()).ok_stderr()
}

fn encode(input: &Path, out: &Path) -> Array {
    let to = ["--vae", &weights(), "--device", "cpu", "-o", &text(out)];
    let raw = ["--latent-space", "raw"];
    run(&[&["encode", &text(input)][..], &to, &raw].concat()).ok();
    read(out, "latents")
}

#[test]
fn info_names_it() {
    let report = run(&["info", &weights()]).ok();
    for part in [
        "Qwen-Image-Layered's RGBA VAE",
        "scale: 1",
        "image channels: 4",
    ] {
        assert!(report.contains(part), "{report}");
    }
}

#[test]
fn layers_are_decoded_one_by_one_with_their_opacity() {
    let folder = tempfile::tempdir().unwrap();
    let array = folder.path().join("x.safetensors");
    decode(&weights(), &array);
    let want = read(&data(DECODED), "pixels");
    assert_eq!(want.shape(), [3, 4, 1, 40, 32]);
    let got = read(&array, "pixels");
    assert_close("layers", &got, &want, TOLERANCE);
    let images = folder.path().join("layers");
    decode(&weights(), &images);
    let names = entries(&images);
    assert_eq!(names.len(), 3, "{names:?}");
    for (layer, name) in names.iter().enumerate() {
        let image = read_image_with(&images.join(name), Opacity::Keep).unwrap();
        let layer = want.item(layer).reshape([4, 40, 32]).unwrap();
        let (colours, opacity) = split(layer).unwrap();
        let near = |got: &Array, want: &Array| {
            let pairs = got.data().iter().zip(want.data());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) <= 1.1 / 255.0
        };
        assert!(near(&image.pixels, &colours), "{name}");
        assert!(near(&image.opacity.unwrap(), &opacity.unwrap()), "{name}");
    }
}

#[test]
fn what_cannot_hold_opacity_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let one = folder.path().join("one.safetensors");
    let latent = read(&data(DECODED), "latent").item(0).narrow1(0..1);
    let latent = latent.reshape([1, 16, 1, 5, 4]).unwrap();
    crate::support::write_safetensors(&one, "latent", &latent);
    let out = folder.path().join("x.jpg");
    let to = ["--vae", &weights(), "--device", "cpu", "-o", &text(&out)];
    let raw = ["--latent-space", "raw"];
    let message = run(&[&["decode", &text(&one)][..], &to, &raw].concat()).ok_stderr();
    assert!(
        message.contains("JPEG does not store transparency"),
        "{message}"
    );
    let message = run(&["upscale", &text(&out), "--vae", &weights(), "-o", "x.png"]).fails(2);
    assert!(message.contains("has 4 output channels"), "{message}");
}

#[test]
fn images_are_encoded_with_their_opacity() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let first = read(&data(DECODED), "pixels").item(0);
    let frame = first.clone().reshape([1, 4, 1, 40, 32]).unwrap();
    crate::support::write_safetensors(&at("p.safetensors"), "pixels", &frame);
    let latent = encode(&at("p.safetensors"), &at("a.safetensors"));
    let want = read(&data(DECODED), "encoded");
    assert_close("encoded", &latent, &want, TOLERANCE);

    // A PNG holds the same as its samples in an array; one without opacity is opaque.
    let image = first.reshape([4, 40, 32]).unwrap();
    let samples = image.data().iter().map(|&v| from_u8(to_u8(v))).collect();
    let samples = Array::new([1, 4, 1, 40, 32], samples).unwrap();
    crate::support::write_safetensors(&at("s.safetensors"), "pixels", &samples);
    let want = encode(&at("s.safetensors"), &at("e.safetensors"));
    write_image(&at("p.png"), &image, &PictureOptions::default()).unwrap();
    let rounded = encode(&at("p.png"), &at("b.safetensors"));
    assert_close("from a PNG", &rounded, &want, TOLERANCE);
    let (colours, _) = split(image).unwrap();
    write_image(&at("rgb.png"), &colours, &PictureOptions::default()).unwrap();
    let opaque = encode(&at("rgb.png"), &at("c.safetensors"));
    let joined = vae2x_media::opacity::join(&colours, None).unwrap();
    write_image(&at("opaque.png"), &joined, &PictureOptions::default()).unwrap();
    assert_eq!(opaque, encode(&at("opaque.png"), &at("d.safetensors")));
    assert_ne!(opaque, rounded);
}

#[test]
fn a_clip_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    std::fs::create_dir(&frames).unwrap();
    let grey = Array::zeros([3, 16, 16]);
    for i in 0..5 {
        let path = frames.join(format!("{i}.png"));
        write_image(&path, &grey, &PictureOptions::default()).unwrap();
    }
    let out = text(&folder.path().join("x.latent"));
    let to = ["--vae", &weights(), "--device", "cpu", "-o", &out];
    let message = run(&[&["encode", "--clip", &text(&frames)][..], &to].concat()).fails(1);
    assert!(message.contains("Qwen-Image-Layered"), "{message}");
}

#[test]
fn sixteen_channels_are_four_at_2x() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let convert = |from: &str, out: &Path, args: &[&str]| {
        let to = ["-o", &text(out), "--layout", "diffusers"];
        run(&[&["convert", from][..], &to, args].concat()).ok();
    };
    convert(&weights(), &at("2x"), &["--to-2x"]);
    let report = run(&["info", &text(&at("2x"))]).ok();
    assert!(
        report.contains("scale: 2") && report.contains("out channels: 16"),
        "{report}"
    );
    convert(&text(&at("2x")), &at("1x"), &["--to-1x"]);
    let json = std::fs::read_to_string(at("1x").join("config.json")).unwrap();
    assert!(json.contains("\"input_channels\": 4"), "{json}");
    decode(&weights(), &at("a.safetensors"));
    decode(&text(&at("1x")), &at("b.safetensors"));
    let pixels = |name: &str| read(&at(name), "pixels");
    assert_eq!(pixels("a.safetensors"), pixels("b.safetensors"));
    decode(&text(&at("2x")), &at("c.safetensors"));
    assert_eq!(pixels("c.safetensors").shape(), [3, 4, 1, 80, 64]);
}
