//! The values of a convolution, which are also the gradient of another one's input.

use std::ops::Range;

use rayon::prelude::*;
use vae2x_kernels::{self as kernels, BLOCK, ELEMENTS4, Expand, FromPixels, Gemm, Kept, Output};

use super::memory::{SCRATCH, Scratch, at_least};
use super::tiles::{Elements, Grid, Unit, seen_by};
use super::{Window, isa};

/// Tasks below which threads would wait for each other.
const TASKS: usize = 32;
/// Panels of a task. While an element of a unit's tiles is in a core's second cache, all of them are multiplied with it.
const PANELS: usize = 4;

/// Taps by panels of 16 outputs.
pub struct Taps {
    /// `[panel][input][tap][16]`.
    values: Vec<f32>,
    inputs: usize,
    outputs: usize,
    /// Of each input of each output.
    count: usize,
}

impl Taps {
    /// Those of a convolution from `inputs` to `outputs` channels.
    ///
    /// # Shapes
    /// `[O, I, n, n]`
    pub fn forward(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        let place = |output: usize, input: usize| output * inputs + input;
        Self::new(inputs, outputs, place, false, weight)
    }

    /// Those of the convolution from its outputs' gradients to its inputs'.
    ///
    /// # Shapes
    /// `[O, I, n, n]`
    pub fn backward(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        let place = |output: usize, input: usize| input * inputs + output;
        Self::new(outputs, inputs, place, true, weight)
    }

    fn new(
        inputs: usize,
        outputs: usize,
        place: impl Fn(usize, usize) -> usize + Sync,
        turned: bool,
        weight: &[f32],
    ) -> Self {
        let count = weight.len() / (inputs * outputs);
        let panel = inputs * count * BLOCK;
        let mut values = vec![0.0; outputs.div_ceil(BLOCK) * panel];
        let panels = values.par_chunks_exact_mut(panel).enumerate();
        panels.for_each(|(panel, values)| {
            let outputs = panel * BLOCK..outputs.min((panel + 1) * BLOCK);
            for (lane, output) in outputs.enumerate() {
                for (input, taps) in values.chunks_exact_mut(count * BLOCK).enumerate() {
                    let kernel = &weight[place(output, input) * count..][..count];
                    for (tap, places) in taps.chunks_exact_mut(BLOCK).enumerate() {
                        places[lane] = kernel[if turned { count - 1 - tap } else { tap }];
                    }
                }
            }
        });
        Self {
            values,
            inputs,
            outputs,
            count,
        }
    }
}

/// A convolution.
///
/// # Shapes
/// images `[B, I, H, W]`, `[O]` -> `[B, O, H', W']`
pub fn convolve(images: &[f32], taps: &Taps, bias: &[f32], window: &Window) -> Vec<f32> {
    let batch = images.len() / window.image_in();
    let grid = Grid::new(window, batch);
    let seen = seen_by(window, images);
    let mut out = vec![0.0; batch * taps.outputs * window.pixels_out()];
    for units in grid.chunks(taps.inputs) {
        let elements = Elements::of(&grid, &units, seen, kernels::input4);
        let lots = taps.outputs.div_ceil(PANELS * BLOCK);
        let groups = TASKS.div_ceil(lots).min(units.len());
        let size = units.len().div_ceil(groups);
        let groups: Vec<Range<usize>> = (0..units.len())
            .step_by(size)
            .map(|start| start..units.len().min(start + size))
            .collect();
        let tasks = Target::split(&grid, &units, &groups, &mut out, taps.outputs);
        tasks.into_par_iter().for_each(|target| {
            SCRATCH.with_borrow_mut(|scratch| target.fill(&elements, taps, bias, scratch));
        });
        elements.release();
    }
    out
}

/// What some panels of outputs make of some units.
struct Target<'a> {
    /// The first output.
    first: usize,
    units: Range<usize>,
    /// The rows of the panels' planes, image by image.
    planes: Vec<Vec<&'a mut [f32]>>,
}

impl<'a> Target<'a> {
    /// All outputs of all groups of units.
    fn split(
        grid: &Grid,
        units: &[Unit],
        groups: &[Range<usize>],
        out: &'a mut [f32],
        outputs: usize,
    ) -> Vec<Self> {
        let lots = outputs.div_ceil(PANELS * BLOCK);
        let empty = |units: &Range<usize>, lot| Self {
            first: lot * PANELS * BLOCK,
            units: units.clone(),
            planes: Vec::new(),
        };
        let mut targets: Vec<Self> = groups
            .iter()
            .flat_map(|units| (0..lots).map(move |lot| empty(units, lot)))
            .collect();
        let images = out.chunks_exact_mut(outputs * grid.height * grid.width);
        for (image, planes) in images.enumerate() {
            let own = image * grid.rows..(image + 1) * grid.rows;
            let shares: Vec<(usize, Range<usize>)> = groups
                .iter()
                .enumerate()
                .map(|(group, range)| {
                    let first = units[range.start].start.max(own.start);
                    let end = units[range.end - 1].end.min(own.end);
                    (group, first..end)
                })
                .filter(|(_, rows)| rows.start < rows.end)
                .collect();
            for (group, _) in &shares {
                for lot in 0..lots {
                    targets[group * lots + lot].planes.push(Vec::new());
                }
            }
            let pixel = |row: usize| ((row - own.start) * grid.step).min(grid.height) * grid.width;
            for (output, plane) in planes
                .chunks_exact_mut(grid.height * grid.width)
                .enumerate()
            {
                let (mut rest, mut done) = (plane, 0);
                for (group, rows) in &shares {
                    let (start, end) = (pixel(rows.start), pixel(rows.end));
                    let (_, from) = rest.split_at_mut(start - done);
                    let (share, others) = from.split_at_mut(end - start);
                    (rest, done) = (others, end);
                    let target = &mut targets[group * lots + output / (PANELS * BLOCK)];
                    if let Some(planes) = target.planes.last_mut() {
                        planes.push(share);
                    }
                }
            }
        }
        targets
    }

