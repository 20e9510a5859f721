//! The items of a batch through a decoder, with a base decoder beside it where colours are matched with one.

use std::ops::Range;

use vae2x_core::engine::Progress;
use vae2x_core::{Array, Extent, Result};
use vae2x_media::pixels::Overshoot;

use crate::finish::ClipFinisher;
use crate::session::DecodeSession;
use crate::vae::Vae;

/// A decoded frame, `[3, H, W]` or with opacity `[4, H, W]`, and the base decoder's.
pub struct DecodedFrame {
    /// The frame.
    pub pixels: Array,
    /// The same frame of the base decoder, if there is one.
    pub base: Option<Array>,
    /// Whether it is the first one of its item.
    pub is_first: bool,
}

impl DecodedFrame {
    /// The frame to be saved. The first of an item begins a clip of its own.
    ///
    /// # Errors
    /// As [`ClipFinisher::apply`].
    pub fn finish(self, clip: &mut ClipFinisher) -> Result<Array> {
        if self.is_first {
            clip.begin();
        }
        clip.apply(self.pixels, self.base.as_ref())
    }
}

/// The decoding of a batch: clips or images of one extent, one after another.
pub struct BatchDecoder {
    main: Items,
    base: Option<Items>,
    /// The frames of each item that are given.
    kept: Range<usize>,
    /// Frames of the present item that have been decoded.
    decoded: usize,
}

impl BatchDecoder {
    /// Starts decoding items of this extent.
    ///
    /// # Errors
    /// As [`Vae::decoder`].
    pub fn new(vae: &Vae, base: Option<&Vae>, extent: Extent) -> Result<Self> {
        Ok(Self {
            main: Items::new(vae, extent)?,
            base: base.map(|base| Items::new(base, extent)).transpose()?,
            kept: 0..usize::MAX,
            decoded: 0,
        })
    }

    /// Gives these frames of each item alone.
    #[must_use]
    pub fn with_frames(self, kept: Range<usize>) -> Self {
        Self { kept, ..self }
    }

    /// Keeps values beyond [-1, 1], or does not.
    #[must_use]
    pub fn with_overshoot(self, overshoot: Overshoot) -> Self {
        Self {
            main: self.main.with_overshoot(overshoot),
            base: self.base.map(|base| base.with_overshoot(overshoot)),
            ..self
        }
    }

    /// Decodes the next latent frame `[z, 1, h, w]`, raw, which may be the first of the next item; `progress` is called
    /// with the completed fraction of this step.
    ///
    /// # Errors
    /// As [`DecodeSession::step`].
    pub fn step_with(
        &mut self,
        latent: &Array,
        progress: Progress<'_>,
    ) -> Result<Vec<DecodedFrame>> {
        // Both decoders do nearly all of their work at base resolution.
        let share = if self.base.is_some() { 0.5 } else { 1.0 };
        let main = &mut |part: f32| progress(part * share);
        let main = self.main.step(latent, main)?;
        let base = match &mut self.base {
            Some(base) => {
                let beside = &mut |part: f32| progress(share + part * share);
                base.step(latent, beside)?
            }
            None => Vec::new(),
        };
        let first = self.decoded;
        self.decoded = match self.main.session.is_done() {
            true => 0,
            false => first + main.len(),
        };
        let base = base.into_iter().map(Some).chain(std::iter::repeat(None));
        let both = (first..).zip(main.into_iter().zip(base));
        Ok(both
            .filter(|(index, _)| self.kept.contains(index))
            .map(|(index, (pixels, base))| DecodedFrame {
                pixels,
                base,
                is_first: index == self.kept.start,
            })
            .collect())
    }
}

/// A model on its way through the items.
struct Items {
    vae: Vae,
    extent: Extent,
    overshoot: Overshoot,
    session: DecodeSession,
}

impl Items {
    fn new(vae: &Vae, extent: Extent) -> Result<Self> {
        Ok(Self {
            session: vae.decoder(extent)?,
            vae: vae.clone(),
            extent,
            overshoot: Overshoot::Clamp,
        })
    }

    fn with_overshoot(self, overshoot: Overshoot) -> Self {
        Self {
            session: self.session.with_overshoot(overshoot),
            overshoot,
            ..self
        }
    }

    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Vec<Array>> {
        if self.session.is_done() {
            let session = self.vae.decoder(self.extent)?;
            self.session = session.with_overshoot(self.overshoot);
        }
        self.session.step_with(latent, progress)
    }
}
