//! One head of attention over all pixels of a frame, in two passes and without a matrix of all pairs.
//!
//! First, keys and values of every pixel are computed and laid out as weights of matrix products, in blocks of pixels:
//! keys `[16 keys][channel][16]`, values `[16 channels][key][16]`. Then every group of pixels computes its queries and
//! goes through the blocks with a running softmax: scores, exponentials relative to the highest so far, values.
//! Projection, residual and norm follow while the group is at hand.

use std::ops::Range;

use vae2x_core::Result;

use super::{Cut, Target, Task};
use crate::buffers::pages::Pages;
use crate::buffers::rows::Rows;
use crate::machine::{Machine, Scratch, at_least};
use crate::weights::pack::ConvWeights;
use vae2x_kernels::{self as kernels, BLOCK, Bias, Gemm, Softmax};

/// Pixels of a block of keys.
const KEYS: usize = 256;
/// Pixels of a group of queries.
const QUERIES: usize = 84;

/// Attention to be run.
pub(crate) struct Attention<'a> {
    /// Queries, keys, values, projection.
    pub weights: [&'a ConvWeights; 4],
    /// Normed pixels.
    pub input: &'a Rows,
    /// Added to the result.
    pub residual: &'a Rows,
    pub frame: usize,
}

/// Keys and values of up to [`KEYS`] pixels.
#[derive(Clone, Copy)]
struct KeyBlock<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    count: usize,
}

/// Values of memory for the keys and values of a frame.
pub(crate) fn memory_values(pixels: usize, channels: usize) -> usize {
    2 * pixels.next_multiple_of(KEYS) * channels
}

/// Runs attention over a whole frame.
pub(crate) fn run(machine: &Machine, attention: &Attention<'_>, target: Target<'_>) -> Result<()> {
    let extent = attention.input.extent;
    let pixels = extent.width * extent.height;
    let half = KEYS * extent.channels;
    let mut memory = Pages::large(memory_values(pixels, extent.channels))?;
    let blocks: Vec<(usize, &mut [f32])> = memory.chunks_exact_mut(2 * half).enumerate().collect();
    let count = |i: usize| KEYS.min(pixels - i * KEYS);
    machine.run(blocks, |(i, block), scratch| {
        let (keys, values) = block.split_at_mut(half);
        attention.fill(
            machine,
            i * KEYS..i * KEYS + count(i),
            [keys, values],
            scratch,
        )
    })?;
    let block = |(i, block)| {
        let (keys, values) = <[f32]>::split_at(block, half);
        KeyBlock {
            keys,
            values,
            count: count(i),
        }
    };
    let blocks: Vec<KeyBlock<'_>> = memory
        .chunks_exact(2 * half)
        .enumerate()
        .map(block)
        .collect();
    let cut = Cut {
        units: 0..extent.height,
        columns: extent.width,
        step: 1,
        tiles: QUERIES,
        threads: machine.threads,
    };
    machine.run(cut.tasks(target), |mut task, scratch| {
        attention.task(machine, &blocks, &mut task, scratch)
    })
}

