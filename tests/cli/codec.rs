//! Decoding and encoding: the goldens through the program, every output format, invalid command lines.

use std::path::Path;

use vae2x_core::Array;
use vae2x_core::latent::guess;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_testkit::compare::assert_close;
use vae2x_testkit::tolerance;

use crate::support::{entries, fixture, read, run, text, write_safetensors};

const DECODE: [&str; 5] = ["clip", "clip2", "image", "odd", "wide"];
const ENCODE: [&str; 4] = ["clip5", "clip9", "odd", "square"];

/// The program's pixels of a fixture's latent.
fn decode(folder: &Path, vae: &str, cases: &str, name: &str, space: &str) -> Array {
    let out = folder.join(format!("{name}.safetensors"));
    let key = if space == "raw" {
        "latent"
    } else {
        "latent_normalized"
    };
    let key = format!("decode.{name}.{key}");
    run(&[
        "decode",
        cases,
        "--vae",
        vae,
        "-o",
        &text(&out),
        "--key",
        &key,
        "--latent-space",
        space,
    ])
    .ok();
    read(&out, "pixels")
}

/// All cases of the fixture `model` from the weights `file` of it.
fn check(model: &str, file: &str, tolerance: f64) {
    let folder = tempfile::tempdir().unwrap();
    let cases = fixture(&format!("{model}/cases.safetensors"));
    let vae = fixture(&format!("{model}/{file}"));
    for name in DECODE {
        let want = read(Path::new(&cases), &format!("decode.{name}.pixels"));
        for space in ["raw", "normalized"] {
            let got = decode(folder.path(), &vae, &cases, name, space);
            assert_close(
                &format!("{model} from {file}: {name}, {space}"),
                &got,
                &want,
                tolerance,
            );
        }
    }
    for name in ENCODE {
        check_encode(folder.path(), &vae, &cases, name, tolerance);
    }
}

fn check_encode(folder: &Path, vae: &str, cases: &str, name: &str, tolerance: f64) {
    let pixels = folder.join("pixels.safetensors");
    write_safetensors(
        &pixels,
        "pixels",
        &read(Path::new(cases), &format!("encode.{name}.pixels")),
    );
    for (space, file, tensor, golden) in [
        ("raw", "latent.latent", "latent_tensor", "latent"),
        (
            "normalized",
            "latent.safetensors",
            "latents",
            "latent_normalized",
        ),
        ("raw", "latent.npy", "", "latent"),
    ] {
        let out = folder.join(file);
        run(&[
            "encode",
            &text(&pixels),
            "--vae",
            vae,
            "-o",
            &text(&out),
            "--latent-space",
            space,
        ])
        .ok();
        let want = read(Path::new(cases), &format!("encode.{name}.{golden}"));
        assert_close(
            &format!("{name} as {file}"),
            &read(&out, tensor),
            &want,
            tolerance,
        );
    }
}

#[test]
fn tiny_2x_original() {
    check(
        "vae_tiny_up2x",
        "original.safetensors",
        tolerance::PROGRAM_F32,
    );
}

#[test]
fn tiny_2x_diffusers() {
    check("vae_tiny_up2x", "diffusers", tolerance::PROGRAM_F32);
}

#[test]
fn tiny_2x_bf16_pth() {
    check(
        "vae_tiny_up2x",
        "original_bf16.pth",
        tolerance::BF16_WEIGHTS,
    );
}

#[test]
fn tiny_base() {
    check(
        "vae_tiny_base",
        "original.safetensors",
        tolerance::PROGRAM_F32,
    );
    check("vae_tiny_base", "diffusers", tolerance::PROGRAM_F32);
}

const FRAME: &str = "data/wan_cheesecake_frame0.latent";

