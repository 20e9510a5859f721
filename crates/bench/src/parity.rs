//! How far a device is from the goldens, and bands from whole images: measured, not judged.

use std::sync::Arc;

use vae2x::{Device, Precision, VaeConfig};
use vae2x_core::engine::Engine;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, Error};
use vae2x_cpu::{CpuEngine, CpuOptions};
use vae2x_nn::device::{Limits, check_precision};
use vae2x_nn::wan_vae::{BurnEngine, BurnOptions, DecodePlan, Demand};
use vae2x_testkit::compare::relative_l2;
use vae2x_testkit::{Fixtures, vae};

use crate::device::on_burn;

#[derive(clap::Args)]
pub struct Args {
    device: Device,
    /// The folder `tests/fixtures` of the repository.
    #[arg(long, default_value = "tests/fixtures")]
    fixtures: std::path::PathBuf,
    /// Leave out the model of full width.
    #[arg(long)]
    small: bool,
}

/// Prints, for every precision, the largest relative L2 distance of each model from its goldens, and, in f32, that of an image in
/// bands from the whole.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let fixtures = Fixtures::at(&args.fixtures);
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        if !has(args.device, precision)? {
            continue;
        }
        for folder in ["vae_tiny_base", "vae_tiny_up2x", "vae_full_up2x"] {
            if args.small && folder == "vae_full_up2x" {
                continue;
            }
            let engine = engine(args.device, weights(&fixtures, folder)?, precision, None)?;
            let errors = vae::fixture_errors(&engine, &fixtures, folder);
            let worst = errors.iter().max_by(|a, b| a.1.total_cmp(&b.1));
            let worst = worst.expect("no folder is without cases");
            let json = serde_json::json!({
                "what": "parity", "engine": engine.name(), "dtype": precision.name(), "model": folder,
                "cases": errors.len(), "error": worst.1, "worst": worst.0,
            });
            println!("{json}");
        }
    }
    if args.device != Device::Cpu {
        bands(args.device, weights(&fixtures, "vae_tiny_up2x")?)?;
    }
    Ok(())
}

fn weights(fixtures: &Fixtures, folder: &str) -> anyhow::Result<Arc<dyn Weights>> {
    if folder == "vae_full_up2x" {
        return Ok(Arc::new(FormulaWeights::new(VaeConfig::with_widths(
            96, 12,
        ))));
    }
    let path = fixtures.path(&format!("{folder}/original.safetensors"));
    Ok(Arc::new(VaeWeights::open(&path)?))
}

/// Whether the device computes in a precision.
fn has(device: Device, precision: Precision) -> anyhow::Result<bool> {
    match device {
        Device::Cpu => Ok(precision != Precision::F16),
        other => match check_precision(&on_burn(other)?, precision) {
            Ok(()) => Ok(true),
            Err(Error::NoDevice(_)) => Ok(false),
            Err(e) => Err(e.into()),
        },
    }
}

fn engine(
    device: Device,
    weights: Arc<dyn Weights>,
    precision: Precision,
    limits: Option<Limits>,
) -> anyhow::Result<Arc<dyn Engine>> {
    if device == Device::Cpu {
        let options = CpuOptions {
            precision,
            ..CpuOptions::default()
        };
        return Ok(Arc::new(CpuEngine::new(weights, options)?));
    }
    let options = BurnOptions {
        name: device.to_string(),
        decoder_precision: precision,
        encoder_precision: precision,
        limits: limits.unwrap_or_default(),
        notify: None,
    };
    Ok(Arc::new(BurnEngine::new(
        weights,
        options,
        on_burn(device)?,
    )?))
}

/// An image that just fits in little memory against the whole one.
fn bands(device: Device, weights: Arc<dyn Weights>) -> anyhow::Result<()> {
    let cells = [24, 20];
    let noise = |i: usize| ((i as f64 * 12.9898).sin() * 43758.5453).fract() as f32;
    let shape = [16, 1, cells[0], cells[1]];
    let latent = Array::new(shape, (0..shape.iter().product()).map(noise).collect())?;
    let config = weights.config().clone();
    let plan = |memory: u64| {
        let limits = Limits {
            memory,
            ..Limits::default()
        };
        DecodePlan::new(
            &config,
            &Demand {
                cells,
                clip: false,
                bytes: 4,
                limits,
            },
        )
        .map(|plan| (limits, plan.bands.len()))
    };
    // The least memory that a plan accepts, within a hundredth.
    let (mut refused, mut accepted) = (0, 1 << 40);
    while accepted - refused > accepted / 100 {
        let middle = (refused + accepted) / 2;
        match plan(middle) {
            Ok(_) => accepted = middle,
            Err(_) => refused = middle,
        }
    }
    let (limits, count) = plan(accepted)?;
    let decode = |limits| -> anyhow::Result<Array> {
        let engine = engine(device, weights.clone(), Precision::F32, limits)?;
        Ok(vae::decode_whole(&engine, &latent))
    };
    let (whole, parts) = (decode(None)?, decode(Some(limits))?);
    let json = serde_json::json!({
        "what": "bands", "engine": device.to_string(), "bands": count,
        "error": relative_l2(parts.data(), whole.data()),
    });
    println!("{json}");
    Ok(())
}