    fn fill(mut self, elements: &Elements<'_>, taps: &Taps, bias: &[f32], scratch: &mut Scratch) {
        let outputs = self.planes.first().map_or(0, Vec::len);
        let (panels, of_panel) = (outputs.div_ceil(BLOCK), ELEMENTS4 * taps.inputs * BLOCK);
        let weights = at_least(&mut scratch.weights, panels * of_panel);
        let kept = taps.inputs * taps.count * BLOCK;
        for (panel, elements_of_panel) in weights.chunks_exact_mut(of_panel).enumerate() {
            let job = Expand {
                side: elements.grid.side,
                taps: Kept::F32(&taps.values[(self.first / BLOCK + panel) * kept..][..kept]),
                frames: 1,
                frame: 0,
                elements: elements_of_panel,
            };
            kernels::expand(isa(), job);
        }
        for unit in self.units.clone() {
            // A row of padding, so that the same tile of different elements does not compete for one set of the cache.
            let stride = (elements.grid.tiles(&elements.units[unit]) + 1) * BLOCK;
            let products = at_least(&mut scratch.products, panels * ELEMENTS4 * stride);
            multiply(elements, unit, taps.inputs, weights, products);
            for (panel, products) in products.chunks_exact(ELEMENTS4 * stride).enumerate() {
                let own = panel * BLOCK..outputs.min((panel + 1) * BLOCK);
                let mut added = [0.0; BLOCK];
                added[..own.len()].copy_from_slice(&bias[self.first..][own.clone()]);
                let made = Made {
                    products,
                    stride,
                    bias: &added,
                };
                self.scatter(elements, unit, own, &made, &mut scratch.pixels);
            }
        }
    }

    /// Turns the products of a panel, whose planes are `own`, into rows of pixels.
    fn scatter(
        &mut self,
        elements: &Elements<'_>,
        unit: usize,
        own: Range<usize>,
        made: &Made<'_>,
        pixels: &mut Vec<f32>,
    ) {
        let grid = elements.grid;
        let pixels = at_least(pixels, grid.step * grid.width * BLOCK);
        let (first_image, first_top) = grid.place(elements.units[self.units.start].start);
        for (i, row) in elements.units[unit].clone().enumerate() {
            let (image, top) = grid.place(row);
            let height = (grid.height - top).min(grid.step);
            let mut out: Vec<&mut [f32]> = pixels
                .chunks_exact_mut(grid.width * BLOCK)
                .take(height)
                .collect();
            let job = Output {
                m: &made.products[i * grid.columns * BLOCK..],
                element_stride: made.stride,
                channels: BLOCK,
                bias: made.bias,
                residual: &[],
                out: &mut out,
            };
            match grid.side {
                4 => kernels::output3(isa(), job),
                _ => kernels::output4(isa(), job),
            }
            let planes = &mut self.planes[image - first_image][own.clone()];
            let top = match image == first_image {
                true => top - first_top,
                false => top,
            };
            let rows = pixels.chunks_exact(grid.width * BLOCK).take(height);
            for (y, pixels) in rows.enumerate() {
                let line = (top + y) * grid.width..(top + y + 1) * grid.width;
                let mut lines: Vec<&mut [f32]> = planes
                    .iter_mut()
                    .map(|plane| &mut plane[line.clone()])
                    .collect();
                let planes = &mut lines[..];
                kernels::from_pixels(isa(), FromPixels { pixels, planes });
            }
        }
    }
}

/// The products of one panel.
struct Made<'a> {
    /// `[element][tile][16]`.
    products: &'a [f32],
    /// From one element to the next.
    stride: usize,
    bias: &'a [f32; BLOCK],
}

/// Multiplies the elements of a unit's tiles with those of some panels' weights, one after the other.
///
/// # Shapes
/// `[panel][element][input][16]` -> `[panel][element][tile and one more][16]`
fn multiply(
    elements: &Elements<'_>,
    unit: usize,
    inputs: usize,
    weights: &[f32],
    products: &mut [f32],
) {
    let tiles = elements.grid.tiles(&elements.units[unit]);
    let (of_element, stride) = (inputs * BLOCK, (tiles + 1) * BLOCK);
    let panels = weights.len() / (ELEMENTS4 * of_element);
    for element in 0..ELEMENTS4 {
        for panel in 0..panels {
            let w = &weights[(panel * ELEMENTS4 + element) * of_element..];
            let job = Gemm {
                rows: tiles,
                k: inputs,
                a: elements.element(unit, 0, element),
                a_stride: elements.strides(unit).1,
                w,
                w_stride: 0,
                w_next: if panel + 1 < panels {
                    ELEMENTS4 * of_element
                } else {
                    0
                },
                panels: 1,
                c: &mut products[(panel * ELEMENTS4 + element) * stride..],
                c_stride: BLOCK,
                accumulate: false,
            };
            kernels::gemm(isa(), job);
        }
    }
}
