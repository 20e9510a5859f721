//! Kernels over pixels: RMS norm with SiLU, bias and residual, and the running softmax of the attention.

use super::simd::{BLOCK, Simd};

/// `gamma x / max(|x|_2, 1e-12)`, per pixel over its channels, then SiLU if asked for.
pub struct Norm<'a> {
    /// Pixels, or `None` to work in place.
    pub source: Option<&'a [f32]>,
    /// As many pixels.
    pub target: &'a mut [f32],
    /// Scale of each channel, with the root of the channel count in it; zero for padding. Its length is that of a
    /// pixel, a multiple of 16.
    pub gamma: &'a [f32],
    /// Follow with SiLU.
    pub silu: bool,
}

impl Norm<'_> {
    /// # Panics
    /// If the lengths disagree.
    pub(super) fn check(&self) {
        assert!(
            self.gamma.len().is_multiple_of(BLOCK) && !self.gamma.is_empty(),
            "channels come in blocks"
        );
        assert!(
            self.target.len().is_multiple_of(self.gamma.len()),
            "part of a pixel"
        );
        assert!(
            self.source.is_none_or(|s| s.len() == self.target.len()),
            "the pixels differ in number"
        );
    }
}

#[inline(always)]
pub(super) fn norm<S: Simd>(s: S, job: &mut Norm<'_>) {
    match job.silu {
        true => norm_with::<S, true>(s, job),
        false => norm_with::<S, false>(s, job),
    }
}

#[inline(always)]
fn norm_with<S: Simd, const SILU: bool>(s: S, job: &mut Norm<'_>) {
    /// Below this length a vector is not divided by its length.
    const SHORTEST: f32 = 1e-12;
    let channels = job.gamma.len();
    let target = job.target.as_mut_ptr();
    let source = job.source.map_or(target.cast_const(), <[f32]>::as_ptr);
    for pixel in 0..job.target.len() / channels {
        // SAFETY: both runs of pixels are `target.len()` long and `gamma` is one pixel long, a multiple of the lanes.
        unsafe {
            let x = source.add(pixel * channels);
            let mut squares = [s.zero(); 2];
            for lane in (0..channels).step_by(S::W) {
                let v = s.load(x.add(lane));
                let i = lane / S::W % 2;
                squares[i] = s.fma(v, v, squares[i]);
            }
            let length = s.sum(s.add(squares[0], squares[1])).sqrt();
            let scale = s.splat(1.0 / length.max(SHORTEST));
            let y = target.add(pixel * channels);
            for lane in (0..channels).step_by(S::W) {
                let gamma = s.load(job.gamma.as_ptr().add(lane));
                let v = s.mul(s.mul(s.load(x.add(lane)), scale), gamma);
                s.store(y.add(lane), if SILU { s.silu(v) } else { v });
            }
        }
    }
}

/// `out = m + bias [+ residual]` over pixels.
pub struct Bias<'a> {
    /// Pixels.
    pub m: &'a [f32],
    /// One value per channel; its length is that of a pixel, a multiple of 16.
    pub bias: &'a [f32],
    /// As many pixels, if any.
    pub residual: Option<&'a [f32]>,
    /// As many pixels.
    pub out: &'a mut [f32],
}

impl Bias<'_> {
    /// # Panics
    /// If the lengths disagree.
    pub(super) fn check(&self) {
        assert!(
            self.bias.len().is_multiple_of(BLOCK) && !self.bias.is_empty(),
            "channels come in blocks"
        );
        let length = self.out.len();
        assert!(length.is_multiple_of(self.bias.len()), "part of a pixel");
        assert!(
            self.m.len() == length && self.residual.is_none_or(|r| r.len() == length),
            "pixels differ in number"
        );
    }
}

#[inline(always)]
pub(super) fn bias<S: Simd>(s: S, job: &mut Bias<'_>) {
    let channels = job.bias.len();
    for pixel in (0..job.out.len()).step_by(channels) {
        for lane in (0..channels).step_by(S::W) {
            // SAFETY: `m`, `residual` and `out` are equally long, `bias` is one pixel long.
            unsafe {
                let mut v = s.add(
                    s.load(job.m.as_ptr().add(pixel + lane)),
                    s.load(job.bias.as_ptr().add(lane)),
                );
                if let Some(residual) = job.residual {
                    v = s.add(v, s.load(residual.as_ptr().add(pixel + lane)));
                }
                s.store(job.out.as_mut_ptr().add(pixel + lane), v);
            }
        }
    }
}

/// One row of scores of a softmax that runs over blocks of keys.
pub struct Softmax<'a> {
    /// Scores times `log2 e`; overwritten by `2^(score - highest)`. Its length is a multiple of 16, padding being minus
    /// infinity.
    pub scores: &'a mut [f32],
    /// The highest score so far.
    pub highest: &'a mut f32,
    /// The sum of the exponentials so far, relative to `highest`.
    pub sum: &'a mut f32,
    /// What earlier blocks weigh now: the accumulated values of the row, multiplied in place.
    pub values: &'a mut [f32],
}

impl Softmax<'_> {
    /// # Panics
    /// If a length is not a multiple of 16.
    pub(super) fn check(&self) {
        assert!(
            self.scores.len().is_multiple_of(BLOCK) && self.values.len().is_multiple_of(BLOCK),
            "part of a block"
        );
    }
}

#[inline(always)]
pub(super) fn softmax<S: Simd>(s: S, job: &mut Softmax<'_>) {
    /// Exponentials below this power of two are raised to it; they are negligible next to the highest.
    const LOWEST: f32 = -125.0;
    let scores = job.scores.as_mut_ptr();
    // SAFETY: the lengths of `scores` and `values` are multiples of the lanes.
    unsafe {
        let mut highest = s.splat(*job.highest);
        for lane in (0..job.scores.len()).step_by(S::W) {
            highest = s.max(highest, s.load(scores.add(lane)));
        }
        let now = s.highest(highest);
        let (top, lowest) = (s.splat(now), s.splat(LOWEST));
        let mut sum = s.zero();
        for lane in (0..job.scores.len()).step_by(S::W) {
            let p = s.exp2(s.max(s.sub(s.load(scores.add(lane)), top), lowest));
            sum = s.add(sum, p);
            s.store(scores.add(lane), p);
        }
        if now > *job.highest {
            let fade = (*job.highest - now).exp2();
            *job.highest = now;
            *job.sum *= fade;
            let values = job.values.as_mut_ptr();
            for lane in (0..job.values.len()).step_by(S::W) {
                s.store(
                    values.add(lane),
                    s.mul(s.load(values.add(lane)), s.splat(fade)),
                );
            }
        }
        *job.sum += s.sum(sum);
    }
}
