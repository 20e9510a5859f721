//! Two-dimensional convolution. GPUs use burn's kernels for it and its gradients. burn's CPU backend computes gradients much
//! slower than values, so there all three are matrix products over unfolded patches.
//!
//! Images are unfolded in bands of rows, so that a band's patches stay in the cache and memory stays bounded. Bands follow from
//! shapes alone, and what several of them contribute is added in their order: the number of threads changes no bit.

mod node;
mod products;
mod window;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::ConvOptions;

use crate::device::is_flex_f32;
use node::ConvBackend;
use window::Window;

/// The convolution of `x`, in its precision, to which weights and biases are cast; see [`module::conv2d`], which this equals but for
/// rounding.
///
/// # Shapes
/// `[B, I, H, W]`, `[O, I / groups, kh, kw]`, `[O]` -> `[B, O, H', W']` as `options` say
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let (weight, bias) = (
        weight.cast(x.dtype()),
        bias.map(|bias| bias.cast(x.dtype())),
    );
    let window = Window::new(x.dims(), weight.dims(), &options).filter(|_| is_flex_f32(&x));
    let Some(window) = window else {
        return module::conv2d(x, weight, bias, options);
    };
    let bias =
        bias.unwrap_or_else(|| Tensor::zeros([window.outputs], &x.device().without_autodiff()));
    let (x, weight, bias) = (
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    );
    Tensor::from_dispatch(<Dispatch as ConvBackend>::unfolded_conv2d(
        x, weight, bias, window,
    ))
}
