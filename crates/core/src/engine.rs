//! What an engine is: it decodes latents to pixels and encodes pixels to latents, one clip per session.
//!
//! A clip is fed in pieces of any length and leaves as it is done; the pieces' results, joined, equal the result of the
//! whole clip. Sessions keep their state between calls and nothing else: it does not grow with the clip.

use crate::array::Array;
use crate::config::VaeConfig;
use crate::error::Result;

/// Called with the fraction of the present step that is done, in `[0, 1]`, on whatever thread computes.
pub type Progress<'a> = &'a mut (dyn FnMut(f32) + Send);

/// A loaded model.
pub trait Engine: Send + Sync {
    /// Short name for logs, such as `burn-flex` or `cpu-avx512`.
    fn name(&self) -> String;

    /// The model's configuration.
    fn config(&self) -> &VaeConfig;

    /// Bytes that the allocator of a device holds now for all of this process, whether in use or kept for later; `None` where it does
    /// not tell, and where the process's memory does.
    fn device_memory(&self) -> Option<u64> {
        None
    }

    /// Starts decoding a clip or an image.
    fn decoder(&self) -> Box<dyn DecodeSession + '_>;

    /// Starts encoding a clip or an image.
    fn encoder(&self) -> Box<dyn EncodeSession + '_>;
}

/// The decoding of one clip.
pub trait DecodeSession {
    /// Decodes the next latent frames.
    ///
    /// # Shapes
    /// - `latent`: `[z_dim, t, h, w]`, raw, `t >= 1`
    /// - result: `[3, f, r 8h, r 8w]`, pixel-shuffled, nominally in [-1, 1] but not clamped; `f` is `1 + 4 (t - 1)` in the
    ///   first call after [`Self::reset`], `4 t` later
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the latent does not fit the model or its size changes within a clip.
    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array>;

    /// Forgets the clip; the next step starts another.
    fn reset(&mut self);
}

/// The encoding of one clip.
pub trait EncodeSession {
    /// Encodes the next frames.
    ///
    /// # Shapes
    /// - `pixels`: `[3, f, 8h, 8w]` in [-1, 1]; `f` is `1 + 4 k` in the first call after [`Self::reset`], `4 k` later
    /// - result: `[z_dim, t, h, w]`, the mean of the raw latent
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if extents do not divide or the size changes within a clip.
    fn step(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array>;

    /// Forgets the clip; the next step starts another.
    fn reset(&mut self);
}

/// Rearranges `[C r^2, F, H, W]` to `[C, F, r H, r W]`: `out[c, f, r y + i, r x + j] = in[r^2 c + r i + j, f, y, x]`.
///
/// # Errors
/// [`crate::Error::Shape`] unless `raw` has four axes and a multiple of `r^2` channels.
pub fn pixel_shuffle(raw: &Array, r: usize) -> Result<Array> {
    let [channels, frames, h, w] = raw.dims("raw output")?;
    if r == 0 || !channels.is_multiple_of(r * r) {
        return Err(crate::Error::Shape {
            what: "raw output".into(),
            expected: format!("a multiple of {} channels", r * r),
            got: format!("{channels}"),
        });
    }
    let mut out = Array::zeros([channels / (r * r), frames, r * h, r * w]);
    for (plane, source) in raw.data().chunks_exact((h * w).max(1)).enumerate() {
        let (channel, frame) = (plane / frames, plane % frames);
        let (c, i, j) = (channel / (r * r), channel / r % r, channel % r);
        let target = &mut out.data_mut()[(c * frames + frame) * r * r * h * w..][..r * r * h * w];
        for (y, row) in source.chunks_exact(w).enumerate() {
            for (x, value) in row.iter().enumerate() {
                target[(r * y + i) * r * w + r * x + j] = *value;
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shuffle_order_is_pinned() {
        let raw = Array::new([12, 1, 1, 2], (0..24).map(|i| i as f32).collect()).unwrap();
        let out = pixel_shuffle(&raw, 2).unwrap();
        assert_eq!(out.shape(), [3, 1, 2, 4]);
        // Channel 4c + 2i + j lands in row i, column j of its 2x2 block.
        assert_eq!(out.data()[..8], [0., 2., 1., 3., 4., 6., 5., 7.]);
        assert_eq!(out.data()[8..12], [8., 10., 9., 11.]);
        assert!(pixel_shuffle(&raw, 5).is_err());
    }
}
