//! The gradients of a convolution's weights and biases: sums over tiles of what they see times what comes back.

use rayon::prelude::*;
use vae2x_kernels::{self as kernels, BLOCK, Collapse, ELEMENTS4, Outer, padded};

use super::tiles::{Elements, Grid, Images, seen_by};
use super::{Window, isa};

/// The gradient of a convolution's weights.
///
/// # Shapes
/// gradients `[B, O, H', W']`, images `[B, I, H, W]` -> `[O, I, n, n]`
pub fn weight_gradient(gradients: &[f32], images: &[f32], window: &Window) -> Vec<f32> {
    let (inputs, outputs) = (window.inputs, window.outputs);
    let grid = Grid::new(window, images.len() / window.image_in());
    let (rows, columns) = (padded(outputs), padded(inputs));
    // [outputs / 16][element][16][inputs]
    let mut sums = vec![0.0; ELEMENTS4 * rows * columns];
    for (number, units) in grid.chunks(inputs + outputs).iter().enumerate() {
        let seen = Elements::of(&grid, units, seen_by(window, images), kernels::input4);
        let made = Images {
            values: gradients,
            channels: outputs,
            size: window.size_out,
            margin: [0, 0],
        };
        let slopes = match grid.side {
            4 => Elements::of(&grid, units, made, kernels::slope3),
            _ => Elements::of(&grid, units, made, kernels::slope4),
        };
        let parts = sums.par_chunks_exact_mut(BLOCK * columns).enumerate();
        parts.for_each(|(part, c)| {
            let (block, element) = (part / ELEMENTS4, part % ELEMENTS4);
            for (unit, tiles) in units.iter().map(|unit| grid.tiles(unit)).enumerate() {
                let job = Outer {
                    k: tiles,
                    a: slopes.element(unit, block, element),
                    w: seen.element(unit, 0, element),
                    w_stride: seen.strides(unit).1,
                    panels: seen.blocks,
                    c,
                    accumulate: number > 0 || unit > 0,
                };
                kernels::outer(isa(), job);
            }
        });
        seen.release();
        slopes.release();
    }
    let count = grid.taps();
    let mut weight = vec![0.0; outputs * inputs * count];
    let blocks = weight.par_chunks_mut(BLOCK * inputs * count).enumerate();
    blocks.for_each(|(block, weight)| {
        let elements = &sums[block * ELEMENTS4 * BLOCK * columns..];
        let mut taps = vec![0.0; weight.len() / inputs * BLOCK];
        for first in (0..inputs).step_by(BLOCK) {
            kernels::collapse(
                isa(),
                Collapse {
                    side: grid.side,
                    row_stride: columns,
                    element_stride: BLOCK * columns,
                    rows: weight.len() / (inputs * count),
                    elements: &elements[first..],
                    taps: &mut taps,
                },
            );
            let outputs = weight.chunks_exact_mut(inputs * count);
            for (output, taps) in outputs.zip(taps.chunks_exact(count * BLOCK)) {
                let kernels = output[first * count..].chunks_exact_mut(count).take(BLOCK);
                for (lane, kernel) in kernels.enumerate() {
                    for (tap, value) in kernel.iter_mut().enumerate() {
                        *value = taps[tap * BLOCK + lane];
                    }
                }
            }
        }
    });
    weight
}

/// The gradient of the biases.
///
/// # Shapes
/// `[B, O, H, W]` -> `[O]`
pub fn bias_gradient(gradients: &[f32], window: &Window) -> Vec<f32> {
    let mut sums = vec![0.0; window.outputs];
    let plane = window.pixels_out();
    sums.par_iter_mut().enumerate().for_each(|(output, sum)| {
        let planes = gradients
            .chunks_exact(plane)
            .skip(output)
            .step_by(window.outputs);
        *sum = planes.map(|plane| plane.iter().sum::<f32>()).sum();
    });
    sums
}
