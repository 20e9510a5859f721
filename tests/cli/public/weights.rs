//! Weight files as people have them: 8-bit floats, prefixes, bundles. Their values are worked out here from the files' bytes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::write::{Entry, write_arrays, write_safetensors};
use vae2x_core::weights::{DType, TensorFile, Weights};
use vae2x_core::{Array, VaeConfig, arch};

use crate::support::{fixture, run, text};

/// A file of `tests/data/public/weights`.
fn public(name: &str) -> String {
    let root = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/data/public/weights"
    );
    let path = PathBuf::from(root).join(name);
    assert!(path.exists(), "{} is missing", path.display());
    text(&path)
}

fn info(file: &str) -> Value {
    serde_json::from_str(&run(&["info", file, "--json"]).ok()).unwrap()
}

/// The values of a tensor of 8-bit floats, times its scale if it has one; those of others.
fn values(file: &TensorFile, name: &str) -> Vec<f32> {
    let (dtype, _, bytes) = file.read_bytes(name).unwrap();
    let (bits, bias) = match dtype {
        DType::F8E4M3 => (3, 7),
        DType::F8E5M2 => (2, 15),
        _ => return file.read(name).unwrap().into_data(),
    };
    let layer = name.strip_suffix("weight").unwrap_or("none.");
    let scales = ["scale_weight", "weight_scale"].map(|last| format!("{layer}{last}"));
    let scale = scales.iter().find_map(|s| file.read(s).ok());
    let scale = scale.map_or(1.0, |s| s.data()[0]);
    let value = |code: &u8| {
        let (exponent, mantissa) = (
            i32::from(code & 0x7F) >> bits,
            i32::from(*code) % (1 << bits),
        );
        let fraction = f64::from(mantissa) / f64::from(1 << bits);
        let size = match exponent {
            0 => fraction * 2f64.powi(1 - bias),
            _ => (1.0 + fraction) * 2f64.powi(exponent - bias),
        };
        (if code & 0x80 == 0 { size } else { -size }) as f32 * scale
    };
    bytes.iter().map(value).collect()
}

/// Converts a file to 32 bits and asserts that it has the model's tensors alone, each with its exact values.
fn assert_converts(file: &str, prefix: &str) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let layout = ["--layout", "original", "--dtype", "f32"];
    run(&[&["convert", file, "-o", &text(&out)], &layout[..]].concat()).ok();
    let given = TensorFile::open(Path::new(file)).unwrap();
    let written = TensorFile::open(&out).unwrap();
    assert_eq!(written.tensors().len(), 194, "{file}");
    for (name, info) in written.tensors() {
        assert_eq!(info.dtype, DType::F32);
        let expected = values(&given, &format!("{prefix}{name}"));
        assert!(
            written.read(name).unwrap().data() == expected,
            "{file}: {name}"
        );
    }
}

#[test]
fn files_of_8_bit_floats_have_their_values() {
    for (kind, other) in [("F8_E4M3", "f8_e4m3"), ("F8_E5M2", "f8_e5m2")] {
        for (form, counts, scaled) in [
            ("plain_", json!({ kind: 194 }), 0),
            ("mixed_", json!({ "BF16": 123, kind: 71 }), 0),
            ("scaled_comfy_", json!({ "BF16": 123, kind: 71 }), 71),
            ("scaled_diffusers_", json!({ "BF16": 123, kind: 71 }), 71),
        ] {
            let end = if form == "mixed_" {
                "_bf16.safetensors"
            } else {
                ".safetensors"
            };
            let file = public(&format!("{form}{other}{end}"));
            let report = info(&file);
            assert_eq!(report["tensors_by_dtype"], counts, "{file}");
            assert_eq!(report["scaled_tensors"], scaled, "{file}");
            assert!(report["ignored_tensors"].is_null(), "{report}");
            assert_converts(&file, "");
        }
    }
}

/// Without a type, what is written has values as they are: bf16 holds those of 8-bit floats, f32 scaled ones.
#[test]
fn a_converted_file_keeps_values_where_no_type_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (file, kernels) in [
        ("plain_f8_e4m3.safetensors", DType::BF16),
        ("scaled_comfy_f8_e5m2.safetensors", DType::F32),
    ] {
        let file = public(file);
        run(&["convert", &file, "-o", &text(&out), "--layout", "diffusers"]).ok();
        let given = TensorFile::open(Path::new(&file)).unwrap();
        let written = out.join("diffusion_pytorch_model.safetensors");
        let written = TensorFile::open(&written).unwrap();
        assert_eq!(written.tensors().len(), 194);
        let info = &written.tensors()["decoder.conv_in.weight"];
        assert_eq!(info.dtype, kernels);
        let read = written.read("decoder.conv_in.weight").unwrap();
        assert!(read.data() == values(&given, "decoder.conv1.weight"));
    }
}

