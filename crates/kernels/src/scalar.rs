//! Plain Rust: what every kernel means.

use super::simd::{Simd, Tile};

/// One lane, everywhere.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

impl Simd for Scalar {
    type V = f32;
    const W: usize = 1;
    const MAX_ROWS: usize = 2;
    const MAX_PANELS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *p }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> f32 {
        // SAFETY: the caller's promise.
        f32::from_bits(u32::from(unsafe { *p }) << 16)
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32) {
        // SAFETY: the caller's promise.
        unsafe { *p = v }
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    // Not `mul_add`: without the instruction that is a call into the C library.
    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn fnma(self, a: f32, b: f32, c: f32) -> f32 {
        c - a * b
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn round(self, a: f32) -> f32 {
        /// Adding and subtracting it leaves no fraction.
        const SHIFT: f32 = 12_582_912.0;
        a + SHIFT - SHIFT
    }
    #[inline(always)]
    fn scale2(self, a: f32, n: f32) -> f32 {
        const MANTISSA_BITS: u32 = 23;
        f32::from_bits(a.to_bits().wrapping_add((n as i32 as u32) << MANTISSA_BITS))
    }
    #[inline(always)]
    fn recip(self, a: f32) -> f32 {
        1.0 / a
    }
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}
    #[inline(always)]
    fn sum(self, a: f32) -> f32 {
        a
    }
    #[inline(always)]
    fn highest(self, a: f32) -> f32 {
        a
    }
    #[inline(always)]
    unsafe fn micro<const BY_K: bool>(self, rows: usize, panels: usize, tile: &Tile) {
        // SAFETY: the caller's promise.
        unsafe { super::micro_tiles!(self, rows, panels, tile, BY_K, [1 2], 1 => 16) }
    }
}

super::instances!(Scalar, Scalar);
