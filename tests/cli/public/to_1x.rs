//! `convert --to-1x`: a 2x decoder as the plain file that programs with 3 channels take.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use vae2x_core::Array;

use crate::support::{fixture, read, run, text};

/// Names and shapes as a reader sees them that knows nothing of this program: the header's JSON.
fn header(path: &Path) -> BTreeMap<String, Value> {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let tensors = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__");
    tensors
        .map(|(name, v)| (name, v["shape"].clone()))
        .collect()
}

fn info(file: &Path) -> Value {
    serde_json::from_str(&run(&["info", &text(file), "--json"]).ok()).unwrap()
}

/// Decodes a latent of the fixtures to an array.
fn decode(vae: &str, out: &Path) -> Array {
    let cases = fixture("vae_tiny_up2x/cases.safetensors");
    let latent = ["--key", "decode.wide.latent", "--latent-space", "raw"];
    let to = ["--vae", vae, "--device", "cpu", "-o", &text(out)];
    run(&[&["decode", &cases][..], &latent, &to].concat()).ok();
    read(out, "pixels")
}

#[test]
fn a_folded_file_is_a_plain_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (layout, out) in [
        ("original", "o.safetensors"),
        ("2d", "2d.safetensors"),
        ("diffusers", "d"),
    ] {
        let to = |path: &Path| ["-o", &text(path), "--layout", layout].map(String::from);
        let convert = |args: &[&str], path: &Path| {
            let args = args.iter().map(|a| a.to_string());
            let all: Vec<String> = ["convert".into()].into_iter().chain(args).collect();
            run(&[all, to(path).to_vec()].concat()).ok();
        };
        let base = at(&format!("base_{out}"));
        convert(&["demo:2x", "--to-1x"], &at(out));
        convert(&["demo:base"], &base);
        let file = |path: &Path| match path.is_dir() {
            true => path.join("diffusion_pytorch_model.safetensors"),
            false => path.to_path_buf(),
        };
        assert_eq!(header(&file(&at(out))), header(&file(&base)), "{layout}");
        let report = info(&at(out));
        assert_eq!(report["scale"], 1, "{report}");
        assert_eq!(report["config"]["out_channels"], 3, "{report}");
        assert_eq!(report["dtype"], info(&base)["dtype"], "{report}");
    }
    let config = std::fs::read_to_string(at("d").join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        (&config["out_channels"], &config["in_channels"]),
        (&3.into(), &3.into())
    );
}

#[test]
fn a_folded_decoder_gives_the_mean_of_each_block() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let folded = at("1x.safetensors");
    let source = fixture("vae_tiny_up2x/original.safetensors");
    let to = ["-o", &text(&folded), "--layout", "original", "--to-1x"];
    run(&[&["convert", &source][..], &to].concat()).ok();
    let large = decode(&source, &at("2x_pixels.safetensors"));
    let small = decode(&text(&folded), &at("1x_pixels.safetensors"));
    let (h, w) = (small.shape()[3], small.shape()[4]);
    assert_eq!(large.shape(), [1, 3, 1, 2 * h, 2 * w]);
    let mut compared = 0;
    for (i, value) in small.data().iter().enumerate() {
        let (row, x) = (i / w, i % w);
        let block = [(0, 0), (0, 1), (1, 0), (1, 1)]
            .map(|(i, j)| large.data()[(2 * row + i) * 2 * w + 2 * x + j]);
        // Where the program has clamped a value, the mean is another.
        if block.iter().all(|v| v.abs() < 1.0) {
            let mean = block.iter().sum::<f32>() / 4.0;
            assert!((value - mean).abs() < 1e-5, "{i}: {value}, {mean}");
            compared += 1;
        }
    }
    assert!(compared > small.data().len() / 2, "{compared}");
}

#[test]
fn the_encoder_of_another_file_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let (source, base) = (
        fixture("vae_tiny_up2x/original.safetensors"),
        fixture("vae_tiny_base/diffusers"),
    );
    let convert = |from: &str, out: &str| {
        let to = ["-o", out, "--layout", "original", "--to-1x"];
        run(&[&["convert", &source, "--encoder-from", from][..], &to].concat())
    };
    convert(&base, &at("1x.safetensors")).ok();
    let tensor = |path: &str, name: &str| read(Path::new(path), name);
    let original = fixture("vae_tiny_base/original.safetensors");
    for name in ["encoder.conv1.weight", "conv1.bias"] {
        assert_eq!(tensor(&at("1x.safetensors"), name), tensor(&original, name));
    }
    assert_eq!(
        tensor(&at("1x.safetensors"), "decoder.conv1.weight"),
        tensor(&source, "decoder.conv1.weight")
    );
    let message = convert("demo:base", &at("no.safetensors")).fails(2);
    assert!(
        message.contains("demo:base: this encoder does not fit"),
        "{message}"
    );
    let message = convert(
        &text(&folder.path().join("1x.safetensors")),
        &at("1x.safetensors"),
    );
    assert!(message.fails(2).contains("would overwrite an input"));
}

#[test]
fn what_is_at_1x_already_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("x.safetensors"));
    let to = ["convert", "demo:base", "-o", &out, "--layout", "original"];
    let message = run(&[&to[..], &["--to-1x"]].concat()).fails(1);
    assert!(
        message.contains("demo:base") && message.contains("it is a base decoder already"),
        "{message}"
    );
    let message = run(&[&to[..], &["--to-1x", "--to-2x"]].concat()).fails(2);
    assert!(message.contains("--to-2x"), "{message}");
}
