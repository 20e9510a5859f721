//! Doubling and halving, in space and (some of them) in time.

use burn::module::Module;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;
use vae2x_core::arch::Conv;
use vae2x_core::weights::Weights;

use super::conv::{FrameConv, History, Keep, TimeConv};
use super::frames::{from_frames, to_frames};

/// Doubles time for all but the first frame, then space, and halves the channels.
#[derive(Module, Debug)]
pub struct Upsample {
    /// `C -> 2 C`: the two frames that a frame becomes.
    pub time: Option<TimeConv>,
    /// `C -> C / 2`, after nearest-neighbour enlargement.
    pub conv: FrameConv,
}

/// What an [`Upsample`] keeps between latent frames. The first frame of a clip never enters the history.
#[derive(Clone, Debug, Default)]
pub struct UpsampleState {
    started: bool,
    time: History,
}

impl UpsampleState {
    /// No frames yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            started: false,
            time: History::new(keep),
        }
    }

    /// Moves everything to `device`.
    pub(super) fn move_to(&mut self, device: &Device) {
        self.time.move_to(device);
    }
}

impl Upsample {
    /// Builds the layer from its convolutions.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(
        time: Option<&Conv>,
        conv: &Conv,
        weights: &dyn Weights,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            time: time
                .filter(|_| weights.has_time())
                .map(|c| TimeConv::load(c, weights, device))
                .transpose()?,
            conv: FrameConv::load(conv, weights, device)?,
        })
    }

    /// # Shapes
    /// `[B, C, T, H, W]` -> `[B, C / 2, T', 2H, 2W]`; `T'` is 2T where time is doubled and has started, else T
    pub fn forward(&self, x: Tensor<5>, state: &mut UpsampleState) -> Tensor<5> {
        let x = match &self.time {
            Some(time) if state.started => double_time(time.forward_causal(x, &mut state.time)),
            _ => x,
        };
        state.started = true;
        let t = x.dims()[2];
        let options =
            InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 2.0]);
        let x = interpolate(to_frames(x), options);
        from_frames(
            self.conv
                .forward(x, ConvOptions::new([1, 1], [1, 1], [1, 1], 1)),
            t,
        )
    }
}

/// The halves of the channels are two successive frames: `[B, 2C, T, H, W]` -> `[B, C, 2T, H, W]`.
fn double_time(x: Tensor<5>) -> Tensor<5> {
    let [b, c2, t, h, w] = x.dims();
    let c = c2 / 2;
    x.reshape([b, 2, c, t, h * w])
        .permute([0, 2, 3, 1, 4])
        .reshape([b, c, 2 * t, h, w])
}

/// Halves space, then time for all but the first frame.
#[derive(Module, Debug)]
pub struct Downsample {
    /// `C -> C`, stride 2.
    pub conv: FrameConv,
    /// `C -> C`, stride 2 over the frames.
    pub time: Option<TimeConv>,
}

/// What a [`Downsample`] keeps: the last frame before the convolution over time.
#[derive(Clone, Debug, Default)]
pub struct DownsampleState {
    keep: Keep,
    last: Option<Tensor<5>>,
}

impl DownsampleState {
    /// No frames yet.
    pub fn new(keep: Keep) -> Self {
        Self { keep, last: None }
    }

    /// Moves everything to `device`.
    pub(super) fn move_to(&mut self, device: &Device) {
        self.last = self.last.take().map(|x| x.to_device(device));
    }
}

impl Downsample {
    /// Builds the layer from its convolutions.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(
        conv: &Conv,
        time: Option<&Conv>,
        weights: &dyn Weights,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            conv: FrameConv::load(conv, weights, device)?,
            time: time
                .filter(|_| weights.has_time())
                .map(|c| TimeConv::load(c, weights, device))
                .transpose()?,
        })
    }

    /// # Shapes
    /// `[B, C, T, H, W]` -> `[B, C, T', H / 2, W / 2]`; T is 1 in the first call and even later where time is halved
    pub fn forward(&self, x: Tensor<5>, state: &mut DownsampleState) -> Tensor<5> {
        let t = x.dims()[2];
        let options = ConvOptions::new_with_padding([2, 2], [(0, 1), (0, 1)], [1, 1], 1);
        let x = from_frames(self.conv.forward(to_frames(x), options), t);
        let Some(time) = &self.time else { return x };
        let last = (state.keep == Keep::Past).then(|| x.clone().narrow(2, t - 1, 1));
        match std::mem::replace(&mut state.last, last) {
            None => x,
            Some(last) => time.forward(Tensor::cat(vec![last, x], 2), 2),
        }
    }
}
