//! The encoder: frames in, raw latent frames out, one latent frame at a time.

use burn::module::Module;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;
use vae2x_core::arch::{self, Layer};
use vae2x_core::weights::Weights;

use super::decoder::unknown_layers;
use super::{Attention, CausalConv, Downsample, DownsampleState, History, PointConv, Residual, ResidualState, RmsNorm};

/// Pictures to the mean of their raw latents.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Pixels to the narrowest stage.
    pub conv1: CausalConv,
    /// Finest first.
    pub stages: Vec<EncoderStage>,
    /// Residual block, attention, residual block.
    pub middle: (Residual, Attention, Residual),
    /// Before the last convolution.
    pub head_norm: RmsNorm,
    /// To mean and log-variance.
    pub head_conv: CausalConv,
    /// Named `conv1` at the top level of the original layout.
    pub quant: PointConv,
}

/// Residual blocks of one width and the step to the next coarser one, which the last stage lacks.
#[derive(Module, Debug)]
pub struct EncoderStage {
    /// Residual blocks.
    pub blocks: Vec<Residual>,
    /// To half the resolution.
    pub downsample: Option<Downsample>,
}

/// What the encoder keeps between the latent frames of a clip; its size does not depend on the clip's length.
#[derive(Clone, Debug, Default)]
pub struct EncoderState {
    conv1: History,
    stages: Vec<(Vec<ResidualState>, DownsampleState)>,
    middle: [ResidualState; 2],
    head: History,
}

impl Encoder {
    /// Builds the encoder of the weights' model.
    ///
    /// # Errors
    /// If the configuration is impossible or `weights` lack a tensor.
    pub fn load(weights: &dyn Weights, device: &Device) -> Result<Self> {
        weights.config().validate()?;
        let layers = arch::encoder(weights.config());
        let [Layer::Conv(conv1), rest @ .., Layer::Head { norm, conv }, Layer::Conv(quant)] = &layers[..] else {
            return Err(unknown_layers());
        };
        let [rest @ .., Layer::Residual(before), Layer::Attention(attention), Layer::Residual(after)] = rest else {
            return Err(unknown_layers());
        };
        Ok(Self {
            conv1: CausalConv::load(conv1, weights, device)?,
            stages: load_stages(rest, weights, device)?,
            middle: (
                Residual::load(before, weights, device)?,
                Attention::load(attention, weights, device)?,
                Residual::load(after, weights, device)?,
            ),
            head_norm: RmsNorm::load(norm, weights, device)?,
            head_conv: CausalConv::load(conv, weights, device)?,
            quant: PointConv::load(quant, weights, device)?,
        })
    }

    /// Encodes the frames of one latent frame.
    ///
    /// # Shapes
    /// `[B, 3, F, 8h, 8w]` in [-1, 1] -> mean and log-variance `[B, 2 z_dim, 1, h, w]`; F is 1 in the first call of a
    /// clip, 4 later
    pub fn step(&self, pixels: Tensor<5>, state: &mut EncoderState) -> Tensor<5> {
        let mut x = self.conv1.forward(pixels, &mut state.conv1);
        state.stages.resize_with(self.stages.len(), Default::default);
        for (stage, (blocks, downsample)) in self.stages.iter().zip(&mut state.stages) {
            blocks.resize_with(stage.blocks.len(), Default::default);
            for (block, state) in stage.blocks.iter().zip(blocks) {
                x = block.forward(x, state);
            }
            if let Some(layer) = &stage.downsample {
                x = layer.forward(x, downsample);
            }
        }
        let x = self.middle.0.forward(x, &mut state.middle[0]);
        let x = self.middle.1.forward(x);
        let x = self.middle.2.forward(x, &mut state.middle[1]);
        self.quant.forward_clip(self.head_conv.forward(silu(self.head_norm.forward(x)), &mut state.head))
    }
}

fn load_stages(layers: &[Layer], weights: &dyn Weights, device: &Device) -> Result<Vec<EncoderStage>> {
    let mut stages = Vec::new();
    let mut blocks = Vec::new();
    for layer in layers {
        match layer {
            Layer::Residual(spec) => blocks.push(Residual::load(spec, weights, device)?),
            Layer::Downsample { conv, time } => stages.push(EncoderStage {
                blocks: std::mem::take(&mut blocks),
                downsample: Some(Downsample::load(conv, time.as_ref(), weights, device)?),
            }),
            _ => return Err(unknown_layers()),
        }
    }
    stages.push(EncoderStage { blocks, downsample: None });
    Ok(stages)
}
