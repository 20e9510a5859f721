//! The fixtures of the VAE, on every instruction set this CPU has.

use std::sync::Arc;

use vae2x_core::VaeConfig;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa, Precision};
use vae2x_testkit::{shared, tolerance, vae};

fn engine(weights: &Arc<dyn Weights>, isa: Isa, threads: usize) -> CpuEngine {
    CpuEngine::new(
        weights.clone(),
        CpuOptions {
            threads,
            isa: Some(isa),
            ..CpuOptions::default()
        },
    )
    .unwrap()
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
            vae::check_fixtures(&engine(&weights, isa, 2), folder, tolerance::CPU_F32);
        }
    }
}

#[test]
fn the_full_model_matches_the_goldens() {
    let weights = full();
    for isa in Isa::available() {
        vae::check_fixtures(
            &engine(&weights, isa, 2),
            "vae_full_up2x",
            tolerance::CPU_F32,
        );
    }
}

#[test]
fn weights_in_bf16_stay_near_the_goldens() {
    let weights = full();
    for isa in Isa::available() {
        let options = CpuOptions {
            threads: 2,
            isa: Some(isa),
            precision: Precision::Bf16,
        };
        let engine = CpuEngine::new(weights.clone(), options).unwrap();
        vae::check_fixtures(&engine, "vae_full_up2x", tolerance::CPU_BF16);
    }
}

#[test]
fn every_cut_of_a_clip_gives_the_same_bits() {
    for folder in ["vae_tiny_up2x", "vae_tiny_base"] {
        vae::check_streaming(&engine(&tiny(folder), Isa::detect(), 2), folder);
    }
}

#[test]
fn every_cut_of_a_clip_gives_the_same_bits_in_the_full_model() {
    // Some of its large convolutions keep their taps in clips, but not for single frames.
    vae::check_streaming(&engine(&full(), Isa::detect(), 2), "vae_full_up2x");
}
