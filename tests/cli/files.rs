//! `info`, `preview` and `convert`.

use std::path::Path;

use vae2x_core::weights::{TensorFile, VaeWeights, Weights};
use vae2x_core::{Array, arch};
use vae2x_testkit::compare::{assert_close, assert_same};

use crate::support::{entries, fixture, read, run, text};

const ORIGINAL: &str = "vae_tiny_up2x/original.safetensors";

fn info(file: &str) -> serde_json::Value {
    serde_json::from_str(&run(&["info", file, "--json"]).ok()).unwrap()
}

#[test]
fn info_tells_weights() {
    for (file, layout, dtype, scale) in [
        (ORIGINAL, "original", "F32", 2),
        ("vae_tiny_up2x/original_bf16.pth", "original", "BF16", 2),
        ("vae_tiny_base/diffusers", "diffusers", "F32", 1),
    ] {
        let report = info(&fixture(file));
        assert_eq!(report["kind"], "weights", "{file}");
        assert_eq!(report["layout"], layout, "{file}");
        assert_eq!(report["dtype"], dtype, "{file}");
        assert_eq!(report["scale"], scale, "{file}");
        assert_eq!(report["config"]["decoder_base_dim"], 8, "{file}");
        assert!(
            report["parameters"].as_u64().is_some_and(|p| p > 500_000),
            "{report}"
        );
    }
    assert!(run(&["info", "demo:2x"]).ok().contains("layout: original"));
}

#[test]
fn info_tells_raw_from_normalized() {
    let normalized = info(&fixture("data/wan_cheesecake_normalized.safetensors"));
    assert_eq!(
        (&normalized["space"], &normalized["frames"]),
        (&"normalized".into(), &61.into())
    );
    assert_eq!(normalized["shape"], serde_json::json!([1, 16, 16, 40, 64]));
    let raw = info(&fixture("data/wan_cheesecake_frame0.latent"));
    assert_eq!((&raw["space"], &raw["frames"]), (&"raw".into(), &1.into()));
    assert!(
        raw["space_why"]
            .as_str()
            .is_some_and(|w| w.contains("ComfyUI")),
        "{raw}"
    );
}

#[test]
fn a_preview_is_the_cheesecake() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p.png");
    run(&[
        "preview",
        &fixture("data/wan_cheesecake_frame0.latent"),
        "-o",
        &text(&out),
    ])
    .ok();
    let picture = vae2x_media::picture::read_image(&out).unwrap().pixels;
    assert_eq!(picture.shape(), [3, 320, 512]);
    // Means of 32x32 pixels in 8-bit steps: leaves are green, the sauce is red, the cake is pale yellow.
    let colour = |y: usize, x: usize| {
        [0, 1, 2].map(|c| {
            let sum: f32 = (0..1024)
                .map(|i| picture.data()[(c * 320 + y + i / 32) * 512 + x + i % 32])
                .sum();
            (sum / 1024.0 + 1.0) * 127.5
        })
    };
    let [r, g, b] = colour(85, 130);
    assert!(g > r && g > b, "leaf {r} {g} {b}");
    let [r, g, b] = colour(70, 290);
    assert!(r > 1.5 * g && r > 1.5 * b, "berry {r} {g} {b}");
    let [r, g, b] = colour(190, 360);
    assert!(r > 180.0 && g > 150.0 && b < g, "cake {r} {g} {b}");

    let frames = folder.path().join("frames");
    run(&[
        "preview",
        &fixture("data/wan_cheesecake_normalized.safetensors"),
        "-o",
        &text(&frames),
    ])
    .ok();
    assert_eq!(entries(&frames).len(), 16);
}

/// Names, types, shapes and bytes of every tensor.
fn contents(path: &Path) -> Vec<(String, String, Vec<usize>, Vec<u8>)> {
    let file = TensorFile::open(path).unwrap();
    let read = |name: &String| {
        let (dtype, shape, bytes) = file.read_bytes(name).unwrap();
        (name.clone(), dtype.to_string(), shape, bytes)
    };
    file.tensors().keys().map(read).collect()
}

