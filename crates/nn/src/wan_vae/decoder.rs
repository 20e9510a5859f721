//! The decoder: raw latent frames in, frames out, one latent frame at a time.

use burn::module::Module;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use vae2x_core::arch::{self, Layer};
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Result};

use super::norm::check_channels;
use super::{Attention, CausalConv, History, PointConv, Residual, ResidualState, RmsNorm, Upsample, UpsampleState};

/// Raw latents to pictures with `3 r^2` channels, not yet shuffled.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Named `conv2` in the original layout.
    pub post_quant: PointConv,
    /// `z_dim` to the widest stage.
    pub conv1: CausalConv,
    /// Residual block, attention, residual block.
    pub middle: (Residual, Attention, Residual),
    /// Coarsest first.
    pub stages: Vec<DecoderStage>,
    /// Before the last convolution.
    pub head_norm: RmsNorm,
    /// To the output channels.
    pub head_conv: CausalConv,
}

/// Residual blocks of one width and the step to the next finer one, which the last stage lacks.
#[derive(Module, Debug)]
pub struct DecoderStage {
    /// One more than the encoder's.
    pub blocks: Vec<Residual>,
    /// To twice the resolution.
    pub upsample: Option<Upsample>,
}

/// What the decoder keeps between the latent frames of a clip; its size does not depend on the clip's length.
#[derive(Clone, Debug, Default)]
pub struct DecoderState {
    conv1: History,
    middle: [ResidualState; 2],
    stages: Vec<(Vec<ResidualState>, UpsampleState)>,
    head: History,
}

impl Decoder {
    /// Builds the decoder of the weights' model.
    ///
    /// # Errors
    /// If the configuration is impossible or `weights` lack a tensor.
    pub fn load(weights: &dyn Weights, device: &Device) -> Result<Self> {
        weights.config().validate()?;
        let layers = arch::decoder(weights.config());
        let [Layer::Conv(post_quant), Layer::Conv(conv1), rest @ ..] = &layers[..] else {
            return Err(unknown_layers());
        };
        let [Layer::Residual(before), Layer::Attention(attention), Layer::Residual(after), rest @ ..] = rest else {
            return Err(unknown_layers());
        };
        let [rest @ .., Layer::Head { norm, conv }] = rest else { return Err(unknown_layers()) };
        Ok(Self {
            post_quant: PointConv::load(post_quant, weights, device)?,
            conv1: CausalConv::load(conv1, weights, device)?,
            middle: (
                Residual::load(before, weights, device)?,
                Attention::load(attention, weights, device)?,
                Residual::load(after, weights, device)?,
            ),
            stages: load_stages(rest, weights, device)?,
            head_norm: RmsNorm::load(norm, weights, device)?,
            head_conv: CausalConv::load(conv, weights, device)?,
        })
    }

    /// Decodes one latent frame.
    ///
    /// # Shapes
    /// `[B, z_dim, 1, h, w]` -> `[B, 3 r^2, F, 8h, 8w]`; F is 1 for the first frame of a clip, 4 later (1 without
    /// temporal weights)
    ///
    /// # Errors
    /// [`Error::Shape`] if the latent does not fit the model.
    pub fn step(&self, latent: Tensor<5>, state: &mut DecoderState) -> Result<Tensor<5>> {
        let features = self.trunk(latent, state)?;
        Ok(self.head(features, state))
    }

    /// All but the last convolution: what training measures the last layer's gradients on.
    ///
    /// # Shapes
    /// As [`Self::step`], with the width of the last stage for `3 r^2`
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn trunk(&self, latent: Tensor<5>, state: &mut DecoderState) -> Result<Tensor<5>> {
        check_channels("latent", self.post_quant.weight.dims()[1], latent.dims()[1])?;
        let x = self.conv1.forward(self.post_quant.forward_clip(latent), &mut state.conv1);
        let x = self.middle.0.forward(x, &mut state.middle[0]);
        let x = self.middle.1.forward(x);
        let mut x = self.middle.2.forward(x, &mut state.middle[1]);
        state.stages.resize_with(self.stages.len(), Default::default);
        for (stage, (blocks, upsample)) in self.stages.iter().zip(&mut state.stages) {
            blocks.resize_with(stage.blocks.len(), Default::default);
            for (block, state) in stage.blocks.iter().zip(blocks) {
                x = block.forward(x, state);
            }
            if let Some(layer) = &stage.upsample {
                x = layer.forward(x, upsample);
            }
        }
        Ok(silu(self.head_norm.forward(x)))
    }

    /// The last convolution, on what [`Self::trunk`] gives.
    ///
    /// # Shapes
    /// As [`Self::step`]
    pub fn head(&self, features: Tensor<5>, state: &mut DecoderState) -> Tensor<5> {
        self.head_conv.forward(features, &mut state.head)
    }
}

fn load_stages(layers: &[Layer], weights: &dyn Weights, device: &Device) -> Result<Vec<DecoderStage>> {
    let mut stages = Vec::new();
    let mut blocks = Vec::new();
    for layer in layers {
        match layer {
            Layer::Residual(spec) => blocks.push(Residual::load(spec, weights, device)?),
            Layer::Upsample { time, conv } => stages.push(DecoderStage {
                blocks: std::mem::take(&mut blocks),
                upsample: Some(Upsample::load(time.as_ref(), conv, weights, device)?),
            }),
            _ => return Err(unknown_layers()),
        }
    }
    stages.push(DecoderStage { blocks, upsample: None });
    Ok(stages)
}

/// The layer list is `core`'s; this says that it grew a layer that the modules here do not know.
pub(super) fn unknown_layers() -> Error {
    Error::Config("the layer list holds a layer that the burn modules do not know".into())
}
