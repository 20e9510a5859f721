//! 3x3 and 4x4 convolutions of stride 1 on the CPU, and all their gradients, by Winograd's F(4x4, 3x3) and F(3x3, 4x4): a quarter of the
//! products.
//!
//! What a convolution makes is cut into tiles of 4x4 or 3x3 pixels, each of which sees 6x6, and rows of tiles, of all images of a batch, into units of about [`UNIT`] tiles. The elements
//! of a unit lie as `[channel / 16][element][tile][16]`. A panel of 16 outputs expands its weights when its turn comes, so that elements
//! of weights, four times their taps, never leave the cache. Units follow from shapes alone, and sums over them are taken in their order:
//! the number of threads changes no bit.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Mutex, OnceLock};

use rayon::prelude::*;
use vae2x_kernels::{
    self as kernels, BLOCK, Collapse, ELEMENTS4, Expand, FromPixels, Gemm, Input, Isa, Kept, Outer,
    Output, ToPixels, WINDOW4, padded,
};

use super::window::Window;

/// Tiles of a unit, about: products of a unit and a panel stay in a core's second cache.
const UNIT: usize = 64;
/// Elements of images that are in memory at once, about: enough tiles to pay for expanding the weights of the widest layers.
const CHUNK: usize = 1 << 22;
/// Tasks below which threads would wait for each other.
const TASKS: usize = 32;
/// Tiles of an image below which expanding the weights costs more than it saves.
const FEWEST_TILES: usize = 4;
/// Channels below which most of a block would be padding.
const FEWEST_CHANNELS: usize = 8;

/// Whether a convolution is served, and faster than by products of patches: whatever the batch, as its items are computed alike.
pub fn serves(window: &Window) -> bool {
    let [side, _] = window.kernel;
    let is_even = |axis: usize| {
        let (padding, seen) = (window.padding[axis], window.size_in[axis]);
        padding < side && window.size_out[axis] + side == seen + 2 * padding + 1
    };
    if !matches!(window.kernel, [3, 3] | [4, 4])
        || window.stride != [1, 1]
        || ![0, 1].into_iter().all(is_even)
    {
        return false;
    }
    let tiles = window.size_out.map(|size| size.div_ceil(step(side)));
    tiles[0] * tiles[1] >= FEWEST_TILES && window.inputs.min(window.outputs) >= FEWEST_CHANNELS
}

/// Pixels that a tile makes along each axis, for a kernel of a side.
fn step(side: usize) -> usize {
    WINDOW4 + 1 - side
}

/// The instruction set of this process.
fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| Isa::from_env().ok().flatten().unwrap_or_else(Isa::detect))
}

/// Memory that is used again, as fresh pages would cost as much as some of the transforms.
static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
/// Vectors that the pool holds at most.
const POOLED: usize = 2;

/// `length` values of any kind.
fn take(length: usize) -> Vec<f32> {
    let pooled = POOL.lock().ok().and_then(|mut pool| pool.pop());
    let mut values = pooled.unwrap_or_default();
    values.resize(length, 0.0);
    values
}

fn give_back(values: Vec<f32>) {
    if let Ok(mut pool) = POOL.lock()
        && pool.len() < POOLED
    {
        pool.push(values);
    }
}

/// A thread's memory for one task: rows of pixels, expanded weights, products.
#[derive(Default)]
struct Scratch {
    pixels: Vec<f32>,
    weights: Vec<f32>,
    products: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first `length` values of a vector that grows when it must.
fn at_least(values: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if values.len() < length {
        values.resize(length, 0.0);
    }
    &mut values[..length]
}

/// Where the tiles of a batch lie.
struct Grid {
    /// Side of the kernel.
    side: usize,
    /// Pixels that a tile makes along each axis.
    step: usize,
    /// Of what the convolution makes.
    height: usize,
    width: usize,
    /// Rows of tiles of an image, and tiles of a row.
    rows: usize,
    columns: usize,
    batch: usize,
}

/// Rows of tiles, counted through all images.
type Unit = Range<usize>;

impl Grid {
    fn new(window: &Window, batch: usize) -> Self {
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
    fn chunks(&self, channels: usize) -> Vec<Vec<Unit>> {
        let (all, step) = (self.batch * self.rows, (UNIT / self.columns).max(1));
        let units: Vec<Unit> = (0..all)
            .step_by(step)
            .map(|start| start..all.min(start + step))
            .collect();
        let values = step * self.columns * ELEMENTS4 * padded(channels);
        let chunks = units.chunks((CHUNK / values).max(1));
        chunks.map(<[Unit]>::to_vec).collect()
    }

    fn tiles(&self, unit: &Unit) -> usize {
        unit.len() * self.columns
    }

    /// The image of a row of tiles, and its first row of pixels there.
    fn place(&self, row: usize) -> (usize, usize) {
        (row / self.rows, row % self.rows * self.step)
    }

    /// Weights of each input of each output.
    fn taps(&self) -> usize {
        self.side * self.side
    }
}

/// The elements of a chunk of units.
struct Elements<'a> {
    values: Vec<f32>,
    units: &'a [Unit],
    /// Where each unit begins.
    starts: Vec<usize>,
    blocks: usize,
    grid: &'a Grid,
}

/// Images to be transformed.
#[derive(Clone, Copy)]
struct Images<'a> {
    /// `[B, C, H, W]`
    values: &'a [f32],
    channels: usize,
    /// Height and width.
    size: [usize; 2],
    /// Zeros above and to the left.
    margin: [usize; 2],
}

