//! Sorting along the last dimension, on the device that holds the tensor.
//!
//! burn's own sort copies to the host on CubeCL devices; there a kernel of our own orders indices instead, and values are
//! gathered through them, which is what makes it differentiable: a sort is a permutation. Elsewhere, and for rows of more than
//! 2^24 values, it is burn's sort.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cube")]
mod kernels;

use burn::tensor::Tensor;

/// The values of each row in ascending order; NaNs, unless their sign is set, come last.
///
/// # Shapes
/// `[..., N]` -> the same
pub fn sort_last<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if x.shape().num_elements() > 0 && cube::serves(&x.device(), x.dims()[D - 1]) {
        let order = cube::order(x.clone());
        return x.gather(D - 1, order);
    }
    x.sort(D - 1)
}
