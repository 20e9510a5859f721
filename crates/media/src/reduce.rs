//! A decoded image at a half or a quarter of its size: a slight blur and an antialiased reduction
//! in one kernel.
//!
//! The kernel is a Catmull-Rom cubic as wide as the reduction asks for, after a Gaussian of `BLUR`.
//! The cubic alone keeps fine detail but overshoots at edges by one part in twenty; the blur
//! removes more than half of that, and the finest detail, where decoders leave their grids.
//! `vae2x/examples/finishing.rs` compares it with other filters.
//!
//! Each frame is reduced by itself, so a stream of frames needs the memory of one.

use vae2x_core::{Array, Error, Result};

use crate::convolve::{Kernel, convolve};
use crate::pixels::{self, picture_size};

/// Standard deviation of the blur, in pixels of the result: the least that keeps overshoots near 2
/// % of an edge's height.
const BLUR: f64 = 0.3;

/// The values that are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Light {
    /// sRGB values as they are: what encoders take, and what most programs do.
    #[default]
    Encoded,
    /// Light itself, as a lens would: small bright things keep their brightness.
    Linear,
}

/// Reduces an image by `factor` along both axes.
///
/// # Shapes
/// `[3, factor h, factor w]` -> `[3, h, w]`; values may leave [-1, 1] a little
///
/// # Errors
/// [`Error::Shape`] unless the factor is 1, 2 or 4 and divides the image's sides.
pub fn reduce(image: &Array, factor: usize, light: Light) -> Result<Array> {
    let [height, width] = picture_size(image)?;
    if ![1, 2, 4].contains(&factor) || height % factor != 0 || width % factor != 0 {
        return Err(Error::Shape {
            what: "image to reduce".into(),
            expected: "a factor of 1, 2 or 4 that divides its sides".into(),
            got: format!("{width}x{height} by {factor}"),
        });
    }
    match (factor, light) {
        (1, _) => Ok(image.clone()),
        (_, Light::Encoded) => convolve(image, &kernel(factor), factor),
        (_, Light::Linear) => {
            let light = mapped(image.clone(), pixels::to_light);
            Ok(mapped(
                convolve(&light, &kernel(factor), factor)?,
                pixels::from_light,
            ))
        }
    }
}

fn mapped(mut image: Array, f: impl Fn(f32) -> f32) -> Array {
    image.data_mut().iter_mut().for_each(|v| *v = f(*v));
    image
}

/// The blur and the cubic for an even factor.
fn kernel(factor: usize) -> Kernel {
    let scale = factor as f64;
    let cubic = Kernel::sampled(4 * factor, |x| catmull_rom(x / scale));
    cubic.then(&Kernel::gaussian(BLUR * scale))
}

