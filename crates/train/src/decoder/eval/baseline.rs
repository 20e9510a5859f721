//! The decoder that a run is measured against: the one that it starts from.

use burn::tensor::{Device, Tensor};
use vae2x_core::Array;
use vae2x_core::weights::Weights;
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};
use vae2x_nn::wan_vae::{Decoder, Encoder};

use super::super::model::{decode, encode};
use super::single;
use crate::Result;
use crate::data::crop::clamped;

/// The model that a run starts from.
pub struct Baseline {
    encoder: Encoder,
    decoder: Decoder,
    /// Its pixels per pixel of the input.
    scale: usize,
}

impl Baseline {
    /// Loads it.
    ///
    /// # Errors
    /// If a weight is missing.
    pub fn load(weights: &dyn Weights, device: &Device) -> Result<Self> {
        Ok(Self {
            encoder: Encoder::load(weights, device)?,
            decoder: Decoder::load(weights, device)?,
            scale: scale_of(weights),
        })
    }

    /// The raw latent of an image, as [`encode`] gives it.
    pub fn encode(&self, input: Tensor<4>) -> Tensor<4> {
        let [mean, _] = encode(&self.encoder, input);
        mean
    }

    /// Decodes a raw latent, enlarged to `factor` pixels per pixel of the input.
    ///
    /// # Errors
    /// If the latent does not fit the model.
    pub fn decode(&self, latent: Tensor<4>, factor: usize) -> Result<Array> {
        let image = single(decode(&self.decoder, latent, self.scale)?.pictures)?;
        if self.scale == factor {
            return Ok(clamped(image));
        }
        let size = picture_size(&image)?.map(|n| n * factor / self.scale);
        Ok(clamped(resize(&image, size, Filter::Lanczos3)?))
    }
}

fn scale_of(weights: &dyn Weights) -> usize {
    (weights.config().out_channels / 3).isqrt().max(1)
}

/// What the baseline is called: in captions, and before the names of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaselineName {
    /// Says what is shown of it.
    pub caption: &'static str,
    /// Before names of numbers.
    pub prefix: &'static str,
}

impl BaselineName {
    /// For a model of `weights` in a run of `factor` output pixels per pixel.
    pub fn of(weights: &dyn Weights, factor: usize) -> Self {
        let scale = scale_of(weights);
        Self {
            caption: match (scale, factor) {
                (1, 1) => "base",
                (1, _) => "base, enlarged",
                _ => "start",
            },
            prefix: if scale == 1 { "base_" } else { "start_" },
        }
    }

    /// In captions that have little room, and of folders.
    pub fn short(self) -> &'static str {
        self.prefix.trim_end_matches('_')
    }
}
