//! The diffusion transformer and the text encoder against their goldens, from every layout and prefix, on burn-flex or the device that
//! `VAE2X_TEST_DEVICE` names; captions as files hold them.

#[path = "../../nn/tests/common/mod.rs"]
mod common;

use std::path::Path;

use burn::tensor::Tensor;
use common::{device, is_flex};
use vae2x_core::weights::write::{Entry, write_arrays, write_safetensors};
use vae2x_core::weights::{DType, ModelTensors, TensorFile};
use vae2x_core::{Array, Error, Result};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::wan_vae::parameters;
use vae2x_soften::umt5::{self, Umt5, Umt5Weights};
use vae2x_soften::wan_dit::tensors::specs;
use vae2x_soften::wan_dit::{DitConfig, DitOptions, DitWeights, WanDit, caption, weights::FILES};
use vae2x_testkit::compare::{assert_close, assert_same};
use vae2x_testkit::{fixture, open, tolerance};

/// The tiny model's heads, which a file without `config.json` does not determine.
const HEADS: DitOptions = DitOptions { heads: Some(2) };

/// The same work twice: equal bits on burn-flex.
fn assert_again(what: &str, got: &Array, want: &Array) {
    match is_flex(&device()) {
        true => assert_same(what, got, want),
        false => assert_close(what, got, want, tolerance::GPU_F32),
    }
}

fn dit(path: &Path, options: DitOptions) -> Result<WanDit> {
    let weights = DitWeights::find(ModelTensors::open(path, FILES)?, options)?;
    WanDit::load(
        weights.config(),
        &|name, shape| weights.tensor(name, shape),
        &device(),
    )
}

fn velocity(model: &WanDit, case: &str) -> Array {
    let cases = open("dit_tiny/cases.safetensors");
    let read = |part: &str| cases.read(&format!("{case}.{part}")).unwrap();
    let timesteps: Vec<f64> = read("timestep")
        .data()
        .iter()
        .map(|&t| f64::from(t))
        .collect();
    let latent = to_tensor(&read("latent"), "latent", &device()).unwrap();
    let text = to_tensor(&read("text"), "text", &device()).unwrap();
    to_array(model.forward(latent, &timesteps, text).unwrap()).unwrap()
}

fn check_dit(model: &WanDit, tolerance: f64) {
    let cases = open("dit_tiny/cases.safetensors");
    for case in ["image", "clip"] {
        let want = cases.read(&format!("{case}.velocity")).unwrap();
        assert_close(case, &velocity(model, case), &want, tolerance);
    }
}

#[test]
fn the_transformer_from_both_layouts() {
    check_dit(
        &dit(&fixture("dit_tiny/original.safetensors"), HEADS).unwrap(),
        tolerance::TRANSFORMER_F32,
    );
    check_dit(
        &dit(&fixture("dit_tiny/diffusers"), DitOptions::default()).unwrap(),
        tolerance::TRANSFORMER_F32,
    );
}

/// Writes the tiny model again, each tensor under `prefix`, in `parts` shards.
fn rewrite(folder: &Path, prefix: &str, parts: usize, dtype: DType) {
    let file = TensorFile::open(&fixture(
        "dit_tiny/diffusers/diffusion_pytorch_model.safetensors",
    ))
    .unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::copy(
        fixture("dit_tiny/diffusers/config.json"),
        folder.join("config.json"),
    )
    .unwrap();
    let names: Vec<&String> = file.tensors().keys().collect();
    let mut map = Vec::new();
    for (i, names) in names.chunks(names.len().div_ceil(parts)).enumerate() {
        let shard = format!("diffusion_pytorch_model-{i}.safetensors");
        let entry = |name: &&String| {
            map.push(format!("\"{prefix}{name}\": \"{shard}\""));
            Entry {
                name: format!("{prefix}{name}"),
                dtype,
                shape: file.tensors()[*name].shape.clone(),
            }
        };
        let entries: Vec<Entry> = names.iter().map(entry).collect();
        write_safetensors(
            &folder.join(shard),
            &entries,
            &Default::default(),
            |entry| {
                Ok(dtype
                    .narrow(file.read(&entry.name[prefix.len()..])?.data())
                    .unwrap())
            },
        )
        .unwrap();
    }
    let index = format!("{{\"weight_map\": {{{}}}}}", map.join(", "));
    std::fs::write(
        folder.join("diffusion_pytorch_model.safetensors.index.json"),
        index,
    )
    .unwrap();
}