/// Catmull and Rom, "A class of local interpolating splines", 1974; zero from 2 on.
fn catmull_rom(x: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula::unit;
    use vae2x_testkit::compare::assert_same;

    /// Values of a step edge, as a sensor sees it, reduced: (distance to the edge in pixels of the
    /// result, value in [0, 1]).
    fn edge(factor: usize, light: Light) -> Vec<(f64, f64)> {
        const PIXELS: usize = 64;
        const PHASES: usize = 64;
        let mut seen: Vec<(f64, f64)> = (0..PHASES)
            .flat_map(|phase| {
                let place = (PIXELS / 2) as f64 + (phase * factor) as f64 / PHASES as f64;
                let covered = |x: usize| ((x + 1) as f64 - place).clamp(0.0, 1.0);
                let value = |x: usize| match light {
                    Light::Encoded => pixels::from_unit(covered(x) as f32 * 0.5 + 0.25),
                    Light::Linear => pixels::from_linear(covered(x) as f32 * 0.5 + 0.25),
                };
                let row: Vec<f32> = (0..PIXELS).map(value).collect();
                let image = Array::new([3, factor, PIXELS], row.repeat(3 * factor)).unwrap();
                let small = reduce(&image, factor, light).unwrap();
                let bright = |v: f32| match light {
                    Light::Encoded => pixels::to_unit(v),
                    Light::Linear => pixels::to_linear(v),
                };
                let centre = move |i: usize| (i as f64 + 0.5) - place / factor as f64;
                let values = small.data()[..PIXELS / factor].to_vec();
                values
                    .into_iter()
                    .enumerate()
                    .map(move |(i, v)| (centre(i), (f64::from(bright(v)) - 0.25) * 2.0))
            })
            .collect();
        seen.sort_by(|a, b| a.0.total_cmp(&b.0));
        seen
    }

    #[test]
    fn edges_neither_ring_nor_soften() {
        for (factor, light) in [(2, Light::Encoded), (2, Light::Linear), (4, Light::Encoded)] {
            let edge = edge(factor, light);
            let overshoot = edge
                .iter()
                .map(|&(_, v)| (v - 1.0).max(-v))
                .fold(0.0, f64::max);
            assert!(overshoot < 0.025, "{factor} {light:?}: {overshoot}");
            let last_dark = edge.iter().rfind(|(_, v)| *v <= 0.1).unwrap().0;
            let first_bright = edge.iter().find(|(_, v)| *v >= 0.9).unwrap().0;
            // The mean over each pixel, sharpest of all, takes 0.8 of a pixel from 10 to 90 %.
            assert!(
                first_bright - last_dark < 1.25,
                "{factor} {light:?}: {}",
                first_bright - last_dark
            );
        }
    }

    #[test]
    fn fine_detail_is_kept_and_finer_one_gone() {
        // Frequencies in cycles per pixel of the result, and what should be left of a sine.
        for factor in [2, 4] {
            let at = |frequency: f64| kernel(factor).response(frequency / factor as f64);
            assert!((at(0.0) - 1.0).abs() < 1e-12);
            assert!(at(0.25) > 0.8, "half of the finest: {}", at(0.25));
            assert!(
                at(0.75).abs() < 0.06 && at(1.0).abs() < 0.02,
                "beyond the finest: {} {}",
                at(0.75),
                at(1.0)
            );
        }
        // The grid of single pixels that 2x decoders may leave.
        assert!(kernel(2).response(0.5).abs() < 1e-12);
    }

    #[test]
    fn constants_stay_and_no_value_leaves_the_range() {
        let constant = Array::new([3, 8, 12], vec![0.3; 288]).unwrap();
        for light in [Light::Encoded, Light::Linear] {
            let small = reduce(&constant, 4, light).unwrap();
            assert_eq!(small.shape(), [3, 2, 3]);
            assert!(
                small.data().iter().all(|v| (v - 0.3).abs() < 1e-5),
                "{light:?}"
            );
            let noise = Array::new(
                [3, 16, 16],
                unit("noise", 768).map(|v| v.signum()).collect(),
            )
            .unwrap();
            assert!(
                reduce(&noise, 2, light)
                    .unwrap()
                    .data()
                    .iter()
                    .all(|v| v.abs() <= 1.0)
            );
        }
    }

    #[test]
    fn light_is_averaged_as_light() {
        let fine = (0..3 * 128)
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        let fine = Array::new([3, 4, 32], fine).unwrap();
        // In the middle, as mirrors at the edges break the pattern.
        let grey = |light| reduce(&fine, 2, light).unwrap().data()[8];
        assert!(grey(Light::Encoded).abs() < 1e-6);
        // Half of the light is 188 of 255.
        assert!((grey(Light::Linear) - pixels::from_linear(0.5)).abs() < 1e-3);
    }

    #[test]
    fn a_factor_of_one_changes_nothing_and_others_are_refused() {
        let image = Array::new([3, 6, 4], unit("p", 72).collect()).unwrap();
        assert_same("whole", &reduce(&image, 1, Light::Linear).unwrap(), &image);
        assert!(reduce(&image, 3, Light::Encoded).is_err());
        assert!(matches!(
            reduce(&image, 4, Light::Encoded),
            Err(Error::Shape { got, .. }) if got == "4x6 by 4"
        ));
    }
}
