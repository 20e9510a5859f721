//! Radial power spectra of latents: how much is there at which fineness.
//!
//! Every channel is windowed (Hann, so that opposite edges do not look like a jump) and Fourier transformed; power is averaged over
//! rings of equal width up to the finest frequency that both axes have, half a cycle per cell. The mean and the corners beyond are left
//! out.

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;
use vae2x_core::{Array, Error, Result};

/// The finest frequency, in cycles per cell.
const NYQUIST: f64 = 0.5;

/// Mean power in each of `bands` rings, from coarse to fine, over all channels. `NaN` for a ring that a small latent has no
/// frequency in.
///
/// # Shapes
/// `[C, h, w]`
///
/// # Errors
/// [`Error::Shape`] unless it has three axes, and sides of at least 4.
pub fn radial_power(latent: &Array, bands: usize) -> Result<Vec<f64>> {
    let [_, h, w] = latent.dims("latent")?;
    if h < 4 || w < 4 {
        let got = format!("{h} x {w}");
        return Err(Error::Shape {
            what: "latent for a spectrum".into(),
            expected: "4 x 4 cells or more".into(),
            got,
        });
    }
    let mut sums = vec![(0.0, 0usize); bands];
    for plane in latent.data().chunks_exact(h * w) {
        for (i, value) in transform(plane, h, w).into_iter().enumerate() {
            let frequency = |k: usize, n: usize| k.min(n - k) as f64 / n as f64;
            let radius = frequency(i / w, h).hypot(frequency(i % w, w));
            let band = (radius / NYQUIST * bands as f64).ceil() as usize;
            // Rings hold their outer edge; the mean has none.
            if let Some((sum, count)) = band.checked_sub(1).and_then(|band| sums.get_mut(band)) {
                *sum += value.norm_sqr();
                *count += 1;
            }
        }
    }
    Ok(sums
        .into_iter()
        .map(|(sum, count)| sum / count as f64)
        .collect())
}

/// `10 log10(power / reference)` per band.
pub fn decibels(power: &[f64], reference: &[f64]) -> Vec<f64> {
    power
        .iter()
        .zip(reference)
        .map(|(p, r)| 10.0 * (p / r).log10())
        .collect()
}

/// The windowed plane's two-dimensional Fourier transform, row-major.
fn transform(plane: &[f32], h: usize, w: usize) -> Vec<Complex<f64>> {
    let hann = |i: usize, n: usize| {
        (std::f64::consts::PI * (i as f64 + 0.5) / n as f64)
            .sin()
            .powi(2)
    };
    let at =
        |(i, &v): (usize, &f32)| Complex::new(f64::from(v) * hann(i / w, h) * hann(i % w, w), 0.0);
    let mut values: Vec<_> = plane.iter().enumerate().map(at).collect();
    let mut planner = FftPlanner::new();
    planner.plan_fft_forward(w).process(&mut values);
    let columns = planner.plan_fft_forward(h);
    for x in 0..w {
        let mut column: Vec<_> = (0..h).map(|y| values[y * w + x]).collect();
        columns.process(&mut column);
        column
            .into_iter()
            .enumerate()
            .for_each(|(y, value)| values[y * w + x] = value);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wave of `cycles` per cell along both axes.
    fn wave(cycles: [f64; 2], size: [usize; 2]) -> Array {
        let value = |i: usize| {
            let (y, x) = ((i / size[1]) as f64, (i % size[1]) as f64);
            (std::f64::consts::TAU * (cycles[0] * y + cycles[1] * x)).cos() as f32
        };
        Array::new(
            [1, size[0], size[1]],
            (0..size[0] * size[1]).map(value).collect(),
        )
        .unwrap()
    }

    #[test]
    fn a_wave_is_in_its_ring() {
        for (cycles, band) in [
            ([0.05, 0.0], 0),
            ([0.0, 0.2], 1),
            ([0.2, 0.25], 2),
            ([0.44, 0.0], 3),
        ] {
            let power = radial_power(&wave(cycles, [40, 64]), 4).unwrap();
            let total: f64 = power.iter().sum();
            assert!(power[band] / total > 0.9, "{cycles:?}: {power:?}");
        }
    }

    #[test]
    fn half_the_amplitude_is_6_decibels_less() {
        let loud = wave([0.2, 0.1], [16, 24]);
        let quiet =
            Array::new(loud.shape(), loud.data().iter().map(|v| v / 2.0).collect()).unwrap();
        let power = |a: &Array| radial_power(a, 3).unwrap();
        for difference in decibels(&power(&quiet), &power(&loud)) {
            assert!((difference + 6.0206).abs() < 1e-3, "{difference}");
        }
    }

    #[test]
    fn what_has_no_spectrum_is_refused() {
        assert!(radial_power(&Array::zeros([1, 3, 8]), 4).is_err());
        assert!(radial_power(&Array::zeros([8, 8]), 4).is_err());
    }
}