#[test]
fn every_picture_format_holds_the_same_picture() {
    let folder = tempfile::tempdir().unwrap();
    let cases = fixture("vae_tiny_up2x/cases.safetensors");
    let vae = fixture("vae_tiny_up2x/original.safetensors");
    let want = decode(folder.path(), &vae, &cases, "image", "raw");
    let want = want.item(0).reshape([3, 128, 96]).unwrap();
    // Absolute error per pixel: half a step of the format, JPEG's loss, EXR's conversion to linear light and back.
    for (file, depth, tolerance) in [
        ("a.png", "8", 0.004),
        ("b.png", "16", 2e-5),
        ("c.webp", "8", 0.004),
        ("d.jpg", "8", 0.5),
        ("e.exr", "8", 1e-3),
    ] {
        let out = folder.path().join(file);
        let key = "decode.image.latent";
        let args = [
            "decode",
            &cases,
            "--vae",
            &vae,
            "--key",
            key,
            "--latent-space",
            "raw",
            "--bit-depth",
            depth,
            "-o",
        ];
        run(&[&args[..], &[&text(&out)]].concat()).ok();
        let got = vae2x_media::picture::read_image(&out).unwrap().pixels;
        assert_eq!(got.shape(), want.shape(), "{file}");
        let worst = got
            .data()
            .iter()
            .zip(want.data())
            .map(|(g, w)| (g - w).abs())
            .fold(0.0, f32::max);
        assert!(worst <= tolerance, "{file}: {worst}");
    }
    let out = folder.path().join("f.npy");
    run(&[
        "decode",
        &cases,
        "--vae",
        &vae,
        "--key",
        "decode.image.latent",
        "--latent-space",
        "raw",
        "-o",
        &text(&out),
    ])
    .ok();
    assert_eq!(read(&out, "").shape(), [1, 3, 1, 128, 96]);
}

#[test]
fn clips_and_batches_go_to_folders() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("frames");
    let cases = fixture("vae_tiny_up2x/cases.safetensors");
    let args = [
        "decode",
        &cases,
        &fixture(FRAME),
        "--vae",
        "demo:base",
        "-o",
        &text(&out),
        "--latent-space",
        "raw",
    ];
    // The key is not in the second file: the first is decoded all the same.
    let said = run(&[&args[..], &["--key", "decode.clip2.latent"]].concat()).fails(1);
    assert!(said.contains("1 of 2"), "{said}");
    assert!(entries(&out).iter().all(|name| name.starts_with("cases_")));
    std::fs::remove_dir_all(&out).unwrap();
    run(&[&args[..], &["--key", "none"]].concat()).fails(1);
    assert!(!out.exists(), "a folder made for a failed run goes again");
    run(&[
        "decode",
        &cases,
        "--vae",
        "demo:base",
        "-o",
        &text(&out),
        "--key",
        "decode.clip2.latent",
    ])
    .ok();
    assert_eq!(
        entries(&out),
        (0..5)
            .map(|i| format!("cases_{i:05}.png"))
            .collect::<Vec<_>>()
    );
    run(&[
        "decode",
        &fixture(FRAME),
        "--vae",
        "demo:base",
        "-o",
        &text(&out),
    ])
    .ok();
    assert_eq!(entries(&out).len(), 6);
    let message = run(&[
        "decode",
        &cases,
        "--vae",
        "demo:base",
        "-o",
        "x.png",
        "--key",
        "decode.clip2.latent",
    ])
    .fails(2);
    assert!(message.contains("x.png"), "{message}");
}

#[test]
fn photos_go_to_latents_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/photos/chelsea.png");
    let latents = folder.path().join("latents");
    let said = run(&["encode", photo, "--vae", "demo:2x", "-o", &text(&latents)]).ok_stderr();
    assert!(
        said.contains("451x300") && said.contains("448x296"),
        "{said}"
    );
    let latent = latents.join("chelsea.latent");
    assert_eq!(read(&latent, "latent_tensor").shape(), [1, 16, 1, 37, 56]);
    let padded = folder.path().join("padded.latent");
    let said = run(&[
        "encode",
        photo,
        "--vae",
        "demo:2x",
        "-o",
        &text(&padded),
        "--pad",
    ])
    .ok_stderr();
    assert!(
        said.contains("451x300") && said.contains("456x304"),
        "{said}"
    );
    assert_eq!(read(&padded, "latent_tensor").shape(), [1, 16, 1, 38, 57]);
    let back = folder.path().join("back.png");
    run(&[
        "decode",
        &text(&latent),
        "--vae",
        "demo:base",
        "-o",
        &text(&back),
    ])
    .ok();
    let back = vae2x_media::picture::read_image(&back).unwrap().pixels;
    assert_eq!(back.shape(), [3, 296, 448]);
    let photo = vae2x_media::picture::read_image(Path::new(photo))
        .unwrap()
        .pixels;
    // The centre of both, in 8-bit steps: a lossy model, but the same cat.
    let at = |p: &Array, y: usize, x: usize| p.data()[y * p.shape()[2] + x];
    let error: f32 = (0..296 * 448)
        .map(|i| (i / 448, i % 448))
        .map(|(y, x)| (at(&back, y, x) - at(&photo, y + 2, x + 1)).abs())
        .sum();
    assert!(
        error / (296.0 * 448.0) < 0.08,
        "{}",
        error / (296.0 * 448.0)
    );
}

