//! Adversarial losses on a discriminator's logits.
//!
//! Least squares: Mao et al., "Least squares generative adversarial networks", 2017. Hinge: Lim, Ye, "Geometric GAN", 2017.
//! The adaptive weight: Esser et al., "Taming transformers for high-resolution image synthesis", 2021.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// The form of the losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GanKind {
    /// Real images to 1, decoded ones to 0.
    #[default]
    LeastSquares,
    /// Real images above 1, decoded ones below -1.
    Hinge,
}

impl GanKind {
    /// The discriminator's loss: `(mean (D(y) - 1)^2 + mean D(x)^2) / 2`, or
    /// `(mean max(0, 1 - D(y)) + mean max(0, 1 + D(x))) / 2`.
    ///
    /// # Shapes
    /// logits `[B, 1, h, w]` of targets and of decoded images -> `[1]`
    pub fn discriminator(self, real: Tensor<4>, decoded: Tensor<4>) -> Tensor<1> {
        let sum = match self {
            Self::LeastSquares => (real - 1.0).square().mean() + decoded.square().mean(),
            Self::Hinge => relu(real.neg() + 1.0).mean() + relu(decoded + 1.0).mean(),
        };
        sum * 0.5
    }

    /// The generator's loss: `mean (D(x) - 1)^2`, or `-mean D(x)`.
    ///
    /// # Shapes
    /// logits `[B, 1, h, w]` of decoded images -> `[1]`
    pub fn generator(self, decoded: Tensor<4>) -> Tensor<1> {
        match self {
            Self::LeastSquares => (decoded - 1.0).square().mean(),
            Self::Hinge => decoded.mean().neg(),
        }
    }
}

/// Keeps the ratio of norms finite where the adversarial gradient vanishes.
const EPSILON: f64 = 1e-4;
/// The ratio's limit, as published.
const MOST: f64 = 1e4;

/// `|gradient of the other losses| / (|gradient of the adversarial loss| + 1e-4)`, at most 10^4: the factor that makes both pull
/// equally at the last layer, where the norms are taken.
pub fn adaptive_weight(others: f64, adversarial: f64) -> f64 {
    (others / (adversarial + EPSILON)).clamp(0.0, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn logits(values: [f32; 2]) -> Tensor<4> {
        Tensor::<1>::from_floats(values, &Device::flex()).reshape([1, 1, 1, 2])
    }

    #[test]
    fn values_are_the_formulas() {
        let (real, decoded) = ([2.0, 0.5], [-0.5, 1.5]);
        let value = |loss: Tensor<1>| loss.into_scalar::<f32>();
        let [squares, hinge] = [GanKind::LeastSquares, GanKind::Hinge];
        assert_eq!(
            value(squares.discriminator(logits(real), logits(decoded))),
            0.5 * (1.25 / 2.0 + 2.5 / 2.0)
        );
        assert_eq!(
            value(squares.generator(logits(decoded))),
            (2.25 + 0.25) / 2.0
        );
        assert_eq!(
            value(hinge.discriminator(logits(real), logits(decoded))),
            0.5 * (0.5 / 2.0 + (0.5 + 2.5) / 2.0)
        );
        assert_eq!(value(hinge.generator(logits(decoded))), -0.5);
    }

    #[test]
    fn the_adaptive_weight_balances_and_stays_finite() {
        assert!((adaptive_weight(3.0, 1.5) - 2.0).abs() < 1e-3);
        assert_eq!(adaptive_weight(1e9, 0.0), 1e4);
    }
}
