//! Channels to pixels: `out[c, r y + i, r x + j] = in[r r c + r i + j, y, x]`, as `vae2x_core::engine::pixel_shuffle` has it.

use burn::tensor::Tensor;

/// # Shapes
/// `[B, C r r, H, W]` -> `[B, C, r H, r W]`
pub fn pixel_shuffle(x: Tensor<4>, r: usize) -> Tensor<4> {
    if r == 1 {
        return x;
    }
    let [b, channels, h, w] = x.dims();
    let c = channels / (r * r);
    x.reshape([b, c, r, r, h, w])
        .permute([0, 1, 4, 2, 5, 3])
        .reshape([b, c, r * h, r * w])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use vae2x_core::Array;
    use vae2x_core::engine;

    use crate::array::{to_array, to_tensor};

    #[test]
    fn the_order_is_the_engines() {
        let raw = Array::new([12, 1, 3, 2], (0..72).map(|i| i as f32).collect()).unwrap();
        let tensor = to_tensor::<4>(&raw, "raw", &Device::flex())
            .unwrap()
            .swap_dims(0, 1);
        let got = to_array(pixel_shuffle(tensor, 2)).unwrap();
        let want = engine::pixel_shuffle(&raw, 2).unwrap();
        assert_eq!(got.data(), want.data());
        assert_eq!(got.shape(), [1, 3, 6, 4]);
    }
}
