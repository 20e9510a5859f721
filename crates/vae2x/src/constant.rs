//! The constant-colour test: what a VAE makes of a picture of one colour. Whatever is not that colour is the model's own doing.

use vae2x_core::config::SPATIAL_FACTOR;
use vae2x_core::{Array, Result};
use vae2x_measure::speckle::{Speckle, speckle};
use vae2x_media::pixels::from_u8;

use crate::{Decoder, Encoder};

/// Latent cells of the measured part's side.
const MEASURED: usize = 32;
/// Latent cells around it, which see the padding of the picture's edge.
const MARGIN: usize = 8;
/// From the width of [-1, 1] to that of 8 bits.
const TO_8_BIT: f64 = 127.5;

/// What became of a colour.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConstantColour {
    /// Red, green, blue.
    pub colour: [u8; 3],
    /// What the decoded picture has more, on average, of red, green and blue, in 8-bit steps.
    pub shift: [f64; 3],
    /// Mean of the absolute error over pixels and channels, in 8-bit steps.
    pub mean_error: f64,
    /// Root mean square of what is not constant in the decoded picture, in 8-bit steps.
    pub ripple: f64,
    /// Share of the error's energy that is not constant; 0 if there is no error.
    pub non_constant_share: f64,
    /// The grid in it.
    #[serde(flatten)]
    pub speckle: Speckle,
}

/// Encodes and decodes a picture of one colour, 384 pixels wide and high, and measures the 256 in the middle.
///
/// # Errors
/// As encoding and decoding.
pub fn constant_colour(
    encoder: &Encoder,
    decoder: &Decoder,
    colour: [u8; 3],
) -> Result<ConstantColour> {
    let side = (MEASURED + 2 * MARGIN) * SPATIAL_FACTOR;
    let values = colour.map(from_u8);
    let picture = values
        .iter()
        .flat_map(|&v| std::iter::repeat_n(v, side * side))
        .collect();
    let latent = encoder.encode(&Array::new([1, 3, 1, side, side], picture)?, &mut |_| ())?;
    let decoded = decoder.decode(&latent)?;
    let scale = decoder.config().scale()?;
    let middle = middle(&decoded, scale)?;
    let errors = middle
        .data()
        .chunks_exact(middle.data().len() / 3)
        .zip(values);
    let errors = errors
        .flat_map(|(plane, v)| plane.iter().map(move |p| f64::from(p - v) * TO_8_BIT))
        .collect::<Vec<_>>();
    let speckle = speckle(&middle, scale)?;
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

/// The decoded picture without its margin, `[3, H, W]`.
fn middle(decoded: &Array, scale: usize) -> Result<Array> {
    let [_, _, _, _, width] = decoded.dims("pixels")?;
    let cell = SPATIAL_FACTOR * scale;
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
