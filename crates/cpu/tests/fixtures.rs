//! The fixtures of the VAE, on every instruction set this CPU has.

use std::sync::Arc;

use vae2x_core::engine::Engine;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Precision, VaeConfig};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa};
use vae2x_testkit::{fixture, tolerance, vae};

fn engine(weights: &Arc<dyn Weights>, isa: Isa, precision: Precision) -> Arc<dyn Engine> {
    let options = CpuOptions {
        threads: 2,
        isa: Some(isa),
        precision,
    };
    Arc::new(CpuEngine::new(weights.clone(), options).unwrap())
}

fn full() -> Arc<dyn Weights> {
    Arc::new(FormulaWeights::new(VaeConfig::with_widths(96, 12)))
}

fn tiny(folder: &str) -> Arc<dyn Weights> {
    let path = fixture(&format!("{folder}/original.safetensors"));
    Arc::new(VaeWeights::open(&path).unwrap_or_else(|e| panic!("{e}")))
}

#[test]
fn tiny_models_match_the_goldens() {
    for folder in ["vae_tiny_up2x", "vae_tiny_base"] {
        let weights = tiny(folder);
        for isa in Isa::available() {
            vae::check_fixtures(
                &engine(&weights, isa, Precision::F32),
                folder,
                tolerance::CPU_F32,
            );
        }
    }
}

#[test]
fn the_full_model_matches_the_goldens() {
    let weights = full();
    for isa in Isa::available() {
        vae::check_fixtures(
            &engine(&weights, isa, Precision::F32),
            "vae_full_up2x",
            tolerance::CPU_F32,
        );
    }
}

#[test]
fn weights_in_bf16_stay_near_the_goldens() {
    let weights = full();
    for isa in Isa::available() {
        let engine = engine(&weights, isa, Precision::Bf16);
        vae::check_fixtures(&engine, "vae_full_up2x", tolerance::CPU_BF16);
    }
}

#[test]
fn the_first_frame_of_a_clip_is_the_image_to_the_bit() {
    for folder in ["vae_tiny_up2x", "vae_tiny_base"] {
        let engine = engine(&tiny(folder), Isa::detect(), Precision::F32);
        vae::check_clips(&engine, folder, None);
    }
}

#[test]
fn the_first_frame_of_a_clip_is_the_image_to_the_bit_in_the_full_model() {
    // Some of its large convolutions keep their taps in clips, but not for images, or round them.
    for precision in [Precision::F32, Precision::Bf16] {
        let engine = engine(&full(), Isa::detect(), precision);
        vae::check_clips(&engine, "vae_full_up2x", None);
    }
}
