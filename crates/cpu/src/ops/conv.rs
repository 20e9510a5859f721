//! Every convolution: gather or transform the inputs of some tiles, one matrix product per element, transform back, add
//! bias and residual, norm.
//!
//! Between the transforms a task's values lie as `[element][channel / 16][tile][16]` (inputs) and
//! `[element][tile][channel]` (results), with one row of padding after each element so that the same tile of different
//! elements does not compete for one set of the cache.

use std::ops::Range;

use vae2x_core::Result;

use super::{Cut, Target, Task};
use crate::buffers::rows::Rows;
use crate::machine::{Machine, Scratch, at_least};
use crate::plan::steps::{ConvSpec, Method};
use crate::weights::pack::{ConvWeights, Sets};
use vae2x_kernels::{
    self as kernels, BLOCK, Bias, Gemm, Input, Output, STEP2, STEP4, WINDOW2, WINDOW4,
};

/// A frame that a convolution sees, through the weights of its temporal tap.
pub(crate) struct Past<'a> {
    pub rows: &'a Rows,
    pub frame: usize,
    pub tap: usize,
}

/// A convolution to be run.
pub(crate) struct Conv<'a> {
    pub weights: &'a ConvWeights,
    pub sets: &'a Sets<'a>,
    /// The frames it sees, in the order in which they are summed.
    pub frames: &'a [Past<'a>],
    /// Added to the result: rows as large as the output, and the frame.
    pub residual: Option<(&'a Rows, usize)>,
    /// Tiles or pixels of a unit.
    pub columns: usize,
}

/// Strides of a task's values.
pub(super) struct Layout {
    pub tiles: usize,
    /// Between blocks of input channels.
    pub block: usize,
    /// Between elements on the way in and on the way out.
    pub input: usize,
    pub output: usize,
}

/// Tiles of a task for each element count: what keeps a thread's inputs and results in the cache that threads share.
pub(crate) fn tiles_per_task(method: Method) -> usize {
    match method {
        Method::Winograd => 64,
        Method::Enlarge => 256,
        Method::Strided => 128,
        Method::Point => 512,
    }
}

/// Pixels that a tile makes along each axis.
pub(crate) fn output_step(method: Method) -> usize {
    match method {
        Method::Winograd => STEP4,
        Method::Enlarge => STEP2,
        Method::Strided | Method::Point => 1,
    }
}

/// Values of scratch memory that one thread takes for a convolution of `k` columns, with so many outputs.
pub(crate) fn scratch_values(method: Method, k: usize, outputs: usize) -> usize {
    tiles_per_task(method) * method.elements() * (k.next_multiple_of(BLOCK) + outputs)
}

/// Runs units of a convolution.
pub(crate) fn run(
    machine: &Machine,
    conv: &Conv<'_>,
    units: Range<usize>,
    target: Target<'_>,
) -> Result<()> {
    let method = conv.weights.spec.method;
    let cut = Cut {
        units,
        columns: conv.columns,
        step: output_step(method),
        tiles: tiles_per_task(method),
        threads: machine.threads,
    };
    machine.run(cut.tasks(target), |mut task, scratch| {
        conv.task(machine, &mut task, scratch)
    })
}

impl Conv<'_> {
    fn task(&self, machine: &Machine, task: &mut Task<'_>, scratch: &mut Scratch) -> Result<()> {
        let spec = &self.weights.spec;
        let elements = spec.method.elements();
        let layout = Layout::new(task, self.weights);
        let v = at_least(&mut scratch.v, elements * layout.input)?;
        let m = at_least(&mut scratch.m, elements * layout.output)?;
        for (i, past) in self.frames.iter().enumerate() {
            self.gather(machine, past, task, &layout, v);
            for e in 0..elements {
                let product = Product {
                    spec,
                    set: self.sets[past.tap],
                    element: e,
                    accumulate: i > 0,
                };
                product.run(
                    machine,
                    &layout,
                    &v[e * layout.input..],
                    &mut m[e * layout.output..],
                );
            }
        }
        self.scatter(machine, task, &layout, m);
        Ok(())
    }

    /// Fills the inputs of the matrix products.
    fn gather(
        &self,
        machine: &Machine,
        past: &Past<'_>,
        task: &Task<'_>,
        layout: &Layout,
        v: &mut [f32],
    ) {
        for (i, unit) in task.units.clone().enumerate() {
            let tiles = task.columns.len();
            let v = &mut v[i * tiles * BLOCK..];
            match self.weights.spec.method {
                Method::Winograd => {
                    let rows = window::<WINDOW4>(
                        past.rows,
                        Some(past.frame),
                        STEP4 * unit,
                        STEP4 * task.columns.start,
                    );
                    kernels::input4(machine.isa, layout.transform(past, rows, tiles, v));
                }
                Method::Enlarge => {
                    let rows =
                        window::<WINDOW2>(past.rows, Some(past.frame), unit, task.columns.start);
                    kernels::input2(machine.isa, layout.transform(past, rows, tiles, v));
                }
                Method::Point => {
                    let row = past.rows.row(past.frame, unit as isize);
                    copy_blocks(&row[past.rows.extent.channels..], past, task, 1, layout, v);
                }
                Method::Strided => {
                    let c = past.rows.extent.channels;
                    for tap in 0..9 {
                        // Pixel 0 lies after the left margin.
                        let row = &past.rows.row(past.frame, (2 * unit + tap / 3) as isize)
                            [(1 + tap % 3) * c..];
                        copy_blocks(
                            row,
                            past,
                            task,
                            2,
                            layout,
                            &mut v[tap * c / BLOCK * layout.block..],
                        );
                    }
                }
            }
        }
    }

    /// Turns the results of the matrix products into pixels.
    pub(super) fn scatter(
        &self,
        machine: &Machine,
        task: &mut Task<'_>,
        layout: &Layout,
        m: &[f32],
    ) {
        let method = self.weights.spec.method;
        let step = output_step(method);
        let channels = self.weights.spec.padded_outputs();
        let tiles = task.columns.len();
        for i in 0..task.units.len() {
            let (unit, left) = (task.units.start + i, task.columns.start * step * channels);
            let first = i * step;
            let out = task.out();
            let end = (first + step).min(out.len());
            let out = &mut out[first..end];
            let length = out[0].len();
            let residual = self.residual.map(|(rows, frame)| {
                let row = |y: usize| &rows.pixels(frame, unit * step + y)[left..left + length];
                (0..end - first).map(row).collect::<Vec<_>>()
            });
            let m = &m[i * tiles * channels..];
            let residual = residual.as_deref().unwrap_or(&[]);
            let bias = &self.weights.bias;
            match method {
                Method::Winograd | Method::Enlarge => {
                    let job = Output {
                        m,
                        element_stride: layout.output,
                        channels,
                        bias,
                        residual,
                        out,
                    };
                    match method {
                        Method::Winograd => kernels::output4(machine.isa, job),
                        _ => kernels::output2(machine.isa, job),
                    }
                }
                Method::Strided | Method::Point => {
                    let residual = residual.first().copied();
                    kernels::bias(
                        machine.isa,
                        Bias {
                            m: &m[..length],
                            bias,
                            residual,
                            out: out[0],
                        },
                    );
                }
            }
            task.activate(machine.isa, first..end);
        }
    }
}

