//! Between planes, as tensors have them, and pixels of 16 channels, as the other kernels read them.

use super::simd::{BLOCK, Simd};

/// Rows of planes to be joined to pixels.
pub struct ToPixels<'a> {
    /// Up to 16, equally long; channels that are missing are zeros.
    pub planes: &'a [&'a [f32]],
    /// `[x][16]`, as many pixels as the planes have.
    pub pixels: &'a mut [f32],
}

impl ToPixels<'_> {
    /// # Panics
    /// If the lengths disagree.
    pub(super) fn check(&self) {
        assert!(self.planes.len() <= BLOCK, "too many planes");
        let is_equal = |plane: &&[f32]| plane.len() * BLOCK == self.pixels.len();
        assert!(self.planes.iter().all(is_equal), "planes differ");
    }
}

/// Pixels to be split into rows of planes.
pub struct FromPixels<'a, 'b> {
    /// `[x][16]`.
    pub pixels: &'a [f32],
    /// Up to 16, each as long as there are pixels.
    pub planes: &'a mut [&'b mut [f32]],
}

impl FromPixels<'_, '_> {
    /// # Panics
    /// If the lengths disagree.
    pub(super) fn check(&self) {
        assert!(self.planes.len() <= BLOCK, "too many planes");
        let is_equal = |plane: &&mut [f32]| plane.len() * BLOCK == self.pixels.len();
        assert!(self.planes.iter().all(is_equal), "planes differ");
    }
}

/// Pixels that are in registers at once.
const GROUP: usize = 8;

#[inline(always)]
pub(super) fn to_pixels<S: Simd>(_: S, job: &mut ToPixels<'_>) {
    if job.planes.len() < BLOCK {
        job.pixels.fill(0.0);
    }
    for (channel, plane) in job.planes.iter().enumerate() {
        let mut groups = plane.chunks_exact(GROUP);
        let mut pixels = job.pixels.chunks_exact_mut(GROUP * BLOCK);
        for (values, pixels) in groups.by_ref().zip(&mut pixels) {
            for x in 0..GROUP {
                pixels[x * BLOCK + channel] = values[x];
            }
        }
        let rest = pixels.into_remainder().chunks_exact_mut(BLOCK);
        for (value, pixel) in groups.remainder().iter().zip(rest) {
            pixel[channel] = *value;
        }
    }
}

#[inline(always)]
pub(super) fn from_pixels<S: Simd>(_: S, job: &mut FromPixels<'_, '_>) {
    for (channel, plane) in job.planes.iter_mut().enumerate() {
        let pixels = job.pixels.chunks_exact(BLOCK);
        for (value, pixel) in plane.iter_mut().zip(pixels) {
            *value = pixel[channel];
        }
    }
}
