//! Each distinct convolution of the decoder by itself, and its norm, beside what the device reaches in matrix products and copies:
//! where a decode's time goes, and what bounds it.

use std::collections::BTreeMap;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device as BurnDevice, Distribution, FloatDType, Tensor, module};
use vae2x::{Device, Precision, VaeConfig};
use vae2x_core::arch::{self, Conv, Layer, Taps};
use vae2x_nn::device::{check_precision, float_dtype};

use crate::decode::cells;
use crate::device::{on_burn, timed};

#[derive(clap::Args)]
pub struct Args {
    device: Device,
    /// f32, bf16 or f16.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// Height and width of the latent.
    #[arg(long, default_value = "128x128", value_parser = cells)]
    cells: [usize; 2],
    /// Width of the decoder's last stage.
    #[arg(long, default_value_t = 96)]
    base_dim: usize,
    /// Runs after the first two, of which the fastest counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Side of the matrices whose product is the measure of arithmetic.
    #[arg(long, default_value_t = 8192)]
    product: usize,
}

/// Channels in and out, side of the kernel, times the latent's resolution.
type Shape = [usize; 4];

/// The decoder's convolutions on a single frame and how often each occurs, at most once per shape.
fn convolutions(config: &VaeConfig) -> BTreeMap<Shape, usize> {
    let (mut counts, mut scale) = (BTreeMap::new(), 1);
    let mut count = |conv: &Conv, scale: usize| {
        let side = match conv.taps {
            Taps::Causal | Taps::Frame => 3,
            Taps::Point | Taps::FramePoint => 1,
            // Skipped by a single frame.
            Taps::Time => return,
        };
        *counts
            .entry([conv.inputs, conv.outputs, side, scale])
            .or_insert(0) += 1;
    };
    for layer in arch::decoder(config) {
        match &layer {
            Layer::Conv(conv) | Layer::Head { conv, .. } => count(conv, scale),
            Layer::Residual(block) => {
                count(&block.conv1, scale);
                count(&block.conv2, scale);
                if let Some(conv) = &block.shortcut {
                    count(conv, scale);
                }
            }
            Layer::Attention(block) => {
                count(&block.to_qkv, scale);
                count(&block.proj, scale);
            }
            Layer::Upsample { conv, .. } => {
                scale *= 2;
                count(conv, scale);
            }
            Layer::Downsample { .. } => unreachable!("a decoder has none"),
        }
    }
    counts
}

/// The least seconds of `work`, which the first two runs may compile and tune.
fn least<const D: usize>(
    device: &BurnDevice,
    runs: usize,
    work: impl Fn() -> Tensor<D>,
) -> anyhow::Result<f64> {
    let mut least = f64::INFINITY;
    for run in 0..runs.max(1) + 2 {
        let (_, seconds) = timed(device, || Ok(work()))?;
        if run >= 2 {
            least = least.min(seconds);
        }
    }
    Ok(least)
}

fn random<const D: usize>(shape: [usize; D], dtype: FloatDType, device: &BurnDevice) -> Tensor<D> {
    Tensor::<D>::random(shape, Distribution::Default, device).cast(dtype)
}

/// Prints the device's ceilings, then a line per shape: seconds of one call, the share of all convolutions' time, FLOP/s, and
/// bytes per second if each value went through memory once.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let device = on_burn(args.device)?;
    check_precision(&device, args.dtype)?;
    let dtype = float_dtype(args.dtype);
    let bytes = match args.dtype {
        Precision::F32 => 4,
        Precision::Bf16 | Precision::F16 => 2,
    };
    let n = args.product;
    let (a, b) = (
        random([n, n], dtype, &device),
        random([n, n], dtype, &device),
    );
    let product = least(&device, args.runs, || a.clone().matmul(b.clone()))?;
    let copy = least(&device, args.runs, || a.clone() + 1.0)?;
    let (flops, bandwidth) = (
        2.0 * (n as f64).powi(3) / product,
        2.0 * (n * n * bytes) as f64 / copy,
    );
    let json = serde_json::json!({
        "what": "ceilings", "dtype": args.dtype.name(), "product": n,
        "tflops": flops / 1e12, "gb_per_s": bandwidth / 1e9,
    });
    println!("{json}");
    let mut rows = Vec::new();
    for ([inputs, outputs, side, scale], count) in
        convolutions(&VaeConfig::with_widths(args.base_dim, 3))
    {
        let [h, w] = args.cells.map(|n| n * scale);
        let x = random([1, inputs, h, w], dtype, &device);
        let weight = random([outputs, inputs, side, side], dtype, &device);
        let bias = random([outputs], dtype, &device);
        let options = || ConvOptions::new([1, 1], [side / 2; 2], [1, 1], 1);
        let seconds = least(&device, args.runs, || {
            module::conv2d(x.clone(), weight.clone(), Some(bias.clone()), options())
        })?;
        let flop = 2.0 * (inputs * outputs * side * side * h * w) as f64;
        let moved = ((inputs + outputs) * h * w + inputs * outputs * side * side) * bytes;
        rows.push((
            [inputs, outputs, side, h, w],
            count,
            seconds,
            flop,
            moved as f64,
        ));
    }
    let whole: f64 = rows.iter().map(|row| row.1 as f64 * row.2).sum();
    for ([inputs, outputs, side, h, w], count, seconds, flop, moved) in rows {
        let json = serde_json::json!({
            "what": "layer", "dtype": args.dtype.name(),
            "inputs": inputs, "outputs": outputs, "kernel": side, "size": format!("{h}x{w}"),
            "count": count, "seconds": seconds, "share": count as f64 * seconds / whole,
            "tflops": flop / seconds / 1e12, "of_product": flop / seconds / flops,
            "gb_per_s": moved / seconds / 1e9, "of_copy": moved / seconds / bandwidth,
        });
        println!("{json}");
    }
    Ok(())
}
