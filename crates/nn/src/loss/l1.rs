//! Differences of pixels.

use burn::tensor::Tensor;

/// `mean |x - y|`
///
/// # Shapes
/// `[B, C, H, W]`, both -> `[1]`
pub fn l1(x: Tensor<4>, y: Tensor<4>) -> Tensor<1> {
    (x - y).abs().mean()
}

/// `mean sqrt((x - y)^2 + epsilon^2)`: L1 that is smooth within `epsilon` of zero
/// (Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed imaging", 1994).
///
/// # Shapes
/// `[B, C, H, W]`, both -> `[1]`
pub fn charbonnier(x: Tensor<4>, y: Tensor<4>, epsilon: f32) -> Tensor<1> {
    ((x - y).square() + epsilon * epsilon).sqrt().mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn value(loss: Tensor<1>) -> f32 {
        loss.into_scalar::<f32>()
    }

    #[test]
    fn means_of_differences() {
        let device = Device::flex();
        let x = Tensor::from_data([[[[1.0f32, -2.0], [0.0, 0.5]]]], &device);
        let y = Tensor::<4>::from_data([[[[0.0f32, 2.0], [0.0, 0.0]]]], &device);
        assert_eq!(value(l1(x.clone(), y.clone())), 5.5 / 4.0);
        let want = [1.0f64, 4.0, 0.0, 0.5]
            .iter()
            .map(|d| (d * d + 0.01).sqrt())
            .sum::<f64>()
            / 4.0;
        assert!((f64::from(value(charbonnier(x, y, 0.1))) - want).abs() < 1e-6);
    }
}
