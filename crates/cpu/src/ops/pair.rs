//! Two frames of a causal 3x3 convolution at once: Winograd's F(2, 3) along time around F(4x4, 3x3) in space.
//!
//! With the frames `d0 .. d3`, of which the last two are new, and temporal taps `g0, g1, g2`, four products stand for
//! six: `(d0 - d2) g0`, `(d1 + d2) (g0 + g1 + g2) / 2`, `(d2 - d1) (g0 - g1 + g2) / 2` and `(d3 - d1) g2`. The first
//! frame is the sum of the first three, the second the second minus the third plus the last. Frames are mixed before
//! they are transformed, and the two middle products are added and subtracted where the others are then accumulated.

use std::ops::Range;

use vae2x_core::Result;

use super::conv::{Conv, Layout, Product, window};
use super::{Cut, Target, Task};
use crate::buffers::rows::Rows;
use crate::kernels::{self, BLOCK, ELEMENTS4, Input, STEP4, WINDOW4};
use crate::machine::{Machine, Scratch, at_least};
use crate::plan::steps::{HALF_DIFFERENCE, HALF_SUM};
use crate::weights::pack::{ConvWeights, Sets};

/// Tiles of a task: half of those of a single frame, for twice the values.
const TILES: usize = 32;

/// The elements along time: two of the four frames, the sign of the second, and the weights.
const ELEMENTS: [(usize, usize, f32, usize); 4] = [
    (0, 2, -1.0, 0),
    (1, 2, 1.0, HALF_SUM),
    (2, 1, -1.0, HALF_DIFFERENCE),
    (3, 1, -1.0, 2),
];

/// A convolution to be run.
pub(crate) struct Pair<'a> {
    pub weights: &'a ConvWeights,
    pub sets: &'a Sets<'a>,
    pub input: &'a Rows,
    /// Added to the results.
    pub residual: Option<&'a Rows>,
    /// The first of the two new frames.
    pub frame: usize,
    /// Tiles of a unit.
    pub columns: usize,
}

/// Runs units of a convolution over two frames.
pub(crate) fn run(
    machine: &Machine,
    pair: &Pair<'_>,
    units: Range<usize>,
    [first, second]: [Target<'_>; 2],
) -> Result<()> {
    let cut = Cut {
        units,
        columns: pair.columns,
        step: STEP4,
        tiles: TILES,
        threads: machine.threads,
    };
    let tasks: Vec<_> = cut
        .tasks(first)
        .into_iter()
        .zip(cut.tasks(second))
        .collect();
    machine.run(tasks, |tasks, scratch| {
        pair.task(machine, tasks.into(), scratch)
    })
}

impl Pair<'_> {
    fn task(
        &self,
        machine: &Machine,
        mut tasks: [Task<'_>; 2],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let outputs = self.weights.spec.padded_outputs();
        let layout = Layout::new(&tasks[0], self.weights);
        let v = at_least(&mut scratch.v, ELEMENTS.len() * ELEMENTS4 * layout.input)?;
        let (a, b) = at_least(&mut scratch.m, 2 * ELEMENTS4 * layout.output)?
            .split_at_mut(ELEMENTS4 * layout.output);
        for (t, v) in v.chunks_exact_mut(ELEMENTS4 * layout.input).enumerate() {
            self.gather(machine, &tasks[0], t, &layout, v);
        }
        for e in 0..ELEMENTS4 {
            let range = e * layout.output..e * layout.output + layout.tiles * outputs;
            let (a, b) = (&mut a[range.clone()], &mut b[range]);
            let product = |t: usize, m: &mut [f32], accumulate: bool| {
                let product = Product {
                    spec: &self.weights.spec,
                    set: self.sets[ELEMENTS[t].3],
                    element: e,
                    accumulate,
                };
                product.run(
                    machine,
                    &layout,
                    &v[(t * ELEMENTS4 + e) * layout.input..],
                    m,
                );
            };
            product(1, a, false);
            product(2, b, false);
            kernels::butterfly(machine.isa, a, b);
            product(0, a, true);
            product(3, b, true);
        }
        for (i, (task, m)) in tasks.iter_mut().zip([&*a, &*b]).enumerate() {
            let residual = self.residual.map(|rows| (rows, self.frame + i));
            let conv = Conv {
                weights: self.weights,
                sets: self.sets,
                frames: &[],
                residual,
                columns: self.columns,
            };
            conv.scatter(machine, task, &layout, m);
        }
        Ok(())
    }

    /// The elements in space of the element `t` along time.
    fn gather(&self, machine: &Machine, task: &Task<'_>, t: usize, layout: &Layout, v: &mut [f32]) {
        let (first, second, sign, _) = ELEMENTS[t];
        let tiles = task.columns.len();
        for (i, unit) in task.units.clone().enumerate() {
            let rows = |d: usize| {
                // Before the clip there are zeros.
                let frame = (self.frame + d).checked_sub(2);
                window::<WINDOW4>(self.input, frame, STEP4 * unit, STEP4 * task.columns.start)
            };
            let job = Input {
                rows: rows(first),
                mixed: Some((rows(second), sign)),
                tiles,
                channels: self.input.extent.channels,
                v: &mut v[i * tiles * BLOCK..],
                element_stride: layout.input,
                block_stride: layout.block,
            };
            kernels::input4(machine.isa, job);
        }
    }
}

/// Values of scratch memory that one thread takes for a convolution of `k` columns, with so many outputs.
pub(crate) fn scratch_values(k: usize, outputs: usize) -> usize {
    TILES * ELEMENTS4 * (ELEMENTS.len() * k.next_multiple_of(BLOCK) + 2 * outputs)
}
