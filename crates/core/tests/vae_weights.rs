//! Finding a model in files and folders: layouts, prefixes, configurations, and what is said of wrong ones.

use std::collections::BTreeMap;
use std::path::Path;

use vae2x_core::arch::{self, TensorSpec};
use vae2x_core::weights::formula::{self, FormulaWeights};
use vae2x_core::weights::layout::Layout;
use vae2x_core::weights::write::{Entry, write_safetensors};
use vae2x_core::weights::{
    ConvertOptions, DType, OutputScale, TensorFile, VaeWeights, Weights, convert,
};
use vae2x_core::{Error, VaeConfig};
use vae2x_testkit::files::*;
use vae2x_testkit::{demo_model, fixture};

/// Asserts that two sets of weights are the same, bit for bit.
#[track_caller]
fn assert_same(a: &dyn Weights, b: &dyn Weights) {
    assert_eq!(a.config(), b.config());
    for spec in arch::tensors(a.config()) {
        assert!(
            a.tensor(&spec).unwrap() == b.tensor(&spec).unwrap(),
            "{} differs",
            spec.name
        );
    }
}

/// A file of zeros with the tensors of a model, each name and shape going through `change`; `None` leaves one out.
fn model(config: &VaeConfig, change: impl Fn(TensorSpec) -> Option<TensorSpec>) -> TensorFile {
    let specs: Vec<_> = arch::tensors(config)
        .into_iter()
        .filter_map(change)
        .collect();
    file_of(&specs)
}

fn file_of(specs: &[TensorSpec]) -> TensorFile {
    let tensors: Vec<_> = specs
        .iter()
        .map(|s| (s.name.as_str(), DType::F16, &s.shape[..]))
        .collect();
    TensorFile::from_bytes("given.safetensors", zeros(&tensors)).unwrap()
}

fn spec(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        shape: shape.into(),
    }
}

fn small() -> VaeConfig {
    VaeConfig::with_widths(2, 3)
}

#[track_caller]
fn refused(file: TensorFile, config: Option<&str>) -> Error {
    VaeWeights::from_file(file, config).unwrap_err()
}

/// Missing and unused tensors of a refused file.
#[track_caller]
fn sets(error: Error) -> (Vec<String>, Vec<String>) {
    match error {
        Error::TensorSet {
            missing, unused, ..
        } => (missing, unused),
        other => panic!("{other:?}"),
    }
}

/// What a refused file is taken for.
#[track_caller]
fn taken_for(error: Error) -> String {
    match error {
        Error::NotThisModel { found, .. } => found,
        other => panic!("{other:?}"),
    }
}

