//! The constant-colour test: what a VAE makes of an image of one colour. Whatever is not that colour is the model's own doing.

use vae2x_core::{Array, Result, VaeConfig};
use vae2x_media::pixels::from_u8;

use crate::speckle::{Speckle, speckle};

/// Latent cells of the measured part's side.
const MEASURED: usize = 32;
/// Latent cells around it, which see the padding of the image's edge.
const MARGIN: usize = 8;
/// From the width of [-1, 1] to that of 8 bits.
const TO_8_BIT: f64 = 127.5;

/// What became of a colour.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConstantColour {
    /// Red, green, blue.
    pub colour: [u8; 3],
    /// What the decoded image has more, on average, of red, green and blue, in 8-bit steps.
    pub shift: [f64; 3],
    /// Mean of the absolute error over pixels and channels, in 8-bit steps.
    pub mean_error: f64,
    /// Root mean square of what is not constant in the decoded image, in 8-bit steps.
    pub ripple: f64,
    /// Share of the error's energy that is not constant; 0 if there is no error.
    pub non_constant_share: f64,
    /// The grid in it.
    #[serde(flatten)]
    pub speckle: Speckle,
}

/// Sends an image of one colour, 48 latent cells wide and high, through `round_trip`, which encodes and decodes it, and
/// measures the 32 cells in the middle.
///
/// # Shapes
/// `round_trip`: `[3, H, W]` -> `[3, r H, r W]`
///
/// # Errors
/// Those of `round_trip`.
pub fn constant_colour(
    config: &VaeConfig,
    colour: [u8; 3],
    round_trip: impl FnOnce(Array) -> Result<Array>,
) -> Result<ConstantColour> {
    let side = (MEASURED + 2 * MARGIN) * config.spatial();
    let values = colour.map(from_u8);
    let image = values
        .iter()
        .flat_map(|&v| std::iter::repeat_n(v, side * side))
        .collect();
    let decoded = round_trip(Array::new([3, side, side], image)?)?;
    let middle = middle(&decoded, config.pixels_per_cell()?)?;
    let errors = middle
        .data()
        .chunks_exact(middle.data().len() / 3)
        .zip(values);
    let errors = errors
        .flat_map(|(plane, v)| plane.iter().map(move |p| f64::from(p - v) * TO_8_BIT))
        .collect::<Vec<_>>();
    let speckle = speckle(&middle, config.scale()?)?;
    Ok(summary(colour, &errors, speckle))
}

/// `errors` are red's, green's, blue's.
fn summary(colour: [u8; 3], errors: &[f64], speckle: Speckle) -> ConstantColour {
    let count = errors.len() as f64;
    let mut shift = [0.0; 3];
    let (mut square, mut varying) = (0.0, 0.0);
    for (shift, plane) in shift.iter_mut().zip(errors.chunks_exact(errors.len() / 3)) {
        *shift = plane.iter().sum::<f64>() / plane.len() as f64;
        square += plane.iter().map(|e| e * e).sum::<f64>();
        varying += plane.iter().map(|e| (e - *shift).powi(2)).sum::<f64>();
    }
    ConstantColour {
        colour,
        shift,
        mean_error: errors.iter().map(|e| e.abs()).sum::<f64>() / count,
        ripple: (varying / count).sqrt(),
        non_constant_share: if square == 0.0 { 0.0 } else { varying / square },
        speckle,
    }
}

/// The decoded image without its margin, `[3, H, W]`; a latent cell is `cell` pixels of it.
fn middle(decoded: &Array, cell: usize) -> Result<Array> {
    let [_, _, width] = decoded.dims("decoded image")?;
    let (start, side) = (MARGIN * cell, MEASURED * cell);
    let row =
        |c: usize, y: usize| &decoded.data()[(c * width + start + y) * width + start..][..side];
    let data = (0..3)
        .flat_map(|c| (0..side).flat_map(move |y| row(c, y)))
        .copied()
        .collect();
    Array::new([3, side, side], data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let speckle = speckle(&Array::zeros([3, 128, 128]), 1).unwrap();
        let of = |errors: &[f64]| summary([1, 2, 3], errors, speckle.clone());
        let shifted = of(&[2.0, 2.0, -1.0, -1.0, 0.0, 0.0]);
        assert_eq!((shifted.shift, shifted.mean_error), ([2.0, -1.0, 0.0], 1.0));
        assert_eq!((shifted.ripple, shifted.non_constant_share), (0.0, 0.0));
        let rippled = of(&[3.0, -3.0, 3.0, -3.0, 3.0, -3.0]);
        assert_eq!(
            (
                rippled.ripple,
                rippled.non_constant_share,
                rippled.mean_error
            ),
            (3.0, 1.0, 3.0)
        );
        // A step of 1 and a ripple of 1.
        assert_eq!(of(&[2.0, 0.0, 2.0, 0.0, 2.0, 0.0]).non_constant_share, 0.5);
        assert_eq!(of(&[0.0; 6]).non_constant_share, 0.0);
    }
}
