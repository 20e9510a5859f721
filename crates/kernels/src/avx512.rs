//! AVX-512 (foundation): 16 lanes.

use std::arch::x86_64::*;

use super::simd::{Simd, Tile};

/// Made only where [`crate::Isa`] has proven AVX-512F.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

/// One intrinsic. The feature is proven by the value of [`Avx512`].
macro_rules! op {
    ($e:expr) => {
        // SAFETY: a value of `Avx512` exists only where the CPU has AVX-512F.
        unsafe { $e }
    };
}

impl Simd for Avx512 {
    type V = __m512;
    const W: usize = 16;
    const MAX_ROWS: usize = 14;
    const MAX_PANELS: usize = 2;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        op!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        op!(_mm512_loadu_ps(p))
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m512 {
        op!(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()))
        )))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        op!(_mm512_storeu_ps(p, v))
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        op!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn fnma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        op!(_mm512_fnmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        op!(_mm512_roundscale_ps::<
            { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
        >(a))
    }
    #[inline(always)]
    fn scale2(self, a: __m512, n: __m512) -> __m512 {
        op!(_mm512_scalef_ps(a, n))
    }
    #[inline(always)]
    fn recip(self, a: __m512) -> __m512 {
        // 14 bits, then one step of Newton's method: r (2 - a r).
        op!({
            let r = _mm512_rcp14_ps(a);
            let error = _mm512_fnmadd_ps(a, r, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(r, error, r)
        })
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        op!(_mm_prefetch::<_MM_HINT_T0>(p.cast()))
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        op!(_mm512_reduce_add_ps(a))
    }
    #[inline(always)]
    fn highest(self, a: __m512) -> f32 {
        op!(_mm512_reduce_max_ps(a))
    }
    #[inline(always)]
    unsafe fn micro<const BY_K: bool>(self, rows: usize, panels: usize, tile: &Tile) {
        // SAFETY: the caller's promise.
        unsafe {
            super::micro_tiles!(self, rows, panels, tile, BY_K, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], 1 => 1, 2 => 2)
        }
    }
}

super::instances!(Avx512, Avx512, "avx512f");
