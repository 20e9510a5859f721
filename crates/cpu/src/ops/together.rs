//! Two or four frames of a causal 3x3 convolution at once: Winograd's F(2, 3) or F(4, 3) along time around F(4x4, 3x3) in
//! space, so that 4 products of each element stand for 6, or 6 for 12.
//!
//! The frames and the two before them are transformed in space. Then, element by element, they are combined along time and
//! multiplied, a few outputs at a time, with combinations of the temporal taps that are made on the way: so weights are
//! read once for all frames, and neither the combinations nor their products leave the cache.

use std::ops::Range;

use vae2x_core::Result;

use super::conv::{Conv, Layout, window};
use super::{Cut, Target, Task};
use crate::buffers::rows::Rows;
use crate::machine::{Machine, Scratch, at_least};
use crate::weights::pack::{ConvWeights, Sets};
use vae2x_kernels::{
    self as kernels, BLOCK, ELEMENTS4, Gemm, Input, PAST, STEP4, TIME_TAPS, TimeIn, TimeOut,
    TimeWeights, WINDOW4,
};

/// Tiles of a task: fewer than of a single frame, for more values.
pub(crate) const TILES: usize = 32;
/// Blocks of 16 outputs that are multiplied at a time.
const PANELS: usize = 2;

/// A convolution to be run.
pub(crate) struct Together<'a> {
    pub weights: &'a ConvWeights,
    pub sets: &'a Sets<'a>,
    pub input: &'a Rows,
    /// Added to the results.
    pub residual: Option<&'a Rows>,
    /// The new frames, 2 or 4.
    pub frames: Range<usize>,
    /// Tiles of a unit.
    pub columns: usize,
}

/// Runs units of a convolution over several frames, each of which has a target.
pub(crate) fn run(
    machine: &Machine,
    conv: &Together<'_>,
    units: Range<usize>,
    targets: Vec<Target<'_>>,
) -> Result<()> {
    let cut = Cut {
        units,
        columns: conv.columns,
        step: STEP4,
        tiles: TILES,
        threads: machine.threads,
    };
    let mut frames: Vec<_> = targets
        .into_iter()
        .map(|target| cut.tasks(target).into_iter())
        .collect();
    let mut tasks = Vec::new();
    loop {
        let task: Vec<Task<'_>> = frames.iter_mut().filter_map(Iterator::next).collect();
        if task.is_empty() {
            break;
        }
        tasks.push(task);
    }
    machine.run(tasks, |tasks, scratch| conv.task(machine, tasks, scratch))
}

/// Values of scratch memory that one thread takes for a convolution of `k` columns, with so many outputs, over so many
/// frames.
pub(crate) fn scratch_values(k: usize, outputs: usize, frames: usize) -> usize {
    let (k, all) = (k.next_multiple_of(BLOCK), frames + PAST);
    let inputs = all * (ELEMENTS4 + 1) * TILES * k;
    let results = frames * ELEMENTS4 * TILES * outputs;
    let panels = (frames * k + all * TILES) * PANELS * BLOCK;
    inputs + results + panels
}

/// What the products of one element need.
struct Element<'a> {
    /// Its number.
    number: usize,
    /// Combinations of the frames.
    a: &'a [f32],
    /// Memory for combinations of the taps, and for products.
    w: &'a mut [f32],
    products: &'a mut [f32],
}

