//! Colour differences as they are seen: CIEDE2000.
//!
//! Source: CIE 142-2001; Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and
//! mathematical observations", 2005. All parametric factors are 1. 1 is about the least difference that is seen between large
//! patches side by side.
//!
//! sRGB becomes CIE 1976 L*a*b* by the matrix of IEC 61966-2-1 and the white of its chromaticity, x 0.3127, y 0.3290.

use rayon::prelude::*;
use vae2x_core::{Array, Result};
use vae2x_media::pixels::to_linear;

use super::require_one_size;

/// Linear red, green, blue to X, Y, Z.
const XYZ: [[f64; 3]; 3] = [
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
];
/// Its inverse scale: the white's X, Y, Z.
const WHITE: [f64; 3] = [0.3127 / 0.3290, 1.0, (1.0 - 0.3127 - 0.3290) / 0.3290];
/// Pixels that are computed at a time.
const PART: usize = 1 << 14;

/// The mean difference over all pixels; NaN if a value is.
///
/// # Shapes
/// `[3, H, W]`, both
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless both are images of one size.
pub fn ciede2000(picture: &Array, reference: &Array) -> Result<f64> {
    let differences = differences(picture, reference)?;
    Ok(differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64)
}

/// The difference that 95 % of the pixels do not exceed, between ranks by interpolation; NaN if a value is.
///
/// # Shapes
/// `[3, H, W]`, both
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless both are images of one size.
pub fn ciede2000_p95(picture: &Array, reference: &Array) -> Result<f64> {
    let mut differences = differences(picture, reference)?;
    if differences.iter().any(|d| d.is_nan()) {
        return Ok(f64::NAN);
    }
    let rank = 0.95 * (differences.len() - 1) as f64;
    let (_, &mut low, above) = differences.select_nth_unstable_by(rank as usize, f32::total_cmp);
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    Ok(f64::from(low) + (f64::from(high) - f64::from(low)) * rank.fract())
}

/// The difference at every pixel.
fn differences(picture: &Array, reference: &Array) -> Result<Vec<f32>> {
    let [h, w] = require_one_size(picture, reference)?;
    let starts: Vec<usize> = (0..h * w).step_by(PART).collect();
    let part = |start: usize| {
        let pixels = start..(start + PART).min(h * w);
        pixels
            .map(|i| difference(lab(picture, i), lab(reference, i)) as f32)
            .collect::<Vec<_>>()
    };
    Ok(starts.into_par_iter().flat_map_iter(part).collect())
}

