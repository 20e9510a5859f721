//! Converting models between layouts, precisions and scales, there and back.

use std::path::Path;

use vae2x_core::arch::{self, TensorSpec};
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::weights::{
    ConvertOptions, DType, Layout, OutputScale, TensorFile, VaeWeights, Weights, convert,
    convert_with_encoder,
};
use vae2x_core::{Array, Error, VaeConfig};
use vae2x_testkit::{demo_model, fixture};

const KEEP: ConvertOptions = ConvertOptions {
    layout: Layout::Original,
    dtype: None,
    scale: OutputScale::Keep,
};

/// Converts and opens the result.
fn through(weights: &VaeWeights, options: ConvertOptions, out: &Path) -> VaeWeights {
    convert(weights, &options, out).unwrap();
    VaeWeights::open(out).unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn assert_same_bits(a: &VaeWeights, b: &VaeWeights) {
    assert_eq!(a.config(), b.config());
    for spec in arch::tensors(a.config()) {
        assert!(
            a.tensor_bytes(&spec).unwrap() == b.tensor_bytes(&spec).unwrap(),
            "{} differs",
            spec.name
        );
    }
}

#[test]
fn original_to_diffusers_and_back_keeps_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        fixture("vae_tiny_up2x/original_bf16.pth"),
        fixture("vae_tiny_base/diffusers"),
        demo_model("demo_2x.safetensors"),
    ] {
        let source = VaeWeights::open(&path).unwrap();
        let diffusers = ConvertOptions {
            layout: Layout::Diffusers,
            ..KEEP
        };
        let there = through(&source, diffusers, &folder.path().join("d"));
        assert_eq!(there.layout(), Layout::Diffusers);
        assert_same_bits(&source, &there);
        let back = through(&there, KEEP, &folder.path().join("back.safetensors"));
        assert_eq!(back.layout(), Layout::Original);
        assert_same_bits(&source, &back);
    }
    assert_eq!(names_in(folder.path()), ["back.safetensors", "d"]);
    assert_eq!(
        names_in(&folder.path().join("d")),
        ["config.json", "diffusion_pytorch_model.safetensors"]
    );
}

#[test]
fn written_diffusers_folders_are_those_of_diffusers() {
    let folder = tempfile::tempdir().unwrap();
    let source = VaeWeights::open(&fixture("vae_tiny_up2x/original.safetensors")).unwrap();
    let out = folder.path().join("model.safetensors");
    convert(
        &source,
        &ConvertOptions {
            layout: Layout::Diffusers,
            ..KEEP
        },
        &out,
    )
    .unwrap();
    let theirs = TensorFile::open(&fixture(
        "vae_tiny_up2x/diffusers/diffusion_pytorch_model.safetensors",
    ))
    .unwrap();
    let ours = TensorFile::open(&out).unwrap();
    assert_eq!(ours.tensors(), theirs.tensors());
    assert_eq!(ours.metadata(), theirs.metadata());
    for name in theirs.tensors().keys() {
        assert!(
            ours.read_bytes(name).unwrap() == theirs.read_bytes(name).unwrap(),
            "{name}"
        );
    }
    let json = |path: &Path| -> serde_json::Value {
        let mut value: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        value["_diffusers_version"].take();
        value
    };
    assert_eq!(
        json(&out.with_file_name("config.json")),
        json(&fixture("vae_tiny_up2x/diffusers/config.json"))
    );
}

/// The bytes of the last temporal tap.
fn last_tap(spec: &TensorSpec, (dtype, bytes): (DType, Vec<u8>)) -> Vec<u8> {
    let [_, _, taps, h, w] = spec.shape[..] else {
        return bytes;
    };
    let tap = h * w * dtype.size();
    bytes
        .chunks(taps * tap)
        .flat_map(|k| k[(taps - 1) * tap..].to_vec())
        .collect()
}

