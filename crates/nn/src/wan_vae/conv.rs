//! The convolutions: causal in time, per frame, per pixel, over time alone.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;
use vae2x_core::arch::Conv;
use vae2x_core::weights::Weights;

use super::frames::{from_frames, to_frames};
use crate::array::to_tensor;
use crate::conv::{conv2d, conv3d};

/// Frames before the present one that a causal convolution sees.
const PAST: usize = 2;

/// Whether layers keep their past for the next frame of a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// For a clip.
    #[default]
    Past,
    /// For an image, which has no next frame.
    Nothing,
}

/// The last [`PAST`] input frames of a causal layer, or fewer; missing ones stand for zeros.
#[derive(Clone, Debug, Default)]
pub struct History {
    keep: Keep,
    past: Option<Tensor<5>>,
}

impl History {
    /// No frames yet.
    pub fn new(keep: Keep) -> Self {
        Self { keep, past: None }
    }

    /// Prepends the past to `x` and keeps the end of both for the next call.
    ///
    /// # Shapes
    /// `[B, C, T, H, W]` -> `[B, C, 2 + T, H, W]`
    fn extend(&mut self, x: Tensor<5>) -> Tensor<5> {
        let [b, c, t, h, w] = x.dims();
        let past = self.past.take();
        let missing = PAST - past.as_ref().map_or(0, |past| past.dims()[2]);
        let zeros =
            (missing > 0).then(|| Tensor::zeros([b, c, missing, h, w], (&x.device(), x.dtype())));
        let all = Tensor::cat(zeros.into_iter().chain(past).chain([x]).collect(), 2);
        self.keep(|| all.clone().narrow(2, t, PAST));
        all
    }

    /// Keeps the very first frame, unless this is an image.
    fn begin(&mut self, x: &Tensor<5>) {
        self.keep(|| x.clone());
    }

    fn keep(&mut self, past: impl FnOnce() -> Tensor<5>) {
        self.past = (self.keep == Keep::Past).then(past);
    }

    /// Moves the frames to `device`.
    pub(super) fn move_to(&mut self, device: &Device) {
        self.past = self.past.take().map(|x| x.to_device(device));
    }

    /// Whether no frame has been seen.
    fn is_empty(&self) -> bool {
        self.past.is_none()
    }
}

fn load<const D: usize>(
    spec: &Conv,
    weights: &dyn Weights,
    device: &Device,
) -> Result<(Param<Tensor<D>>, Param<Tensor<1>>)> {
    let weight = to_tensor(&weights.tensor(&spec.weight())?, &spec.name, device)?;
    let bias = to_tensor(&weights.tensor(&spec.bias())?, &spec.name, device)?;
    Ok((Param::from_tensor(weight), Param::from_tensor(bias)))
}

/// 3x3x3, zero padding 1 in space, causal in time.
#[derive(Module, Debug)]
pub struct CausalConv {
    /// `[O, I, 3, 3, 3]`
    pub weight: Param<Tensor<5>>,
    /// `[O]`
    pub bias: Param<Tensor<1>>,
}

impl CausalConv {
    /// Builds the convolution that `spec` names.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(spec: &Conv, weights: &dyn Weights, device: &Device) -> Result<Self> {
        let (weight, bias) = load(spec, weights, device)?;
        Ok(Self { weight, bias })
    }

    /// # Shapes
    /// `[B, I, T, H, W]` -> `[B, O, T, H, W]`
    pub fn forward(&self, x: Tensor<5>, history: &mut History) -> Tensor<5> {
        if history.is_empty() && x.dims()[2] == 1 {
            history.begin(&x);
            return self.forward_image(x);
        }
        let options = ConvOptions::new([1, 1, 1], [0, 1, 1], [1, 1, 1], 1);
        conv3d(
            history.extend(x),
            self.weight.val(),
            self.bias.val(),
            options,
        )
    }

    /// A first frame: its past is zeros, so only the last temporal tap acts.
    ///
    /// # Shapes
    /// `[B, I, 1, H, W]` -> `[B, O, 1, H, W]`
    fn forward_image(&self, x: Tensor<5>) -> Tensor<5> {
        let [outputs, inputs, taps, kh, kw] = self.weight.dims();
        let weight = self.weight.val();
        // Training on images has no other taps, and would pay for the gradient of those that are cut off.
        let last = match taps {
            1 => weight,
            _ => weight.narrow(2, taps - 1, 1),
        };
        let weight = last.reshape([outputs, inputs, kh, kw]);
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        from_frames(
            conv2d(to_frames(x), weight, Some(self.bias.val()), options),
            1,
        )
    }
}