#[test]
fn shards_and_prefixes_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let want = dit(&fixture("dit_tiny/diffusers"), DitOptions::default()).unwrap();
    rewrite(
        &folder.path().join("transformer"),
        "model.diffusion_model.",
        3,
        DType::F32,
    );
    let got = dit(folder.path(), DitOptions::default()).unwrap();
    assert_again("shards", &velocity(&got, "clip"), &velocity(&want, "clip"));
}

#[test]
fn comfyuis_prefix_with_and_without_a_vae_beside() {
    let read = |path: &str, prefix: &str| -> Vec<(String, Array)> {
        let file = open(path);
        let tensor = |name: &String| (format!("{prefix}{name}"), file.read(name).unwrap());
        file.tensors().keys().map(tensor).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut arrays = read("dit_tiny/original.safetensors", "model.diffusion_model.");
    let want = dit(&fixture("dit_tiny/original.safetensors"), HEADS).unwrap();
    for beside in [
        "",
        "vae.",
        "first_stage_model.",
        "text_encoders.umt5xxl.transformer.",
    ] {
        let other = if beside.starts_with("text") {
            "umt5_tiny/model"
        } else {
            "vae_tiny_base/original"
        };
        if !beside.is_empty() {
            arrays.extend(read(&format!("{other}.safetensors"), beside));
        }
        let named: Vec<(&str, &Array)> = arrays
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect();
        write_arrays(&path, &named, &Default::default()).unwrap();
        let got = dit(&path, HEADS).unwrap();
        assert_again(
            &format!("'{beside}' beside"),
            &velocity(&got, "image"),
            &velocity(&want, "image"),
        );
    }
    // What is left of the model without one of its tensors is not taken for all of it.
    arrays.retain(|(name, _)| name != "model.diffusion_model.blocks.0.ffn.0.bias");
    let named: Vec<(&str, &Array)> = arrays
        .iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect();
    write_arrays(&path, &named, &Default::default()).unwrap();
    assert!(matches!(
        dit(&path, HEADS).err(),
        Some(Error::TensorSet { missing, .. })
            if missing == ["model.diffusion_model.blocks.0.ffn.0.bias"]
    ));
}

#[test]
fn ready_made_captions_are_padded_with_zeros() {
    let config = DitConfig::wan_1_3b();
    for (name, tokens) in [
        ("empty", 1),
        ("image_negative", 37),
        ("video_negative", 126),
    ] {
        let file = open(&format!("data/umt5_{name}_wan.safetensors"));
        let context = caption::read(&file, &config).unwrap();
        assert_eq!(context.shape(), [1, 512, 4096], "{name}");
        let (said, padding) = context.data().split_at(tokens * 4096);
        assert_eq!(said, file.read(caption::CONTEXT).unwrap().data(), "{name}");
        let sums = said
            .chunks(4096)
            .map(|token| token.iter().map(|v| v.abs()).sum::<f32>());
        assert!(
            sums.fold(f32::INFINITY, f32::min) > 1.0,
            "{name}: {tokens} tokens say something"
        );
        assert!(padding.iter().all(|&v| v == 0.0), "{name}");
    }
    let short = DitConfig {
        text_len: 100,
        ..config
    };
    let error =
        caption::read(&open("data/umt5_video_negative_wan.safetensors"), &short).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Tensor { tensor, expected, got, .. }
                if tensor == "context" && expected.contains("100") && got.contains("[126, 4096]")
        ),
        "{error:?}"
    );
}

#[test]
fn half_precision_is_widened() {
    for dtype in [DType::BF16, DType::F16] {
        let folder = tempfile::tempdir().unwrap();
        rewrite(folder.path(), "", 1, dtype);
        check_dit(
            &dit(folder.path(), DitOptions::default()).unwrap(),
            tolerance::BF16_WEIGHTS,
        );
    }
}

#[test]
fn a_batch_is_its_items() {
    let model = dit(&fixture("dit_tiny/original.safetensors"), HEADS).unwrap();
    let cases = open("dit_tiny/cases.safetensors");
    let read = |part: &str| cases.read(&format!("image.{part}")).unwrap();
    let tensor5 = |a: &Array| to_tensor::<5>(a, "latent", &device()).unwrap();
    let text: Tensor<3> = to_tensor(&read("text"), "text", &device()).unwrap();
    let (a, b) = (tensor5(&read("latent")), tensor5(&read("latent")).flip([4]));
    let one = |x: Tensor<5>, t: f64| model.forward(x, &[t], text.clone()).unwrap();
    let both = model.forward(
        Tensor::cat(vec![a.clone(), b.clone()], 0),
        &[100.0, 700.0],
        text.clone().repeat_dim(0, 2),
    );
    let apart = Tensor::cat(vec![one(a, 100.0), one(b, 700.0)], 0);
    assert_close(
        "batch",
        &to_array(both.unwrap()).unwrap(),
        &to_array(apart).unwrap(),
        1e-5,
    );
}

