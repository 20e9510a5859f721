//! The adjoints of the transforms in `winograd.rs` and `expand.rs`, which give the gradient of a convolution's weights.
//!
//! The results of a tile are `A^T (U . V) A`, `U = G g G^T` being the weights' elements and `V` those of the pixels. So the gradient of
//! `U` is that of the results through `A`, times `V`, summed over tiles ([`crate::outer`]), and that of `g` is `G^T dU G`.

use super::simd::{BLOCK, Simd, lanes};
use super::winograd::{ELEMENTS4, Input, POINTS4, STEP3, STEP4};

/// The gradients of 16 outputs' elements for some inputs, to be collapsed.
pub struct Collapse<'a> {
    /// Side of the kernel, 3 or 4.
    pub side: usize,
    /// `[element][row][16]` of one panel of 16 inputs.
    pub elements: &'a [f32],
    /// Values from one row to the next.
    pub row_stride: usize,
    /// Values from one element to the next.
    pub element_stride: usize,
    /// Rows, which are outputs.
    pub rows: usize,
    /// `[row][tap][16]`.
    pub taps: &'a mut [f32],
}

impl Collapse<'_> {
    /// # Panics
    /// If a slice is too short.
    pub(super) fn check(&self) {
        assert_eq!(
            self.taps.len(),
            self.rows * self.side * self.side * BLOCK,
            "the taps differ in number"
        );
        assert!(matches!(self.side, 3 | 4), "no such kernel");
        let Some(last) = self.rows.checked_sub(1) else {
            return;
        };
        let end = (ELEMENTS4 - 1) * self.element_stride + last * self.row_stride + BLOCK;
        assert!(self.elements.len() >= end, "elements are missing");
    }
}

/// The adjoint of [`super::winograd::back4`]: `N` gradients to six.
#[inline(always)]
fn slopes4<S: Simd, const N: usize>(s: S, y: [S::V; N]) -> [S::V; 6] {
    let (half, two) = (s.splat(0.5), s.splat(2.0));
    let (a, b) = (s.splat(POINTS4[0]), s.splat(POINTS4[1]));
    let (even_a, even_b) = (s.fma(y[2], half, y[0]), s.fma(y[2], two, y[0]));
    let (mut odd_a, mut odd_b) = (y[1], y[1]);
    if N == 4 {
        odd_a = s.fma(y[N - 1], half, odd_a);
        odd_b = s.fma(y[N - 1], two, odd_b);
    }
    [
        y[0],
        s.fma(odd_a, a, even_a),
        s.fnma(odd_a, a, even_a),
        s.fma(odd_b, b, even_b),
        s.fnma(odd_b, b, even_b),
        y[N - 1],
    ]
}

/// 4x4 pixels to 36 elements.
#[inline(always)]
pub(super) fn slope4<S: Simd>(s: S, job: &mut Input<'_, STEP4>) {
    slope(s, job);
}

/// 3x3 pixels to 36 elements.
#[inline(always)]
pub(super) fn slope3<S: Simd>(s: S, job: &mut Input<'_, STEP3>) {
    slope(s, job);
}

/// `N x N` pixels to 36 elements.
#[inline(always)]
fn slope<S: Simd, const N: usize>(s: S, job: &mut Input<'_, N>) {
    let c = job.channels;
    for tile in 0..job.tiles {
        for block in 0..c / BLOCK {
            for lane in lanes::<S>() {
                let source = tile * job.step * c + block * BLOCK + lane;
                let target = block * job.block_stride + tile * BLOCK + lane;
                // SAFETY: `check` has proven that the rows hold every tile and `v` every element.
                unsafe {
                    let mut columns = [[s.zero(); 6]; N];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let mut pixels = [s.zero(); N];
                        for (y, pixel) in pixels.iter_mut().enumerate() {
                            *pixel = s.load(job.rows[y].as_ptr().add(source + x * c));
                        }
                        *column = slopes4(s, pixels);
                    }
                    let v = job.v.as_mut_ptr().add(target);
                    for y in 0..6 {
                        let mut row = [s.zero(); N];
                        for x in 0..N {
                            row[x] = columns[x][y];
                        }
                        let row = slopes4(s, row);
                        for x in 0..6 {
                            s.store(v.add((6 * y + x) * job.element_stride), row[x]);
                        }
                    }
                }
            }
        }
    }
}

/// The adjoint of [`super::expand::weights4`]: six gradients to `N`.
#[inline(always)]
fn taps4<S: Simd, const N: usize>(s: S, w: [S::V; 6]) -> [S::V; N] {
    use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
    let (sum_a, sum_b) = (s.add(w[1], w[2]), s.add(w[3], w[4]));
    let (odd_a, odd_b) = (s.sub(w[1], w[2]), s.sub(w[3], w[4]));
    let odd = |a: f32, b: f32| s.fma(odd_b, s.splat(b), s.mul(odd_a, s.splat(a)));
    let mut taps = [s.zero(); N];
    let first = s.fma(sum_a, s.splat(-1.0 / 1.5), w[0]);
    taps[0] = s.fma(sum_b, s.splat(1.0 / 6.0), first);
    taps[1] = odd(-FRAC_1_SQRT_2 / 1.5, SQRT_2 / 6.0);
    taps[2] = s.fma(sum_b, s.splat(2.0 / 6.0), s.mul(sum_a, s.splat(-0.5 / 1.5)));
    if N == 4 {
        taps[N - 1] = odd(-0.5 * FRAC_1_SQRT_2 / 1.5, 2.0 * SQRT_2 / 6.0);
    }
    taps[N - 1] = s.add(taps[N - 1], w[5]);
    taps
}

#[inline(always)]
pub(super) fn collapse<S: Simd>(s: S, job: &mut Collapse<'_>) {
    match job.side {
        4 => collapse_side::<S, 4>(s, job),
        _ => collapse_side::<S, 3>(s, job),
    }
}

#[inline(always)]
fn collapse_side<S: Simd, const N: usize>(s: S, job: &mut Collapse<'_>) {
    for row in 0..job.rows {
        for lane in lanes::<S>() {
            let mut columns = [[s.zero(); N]; 6];
            for (x, column) in columns.iter_mut().enumerate() {
                let mut elements = [s.zero(); 6];
                for (y, element) in elements.iter_mut().enumerate() {
                    let offset = (6 * y + x) * job.element_stride + row * job.row_stride + lane;
                    // SAFETY: `check` has proven that the elements of every row are there.
                    *element = unsafe { s.load(job.elements.as_ptr().add(offset)) };
                }
                *column = taps4(s, elements);
            }
            for y in 0..N {
                let mut line = [s.zero(); 6];
                for x in 0..6 {
                    line[x] = columns[x][y];
                }
                let taps: [S::V; N] = taps4(s, line);
                for x in 0..N {
                    let offset = (row * N * N + N * y + x) * BLOCK + lane;
                    // SAFETY: `check` has proven that there are `N N` taps for every row.
                    unsafe { s.store(job.taps.as_mut_ptr().add(offset), taps[x]) };
                }
            }
        }
    }
}
