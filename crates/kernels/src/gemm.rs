//! The matrix product behind every convolution, `C [+]= A W`, and the one behind the gradient of its weights, `C [+]= A^T W`.
//!
//! `A` is stored in blocks of 16 columns, `[k / 16][row][16]`, so that an inner tile reads it at constant offsets from
//! one pointer; `W` in panels of 16 columns, `[panel][k][16]`; `C` row by row. The inner tile keeps its part of `C` in
//! registers over the whole of `k`: the sum over `k` always runs in the same order, whatever the grouping of rows.

use super::simd::{BLOCK, Simd, Tile};

/// One product of `rows x k` by `k x 16 panels`.
pub struct Gemm<'a> {
    /// Rows of `A` and `C`.
    pub rows: usize,
    /// Columns of `A`, rows of `W`.
    pub k: usize,
    /// `[k / 16][row][16]`.
    pub a: &'a [f32],
    /// Values from one block of columns of `A` to the next.
    pub a_stride: usize,
    /// `[panel][k][16]`.
    pub w: &'a [f32],
    /// Values from one panel to the next.
    pub w_stride: usize,
    /// Where the product that follows starts to read, in values from the start of `w`: a hint.
    pub w_next: usize,
    /// Blocks of 16 columns of `W` and `C`.
    pub panels: usize,
    /// `[row][16 panels]`.
    pub c: &'a mut [f32],
    /// Values from one row of `C` to the next.
    pub c_stride: usize,
    /// Add to `C` instead of overwriting it.
    pub accumulate: bool,
}

impl Gemm<'_> {
    /// # Panics
    /// If a slice is too short for the strides.
    pub(super) fn check(&self) {
        if self.rows == 0 || self.panels == 0 {
            return;
        }
        let blocks = self.k.div_ceil(BLOCK);
        assert!(
            blocks == 0 || self.a.len() >= (blocks - 1) * self.a_stride + self.rows * BLOCK,
            "A is too short"
        );
        assert!(
            self.w.len() >= (self.panels - 1) * self.w_stride + self.k * BLOCK,
            "W is too short"
        );
        assert!(
            self.c.len() >= (self.rows - 1) * self.c_stride + self.panels * BLOCK,
            "C is too short"
        );
    }
}

/// One product of the transpose of `k x 16` by `k x 16 panels`: how gradients of weights are summed over pixels.
pub struct Outer<'a> {
    /// Rows of `A` and `W`.
    pub k: usize,
    /// `[k][16]`.
    pub a: &'a [f32],
    /// `[panel][k][16]`.
    pub w: &'a [f32],
    /// Values from one panel to the next.
    pub w_stride: usize,
    /// Blocks of 16 columns of `W` and `C`.
    pub panels: usize,
    /// `[16][16 panels]`.
    pub c: &'a mut [f32],
    /// Add to `C` instead of overwriting it.
    pub accumulate: bool,
}

impl Outer<'_> {
    /// # Panics
    /// If a slice is too short for the strides.
    pub(super) fn check(&self) {
        if self.panels == 0 {
            return;
        }
        assert!(self.a.len() >= self.k * BLOCK, "A is too short");
        assert!(
            self.w.len() >= (self.panels - 1) * self.w_stride + self.k * BLOCK,
            "W is too short"
        );
        assert!(
            self.c.len() >= BLOCK * BLOCK * self.panels,
            "C is too short"
        );
    }
}

/// Runs `job` in inner tiles of equal shares of the 16 rows.
#[inline(always)]
pub(super) fn outer<S: Simd>(s: S, job: &mut Outer<'_>) {
    let groups = BLOCK.div_ceil(S::MAX_ROWS);
    let c_stride = BLOCK * job.panels;
    let mut panel = 0;
    while panel < job.panels {
        let panels = (job.panels - panel).min(S::MAX_PANELS);
        for group in 0..groups {
            let (first, end) = (group * BLOCK / groups, (group + 1) * BLOCK / groups);
            // SAFETY: `check` has proven that the slices hold 16 rows and every panel below `panels`.
            unsafe {
                let w = job.w.as_ptr().add(panel * job.w_stride);
                let tile = Tile {
                    a: job.a.as_ptr().add(first),
                    a_stride: BLOCK * BLOCK,
                    w,
                    w_stride: job.w_stride,
                    k: job.k,
                    c: job.c.as_mut_ptr().add(first * c_stride + panel * BLOCK),
                    c_stride,
                    accumulate: job.accumulate,
                    next: w,
                    next_rows: 0,
                };
                s.micro::<true>(end - first, panels, &tile);
            }
        }
        panel += panels;
    }
}

