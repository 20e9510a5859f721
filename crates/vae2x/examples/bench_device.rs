//! Times decoding on a device, from latents in memory to clamped pixels in memory:
//! `cargo run --release -p vae2x --features vulkan --example bench_device -- vulkan [--dtype f32] [--cells 64x64]
//! [--frames 1] [--runs 5] [--memory BYTES] [--out-channels 3]`.
//!
//! Weights are by formula at base width 96, so nothing is downloaded. Prints one JSON line: seconds of the first decode, which
//! compiles and tunes kernels, the least of the runs after it, and what the device's allocator holds in the end.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use vae2x::{Array, Device, Extent, Precision, Vae, VaeBuilder, VaeConfig};
use vae2x_core::weights::formula::{self, FormulaWeights};

struct Args {
    device: Device,
    precision: Precision,
    memory: Option<u64>,
    cells: [usize; 2],
    frames: usize,
    runs: usize,
    out_channels: usize,
}

fn parse() -> anyhow::Result<Args> {
    let mut words = std::env::args().skip(1);
    let device = words.next().context("which device?")?;
    let mut args = Args {
        device: device
            .parse()
            .map_err(|e| anyhow::anyhow!("the first argument: {e}"))?,
        precision: Precision::F32,
        memory: None,
        cells: [64, 64],
        frames: 1,
        runs: 5,
        out_channels: 3,
    };
    while let Some(name) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{name} has no value"))?;
        match name.as_str() {
            "--dtype" => args.precision = value.parse()?,
            "--cells" => {
                let (h, w) = value
                    .split_once('x')
                    .context("--cells takes HEIGHTxWIDTH")?;
                args.cells = [h.parse()?, w.parse()?];
            }
            "--frames" => args.frames = value.parse()?,
            "--runs" => args.runs = value.parse()?,
            "--memory" => args.memory = Some(value.parse()?),
            "--out-channels" => args.out_channels = value.parse()?,
            _ => bail!("there is no argument {name}"),
        }
    }
    Ok(args)
}

/// The model with weights by formula on the device.
fn builder(args: &Args) -> VaeBuilder {
    let config = VaeConfig::with_widths(96, args.out_channels);
    Vae::from_weights(Arc::new(FormulaWeights::new(config)), "formula")
        .device(args.device)
        .precision(args.precision)
        .memory(args.memory)
        .notify(|text| eprintln!("{text}"))
}

fn main() -> anyhow::Result<()> {
    let args = parse()?;
    let vae = builder(&args).build()?;
    let [h, w] = args.cells;
    let clip = Extent {
        frames: args.frames,
        cells: args.cells,
    };
    let values: Vec<f32> = formula::unit("bench.latent", 16 * args.frames * h * w).collect();
    let latent = Array::new([16, args.frames, h, w], values)?;
    let run = || {
        let start = Instant::now();
        let mut session = vae.decoder(clip)?;
        for t in 0..args.frames {
            session.step(&latent.narrow1(t..t + 1))?;
        }
        Ok::<_, vae2x::Error>(start.elapsed().as_secs_f64())
    };
    let first = run()?;
    let mut least = f64::INFINITY;
    for _ in 0..args.runs {
        least = least.min(run()?);
    }
    let json = serde_json::json!({
        "engine": vae.engine(),
        "dtype": args.precision.name(),
        "cells": format!("{h}x{w}"),
        "latent_frames": args.frames,
        "first_s": first,
        "seconds": least,
        "device_mb": vae.device_memory().map(|bytes| bytes / 1_000_000),
    });
    println!("{json}");
    Ok(())
}
