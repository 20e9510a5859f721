//! Where tiles lie, and the elements of what they see.
//!
//! Rows of tiles of all images make units of about [`UNIT`] tiles, whose elements lie as `[channel / 16][element][tile][16]`.

use std::ops::Range;

use rayon::prelude::*;
use vae2x_kernels::{self as kernels, BLOCK, ELEMENTS4, Input, Isa, ToPixels, padded};

use super::memory::{SCRATCH, at_least, give_back, take};
use super::{Window, isa, step};

/// Tiles of a unit, about: products of a unit and a panel stay in a core's second cache.
const UNIT: usize = 64;
/// Elements of images that are in memory at once, about: enough tiles to pay for expanding the weights of the widest layers.
const CHUNK: usize = 1 << 22;

/// Where the tiles of a batch lie.
pub struct Grid {
    /// Side of the kernel.
    pub side: usize,
    /// Pixels that a tile makes along each axis.
    pub step: usize,
    /// Of what the convolution makes.
    pub height: usize,
    /// See `height`.
    pub width: usize,
    /// Rows of tiles of an image.
    pub rows: usize,
    /// Tiles of a row.
    pub columns: usize,
    batch: usize,
}

/// Rows of tiles, counted through all images.
pub type Unit = Range<usize>;

impl Grid {
    pub fn new(window: &Window, batch: usize) -> Self {
        let [height, width] = window.size_out;
        let [side, _] = window.kernel;
        let step = step(side);
        Self {
            side,
            step,
            height,
            width,
            rows: height.div_ceil(step),
            columns: width.div_ceil(step),
            batch,
        }
    }

    /// Chunks of units, so that the elements of `channels` channels of a chunk fit.
    pub fn chunks(&self, channels: usize) -> Vec<Vec<Unit>> {
        let (all, step) = (self.batch * self.rows, (UNIT / self.columns).max(1));
        let units: Vec<Unit> = (0..all)
            .step_by(step)
            .map(|start| start..all.min(start + step))
            .collect();
        let values = step * self.columns * ELEMENTS4 * padded(channels);
        let chunks = units.chunks((CHUNK / values).max(1));
        chunks.map(<[Unit]>::to_vec).collect()
    }

    pub fn tiles(&self, unit: &Unit) -> usize {
        unit.len() * self.columns
    }

    /// The image of a row of tiles, and its first row of pixels there.
    pub fn place(&self, row: usize) -> (usize, usize) {
        (row / self.rows, row % self.rows * self.step)
    }

    /// Weights of each input of each output.
    pub fn taps(&self) -> usize {
        self.side * self.side
    }
}

/// The elements of a chunk of units.
pub struct Elements<'a> {
    values: Vec<f32>,
    /// The units.
    pub units: &'a [Unit],
    /// Where each unit begins.
    starts: Vec<usize>,
    /// Blocks of channels.
    pub blocks: usize,
    /// Where tiles lie.
    pub grid: &'a Grid,
}

/// Images to be transformed.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// `[B, C, H, W]`
    pub values: &'a [f32],
    /// `C`.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Zeros above and to the left.
    pub margin: [usize; 2],
}

impl<'a> Elements<'a> {
    /// Transforms images by windows of `N` rows and columns.
    pub fn of<const N: usize>(
        grid: &'a Grid,
        units: &'a [Unit],
        images: Images<'_>,
        transform: fn(Isa, Input<'_, N>),
    ) -> Self {
        let channels = images.channels;
        let blocks = channels.div_ceil(BLOCK);
        let length = |unit: &Unit| blocks * ELEMENTS4 * grid.tiles(unit) * BLOCK;
        let mut starts = vec![0];
        for unit in units {
            starts.push(starts[starts.len() - 1] + length(unit));
        }
        let mut values = take(starts[units.len()]);
        let mut tasks = Vec::new();
        let mut rest = &mut values[..];
        for unit in units {
            let (own, others) = rest.split_at_mut(length(unit));
            rest = others;
            let parts = own.chunks_exact_mut(length(unit) / blocks).enumerate();
            tasks.extend(parts.map(|(block, values)| (unit, block, values)));
        }
        tasks.into_par_iter().for_each(|(unit, block, values)| {
            let block = block * BLOCK..channels.min((block + 1) * BLOCK);
            SCRATCH.with_borrow_mut(|scratch| {
                let pixels = &mut scratch.pixels;
                fill(grid, unit, images, block, values, pixels, transform);
            });
        });
        Self {
            values,
            units,
            starts,
            blocks,
            grid,
        }
    }

    /// Gives the memory back.
    pub fn release(self) {
        give_back(self.values);
    }

    /// From one element to the next, and from one block of channels to the next.
    pub fn strides(&self, unit: usize) -> (usize, usize) {
        let element = self.grid.tiles(&self.units[unit]) * BLOCK;
        (element, ELEMENTS4 * element)
    }

    /// The tiles of an element of a unit, from a block of channels on.
    pub fn element(&self, unit: usize, block: usize, element: usize) -> &[f32] {
        let (step, blocks) = self.strides(unit);
        &self.values[self.starts[unit] + block * blocks + element * step..self.starts[unit + 1]]
    }
}

/// Transforms one block of channels of a unit.
fn fill<const N: usize>(
    grid: &Grid,
    unit: &Unit,
    images: Images<'_>,
    block: Range<usize>,
    values: &mut [f32],
    pixels: &mut Vec<f32>,
    transform: fn(Isa, Input<'_, N>),
) {
    let length = grid.columns * grid.step + N - grid.step;
    let ([height, width], [above, left]) = (images.size, images.margin);
    let rows = at_least(pixels, N * length * BLOCK);
    rows.fill(0.0);
    for (i, row) in unit.clone().enumerate() {
        let (image, top) = grid.place(row);
        for (y, pixels) in rows.chunks_exact_mut(length * BLOCK).enumerate() {
            let pixels = &mut pixels[left * BLOCK..][..width * BLOCK];
            let Some(y) = (top + y).checked_sub(above).filter(|y| *y < height) else {
                pixels.fill(0.0);
                continue;
            };
            let line = |channel: usize| {
                let plane = image * images.channels + channel;
                &images.values[(plane * height + y) * width..][..width]
            };
            let planes: Vec<&[f32]> = block.clone().map(line).collect();
            let planes = &planes[..];
            kernels::to_pixels(isa(), ToPixels { planes, pixels });
        }
        let windows = std::array::from_fn(|y| &rows[y * length * BLOCK..][..length * BLOCK]);
        transform(
            isa(),
            Input {
                rows: windows,
                step: grid.step,
                tiles: grid.columns,
                channels: BLOCK,
                v: &mut values[i * grid.columns * BLOCK..],
                element_stride: grid.tiles(unit) * BLOCK,
                block_stride: 0,
            },
        );
    }
}

/// What a convolution sees.
pub fn seen_by<'a>(window: &Window, values: &'a [f32]) -> Images<'a> {
    Images {
        values,
        channels: window.inputs,
        size: window.size_in,
        margin: window.padding,
    }
}