/// Runs `job` in inner tiles: a panel of `W` stays in the first-level cache while the rows pass by.
#[inline(always)]
pub(super) fn gemm<S: Simd>(s: S, job: &mut Gemm<'_>) {
    let groups = job.rows.div_ceil(S::MAX_ROWS);
    let mut panel = 0;
    while panel < job.panels {
        let panels = (job.panels - panel).min(S::MAX_PANELS);
        for group in 0..groups {
            // Equal shares, so that no tile is much smaller than the others.
            let (first, end) = (group * job.rows / groups, (group + 1) * job.rows / groups);
            let next_rows = BLOCK.div_ceil(groups);
            let next = if panel + panels < job.panels {
                (panel + panels) * job.w_stride
            } else {
                job.w_next
            };
            // SAFETY: `check` has proven that the slices hold every row below `rows` and every panel below `panels`.
            unsafe {
                let tile = Tile {
                    a: job.a.as_ptr().add(first * BLOCK),
                    a_stride: job.a_stride,
                    w: job.w.as_ptr().add(panel * job.w_stride),
                    w_stride: job.w_stride,
                    k: job.k,
                    c: job.c.as_mut_ptr().add(first * job.c_stride + panel * BLOCK),
                    c_stride: job.c_stride,
                    accumulate: job.accumulate,
                    next: job
                        .w
                        .as_ptr()
                        .wrapping_add(next + group * next_rows * BLOCK),
                    next_rows,
                };
                s.micro::<false>(end - first, panels, &tile);
            }
        }
        panel += panels;
    }
}

/// `MR` rows by `NV` vectors of columns.
///
/// # Safety
/// The pointers of `t` must be valid, at its strides, for `MR` rows of `A` and `C` and `NV` vectors of `W` and `C`.
#[inline(always)]
pub(super) unsafe fn micro<S: Simd, const MR: usize, const NV: usize, const BY_K: bool>(
    s: S,
    t: &Tile,
) {
    let per_panel = BLOCK / S::W;
    let mut acc = [[s.zero(); NV]; MR];
    // SAFETY: all offsets are below the extents the caller vouches for.
    unsafe {
        if t.accumulate {
            for i in 0..MR {
                for j in 0..NV {
                    acc[i][j] = s.load(t.c.add(i * t.c_stride + j * S::W));
                }
            }
        }
        let (mut a, mut w, mut next) = (t.a, t.w, t.next);
        let mut left = t.k;
        while left > 0 {
            let step = left.min(BLOCK);
            for row in 0..t.next_rows {
                for panel in 0..NV / per_panel {
                    s.prefetch(next.wrapping_add(panel * t.w_stride + row * BLOCK));
                }
            }
            next = next.wrapping_add(BLOCK * BLOCK);
            for k in 0..step {
                let mut wv = [s.zero(); NV];
                for j in 0..NV {
                    wv[j] = s
                        .load(w.add(j / per_panel * t.w_stride + k * BLOCK + j % per_panel * S::W));
                }
                for i in 0..MR {
                    let at = if BY_K { k * BLOCK + i } else { i * BLOCK + k };
                    let x = s.splat(*a.add(at));
                    for j in 0..NV {
                        acc[i][j] = s.fma(x, wv[j], acc[i][j]);
                    }
                }
            }
            left -= step;
            // Past the last block the pointers are not read again, and wrapping keeps their computation defined.
            a = a.wrapping_add(t.a_stride);
            w = w.wrapping_add(BLOCK * BLOCK);
        }
        for i in 0..MR {
            for j in 0..NV {
                s.store(t.c.add(i * t.c_stride + j * S::W), acc[i][j]);
            }
        }
    }
}