impl Attention<'_> {
    fn channels(&self) -> usize {
        self.input.extent.channels
    }

    /// A 1x1 convolution without its bias: `a` as blocks of columns, the result row by row.
    fn product(&self, machine: &Machine, part: usize, rows: usize, a: &[f32], c: &mut [f32]) {
        let (weights, channels) = (self.weights[part], self.channels());
        let k = weights.spec.k();
        let job = Gemm {
            rows,
            k,
            a,
            a_stride: rows * BLOCK,
            w: weights.packed(0),
            w_stride: k * BLOCK,
            w_next: 0,
            panels: channels / BLOCK,
            c,
            c_stride: channels,
            accumulate: false,
        };
        kernels::gemm(machine.isa, job);
    }

    /// Computes keys and values of the pixels `range`, which are zeros.
    fn fill(
        &self,
        machine: &Machine,
        range: Range<usize>,
        [keys, values]: [&mut [f32]; 2],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (c, width, count) = (self.channels(), self.input.extent.width, range.len());
        let (a, m) = (
            at_least(&mut scratch.v, count * c)?,
            at_least(&mut scratch.m, count * c)?,
        );
        for (i, at) in range.enumerate() {
            let pixel = &self.input.pixels(self.frame, at / width)[at % width * c..][..c];
            to_blocks(pixel, &mut a[i * BLOCK..], count * BLOCK);
        }
        self.product(machine, 1, count, a, m);
        for (i, pixel) in m.chunks_exact(c).enumerate() {
            let panel = &mut keys[i / BLOCK * c * BLOCK + i % BLOCK..];
            for (channel, (value, bias)) in pixel.iter().zip(&self.weights[1].bias).enumerate() {
                panel[channel * BLOCK] = value + bias;
            }
        }
        self.product(machine, 2, count, a, m);
        for (i, pixel) in m.chunks_exact_mut(c).enumerate() {
            pixel
                .iter_mut()
                .zip(&self.weights[2].bias)
                .for_each(|(value, bias)| *value += bias);
            to_blocks(pixel, &mut values[i * BLOCK..], count * BLOCK);
        }
        Ok(())
    }

    fn task(
        &self,
        machine: &Machine,
        blocks: &[KeyBlock<'_>],
        task: &mut Task<'_>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (c, columns) = (self.channels(), task.columns.clone());
        let rows = task.units.len() * columns.len();
        let (a, p) = at_least(&mut scratch.v, rows * (c + KEYS))?.split_at_mut(rows * c);
        let (m, scores) = at_least(&mut scratch.m, rows * (c + KEYS))?.split_at_mut(rows * c);
        for (i, y) in task.units.clone().enumerate() {
            let pixels = &self.input.pixels(self.frame, y)[columns.start * c..columns.end * c];
            for (x, pixel) in pixels.chunks_exact(c).enumerate() {
                to_blocks(
                    pixel,
                    &mut a[(i * columns.len() + x) * BLOCK..],
                    rows * BLOCK,
                );
            }
        }
        self.product(machine, 0, rows, a, m);
        self.scale_queries(m, a, rows);
        let sums = self.attend(machine, blocks, &Group { rows, queries: a }, m, p, scores);
        for (i, (pixel, sum)) in m.chunks_exact_mut(c).zip(sums).enumerate() {
            pixel.iter_mut().for_each(|value| *value /= sum);
            to_blocks(pixel, &mut a[i * BLOCK..], rows * BLOCK);
        }
        self.product(machine, 3, rows, a, m);
        self.finish(machine, task, m);
        Ok(())
    }

    /// Adds the bias and scales for the softmax, whose exponentials are powers of two.
    fn scale_queries(&self, m: &mut [f32], a: &mut [f32], rows: usize) {
        let inputs = self.weights[0].spec.conv.inputs as f32;
        let scale = std::f32::consts::LOG2_E / inputs.sqrt();
        for (i, pixel) in m.chunks_exact_mut(self.channels()).enumerate() {
            pixel
                .iter_mut()
                .zip(&self.weights[0].bias)
                .for_each(|(value, bias)| *value = (*value + bias) * scale);
            to_blocks(pixel, &mut a[i * BLOCK..], rows * BLOCK);
        }
    }

    /// Goes through all keys; `m` receives the weighted values, to be divided by the sums that are returned.
    fn attend(
        &self,
        machine: &Machine,
        blocks: &[KeyBlock<'_>],
        group: &Group<'_>,
        m: &mut [f32],
        p: &mut [f32],
        scores: &mut [f32],
    ) -> Vec<f32> {
        let (c, rows) = (self.channels(), group.rows);
        let (mut highest, mut sums) = (vec![f32::NEG_INFINITY; rows], vec![0.0; rows]);
        m.fill(0.0);
        for block in blocks {
            let width = block.count.next_multiple_of(BLOCK);
            let score = Gemm {
                rows,
                k: self.weights[0].spec.conv.inputs,
                a: group.queries,
                a_stride: rows * BLOCK,
                w: block.keys,
                w_stride: c * BLOCK,
                w_next: 0,
                panels: width / BLOCK,
                c: scores,
                c_stride: width,
                accumulate: false,
            };
            kernels::gemm(machine.isa, score);
            for (i, row) in scores.chunks_exact_mut(width).take(rows).enumerate() {
                row[block.count..].fill(f32::NEG_INFINITY);
                let (highest, sum) = (&mut highest[i], &mut sums[i]);
                kernels::softmax(
                    machine.isa,
                    Softmax {
                        scores: row,
                        highest,
                        sum,
                        values: &mut m[i * c..][..c],
                    },
                );
                to_blocks(row, &mut p[i * BLOCK..], rows * BLOCK);
            }
            let value = Gemm {
                rows,
                k: block.count,
                a: p,
                a_stride: rows * BLOCK,
                w: block.values,
                w_stride: block.count * BLOCK,
                w_next: 0,
                panels: c / BLOCK,
                c: m,
                c_stride: c,
                accumulate: true,
            };
            kernels::gemm(machine.isa, value);
        }
        sums
    }

    fn finish(&self, machine: &Machine, task: &mut Task<'_>, m: &[f32]) {
        let c = self.channels();
        let (units, columns) = (task.units.clone(), task.columns.clone());
        for (i, m) in m.chunks_exact(columns.len() * c).enumerate() {
            let residual = &self.residual.pixels(self.frame, units.start + i)
                [columns.start * c..columns.end * c];
            let out = &mut *task.out()[i];
            kernels::bias(
                machine.isa,
                Bias {
                    m,
                    bias: &self.weights[3].bias,
                    residual: Some(residual),
                    out,
                },
            );
        }
        task.activate(machine.isa, 0..units.len());
    }
}

/// The queries of a task.
struct Group<'a> {
    rows: usize,
    queries: &'a [f32],
}

/// Lays a row out in blocks of columns, `stride` values apart.
fn to_blocks(row: &[f32], target: &mut [f32], stride: usize) {
    for (block, values) in row.chunks_exact(BLOCK).enumerate() {
        target[block * stride..][..BLOCK].copy_from_slice(values);
    }
}
