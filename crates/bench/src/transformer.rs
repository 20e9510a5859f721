//! Time and memory of one prediction of the 1.3B transformer, with weights by formula.

use burn::tensor::Tensor;
use vae2x::Device;
use vae2x_core::weights::formula;
use vae2x_core::{Array, Result};
use vae2x_nn::array::to_tensor;
use vae2x_soften::wan_dit::{DitConfig, WanDit};

use crate::device::{on_burn, peak_mb, reserved_mb, timed};

/// Tokens of a caption.
const CAPTION: usize = 512;

#[derive(clap::Args)]
pub struct Args {
    device: Device,
    /// One latent frame of CELLS x CELLS cells.
    #[arg(long, default_value_t = 32)]
    cells: usize,
}

/// Prints the seconds of loading and of one prediction, and the root mean square of what it predicts.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (config, device) = (DitConfig::wan_1_3b(), on_burn(args.device)?);
    let cells = args.cells;
    let (model, load) = timed(&device, || Ok(WanDit::load(&config, &weight, &device)?))?;
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
    let (velocity, seconds) = timed(&device, || Ok(model.forward(latent, &[200.0], text)?))?;
    let json = serde_json::json!({
        "what": "transformer",
        "cells": cells,
        "load_s": load,
        "seconds": seconds,
        "rms": velocity.square().mean().sqrt().into_scalar::<f32>(),
        "device_mb": reserved_mb(&device),
        "process_mb": peak_mb(),
    });
    println!("{json}");
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
