//! The engine contract: what a loaded model does, and the door in front of it.
//!
//! The caller gives the [`Extent`] of a clip before its first frame, so an engine knows whether a past must be kept and
//! which weights it needs. A session takes one latent frame, or the frames of one, per step: every way to feed a clip is
//! the same way. [`Decoder`] and [`Encoder`] are the door: they check shape, order and count once for all engines, so
//! that [`Decode`] and [`Encode`] see only what they can run. Pixels have `c` channels, [`VaeConfig::image_channels`]. Sessions own what they need and can move between threads.

use std::sync::Arc;

use crate::array::Array;
use crate::cancel::Cancel;
use crate::config::VaeConfig;
use crate::error::{Error, Result};

/// Called with the completed fraction of the current step, in `[0, 1]`, on whatever thread computes.
pub type Progress<'a> = &'a mut (dyn FnMut(f32) + Send);

/// Called with what the user should know: a retry with smaller bands, a GPU that was skipped.
pub type Notify = Arc<dyn Fn(&str) + Send + Sync>;

/// The size of a clip, given before its first frame. An image is a clip of one latent frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Latent frames.
    pub frames: usize,
    /// Height and width in latent cells.
    pub cells: [usize; 2],
}

impl Extent {
    /// One latent frame of `cells`.
    pub fn image(cells: [usize; 2]) -> Self {
        Self { frames: 1, cells }
    }

    /// The extent of one item of a latent `[B, z, T, h, w]`.
    ///
    /// # Errors
    /// [`Error::Shape`] unless it has five axes.
    pub fn of(latent: &Array) -> Result<Self> {
        let [_, _, frames, h, w] = latent.dims("latent")?;
        Ok(Self {
            frames,
            cells: [h, w],
        })
    }

    /// Whether more than one latent frame follows.
    pub fn is_clip(self) -> bool {
        self.frames > 1
    }
}

/// Bytes that one session holds at its peak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Weights as the engine keeps them. They stay for the next session.
    pub weights: usize,
    /// Rows between layers, attention's keys and values, each thread's scratch memory, weights of the current step.
    pub working: usize,
    /// The array that a step returns.
    pub output: usize,
}

impl Estimate {
    /// The sum of all parts.
    pub fn total(&self) -> usize {
        self.weights + self.working + self.output
    }
}

/// A model on a device. Weights are read on first use: those of the decoder or the encoder, for images or for clips.
pub trait Engine: Send + Sync {
    /// Short name for logs, such as `burn-flex` or `cpu-avx512`.
    fn name(&self) -> String;

    /// The model's configuration.
    fn config(&self) -> &VaeConfig;

    /// Whether the weights have temporal taps; without them only images can be run.
    fn has_time(&self) -> bool;

    /// Threads of this process that compute.
    fn threads(&self) -> usize;

    /// Bytes that the allocator of a device holds now for this process, in use or kept for later; `None` where that is
    /// unknown, and on the CPU, where it is the memory of the process.
    fn device_memory(&self) -> Option<u64> {
        None
    }

    /// What decoding a clip of this extent holds; `None` on devices that cut frames to what they can hold.
    fn decode_memory(&self, clip: Extent) -> Option<Estimate>;

    /// What encoding to a clip of this extent holds; `None` on devices that cut frames to what they can hold.
    fn encode_memory(&self, clip: Extent) -> Option<Estimate>;

    /// Starts decoding a clip; reads the weights it needs. Callers go through [`Decoder::new`], which checks `clip`. Both
    /// this and the session's steps end with [`Error::Cancelled`] soon after `cancel` is set.
    ///
    /// # Errors
    /// If weights cannot be read, or the device cannot hold the clip.
    fn decoder(self: Arc<Self>, clip: Extent, cancel: &Cancel) -> Result<Box<dyn Decode>>;

    /// Starts encoding to a clip; reads the weights it needs. Callers go through [`Encoder::new`], which checks `clip`.
    /// `cancel` is as for [`Self::decoder`].
    ///
    /// # Errors
    /// If weights cannot be read, or the device cannot hold the clip.
    fn encoder(self: Arc<Self>, clip: Extent, cancel: &Cancel) -> Result<Box<dyn Encode>>;
}

/// An engine's decoding of one clip. Shape, order and count have been checked by [`Decoder`].
pub trait Decode: Send {
    /// Decodes the next latent frame.
    ///
    /// # Shapes
    /// `[z_dim, 1, h, w]`, raw -> `[c, f, r 8h, r 8w]`, pixel-shuffled, nominally in [-1, 1] but not clamped; `f` is 1
    /// for the first latent frame, 4 for later ones
    ///
    /// # Errors
    /// If the device fails.
    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array>;
}

/// An engine's encoding of one clip. Shape, order and count have been checked by [`Encoder`].
pub trait Encode: Send {
    /// Encodes the frames of the next latent frame.
    ///
    /// # Shapes
    /// `[c, f, 8h, 8w]` in [-1, 1] -> `[z_dim, 1, h, w]`, the mean of the raw latent; `f` is 1 at first, 4 later
    ///
    /// # Errors
    /// If the device fails.
    fn step(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array>;
}

/// A clip on its way through an engine.
struct Door {
    config: VaeConfig,
    clip: Extent,
    /// Latent frames that have passed.
    done: usize,
    /// A step failed: the engine's state is not that of any clip.
    is_broken: bool,
    cancel: Cancel,
}

impl Door {
    fn new(engine: &dyn Engine, clip: Extent, cancel: &Cancel) -> Result<Self> {
        let Extent { frames, cells } = clip;
        if frames == 0 || cells.contains(&0) {
            return Err(Error::Shape {
                what: "clip".into(),
                expected: "extents of at least 1".into(),
                got: format!("{frames} latent frames of {}x{} cells", cells[1], cells[0]),
            });
        }
        if clip.is_clip() && !engine.has_time() {
            return Err(Error::ImagesOnly { frames });
        }
        Ok(Self {
            config: engine.config().clone(),
            clip,
            done: 0,
            is_broken: false,
            cancel: cancel.clone(),
        })
    }

