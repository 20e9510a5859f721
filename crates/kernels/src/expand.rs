//! Taps of a 3x3 convolution to the 36 elements of Winograd's F(4x4, 3x3), or of a 4x4 one to those of F(3x3, 4x4): `G g G^T`, for one
//! panel of 16 outputs.
//!
//! Taps are a quarter of the elements in size, or an eighth as bf16, so large convolutions may keep them and be expanded
//! when their turn comes.

use super::simd::{BLOCK, Simd, lanes};
use super::winograd::ELEMENTS4;

/// Taps of a 3x3 convolution.
pub const TAPS: usize = 9;

/// Values as they are kept.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    /// As they are.
    F32(&'a [f32]),
    /// The upper half of each `f32`.
    Bf16(&'a [u16]),
}

impl Kept<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }
}

/// One panel's taps to be expanded.
pub struct Expand<'a> {
    /// Side of the kernel, 3 or 4.
    pub side: usize,
    /// `[k][frame][tap][16]`.
    pub taps: Kept<'a>,
    /// Frames of the taps.
    pub frames: usize,
    /// The frame that is wanted.
    pub frame: usize,
    /// `[element][k][16]`.
    pub elements: &'a mut [f32],
}

impl Expand<'_> {
    fn k(&self) -> usize {
        self.elements.len() / (ELEMENTS4 * BLOCK)
    }

    /// # Panics
    /// If the lengths disagree.
    pub(super) fn check(&self) {
        assert_eq!(
            self.elements.len(),
            self.k() * ELEMENTS4 * BLOCK,
            "part of an element"
        );
        assert_eq!(
            self.taps.len(),
            self.k() * self.frames * self.side * self.side * BLOCK,
            "the taps differ in number"
        );
        assert!(matches!(self.side, 3 | 4), "no such kernel");
        assert!(self.frame < self.frames, "no such frame");
    }
}

#[inline(always)]
pub(super) fn expand<S: Simd>(s: S, job: &mut Expand<'_>) {
    match job.side {
        4 => expand_side::<S, 4>(s, job),
        _ => expand_side::<S, 3>(s, job),
    }
}

#[inline(always)]
fn expand_side<S: Simd, const N: usize>(s: S, job: &mut Expand<'_>) {
    let k = job.k();
    for row in 0..k {
        for lane in lanes::<S>() {
            let taps = taps_of::<S, N>(s, job, row, lane);
            let mut columns = [[s.zero(); 6]; N];
            for (x, column) in columns.iter_mut().enumerate() {
                let mut line = [s.zero(); N];
                for y in 0..N {
                    line[y] = taps[y][x];
                }
                *column = weights4(s, line);
            }
            for y in 0..6 {
                let mut line = [s.zero(); N];
                for x in 0..N {
                    line[x] = columns[x][y];
                }
                let elements = weights4(s, line);
                for x in 0..6 {
                    let offset = ((6 * y + x) * k + row) * BLOCK + lane;
                    // SAFETY: `check` has proven that there are `36 k` blocks of elements.
                    unsafe { s.store(job.elements.as_mut_ptr().add(offset), elements[x]) };
                }
            }
        }
    }
}

/// The taps of one input.
#[inline(always)]
fn taps_of<S: Simd, const N: usize>(
    s: S,
    job: &Expand<'_>,
    row: usize,
    lane: usize,
) -> [[S::V; N]; N] {
    let mut taps = [[s.zero(); N]; N];
    for tap in 0..N * N {
        let offset = ((row * job.frames + job.frame) * N * N + tap) * BLOCK + lane;
        // SAFETY: `check` has proven that there are `N N k frames` blocks of taps.
        taps[tap / N][tap % N] = unsafe {
            match job.taps {
                Kept::F32(taps) => s.load(taps.as_ptr().add(offset)),
                Kept::Bf16(taps) => s.load_bf16(taps.as_ptr().add(offset)),
            }
        };
    }
    taps
}

/// `G` of F(4, 3), or of F(3, 4), at the points 0, a, -a, b, -b, infinity of `winograd.rs`, with `a^2 = 1/2` and `b^2 = 2`: powers of the
/// point over the product of its distances to the others, which is 1 for 0, `2 a^2 (a^2 - b^2) = -3/2` and
/// `2 b^2 (b^2 - a^2) = 6`.
#[inline(always)]
pub(super) fn weights4<S: Simd, const N: usize>(s: S, g: [S::V; N]) -> [S::V; 6] {
    use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
    let even_a = s.fma(g[2], s.splat(-0.5 / 1.5), s.mul(g[0], s.splat(-1.0 / 1.5)));
    let even_b = s.fma(g[2], s.splat(2.0 / 6.0), s.mul(g[0], s.splat(1.0 / 6.0)));
    let mut odd_a = s.mul(g[1], s.splat(-FRAC_1_SQRT_2 / 1.5));
    let mut odd_b = s.mul(g[1], s.splat(SQRT_2 / 6.0));
    if N == 4 {
        odd_a = s.fma(g[N - 1], s.splat(-0.5 * FRAC_1_SQRT_2 / 1.5), odd_a);
        odd_b = s.fma(g[N - 1], s.splat(2.0 * SQRT_2 / 6.0), odd_b);
    }
    [
        g[0],
        s.add(even_a, odd_a),
        s.sub(even_a, odd_a),
        s.add(even_b, odd_b),
        s.sub(even_b, odd_b),
        g[N - 1],
    ]
}
