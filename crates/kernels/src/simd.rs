//! What the kernels need of a vector of `f32`, so that each is written once and compiled for every instruction set.

use std::ops::Range;

/// Channels per block: activations, weights and transformed tiles are padded to it, whatever the vector's width.
pub const BLOCK: usize = 16;

/// Rounds channels up to whole blocks.
pub fn padded(channels: usize) -> usize {
    channels.next_multiple_of(BLOCK)
}

/// The operands of an inner tile, as pointers to its corners; strides as in `Gemm`.
pub struct Tile {
    pub a: *const f32,
    pub a_stride: usize,
    pub w: *const f32,
    pub w_stride: usize,
    pub k: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    pub accumulate: bool,
    /// This tile's share of the weights that the next tiles will read, to be fetched meanwhile: where it starts in a
    /// panel, and its rows of every [`BLOCK`].
    pub next: *const f32,
    pub next_rows: usize,
}

/// Operations on vectors of [`Self::W`] lanes. A value of the implementing type proves that the CPU has them.
///
/// All methods are inlined into functions compiled for the instruction set; none may be passed to a generic function of
/// the standard library, which would be compiled without it.
pub trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// Lanes; a divisor of [`BLOCK`].
    const W: usize;
    /// Most rows of a matrix product's inner tile.
    const MAX_ROWS: usize;
    /// Blocks of columns of a matrix product's inner tile.
    const MAX_PANELS: usize;

    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `p` must be valid for reading [`Self::W`] values.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` must be valid for reading [`Self::W`] values, the upper halves of `f32`.
    unsafe fn load_bf16(self, p: *const u16) -> Self::V;
    /// # Safety
    /// `p` must be valid for writing [`Self::W`] values.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b + c`.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a b`.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest whole number.
    fn round(self, a: Self::V) -> Self::V;
    /// `a 2^n` for whole `n` in [-125, 125] and `a` near 1.
    fn scale2(self, a: Self::V, n: Self::V) -> Self::V;
    /// `1 / a` to a unit in the last place or two, for `a` in [1, 2^126].
    fn recip(self, a: Self::V) -> Self::V;
    /// Asks for the cache line at `p`, which need not be valid memory, to be brought into the first-level cache.
    fn prefetch(self, p: *const f32);
    fn sum(self, a: Self::V) -> f32;
    fn highest(self, a: Self::V) -> f32;

    /// The inner tile of a matrix product: `rows` rows by `panels` blocks of columns. `BY_K`: of each 16 values of `A`, those of
    /// one column lie together, not those of one row.
    ///
    /// # Safety
    /// As [`super::gemm::micro`], and `rows` in `1..=MAX_ROWS`, `panels` in `1..=MAX_PANELS`.
    unsafe fn micro<const BY_K: bool>(self, rows: usize, panels: usize, tile: &Tile);

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// `2^t` for `t` in [-125, 125], to 2e-7.
    #[inline(always)]
    fn exp2(self, t: Self::V) -> Self::V {
        /// Minimax polynomial of relative error 7.5e-8 for `2^f` on [-1/2, 1/2] (Remez).
        const C: [f32; 6] = [
            1.000_000_1,
            0.693_146_97,
            0.240_221_2,
            0.055_507_133,
            0.009_675_541,
            0.001_327_647_2,
        ];
        let n = self.round(t);
        let f = self.sub(t, n);
        let mut p = self.splat(C[5]);
        for c in [C[4], C[3], C[2], C[1], C[0]] {
            p = self.fma(p, f, self.splat(c));
        }
        self.scale2(p, n)
    }

    /// `x / (1 + e^-x)`.
    #[inline(always)]
    fn silu(self, x: Self::V) -> Self::V {
        let t = self.mul(x, self.splat(-std::f32::consts::LOG2_E));
        let t = self.max(self.min(t, self.splat(125.0)), self.splat(-125.0));
        self.mul(x, self.recip(self.add(self.exp2(t), self.splat(1.0))))
    }
}

/// Offsets of the vectors of a block.
#[inline(always)]
pub fn lanes<S: Simd>() -> std::iter::StepBy<Range<usize>> {
    (0..BLOCK).step_by(S::W)
}
