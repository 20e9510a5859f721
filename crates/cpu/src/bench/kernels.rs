//! Kernels alone, on data laid out as in a step's task, and the peak of the machine.

use std::time::Instant;

use vae2x_core::Result;

use crate::buffers::pages::Pages;
use crate::options::CpuOptions;
use vae2x_kernels::Isa;
use vae2x_kernels::{
    self as kernels, BLOCK, ELEMENTS4, Expand, Gemm, Input, Kept, Norm, Output, Peak, STEP4, TAPS,
    WINDOW4,
};

/// Floating-point operations per second that these threads could do at best, measured: a loop of fused multiply-adds in
/// registers.
///
/// # Errors
/// [`Device`](vae2x_core::Error::Device) if threads cannot be started.
pub fn measure_peak(options: CpuOptions) -> Result<f64> {
    /// About 20 ms.
    const ROUNDS: usize = 4_000_000;
    let machine = options.machine()?;
    let threads: Vec<usize> = (0..machine.threads).collect();
    let start = Instant::now();
    let operations = machine.map(&threads, |_| {
        let mut job = Peak {
            rounds: ROUNDS,
            operations: 0,
            result: 0.0,
        };
        kernels::peak(machine.isa, &mut job);
        std::hint::black_box(job.result);
        job.operations
    });
    Ok(operations.iter().sum::<usize>() as f64 / start.elapsed().as_secs_f64())
}

/// A kernel's work on the tiles of one task, on one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel and its channels.
    pub name: String,
    /// Seconds of the fastest run.
    pub seconds: f64,
    /// Floating-point operations of a plain convolution; zero for kernels that multiply no matrices.
    pub direct_flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

/// Tiles of 4x4 pixels side by side.
const TILES: usize = 64;
/// Runs; the fastest counts.
const RUNS: usize = 20;

/// Times the kernels behind a 3x3 convolution from `inputs` to `outputs` channels, both multiples of 16.
pub fn profile_kernels(options: CpuOptions, inputs: usize, outputs: usize) -> Vec<KernelTime> {
    let task = Task {
        isa: options.isa.unwrap_or_else(Isa::detect),
        inputs,
        outputs,
    };
    vec![
        task.input(),
        task.product(),
        task.output(),
        task.norm(),
        task.expand(),
    ]
}

struct Task {
    isa: Isa,
    inputs: usize,
    outputs: usize,
}

fn values(n: usize) -> Pages {
    let mut values = Pages::large(n).expect("memory for a benchmark");
    values
        .iter_mut()
        .enumerate()
        .for_each(|(i, value)| *value = (i % 7) as f32 - 3.0);
    values
}

fn time(name: String, flops: usize, moved: usize, mut work: impl FnMut()) -> KernelTime {
    let run = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    let seconds = (0..RUNS).map(run).fold(f64::INFINITY, f64::min);
    KernelTime {
        name,
        seconds,
        direct_flops: flops as f64,
        bytes: (moved * size_of::<f32>()) as f64,
    }
}

impl Task {
    fn strides(&self, channels: usize) -> usize {
        TILES * channels + BLOCK
    }

    fn product(&self) -> KernelTime {
        let (k, n) = (self.inputs, self.outputs);
        let (v, w) = (
            values(ELEMENTS4 * self.strides(k)),
            values(ELEMENTS4 * k * n),
        );
        let mut m = values(ELEMENTS4 * self.strides(n));
        let flops = 2 * STEP4 * STEP4 * TAPS * TILES * k * n;
        time(
            format!("products {k} -> {n}"),
            flops,
            v.len() + w.len() + m.len(),
            || {
                for e in 0..ELEMENTS4 {
                    let job = Gemm {
                        rows: TILES,
                        k,
                        a: &v[e * self.strides(k)..],
                        a_stride: TILES * BLOCK,
                        w: &w[e * k * BLOCK..],
                        w_stride: ELEMENTS4 * k * BLOCK,
                        w_next: k * BLOCK,
                        panels: n / BLOCK,
                        c: &mut m[e * self.strides(n)..],
                        c_stride: n,
                        accumulate: false,
                    };
                    kernels::gemm(self.isa, job);
                }
            },
        )
    }

    fn input(&self) -> KernelTime {
        let channels = self.inputs;
        let row = values((STEP4 * TILES + WINDOW4 - STEP4) * channels);
        let mut v = values(ELEMENTS4 * self.strides(channels));
        time(
            format!("input transform {channels}"),
            0,
            WINDOW4 * row.len() + v.len(),
            || {
                let (element_stride, block_stride) = (self.strides(channels), TILES * BLOCK);
                let rows = [&row[..]; WINDOW4];
                let job = Input {
                    rows,
                    step: STEP4,
                    tiles: TILES,
                    channels,
                    v: &mut v,
                    element_stride,
                    block_stride,
                };
                kernels::input4(self.isa, job);
            },
        )
    }

    fn output(&self) -> KernelTime {
        let channels = self.outputs;
        let (m, bias) = (values(ELEMENTS4 * self.strides(channels)), values(channels));
        let mut rows = values(STEP4 * STEP4 * TILES * channels);
        time(
            format!("output transform {channels}"),
            0,
            m.len() + rows.len(),
            || {
                let mut out: Vec<&mut [f32]> =
                    rows.chunks_exact_mut(STEP4 * TILES * channels).collect();
                let element_stride = self.strides(channels);
                kernels::output4(
                    self.isa,
                    Output {
                        m: &m,
                        element_stride,
                        channels,
                        bias: &bias,
                        residual: &[],
                        out: &mut out,
                    },
                );
            },
        )
    }

    fn norm(&self) -> KernelTime {
        let channels = self.outputs;
        let source = values(STEP4 * STEP4 * TILES * channels);
        let (gamma, mut target) = (values(channels), values(source.len()));
        time(
            format!("norm and SiLU {channels}"),
            0,
            2 * source.len(),
            || {
                kernels::norm(
                    self.isa,
                    Norm {
                        source: Some(&source),
                        target: &mut target,
                        gamma: &gamma,
                        silu: true,
                    },
                );
            },
        )
    }

    fn expand(&self) -> KernelTime {
        let (k, panels) = (self.inputs, self.outputs / BLOCK);
        let taps = values(panels * k * TAPS * BLOCK);
        let mut sets = values(panels * k * ELEMENTS4 * BLOCK);
        time(
            format!("expansion of taps {k} -> {}", self.outputs),
            0,
            taps.len() + sets.len(),
            || {
                let panels = taps
                    .chunks_exact(k * TAPS * BLOCK)
                    .zip(sets.chunks_exact_mut(k * ELEMENTS4 * BLOCK));
                for (taps, elements) in panels {
                    kernels::expand(
                        self.isa,
                        Expand {
                            side: 3,
                            taps: Kept::F32(taps),
                            frames: 1,
                            frame: 0,
                            elements,
                        },
                    );
                }
            },
        )
    }
}
