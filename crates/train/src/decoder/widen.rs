//! The last convolution of a base decoder, widened to give blocks of pixels: where the training of a 2x decoder starts.
//!
//! A pixel of a block lies between pixels of the base image, which are sums over patches of features. Interpolating those by a
//! parabola through three neighbours is again a convolution of the features, of five taps per axis; its outer taps are moved onto
//! the edge of the three that there are. Such a start is nearly as good as enlarging the base image by Lanczos' filter.

use serde::{Deserialize, Serialize};
use vae2x_core::{Array, Result};

/// Values of a block's pixels at the start.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Widening {
    /// Between the base's pixels.
    #[default]
    Interpolate,
    /// The base's pixel, all of them.
    Repeat,
}

/// Channels of the base become blocks of `scale * scale` channels, as the pixel shuffle takes them.
///
/// # Shapes
/// weight `[O, .., 3, 3]` -> `[O r r, .., 3, 3]`; bias `[O]` -> `[O r r]`
///
/// # Errors
/// None for the shapes above.
pub fn widen(base: &Array, scale: usize, start: Widening) -> Result<Array> {
    let mut shape = base.shape().to_vec();
    let row = base.data().len() / shape[0].max(1);
    shape[0] *= scale * scale;
    let shifts: Vec<_> = (0..scale).map(|i| shift(place(i, scale, start))).collect();
    let mut data = Vec::with_capacity(base.data().len() * scale * scale);
    for channel in base.data().chunks_exact(row.max(1)) {
        for (down, across) in shifts
            .iter()
            .flat_map(|down| shifts.iter().map(move |across| (down, across)))
        {
            match shape.len() {
                1 => data.extend(channel),
                _ => data.extend(
                    channel
                        .chunks_exact(9)
                        .flat_map(|taps| shifted(taps, down, across)),
                ),
            }
        }
    }
    Array::new(shape, data)
}

/// Where pixel `i` of a block lies, in pixels of the base, from the middle.
fn place(i: usize, scale: usize, start: Widening) -> f32 {
    match start {
        Widening::Interpolate => (i as f32 + 0.5) / scale as f32 - 0.5,
        Widening::Repeat => 0.0,
    }
}

/// The share of each tap of an axis in each tap of the axis moved by `x`.
fn shift(x: f32) -> [[f32; 3]; 3] {
    let parabola = [x * (x - 1.0) / 2.0, 1.0 - x * x, x * (x + 1.0) / 2.0];
    let mut to = [[0.0; 3]; 3];
    for (tap, neighbour) in (0..3).flat_map(|tap| (0..3).map(move |neighbour| (tap, neighbour))) {
        to[(tap + neighbour).clamp(1, 3) - 1][tap] += parabola[neighbour];
    }
    to
}

/// Nine taps, moved along both axes.
fn shifted(taps: &[f32], down: &[[f32; 3]; 3], across: &[[f32; 3]; 3]) -> [f32; 9] {
    std::array::from_fn(|i| {
        let (y, x) = (i / 3, i % 3);
        (0..9)
            .map(|k| down[y][k / 3] * across[x][k % 3] * taps[k])
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image that one channel of features and a kernel of one tap give, widened, at a place far from the edges.
    fn block(feature: impl Fn(f32, f32) -> f32, start: Widening) -> [f32; 4] {
        let mut taps = vec![0.0; 9];
        taps[4] = 1.0;
        let wide = widen(&Array::new([1, 1, 3, 3], taps).unwrap(), 2, start).unwrap();
        assert_eq!(wide.shape(), [4, 1, 3, 3]);
        let value = |taps: &[f32]| {
            (0..9)
                .map(|k| taps[k] * feature((k / 3) as f32 - 1.0, (k % 3) as f32 - 1.0))
                .sum::<f32>()
        };
        std::array::from_fn(|i| value(&wide.data()[9 * i..][..9]))
    }

    #[test]
    fn parabolas_are_met_between_the_pixels() {
        let curve =
            |y: f32, x: f32| 0.3 + 0.5 * y - 0.2 * x + 0.7 * y * y - 0.4 * x * x + 0.1 * x * y;
        let got = block(curve, Widening::Interpolate);
        let want =
            [(-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)].map(|(y, x)| curve(y, x));
        assert!(
            got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6),
            "{got:?} {want:?}"
        );
        assert_eq!(block(curve, Widening::Repeat), [0.3; 4]);
    }

    #[test]
    fn flat_features_stay_and_biases_repeat() {
        let kernel = Array::new([2, 1, 3, 3], (0..18).map(|i| i as f32).collect()).unwrap();
        let wide = widen(&kernel, 4, Widening::Interpolate).unwrap();
        let sums: Vec<f32> = wide
            .data()
            .chunks_exact(9)
            .map(|taps| taps.iter().sum())
            .collect();
        assert!(
            sums[..16].iter().all(|s| (s - 36.0).abs() < 1e-4)
                && sums[16..].iter().all(|s| (s - 117.0).abs() < 1e-4)
        );
        let bias = widen(
            &Array::new([2], vec![0.5, -1.0]).unwrap(),
            2,
            Widening::Interpolate,
        )
        .unwrap();
        assert_eq!(bias.data(), [0.5, 0.5, 0.5, 0.5, -1.0, -1.0, -1.0, -1.0]);
    }
}
