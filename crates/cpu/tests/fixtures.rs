//! The fixtures of the VAE, on every instruction set this CPU has.

use std::sync::Arc;

use vae2x_core::VaeConfig;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa};
use vae2x_testkit::{shared, tolerance, vae};

fn engine(weights: &Arc<dyn Weights>, isa: Isa, threads: usize) -> CpuEngine {
    CpuEngine::new(weights.clone(), CpuOptions { threads, isa: Some(isa) }).unwrap()
}

fn tiny(folder: &str) -> Arc<dyn Weights> {
    let path = shared(&format!("fixtures/{folder}/original.safetensors"));
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
    let weights: Arc<dyn Weights> = Arc::new(FormulaWeights::new(VaeConfig::with_widths(96, 12)));
    for isa in Isa::available() {
        vae::check_fixtures(&engine(&weights, isa, 2), "vae_full_up2x", tolerance::CPU_F32);
    }
}

#[test]
fn every_cut_of_a_clip_gives_the_same_bits() {
    for folder in ["vae_tiny_up2x", "vae_tiny_base"] {
        vae::check_streaming(&engine(&tiny(folder), Isa::detect(), 2), folder);
    }
}