    /// Frames of the next latent frame.
    fn next_frames(&self) -> usize {
        self.config.frames_of(self.done)
    }

    /// Lets `value` through if it has the shape `expected` and the clip is not complete.
    fn enter(&self, what: &str, value: &Array, expected: [usize; 4]) -> Result<()> {
        self.cancel.check()?;
        if self.is_broken {
            return Err(Error::Device(
                "an earlier step of this clip failed; start the clip again".into(),
            ));
        }
        if self.done == self.clip.frames {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{} latent frames in this clip", self.clip.frames),
                got: "one more".into(),
            });
        }
        if value.shape() != expected {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("shape {expected:?}"),
                got: format!("shape {:?}", value.shape()),
            });
        }
        Ok(())
    }

    fn leave(&mut self, result: Result<Array>) -> Result<Array> {
        self.is_broken = result.is_err();
        self.done += 1;
        result
    }
}

/// The decoding of one clip or image, one latent frame per step.
pub struct Decoder {
    session: Box<dyn Decode>,
    door: Door,
}

impl Decoder {
    /// Starts decoding a clip of the extent `clip`.
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty extent, [`Error::ImagesOnly`] for a clip through weights without temporal taps, else
    /// as [`Engine::decoder`].
    pub fn new(engine: Arc<dyn Engine>, clip: Extent) -> Result<Self> {
        Self::with_cancel(engine, clip, &Cancel::new())
    }

    /// As [`Self::new`], for work that `cancel` can stop.
    ///
    /// # Errors
    /// As [`Self::new`]; [`Error::Cancelled`].
    pub fn with_cancel(engine: Arc<dyn Engine>, clip: Extent, cancel: &Cancel) -> Result<Self> {
        let door = Door::new(&*engine, clip, cancel)?;
        let session = engine.decoder(clip, cancel)?;
        Ok(Self { session, door })
    }

    /// The extent of the clip.
    pub fn extent(&self) -> Extent {
        self.door.clip
    }

    /// Whether all latent frames have been decoded.
    pub fn is_done(&self) -> bool {
        self.door.done == self.door.clip.frames
    }

    /// Decodes the next latent frame; `progress` is called with the completed fraction of this step.
    ///
    /// # Shapes
    /// `[z_dim, 1, h, w]`, raw -> `[c, f, r 8h, r 8w]`, nominally in [-1, 1] but not clamped; `f` is 1 for the first
    /// latent frame, 4 for later ones
    ///
    /// # Errors
    /// [`Error::Shape`] if the latent has another shape or the clip is complete; [`Error::OutOfMemory`] or
    /// [`Error::Device`] if the device fails, and for every step after a failed one.
    pub fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array> {
        let [h, w] = self.door.clip.cells;
        let expected = [self.door.config.z_dim, 1, h, w];
        self.door.enter("latent frame", latent, expected)?;
        let result = self.session.step(latent, progress);
        self.door.leave(result)
    }
}

/// The encoding of one clip or image, the frames of one latent frame per step.
pub struct Encoder {
    session: Box<dyn Encode>,
    door: Door,
}

impl Encoder {
    /// Starts encoding to a clip of the extent `clip`.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn new(engine: Arc<dyn Engine>, clip: Extent) -> Result<Self> {
        Self::with_cancel(engine, clip, &Cancel::new())
    }

    /// As [`Self::new`], for work that `cancel` can stop.
    ///
    /// # Errors
    /// As [`Self::new`]; [`Error::Cancelled`].
    pub fn with_cancel(engine: Arc<dyn Engine>, clip: Extent, cancel: &Cancel) -> Result<Self> {
        let door = Door::new(&*engine, clip, cancel)?;
        let session = engine.encoder(clip, cancel)?;
        Ok(Self { session, door })
    }

    /// The extent of the clip.
    pub fn extent(&self) -> Extent {
        self.door.clip
    }

    /// Whether all frames have been encoded.
    pub fn is_done(&self) -> bool {
        self.door.done == self.door.clip.frames
    }

    /// How many frames the next step takes: 1 at first, 4 later.
    pub fn next_frames(&self) -> usize {
        self.door.next_frames()
    }

    /// Encodes the next frames; `progress` is called with the completed fraction of this step.
    ///
    /// # Shapes
    /// `[c, f, 8h, 8w]` in [-1, 1] -> `[z_dim, 1, h, w]`, the mean of the raw latent; `f` is [`Self::next_frames`]
    ///
    /// # Errors
    /// As [`Decoder::step`].
    pub fn step(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array> {
        let side = self.door.config.spatial();
        let [h, w] = self.door.clip.cells.map(|n| n * side);
        let expected = [self.door.config.image_channels, self.next_frames(), h, w];
        self.door.enter("frames", pixels, expected)?;
        let result = self.session.step(pixels, progress);
        self.door.leave(result)
    }
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
