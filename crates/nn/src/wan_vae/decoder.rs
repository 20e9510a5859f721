//! The decoder: raw latent frames in, frames out, one latent frame at a time.
//!
//! It has two parts. The trunk works on whole frames, because its attention sees all cells, at the latent's resolution.
//! The tail enlarges, and can compute a band of rows alone; each band keeps its own past.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use vae2x_core::arch::{self, Layer};
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Result};

use super::attention::Attention;
use super::conv::{CausalConv, History, Keep, PointConv};
use super::norm::{RmsNorm, check_channels};
use super::resample::{Upsample, UpsampleState};
use super::residual::{CONVS_PER_BLOCK, Residual, ResidualState};
use super::rows::Rows;

/// Raw latents to images with `3 r^2` channels, not yet shuffled.
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
    /// The trunk's.
    pub trunk: TrunkState,
    /// The tail's, which computes whole frames here.
    pub tail: TailState,
}

impl DecoderState {
    /// Nothing is kept: for an image, which has no next frame.
    pub fn for_image() -> Self {
        Self {
            trunk: TrunkState::new(Keep::Nothing),
            tail: TailState::new(Keep::Nothing),
        }
    }
}

/// What the trunk keeps between latent frames.
#[derive(Clone, Debug, Default)]
pub struct TrunkState {
    conv1: History,
    middle: [ResidualState; 2],
}

impl TrunkState {
    /// No frames yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            conv1: History::new(keep),
            middle: [ResidualState::new(keep), ResidualState::new(keep)],
        }
    }
}

/// What the tail keeps between latent frames, for one band.
#[derive(Clone, Debug, Default)]
pub struct TailState {
    keep: Keep,
    stages: Vec<(Vec<ResidualState>, UpsampleState)>,
    head: History,
}

impl TailState {
    /// No frames yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            stages: Vec::new(),
            head: History::new(keep),
        }
    }

    /// Moves everything to `device`.
    pub(super) fn move_to(&mut self, device: &Device) {
        for (blocks, upsample) in &mut self.stages {
            blocks.iter_mut().for_each(|block| block.move_to(device));
            upsample.move_to(device);
        }
        self.head.move_to(device);
    }
}