/// L*, a*, b* of a pixel.
fn lab(picture: &Array, pixel: usize) -> [f64; 3] {
    let plane = picture.data().len() / 3;
    let value = |c: usize| picture.data()[c * plane + pixel];
    // Conversions give black for NaN, which would hide it.
    let light = [0, 1, 2].map(|c| {
        if value(c).is_nan() {
            f64::NAN
        } else {
            f64::from(to_linear(value(c)))
        }
    });
    let relative = |row: usize| (0..3).map(|c| XYZ[row][c] * light[c]).sum::<f64>() / WHITE[row];
    let [x, y, z] = [0, 1, 2].map(|row| compressed(relative(row)));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// The cube root, and a line near black.
fn compressed(relative: f64) -> f64 {
    const KNEE: f64 = 6.0 / 29.0;
    if relative > KNEE.powi(3) {
        relative.cbrt()
    } else {
        relative / (3.0 * KNEE * KNEE) + 4.0 / 29.0
    }
}

/// CIEDE2000 of two colours in L*a*b*.
fn difference([l1, a1, b1]: [f64; 3], [l2, a2, b2]: [f64; 3]) -> f64 {
    let chroma = (a1.hypot(b1) + a2.hypot(b2)) / 2.0;
    // Greys are moved apart along a*.
    let stretch = 1.5 - 0.5 * saturation(chroma);
    let [(c1, h1), (c2, h2)] = [[stretch * a1, b1], [stretch * a2, b2]].map(polar);
    let lightness = l2 - l1;
    let turn = turn(h1, h2);
    let hue = if c1 * c2 == 0.0 {
        0.0
    } else {
        2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin()
    };
    let mean_l = f64::midpoint(l1, l2) - 50.0;
    let mean_c = f64::midpoint(c1, c2);
    let mean_h = if c1 * c2 == 0.0 {
        h1 + h2
    } else {
        h1 + turn / 2.0
    };
    let wave = |factor: f64, shift: f64| (factor * mean_h + shift).to_radians().cos();
    let t = 1.0 - 0.17 * wave(1.0, -30.0) + 0.24 * wave(2.0, 0.0) + 0.32 * wave(3.0, 6.0)
        - 0.2 * wave(4.0, -63.0);
    let by_l = lightness / (1.0 + 0.015 * mean_l * mean_l / (20.0 + mean_l * mean_l).sqrt());
    let by_c = (c2 - c1) / (1.0 + 0.045 * mean_c);
    let by_h = hue / (1.0 + 0.015 * mean_c * t);
    let square = by_l * by_l + by_c * by_c + by_h * by_h + rotation(mean_c, mean_h) * by_c * by_h;
    // Rounding may leave a trace below 0. Unlike `max`, this keeps NaN.
    if square < 0.0 { 0.0 } else { square.sqrt() }
}

/// How chroma and hue interact, for blues.
fn rotation(chroma: f64, hue: f64) -> f64 {
    let from_blue = (hue.rem_euclid(360.0) - 275.0) / 25.0;
    let angle = 60.0 * (-from_blue * from_blue).exp();
    -2.0 * saturation(chroma) * angle.to_radians().sin()
}

/// From 0 for greys to 1.
fn saturation(chroma: f64) -> f64 {
    let seventh = chroma.powi(7);
    (seventh / (seventh + 25f64.powi(7))).sqrt()
}

/// Chroma and hue in degrees, 0 for greys.
fn polar([a, b]: [f64; 2]) -> (f64, f64) {
    (a.hypot(b), b.atan2(a).to_degrees().rem_euclid(360.0))
}

/// From one hue to another the short way, in degrees.
fn turn(from: f64, to: f64) -> f64 {
    match to - from {
        d if d > 180.0 => d - 360.0,
        d if d < -180.0 => d + 360.0,
        d => d,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of colours and their difference from the supplementary test data of Sharma, Wu, Dalal, 2005, table 1.
    const PUBLISHED: [[f64; 7]; 34] = [
        [50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425],
        [50.0, 3.1571, -77.2803, 50.0, 0.0, -82.7485, 2.8615],
        [50.0, 2.8361, -74.0200, 50.0, 0.0, -82.7485, 3.4412],
        [50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0],
        [50.0, -1.1848, -84.8006, 50.0, 0.0, -82.7485, 1.0],
        [50.0, -0.9009, -85.5211, 50.0, 0.0, -82.7485, 1.0],
        [50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669],
        [50.0, -1.0, 2.0, 50.0, 0.0, 0.0, 2.3669],
        [50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792],
        [50.0, 2.49, -0.001, 50.0, -2.49, 0.001, 7.1792],
        [50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195],
        [50.0, 2.49, -0.001, 50.0, -2.49, 0.0012, 7.2195],
        [50.0, -0.001, 2.49, 50.0, 0.0009, -2.49, 4.8045],
        [50.0, -0.001, 2.49, 50.0, 0.001, -2.49, 4.8045],
        [50.0, -0.001, 2.49, 50.0, 0.0011, -2.49, 4.7461],
        [50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065],
        [50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492],
        [50.0, 2.5, 0.0, 61.0, -5.0, 29.0, 22.8977],
        [50.0, 2.5, 0.0, 56.0, -27.0, -3.0, 31.9030],
        [50.0, 2.5, 0.0, 58.0, 24.0, 15.0, 19.4535],
        [50.0, 2.5, 0.0, 50.0, 3.1736, 0.5854, 1.0],
        [50.0, 2.5, 0.0, 50.0, 3.2972, 0.0, 1.0],
        [50.0, 2.5, 0.0, 50.0, 1.8634, 0.5757, 1.0],
        [50.0, 2.5, 0.0, 50.0, 3.2592, 0.3350, 1.0],
        [
            60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644,
        ],
        [
            63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630,
        ],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [
            22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373,
        ],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ];

    #[test]
    fn published_pairs_have_their_differences_both_ways() {
        for [l1, a1, b1, l2, a2, b2, want] in PUBLISHED {
            let (first, second) = ([l1, a1, b1], [l2, a2, b2]);
            for got in [difference(first, second), difference(second, first)] {
                assert!(
                    (got - want).abs() < 5.1e-5,
                    "{first:?} {second:?}: {got}, not {want}"
                );
            }
        }
    }

    fn constant(rgb: [f32; 3]) -> Array {
        Array::new([3, 2, 2], rgb.iter().flat_map(|&v| [v; 4]).collect()).unwrap()
    }

    #[test]
    fn constants_percentiles_and_broken_pictures() {
        let (grey, green) = (constant([0.2; 3]), constant([-1.0, 1.0, -1.0]));
        assert_eq!(ciede2000(&grey, &grey).unwrap(), 0.0);
        let one = ciede2000(&grey, &green).unwrap();
        assert!((ciede2000_p95(&grey, &green).unwrap() - one).abs() < 1e-4);
        // One pixel of four: at rank 2.85 of 0, 0, 0, one.
        let mut mixed = grey.clone();
        for (c, value) in [-1.0, 1.0, -1.0].into_iter().enumerate() {
            mixed.data_mut()[4 * c] = value;
        }
        assert!((ciede2000(&mixed, &grey).unwrap() - one / 4.0).abs() < 1e-4);
        assert!((ciede2000_p95(&mixed, &grey).unwrap() - 0.85 * one).abs() < 1e-4);
        mixed.data_mut()[0] = f32::NAN;
        assert!(
            ciede2000(&mixed, &grey).unwrap().is_nan()
                && ciede2000_p95(&grey, &mixed).unwrap().is_nan()
        );
        assert!(ciede2000(&grey, &Array::zeros([3, 2, 3])).is_err());
    }
}