#[test]
fn layouts_round_trip_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let original = fixture(ORIGINAL);
    run(&[
        "convert",
        &original,
        "-o",
        &at("diffusers"),
        "--layout",
        "diffusers",
    ])
    .ok();
    run(&[
        "convert",
        &at("diffusers"),
        "-o",
        &at("back.safetensors"),
        "--layout",
        "original",
    ])
    .ok();
    assert!(contents(Path::new(&original)) == contents(Path::new(&at("back.safetensors"))));
    assert!(
        contents(
            &folder
                .path()
                .join("diffusers/diffusion_pytorch_model.safetensors")
        ) == contents(&vae2x_testkit::fixture(
            "vae_tiny_up2x/diffusers/diffusion_pytorch_model.safetensors"
        ))
    );

    run(&[
        "convert",
        &original,
        "-o",
        &at("2d.safetensors"),
        "--layout",
        "2d",
    ])
    .ok();
    run(&[
        "convert",
        &at("2d.safetensors"),
        "-o",
        &at("from_2d.safetensors"),
        "--layout",
        "original",
    ])
    .ok();
    run(&[
        "convert",
        &at("from_2d.safetensors"),
        "-o",
        &at("2d_again.safetensors"),
        "--layout",
        "2d",
    ])
    .ok();
    assert!(
        contents(Path::new(&at("2d.safetensors")))
            == contents(Path::new(&at("2d_again.safetensors")))
    );
    let cases = fixture("vae_tiny_up2x/cases.safetensors");
    let decode = |vae: &str, out: &str| {
        let key = "decode.image.latent";
        run(&[
            "decode",
            &cases,
            "--vae",
            vae,
            "--key",
            key,
            "--latent-space",
            "raw",
            "-o",
            &at(out),
        ])
        .ok();
        read(Path::new(&at(out)), "pixels")
    };
    let want = decode(&original, "a.safetensors");
    assert_same("2d", &decode(&at("2d.safetensors"), "b.safetensors"), &want);
    assert_same(
        "from 2d",
        &decode(&at("from_2d.safetensors"), "c.safetensors"),
        &want,
    );
    let clip = [
        "decode",
        &cases,
        "--key",
        "decode.clip.latent",
        "--latent-space",
        "raw",
        "-o",
        &at("d.safetensors"),
        "--vae",
    ];
    let message = run(&[&clip[..], &[&at("2d.safetensors")]].concat()).fails(1);
    assert!(message.contains("cases.safetensors"), "{message}");
    run(&[&clip[..], &[&at("from_2d.safetensors")]].concat()).ok();
}

#[test]
fn precisions_are_written_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    for (dtype, name) in [("bf16", "BF16"), ("f16", "F16"), ("f32", "F32")] {
        let out = text(&folder.path().join(format!("{dtype}.safetensors")));
        run(&[
            "convert",
            &fixture(ORIGINAL),
            "-o",
            &out,
            "--layout",
            "original",
            "--dtype",
            dtype,
        ])
        .ok();
        assert_eq!(info(&out)["dtype"], name);
    }
    let (want, got) = (
        vae2x_testkit::fixture(ORIGINAL),
        folder.path().join("f32.safetensors"),
    );
    assert!(contents(&want) == contents(&got));
}

#[test]
fn to_2x_is_nearest_neighbour() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let base = fixture("vae_tiny_base/original.safetensors");
    run(&[
        "convert",
        &base,
        "-o",
        &at("2x.safetensors"),
        "--layout",
        "original",
        "--to-2x",
    ])
    .ok();
    let cases = fixture("vae_tiny_base/cases.safetensors");
    let decode = |vae: &str, out: &str| {
        let args = [
            "decode",
            &cases,
            "--key",
            "decode.wide.latent",
            "--latent-space",
            "raw",
            "--vae",
            vae,
            "-o",
            &at(out),
        ];
        run(&args).ok();
        read(Path::new(&at(out)), "pixels")
    };
    let (small, large) = (
        decode(&base, "a.safetensors"),
        decode(&at("2x.safetensors"), "b.safetensors"),
    );
    let (h, w) = (small.shape()[3], small.shape()[4]);
    assert_eq!(large.shape(), [1, 3, 1, 2 * h, 2 * w]);
    let nearest = |i: usize| {
        let (c, y, x) = (i / (4 * h * w), i / (2 * w) % (2 * h), i % (2 * w));
        small.data()[(c * h + y / 2) * w + x / 2]
    };
    let want = Array::new(
        large.shape(),
        (0..large.data().len()).map(nearest).collect(),
    )
    .unwrap();
    // Equal but for the order in which a matrix product of 12 columns sums, against one of 3.
    assert_close("2x of the base decoder", &large, &want, 1e-6);
    let message = run(&[
        "convert",
        &fixture(ORIGINAL),
        "-o",
        &at("x.safetensors"),
        "--layout",
        "original",
        "--to-2x",
    ])
    .fails(1);
    assert!(message.contains(" 12 "), "{message}");
}

#[test]
fn latent_statistics_survive_conversion() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    run(&[
        "convert",
        "demo:2x",
        "-o",
        &text(&at("d")),
        "--layout",
        "diffusers",
    ])
    .ok();
    run(&[
        "convert",
        &text(&at("d")),
        "-o",
        &text(&at("o.safetensors")),
        "--layout",
        "original",
    ])
    .ok();
    for path in [at("d"), at("o.safetensors")] {
        let weights = VaeWeights::open(&path).unwrap();
        assert_eq!(weights.config().latents_mean[0], -0.4452);
        assert_eq!(weights.config().latents_std[15], 1.6824);
        assert_eq!(arch::tensors(weights.config()).len(), 194);
    }
}
