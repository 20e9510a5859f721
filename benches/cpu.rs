//! Prints what the engine does beside what the machine could: `cargo bench -p vae2x-cpu -- [WHAT] [OPTIONS]`.
//!
//! WHAT is any of `32`, `64`, `128`, `256` (one frame of so many latent cells squared), `kernels`, `layers` (of one frame),
//! `clip`, `clip-layers` (of its last latent frame), `encode`, `threads`, `isa`, `bf16`; all but 256 by default. `--runs N` sets how
//! many runs the least is of, `--threads N` the number of threads; `--bf16` keeps the weights in bf16 throughout, while `bf16`
//! compares both ways. With `--simulate N`, `threads` adds up what 1, 2, 4 .. N threads would take from the times of the tasks on
//! one. Weights are by formula at base width 96 and 12 output channels. Times are the least of several. FLOPs are those of plain
//! convolutions as the layer list has them: 3x3 on enlarged images, one frame in two dimensions, all temporal taps in a clip.

use std::sync::Arc;
use std::time::Instant;

use vae2x_core::arch::{self, Conv, Layer, Taps};
use vae2x_core::engine::{Decoder, Encoder, Engine};
use vae2x_core::weights::formula::{self, FormulaWeights};
use vae2x_core::{Array, Extent, Precision, VaeConfig};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa, StepTime, measure_peak, profile_kernels};

/// Runs that the least time is taken of, if not told.
const RUNS: usize = 3;

fn main() {
    let mut wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let runs = take(&mut wanted, "--runs").unwrap_or(RUNS);
    let count = take(&mut wanted, "--threads").unwrap_or(0);
    let simulate = take(&mut wanted, "--simulate");
    if wanted.is_empty() {
        let all = [
            "32",
            "64",
            "128",
            "kernels",
            "layers",
            "clip",
            "clip-layers",
            "encode",
            "threads",
            "isa",
            "bf16",
        ];
        wanted = all.map(String::from).to_vec();
    }
    let precision = match wanted.iter().position(|a| a == "--bf16") {
        Some(at) => (wanted.remove(at), Precision::Bf16).1,
        None => Precision::F32,
    };
    let options = CpuOptions {
        isa: Isa::from_env().unwrap(),
        precision,
        threads: count,
    };
    let start = Instant::now();
    let engine = engine(options);
    load(&engine);
    println!(
        "{}, {} threads; packing {:.2} s, {} MB",
        engine.name(),
        engine.threads(),
        start.elapsed().as_secs_f64(),
        peak_memory()
    );
    for what in &wanted {
        match what.as_str() {
            "clip" => clip(&engine, runs),
            "encode" => encode(&engine, runs),
            "kernels" => kernels(options),
            "bf16" => precisions(options, runs),
            "layers" => layers(&engine, options, runs, &latent(1, 64)),
            "clip-layers" => layers(&engine, options, runs, &latent(3, 32)),
            "threads" => match simulate {
                Some(most) => simulated(&engine, most, runs),
                None => threads(options, runs),
            },
            "isa" => sets(options, runs),
            size => match size.parse() {
                Ok(size) => image(&engine, options, size, runs),
                Err(_) => eprintln!("no benchmark is called '{size}'"),
            },
        }
    }
}

/// Takes an option and its number out of the arguments.
fn take(args: &mut Vec<String>, option: &str) -> Option<usize> {
    let at = args.iter().position(|a| a == option)?;
    let value = args.drain(at..(at + 2).min(args.len())).nth(1);
    value.and_then(|v| v.parse().ok())
}

fn engine(options: CpuOptions) -> Arc<CpuEngine> {
    let config = VaeConfig::with_widths(96, 12);
    Arc::new(CpuEngine::new(Arc::new(FormulaWeights::new(config)), options).unwrap())
}

/// Reads and packs what decoding an image needs.
fn load(engine: &Arc<CpuEngine>) {
    Decoder::new(engine.clone(), Extent::image([1, 1])).unwrap();
}

fn latent(frames: usize, size: usize) -> Array {
    let data = formula::unit("bench.latent", 16 * frames * size * size).collect();
    Array::new([16, frames, size, size], data).unwrap()
}

/// Seconds of the fastest of `runs`.
fn fastest(runs: usize, mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..runs).map(time).fold(f64::INFINITY, f64::min)
}

