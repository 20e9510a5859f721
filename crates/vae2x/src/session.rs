//! A clip on its way through a model, one latent frame at a time, in memory that does not grow with the clip.

use vae2x_core::engine::{self, Progress};
use vae2x_core::{Array, Error, Extent, Result};
use vae2x_media::pixels::Overshoot;

/// The decoding of one clip or image: one latent frame in, one frame out for the first and four for later ones.
pub struct DecodeSession {
    door: engine::Decoder,
    overshoot: Overshoot,
}

impl DecodeSession {
    pub(crate) fn new(door: engine::Decoder) -> Self {
        Self {
            door,
            overshoot: Overshoot::Clamp,
        }
    }

    /// Keeps values beyond [-1, 1], or does not.
    #[must_use]
    pub fn with_overshoot(self, overshoot: Overshoot) -> Self {
        Self { overshoot, ..self }
    }

    /// The extent of the clip.
    pub fn extent(&self) -> Extent {
        self.door.extent()
    }

    /// Whether all latent frames have been decoded.
    pub fn is_done(&self) -> bool {
        self.door.is_done()
    }

    /// Decodes the next latent frame.
    ///
    /// # Shapes
    /// `[z, 1, h, w]`, raw -> one or four frames `[3, r 8h, r 8w]` in [-1, 1], unless [`Self::with_overshoot`] keeps more
    ///
    /// # Errors
    /// [`Error::Shape`] if the latent does not fit the clip; [`Error::NotFinite`] if the weights or the latent are damaged;
    /// device failures.
    pub fn step(&mut self, latent: &Array) -> Result<Vec<Array>> {
        self.step_with(latent, &mut |_| ())
    }

    /// As [`Self::step`]; `progress` is called with the completed fraction of this step.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_with(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Vec<Array>> {
        let pixels = self.door.step(latent, progress)?;
        require_finite("the decoder's output", pixels.data())?;
        frames(self.overshoot.limit(pixels))
    }
}

/// The encoding of one clip or image: the first frame alone, then four at a time.
pub struct EncodeSession {
    door: engine::Encoder,
}

impl EncodeSession {
    pub(crate) fn new(door: engine::Encoder) -> Self {
        Self { door }
    }

    /// The extent of the clip.
    pub fn extent(&self) -> Extent {
        self.door.extent()
    }

    /// Whether all frames have been encoded.
    pub fn is_done(&self) -> bool {
        self.door.is_done()
    }

    /// The number of frames that the next step takes: 1 at first, 4 later.
    pub fn next_frames(&self) -> usize {
        self.door.next_frames()
    }

    /// Encodes the next frames to the mean of their raw latent frame.
    ///
    /// # Shapes
    /// `[3, f, 8h, 8w]` in [-1, 1] -> `[z, 1, h, w]`; `f` is [`Self::next_frames`]
    ///
    /// # Errors
    /// As [`DecodeSession::step`].
    pub fn step(&mut self, pixels: &Array) -> Result<Array> {
        self.step_with(pixels, &mut |_| ())
    }

    /// As [`Self::step`]; `progress` is called with the completed fraction of this step.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_with(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array> {
        let latent = self.door.step(pixels, progress)?;
        require_finite("the encoder's output", latent.data())?;
        Ok(latent)
    }
}

/// Damaged weights must not become an image or a latent that looks whole.
fn require_finite(what: &str, values: &[f32]) -> Result<()> {
    match values.iter().filter(|x| !x.is_finite()).count() {
        0 => Ok(()),
        count => Err(Error::NotFinite {
            what: format!("{what}, from damaged weights or a damaged input"),
            count,
            total: values.len(),
        }),
    }
}

/// `[3, F, H, W]` -> F times `[3, H, W]`; a single frame is not copied.
fn frames(pixels: Array) -> Result<Vec<Array>> {
    let [c, f, h, w] = pixels.dims("pixels")?;
    match f {
        1 => Ok(vec![pixels.reshape([c, h, w])?]),
        _ => (0..f)
            .map(|i| pixels.narrow1(i..i + 1).reshape([c, h, w]))
            .collect(),
    }
}

/// F times `[3, H, W]` -> `[3, F, H, W]`; a single frame is not copied.
///
/// # Errors
/// [`Error::Shape`] if there is no frame or sizes differ.
pub fn join_frames(frames: Vec<Array>) -> Result<Array> {
    let planes = frames
        .into_iter()
        .map(|frame| {
            let [c, h, w] = frame.dims("frame")?;
            frame.reshape([c, 1, h, w])
        })
        .collect::<Result<Vec<_>>>()?;
    match <[Array; 1]>::try_from(planes) {
        Ok([only]) => Ok(only),
        Err(planes) => Array::concat1(&planes),
    }
}