/// The matrix product of one element with one set of weights.
pub(super) struct Product<'a> {
    pub spec: &'a ConvSpec,
    pub set: &'a [f32],
    pub element: usize,
    /// Add to what is there.
    pub accumulate: bool,
}

impl Product<'_> {
    /// `v` and `m` start with the element.
    pub fn run(&self, machine: &Machine, layout: &Layout, v: &[f32], m: &mut [f32]) {
        let (k, outputs, elements) = (
            self.spec.k(),
            self.spec.padded_outputs(),
            self.spec.method.elements(),
        );
        let job = Gemm {
            rows: layout.tiles,
            k,
            a: v,
            a_stride: layout.block,
            w: &self.set[self.element * k * BLOCK..],
            w_stride: elements * k * BLOCK,
            w_next: k * BLOCK,
            panels: outputs / BLOCK,
            c: m,
            c_stride: outputs,
            accumulate: self.accumulate,
        };
        kernels::gemm(machine.isa, job);
    }
}

impl Layout {
    pub(super) fn new(task: &Task<'_>, weights: &ConvWeights) -> Self {
        let tiles = task.units.len() * task.columns.len();
        let (blocks, block) = (weights.spec.k().div_ceil(BLOCK), tiles * BLOCK);
        let outputs = weights.spec.padded_outputs();
        Self {
            tiles,
            block,
            input: blocks * block + BLOCK,
            output: tiles * outputs + BLOCK,
        }
    }

    /// Values of an element on the way in, without the padding after it.
    pub(super) fn values(&self) -> usize {
        self.input - BLOCK
    }

    fn transform<'a, const N: usize>(
        &self,
        past: &Past<'_>,
        rows: [&'a [f32]; N],
        tiles: usize,
        v: &'a mut [f32],
    ) -> Input<'a, N> {
        debug_assert!(tiles <= self.tiles);
        let channels = past.rows.extent.channels;
        Input {
            rows,
            step: if N == WINDOW4 { STEP4 } else { 1 },
            tiles,
            channels,
            v,
            element_stride: self.input,
            block_stride: self.block,
        }
    }
}

/// Rows of a frame from the one above `y` on, from the pixel left of `x` on; zeros for no frame.
pub(super) fn window<const N: usize>(
    rows: &Rows,
    frame: Option<usize>,
    y: usize,
    x: usize,
) -> [&[f32]; N] {
    std::array::from_fn(|i| {
        let row = match frame {
            Some(frame) => rows.row(frame, (y + i) as isize - 1),
            None => rows.zeros(),
        };
        &row[x * rows.extent.channels..]
    })
}

/// Copies pixels at steps of `step` to the blocks of a matrix.
fn copy_blocks(
    row: &[f32],
    past: &Past<'_>,
    task: &Task<'_>,
    step: usize,
    layout: &Layout,
    v: &mut [f32],
) {
    let c = past.rows.extent.channels;
    for (i, x) in task.columns.clone().enumerate() {
        let pixel = &row[x * step * c..][..c];
        for (block, values) in pixel.chunks_exact(BLOCK).enumerate() {
            v[block * layout.block + i * BLOCK..][..BLOCK].copy_from_slice(values);
        }
    }
}
