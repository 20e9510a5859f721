//! Weights inside other files: any prefix, other models and counters beside them, several copies.

use vae2x_core::arch::{self, TensorSpec};
use vae2x_core::weights::keys::KeyMap;
use vae2x_core::weights::{DType, Layout, TensorFile, VaeWeights, Weights};
use vae2x_core::{Error, Result, VaeConfig};
use vae2x_testkit::files::*;

fn small() -> VaeConfig {
    VaeConfig::with_widths(2, 3)
}

fn spec(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        shape: shape.into(),
    }
}

/// The tensors of a model below a prefix.
fn below(prefix: &str, config: &VaeConfig) -> Vec<TensorSpec> {
    let specs = arch::tensors(config).into_iter();
    specs
        .map(|s| spec(&format!("{prefix}{}", s.name), &s.shape))
        .collect()
}

/// Opens a file of zeros.
fn open(specs: &[TensorSpec]) -> Result<VaeWeights> {
    let tensors: Vec<_> = specs
        .iter()
        .map(|s| (s.name.as_str(), DType::F16, &s.shape[..]))
        .collect();
    let file = TensorFile::from_bytes("given.safetensors", zeros(&tensors)).unwrap();
    VaeWeights::from_file(file, None)
}

/// The model at no prefix or one, with other tensors.
fn beside(prefix: &str, extra: &[&str]) -> Result<VaeWeights> {
    let mut specs = below(prefix, &small());
    specs.extend(extra.iter().map(|name| spec(name, &[1])));
    open(&specs)
}

