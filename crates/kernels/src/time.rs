//! Winograd's transforms along time: F(2, 3) for two frames of a causal convolution, F(4, 3) for four.
//!
//! `n` frames see `n + 2`, two of which were before them. Combined in `n + 2` ways, these are multiplied with as many
//! combinations of the three temporal taps, and the products are combined to `n` results. F(4, 3) has the points of
//! `winograd.rs`, F(2, 3) has 0, 1, -1 and infinity. The first combination of the taps is the first tap, the last is the
//! last: only those between, [`TimeWeights`], need memory.

use super::expand::weights4;
use super::simd::{BLOCK, Simd};
use super::winograd::{back4, forward4};

/// Frames before the first that a causal convolution sees.
pub const PAST: usize = 2;
/// Temporal taps.
pub const TIME_TAPS: usize = 3;

/// Frames to be combined.
pub struct TimeIn<'a> {
    /// Results of the convolution, 2 or 4; there are two more frames.
    pub frames: usize,
    /// Values of a frame, a multiple of 16.
    pub length: usize,
    /// The frames.
    pub v: &'a [f32],
    /// Values from one frame to the next.
    pub frame_stride: usize,
    /// As many combinations as frames, one after the other.
    pub a: &'a mut [f32],
}

/// Temporal taps to be combined.
pub struct TimeWeights<'a> {
    /// Results of the convolution, 2 or 4.
    pub frames: usize,
    /// The taps, equally long, a multiple of 16 values.
    pub taps: [&'a [f32]; TIME_TAPS],
    /// The combinations, from the first tap on: as many as there are results.
    pub w: &'a mut [f32],
    /// Values from one combination to the next.
    pub stride: usize,
}

/// Products to be combined to frames.
pub struct TimeOut<'a> {
    /// Frames, 2 or 4; there are two more products.
    pub frames: usize,
    /// The products, one after the other: rows of `columns` values.
    pub m: &'a [f32],
    /// Rows of a frame.
    pub rows: usize,
    /// Values of a row, a multiple of 16.
    pub columns: usize,
    /// The frames.
    pub out: &'a mut [f32],
    /// Values from one frame of `out` to the next.
    pub frame_stride: usize,
    /// Values from one row of `out` to the next.
    pub row_stride: usize,
}

/// # Panics
/// If there is no transform for so many frames.
fn check_frames(frames: usize) {
    assert!(matches!(frames, 2 | 4), "no transform of {frames} frames");
}

impl TimeIn<'_> {
    /// # Panics
    /// If a slice is too short.
    pub(super) fn check(&self) {
        check_frames(self.frames);
        assert!(self.length.is_multiple_of(BLOCK), "values come in blocks");
        let all = self.frames + PAST;
        assert!(
            self.v.len() >= (all - 1) * self.frame_stride + self.length,
            "frames are missing"
        );
        assert!(
            self.a.len() >= all * self.length,
            "the combinations do not fit"
        );
    }
}

impl TimeWeights<'_> {
    fn length(&self) -> usize {
        self.taps[0].len()
    }

    /// # Panics
    /// If a slice is too short, or the taps' lengths differ.
    pub(super) fn check(&self) {
        check_frames(self.frames);
        let length = self.length();
        assert!(length.is_multiple_of(BLOCK), "values come in blocks");
        assert!(
            self.taps.iter().all(|tap| tap.len() == length),
            "the taps differ in length"
        );
        assert!(
            self.w.len() >= (self.frames - 1) * self.stride + length,
            "the combinations do not fit"
        );
    }
}

impl TimeOut<'_> {
    /// # Panics
    /// If a slice is too short.
    pub(super) fn check(&self) {
        check_frames(self.frames);
        assert!(self.columns.is_multiple_of(BLOCK), "columns come in blocks");
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let products = (self.frames + PAST) * self.rows * self.columns;
        assert!(self.m.len() >= products, "products are missing");
        let end = (self.frames - 1) * self.frame_stride
            + (self.rows - 1) * self.row_stride
            + self.columns;
        assert!(self.out.len() >= end, "the frames do not fit");
    }
}

#[inline(always)]
pub(super) fn time_in<S: Simd>(s: S, job: &mut TimeIn<'_>) {
    let n = job.length;
    for lane in (0..n).step_by(S::W) {
        // SAFETY: `check` has proven that every frame and combination has `length` values, a multiple of the lanes.
        unsafe {
            let v = job.v.as_ptr().add(lane);
            let a = job.a.as_mut_ptr().add(lane);
            let frame = |i: usize| s.load(v.add(i * job.frame_stride));
            if job.frames == 4 {
                let mixed = forward4(
                    s,
                    [frame(0), frame(1), frame(2), frame(3), frame(4), frame(5)],
                );
                for i in 0..6 {
                    s.store(a.add(i * n), mixed[i]);
                }
            } else {
                let d = [frame(0), frame(1), frame(2), frame(3)];
                s.store(a, s.sub(d[0], d[2]));
                s.store(a.add(n), s.add(d[1], d[2]));
                s.store(a.add(2 * n), s.sub(d[2], d[1]));
                s.store(a.add(3 * n), s.sub(d[3], d[1]));
            }
        }
    }
}

#[inline(always)]
pub(super) fn time_weights<S: Simd>(s: S, job: &mut TimeWeights<'_>) {
    for lane in (0..job.length()).step_by(S::W) {
        // SAFETY: `check` has proven that taps and combinations have `length` values, a multiple of the lanes.
        unsafe {
            let tap = |i: usize| s.load(job.taps[i].as_ptr().add(lane));
            let w = job.w.as_mut_ptr().add(lane);
            let g = [tap(0), tap(1), tap(2)];
            if job.frames == 4 {
                let mixed = weights4(s, g);
                for i in 0..4 {
                    s.store(w.add(i * job.stride), mixed[i + 1]);
                }
            } else {
                let half = s.splat(0.5);
                let (even, odd) = (s.mul(s.add(g[0], g[2]), half), s.mul(g[1], half));
                s.store(w, s.add(even, odd));
                s.store(w.add(job.stride), s.sub(even, odd));
            }
        }
    }
}

#[inline(always)]
pub(super) fn time_out<S: Simd>(s: S, job: &mut TimeOut<'_>) {
    let n = job.rows * job.columns;
    for row in 0..job.rows {
        for lane in (0..job.columns).step_by(S::W) {
            // SAFETY: `check` has proven that every product and frame has `rows` rows of `columns` values, a multiple of the
            // lanes.
            unsafe {
                let m = job.m.as_ptr().add(row * job.columns + lane);
                let out = job.out.as_mut_ptr().add(row * job.row_stride + lane);
                let product = |i: usize| s.load(m.add(i * n));
                if job.frames == 4 {
                    let m = [
                        product(0),
                        product(1),
                        product(2),
                        product(3),
                        product(4),
                        product(5),
                    ];
                    let frames = back4::<S, 4>(s, m);
                    for i in 0..4 {
                        s.store(out.add(i * job.frame_stride), frames[i]);
                    }
                } else {
                    let m = [product(0), product(1), product(2), product(3)];
                    s.store(out, s.add(m[0], s.add(m[1], m[2])));
                    s.store(out.add(job.frame_stride), s.add(s.sub(m[1], m[2]), m[3]));
                }
            }
        }
    }
}
