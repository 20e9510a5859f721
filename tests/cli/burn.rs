//! The reference device: memory that bands keep to, and precisions.

use std::path::Path;

use vae2x_core::Array;
use vae2x_testkit::compare::assert_close;
use vae2x_testkit::tolerance;

use crate::support::{fixture, read, run, text, write_safetensors};

#[test]
fn little_memory_means_bands_or_an_estimate() {
    let folder = tempfile::tempdir().unwrap();
    let frame = fixture("data/wan_cheesecake_frame0.latent");
    let decode = |device: &str, memory: &str| {
        let out = folder.path().join(format!("{memory}.npy"));
        let run = run(&[
            "decode",
            &frame,
            "--vae",
            "demo:2x",
            "--device",
            device,
            "--memory",
            memory,
            "-o",
            &text(&out),
        ]);
        (run, out)
    };
    let pixels = |(run, out): (crate::support::Run, std::path::PathBuf)| {
        run.ok();
        read(Path::new(&out), "")
    };
    let whole = pixels(decode("burn", "16GiB"));
    assert_close(
        "in bands",
        &pixels(decode("burn", "48MiB")),
        &whole,
        tolerance::BANDS_F32,
    );
    let message = decode("burn", "4MiB").0.fails(1);
    assert!(message.contains("64x40"), "{message}");
    decode("cpu", "4MiB").0.fails(1);
}

#[test]
fn dtype_is_the_decoders_and_the_encoders_only_where_it_is_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    let values = (0..16 * 6 * 5)
        .map(|i| (i as f32 * 12.9898).sin())
        .collect();
    write_safetensors(
        &folder.path().join("latent.safetensors"),
        "latent",
        &Array::new([1, 16, 1, 6, 5], values).unwrap(),
    );
    let burn = |command: &str, from: &str, to: &str, dtype: &str| {
        let (from, out) = (path(from), path(to));
        let fixed = [
            "--vae",
            "demo:2x",
            "--device",
            "burn",
            "--latent-space",
            "raw",
            "-o",
            &out,
            "--dtype",
            dtype,
        ];
        run(&[&[command, &from], &fixed[..]].concat()).ok();
        read(
            Path::new(&out),
            if command == "decode" {
                "pixels"
            } else {
                "latents"
            },
        )
    };
    let got = burn("hires", "latent.safetensors", "hires.safetensors", "bf16");
    burn("decode", "latent.safetensors", "pixels.safetensors", "bf16");
    let want = burn("encode", "pixels.safetensors", "f32.safetensors", "f32");
    assert_close(
        "decoded in bf16, encoded in f32",
        &got,
        &want,
        tolerance::PROGRAM_F32,
    );
    assert_ne!(
        burn("encode", "pixels.safetensors", "bf16.safetensors", "bf16").data(),
        want.data()
    );
}
