//! The rotary embedding of a token's frame, row and column.
//!
//! Neighbouring channels of a head are the parts of a complex number that is turned by an angle proportional to the position.
//! In a head of `d` channels, rows and columns have `2 (d / 6)` each, frames the rest.
//! Source: Su et al., "RoFormer", 2021; the split is Wan2.1's.

use burn::tensor::{Device, Tensor, TensorData};

/// The slowest channel turns by about one over this per position.
const THETA: f64 = 10_000.0;

/// Cosines and sines for the tokens of one grid.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// `[1, N, 1, d / 2, 1]`
    cos: Tensor<5>,
    /// The same.
    sin: Tensor<5>,
}

impl Rotary {
    /// Tables for a grid of frames, rows and columns, and heads of `head_dim` channels. Angles are computed in double precision.
    pub fn new(grid: [usize; 3], head_dim: usize, device: &Device) -> Self {
        let [frames, rows, columns] = grid;
        let side = 2 * (head_dim / 6);
        let axes = [head_dim - 2 * side, side, side];
        let rates = axes.map(|d| {
            (0..d / 2)
                .map(|i| THETA.powf(-((2 * i) as f64) / d as f64))
                .collect::<Vec<_>>()
        });
        let mut angles = Vec::with_capacity(frames * rows * columns * head_dim / 2);
        for token in 0..frames * rows * columns {
            let position = [
                token / (rows * columns),
                token / columns % rows,
                token % columns,
            ];
            for (rates, position) in rates.iter().zip(position) {
                angles.extend(rates.iter().map(|rate| rate * position as f64));
            }
        }
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&a| f(a) as f32).collect();
            Tensor::from_data(
                TensorData::new(values, [1, frames * rows * columns, 1, head_dim / 2, 1]),
                device,
            )
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// # Shapes
    /// `[B, N, heads, d]` -> the same
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, n, heads, d] = x.dims();
        let pairs = x.reshape([b, n, heads, d / 2, 2]);
        let re = pairs.clone().narrow(4, 0, 1);
        let im = pairs.narrow(4, 1, 1);
        let turned = [
            re.clone() * self.cos.clone() - im.clone() * self.sin.clone(),
            re * self.sin.clone() + im * self.cos.clone(),
        ];
        Tensor::cat(turned.to_vec(), 4).reshape([b, n, heads, d])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores under the embedding depend on the difference of positions alone.
    #[test]
    fn only_differences_of_positions_count() {
        let device = Device::flex();
        let grid = [3, 4, 5];
        let values: Vec<f32> = vae2x_core::weights::formula::unit("head", 24).collect();
        let one = |part: &[f32]| Tensor::<1>::from_floats(part, &device).reshape([1, 1, 1, 12]);
        let everywhere =
            |x: Tensor<4>| Rotary::new(grid, 12, &device).apply(x.expand([1, 60, 1, 12]));
        let (q, k) = (
            everywhere(one(&values[..12])),
            everywhere(one(&values[12..])),
        );
        let score = |a: [usize; 3], b: [usize; 3]| {
            let at = |x: &Tensor<4>, [t, y, x_]: [usize; 3]| {
                x.clone().narrow(1, (t * 4 + y) * 5 + x_, 1)
            };
            (at(&q, a) * at(&k, b)).sum().into_scalar::<f32>()
        };
        for (a, b) in [([0, 1, 0], [1, 0, 2]), ([0, 0, 3], [1, 3, 1])] {
            let moved = [[a, b], [b, a]]
                .map(|[p, q]| score([p[0] + 1, p[1], p[2] + 1], [q[0] + 1, q[1], q[2] + 1]));
            assert!((score(a, b) - moved[0]).abs() < 1e-5 && (score(b, a) - moved[1]).abs() < 1e-5);
            assert!(
                (score(a, b) - score(b, a)).abs() > 1e-3,
                "the direction counts"
            );
        }
    }
}