/// Decodes a clip or an image `[z, T, h, w]`.
fn decode(engine: &Arc<CpuEngine>, latent: &Array) {
    let [_, frames, h, w] = latent.dims("latent").unwrap();
    let clip = Extent {
        frames,
        cells: [h, w],
    };
    let mut session = Decoder::new(engine.clone(), clip).unwrap();
    for t in 0..frames {
        let frame = latent.narrow1(t..t + 1);
        std::hint::black_box(session.step(&frame, &mut |_| ()).unwrap());
    }
}

fn image(engine: &Arc<CpuEngine>, options: CpuOptions, size: usize, runs: usize) {
    let latent = latent(1, size);
    let seconds = fastest(runs, || decode(engine, &latent));
    let peak = (0..5)
        .map(|_| measure_peak(options).unwrap())
        .fold(0.0, f64::max);
    let flops = decoder_flops() * (size * size) as f64;
    println!(
        "decode {size}x{size}: {seconds:.3} s, {:.0} GFLOP/s direct, {:.2} of the peak of {:.0}; {} MB, {} MB estimated",
        flops / seconds / 1e9,
        flops / seconds / peak,
        peak / 1e9,
        peak_memory(),
        engine
            .decode_memory(Extent::image([size, size]))
            .unwrap()
            .total()
            / 1_000_000
    );
}

/// The kernels of each shape on one thread, beside the peak of one thread.
fn kernels(options: CpuOptions) {
    let peak = measure_peak(CpuOptions {
        threads: 1,
        ..options
    })
    .unwrap();
    for (inputs, outputs) in [(96, 96), (192, 192), (384, 384)] {
        for kernel in profile_kernels(options, inputs, outputs) {
            let flops = kernel.direct_flops / kernel.seconds;
            let multiplied = match flops > 0.0 {
                true => format!(
                    ", {:.0} GFLOP/s direct, {:.2} of the peak",
                    flops / 1e9,
                    flops / peak
                ),
                false => String::new(),
            };
            let moved = kernel.bytes / kernel.seconds / 1e9;
            println!(
                "{:34} {:7.1} us, {moved:4.0} GB/s{multiplied}",
                kernel.name,
                kernel.seconds * 1e6
            );
        }
    }
}

/// Weights as they are against weights in bf16, in turn.
fn precisions(options: CpuOptions, runs: usize) {
    let engines = [Precision::F32, Precision::Bf16].map(|precision| {
        engine(CpuOptions {
            precision,
            ..options
        })
    });
    for (what, latent) in [
        ("64x64", latent(1, 64)),
        ("5 latent frames of 32x32", latent(5, 32)),
    ] {
        let [mut full, mut half] = [f64::INFINITY; 2];
        for _ in 0..runs {
            full = full.min(fastest(1, || decode(&engines[0], &latent)));
            half = half.min(fastest(1, || decode(&engines[1], &latent)));
        }
        println!(
            "decode {what}: f32 {full:.3} s, bf16 {half:.3} s: {:.2} times the time",
            half / full
        );
    }
}

/// The steps of a decode, those of equal shape together, the least of several runs: their time, their rates in FLOPs of plain
/// convolutions and of the products that stand for them, and, for any machine, what they multiply and move.
fn layers(engine: &Arc<CpuEngine>, options: CpuOptions, runs: usize, latent: &Array) {
    let runs: Vec<_> = (0..runs)
        .map(|_| engine.profile_decode(latent).unwrap())
        .collect();
    let peak = (0..5)
        .map(|_| measure_peak(options).unwrap())
        .fold(0.0, f64::max);
    let mut shapes: Vec<StepTime> = Vec::new();
    for (i, step) in runs[0].iter().enumerate() {
        let seconds = runs
            .iter()
            .map(|run| run[i].seconds)
            .fold(f64::INFINITY, f64::min);
        let step = StepTime {
            seconds,
            ..step.clone()
        };
        match shapes.iter_mut().find(|shape| shape.name == step.name) {
            Some(shape) => add(shape, &step),
            None => shapes.push(step),
        }
    }
    let mut all = StepTime {
        name: "all".into(),
        ..shapes[0].clone()
    };
    shapes[1..].iter().for_each(|step| add(&mut all, step));
    for step in shapes.iter().chain([&all]) {
        println!(
            "{:36} {:7.1} ms {:5.2} of the peak, products {:4.2}; {:6.1} GFLOP in {:5.1}, rows {:4.0} MB, weights {:5.0} MB",
            step.name,
            step.seconds * 1e3,
            step.direct_flops / step.seconds / peak,
            step.product_flops / step.seconds / peak,
            step.direct_flops / 1e9,
            step.product_flops / 1e9,
            step.row_bytes / 1e6,
            step.weight_bytes / 1e6,
        );
    }
}