#[test]
fn timings_are_written_as_promised() {
    let folder = tempfile::tempdir().unwrap();
    let (out, timings) = (folder.path().join("x.png"), folder.path().join("t.json"));
    let args = [
        "decode",
        &fixture(FRAME),
        "--vae",
        "demo:base",
        "--threads",
        "1",
        "-o",
        &text(&out),
        "--timings",
    ];
    run(&[&args[..], &[&text(&timings)]].concat()).ok();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&timings).unwrap()).unwrap();
    for key in ["load_s", "decode_s", "save_s"] {
        assert!(
            json[key].as_f64().is_some_and(|s| s >= 0.0),
            "{key} in {json}"
        );
    }
    assert!(
        json["peak_rss_bytes"].as_u64().is_some_and(|b| b > 1 << 20),
        "{json}"
    );
    assert_eq!(
        (json["threads"].as_u64(), json["pixels"].as_u64()),
        (Some(1), Some(320 * 512))
    );
    assert!(
        json["engine"].as_str().is_some_and(|e| !e.is_empty()),
        "{json}"
    );
}

#[test]
fn the_space_is_decided_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("x.png"));
    let said = run(&["decode", &fixture(FRAME), "--vae", "demo:base", "-o", &out]).ok_stderr();
    assert!(said.contains("raw"), "{said}");
    let doubtful = folder.path().join("doubtful.safetensors");
    write_safetensors(&doubtful, "x", &between_the_spaces());
    let said = run(&["decode", &text(&doubtful), "--vae", "demo:base", "-o", &out]).ok_stderr();
    assert!(
        said.contains("warning") && said.contains("--latent-space"),
        "{said}"
    );
    let said = run(&[
        "decode",
        &text(&doubtful),
        "--vae",
        "demo:base",
        "-o",
        &out,
        "--latent-space",
        "raw",
    ])
    .ok_stderr();
    assert!(!said.contains("warning"), "{said}");
}

/// Between the statistics of raw and of normalized latents of the demo model, the mixture that tells least.
fn between_the_spaces() -> Array {
    let weights = VaeWeights::open(&vae2x_testkit::demo_model("demo_base.safetensors")).unwrap();
    let config = weights.config();
    let mixture = |share: f32| {
        let value = |i: usize| {
            let (mean, std) = (config.latents_mean[i / 64], config.latents_std[i / 64]);
            share * mean + std.powf(share) * 0.7 * ((i % 64) as f32 * 0.7).sin()
        };
        Array::new([1, 16, 1, 8, 8], (0..16 * 64).map(value).collect()).unwrap()
    };
    let confidence = |latent: &Array| guess(latent, config).unwrap().confidence;
    let mixtures = (0..=200).map(|i| mixture(i as f32 / 200.0));
    mixtures
        .min_by(|a, b| confidence(a).total_cmp(&confidence(b)))
        .unwrap()
}

/// An npy file of one value.
pub fn npy(shape: &[usize], value: f32) -> Vec<u8> {
    let dims = shape.iter().map(|d| format!("{d}, ")).collect::<String>();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    header += &" ".repeat(63 - (10 + header.len()) % 64);
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(value.to_le_bytes().repeat(shape.iter().product()));
    file
}

#[test]
fn packed_qwen_latents_need_their_size() {
    let folder = tempfile::tempdir().unwrap();
    let (packed, out) = (
        folder.path().join("packed.npy"),
        text(&folder.path().join("x.png")),
    );
    std::fs::write(&packed, npy(&[1, 6, 64], 0.1)).unwrap();
    let args = [
        "decode",
        &text(&packed),
        "--vae",
        "demo:base",
        "--latent-space",
        "normalized",
        "-o",
        &out,
    ];
    let message = run(&args).fails(1);
    assert!(message.contains("--size"), "{message}");
    run(&[&args[..], &["--size", "32x48"]].concat()).ok();
    let picture = vae2x_media::picture::read_image(Path::new(&out))
        .unwrap()
        .pixels;
    assert_eq!(picture.shape(), [3, 32, 48]);
    let message = run(&[&args[..], &["--size", "64x48"]].concat()).fails(1);
    assert!(message.contains("packed.npy"), "{message}");
}
