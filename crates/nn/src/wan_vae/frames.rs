//! Frames as a batch of images, and back.

use burn::tensor::Tensor;

/// `[B, C, T, H, W]` -> `[B T, C, H, W]`.
pub(super) fn to_frames(x: Tensor<5>) -> Tensor<4> {
    let [b, c, t, h, w] = x.dims();
    if t == 1 {
        return x.reshape([b, c, h, w]);
    }
    x.swap_dims(1, 2).reshape([b * t, c, h, w])
}

/// `[B T, C, H, W]` -> `[B, C, T, H, W]`.
pub(super) fn from_frames(x: Tensor<4>, t: usize) -> Tensor<5> {
    let [frames, c, h, w] = x.dims();
    if t == 1 {
        return x.reshape([frames, c, 1, h, w]);
    }
    x.reshape([frames / t, t, c, h, w]).swap_dims(1, 2)
}