fn add(sum: &mut StepTime, step: &StepTime) {
    sum.seconds += step.seconds;
    sum.direct_flops += step.direct_flops;
    sum.product_flops += step.product_flops;
    sum.row_bytes += step.row_bytes;
    sum.weight_bytes += step.weight_bytes;
}

fn clip(engine: &Arc<CpuEngine>, runs: usize) {
    let latent = latent(5, 32);
    let seconds = fastest(runs, || decode(engine, &latent));
    println!(
        "decode 5 latent frames of 32x32: {seconds:.3} s; {} MB",
        peak_memory()
    );
}

fn encode(engine: &Arc<CpuEngine>, runs: usize) {
    let pixels = Array::new(
        [3, 1, 512, 512],
        formula::unit("bench.pixels", 3 * 512 * 512).collect(),
    )
    .unwrap();
    let encoder = || Encoder::new(engine.clone(), Extent::image([64, 64])).unwrap();
    drop(encoder());
    let seconds = fastest(runs, || {
        std::hint::black_box(encoder().step(&pixels, &mut |_| ()).unwrap());
    });
    println!("encode 512x512: {seconds:.3} s; {} MB", peak_memory());
}

fn threads(options: CpuOptions, runs: usize) {
    let latent = latent(1, 128);
    let time = |threads| {
        let engine = engine(CpuOptions { threads, ..options });
        load(&engine);
        fastest(runs, || decode(&engine, &latent))
    };
    let (one, all) = (time(1), time(0));
    println!(
        "decode 128x128: one thread {one:.3} s, all {all:.3} s: {:.2} times as fast",
        one / all
    );
}

/// What more threads would bring if they did not compete for caches and memory: not measured, but added up from tasks.
fn simulated(engine: &Arc<CpuEngine>, most: usize, runs: usize) {
    for (what, latent) in [
        ("one frame of 64x64", latent(1, 64)),
        ("3 latent frames of 32x32", latent(3, 32)),
    ] {
        let mut one = 0.0;
        for threads in (0..).map(|n| 1 << n).take_while(|n| *n <= most) {
            let least = engine.simulate_threads(&latent, threads, runs).unwrap();
            if threads == 1 {
                one = least.seconds;
            }
            println!(
                "simulated, {what}, {threads:3} threads: {:.3} s, {:.2} times as fast, {:.0} % of even shares; {:.3} s between tasks",
                least.seconds,
                one / least.seconds,
                100.0 * least.even / least.seconds,
                least.between,
            );
        }
    }
}

fn sets(options: CpuOptions, runs: usize) {
    let latent = latent(1, 32);
    for isa in Isa::available() {
        let engine = engine(CpuOptions {
            isa: Some(isa),
            ..options
        });
        load(&engine);
        println!(
            "decode 32x32 with {isa}: {:.3} s",
            fastest(runs, || decode(&engine, &latent))
        );
    }
}

/// FLOPs of the decoder's convolutions per latent cell of a single frame.
fn decoder_flops() -> f64 {
    let mut pixels = 1.0;
    let mut total = 0.0;
    for layer in arch::decoder(&VaeConfig::with_widths(96, 12)) {
        if let Layer::Upsample { .. } = layer {
            pixels *= 4.0;
        }
        let convs: Vec<Conv> = match layer {
            Layer::Conv(conv) | Layer::Upsample { conv, .. } | Layer::Downsample { conv, .. } => {
                vec![conv]
            }
            Layer::Residual(r) => [r.conv1, r.conv2].into_iter().chain(r.shortcut).collect(),
            Layer::Attention(a) => vec![a.to_qkv, a.proj],
            Layer::Head { conv, .. } => vec![conv],
        };
        total += convs.iter().map(|c| pixels * flops(c)).sum::<f64>();
    }
    total
}

fn flops(conv: &Conv) -> f64 {
    let taps = match conv.taps {
        Taps::Causal | Taps::Frame => 9,
        Taps::Point | Taps::FramePoint | Taps::Time => 1,
    };
    2.0 * (taps * conv.inputs * conv.outputs) as f64
}

/// The process's peak resident memory in MB, where the system tells.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kb| kb * 1024 / 1_000_000)
}
