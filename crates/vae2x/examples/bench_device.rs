//! Times decoding on a device, from latents in memory to clamped pixels in memory:
//! `cargo run --release -p vae2x --features vulkan --example bench_device -- vulkan [--dtype f32] [--cells 64x64]
//! [--frames 1] [--runs 5] [--memory BYTES] [--out-channels 3]`.
//!
//! Weights are by formula at base width 96, so nothing is downloaded. Prints one JSON line: seconds of the first decode, which
//! compiles and tunes kernels, the least of the runs after it, and what the device's allocator holds in the end.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use vae2x::core::latent::Raw;
use vae2x::core::weights::formula::{self, FormulaWeights};
use vae2x::core::{Array, VaeConfig};
use vae2x::{Decoder, EngineOptions, Precision};

struct Args {
    options: EngineOptions,
    cells: [usize; 2],
    frames: usize,
    runs: usize,
    out_channels: usize,
}

fn parse() -> anyhow::Result<Args> {
    let notify: Option<fn(&str)> = Some(|text| eprintln!("{text}"));
    let options = EngineOptions {
        notify,
        ..EngineOptions::default()
    };
    let mut args = Args {
        options,
        cells: [64, 64],
        frames: 1,
        runs: 5,
        out_channels: 3,
    };
    let mut words = std::env::args().skip(1);
    args.options.device = words
        .next()
        .context("which device?")?
        .parse()
        .map_err(|e| anyhow::anyhow!("the first argument: {e}"))?;
    while let Some(name) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{name} has no value"))?;
        match name.as_str() {
            "--dtype" => args.options.precision = precision(&value)?,
            "--cells" => {
                let (h, w) = value
                    .split_once('x')
                    .context("--cells takes HEIGHTxWIDTH")?;
                args.cells = [h.parse()?, w.parse()?];
            }
            "--frames" => args.frames = value.parse()?,
            "--runs" => args.runs = value.parse()?,
            "--memory" => args.options.memory = Some(value.parse()?),
            "--out-channels" => args.out_channels = value.parse()?,
            _ => bail!("there is no argument {name}"),
        }
    }
    Ok(args)
}

fn precision(name: &str) -> anyhow::Result<Precision> {
    Ok(match name {
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        "f16" => Precision::F16,
        _ => bail!("--dtype takes f32, bf16 or f16"),
    })
}

fn main() -> anyhow::Result<()> {
    let Args {
        options,
        cells: [h, w],
        frames,
        runs,
        out_channels,
    } = parse()?;
    let config = VaeConfig::with_widths(96, out_channels);
    let decoder = Decoder::load(Arc::new(FormulaWeights::new(config)), &options)?;
    let values = formula::unit("bench.latent", 16 * frames * h * w).collect();
    let latent = Raw::new(Array::new([1, 16, frames, h, w], values)?)?;
    let run = || {
        let start = Instant::now();
        decoder.decode_frames(&latent, &mut |_| (), |_| Ok::<_, vae2x::core::Error>(()))?;
        Ok::<_, vae2x::core::Error>(start.elapsed().as_secs_f64())
    };
    let first = run()?;
    let mut least = f64::INFINITY;
    for _ in 0..runs {
        least = least.min(run()?);
    }
    let json = serde_json::json!({
        "engine": decoder.engine(),
        "dtype": format!("{:?}", options.precision).to_lowercase(),
        "cells": format!("{h}x{w}"),
        "latent_frames": frames,
        "first_s": first,
        "seconds": least,
        "device_mb": decoder.device_memory().map(|bytes| bytes / 1_000_000),
    });
    println!("{json}");
    Ok(())
}
