//! The items of a batch through a decoder, with a base decoder beside it where colours are matched with one.

use vae2x_core::engine::Progress;
use vae2x_core::{Array, Extent, Result};

use crate::finish::Finisher;
use crate::session::DecodeSession;
use crate::vae::Vae;

/// A decoded frame, `[3, H, W]` or with opacity `[4, H, W]`, and the base decoder's.
pub struct DecodedFrame {
    /// The frame.
    pub pixels: Array,
    /// The same frame of the base decoder, if there is one.
    pub base: Option<Array>,
}

impl DecodedFrame {
    /// The frame to be saved.
    ///
    /// # Errors
    /// As [`Finisher::apply`].
    pub fn finish(self, finisher: &Finisher) -> Result<Array> {
        finisher.apply(self.pixels, self.base.as_ref())
    }
}

/// The decoding of a batch: clips or images of one extent, one after another.
pub struct BatchDecoder {
    main: Items,
    base: Option<Items>,
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
        })
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
        let base = base.into_iter().map(Some).chain(std::iter::repeat(None));
        let both = main.into_iter().zip(base);
        Ok(both
            .map(|(pixels, base)| DecodedFrame { pixels, base })
            .collect())
    }
}

/// A model on its way through the items.
struct Items {
    vae: Vae,
    extent: Extent,
    session: DecodeSession,
}

impl Items {
    fn new(vae: &Vae, extent: Extent) -> Result<Self> {
        Ok(Self {
            session: vae.decoder(extent)?,
            vae: vae.clone(),
            extent,
        })
    }

    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Vec<Array>> {
        if self.session.is_done() {
            self.session = self.vae.decoder(self.extent)?;
        }
        self.session.step_with(latent, progress)
    }
}