#[track_caller]
fn unused(error: Error) -> Vec<String> {
    match error {
        Error::TensorSet {
            missing, unused, ..
        } if missing.is_empty() => unused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whatever_stands_before_all_names_is_the_prefix() {
    for prefix in [
        "",
        "vae.",
        "first_stage_model.",
        "model.",
        "module.",
        "_orig_mod.",
        "vae.model.",
        "model.vae.",
        "wan_vae.",
        "first_stage_model.model.",
        "module._orig_mod.vae.",
        "vae/",
        "vae_",
        "生成器.",
    ] {
        let weights = beside(prefix, &[]).unwrap();
        assert_eq!(weights.prefix(), prefix);
        assert!(weights.report().ignored.is_empty());
        assert!(weights.tensor(&spec("conv2.bias", &[16])).is_ok());
    }
}

#[test]
fn every_layout_is_found_below_a_prefix() {
    let keys = KeyMap::new(&small());
    for layout in [Layout::Original, Layout::Diffusers, Layout::TwoD] {
        let specs: Vec<_> = arch::tensors(&small())
            .iter()
            .filter_map(|s| {
                let name = match layout {
                    Layout::Diffusers => keys.diffusers(&s.name)?,
                    _ => &s.name,
                };
                Some(spec(&format!("a.b.{name}"), &layout.file_shape(s)?))
            })
            .collect();
        let weights = open(&specs).unwrap();
        assert_eq!((weights.layout(), weights.prefix()), (layout, "a.b."));
    }
}

#[test]
fn tensors_without_the_prefix_are_ignored() {
    let others = [
        "model.diffusion_model.blocks.0.self_attn.q.weight",
        "vision_model.embeddings.class_embedding",
        "audio_vae.decoder.conv1.weight",
        "conditioner.embedders.0.transformer.text_model.x",
        "conv1.weight",
        "decoder.head.9.weight",
        "latent_tensor",
        "v_pred",
    ];
    for prefix in ["vae.", "first_stage_model.", "model.vae."] {
        let weights = beside(prefix, &others).unwrap();
        assert_eq!(weights.prefix(), prefix);
        assert_eq!(weights.report().ignored.len(), others.len());
    }
}

#[test]
fn counters_and_losses_are_ignored_and_unknown_layers_are_not() {
    for prefix in ["", "vae."] {
        let loose = ["step", "loss.logvar", "mean", "std", "model_ema.decay"];
        let loose = loose.map(|name| format!("{prefix}{name}"));
        let weights = beside(prefix, &loose.each_ref().map(String::as_str)).unwrap();
        let mut ignored = weights.report().ignored.clone();
        ignored.sort();
        let mut expected = loose.to_vec();
        expected.sort();
        assert_eq!(ignored, expected);
        for extra in [
            "decoder.extra",
            "encoder.num_batches",
            "conv1.scale",
            "quant_conv.weight",
        ] {
            let extra = format!("{prefix}{extra}");
            assert_eq!(unused(beside(prefix, &[&extra]).unwrap_err()), [extra]);
        }
    }
}

#[test]
fn of_several_copies_the_averaged_and_the_whole_are_taken() {
    let copies = |prefixes: &[&str]| {
        let specs: Vec<_> = prefixes.iter().flat_map(|p| below(p, &small())).collect();
        let weights = open(&specs).unwrap();
        assert_eq!(
            weights.report().ignored.len(),
            194 * (prefixes.len() - 1),
            "{prefixes:?}"
        );
        weights.prefix().to_string()
    };
    assert_eq!(copies(&["generator.", "generator_ema."]), "generator_ema.");
    assert_eq!(copies(&["ema.", "model."]), "ema.");
    assert_eq!(copies(&["student.", "vae."]), "vae.");
    let mut specs = below("vae.", &small());
    specs.push(spec("a.decoder.head.0.gamma", &[2, 1, 1, 1]));
    assert_eq!(open(&specs).unwrap().prefix(), "vae.");
}

#[test]
fn another_vae_beside_this_one_is_passed_by() {
    let mut specs = below("b.", &small());
    specs.extend(below("a.", &small()));
    specs.push(spec(
        "a.decoder.upsamples.0.upsamples.0.residual.2.weight",
        &[1],
    ));
    assert_eq!(open(&specs).unwrap().prefix(), "b.");
    let alone: Vec<_> = specs
        .into_iter()
        .filter(|s| s.name.starts_with("a."))
        .collect();
    assert!(matches!(
        open(&alone),
        Err(Error::NotThisModel { found, .. }) if found.contains("Wan2.2 5B")
    ));
}

#[test]
fn residual_stages_with_64_latent_channels_are_qwen_image_21() {
    let names = [
        ("decoder.head.0.gamma", "conv2.weight"),
        ("decoder.norm_out.gamma", "post_quant_conv.weight"),
    ];
    for (norm, channels) in names {
        for stage in [
            "decoder.upsamples.0.upsamples.0.residual.2.weight",
            "decoder.up_blocks.0.upsampler.resample.1.bias",
        ] {
            let specs = [
                spec(norm, &[144, 1, 1, 1]),
                spec(channels, &[64, 64, 1, 1]),
                spec(stage, &[1]),
            ];
            assert!(matches!(
                open(&specs),
                Err(Error::NotThisModel { found, .. }) if found.contains("Qwen-Image 2.1 (64")
            ));
        }
    }
}

/// LightVAE: every stage a quarter of Wan2.1's width.
#[test]
fn a_quarter_of_the_width_has_the_size_of_the_public_file() {
    let config = VaeConfig::with_widths(24, 3);
    let weights = open(&below("", &config)).unwrap();
    assert_eq!(weights.config(), &config);
    // 32,160,476 bytes of f32, of which 20,464 are the header.
    assert_eq!(4 * weights.parameters(), 32_140_012);
}

/// A header may hold as many prefixes as tensors.
#[test]
fn a_file_of_prefixes_takes_no_time() {
    let specs: Vec<_> = (0..60_000)
        .map(|i| spec(&format!("{i}.decoder.head.0.gamma"), &[0]))
        .collect();
    let started = std::time::Instant::now();
    assert!(open(&specs).is_err());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