impl<'a> Elements<'a> {
    /// Transforms images by windows of `N` rows and columns.
    fn of<const N: usize>(
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

    fn release(self) {
        give_back(self.values);
    }

    /// From one element to the next, and from one block of channels to the next.
    fn strides(&self, unit: usize) -> (usize, usize) {
        let element = self.grid.tiles(&self.units[unit]) * BLOCK;
        (element, ELEMENTS4 * element)
    }

    /// The tiles of an element of a unit, from a block of channels on.
    fn element(&self, unit: usize, block: usize, element: usize) -> &[f32] {
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
        let panels = taps.outputs.div_ceil(BLOCK);
        let groups = TASKS.div_ceil(panels).min(units.len());
        let size = units.len().div_ceil(groups);
        let groups: Vec<Range<usize>> = (0..units.len())
            .step_by(size)
            .map(|start| start..units.len().min(start + size))
            .collect();
        let tasks = Target::split(&grid, &units, &groups, &mut out, taps.outputs);
        tasks.into_par_iter().for_each(|target| {
            SCRATCH.with_borrow_mut(|scratch| panel(&elements, taps, bias, target, scratch));
        });
        elements.release();
    }
    out
}

/// What a convolution sees.
fn seen_by<'a>(window: &Window, values: &'a [f32]) -> Images<'a> {
    Images {
        values,
        channels: window.inputs,
        size: window.size_in,
        margin: window.padding,
    }
}

/// What one panel of outputs makes of some units.
struct Target<'a> {
    panel: usize,
    units: Range<usize>,
    /// The rows of its planes, image by image.
    planes: Vec<Vec<&'a mut [f32]>>,
}

impl<'a> Target<'a> {
    /// All panels of all groups of units.
    fn split(
        grid: &Grid,
        units: &[Unit],
        groups: &[Range<usize>],
        out: &'a mut [f32],
        outputs: usize,
    ) -> Vec<Self> {
        let panels = outputs.div_ceil(BLOCK);
        let empty = |units: &Range<usize>, panel| Self {
            panel,
            units: units.clone(),
            planes: Vec::new(),
        };
        let mut targets: Vec<Self> = groups
            .iter()
            .flat_map(|units| (0..panels).map(move |panel| empty(units, panel)))
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
                for panel in 0..panels {
                    targets[group * panels + panel].planes.push(Vec::new());
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
                    let target = &mut targets[group * panels + output / BLOCK];
                    if let Some(planes) = target.planes.last_mut() {
                        planes.push(share);
                    }
                }
            }
        }
        targets
    }
}

/// 16 outputs of some units.
fn panel(
    elements: &Elements<'_>,
    taps: &Taps,
    bias: &[f32],
    mut target: Target<'_>,
    scratch: &mut Scratch,
) {
    let grid = elements.grid;
    let panel_taps = taps.inputs * taps.count * BLOCK;
    let weights = at_least(&mut scratch.weights, ELEMENTS4 * taps.inputs * BLOCK);
    kernels::expand(
        isa(),
        Expand {
            side: grid.side,
            taps: Kept::F32(&taps.values[target.panel * panel_taps..][..panel_taps]),
            frames: 1,
            frame: 0,
            elements: weights,
        },
    );
    let own = target.panel * BLOCK..taps.outputs.min((target.panel + 1) * BLOCK);
    let mut added = [0.0; BLOCK];
    added[..own.len()].copy_from_slice(&bias[own]);
    let first = elements.units[target.units.start].start;
    let pixels = at_least(&mut scratch.pixels, grid.step * grid.width * BLOCK);
    for unit in target.units.clone() {
        let tiles = grid.tiles(&elements.units[unit]);
        // A row of padding, so that the same tile of different elements does not compete for one set of the cache.
        let stride = (tiles + 1) * BLOCK;
        let results = at_least(&mut scratch.products, ELEMENTS4 * stride);
        for element in 0..ELEMENTS4 {
            let w = &weights[element * taps.inputs * BLOCK..];
            let job = Gemm {
                rows: tiles,
                k: taps.inputs,
                a: elements.element(unit, 0, element),
                a_stride: elements.strides(unit).1,
                w,
                w_stride: 0,
                w_next: if element + 1 < ELEMENTS4 {
                    taps.inputs * BLOCK
                } else {
                    0
                },
                panels: 1,
                c: &mut results[element * stride..],
                c_stride: BLOCK,
                accumulate: false,
            };
            kernels::gemm(isa(), job);
        }
        for (i, row) in elements.units[unit].clone().enumerate() {
            let (image, top) = grid.place(row);
            let (first_image, first_top) = grid.place(first);
            let height = (grid.height - top).min(grid.step);
            let mut out: Vec<&mut [f32]> = pixels
                .chunks_exact_mut(grid.width * BLOCK)
                .take(height)
                .collect();
            let job = Output {
                m: &results[i * grid.columns * BLOCK..],
                element_stride: stride,
                channels: BLOCK,
                bias: &added,
                residual: &[],
                out: &mut out,
            };
            match grid.side {
                4 => kernels::output3(isa(), job),
                _ => kernels::output4(isa(), job),
            }
            let planes = &mut target.planes[image - first_image];
            let top = if image == first_image {
                top - first_top
            } else {
                top
            };
            for (y, pixels) in pixels
                .chunks_exact(grid.width * BLOCK)
                .take(height)
                .enumerate()
            {
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
