//! Structural similarity at five scales.
//!
//! Source: Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality assessment", 2003, with the windows of
//! [`super::ssim`](fn@super::ssim). Halving, and what becomes of negative terms, are as in pytorch-msssim 1.0
//! (<https://github.com/VainF/pytorch-msssim>), whose numbers papers quote.

use vae2x_core::{Array, Result};

use super::ssim::{WINDOW, require_side, similarity};
use super::unit_pair;

/// Exponents from the finest scale to the coarsest.
const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
/// Pixels that both sides must have: a window still fits after four halvings.
pub const MS_SSIM_LEAST_SIDE: usize = (WINDOW - 1) * 16 + 1;

/// Product over five scales of contrast and structure, and of luminance at the coarsest: at most 1, the mean over channels; NaN if
/// a value is. Negative terms count as 0.
///
/// # Shapes
/// `[3, H, W]`, both, H and W at least 161
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless both are images of one size and large enough.
pub fn ms_ssim(picture: &Array, reference: &Array) -> Result<f64> {
    let ([h, w], [x, y]) = unit_pair(picture, reference)?;
    require_side("MS-SSIM", [h, w], MS_SSIM_LEAST_SIDE)?;
    let planes = x.chunks_exact(h * w).zip(y.chunks_exact(h * w));
    let channels: Vec<f64> = planes
        .map(|(x, y)| plane(x.to_vec(), y.to_vec(), [h, w]))
        .collect();
    Ok(channels.iter().sum::<f64>() / channels.len() as f64)
}

fn plane(mut x: Vec<f64>, mut y: Vec<f64>, mut size: [usize; 2]) -> f64 {
    let mut product = 1.0;
    for (scale, weight) in WEIGHTS.into_iter().enumerate() {
        let terms = similarity(&x, &y, size[1]);
        let term = if scale + 1 == WEIGHTS.len() {
            terms.whole
        } else {
            terms.contrast
        };
        // Unlike `max`, this keeps NaN.
        product *= if term < 0.0 { 0.0 } else { term }.powf(weight);
        x = halved(&x, size);
        y = halved(&y, size);
        size = size.map(|n| n.div_ceil(2));
    }
    product
}

/// Means of 2 x 2 pixels. Odd sides have a line of zeros before the first.
fn halved(plane: &[f64], [h, w]: [usize; 2]) -> Vec<f64> {
    let at = |y: Option<usize>, x: Option<usize>| y.zip(x).map_or(0.0, |(y, x)| plane[y * w + x]);
    let pair = |i: usize, n: usize| [(2 * i).checked_sub(n % 2), (2 * i + 1).checked_sub(n % 2)];
    let mut half = Vec::with_capacity(h.div_ceil(2) * w.div_ceil(2));
    for [top, bottom] in (0..h.div_ceil(2)).map(|i| pair(i, h)) {
        let mean = |[left, right]: [Option<usize>; 2]| {
            (at(top, left) + at(top, right) + at(bottom, left) + at(bottom, right)) / 4.0
        };
        half.extend((0..w.div_ceil(2)).map(|i| mean(pair(i, w))));
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_pads_odd_sides_with_zeros() {
        let plane: Vec<f64> = (1..=6).map(f64::from).collect();
        assert_eq!(
            halved(&plane, [2, 3]),
            [(1.0 + 4.0) / 4.0, (2.0 + 3.0 + 5.0 + 6.0) / 4.0]
        );
        assert_eq!(halved(&plane[..4], [2, 2]), [2.5]);
    }

    #[test]
    fn equal_small_opposite_and_broken_pictures() {
        let ramp: Vec<f32> = (0..3 * 161 * 170)
            .map(|i| ((i * 7) % 255) as f32 / 127.5 - 1.0)
            .collect();
        let x = Array::new([3, 161, 170], ramp).unwrap();
        assert!((ms_ssim(&x, &x).unwrap() - 1.0).abs() < 1e-12);
        let opposite = Array::new(x.shape(), x.data().iter().map(|v| -v).collect()).unwrap();
        assert_eq!(ms_ssim(&x, &opposite).unwrap(), 0.0);
        let mut broken = x.clone();
        broken.data_mut()[9999] = f32::NAN;
        assert!(ms_ssim(&x, &broken).unwrap().is_nan());
        assert!(ms_ssim(&Array::zeros([3, 160, 400]), &Array::zeros([3, 160, 400])).is_err());
    }
}