/// What is wrong with a refused file.
#[track_caller]
fn problem(error: Error) -> String {
    match error {
        Error::Format { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_form_of_the_tiny_model_is_the_formula() {
    let base = VaeConfig::with_widths(8, 3);
    let up2x = VaeConfig::with_widths(8, 12);
    for (name, config, layout) in [
        (
            "vae_tiny_up2x/original.safetensors",
            &up2x,
            Layout::Original,
        ),
        ("vae_tiny_up2x/diffusers", &up2x, Layout::Diffusers),
        (
            "vae_tiny_up2x/diffusers/diffusion_pytorch_model.safetensors",
            &up2x,
            Layout::Diffusers,
        ),
        (
            "vae_tiny_base/original.safetensors",
            &base,
            Layout::Original,
        ),
        ("vae_tiny_base/diffusers", &base, Layout::Diffusers),
    ] {
        let weights = VaeWeights::open(&fixture(name)).unwrap();
        assert_eq!(
            (weights.layout(), weights.prefix(), weights.dtype()),
            (layout, "", DType::F32),
            "{name}"
        );
        assert_same(&weights, &FormulaWeights::new(config.clone()));
        let report = weights.report();
        assert_eq!(
            (
                report.applied.len(),
                report.missing.len(),
                report.unused.len()
            ),
            (194, 0, 0)
        );
        assert!(weights.has_time());
    }
}

#[test]
fn the_bf16_torch_file_is_the_formula_rounded() {
    let weights = VaeWeights::open(&fixture("vae_tiny_up2x/original_bf16.pth")).unwrap();
    assert_eq!(weights.dtypes(), &BTreeMap::from([(DType::BF16, 194)]));
    for spec in arch::tensors(weights.config()) {
        let bytes = DType::BF16
            .narrow(&formula::tensor(&spec.name, &spec.shape, 1.0))
            .unwrap();
        assert_eq!(
            weights.tensor_bytes(&spec).unwrap(),
            (DType::BF16, bytes),
            "{}",
            spec.name
        );
    }
}

#[test]
fn the_trained_model_brings_its_own_statistics() {
    let file = VaeWeights::open(&demo_model("demo_2x.safetensors")).unwrap();
    let parent = tempfile::tempdir().unwrap();
    let options = ConvertOptions {
        layout: Layout::Diffusers,
        dtype: None,
        scale: OutputScale::Keep,
    };
    convert(&file, &options, &parent.path().join("vae")).unwrap();
    let folder = VaeWeights::open(&parent.path().join("vae")).unwrap();
    assert_eq!(file.config().latents_mean[0], -0.4452);
    assert_eq!(file.config().latents_std[15], 1.6824);
    assert_eq!(
        (file.config().decoder_base_dim, file.config().out_channels),
        (16, 12)
    );
    assert_same(&file, &folder);
}

#[test]
fn narrower_models_are_measured() {
    let config = VaeConfig {
        encoder_base_dim: 6,
        decoder_base_dim: 4,
        out_channels: 48,
        ..VaeConfig::default()
    };
    let weights = VaeWeights::from_file(model(&config, Some), None).unwrap();
    assert_eq!(weights.config(), &config);
    let parameters: usize = arch::tensors(&config)
        .iter()
        .map(|s| s.shape.iter().product::<usize>())
        .sum();
    assert_eq!(weights.parameters(), parameters);
}

#[test]
fn a_two_dimensional_file_fills_in_time() {
    let file = model(&small(), |s| {
        Layout::TwoD
            .file_shape(&s)
            .map(|shape| spec(&s.name, &shape))
    });
    let weights = VaeWeights::from_file(file, None).unwrap();
    assert_eq!(
        (weights.layout(), weights.has_time()),
        (Layout::TwoD, false)
    );
    for spec in arch::tensors(weights.config()) {
        let sum: f32 = weights.tensor(&spec).unwrap().data().iter().sum();
        let copies = if spec.name.ends_with("time_conv.weight") {
            spec.shape[0] as f32
        } else {
            0.0
        };
        assert_eq!(sum, copies, "{}", spec.name);
    }
}

#[test]
fn missing_and_unknown_tensors_are_named() {
    let missing = model(&small(), |s| {
        Some(s).filter(|s| s.name != "encoder.middle.1.proj.bias")
    });
    let Error::TensorSet {
        path,
        missing,
        unused,
    } = refused(missing, None)
    else {
        panic!("another error")
    };
    assert_eq!(path, Path::new("given.safetensors"));
    assert_eq!(missing, ["encoder.middle.1.proj.bias"]);
    assert!(unused.is_empty(), "{unused:?}");
    let mut specs = arch::tensors(&small());
    specs.push(spec("decoder.extra", &[1]));
    assert_eq!(
        sets(refused(file_of(&specs), None)),
        (vec![], vec!["decoder.extra".into()])
    );
    for telling in [
        "encoder.conv1.weight",
        "decoder.head.0.gamma",
        "decoder.head.2.weight",
        "conv2.weight",
    ] {
        let rest = model(&small(), |s| Some(s).filter(|s| s.name != telling));
        assert_eq!(
            sets(refused(rest, None)),
            (vec![telling.to_string()], vec![])
        );
    }
    for side in ["encoder.", "decoder."] {
        let half = model(&small(), |s| Some(s).filter(|s| !s.name.starts_with(side)));
        let all = arch::tensors(&small())
            .iter()
            .filter(|s| s.name.starts_with(side))
            .count();
        let (missing, unused) = sets(refused(half, None));
        assert!(missing.len() == all && unused.is_empty(), "{missing:?}");
        assert!(missing.iter().all(|name| name.starts_with(side)));
    }
}

#[test]
fn wrong_shapes_and_types_are_named() {
    let wrong = model(&small(), |s| {
        let shape = if s.name == "decoder.middle.0.residual.2.bias" {
            vec![5]
        } else {
            s.shape
        };
        Some(spec(&s.name, &shape))
    });
    let error = refused(wrong, None);
    assert!(
        matches!(
            &error,
            Error::Tensor { path, tensor, expected, got }
                if path == Path::new("given.safetensors")
                    && tensor == "decoder.middle.0.residual.2.bias"
                    && expected.ends_with("[8]")
                    && got == "[5]"
        ),
        "{error:?}"
    );
    let specs = arch::tensors(&small());
    let dtype = |s: &TensorSpec| {
        if s.name == "conv1.bias" {
            DType::I8
        } else {
            DType::F16
        }
    };
    let tensors: Vec<_> = specs
        .iter()
        .map(|s| (s.name.as_str(), dtype(s), &s.shape[..]))
        .collect();
    let error = refused(
        TensorFile::from_bytes("given", zeros(&tensors)).unwrap(),
        None,
    );
    assert!(
        matches!(
            &error,
            Error::Tensor { tensor, got, .. } if tensor == "conv1.bias" && got == "I8"
        ),
        "{error:?}"
    );
}

#[test]
fn impossible_sizes_are_refused() {
    let with = |name: &'static str, shape: &'static [usize]| {
        model(&small(), move |s| {
            Some(if s.name == name { spec(name, shape) } else { s })
        })
    };
    for (name, shape, value) in [
        ("decoder.head.2.weight", &[5, 2, 3, 3, 3][..], " 5 "),
        ("decoder.head.0.gamma", &[0, 1, 1, 1], " 0;"),
        ("decoder.head.0.gamma", &[100_000, 1, 1, 1], "100000"),
        ("conv2.weight", &[8, 8, 1, 1, 1], "latents_mean"),
    ] {
        let error = refused(with(name, shape), None);
        assert!(
            matches!(
                &error,
                Error::Format { path, problem }
                    if path == Path::new("given.safetensors") && problem.contains(value)
            ),
            "{name} {shape:?}: {error:?}"
        );
    }
    let error = refused(with("decoder.head.0.gamma", &[]), None);
    assert!(
        matches!(&error, Error::Tensor { tensor, .. } if tensor == "decoder.head.0.gamma"),
        "{error:?}"
    );
}

#[test]
fn other_models_are_told_apart() {
    let given = |names: &[&str]| {
        let specs: Vec<_> = names.iter().map(|n| spec(n, &[1, 1, 1, 1])).collect();
        refused(file_of(&specs), None)
    };
    for (names, part) in [
        (
            &[
                "decoder.head.0.gamma",
                "decoder.upsamples.0.upsamples.0.residual.0.gamma",
            ][..],
            "Wan2.2 5B",
        ),
        (
            &[
                "decoder.norm_out.gamma",
                "decoder.up_blocks.0.upsampler.resample.1.bias",
            ],
            "Wan2.2 5B",
        ),
        (
            &["first_stage_model.decoder.up.0.block.0.conv1.weight"],
            "Stable Diffusion",
        ),
        (&["decoder.conv_norm_out.weight"], "Stable Diffusion"),
        (
            &["model.diffusion_model.blocks.0.self_attn.q.weight"],
            "diffusion transformer",
        ),
        (
            &["transformer_blocks.0.attn.to_q.weight"],
            "diffusion transformer",
        ),
        (
            &["decoder.1.weight", "encoder.0.weight"],
            "tiny autoencoder",
        ),
        (&["latent_tensor"], "latent"),
        (&["something.else"], "'something.else'"),
        (&[], ""),
    ] {
        let error = given(names);
        assert!(
            matches!(
                &error,
                Error::NotThisModel { path, found }
                    if path == Path::new("given.safetensors") && found.contains(part)
            ),
            "{names:?}: {error:?}"
        );
    }
    for (channels, model) in [(48, "Wan2.2 5B (48"), (64, "Qwen-Image 2.1 (64")] {
        let wide = VaeConfig {
            z_dim: channels,
            latents_mean: vec![0.0; channels],
            latents_std: vec![1.0; channels],
            ..small()
        };
        assert!(taken_for(refused(self::model(&wide, Some), None)).contains(model));
    }
    for (name, model) in [
        ("dit_tiny/original.safetensors", "diffusion transformer"),
        ("dit_tiny/diffusers", "diffusion transformer"),
        ("data/wan_cheesecake_frame0.latent", "latent"),
    ] {
        let found = taken_for(VaeWeights::open(&fixture(name)).unwrap_err());
        assert!(found.contains(model), "{name}: {found}");
    }
}

#[test]
fn the_config_counts_for_diffusers_names_only() {
    let diffusers = || {
        TensorFile::open(&fixture(
            "vae_tiny_up2x/diffusers/diffusion_pytorch_model.safetensors",
        ))
        .unwrap()
    };
    let original = || TensorFile::open(&fixture("vae_tiny_up2x/original.safetensors")).unwrap();
    let other = refused(diffusers(), Some(r#"{"_class_name": "AutoencoderKL"}"#));
    assert!(taken_for(other).contains("AutoencoderKL: "));
    assert!(VaeWeights::from_file(original(), Some(r#"{"_class_name": "WanModel"}"#)).is_ok());
    let mean = [0.5f32; 16];
    let json = format!(r#"{{"_class_name": "AutoencoderKLQwenImage", "latents_mean": {mean:?}}}"#);
    assert_eq!(
        VaeWeights::from_file(diffusers(), Some(&json))
            .unwrap()
            .config()
            .latents_mean,
        mean
    );
    let (missing, _) = sets(refused(diffusers(), Some(r#"{"num_res_blocks": 3}"#)));
    assert!(!missing.is_empty());
    let short = refused(diffusers(), Some(r#"{"latents_std": [1.0]}"#));
    assert!(problem(short).starts_with("latents_std"));
    assert!(matches!(
        refused(diffusers(), Some("nonsense")),
        Error::Format { .. }
    ));
}

/// Copies the tiny diffusers model into `folder`, its weights under another name.
fn copy_diffusers(folder: &Path, weights: &str) {
    std::fs::create_dir_all(folder).unwrap();
    for (from, to) in [
        ("config.json", "config.json"),
        ("diffusion_pytorch_model.safetensors", weights),
    ] {
        let bytes = std::fs::read(fixture("vae_tiny_base/diffusers").join(from)).unwrap();
        std::fs::write(folder.join(to), bytes).unwrap();
    }
}

#[test]
fn folders_are_searched() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    assert!(matches!(
        VaeWeights::open(path),
        Err(Error::Format { path: found, .. }) if found == path
    ));
    copy_diffusers(
        &path.join("vae"),
        "diffusion_pytorch_model.fp16.safetensors",
    );
    assert_eq!(VaeWeights::open(path).unwrap().layout(), Layout::Diffusers);
    std::fs::copy(
        fixture("vae_tiny_base/original.safetensors"),
        path.join("one.safetensors"),
    )
    .unwrap();
    assert_eq!(VaeWeights::open(path).unwrap().layout(), Layout::Original);
    std::fs::copy(
        fixture("vae_tiny_up2x/original_bf16.pth"),
        path.join("two.pth"),
    )
    .unwrap();
    let several = problem(VaeWeights::open(path).unwrap_err());
    assert!(
        several.contains("one.safetensors") && several.contains("two.pth"),
        "{several}"
    );
    assert!(matches!(
        VaeWeights::open(&path.join("nowhere")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn shards_are_joined() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let whole = VaeWeights::open(&fixture("vae_tiny_base/diffusers")).unwrap();
    let file = TensorFile::open(&fixture(
        "vae_tiny_base/diffusers/diffusion_pytorch_model.safetensors",
    ))
    .unwrap();
    let mut map = BTreeMap::new();
    for (shard, side) in [("a.safetensors", true), ("b.safetensors", false)] {
        let names = file
            .tensors()
            .iter()
            .filter(|(n, _)| n.starts_with("encoder") == side);
        let entry = |(name, info): (&String, &vae2x_core::weights::TensorInfo)| {
            map.insert(name.clone(), shard.to_string());
            Entry {
                name: name.clone(),
                dtype: info.dtype,
                shape: info.shape.clone(),
            }
        };
        let entries: Vec<_> = names.map(entry).collect();
        let bytes = |e: &Entry| file.read_bytes(&e.name).map(|b| b.2);
        write_safetensors(&path.join(shard), &entries, &BTreeMap::new(), bytes).unwrap();
    }
    let index = path.join("diffusion_pytorch_model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    assert_same(&VaeWeights::open(path).unwrap(), &whole);
    std::fs::write(&index, r#"{"weight_map": {"x": "../secret.safetensors"}}"#).unwrap();
    let outside = problem(VaeWeights::open(path).unwrap_err());
    assert!(outside.contains("'../secret.safetensors'"), "{outside}");
}

#[test]
fn a_tensor_of_another_model_is_an_error() {
    let weights = VaeWeights::open(&fixture("vae_tiny_base/original.safetensors")).unwrap();
    for wrong in [
        spec("nothing", &[1]),
        spec("conv2.bias", &[99]),
        spec("x.time_conv.bias", &[1]),
    ] {
        let error = weights.tensor(&wrong).unwrap_err();
        assert!(
            matches!(&error, Error::Tensor { tensor, .. } if *tensor == wrong.name),
            "{error:?}"
        );
    }
}

#[test]
fn reading_into_room_of_another_size_is_an_error() {
    let formula = vae2x_core::weights::formula::FormulaWeights::new(
        vae2x_core::VaeConfig::with_widths(8, 12),
    );
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/vae_tiny_up2x/original.safetensors"
    );
    let file = vae2x_core::weights::VaeWeights::open(std::path::Path::new(path)).unwrap();
    let spec = &vae2x_core::arch::tensors(vae2x_core::weights::Weights::config(&file))[0];
    for weights in [&formula as &dyn vae2x_core::weights::Weights, &file] {
        let tensor = weights.tensor(spec).unwrap();
        let mut room = vec![0.0; tensor.data().len()];
        weights.read(spec, &mut room).unwrap();
        assert_eq!(room, tensor.data());
        room.pop();
        let error = weights.read(spec, &mut room).unwrap_err();
        let (Error::Shape { what: name, .. } | Error::Tensor { tensor: name, .. }) = &error else {
            panic!("{error:?}")
        };
        assert!(name.contains(&spec.name), "{error:?}");
    }
}
