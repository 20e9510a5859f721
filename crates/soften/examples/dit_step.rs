//! Time and peak memory of one prediction of the 1.3B transformer, with weights by formula.
//!
//! `cargo run --release -p vae2x-soften --example dit_step [CELLS]`: one latent frame of CELLS x CELLS cells, 32 if not given.

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use vae2x_core::weights::formula;
use vae2x_core::{Array, Result};
use vae2x_nn::array::to_tensor;
use vae2x_soften::wan_dit::{DitConfig, WanDit};

/// Tokens of a caption.
const CAPTION: usize = 512;

fn main() -> Result<()> {
    let cells = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(32);
    let (config, device) = (DitConfig::wan_1_3b(), Device::flex());
    let started = Instant::now();
    let model = WanDit::load(&config, &weight, &device)?;
    println!("loaded in {:.1} s", started.elapsed().as_secs_f64());
    let values = |name: &str, shape: &[usize]| {
        Array::new(shape, formula::unit(name, shape.iter().product()).collect())
    };
    let latent: Tensor<5> = to_tensor(
        &values("latent", &[1, 16, 1, cells, cells])?,
        "latent",
        &device,
    )?;
    let text = to_tensor(
        &values("text", &[1, CAPTION, config.text_dim])?,
        "text",
        &device,
    )?;
    let started = Instant::now();
    let velocity = model.forward(latent, &[200.0], text)?;
    let root_mean_square = velocity.square().mean().sqrt().into_scalar::<f32>();
    println!(
        "{cells}x{cells} cells in {:.1} s; rms {root_mean_square:.4}",
        started.elapsed().as_secs_f64()
    );
    // Where the system reports it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("VmHWM"))
        .for_each(|line| println!("{line}"));
    Ok(())
}

/// Norms of weight 1, all else by formula.
fn weight(name: &str, shape: &[usize]) -> Result<Array> {
    let is_norm = name.contains("norm") && name.ends_with("weight");
    let values = if is_norm {
        vec![1.0; shape.iter().product()]
    } else {
        formula::tensor(name, shape, 1.0)
    };
    Array::new(shape, values)
}