#[test]
fn what_is_no_such_transformer_is_named() {
    let taken_for = |path: &Path| match dit(path, DitOptions::default()).err() {
        Some(Error::NotThisModel { path: at, found }) if at == path => found,
        other => panic!("{other:?}"),
    };
    for (name, model) in [
        ("vae_tiny_base/original.safetensors", "autoencoder"),
        ("umt5_tiny/model.safetensors", "text encoder"),
        ("data/wan_cheesecake_normalized.safetensors", "'latents'"),
    ] {
        let found = taken_for(&fixture(name));
        assert!(found.contains(model), "{name}: {found}");
    }
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.safetensors");
    let zeros = Array::zeros([1]);
    for (name, says) in [
        ("double_blocks.0.img_attn.qkv.weight", "Flux"),
        ("blocks.0.cross_attn.k_img.weight", "image-to-video"),
    ] {
        write_arrays(&other, &[(name, &zeros)], &Default::default()).unwrap();
        assert!(
            taken_for(&other).contains(says),
            "{says}: {}",
            taken_for(&other)
        );
    }
}

/// A transformer of Wan's layout with other latent channels.
fn with_channels(folder: &Path, in_channels: usize, out_channels: usize) -> String {
    let tiny = DitConfig {
        layers: 1,
        dim: 12,
        heads: 1,
        ffn_dim: 8,
        freq_dim: 8,
        text_dim: 4,
        ..DitConfig::wan_1_3b()
    };
    let config = DitConfig {
        in_channels,
        out_channels,
        ..tiny
    };
    let arrays: Vec<_> = specs(&config)
        .into_iter()
        .map(|s| (s.name, Array::zeros(s.shape)))
        .collect();
    let arrays: Vec<(&str, &Array)> = arrays
        .iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect();
    let path = folder.join("model.safetensors");
    write_arrays(&path, &arrays, &Default::default()).unwrap();
    match dit(&path, DitOptions { heads: Some(1) }).err() {
        None => String::new(),
        Some(Error::NotThisModel { found, .. }) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn wans_other_models_are_told_by_their_channels() {
    let folder = tempfile::tempdir().unwrap();
    for (channels, says) in [
        ((48, 48), "5B"),
        ((36, 16), "image-to-video"),
        ((32, 16), "conditions"),
        ((16, 16), ""),
    ] {
        let said = with_channels(folder.path(), channels.0, channels.1);
        assert!(
            said.contains(says) && (said.is_empty() == says.is_empty()),
            "{channels:?}: {said}"
        );
    }
}

#[test]
fn parameters_are_read_under_the_names_they_came_from() {
    let path = fixture("dit_tiny/original.safetensors");
    let weights = DitWeights::find(ModelTensors::open(&path, FILES).unwrap(), HEADS).unwrap();
    let model = dit(&path, HEADS).unwrap();
    for (name, array) in parameters::read(&model, &specs(weights.config())).unwrap() {
        assert_same(
            &name,
            &array,
            &weights.tensor(&name, array.shape()).unwrap(),
        );
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let heads = |heads| {
        dit(
            &fixture("dit_tiny/original.safetensors"),
            DitOptions { heads },
        )
        .err()
    };
    let path = fixture("dit_tiny/original.safetensors");
    let error = heads(Some(5));
    assert!(
        matches!(
            &error,
            Some(Error::Format { path: at, problem })
                if *at == path && problem.contains("5 heads") && problem.contains("24")
        ),
        "{error:?}"
    );
    let error = heads(None);
    assert!(
        matches!(&error, Some(Error::Format { path: at, .. }) if *at == path),
        "no 128 channels per head here: {error:?}"
    );
    let model = dit(&fixture("dit_tiny/original.safetensors"), HEADS).unwrap();
    let device = device();
    let error = |latent: [usize; 5], times: &[f64], text: [usize; 3]| {
        model
            .forward(
                Tensor::zeros(latent, &device),
                times,
                Tensor::zeros(text, &device),
            )
            .unwrap_err()
    };
    // The value that does not fit, and what would.
    for (latent, times, text, what, fits) in [
        ([1, 16, 1, 4, 5], &[1.0][..], [1, 5, 20], "latent", "w of 2"),
        ([1, 48, 1, 4, 4], &[1.0], [1, 5, 20], "latent", "[B, 16"),
        ([1, 16, 1, 4, 4], &[1.0, 2.0], [1, 5, 20], "timesteps", "1"),
        (
            [1, 16, 1, 4, 4],
            &[1.0],
            [1, 5, 4096],
            "caption",
            "[1, tokens, 20]",
        ),
    ] {
        let error = error(latent, times, text);
        assert!(
            matches!(
                &error,
                Error::Shape { what: of, expected, .. }
                    if of.contains(what) && expected.contains(fits)
            ),
            "{error:?}"
        );
    }
}

fn umt5(path: &Path) -> Result<Umt5> {
    Ok(Umt5::new(
        Umt5Weights::find(ModelTensors::open(path, umt5::weights::FILES)?)?,
        device(),
    ))
}

/// Token numbers and whether they count, of the golden case.
fn captions() -> (Vec<Vec<u32>>, Vec<Vec<bool>>) {
    let cases = open("umt5_tiny/cases.safetensors");
    let rows = |name: &str| {
        let array = cases.read(name).unwrap();
        array
            .data()
            .chunks(array.shape()[1])
            .map(<[f32]>::to_vec)
            .collect::<Vec<_>>()
    };
    let ids = rows("input_ids")
        .into_iter()
        .map(|row| row.into_iter().map(|v| v as u32).collect());
    let counts = rows("attention_mask")
        .into_iter()
        .map(|row| row.into_iter().map(|v| v != 0.0).collect());
    (ids.collect(), counts.collect())
}

fn check_umt5(model: &Umt5) {
    let (ids, counts) = captions();
    let mut layers = Vec::new();
    let hidden = to_array(
        model
            .encode(&ids, &counts, &mut |done| layers.push(done))
            .unwrap(),
    )
    .unwrap();
    assert_eq!(layers, [1, 2]);
    let want = open("umt5_tiny/cases.safetensors").read("hidden").unwrap();
    assert_close("hidden", &hidden, &want, tolerance::TRANSFORMER_F32);
}

#[test]
fn the_text_encoder_under_both_names() {
    check_umt5(&umt5(&fixture("umt5_tiny/model.safetensors")).unwrap());
    let file = open("umt5_tiny/model.safetensors");
    let wans = [
        ("encoder.final_layer_norm", "norm"),
        ("encoder.block", "blocks"),
        (
            "layer.0.SelfAttention.relative_attention_bias",
            "pos_embedding.embedding",
        ),
        ("layer.0.SelfAttention", "attn"),
        ("layer.0.layer_norm", "norm1"),
        ("layer.1.layer_norm", "norm2"),
        ("layer.1.DenseReluDense.wi_0", "ffn.gate.0"),
        ("layer.1.DenseReluDense.wi_1", "ffn.fc1"),
        ("layer.1.DenseReluDense.wo", "ffn.fc2"),
        ("shared", "token_embedding"),
    ];
    let rename = |name: &str| {
        wans.iter()
            .fold(name.to_string(), |n, (from, to)| n.replace(from, to))
    };
    let arrays: Vec<_> = file
        .tensors()
        .keys()
        .map(|name| (rename(name), file.read(name).unwrap()))
        .collect();
    let arrays: Vec<(&str, &Array)> = arrays
        .iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    write_arrays(
        &folder.path().join("model.safetensors"),
        &arrays,
        &Default::default(),
    )
    .unwrap();
    check_umt5(&umt5(folder.path()).unwrap());
}

#[test]
fn captions_and_encoders_that_do_not_fit_are_refused() {
    let model = umt5(&fixture("umt5_tiny/model.safetensors")).unwrap();
    let error = |ids: &[Vec<u32>], counts: &[Vec<bool>]| {
        model.encode(ids, counts, &mut |_| ()).unwrap_err()
    };
    let unequal = error(&[vec![1, 2], vec![3]], &[vec![true; 2], vec![true]]);
    assert!(
        matches!(&unequal, Error::Shape { got, .. } if got.contains("[2, 1, 2, 1]")),
        "{unequal:?}"
    );
    let uncounted = error(&[vec![1, 2]], &[vec![false; 2]]);
    assert!(matches!(uncounted, Error::Shape { .. }), "{uncounted:?}");
    let unknown = error(&[vec![96]], &[vec![true]]);
    assert!(
        matches!(&unknown, Error::Tensor { got, .. } if got == "row 96"),
        "{unknown:?}"
    );
    let other = fixture("dit_tiny/original.safetensors");
    assert!(matches!(
        umt5(&other).err(),
        Some(Error::NotThisModel { path, .. }) if path == other
    ));
}
