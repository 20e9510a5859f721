//! NEON: 4 lanes.

use std::arch::aarch64::*;

use super::simd::{Simd, Tile};

/// Made only where [`crate::Isa`] has proven NEON.
#[derive(Clone, Copy)]
pub(super) struct Neon;

/// One intrinsic. The feature is proven by the value of [`Neon`].
macro_rules! op {
    ($e:expr) => {
        // SAFETY: a value of `Neon` exists only where the CPU has NEON.
        unsafe { $e }
    };
}

impl Simd for Neon {
    type V = float32x4_t;
    const W: usize = 4;
    const MAX_ROWS: usize = 6;
    const MAX_PANELS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        op!(vdupq_n_f32(x))
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        op!(vld1q_f32(p))
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> float32x4_t {
        op!(vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p))))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        op!(vst1q_f32(p, v))
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vaddq_f32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vsubq_f32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmulq_f32(a, b))
    }
    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        op!(vfmaq_f32(c, a, b))
    }
    #[inline(always)]
    fn fnma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        op!(vfmsq_f32(c, a, b))
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmaxq_f32(a, b))
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vminq_f32(a, b))
    }
    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        op!(vrndnq_f32(a))
    }
    #[inline(always)]
    fn scale2(self, a: float32x4_t, n: float32x4_t) -> float32x4_t {
        op!({
            let exponent = vshlq_n_s32::<23>(vcvtq_s32_f32(n));
            vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), exponent))
        })
    }
    #[inline(always)]
    fn recip(self, a: float32x4_t) -> float32x4_t {
        op!(vdivq_f32(vdupq_n_f32(1.0), a))
    }
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}
    #[inline(always)]
    fn sum(self, a: float32x4_t) -> f32 {
        op!(vaddvq_f32(a))
    }
    #[inline(always)]
    fn highest(self, a: float32x4_t) -> f32 {
        op!(vmaxvq_f32(a))
    }
    #[inline(always)]
    unsafe fn micro<const BY_K: bool>(self, rows: usize, panels: usize, tile: &Tile) {
        // SAFETY: the caller's promise.
        unsafe { super::micro_tiles!(self, rows, panels, tile, BY_K, [1 2 3 4 5 6], 1 => 4) }
    }
}

super::instances!(Neon, Neon, "neon");