#[test]
fn to_two_dimensions_and_back_keeps_every_last_tap() {
    let folder = tempfile::tempdir().unwrap();
    let source = VaeWeights::open(&fixture("vae_tiny_up2x/original_bf16.pth")).unwrap();
    let flat = through(
        &source,
        ConvertOptions {
            layout: Layout::TwoD,
            ..KEEP
        },
        &folder.path().join("2d.safetensors"),
    );
    assert_eq!(
        (flat.layout(), flat.has_time(), flat.report().applied.len()),
        (Layout::TwoD, false, 194 - 8)
    );
    let file = TensorFile::open(flat.path()).unwrap();
    assert_eq!(file.tensors()["decoder.conv1.weight"].shape, [32, 16, 3, 3]);
    assert_eq!(file.tensors()["conv2.weight"].shape, [16, 16, 1, 1]);
    assert_eq!(file.tensors()["decoder.head.0.gamma"].shape, [8, 1, 1]);
    let back = through(&flat, KEEP, &folder.path().join("back.safetensors"));
    assert!(back.has_time());
    assert_same_bits(&flat, &back);
    for spec in arch::tensors(source.config())
        .iter()
        .filter(|s| !s.name.contains("time_conv"))
    {
        let [a, b] = [&source, &back].map(|w| last_tap(spec, w.tensor_bytes(spec).unwrap()));
        assert!(a == b, "{}", spec.name);
    }
}

#[test]
fn an_image_model_survives_two_dimensions_whole() {
    let folder = tempfile::tempdir().unwrap();
    let source = VaeWeights::open(&demo_model("demo_base.safetensors")).unwrap();
    let flat = through(
        &source,
        ConvertOptions {
            layout: Layout::TwoD,
            ..KEEP
        },
        &folder.path().join("2d.safetensors"),
    );
    for spec in arch::tensors(source.config()) {
        assert!(
            source.tensor(&spec).unwrap() == flat.tensor(&spec).unwrap(),
            "{}",
            spec.name
        );
    }
}

#[test]
fn precision_changes_on_request_only() {
    let folder = tempfile::tempdir().unwrap();
    let source = VaeWeights::open(&fixture("vae_tiny_up2x/original.safetensors")).unwrap();
    let bf16 = through(
        &source,
        ConvertOptions {
            dtype: Some(DType::BF16),
            ..KEEP
        },
        &folder.path().join("bf16.safetensors"),
    );
    let torch = VaeWeights::open(&fixture("vae_tiny_up2x/original_bf16.pth")).unwrap();
    assert_same_bits(&bf16, &torch);
    let f64 = ConvertOptions {
        dtype: Some(DType::F64),
        ..KEEP
    };
    let wide = through(&source, f64, &folder.path().join("f64.safetensors"));
    let back = ConvertOptions {
        dtype: Some(DType::F32),
        ..KEEP
    };
    assert_same_bits(
        &source,
        &through(&wide, back, &folder.path().join("f32.safetensors")),
    );
}

#[test]
fn a_base_decoder_becomes_2x_by_repeating() {
    let folder = tempfile::tempdir().unwrap();
    let base = VaeWeights::open(&demo_model("demo_base.safetensors")).unwrap();
    for layout in [Layout::Original, Layout::Diffusers, Layout::TwoD] {
        let out = folder.path().join(format!("{layout}.safetensors"));
        let up2x = through(
            &base,
            ConvertOptions {
                layout,
                scale: OutputScale::Repeated2x,
                ..KEEP
            },
            &out,
        );
        assert_eq!(up2x.config().out_channels, 12);
        let (old, new) = (arch::tensors(base.config()), arch::tensors(up2x.config()));
        for (a, b) in old.iter().zip(&new) {
            let (old, new) = (base.tensor(a).unwrap(), up2x.tensor(b).unwrap());
            if a.shape == b.shape {
                assert!(old == new, "{}", a.name);
                continue;
            }
            for channel in 0..12 {
                assert_eq!(
                    new.item(channel),
                    old.item(channel / 4),
                    "{} {channel}",
                    a.name
                );
            }
        }
    }
    let up2x = VaeWeights::open(&demo_model("demo_2x.safetensors")).unwrap();
    let again = convert(
        &up2x,
        &ConvertOptions {
            scale: OutputScale::Repeated2x,
            ..KEEP
        },
        &folder.path().join("no.safetensors"),
    );
    assert!(matches!(
        again,
        Err(Error::NotThisModel { path, found })
            if path == up2x.path() && found.contains(" 12 ")
    ));
}

