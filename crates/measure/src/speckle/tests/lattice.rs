//! The lattice energy: dots of random sign, which it alone sees, and what has no lattice but JPEG's.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageFormat};
use rustfft::FftPlanner;

use super::*;

/// The lattice energy of what has none, in dB.
const NONE: f64 = 0.5;
const PERIODS: [usize; 4] = [2, 4, 8, 16];
const AMPLITUDES: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];

/// Noise with this amplitude at each frequency in cycles per pixel, of a standard deviation in 8-bit steps around grey.
fn noise(name: &str, side: usize, deviation: f64, amplitude: impl Fn(f64) -> f64) -> Array {
    let fft = |inverse: bool| match inverse {
        false => FftPlanner::new().plan_fft_forward(side),
        true => FftPlanner::new().plan_fft_inverse(side),
    };
    let both_ways = |values: &mut Vec<Complex<f64>>, inverse: bool| {
        for _ in 0..2 {
            fft(inverse).process(values);
            for y in 0..side {
                (0..y).for_each(|x| values.swap(y * side + x, x * side + y));
            }
        }
    };
    let white = unit(name, side * side).map(|v| Complex::new(f64::from(v), 0.0));
    let mut values: Vec<_> = white.collect();
    both_ways(&mut values, false);
    let cycles = |i: usize| i.min(side - i) as f64 / side as f64;
    for (i, value) in values.iter_mut().enumerate() {
        *value *= amplitude(cycles(i / side).hypot(cycles(i % side)));
    }
    values[0] = Complex::ZERO;
    both_ways(&mut values, true);
    let energy = values.iter().map(|v| v.re * v.re).sum::<f64>() / (side * side) as f64;
    picture([side, side], |y, x| {
        128.0 + deviation * values[y * side + x].re / energy.sqrt()
    })
}

fn white(_: f64) -> f64 {
    1.0
}

fn low_pass(cycles: f64) -> f64 {
    (-(cycles / 0.15).powi(2)).exp()
}

/// Clouds, foliage and most photos have about this spectrum.
fn inverse(cycles: f64) -> f64 {
    1.0 / cycles.max(1e-9)
}

/// Dots at each corner of a lattice's cells, bright or dark at random, as content would have them.
fn dots(period: usize, amplitude: f64, size: [usize; 2]) -> impl Fn(usize, usize) -> f64 {
    let columns = size[1].div_ceil(period);
    let signs: Vec<f32> = unit("dots", size[0].div_ceil(period) * columns).collect();
    move |y, x| match (y % period, x % period) {
        (0, 0) => amplitude * f64::from(signs[y / period * columns + x / period].signum()),
        _ => 0.0,
    }
}

/// The scores with dots of rising amplitude.
fn with_dots(base: &Array, period: usize) -> Vec<Speckle> {
    let size = picture_size(base).unwrap();
    AMPLITUDES
        .map(|amplitude| of(&saved(&plus(base, dots(period, amplitude, size)))))
        .into()
}

#[test]
fn dots_of_random_sign_are_seen_by_their_energy_alone() {
    for period in PERIODS {
        let scores = with_dots(&sky([512, 512], 0.7), period);
        for score in &scores {
            assert!(
                score.speckle_db <= score.noise_db.max(0.3) && score.jpeg_blocks.is_none(),
                "{period}: {score:?}"
            );
        }
        for pair in scores.windows(2) {
            let [less, more] = [0, 1].map(|i| pair[i].lattice_energy_db);
            assert!(more > less + 0.5, "{period}: {pair:?}");
            assert_eq!(pair[1].lattice_period, period, "{pair:?}");
        }
        assert!(
            scores[4].lattice_energy_db > 15.0,
            "{period}: {:?}",
            scores[4]
        );
    }
}

#[test]
fn texture_hides_weak_dots_and_strong_ones_rise_above_it() {
    for base in [noise("cloud", 512, 12.0, inverse), photo("chelsea.png")] {
        for period in PERIODS {
            let scores = with_dots(&base, period);
            let energies: Vec<f64> = scores.iter().map(|s| s.lattice_energy_db).collect();
            for pair in energies.windows(2) {
                assert!(
                    pair[1] >= pair[0].max(NONE) || pair[1] <= NONE,
                    "{period}: {energies:?}"
                );
            }
            assert!(
                energies[4] > 4.0 && energies[4] > energies[3] + 2.0,
                "{period}: {energies:?}"
            );
            assert_eq!(scores[4].lattice_period, period, "{:?}", scores[4]);
            assert!(scores[4].speckle_db < 1.0, "{period}: {:?}", scores[4]);
        }
    }
}