/// The rows that a stage works on for a band.
#[derive(Clone, Copy, Debug)]
pub(super) struct StageRows {
    /// Rows of its first block's input.
    pub input: Rows,
    /// Rows of its last block's output that are correct and needed.
    pub blocks: Rows,
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
        let [
            Layer::Residual(before),
            Layer::Attention(attention),
            Layer::Residual(after),
            rest @ ..,
        ] = rest
        else {
            return Err(unknown_layers());
        };
        let [rest @ .., Layer::Head { norm, conv }] = rest else {
            return Err(unknown_layers());
        };
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
        let height = latent.dims()[3];
        let x = self.trunk(latent, &mut state.trunk, usize::MAX)?;
        Ok(self.tail(x, Rows::whole(height), &mut state.tail))
    }

    /// From a latent frame to the input of [`Self::tail`]; the attention takes at most `queries >= 1` cells at a time.
    ///
    /// # Shapes
    /// `[B, z_dim, 1, h, w]` -> `[B, C, 1, h, w]`
    ///
    /// # Errors
    /// [`Error::Shape`] if the latent does not fit the model.
    pub fn trunk(
        &self,
        latent: Tensor<5>,
        state: &mut TrunkState,
        queries: usize,
    ) -> Result<Tensor<5>> {
        check_channels("latent", self.post_quant.weight.dims()[1], latent.dims()[1])?;
        let x = self
            .conv1
            .forward(self.post_quant.forward_clip(latent), &mut state.conv1);
        let x = self.middle.0.forward(x, &mut state.middle[0]);
        let x = self.middle.1.forward(x, queries);
        Ok(self.middle.2.forward(x, &mut state.middle[1]))
    }

    /// All but the last convolution: what training measures the last layer's gradients on.
    ///
    /// # Shapes
    /// As [`Self::step`], with the width of the last stage for `3 r^2`
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn features(&self, latent: Tensor<5>, state: &mut DecoderState) -> Result<Tensor<5>> {
        let height = latent.dims()[3];
        let x = self.trunk(latent, &mut state.trunk, usize::MAX)?;
        Ok(self.stages(x, &self.tail_rows(Rows::whole(height)), &mut state.tail))
    }

    /// The last convolution, on what [`Self::features`] gives.
    ///
    /// # Shapes
    /// As [`Self::step`]
    pub fn head(&self, features: Tensor<5>, state: &mut DecoderState) -> Tensor<5> {
        self.head_conv.forward(features, &mut state.tail.head)
    }

    /// From the whole frame that [`Self::trunk`] made to the pixels of `band`, which counts rows of `x`.
    ///
    /// # Shapes
    /// `[B, C, 1, h, w]` -> `[B, 3 r^2, F, 8 band.len(), 8w]`, F as in [`Self::step`]
    pub fn tail(&self, x: Tensor<5>, band: Rows, state: &mut TailState) -> Tensor<5> {
        let rows = self.tail_rows(band);
        let x = self.stages(Rows::whole(band.height).cut(x, rows[0].input), &rows, state);
        let x = self.head_conv.forward(x, &mut state.head);
        let finest = 1 << (self.stages.len() - 1);
        rows[rows.len() - 1].blocks.cut(x, band.enlarged(finest))
    }

    /// All stages and the head's norm, on the rows that each needs.
    fn stages(&self, mut x: Tensor<5>, rows: &[StageRows], state: &mut TailState) -> Tensor<5> {
        let keep = state.keep;
        state
            .stages
            .resize_with(self.stages.len(), || (Vec::new(), UpsampleState::new(keep)));
        for (i, (stage, (blocks, upsample))) in
            self.stages.iter().zip(&mut state.stages).enumerate()
        {
            blocks.resize_with(stage.blocks.len(), || ResidualState::new(keep));
            for (block, state) in stage.blocks.iter().zip(blocks) {
                x = block.forward(x, state);
            }
            x = rows[i].input.cut(x, rows[i].blocks);
            if let Some(layer) = &stage.upsample {
                x = rows[i]
                    .blocks
                    .enlarged(2)
                    .cut(layer.forward(x, upsample), rows[i + 1].input);
            }
        }
        self.head_norm.forward_silu(x)
    }

    /// The rows of each stage that `band` depends on, coarsest first.
    fn tail_rows(&self, band: Rows) -> Vec<StageRows> {
        tail_rows(
            &self
                .stages
                .iter()
                .map(|stage| stage.blocks.len())
                .collect::<Vec<_>>(),
            band,
        )
    }
}

/// The rows of each stage that a band of latent rows depends on; `blocks` counts the residual blocks of each, coarsest
/// first.
pub(super) fn tail_rows(blocks: &[usize], band: Rows) -> Vec<StageRows> {
    // The head's convolution.
    let mut needed = band.enlarged(1 << (blocks.len() - 1)).read_by_convs(1);
    let mut rows = Vec::with_capacity(blocks.len());
    for blocks in blocks.iter().rev() {
        let input = needed.read_by_convs(CONVS_PER_BLOCK * blocks);
        rows.push(StageRows {
            input,
            blocks: needed,
        });
        needed = input.read_by_convs(1).read_by_enlargement();
    }
    rows.reverse();
    rows
}

fn load_stages(
    layers: &[Layer],
    weights: &dyn Weights,
    device: &Device,
) -> Result<Vec<DecoderStage>> {
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
    stages.push(DecoderStage {
        blocks,
        upsample: None,
    });
    Ok(stages)
}

/// An error for a layer list of `core` that the modules here do not know.
pub(super) fn unknown_layers() -> Error {
    Error::Config("the layer list holds a layer that the burn modules do not know".into())
}