/// The f64 means of the rows of each block: rows `4 c` to `4 c + 3` of a 2x decoder.
fn block_means(rows: &Array, group: usize) -> Array {
    let row = rows.data().len() / rows.shape()[0];
    let mean = |block: &[f32], i: usize| {
        let column = block.iter().skip(i).step_by(row);
        (column.map(|v| f64::from(*v)).sum::<f64>() / group as f64) as f32
    };
    let blocks = rows.data().chunks_exact(group * row);
    let data = blocks.flat_map(|b| (0..row).map(move |i| mean(b, i)));
    let shape = [&[rows.shape()[0] / group], &rows.shape()[1..]].concat();
    Array::new(shape, data.collect()).unwrap()
}

#[test]
fn a_2x_decoder_becomes_1x_by_means_of_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let up2x = VaeWeights::open(&demo_model("demo_2x.safetensors")).unwrap();
    let to_1x = |layout, dtype| ConvertOptions {
        layout,
        dtype,
        scale: OutputScale::Mean1x,
    };
    for layout in [Layout::Original, Layout::Diffusers, Layout::TwoD] {
        let out = folder.path().join(format!("{layout}.safetensors"));
        let base = through(&up2x, to_1x(layout, None), &out);
        assert_eq!(
            base.config(),
            &VaeConfig {
                out_channels: 3,
                ..up2x.config().clone()
            }
        );
        assert_eq!(
            (base.config().scale().unwrap(), base.dtype()),
            (1, up2x.dtype())
        );
        let (old, new) = (arch::tensors(up2x.config()), arch::tensors(base.config()));
        for (a, b) in old.iter().zip(&new) {
            let (old, new) = (up2x.tensor(a).unwrap(), base.tensor(b).unwrap());
            if a.shape == b.shape {
                assert!(old == new, "{}", a.name);
                continue;
            }
            let means = block_means(&old, 4);
            let narrow = |array: &Array| base.dtype().narrow(array.data()).unwrap();
            assert_eq!(new.shape(), b.shape, "{}", a.name);
            assert!(narrow(&means) == narrow(&new), "{}", a.name);
        }
    }
    let json = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    assert!(json.contains("\"out_channels\": 3,"), "{json}");
    // A decoder made 2x by repeating is the base decoder again.
    let path = folder.path().join("twice.safetensors");
    let base = VaeWeights::open(&demo_model("demo_base.safetensors")).unwrap();
    let scale = OutputScale::Repeated2x;
    let twice = through(&base, ConvertOptions { scale, ..KEEP }, &path);
    let again = through(
        &twice,
        to_1x(Layout::Original, None),
        &folder.path().join("again.safetensors"),
    );
    assert_same_bits(&base, &again);
    let refused = convert(&base, &to_1x(Layout::Original, None), &path);
    assert!(matches!(
        refused,
        Err(Error::NotThisModel { path, found })
            if path == base.path() && found.contains("has 3 output channels")
    ));
}

#[test]
fn a_4x_decoder_becomes_1x_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = VaeConfig::with_widths(8, 48);
    let path = folder.path().join("4x.safetensors");
    let (formula, specs) = (FormulaWeights::new(config.clone()), arch::tensors(&config));
    let array = |spec: &TensorSpec| formula.tensor(spec).unwrap();
    let arrays: Vec<Array> = specs.iter().map(array).collect();
    let names = specs.iter().map(|s| s.name.as_str());
    let named: Vec<_> = names.zip(&arrays).collect();
    write_arrays(&path, &named, &Default::default()).unwrap();
    let up4x = VaeWeights::open(&path).unwrap();
    let options = ConvertOptions {
        scale: OutputScale::Mean1x,
        ..KEEP
    };
    let base = through(&up4x, options, &folder.path().join("1x.safetensors"));
    for tensor in ["decoder.head.2.weight", "decoder.head.2.bias"] {
        let of = |weights: &VaeWeights| {
            let specs = arch::tensors(weights.config());
            let spec = specs.iter().find(|s| s.name == tensor).unwrap();
            weights.tensor(spec).unwrap()
        };
        assert_eq!(of(&base), block_means(&of(&up4x), 16), "{tensor}");
    }
}