/// A latent of 4x4 cells.
fn some_latent(folder: &Path) -> PathBuf {
    let path = folder.join("latent.safetensors");
    let values = (0..16 * 16).map(|i| (i as f32 * 0.37).sin()).collect();
    let array = Array::new([1, 16, 1, 4, 4], values).unwrap();
    write_arrays(&path, &[("latent", &array)], &Default::default()).unwrap();
    path
}

/// The bytes of an image that a model decodes.
fn decoded(vae: &str, folder: &Path) -> Vec<u8> {
    let (latent, out) = (some_latent(folder), folder.join("out.png"));
    let args = ["--vae", vae, "--latent-space", "raw"];
    run(&[&["decode", &text(&latent), "-o", &text(&out)], &args[..]].concat()).ok();
    std::fs::read(out).unwrap()
}

#[test]
fn a_scaled_file_decodes_as_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.safetensors");
    for file in [
        "scaled_comfy_f8_e4m3.safetensors",
        "plain_f8_e5m2.safetensors",
    ] {
        let file = public(file);
        let layout = ["--layout", "original", "--dtype", "f32"];
        run(&[&["convert", &file, "-o", &text(&plain)], &layout[..]].concat()).ok();
        let images = [&file, &text(&plain)].map(|vae| decoded(vae, folder.path()));
        assert!(images[0] == images[1], "{file}");
    }
}

#[test]
fn a_vae_in_a_bundle_is_judged_alone() {
    for file in [
        "aio_clip_vision.safetensors",
        "aio_mxfp8_scales.safetensors",
    ] {
        let file = public(file);
        let report = info(&file);
        assert_eq!(
            (&report["prefix"], &report["dtype"]),
            (&"vae.".into(), &"BF16".into())
        );
        assert_eq!(report["tensors_by_dtype"], json!({"BF16": 194}));
        let ignored = &report["ignored_tensors"];
        assert!(ignored["model."].as_u64() >= Some(1), "{report}");
        assert_converts(&file, "vae.");
        let folder = tempfile::tempdir().unwrap();
        decoded(&file, folder.path());
        let lines = run(&["info", &file]).ok();
        assert!(lines.contains("ignored tensors:\n  model.: "), "{lines}");
    }
}

#[test]
fn a_prefix_before_all_names_is_found() {
    for (file, prefix) in [
        ("prefix_model.safetensors", "model."),
        ("prefix_module.pth", "module."),
        ("ref_bf16.safetensors", ""),
    ] {
        let file = public(file);
        assert_eq!(info(&file)["prefix"], prefix);
        assert_converts(&file, prefix);
    }
}

#[test]
fn files_that_the_format_forbids_are_refused_with_the_reason() {
    for (file, reason) in [
        (
            "tail_8_zero_bytes.safetensors",
            "bytes follow the last tensor",
        ),
        ("meta_number.safetensors", "expected a string"),
    ] {
        let error = run(&["info", &public(file)]).fails(1);
        assert!(error.contains(reason) && error.contains(file), "{error}");
    }
}

/// Copies a file's tensors and adds others of one element, or of a type that is not read.
fn with_extras(from: &str, to: &Path, extras: &[&str]) {
    let given = TensorFile::open(Path::new(from)).unwrap();
    let entry = |name: &str, dtype, shape: &[usize]| Entry {
        name: name.into(),
        dtype,
        shape: shape.into(),
    };
    let kept = given.tensors().iter();
    let mut entries: Vec<_> = kept.map(|(n, i)| entry(n, i.dtype, &i.shape)).collect();
    entries.extend(extras.iter().map(|name| entry(name, DType::F32, &[1])));
    write_safetensors(to, &entries, &Default::default(), |entry| {
        match given.tensors().contains_key(&entry.name) {
            true => given.read_bytes(&entry.name).map(|read| read.2),
            false => Ok(vec![0; 4]),
        }
    })
    .unwrap();
}

#[test]
fn what_stands_beside_the_model_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.safetensors");
    let extras = ["step", "loss.logvar", "mean", "std", "model_ema.decay"];
    with_extras(&public("ref_bf16.safetensors"), &file, &extras);
    let said = run(&["info", &text(&file)]).ok_stderr();
    assert!(
        said.contains("5 tensors beside the VAE's ignored: 'loss.logvar'"),
        "{said}"
    );
    let ignored = &info(&text(&file))["ignored_tensors"];
    assert_eq!(ignored["loss."], 1, "{ignored}");
    assert!(decoded(&text(&file), folder.path()).len() > 100);
    with_extras(&public("ref_bf16.safetensors"), &file, &["decoder.extra"]);
    let refused = run(&["info", &text(&file)]).fails(1);
    assert!(refused.contains("'decoder.extra'"), "{refused}");
}

