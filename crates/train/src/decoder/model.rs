//! The generator: a decoder, and an encoder if that is trained too; and where its weights come from.

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};
use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::{TensorFile, Weights};
use vae2x_core::{Array, Result as CoreResult, VaeConfig};
use vae2x_nn::shuffle::pixel_shuffle;
use vae2x_nn::wan_vae::parameters::{decoder_specs, encoder_specs};
use vae2x_nn::wan_vae::{Decoder, DecoderState, Encoder, EncoderState};

use super::images::{ImageWeights, image_shape, image_specs};
use super::widen::{Widening, widen};
use crate::run::checkpoint::read;
use crate::{Error, Result};

/// The networks in training.
#[derive(Module, Debug)]
pub struct Generator {
    /// With `post_quant`.
    pub decoder: Decoder,
    /// Only if it is trained.
    pub encoder: Option<Encoder>,
}

impl Generator {
    /// Builds the generator; on a device with autodiff, its parameters get gradients.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(weights: &dyn Weights, with_encoder: bool, device: &Device) -> Result<Self> {
        let encoder = with_encoder
            .then(|| Encoder::load(weights, device))
            .transpose()?;
        Ok(Self {
            decoder: Decoder::load(weights, device)?,
            encoder,
        })
    }

    /// The tensors of the parameters, in the module's order.
    pub fn specs(&self, config: &VaeConfig, has_time: bool) -> Vec<TensorSpec> {
        specs(config, has_time, self.encoder.is_some())
    }
}

/// The tensors of a [`Generator`]'s parameters, in its order; without time those that an image meets.
pub fn specs(config: &VaeConfig, has_time: bool, with_encoder: bool) -> Vec<TensorSpec> {
    let encoder = with_encoder.then(|| encoder_specs(config, has_time));
    let specs = [decoder_specs(config, has_time), encoder.unwrap_or_default()].concat();
    if has_time { specs } else { image_specs(specs) }
}

/// Encodes single frames, in the precision of `pictures`.
///
/// # Shapes
/// `[B, 3, 8h, 8w]` in [-1, 1] -> mean and log-variance `[B, z, h, w]`, raw, in `f32`
pub fn encode(encoder: &Encoder, pictures: Tensor<4>) -> [Tensor<4>; 2] {
    let moments = encoder
        .step(
            pictures.unsqueeze_dim::<5>(2),
            &mut EncoderState::for_image(),
        )
        .squeeze_dim::<4>(2);
    let moments = moments.cast(FloatDType::F32);
    let z = moments.dims()[1] / 2;
    [moments.clone().narrow(1, 0, z), moments.narrow(1, z, z)]
}

/// A decoded batch, and what its last layer saw.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// `[B, 3, H, W]`, not clamped, in `f32`.
    pub pictures: Tensor<4>,
    /// `[B, C, 1, h, w]`, in the precision of the latents.
    pub features: Tensor<5>,
}

/// Decodes single frames, in the precision of `latents`.
///
/// # Shapes
/// raw latents `[B, z, h, w]` -> images of `8 r` pixels per cell
///
/// # Errors
/// If the latent does not fit the model.
pub fn decode(decoder: &Decoder, latents: Tensor<4>, scale: usize) -> Result<Decoded> {
    let features = decoder.features(
        latents.unsqueeze_dim::<5>(2),
        &mut DecoderState::for_image(),
    )?;
    Ok(Decoded {
        pictures: last_layer(decoder, features.clone(), scale),
        features,
    })
}

/// The last convolution and the shuffle.
///
/// # Shapes
/// `[B, C, 1, h, w]` -> `[B, 3, r h, r w]`
pub fn last_layer(decoder: &Decoder, features: Tensor<5>, scale: usize) -> Tensor<4> {
    let channels = decoder
        .head(features, &mut DecoderState::for_image())
        .squeeze_dim::<4>(2);
    pixel_shuffle(channels.cast(FloatDType::F32), scale)
}

/// Weights of a base model, seen as those of the model to train: tensors of a checkpoint go first, and a last convolution of 3
/// channels is widened.
pub struct Overlay<'a> {
    base: &'a dyn Weights,
    config: VaeConfig,
    start: Widening,
    checkpoint: Option<(&'a TensorFile, &'a str)>,
    for_images: bool,
}

