//! The burn modules against the goldens, and against themselves in pieces, on burn-flex or the device that
//! `VAE2X_TEST_DEVICE` names.

mod common;

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use common::{device, is_flex};
use vae2x_core::engine::Engine;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, VaeConfig};
use vae2x_nn::wan_vae::{BurnEngine, BurnOptions, Decoder, DecoderState};
use vae2x_testkit::compare::assert_close;
use vae2x_testkit::{fixture, open, tolerance, vae};

fn engine(weights: Arc<dyn Weights>) -> Arc<dyn Engine> {
    Arc::new(BurnEngine::new(weights, BurnOptions::default(), device()).unwrap())
}

/// The tolerance of the device under test.
fn f32_tolerance() -> f64 {
    if is_flex(&device()) {
        tolerance::BURN_F32
    } else {
        tolerance::GPU_F32
    }
}

fn tiny(path: &str) -> Arc<dyn Engine> {
    engine(Arc::new(VaeWeights::open(&fixture(path)).unwrap()))
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
    let weights = Arc::new(FormulaWeights::new(VaeConfig::with_widths(96, 12)));
    vae::check_fixtures(&engine(weights), "vae_full_up2x", f32_tolerance());
}

#[test]
fn the_first_frame_of_a_clip_is_the_image() {
    for folder in ["vae_tiny_up2x", "vae_tiny_base"] {
        let engine = tiny(&format!("{folder}/original.safetensors"));
        // GPUs choose their kernels by measuring, each time anew.
        let first = if is_flex(&device()) {
            None
        } else {
            Some(f32_tolerance())
        };
        vae::check_clips(&engine, folder, first);
    }
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
