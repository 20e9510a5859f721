//! The burn modules against the goldens, and against themselves in pieces, on burn-flex or the device that
//! `VAE2X_TEST_DEVICE` names.

mod common;

use burn::tensor::{Tensor, TensorData};
use common::{device, is_flex};
use vae2x_core::engine::Engine;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, VaeConfig};
use vae2x_nn::wan_vae::{BurnEngine, BurnOptions, Decoder, DecoderState};
use vae2x_testkit::compare::{assert_close, assert_same};
use vae2x_testkit::{fixture, open, tolerance, vae};

fn engine(weights: &dyn Weights) -> BurnEngine {
    BurnEngine::load(weights, &BurnOptions::default(), &device()).unwrap()
}

/// The tolerance of the device under test.
fn f32_tolerance() -> f64 {
    if is_flex(&device()) {
        tolerance::BURN_F32
    } else {
        tolerance::GPU_F32
    }
}

fn tiny(path: &str) -> BurnEngine {
    engine(&VaeWeights::open(&fixture(&format!("{path}"))).unwrap())
}

#[test]
fn tiny_2x_from_every_layout() {
    vae::check_fixtures(
        &tiny("vae_tiny_up2x/original.safetensors"),
        "vae_tiny_up2x",
        f32_tolerance(),
    );
    vae::check_fixtures(
        &tiny("vae_tiny_up2x/diffusers"),
        "vae_tiny_up2x",
        f32_tolerance(),
    );
    vae::check_fixtures(
        &tiny("vae_tiny_up2x/original_bf16.pth"),
        "vae_tiny_up2x",
        tolerance::BF16_WEIGHTS,
    );
}

#[test]
fn tiny_base_from_every_layout() {
    vae::check_fixtures(
        &tiny("vae_tiny_base/original.safetensors"),
        "vae_tiny_base",
        f32_tolerance(),
    );
    vae::check_fixtures(
        &tiny("vae_tiny_base/diffusers"),
        "vae_tiny_base",
        f32_tolerance(),
    );
}

#[test]
fn full_size_from_the_formula() {
    let weights = FormulaWeights::new(VaeConfig::with_widths(96, 12));
    vae::check_fixtures(&engine(&weights), "vae_full_up2x", f32_tolerance());
}

#[test]
fn a_streamed_clip_is_the_whole_clip() {
    vae::check_streaming(&tiny("vae_tiny_up2x/original.safetensors"), "vae_tiny_up2x");
    vae::check_streaming(&tiny("vae_tiny_base/original.safetensors"), "vae_tiny_base");
}

#[test]
fn a_batch_is_its_items() {
    let weights = VaeWeights::open(&fixture("vae_tiny_up2x/original.safetensors")).unwrap();
    let device = device();
    let decoder = Decoder::load(&weights, &device).unwrap();
    let batch = open("vae_tiny_up2x/cases.safetensors")
        .read("decode.odd.latent")
        .unwrap();
    let decode = |array: &Array| {
        let dims: [usize; 5] = array.dims("latent").unwrap();
        let latent = Tensor::from_data(TensorData::new(array.data().to_vec(), dims), &device);
        let raw = decoder.step(latent, &mut DecoderState::default()).unwrap();
        Array::new(raw.dims(), raw.try_into_vec_as::<f32>().unwrap()).unwrap()
    };
    let whole = decode(&batch);
    let tolerance = if is_flex(&device) {
        tolerance::BANDS_F32
    } else {
        tolerance::GPU_F32
    };
    for b in 0..2 {
        let single = decode(&Array::stack(&[batch.item(b)]).unwrap());
        // Not to the bit: the matrix products of a batch may be tiled differently.
        assert_close(
            &format!("item {b}"),
            &whole.item(b),
            &single.item(0),
            tolerance,
        );
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let engine = tiny("vae_tiny_base/original.safetensors");
    let refuse = |shape: [usize; 4]| {
        engine
            .decoder()
            .step(&Array::zeros(shape), &mut |_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(refuse([48, 1, 4, 4]).contains("[16, t, h, w]"));
    assert!(refuse([16, 0, 4, 4]).contains("none of them 0"));
    let mut session = engine.decoder();
    session
        .step(&Array::zeros([16, 1, 2, 2]), &mut |_| ())
        .unwrap();
    assert!(
        session
            .step(&Array::zeros([16, 1, 2, 3]), &mut |_| ())
            .is_err()
    );
    let encode = |shape: [usize; 4]| {
        engine
            .encoder()
            .step(&Array::zeros(shape), &mut |_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(encode([3, 1, 12, 16]).contains("multiples of 8"));
    assert!(encode([3, 3, 16, 16]).contains("1 + 4 k"));
}

#[test]
fn a_refused_step_leaves_the_clip_as_it_was() {
    let engine = tiny("vae_tiny_up2x/original.safetensors");
    let clip = open("vae_tiny_up2x/cases.safetensors")
        .read("decode.clip.latent")
        .unwrap()
        .item(0);
    let whole = vae::decode_whole(&engine, &clip);
    let mut session = engine.decoder();
    let mut parts = vec![session.step(&clip.narrow1(0..1), &mut |_| ()).unwrap()];
    session
        .step(&Array::zeros([16, 1, 9, 9]), &mut |_| ())
        .unwrap_err();
    parts.push(session.step(&clip.narrow1(1..3), &mut |_| ()).unwrap());
    assert_same("after a refusal", &Array::concat1(&parts).unwrap(), &whole);
}
