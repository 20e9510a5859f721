//! Peak signal-to-noise ratio.

use vae2x_core::{Array, Result};

use super::unit_pair;

/// `10 log10(1 / mean squared error)` in decibels, over all channels; infinite for equal images, NaN if a value is.
///
/// # Shapes
/// `[3, H, W]`, both
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless both are images of one size.
pub fn psnr(picture: &Array, reference: &Array) -> Result<f64> {
    let (_, [x, y]) = unit_pair(picture, reference)?;
    let squares: f64 = x.iter().zip(&y).map(|(a, b)| (a - b) * (a - b)).sum();
    Ok(-10.0 * (squares / x.len() as f64).log10())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_have_known_ratios() {
        let grey = |v: f32| Array::new([3, 2, 2], vec![v; 12]).unwrap();
        assert_eq!(psnr(&grey(0.5), &grey(0.5)).unwrap(), f64::INFINITY);
        // A tenth of the range.
        assert!((psnr(&grey(0.0), &grey(0.2)).unwrap() - 20.0).abs() < 1e-5);
        assert_eq!(
            psnr(&grey(7.0), &grey(1.0)).unwrap(),
            f64::INFINITY,
            "values are clamped as when saved"
        );
        assert!(psnr(&grey(f32::NAN), &grey(1.0)).unwrap().is_nan());
        assert!(psnr(&grey(0.0), &Array::zeros([3, 2, 3])).is_err());
    }
}