#[test]
fn info_says_which_decoder_and_whether_there_is_an_encoder() {
    for (file, decoder) in [
        ("vae_tiny_up2x/original.safetensors", "2x"),
        ("vae_tiny_base/diffusers", "base"),
    ] {
        let report = info(&fixture(file));
        assert_eq!(
            (&report["decoder"], &report["encoder"]),
            (&decoder.into(), &true.into())
        );
        assert!(report["known_as"].is_null());
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.safetensors");
    write_formula(&file, &VaeConfig::with_widths(2, 48), |name| {
        !name.starts_with("encoder.")
    });
    let report = info(&text(&file));
    assert_eq!(
        (&report["decoder"], &report["encoder"]),
        (&"4x".into(), &false.into())
    );
}

/// A model by formula; tensors for which `is_kept` does not hold are zeros.
fn write_formula(path: &Path, config: &VaeConfig, is_kept: impl Fn(&str) -> bool) {
    let weights = FormulaWeights::new(config.clone());
    let specs = arch::tensors(config);
    let array = |spec: &arch::TensorSpec| match is_kept(&spec.name) {
        true => weights.tensor(spec).unwrap(),
        false => Array::zeros(spec.shape.clone()),
    };
    let arrays: Vec<_> = specs.iter().map(|s| (s.name.as_str(), array(s))).collect();
    let arrays: Vec<_> = arrays.iter().map(|(name, array)| (*name, array)).collect();
    write_arrays(path, &arrays, &Default::default()).unwrap();
}

/// LightVAE: Wan2.1's names, a quarter of its widths, in 32 bits.
#[test]
fn a_model_of_a_quarter_of_the_width_decodes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lightvae.safetensors");
    write_formula(&file, &VaeConfig::with_widths(24, 3), |_| true);
    let report = info(&text(&file));
    assert_eq!(report["config"]["encoder_base_dim"], 24);
    assert_eq!(report["config"]["decoder_base_dim"], 24);
    assert_eq!(report["parameters"], 8_035_003);
    assert!(decoded(&text(&file), folder.path()).len() > 100);
}

#[test]
fn other_models_of_the_family_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.safetensors");
    let refused = |tensors: &[(&str, &[usize])]| {
        let arrays: Vec<_> = tensors
            .iter()
            .map(|(n, s)| (*n, Array::zeros(*s)))
            .collect();
        let arrays: Vec<_> = arrays.iter().map(|(n, a)| (*n, a)).collect();
        write_arrays(&file, &arrays, &Default::default()).unwrap();
        let latent = text(&some_latent(folder.path()));
        let said = run(&["decode", &latent, "-o", "x.png", "--vae", &text(&file)]).fails(1);
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        said
    };
    let wan22 = refused(&[
        ("decoder.head.0.gamma", &[256, 1, 1, 1]),
        ("conv2.weight", &[48, 48, 1, 1, 1]),
        ("decoder.upsamples.0.upsamples.0.residual.2.weight", &[1]),
    ]);
    assert!(wan22.contains("Wan2.2 5B (48 latent channels)"), "{wan22}");
    let qwen21 = refused(&[
        ("decoder.norm_out.gamma", &[144, 1, 1, 1]),
        ("post_quant_conv.weight", &[64, 64, 1, 1]),
        ("decoder.up_blocks.0.upsampler.resample.1.bias", &[1]),
    ]);
    assert!(
        qwen21.contains("Qwen-Image 2.1 (64 latent channels)"),
        "{qwen21}"
    );
    let taehv = refused(&[
        ("decoder.1.weight", &[256, 16, 3, 3]),
        ("encoder.0.weight", &[64, 3, 3, 3]),
    ]);
    assert!(
        taehv.contains("tiny autoencoder (TAE, taehv, LightTAE)"),
        "{taehv}"
    );
}

#[test]
fn latents_of_other_models_of_the_family_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.safetensors");
    for (shape, model) in [
        (&[1, 64, 4, 6][..], "Qwen-Image 2.1's"),
        (&[1, 64, 1, 4, 6], "Qwen-Image 2.1's"),
        (&[64, 4, 6], "Qwen-Image 2.1's"),
        (&[1, 48, 5, 4, 6], "Wan2.2-5B's"),
    ] {
        let array = Array::zeros(shape);
        write_arrays(&file, &[("latent", &array)], &Default::default()).unwrap();
        let said = run(&["decode", &text(&file), "-o", "x.png", "--vae", "demo:base"]).fails(1);
        assert!(said.contains(model), "{said}");
    }
    let frames_first = Array::zeros([1, 64, 16, 2, 2]);
    write_arrays(&file, &[("latent", &frames_first)], &Default::default()).unwrap();
    assert_eq!(info(&text(&file))["latent_frames"], 64);
}
