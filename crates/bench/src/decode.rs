//! Times decoding, from latents in memory to clamped pixels in memory.

use std::sync::Arc;
use std::time::Instant;

use vae2x::{Array, Device, Extent, Precision, Vae, VaeConfig};
use vae2x_core::weights::formula::{self, FormulaWeights};

use crate::device::peak_mb;

#[derive(clap::Args)]
pub struct Args {
    device: Device,
    /// f32, bf16 or f16.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// Height and width of the latent.
    #[arg(long, default_value = "64x64", value_parser = cells)]
    cells: [usize; 2],
    /// Latent frames.
    #[arg(long, default_value_t = 1)]
    frames: usize,
    /// Runs after the first, of which the fastest counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Bytes that a GPU's plans may use.
    #[arg(long)]
    memory: Option<u64>,
    /// Threads of the CPU engine.
    #[arg(long)]
    threads: Option<usize>,
    /// 3 for a base decoder, 12 for a 2x decoder.
    #[arg(long, default_value_t = 3)]
    out_channels: usize,
    /// Width of the decoder's last stage.
    #[arg(long, default_value_t = 96)]
    base_dim: usize,
}

pub fn cells(text: &str) -> Result<[usize; 2], String> {
    let parts = text.split_once('x');
    parts
        .and_then(|(h, w)| Some([h.parse().ok()?, w.parse().ok()?]))
        .ok_or_else(|| "expected HEIGHTxWIDTH, such as 60x104".into())
}

/// Prints the engine, the seconds of the first decode, which compiles and tunes kernels, the least of the runs after it, and
/// the memory in the end: what the device's allocator holds, and the peak of the process.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = VaeConfig::with_widths(args.base_dim, args.out_channels);
    let vae = Vae::from_weights(Arc::new(FormulaWeights::new(config)), "formula")
        .device(args.device)
        .precision(args.dtype)
        .memory(args.memory)
        .threads(args.threads)
        .notify(|text| eprintln!("{text}"))
        .build()?;
    let [h, w] = args.cells;
    let clip = Extent {
        frames: args.frames,
        cells: args.cells,
    };
    let values: Vec<f32> = formula::unit("bench.latent", 16 * args.frames * h * w).collect();
    let latent = Array::new([16, args.frames, h, w], values)?;
    let decode = || {
        let start = Instant::now();
        let mut session = vae.decoder(clip)?;
        for t in 0..args.frames {
            session.step(&latent.narrow1(t..t + 1))?;
        }
        Ok::<_, vae2x::Error>(start.elapsed().as_secs_f64())
    };
    let first = decode()?;
    let mut least = f64::INFINITY;
    for _ in 0..args.runs {
        least = least.min(decode()?);
    }
    let least = if args.runs == 0 { first } else { least };
    let json = serde_json::json!({
        "what": "decode",
        "engine": vae.engine(),
        "dtype": args.dtype.name(),
        "cells": format!("{h}x{w}"),
        "latent_frames": args.frames,
        "threads": vae.threads(),
        "first_s": first,
        "seconds": least,
        "device_mb": vae.device_memory().map(|bytes| bytes / 1_000_000),
        "process_mb": peak_mb(),
    });
    println!("{json}");
    Ok(())
}
