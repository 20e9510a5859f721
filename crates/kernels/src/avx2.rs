//! AVX2 with FMA: 8 lanes.

use std::arch::x86_64::*;

use super::simd::{Simd, Tile};

/// Made only where [`crate::Isa`] has proven AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// One intrinsic. The feature is proven by the value of [`Avx2`].
macro_rules! op {
    ($e:expr) => {
        // SAFETY: a value of `Avx2` exists only where the CPU has AVX2 and FMA.
        unsafe { $e }
    };
}

impl Simd for Avx2 {
    type V = __m256;
    const W: usize = 8;
    const MAX_ROWS: usize = 6;
    const MAX_PANELS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        op!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        op!(_mm256_loadu_ps(p))
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m256 {
        op!(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(
            _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()))
        )))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        op!(_mm256_storeu_ps(p, v))
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        op!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn fnma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        op!(_mm256_fnmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        op!(_mm256_round_ps::<
            { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
        >(a))
    }
    #[inline(always)]
    fn scale2(self, a: __m256, n: __m256) -> __m256 {
        op!({
            let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent))
        })
    }
    #[inline(always)]
    fn recip(self, a: __m256) -> __m256 {
        self.divide_one(a)
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        op!(_mm_prefetch::<_MM_HINT_T0>(p.cast()))
    }
    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        let lanes = self.to_array(a);
        let half = |i: usize| lanes[i] + lanes[i + 4];
        (half(0) + half(2)) + (half(1) + half(3))
    }
    #[inline(always)]
    fn highest(self, a: __m256) -> f32 {
        let mut highest = f32::NEG_INFINITY;
        for lane in self.to_array(a) {
            highest = if lane > highest { lane } else { highest };
        }
        highest
    }
    #[inline(always)]
    unsafe fn micro<const BY_K: bool>(self, rows: usize, panels: usize, tile: &Tile) {
        // SAFETY: the caller's promise.
        unsafe { super::micro_tiles!(self, rows, panels, tile, BY_K, [1 2 3 4 5 6], 1 => 2) }
    }
}

impl Avx2 {
    #[inline(always)]
    fn divide_one(self, a: __m256) -> __m256 {
        op!(_mm256_div_ps(_mm256_set1_ps(1.0), a))
    }

    #[inline(always)]
    fn to_array(self, a: __m256) -> [f32; 8] {
        let mut lanes = [0.0; 8];
        op!(_mm256_storeu_ps(lanes.as_mut_ptr(), a));
        lanes
    }
}

super::instances!(Avx2, Avx2, "avx2,fma");
