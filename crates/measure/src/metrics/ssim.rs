//! Structural similarity.
//!
//! Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, with the settings of
//! that paper as scikit-image names them: `structural_similarity(gaussian_weights=True, sigma=1.5,
//! use_sample_covariance=False, data_range=1)`, of each channel, averaged.

use rayon::prelude::*;
use vae2x_core::{Array, Error, Result};

use super::unit_pair;

/// Standard deviation of the window, in pixels.
const SIGMA: f64 = 1.5;
/// The window reaches 3.5 standard deviations, rounded: 11 pixels wide.
const RADIUS: usize = 5;
/// Pixels of a window's side.
pub(super) const WINDOW: usize = 2 * RADIUS + 1;
/// `(0.01 range)^2` and `(0.03 range)^2`.
const C1: f64 = 1e-4;
const C2: f64 = 9e-4;

/// Rows of windows that are computed at a time.
const BAND: usize = 32;

/// Mean structural similarity, at most 1, over all windows that lie inside; NaN if a value is.
///
/// # Shapes
/// `[3, H, W]`, both, H and W at least 11
///
/// # Errors
/// [`Error::Shape`] unless both are images of one size and large enough.
pub fn ssim(picture: &Array, reference: &Array) -> Result<f64> {
    let ([h, w], [x, y]) = unit_pair(picture, reference)?;
    require_side("SSIM", [h, w], WINDOW)?;
    let planes = x.chunks_exact(h * w).zip(y.chunks_exact(h * w));
    let channels: Vec<f64> = planes.map(|(x, y)| similarity(x, y, w).whole).collect();
    Ok(channels.iter().sum::<f64>() / channels.len() as f64)
}

/// # Errors
/// [`Error::Shape`] unless both sides are at least `least`.
pub(super) fn require_side(metric: &str, [h, w]: [usize; 2], least: usize) -> Result<()> {
    match h < least || w < least {
        true => Err(Error::Shape {
            what: format!("images for {metric}"),
            expected: format!("at least {least}x{least} pixels"),
            got: format!("{w}x{h}"),
        }),
        false => Ok(()),
    }
}

/// Means over a plane's windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Similarity {
    /// Mean of the product of all terms.
    pub whole: f64,
    /// Mean of contrast and structure, without luminance.
    pub contrast: f64,
}

/// # Shapes
/// `H * width`, both, in [0, 1]
pub(super) fn similarity(x: &[f64], y: &[f64], width: usize) -> Similarity {
    let rows = x.len() / width - 2 * RADIUS;
    let bands: Vec<[f64; 2]> = (0..rows.div_ceil(BAND))
        .into_par_iter()
        .map(|i| {
            let part = i * BAND * width..((i + 1) * BAND).min(rows) * width + 2 * RADIUS * width;
            band_sums(&x[part.clone()], &y[part], width)
        })
        .collect();
    let mean = |term: usize| {
        bands.iter().map(|b| b[term]).sum::<f64>() / (rows * (width - 2 * RADIUS)) as f64
    };
    Similarity {
        whole: mean(0),
        contrast: mean(1),
    }
}

/// Sums over the windows that lie inside of all terms' product, and of contrast and structure.
fn band_sums(x: &[f64], y: &[f64], width: usize) -> [f64; 2] {
    let blurred = |f: &dyn Fn(f64, f64) -> f64| {
        let plane: Vec<f64> = x.iter().zip(y).map(|(&a, &b)| f(a, b)).collect();
        blur(&plane, width)
    };
    let means = [blurred(&|a, _| a), blurred(&|_, b| b)];
    let squares = [blurred(&|a, _| a * a), blurred(&|_, b| b * b)];
    let products = blurred(&|a, b| a * b);
    (0..products.len()).fold([0.0; 2], |sums, i| {
        let (ux, uy) = (means[0][i], means[1][i]);
        let (vx, vy) = (squares[0][i] - ux * ux, squares[1][i] - uy * uy);
        let contrast = (2.0 * (products[i] - ux * uy) + C2) / (vx + vy + C2);
        [
            sums[0] + (2.0 * ux * uy + C1) / (ux * ux + uy * uy + C1) * contrast,
            sums[1] + contrast,
        ]
    })
}

/// The Gaussian mean around every pixel whose window lies inside.
///
/// # Shapes
/// `H * width` -> `(H - 10) * (width - 10)`
fn blur(plane: &[f64], width: usize) -> Vec<f64> {
    let weights: [f64; WINDOW] = std::array::from_fn(|i| {
        (-(i as f64 - RADIUS as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp()
    });
    let total: f64 = weights.iter().sum();
    let weights = weights.map(|w| w / total);
    let inner = width - 2 * RADIUS;
    // Tap by tap over whole rows, which vectorizes.
    let add = |out: &mut [f64], row: &[f64], weight: f64| {
        out.iter_mut().zip(row).for_each(|(o, v)| *o += weight * v)
    };
    let mut rows = vec![0.0; plane.len() / width * inner];
    for (out, row) in rows.chunks_exact_mut(inner).zip(plane.chunks_exact(width)) {
        weights
            .iter()
            .enumerate()
            .for_each(|(k, w)| add(out, &row[k..], *w));
    }
    let mut blurred = vec![0.0; rows.len() - 2 * RADIUS * inner];
    for (y, out) in blurred.chunks_exact_mut(inner).enumerate() {
        weights
            .iter()
            .enumerate()
            .for_each(|(k, w)| add(out, &rows[(y + k) * inner..], *w));
    }
    blurred
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
        let mixed = noise("a")
            .iter()
            .zip(noise("b"))
            .map(|(a, b)| 0.8 * a + 0.2 * b)
            .collect();
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
        assert!(
            ssim(&picture(broken), &picture(noise("a")))
                .unwrap()
                .is_nan()
        );
    }
}
