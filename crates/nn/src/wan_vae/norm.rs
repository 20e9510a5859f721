//! RMS norm over the channels of each pixel. Half precisions are widened to `f32` for it: squares exceed the range of `f16`,
//! and sums the mantissa of `bf16`.

use burn::module::{Module, Param};
use burn::tensor::activation::silu;
use burn::tensor::{Device, FloatDType, Tensor};
use vae2x_core::arch::Norm;
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Result};

use crate::array::to_tensor;
use crate::device::is_flex_f32;
use crate::norm_silu::norm_silu;

/// Below this a pixel counts as black; torch's `normalize` has the same.
const EPSILON: f32 = 1e-12;

/// `x / max(|x|_2, 1e-12) * sqrt(C) * gamma`.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[C]`
    pub gamma: Param<Tensor<1>>,
}

impl RmsNorm {
    /// Builds the norm that `spec` names.
    ///
    /// # Errors
    /// If `weights` lack the tensor.
    pub fn load(spec: &Norm, weights: &dyn Weights, device: &Device) -> Result<Self> {
        let gamma = weights.tensor(&spec.gamma())?.reshape([spec.channels])?;
        Ok(Self {
            gamma: Param::from_tensor(to_tensor(&gamma, &spec.name, device)?),
        })
    }

    /// # Shapes
    /// `[B, C, ...]` -> the same, `D >= 2` axes
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let shape = x.dims();
        // burn-cubecl-fusion 0.22.1 turns a single pixel from a conv3d into zeros unless its axes are joined.
        match shape[2..].iter().all(|&extent| extent == 1) {
            true => self
                .normed(x.reshape([shape[0], shape[1], 1]))
                .reshape(shape),
            false => self.normed(x),
        }
    }

    fn normed<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let channels = x.dims()[1];
        let mut shape = [1; D];
        shape[1] = channels;
        let dtype = x.dtype();
        let (x, gamma) = (widened(x), widened(self.gamma.val()).reshape(shape));
        let length = x.clone().square().sum_dim(1).sqrt().clamp_min(EPSILON);
        (x * length.recip().mul_scalar((channels as f32).sqrt()) * gamma).cast(dtype)
    }

    /// The norm and SiLU.
    ///
    /// # Shapes
    /// As [`Self::forward`]
    pub fn forward_silu<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if is_flex_f32(&x) && x.shape().num_elements() > 0 {
            return norm_silu(x, self.gamma.val(), EPSILON);
        }
        silu(self.forward(x))
    }
}

/// Half precisions as `f32`, others as they are.
fn widened<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype().into() {
        FloatDType::F16 | FloatDType::BF16 => x.cast(FloatDType::F32),
        _ => x,
    }
}

/// The channel count of `spec` must be the width that `what` has.
pub(super) fn check_channels(what: &str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::Shape {
        what: what.into(),
        expected: format!("{expected} channels"),
        got: format!("{got}"),
    })
}