#[test]
fn the_encoder_may_be_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let up2x = VaeWeights::open(&fixture("vae_tiny_up2x/original_bf16.pth")).unwrap();
    let other = VaeWeights::open(&fixture("vae_tiny_base/diffusers")).unwrap();
    for layout in [Layout::Original, Layout::Diffusers, Layout::TwoD] {
        let options = ConvertOptions {
            layout,
            dtype: None,
            scale: OutputScale::Mean1x,
        };
        let out = folder.path().join(format!("{layout}.safetensors"));
        convert_with_encoder(&up2x, Some(&other), &options, &out).unwrap();
        let joined = VaeWeights::open(&out).unwrap();
        for spec in arch::tensors(joined.config()) {
            let is_elsewhere = spec.name.starts_with("decoder.head.2.")
                || layout == Layout::TwoD && spec.shape.len() == 5;
            if is_elsewhere || spec.name.contains("time_conv") {
                continue;
            }
            let source = [&up2x, &other][usize::from(arch::is_of_encoder(&spec.name))];
            assert_eq!(
                joined.tensor_bytes(&spec).unwrap(),
                source.tensor_bytes(&spec).unwrap(),
                "{}",
                spec.name
            );
        }
    }
    let demo = VaeWeights::open(&demo_model("demo_base.safetensors")).unwrap();
    let out = folder.path().join("no.safetensors");
    let error = convert_with_encoder(&up2x, Some(&demo), &KEEP, &out).unwrap_err();
    assert!(
        matches!(&error, Error::BadRequest(problem) if problem.contains("statistics")),
        "{error:?}"
    );
    assert!(!out.exists());
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let source = VaeWeights::open(&fixture("vae_tiny_base/original.safetensors")).unwrap();
    let refused =
        |options: ConvertOptions, out: &Path| convert(&source, &options, out).unwrap_err();
    let error = refused(KEEP, &path.join("a.pth"));
    assert!(matches!(error, Error::BadRequest(_)), "{error:?}");
    let integers = ConvertOptions {
        dtype: Some(DType::I8),
        ..KEEP
    };
    let error = refused(integers, &path.join("a.safetensors"));
    assert!(
        matches!(&error, Error::BadRequest(problem) if problem.contains("I8")),
        "{error:?}"
    );
    let lost = path.join("missing/a.safetensors");
    let error = refused(KEEP, &lost);
    assert!(
        matches!(&error, Error::Io { path, .. } if *path == lost),
        "{error:?}"
    );
    assert_eq!(names_in(path), Vec::<String>::new());
}

#[test]
fn values_that_overflow_leave_neither_file_nor_folder() {
    let folder = tempfile::tempdir().unwrap();
    let source = VaeWeights::open(&fixture("vae_tiny_base/original.safetensors")).unwrap();
    let path = folder.path().join("huge.safetensors");
    convert(&source, &KEEP, &path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&1e30f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let huge = VaeWeights::open(&path).unwrap();
    for (layout, out) in [
        (Layout::Original, "a.safetensors"),
        (Layout::Diffusers, "folder"),
    ] {
        let options = ConvertOptions {
            layout,
            dtype: Some(DType::F16),
            scale: OutputScale::Keep,
        };
        let error = convert(&huge, &options, &folder.path().join(out)).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Tensor { path, expected, .. }
                    if path == huge.path() && expected.contains("F16")
            ),
            "{error:?}"
        );
    }
    assert_eq!(names_in(folder.path()), ["huge.safetensors"]);
}

#[test]
fn a_model_may_be_converted_onto_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    std::fs::copy(fixture("vae_tiny_base/original.safetensors"), &path).unwrap();
    let source = VaeWeights::open(&path).unwrap();
    let bf16 = through(
        &source,
        ConvertOptions {
            dtype: Some(DType::BF16),
            ..KEEP
        },
        &path,
    );
    assert_eq!(bf16.dtype(), DType::BF16);
    // The open file is still the old one.
    assert_eq!(
        source
            .tensor_bytes(&arch::tensors(source.config())[0])
            .unwrap()
            .0,
        DType::F32
    );
}
