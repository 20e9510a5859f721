//! Two-dimensional convolution. GPUs use burn's kernels for it and its gradients. burn's CPU backend computes gradients much
//! slower than values. There, 3x3 and 4x4 convolutions of stride 1 and their gradients go through Winograd's transforms
//! (`winograd.rs`), with the kernels of the CPU engine, and the others are matrix products over unfolded patches (`products.rs`).
//!
//! Images are unfolded in bands of rows, so that a band's patches stay in the cache and memory stays bounded. Bands follow from
//! shapes alone, and what several of them contribute is added in their order: the number of threads changes no bit.

mod node;
mod products;
mod window;
mod winograd;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::ConvOptions;

use crate::device::{is_flex_f32, is_libtorch_cpu};
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
        return by_one_kernel(x, |x| module::conv2d(x, weight, bias, options));
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

/// A convolution in three dimensions of `x`, in its precision, to which weights and bias are cast; see [`module::conv3d`].
///
/// # Shapes
/// `[B, I, T, H, W]`, `[O, I, kt, kh, kw]`, `[O]` -> `[B, O, T', H', W']` as `options` say
pub fn conv3d(
    x: Tensor<5>,
    weight: Tensor<5>,
    bias: Tensor<1>,
    options: ConvOptions<3>,
) -> Tensor<5> {
    let (weight, bias) = (weight.cast(x.dtype()), bias.cast(x.dtype()));
    by_one_kernel(x, |x| module::conv3d(x, weight, Some(bias), options))
}

/// Runs a convolution so that its sums do not depend on the size of the image, and bands equal the whole.
///
/// PyTorch's CPU backend takes oneDNN for large inputs and kernels of its own for single ones of at most `SMALL` values, which sum in
/// another order (`use_mkldnn` in `aten/src/ATen/native/Convolution.cpp`). Two at once go to oneDNN whatever their size.
fn by_one_kernel<const D: usize>(
    x: Tensor<D>,
    convolve: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    const SMALL: usize = 20480;
    // PyTorch counts the first four axes.
    let values: usize = x.dims()[..4].iter().product();
    if x.dims()[0] != 1 || values > SMALL || !is_libtorch_cpu(&x) {
        return convolve(x);
    }
    convolve(Tensor::cat(vec![x.clone(), x], 0)).narrow(0, 0, 1)
}
