//! The encoder: frames in, raw latent frames out, one latent frame at a time.
//!
//! Each stage can compute bands of its output's rows; each band keeps its own past. The rest needs whole frames, because
//! its attention sees all cells, but has the latent's resolution.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;
use vae2x_core::arch::{self, Layer};
use vae2x_core::weights::Weights;

use super::attention::Attention;
use super::conv::{CausalConv, History, Keep, PointConv};
use super::decoder::{StageRows, unknown_layers};
use super::norm::RmsNorm;
use super::resample::{Downsample, DownsampleState};
use super::residual::{CONVS_PER_BLOCK, Residual, ResidualState};
use super::rows::Rows;

/// Frames to mean and log-variance of their raw latents.
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
    keep: Keep,
    /// The stages', which compute whole frames here.
    pub stages: Vec<EncoderStageState>,
    /// The rest's.
    pub rest: EncoderRestState,
}

impl EncoderState {
    /// Nothing is kept: for an image, which has no next frame.
    pub fn for_image() -> Self {
        Self {
            keep: Keep::Nothing,
            stages: Vec::new(),
            rest: EncoderRestState::new(Keep::Nothing),
        }
    }
}

/// What a stage keeps between latent frames, for one band.
#[derive(Clone, Debug, Default)]
pub struct EncoderStageState {
    keep: Keep,
    /// The very first convolution's, in the first stage.
    conv1: History,
    blocks: Vec<ResidualState>,
    downsample: DownsampleState,
}

/// What the layers behind the stages keep between latent frames.
#[derive(Clone, Debug, Default)]
pub struct EncoderRestState {
    middle: [ResidualState; 2],
    head: History,
}

impl EncoderStageState {
    /// No frames yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            conv1: History::new(keep),
            blocks: Vec::new(),
            downsample: DownsampleState::new(keep),
        }
    }

    /// Moves everything to `device`.
    pub(super) fn move_to(&mut self, device: &Device) {
        self.conv1.move_to(device);
        self.blocks
            .iter_mut()
            .for_each(|block| block.move_to(device));
        self.downsample.move_to(device);
    }
}

impl EncoderRestState {
    /// No frames yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            middle: [ResidualState::new(keep), ResidualState::new(keep)],
            head: History::new(keep),
        }
    }
}

impl Encoder {
    /// Builds the encoder of the weights' model.
    ///
    /// # Errors
    /// If the configuration is impossible or `weights` lack a tensor.
    pub fn load(weights: &dyn Weights, device: &Device) -> Result<Self> {
        weights.config().validate()?;
        let layers = arch::encoder(weights.config());
        let [
            Layer::Conv(conv1),
            rest @ ..,
            Layer::Head { norm, conv },
            Layer::Conv(quant),
        ] = &layers[..]
        else {
            return Err(unknown_layers());
        };
        let [
            rest @ ..,
            Layer::Residual(before),
            Layer::Attention(attention),
            Layer::Residual(after),
        ] = rest
        else {
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
        let keep = state.keep;
        state
            .stages
            .resize_with(self.stages.len(), || EncoderStageState::new(keep));
        let mut x = pixels;
        for (i, state) in state.stages.iter_mut().enumerate() {
            let output = Rows::whole(self.output_height(i, x.dims()[3]));
            x = self.stage(i, x, output, state);
        }
        self.rest(x, &mut state.rest, usize::MAX)
    }

    /// The height of the output of stage `i` for frames of height `height`.
    pub fn output_height(&self, i: usize, height: usize) -> usize {
        if self.stages[i].downsample.is_some() {
            height / 2
        } else {
            height
        }
    }

    /// Runs stage `i` on the whole frames `x`, reading only the rows that `band` of its output depends on.
    /// The first stage begins with the very first convolution.
    ///
    /// # Shapes
    /// `[B, C, T, H, W]` -> `[B, C', T', band.len(), W']`; W' and band.height are halves of W and H in all but the last
    pub fn stage(
        &self,
        i: usize,
        x: Tensor<5>,
        band: Rows,
        state: &mut EncoderStageState,
    ) -> Tensor<5> {
        let EncoderStage { blocks, downsample } = &self.stages[i];
        let rows = stage_rows(i, blocks.len(), downsample.is_some(), band);
        let mut x = Rows::whole(x.dims()[3]).cut(x, rows.input);
        if i == 0 {
            x = self.conv1.forward(x, &mut state.conv1);
        }
        let keep = state.keep;
        state
            .blocks
            .resize_with(blocks.len(), || ResidualState::new(keep));
        for (block, state) in blocks.iter().zip(&mut state.blocks) {
            x = block.forward(x, state);
        }
        x = rows.input.cut(x, rows.blocks);
        match downsample {
            Some(layer) => layer.forward(x, &mut state.downsample),
            None => x,
        }
    }

    /// From the last stage's whole output to mean and log-variance; the attention takes at most `queries >= 1` cells at a
    /// time.
    ///
    /// # Shapes
    /// `[B, C, 1, h, w]` -> `[B, 2 z_dim, 1, h, w]`
    pub fn rest(&self, x: Tensor<5>, state: &mut EncoderRestState, queries: usize) -> Tensor<5> {
        let x = self.middle.0.forward(x, &mut state.middle[0]);
        let x = self.middle.1.forward(x, queries);
        let x = self.middle.2.forward(x, &mut state.middle[1]);
        self.quant.forward_clip(
            self.head_conv
                .forward(self.head_norm.forward_silu(x), &mut state.head),
        )
    }
}

/// The rows of stage `i`, of `blocks` residual blocks, that `band` of its output depends on.
pub(super) fn stage_rows(i: usize, blocks: usize, halves: bool, band: Rows) -> StageRows {
    let needed = if halves { band.read_by_halving() } else { band };
    let convs = CONVS_PER_BLOCK * blocks + usize::from(i == 0);
    StageRows {
        input: needed.read_by_convs(convs),
        blocks: needed,
    }
}

fn load_stages(
    layers: &[Layer],
    weights: &dyn Weights,
    device: &Device,
) -> Result<Vec<EncoderStage>> {
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
    stages.push(EncoderStage {
        blocks,
        downsample: None,
    });
    Ok(stages)
}