/// Per pixel; its weight has the trailing axes of the file folded away.
#[derive(Module, Debug)]
pub struct PointConv {
    /// `[O, I, 1, 1]`
    pub weight: Param<Tensor<4>>,
    /// `[O]`
    pub bias: Param<Tensor<1>>,
}

impl PointConv {
    /// Builds the convolution that `spec` names, of four or five axes in the file.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(spec: &Conv, weights: &dyn Weights, device: &Device) -> Result<Self> {
        let weight = weights
            .tensor(&spec.weight())?
            .reshape([spec.outputs, spec.inputs, 1, 1])?;
        let bias = to_tensor(&weights.tensor(&spec.bias())?, &spec.name, device)?;
        let weight = Param::from_tensor(to_tensor(&weight, &spec.name, device)?);
        Ok(Self {
            weight,
            bias: Param::from_tensor(bias),
        })
    }

    /// # Shapes
    /// `[B, I, H, W]` -> `[B, O, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        conv2d(x, self.weight.val(), Some(self.bias.val()), options)
    }

    /// # Shapes
    /// `[B, I, T, H, W]` -> `[B, O, T, H, W]`
    pub fn forward_clip(&self, x: Tensor<5>) -> Tensor<5> {
        let t = x.dims()[2];
        from_frames(self.forward(to_frames(x)), t)
    }
}

/// 3x3 on each frame; the caller chooses padding and stride.
#[derive(Module, Debug)]
pub struct FrameConv {
    /// `[O, I, 3, 3]`
    pub weight: Param<Tensor<4>>,
    /// `[O]`
    pub bias: Param<Tensor<1>>,
}

impl FrameConv {
    /// Builds the convolution that `spec` names.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(spec: &Conv, weights: &dyn Weights, device: &Device) -> Result<Self> {
        let (weight, bias) = load(spec, weights, device)?;
        Ok(Self { weight, bias })
    }

    /// # Shapes
    /// `[B, I, H, W]` -> `[B, O, H', W']` according to `options`
    pub fn forward(&self, x: Tensor<4>, options: ConvOptions<2>) -> Tensor<4> {
        conv2d(x, self.weight.val(), Some(self.bias.val()), options)
    }
}

/// Three frames at each pixel, no padding.
#[derive(Module, Debug)]
pub struct TimeConv {
    /// `[O, I, 3, 1, 1]`
    pub weight: Param<Tensor<5>>,
    /// `[O]`
    pub bias: Param<Tensor<1>>,
}

impl TimeConv {
    /// Builds the convolution that `spec` names.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(spec: &Conv, weights: &dyn Weights, device: &Device) -> Result<Self> {
        let (weight, bias) = load(spec, weights, device)?;
        Ok(Self { weight, bias })
    }

    /// Every frame with the two before it, zeros at the start.
    ///
    /// # Shapes
    /// `[B, I, T, H, W]` -> `[B, O, T, H, W]`
    pub fn forward_causal(&self, x: Tensor<5>, history: &mut History) -> Tensor<5> {
        self.forward(history.extend(x), 1)
    }

    /// # Shapes
    /// `[B, I, T, H, W]` -> `[B, O, (T - 3) / stride + 1, H, W]`
    pub fn forward(&self, x: Tensor<5>, stride: usize) -> Tensor<5> {
        let options = ConvOptions::new([stride, 1, 1], [0, 0, 0], [1, 1, 1], 1);
        conv3d(x, self.weight.val(), self.bias.val(), options)
    }
}