impl Together<'_> {
    fn task(
        &self,
        machine: &Machine,
        mut tasks: Vec<Task<'_>>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let spec = &self.weights.spec;
        let layout = Layout::new(&tasks[0], self.weights);
        let (frames, all) = (self.frames.len(), self.frames.len() + PAST);
        let (length, outputs) = (layout.values(), spec.padded_outputs());
        let frame_in = ELEMENTS4 * layout.input;
        let v = at_least(&mut scratch.v, all * (frame_in + length))?;
        let (v, a) = v.split_at_mut(all * frame_in);
        let frame_out = ELEMENTS4 * layout.output;
        let (combined, products) = (
            frames * spec.k() * PANELS * BLOCK,
            all * layout.tiles * PANELS * BLOCK,
        );
        let m = at_least(&mut scratch.m, frames * frame_out + combined + products)?;
        let (m, rest) = m.split_at_mut(frames * frame_out);
        let (w, products) = rest.split_at_mut(combined);
        for (i, v) in v.chunks_exact_mut(frame_in).enumerate() {
            self.gather(machine, &tasks[0], i, &layout, v);
        }
        for number in 0..ELEMENTS4 {
            let job = TimeIn {
                frames,
                length,
                v: &v[number * layout.input..],
                frame_stride: frame_in,
                a,
            };
            kernels::time_in(machine.isa, job);
            let mut element = Element {
                number,
                a,
                w,
                products,
            };
            for panel in (0..outputs / BLOCK).step_by(PANELS) {
                let panels = (outputs / BLOCK - panel).min(PANELS);
                self.products(machine, &mut element, &layout, panel..panel + panels);
                let job = TimeOut {
                    frames,
                    m: element.products,
                    rows: layout.tiles,
                    columns: panels * BLOCK,
                    out: &mut m[number * layout.output + panel * BLOCK..],
                    frame_stride: frame_out,
                    row_stride: outputs,
                };
                kernels::time_out(machine.isa, job);
            }
        }
        for ((task, m), frame) in tasks
            .iter_mut()
            .zip(m.chunks_exact(frame_out))
            .zip(self.frames.clone())
        {
            let conv = Conv {
                weights: self.weights,
                sets: self.sets,
                frames: &[],
                residual: self.residual.map(|rows| (rows, frame)),
                columns: self.columns,
            };
            conv.scatter(machine, task, &layout, m);
        }
        Ok(())
    }

    /// Multiplies the combinations of frames with those of the taps, for some panels of outputs.
    fn products(
        &self,
        machine: &Machine,
        element: &mut Element<'_>,
        layout: &Layout,
        panels: Range<usize>,
    ) {
        let k = self.weights.spec.k();
        let (panel, stride) = (k * BLOCK, ELEMENTS4 * k * BLOCK);
        let (frames, columns) = (self.frames.len(), panels.len() * BLOCK);
        let packed = |p: usize| p * stride + element.number * panel;
        let between = panels.len() * panel;
        for (i, p) in panels.clone().enumerate() {
            let job = TimeWeights {
                frames,
                taps: self.sets.map(|set| &set[packed(p)..][..panel]),
                w: &mut element.w[i * panel..],
                stride: between,
            };
            kernels::time_weights(machine.isa, job);
        }
        let length = layout.values();
        let products = layout.tiles * columns;
        for t in 0..frames + PAST {
            // The first and the last combination are those taps themselves.
            let (w, w_stride) = match t {
                0 => (&self.sets[0][packed(panels.start)..], stride),
                t if t <= frames => (&element.w[(t - 1) * between..], panel),
                _ => (&self.sets[TIME_TAPS - 1][packed(panels.start)..], stride),
            };
            let job = Gemm {
                rows: layout.tiles,
                k,
                a: &element.a[t * length..][..length],
                a_stride: layout.block,
                w,
                w_stride,
                w_next: panels.len() * w_stride,
                panels: panels.len(),
                c: &mut element.products[t * products..],
                c_stride: columns,
                accumulate: false,
            };
            kernels::gemm(machine.isa, job);
        }
    }

    /// The elements in space of the frame `i`, of which the first two are past.
    fn gather(&self, machine: &Machine, task: &Task<'_>, i: usize, layout: &Layout, v: &mut [f32]) {
        let tiles = task.columns.len();
        // Before the clip there are zeros.
        let frame = (self.frames.start + i).checked_sub(PAST);
        for (row, unit) in task.units.clone().enumerate() {
            let rows =
                window::<WINDOW4>(self.input, frame, STEP4 * unit, STEP4 * task.columns.start);
            let job = Input {
                rows,
                step: STEP4,
                tiles,
                channels: self.input.extent.channels,
                v: &mut v[row * tiles * BLOCK..],
                element_stride: layout.input,
                block_stride: layout.block,
            };
            kernels::input4(machine.isa, job);
        }
    }
}