impl<'a> Overlay<'a> {
    /// The base with `scale` output pixels per input pixel.
    ///
    /// # Errors
    /// [`Error::Config`] if the base has another scale that is not 1.
    pub fn new(base: &'a dyn Weights, scale: usize, start: Widening) -> Result<Self> {
        let out_channels = 3 * scale * scale;
        let found = base.config().out_channels;
        if found != 3 && found != out_channels {
            let expected = match scale {
                1 => "3".to_string(),
                _ => format!("3, which are widened, or {out_channels}"),
            };
            return Err(Error::Config(format!(
                "model.base: the model has {found} output channels, and model.scale = {scale} expects {expected}"
            )));
        }
        Ok(Self {
            config: VaeConfig {
                out_channels,
                ..base.config().clone()
            },
            base,
            start,
            checkpoint: None,
            for_images: false,
        })
    }

    /// Takes of all weights what an image meets; see [`super::images`].
    pub fn for_images(self) -> Self {
        Self {
            for_images: true,
            ..self
        }
    }

    /// Takes tensors called `PREFIX.NAME` from a checkpoint.
    pub fn with_checkpoint(self, file: &'a TensorFile, prefix: &'a str) -> Self {
        Self {
            checkpoint: Some((file, prefix)),
            ..self
        }
    }

    fn in_checkpoint(&self, spec: &TensorSpec) -> Option<CoreResult<Array>> {
        let (file, prefix) = self.checkpoint?;
        let name = format!("{prefix}.{}", spec.name);
        let shape = match self.for_images {
            true => image_shape(spec),
            false => spec.shape.clone(),
        };
        file.tensors()
            .contains_key(&name)
            .then(|| read(file, &name, &shape))
    }

    fn of_base(&self, spec: &TensorSpec) -> CoreResult<Array> {
        match self.for_images {
            true => ImageWeights(self.base).tensor(spec),
            false => self.base.tensor(spec),
        }
    }
}

impl Weights for Overlay<'_> {
    fn config(&self) -> &VaeConfig {
        &self.config
    }

    fn tensor(&self, spec: &TensorSpec) -> CoreResult<Array> {
        if let Some(found) = self.in_checkpoint(spec) {
            return found;
        }
        let repeats = self.config.out_channels / self.base.config().out_channels;
        if repeats == 1 || !spec.name.starts_with("decoder.head.2.") {
            return self.of_base(spec);
        }
        let mut narrow = spec.clone();
        narrow.shape[0] /= repeats;
        widen(&self.of_base(&narrow)?, repeats.isqrt(), self.start)
    }

    fn has_time(&self) -> bool {
        self.base.has_time() && !self.for_images
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula::FormulaWeights;
    use vae2x_nn::array::to_array;

    #[test]
    fn a_widened_decoder_repeats_the_bases_pixels() {
        let base = FormulaWeights::new(VaeConfig::with_widths(4, 3));
        let device = Device::flex();
        let latents = Tensor::<1>::from_floats([0.3; 16 * 4], &device).reshape([1, 16, 2, 2]);
        let pictures = |scale| {
            let weights = Overlay::new(&base, scale, Widening::Repeat).unwrap();
            let generator = Generator::load(&weights, false, &device).unwrap();
            to_array(
                decode(&generator.decoder, latents.clone(), scale)
                    .unwrap()
                    .pictures,
            )
            .unwrap()
        };
        let one = pictures(1);
        assert_eq!(one.shape(), [1, 3, 16, 16]);
        for scale in [2, 4] {
            let (large, side) = (pictures(scale), 16 * scale);
            assert_eq!(large.shape(), [1, 3, side, side]);
            for (i, v) in large.data().iter().enumerate() {
                let (c, y, x) = (i / (side * side), i / side % side, i % side);
                let small = one.data()[(c * 16 + y / scale) * 16 + x / scale];
                assert!((v - small).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn other_scales_are_refused() {
        let base = FormulaWeights::new(VaeConfig::with_widths(4, 12));
        for (scale, expected) in [(1, "expects 3"), (4, "or 48")] {
            assert!(matches!(
                Overlay::new(&base, scale, Widening::Repeat).err(),
                Some(Error::Config(problem))
                    if problem.contains(" 12 ") && problem.contains(expected)
            ));
        }
        assert!(Overlay::new(&base, 2, Widening::Repeat).is_ok());
    }
}