#[test]
fn stationary_noise_has_no_lattice() {
    /// What one image in hundreds may reach by chance, and what all have on average, in dB.
    const RARE: f64 = 1.0;
    const MEAN: f64 = 0.1;
    type Spectrum = fn(f64) -> f64;
    let spectra: [(&str, Spectrum); 3] =
        [("white", white), ("low-pass", low_pass), ("1/f", inverse)];
    let mut energies = Vec::new();
    for (name, spectrum) in spectra {
        for (side, deviation) in [(128, 4.0), (256, 2.0), (512, 2.0), (512, 8.0)] {
            for seed in 0..3 {
                let score = of(&saved(&noise(&seed.to_string(), side, deviation, spectrum)));
                assert!(
                    score.lattice_energy_db <= RARE && score.jpeg_blocks.is_none(),
                    "{name}, {side}, {deviation}: {score:?}"
                );
                energies.push(score.lattice_energy_db);
            }
        }
    }
    let mean = energies.iter().sum::<f64>() / energies.len() as f64;
    assert!(mean <= MEAN, "{mean}: {energies:?}");
}

#[test]
fn photos_have_no_lattice() {
    for name in ["chelsea.png", "coffee.png"] {
        let score = of(&photo(name));
        assert!(score.lattice_energy_db <= NONE, "{name}: {score:?}");
    }
}

/// The image as a JPEG file of this quality gives it.
fn as_jpeg(picture: &Array, quality: u8) -> Array {
    let [h, w] = picture_size(picture).unwrap();
    let bytes: Vec<u8> = (0..h * w)
        .flat_map(|i| [0, 1, 2].map(|c| to_u8(picture.data()[c * h * w + i])))
        .collect();
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(&bytes, w as u32, h as u32, ExtendedColorType::Rgb8)
        .unwrap();
    let read = image::load(Cursor::new(file), ImageFormat::Jpeg)
        .unwrap()
        .into_rgb8();
    let at = |i: usize| from_u8(read.as_raw()[i % (h * w) * 3 + i / (h * w)]);
    Array::new([3, h, w], (0..3 * h * w).map(at).collect()).unwrap()
}

/// Without its first rows and columns.
fn cropped(picture: &Array, [top, left]: [usize; 2]) -> Array {
    let [h, w] = picture_size(picture).unwrap();
    let (rows, columns) = (h - top, w - left);
    let at = |i: usize| {
        let (c, y, x) = (i / (rows * columns), i / columns % rows, i % columns);
        picture.data()[(c * h + top + y) * w + left + x]
    };
    Array::new(
        [3, rows, columns],
        (0..3 * rows * columns).map(at).collect(),
    )
    .unwrap()
}

#[test]
fn blocks_of_jpeg_are_recognized_at_any_offset_and_do_not_count() {
    let images = [
        ("chelsea", photo("chelsea.png")),
        ("coffee", photo("coffee.png")),
        (
            "smooth",
            noise("smooth", 512, 20.0, |r| inverse(r) * low_pass(r)),
        ),
        ("cloud", noise("cloud", 512, 20.0, inverse)),
        ("sky", sky([512, 512], 1.0)),
    ];
    let offsets: Vec<usize> = unit("offsets", 64)
        .map(|v| ((f64::from(v) + 1.0) * 4.0) as usize % 8)
        .collect();
    let mut next = 0;
    let mut strongest = 0.0f64;
    for (name, image) in &images {
        for quality in [75, 85, 90, 95] {
            let offset = [offsets[next], offsets[next + 1]];
            next += 2;
            let score = of(&cropped(&as_jpeg(image, quality), offset));
            assert!(
                score.lattice_energy_db <= NONE,
                "{name}, {quality}, {offset:?}: {score:?}"
            );
            if let Some(found) = score.jpeg_blocks {
                assert_eq!(
                    found,
                    offset.map(|n| (8 - n) % 8),
                    "{name}, {quality}: {score:?}"
                );
            }
            assert!(
                quality > 90 || score.jpeg_blocks.is_some(),
                "{name}, {quality}, {offset:?}: {score:?}"
            );
            let of_blocks = score.periods.iter().find(|p| p.period == 8).unwrap();
            strongest = strongest.max(of_blocks.lattice_energy_db);
        }
    }
    // They would count otherwise.
    assert!(strongest > 5.0, "{strongest}");
}
