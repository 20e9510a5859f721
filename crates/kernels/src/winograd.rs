//! Transforms into and out of the domains where a 3x3 convolution is one matrix product per element.
//!
//! - [`input4`], [`output4`]: Winograd's F(4x4, 3x3) at the points 0, +-sqrt(1/2), +-sqrt(2) and infinity (Lavin &
//!   Gray, "Fast algorithms for convolutional neural networks", 2016): a tile of 4x4 pixels has 36 elements instead of
//!   144 products.
//! - [`input4`], [`output3`]: F(3x3, 4x4) at the same points, with the same transform of pixels, for 4x4 convolutions.
//! - [`input2`], [`output2`]: nearest-neighbour enlargement followed by a 3x3 convolution. Along one axis, with taps
//!   `a, b, c`, pixel `x[i]` becomes `(a+b+c) x[i] - a (x[i] - x[i-1])` and `(a+b+c) x[i] + c (x[i+1] - x[i])`: three
//!   products for two pixels, hence 9 elements for the 2x2 pixels that one makes, instead of 36 products.
//!
//! Pixels are rows of channels. Elements are stored `[element][channel / 16][tile][16]` on the way in, as the matrix
//! product reads them, and `[element][tile][channel]` on the way out.

use super::simd::{BLOCK, Simd, lanes};

/// Elements of a tile of F(4x4, 3x3).
pub const ELEMENTS4: usize = 36;
/// Pixels that it reads along each axis.
pub const WINDOW4: usize = 6;
/// Pixels that it makes along each axis.
pub const STEP4: usize = 4;
/// Those of F(3x3, 4x4), which has the same points.
pub const STEP3: usize = 3;
/// The positive points of F(4x4, 3x3) other than 0. Their squares, 1/2 and 2, are exact; rounding errors are half of
/// those at the usual points 1 and 2 (Barabasz et al., "Error analysis and improving the accuracy of Winograd
/// convolution for deep neural networks", 2020, tell why).
pub const POINTS4: [f32; 2] = [std::f32::consts::FRAC_1_SQRT_2, std::f32::consts::SQRT_2];
/// Elements of an enlarged pixel.
pub const ELEMENTS2: usize = 9;
/// Pixels that it reads along each axis.
pub const WINDOW2: usize = 3;
/// Pixels that it makes along each axis.
pub const STEP2: usize = 2;

/// A run of tiles side by side, to be transformed. `N` is the window of a tile.
pub struct Input<'a, const N: usize> {
    /// The rows of the tiles' windows, from the left edge of the first window.
    pub rows: [&'a [f32]; N],
    /// Pixels from one window to the next.
    pub step: usize,
    /// How many tiles.
    pub tiles: usize,
    /// Channels of a pixel, a multiple of 16.
    pub channels: usize,
    /// The elements, from the first tile on.
    pub v: &'a mut [f32],
    /// Values from one element to the next.
    pub element_stride: usize,
    /// Values from one block of channels to the next.
    pub block_stride: usize,
}

impl<const N: usize> Input<'_, N> {
    /// # Panics
    /// If a slice is too short.
    pub(super) fn check(&self, elements: usize) {
        assert!(
            self.channels.is_multiple_of(BLOCK),
            "channels come in blocks"
        );
        if self.tiles == 0 || self.channels == 0 {
            return;
        }
        let pixels = (self.tiles - 1) * self.step + N;
        assert!(
            self.rows.iter().all(|r| r.len() >= pixels * self.channels),
            "a row is too short"
        );
        let blocks = self.channels / BLOCK;
        let end = (elements - 1) * self.element_stride
            + (blocks - 1) * self.block_stride
            + self.tiles * BLOCK;
        assert!(self.v.len() >= end, "the elements do not fit");
    }
}

/// A run of tiles side by side, to be transformed back.
pub struct Output<'a, 'b> {
    /// The elements, from the first tile on.
    pub m: &'a [f32],
    /// Values from one element to the next.
    pub element_stride: usize,
    /// Channels of a pixel, a multiple of 16; also the stride from tile to tile.
    pub channels: usize,
    /// Added to every pixel: one value per channel.
    pub bias: &'a [f32],
    /// Added to the rows made, if any: as many rows as `out`, or none.
    pub residual: &'a [&'a [f32]],
    /// The rows that exist; the last tiles of an image may make fewer than the step. All are equally long, and so many
    /// pixels are made.
    pub out: &'a mut [&'b mut [f32]],
}

impl Output<'_, '_> {
    /// Pixels per row.
    pub(super) fn width(&self) -> usize {
        self.out
            .first()
            .map_or(0, |r| r.len() / self.channels.max(1))
    }

