//! Blurring and sharpening of decoded images, in sRGB values.
//!
//! Both take the standard deviation of a Gaussian in pixels of the image. [`blur`] is the Gaussian
//! `G p` itself; [`sharpen`] is the unsharp mask `p + (p - G p)`: a pattern of `f` cycles per pixel
//! is multiplied by `2 - exp(-2 pi^2 sigma^2 f^2)`, so small deviations lift the finest detail
//! only, and large ones all detail.

use vae2x_core::{Array, Result};

use crate::convolve::{Kernel, convolve};

/// Useful standard deviations: below, nothing changes; above, it is no longer about detail.
pub const SIGMAS: std::ops::RangeInclusive<f64> = 0.2..=20.0;

/// The Gaussian mean around each pixel, with `sigma` of [`SIGMAS`].
///
/// # Shapes
/// `[3, H, W]` -> `[3, H, W]`
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless it is an image.
pub fn blur(image: &Array, sigma: f64) -> Result<Array> {
    convolve(image, &Kernel::gaussian(sigma), 1)
}

/// The image with its difference from [`blur`] added; values may leave [-1, 1].
///
/// # Shapes
/// `[3, H, W]` -> `[3, H, W]`
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless it is an image.
pub fn sharpen(image: &Array, sigma: f64) -> Result<Array> {
    let mut out = blur(image, sigma)?;
    out.data_mut()
        .iter_mut()
        .zip(image.data())
        .for_each(|(v, p)| *v = 2.0 * p - *v);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a change does to a wave of `frequency` cycles per pixel, away from edges.
    fn gain(frequency: f64, change: impl Fn(&Array) -> Result<Array>) -> f64 {
        let wave: Vec<f32> = (0..256)
            .map(|x| (0.3 * (std::f64::consts::TAU * frequency * f64::from(x)).cos()) as f32)
            .collect();
        let image = Array::new([3, 4, 256], wave.repeat(12)).unwrap();
        let changed = change(&image).unwrap();
        let (mut product, mut square) = (0.0, 0.0);
        for x in 96..160 {
            product += f64::from(changed.data()[x] * image.data()[x]);
            square += f64::from(image.data()[x] * image.data()[x]);
        }
        product / square
    }

    #[test]
    fn gains_are_as_promised() {
        for (sigma, frequency) in [(0.7, 0.25), (1.0, 0.1), (3.0, 0.02), (20.0, 0.005)] {
            let left = (-2.0 * (std::f64::consts::PI * sigma * frequency).powi(2)).exp();
            let blurred = gain(frequency, |p| blur(p, sigma));
            assert!(
                (blurred - left).abs() < 0.01,
                "{sigma} at {frequency}: {blurred} {left}"
            );
            let sharpened = gain(frequency, |p| sharpen(p, sigma));
            assert!(
                (sharpened - (2.0 - left)).abs() < 0.01,
                "{sigma} at {frequency}: {sharpened}"
            );
        }
    }

    #[test]
    fn constants_stay() {
        let grey = Array::new([3, 5, 2], vec![0.3; 30]).unwrap();
        for changed in [sharpen(&grey, 9.0).unwrap(), blur(&grey, 9.0).unwrap()] {
            assert!(changed.data().iter().all(|v| (v - 0.3).abs() < 1e-5));
        }
    }
}
