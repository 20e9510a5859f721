//! Small layers that models share: linear maps as torch stores them, norms over the last axis, the tanh form of GELU, attention.

use burn::module::{Module, Param};
use burn::tensor::module::{attention, attention_fallback};
use burn::tensor::{DType, Device, Tensor};
use vae2x_core::{Array, Result};

use crate::array::to_tensor;
use crate::device::is_flex_f32;

/// Gives the tensor of a canonical name and shape.
pub type TensorSource<'a> = dyn Fn(&str, &[usize]) -> Result<Array> + 'a;

/// Reads a parameter.
///
/// # Errors
/// What `source` returns.
pub fn parameter<const D: usize>(
    name: &str,
    shape: [usize; D],
    source: &TensorSource<'_>,
    device: &Device,
) -> Result<Param<Tensor<D>>> {
    Ok(Param::from_tensor(to_tensor(
        &source(name, &shape)?,
        name,
        device,
    )?))
}

/// `softmax(q k^T / sqrt(d)) v`, in the precision of its inputs: of `f32` on GPUs, burn's fused kernels may multiply in `f16`, so there
/// the scores are made whole.
///
/// # Shapes
/// `[B, heads, N, d]`, twice `[B, heads, M, d]` -> `[B, heads, N, d]`
pub fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let makes_scores = q.dtype() == DType::F32 && !is_flex_f32(&q);
    let attend = if makes_scores {
        attention_fallback
    } else {
        attention
    };
    attend(q, k, v, None, None, Default::default())
}

/// `x W^T + b`
#[derive(Module, Debug)]
pub struct Linear {
    /// `[O, I]`
    pub weight: Param<Tensor<2>>,
    /// `[O]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Reads `NAME.weight` and `NAME.bias`.
    ///
    /// # Errors
    /// What `source` returns.
    pub fn load(
        name: &str,
        [outputs, inputs]: [usize; 2],
        source: &TensorSource<'_>,
        device: &Device,
    ) -> Result<Self> {
        let bias = parameter(&format!("{name}.bias"), [outputs], source, device)?;
        Ok(Self {
            bias: Some(bias),
            ..Self::load_plain(name, [outputs, inputs], source, device)?
        })
    }

    /// Reads `NAME.weight`; there is no bias.
    ///
    /// # Errors
    /// What `source` returns.
    pub fn load_plain(
        name: &str,
        shape: [usize; 2],
        source: &TensorSource<'_>,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            weight: parameter(&format!("{name}.weight"), shape, source, device)?,
            bias: None,
        })
    }

    /// # Shapes
    /// `[B, N, I]` -> `[B, N, O]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, n, inputs] = x.dims();
        let [outputs, _] = self.weight.dims();
        let y = x
            .reshape([b * n, inputs])
            .matmul(self.weight.val().transpose());
        let y = match &self.bias {
            Some(bias) => y + bias.val().unsqueeze::<2>(),
            None => y,
        };
        y.reshape([b, n, outputs])
    }
}

/// `(x - mean) / sqrt(variance + epsilon)` over the last axis.
///
/// # Shapes
/// `[B, N, C]` -> the same
pub fn layer_norm(x: Tensor<3>, epsilon: f64) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    centred / (variance + epsilon).sqrt()
}

/// `x / sqrt(mean x^2 + epsilon) * weight` over the last axis.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[C]`
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl RmsNorm {
    /// Reads `NAME.weight`.
    ///
    /// # Errors
    /// What `source` returns.
    pub fn load(
        name: &str,
        channels: usize,
        epsilon: f64,
        source: &TensorSource<'_>,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            weight: parameter(&format!("{name}.weight"), [channels], source, device)?,
            epsilon,
        })
    }

    /// # Shapes
    /// `[B, N, C]` -> the same
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let length = (x.clone().square().mean_dim(2) + self.epsilon).sqrt();
        x / length * self.weight.val().unsqueeze::<3>()
    }
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`
/// (Hendrycks, Gimpel, "Gaussian error linear units", 2016).
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let inner =
        (x.clone().square() * 0.044715 + 1.0) * x.clone() * (2.0 / std::f64::consts::PI).sqrt();
    x * (inner.tanh() + 1.0) * 0.5
}