    /// # Panics
    /// If a slice is too short or rows differ.
    pub(super) fn check(&self, step: usize, elements: usize) {
        assert!(
            self.channels.is_multiple_of(BLOCK),
            "channels come in blocks"
        );
        let width = self.width();
        if width == 0 || self.channels == 0 {
            return;
        }
        let length = width * self.channels;
        assert!(
            self.out.len() <= step && self.out.iter().all(|r| r.len() == length),
            "rows differ"
        );
        assert!(
            self.residual.is_empty() || self.residual.len() == self.out.len(),
            "residual rows are missing"
        );
        assert!(
            self.residual.iter().all(|r| r.len() >= length),
            "a residual row is too short"
        );
        assert!(self.bias.len() >= self.channels, "the bias is too short");
        let end = (elements - 1) * self.element_stride + width.div_ceil(step) * self.channels;
        assert!(self.m.len() >= end, "elements are missing");
    }
}

/// Six pixels along an axis to six elements: with the points `0, a, -a, b, -b, infinity`, the elements are the
/// coefficients of `(x^2 - a^2)(x^2 - b^2)`, of `x (x +- a)(x^2 - b^2)`, of `x (x +- b)(x^2 - a^2)` and of
/// `x (x^2 - a^2)(x^2 - b^2)`, applied to the pixels. `a^2 = 1/2`, `b^2 = 2`.
#[inline(always)]
pub(super) fn forward4<S: Simd>(s: S, x: [S::V; 6]) -> [S::V; 6] {
    let (half, two, sum) = (s.splat(0.5), s.splat(2.0), s.splat(2.5));
    let (a, b) = (s.splat(POINTS4[0]), s.splat(POINTS4[1]));
    let (even_a, odd_a) = (s.fnma(x[2], two, x[4]), s.fnma(x[1], two, x[3]));
    let (even_b, odd_b) = (s.fnma(x[2], half, x[4]), s.fnma(x[1], half, x[3]));
    [
        s.fnma(x[2], sum, s.add(x[0], x[4])),
        s.fma(odd_a, a, even_a),
        s.fnma(odd_a, a, even_a),
        s.fma(odd_b, b, even_b),
        s.fnma(odd_b, b, even_b),
        s.fnma(x[3], sum, s.add(x[1], x[5])),
    ]
}

/// Six elements to four pixels along an axis: pixel `j` is the sum of the elements, each times its point to the power
/// `j`; infinity's has a part in the last of `N` pixels.
#[inline(always)]
pub(super) fn back4<S: Simd, const N: usize>(s: S, m: [S::V; 6]) -> [S::V; 4] {
    let (half, two) = (s.splat(0.5), s.splat(2.0));
    let (a, b) = (s.splat(POINTS4[0]), s.splat(POINTS4[1]));
    let (sum_a, sum_b) = (s.add(m[1], m[2]), s.add(m[3], m[4]));
    let (odd_a, odd_b) = (s.mul(s.sub(m[1], m[2]), a), s.mul(s.sub(m[3], m[4]), b));
    let mut pixels = [
        s.add(s.add(m[0], sum_a), sum_b),
        s.add(odd_a, odd_b),
        s.fma(sum_b, two, s.mul(sum_a, half)),
        s.fma(odd_b, two, s.mul(odd_a, half)),
    ];
    pixels[N - 1] = s.add(pixels[N - 1], m[5]);
    pixels
}

/// 6x6 pixels to 36 elements.
#[inline(always)]
pub(super) fn input4<S: Simd>(s: S, job: &mut Input<'_, WINDOW4>) {
    let c = job.channels;
    for tile in 0..job.tiles {
        for block in 0..c / BLOCK {
            for lane in lanes::<S>() {
                let source = tile * job.step * c + block * BLOCK + lane;
                let target = block * job.block_stride + tile * BLOCK + lane;
                if lane == 0 {
                    // The columns that the next tile's window has more than this one's.
                    for row in job.rows {
                        for x in WINDOW4..WINDOW4 + job.step {
                            s.prefetch(row.as_ptr().wrapping_add(source + x * c));
                        }
                    }
                }
                // SAFETY: `check` has proven that the rows hold every window and `v` every element.
                unsafe {
                    let mut columns = [[s.zero(); 6]; 6];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let mut pixels = [s.zero(); 6];
                        for (y, pixel) in pixels.iter_mut().enumerate() {
                            *pixel = s.load(job.rows[y].as_ptr().add(source + x * c));
                        }
                        *column = forward4(s, pixels);
                    }
                    let v = job.v.as_mut_ptr().add(target);
                    for y in 0..6 {
                        let mut row = [s.zero(); 6];
                        for x in 0..6 {
                            row[x] = columns[x][y];
                        }
                        let row = forward4(s, row);
                        for x in 0..6 {
                            s.store(v.add((6 * y + x) * job.element_stride), row[x]);
                        }
                    }
                }
            }
        }
    }
}

/// 36 elements to 4x4 pixels.
#[inline(always)]
pub(super) fn output4<S: Simd>(s: S, job: &mut Output<'_, '_>) {
    output::<S, STEP4>(s, job);
}

