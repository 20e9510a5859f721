//! Structural similarity.
//!
//! Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, with the settings of
//! that paper as scikit-image names them: `structural_similarity(gaussian_weights=True, sigma=1.5,
//! use_sample_covariance=False, data_range=1)`, of each channel, averaged.

use vae2x_core::{Array, Error, Result};

use super::unit_pair;

/// Standard deviation of the window, in pixels.
const SIGMA: f64 = 1.5;
/// The window reaches 3.5 standard deviations, rounded: 11 pixels wide.
const RADIUS: usize = 5;
/// `(0.01 range)^2` and `(0.03 range)^2`.
const C1: f64 = 1e-4;
const C2: f64 = 9e-4;

/// Mean structural similarity, at most 1, over all windows that lie inside; NaN if a value is.
///
/// # Shapes
/// `[3, H, W]`, both, H and W at least 11
///
/// # Errors
/// [`Error::Shape`] unless both are pictures of one size and large enough.
pub fn ssim(picture: &Array, reference: &Array) -> Result<f64> {
    let ([h, w], [x, y]) = unit_pair(picture, reference)?;
    let window = 2 * RADIUS + 1;
    if h < window || w < window {
        return Err(Error::Shape {
            what: "pictures for SSIM".into(),
            expected: format!("at least {window}x{window} pixels"),
            got: format!("{w}x{h}"),
        });
    }
    let planes = x.chunks_exact(h * w).zip(y.chunks_exact(h * w));
    let channels: Vec<f64> = planes.map(|(x, y)| plane_ssim(x, y, w)).collect();
    Ok(channels.iter().sum::<f64>() / channels.len() as f64)
}

fn plane_ssim(x: &[f64], y: &[f64], width: usize) -> f64 {
    let blurred = |f: &dyn Fn(f64, f64) -> f64| {
        let plane: Vec<f64> = x.iter().zip(y).map(|(&a, &b)| f(a, b)).collect();
        blur(&plane, width)
    };
    let means = [blurred(&|a, _| a), blurred(&|_, b| b)];
    let squares = [blurred(&|a, _| a * a), blurred(&|_, b| b * b)];
    let products = blurred(&|a, b| a * b);
    let at = |i: usize| {
        let (ux, uy) = (means[0][i], means[1][i]);
        let (vx, vy) = (squares[0][i] - ux * ux, squares[1][i] - uy * uy);
        let covariance = products[i] - ux * uy;
        ((2.0 * ux * uy + C1) * (2.0 * covariance + C2)) / ((ux * ux + uy * uy + C1) * (vx + vy + C2))
    };
    (0..products.len()).map(at).sum::<f64>() / products.len() as f64
}

/// The Gaussian mean around every pixel whose window lies inside.
///
/// # Shapes
/// `H * width` -> `(H - 10) * (width - 10)`
fn blur(plane: &[f64], width: usize) -> Vec<f64> {
    let weights: Vec<f64> =
        (0..=2 * RADIUS).map(|i| (-(i as f64 - RADIUS as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mean = |values: &mut dyn Iterator<Item = f64>| values.zip(&weights).map(|(v, w)| v * w).sum::<f64>() / total;
    let inner = width - 2 * RADIUS;
    let rows: Vec<f64> = plane
        .chunks_exact(width)
        .flat_map(|row| row.windows(2 * RADIUS + 1).map(|part| mean(&mut part.iter().copied())).collect::<Vec<_>>())
        .collect();
    let height = rows.len() / inner;
    let at = |y: usize, x: usize| mean(&mut (0..=2 * RADIUS).map(|dy| rows[(y + dy) * inner + x]));
    (0..height - 2 * RADIUS).flat_map(|y| (0..inner).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula::unit;

    fn noise(name: &str) -> Vec<f32> {
        unit(name, 3 * 16 * 20).collect()
    }

    fn picture(values: Vec<f32>) -> Array {
        Array::new([3, 16, 20], values).unwrap()
    }

    /// The values are scikit-image 0.25's for the same arrays in [0, 1] (`tools/reference/metrics.py`).
    #[test]
    fn values_are_scikit_images() {
        let x = picture(noise("a"));
        let mixed = noise("a").iter().zip(noise("b")).map(|(a, b)| 0.8 * a + 0.2 * b).collect();
        let darker = noise("a").iter().map(|a| 0.5 * a - 0.4).collect();
        for (y, want) in [(mixed, MIXED), (darker, DARKER), (noise("b"), UNRELATED)] {
            let got = ssim(&x, &picture(y)).unwrap();
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        assert!((ssim(&x, &x).unwrap() - 1.0).abs() < 1e-12);
    }

    const MIXED: f64 = 0.953_433_031_415_616;
    const DARKER: f64 = 0.708_750_100_707_863;
    const UNRELATED: f64 = -0.007_002_239_986_710;

    #[test]
    fn small_and_broken_pictures() {
        assert!(ssim(&Array::zeros([3, 10, 20]), &Array::zeros([3, 10, 20])).is_err());
        let mut broken = noise("a");
        broken[400] = f32::NAN;
        assert!(ssim(&picture(broken), &picture(noise("a"))).unwrap().is_nan());
    }
}