/// 36 elements to 3x3 pixels.
#[inline(always)]
pub(super) fn output3<S: Simd>(s: S, job: &mut Output<'_, '_>) {
    output::<S, STEP3>(s, job);
}

/// 36 elements to `N x N` pixels.
#[inline(always)]
fn output<S: Simd, const N: usize>(s: S, job: &mut Output<'_, '_>) {
    let (c, width, height) = (job.channels, job.width(), job.out.len());
    for tile in 0..width.div_ceil(N) {
        let columns = (width - tile * N).min(N);
        for lane in (0..c).step_by(S::W) {
            // SAFETY: `check` has proven that `m` holds the tile and that the rows hold `columns` pixels of it.
            unsafe {
                let m = job.m.as_ptr().add(tile * c + lane);
                let mut rows = [[s.zero(); 6]; N];
                for x in 0..6 {
                    let mut column = [s.zero(); 6];
                    for (y, element) in column.iter_mut().enumerate() {
                        *element = s.load(m.add((6 * y + x) * job.element_stride));
                    }
                    let column = back4::<S, N>(s, column);
                    for y in 0..N {
                        rows[y][x] = column[y];
                    }
                }
                let bias = s.load(job.bias.as_ptr().add(lane));
                for y in 0..height {
                    let pixels = back4::<S, N>(s, rows[y]);
                    let offset = tile * N * c + lane;
                    let out = job.out[y].as_mut_ptr().add(offset);
                    if lane.is_multiple_of(BLOCK) {
                        // The next tile's pixels.
                        for x in N..2 * N {
                            s.prefetch(out.wrapping_add(x * c));
                            if let Some(residual) = job.residual.get(y) {
                                s.prefetch(residual.as_ptr().wrapping_add(offset + x * c));
                            }
                        }
                    }
                    for x in 0..columns {
                        let mut pixel = s.add(pixels[x], bias);
                        if let Some(residual) = job.residual.get(y) {
                            pixel = s.add(pixel, s.load(residual.as_ptr().add(offset + x * c)));
                        }
                        s.store(out.add(x * c), pixel);
                    }
                }
            }
        }
    }
}

/// The pixel, and what it differs from its neighbours by.
#[inline(always)]
fn forward2<S: Simd>(s: S, x: [S::V; 3]) -> [S::V; 3] {
    [x[1], s.sub(x[1], x[0]), s.sub(x[2], x[1])]
}

/// 3x3 pixels at steps of 1 to 9 elements.
#[inline(always)]
pub(super) fn input2<S: Simd>(s: S, job: &mut Input<'_, WINDOW2>) {
    let c = job.channels;
    for tile in 0..job.tiles {
        for block in 0..c / BLOCK {
            for lane in lanes::<S>() {
                let source = tile * c + block * BLOCK + lane;
                let target = block * job.block_stride + tile * BLOCK + lane;
                // SAFETY: `check` has proven that the rows hold every window and `v` every element.
                unsafe {
                    let mut columns = [[s.zero(); 3]; 3];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let mut pixels = [s.zero(); 3];
                        for (y, pixel) in pixels.iter_mut().enumerate() {
                            *pixel = s.load(job.rows[y].as_ptr().add(source + x * c));
                        }
                        *column = forward2(s, pixels);
                    }
                    let v = job.v.as_mut_ptr().add(target);
                    for y in 0..3 {
                        let row = forward2(s, [columns[0][y], columns[1][y], columns[2][y]]);
                        for x in 0..3 {
                            s.store(v.add((3 * y + x) * job.element_stride), row[x]);
                        }
                    }
                }
            }
        }
    }
}

/// 9 elements to 2x2 pixels. There is no residual.
#[inline(always)]
pub(super) fn output2<S: Simd>(s: S, job: &mut Output<'_, '_>) {
    let (c, width) = (job.channels, job.width());
    for tile in 0..width / STEP2 {
        for lane in (0..c).step_by(S::W) {
            // SAFETY: `check` has proven that `m` holds the tile and the rows its pixels.
            unsafe {
                let m = job.m.as_ptr().add(tile * c + lane);
                let mut rows = [[s.zero(); 3]; 2];
                for x in 0..3 {
                    let own = s.load(m.add(x * job.element_stride));
                    rows[0][x] = s.add(own, s.load(m.add((3 + x) * job.element_stride)));
                    rows[1][x] = s.add(own, s.load(m.add((6 + x) * job.element_stride)));
                }
                let bias = s.load(job.bias.as_ptr().add(lane));
                for (y, row) in rows.iter().enumerate().take(job.out.len()) {
                    let own = s.add(row[0], bias);
                    let out = job.out[y].as_mut_ptr().add(tile * STEP2 * c + lane);
                    s.store(out, s.add(own, row[1]));
                    s.store(out.add(c), s.add(own, row[2]));
                }
            }
        }
    }
}
