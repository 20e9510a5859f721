//! Transfers the colours of one image to another, which keeps its own detail.
//!
//! [`Matching::Low`] is a pyramid with one level for brightness and one for colour: both images are
//! reduced to a grid, and the difference, enlarged again, is added. The filter is Lanczos, whose
//! cutoff is steep: patterns of up to one step are not transferred, those from three steps on
//! nearly fully. Brightness, in which detail is seen, has a coarse grid; what remains, the colour
//! differences, a fine one, as in video, since small coloured objects shift with the rest. A
//! decoder's own grid of speckles would come with them, so a colour pattern that repeats across the
//! whole image is removed first.
//!
//! The change of one frame serves a whole clip: [`Correction`].
//!
//! [`Matching::Stats`] gives each channel the other's mean and standard deviation: for references
//! that show something else.

use vae2x_core::{Array, Error, Result};

use crate::pixels::{picture_size, u8_steps};
use crate::resample::{Filter, resize, resize_planes};

/// The part of the reference's colours that is transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// Everything coarser than two grids, place by place.
    Low {
        /// Pixels of the image between the points of brightness.
        brightness: usize,
        /// Pixels of the image between the points of colour; patterns that repeat after 8 points
        /// are left out.
        colour: usize,
    },
    /// Mean and standard deviation of each channel.
    Stats,
}

/// The image with the reference's colours; values may leave [-1, 1] a little.
///
/// # Shapes
/// image `[3, H, W]`, reference `[3, h, w]` of the same view in any size -> `[3, H, W]`
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless both are images.
pub fn match_color(image: &Array, reference: &Array, matching: Matching) -> Result<Array> {
    Correction::between(image, reference, matching)?.apply(image)
}

/// The change that gives one image the colours of another. Applied to all frames of a clip, it
/// cannot make them flicker.
#[derive(Clone, Debug)]
pub struct Correction(Change);

#[derive(Clone, Debug)]
enum Change {
    /// `[3, H, W]`, added place by place.
    Field(Array),
    /// Of each channel.
    Channels([Restated; 3]),
}

impl Correction {
    /// The change that takes `image` to the reference's colours.
    ///
    /// # Shapes
    /// image `[3, H, W]`, reference `[3, h, w]` of the same view in any size
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] unless both are images.
    pub fn between(image: &Array, reference: &Array, matching: Matching) -> Result<Self> {
        let size = picture_size(image)?;
        picture_size(reference)?;
        match matching {
            Matching::Low { brightness, colour } => {
                let brightness = resize_planes(
                    &luma(&difference(image, reference, brightness)?)?,
                    size,
                    Filter::Lanczos3,
                )?;
                let mut colours = difference(image, reference, colour)?;
                remove_pattern(&mut colours)?;
                let mut field = resize(&colours, size, Filter::Lanczos3)?;
                let own = luma(&field)?;
                let plane = size[0] * size[1];
                for (i, value) in field.data_mut().iter_mut().enumerate() {
                    *value += brightness.data()[i % plane] - own.data()[i % plane];
                }
                Ok(Self(Change::Field(field)))
            }
            Matching::Stats => {
                let (own, wanted) = (Statistics::of(image)?, Statistics::of(reference)?);
                Ok(Self::between_statistics(&own, &wanted))
            }
        }
    }

    /// The change that gives an image of statistics `own` those that are `wanted`.
    pub fn between_statistics(own: &Statistics, wanted: &Statistics) -> Self {
        let channel = |c: usize| Restated::between(own.0[c], wanted.0[c]);
        Self(Change::Channels(std::array::from_fn(channel)))
    }

    /// The changed image; values may leave [-1, 1] a little.
    ///
    /// # Shapes
    /// `[3, H, W]` of the first image's size -> the same
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] for an image of another size.
    pub fn apply(&self, image: &Array) -> Result<Array> {
        let [height, width] = picture_size(image)?;
        let mut out = image.clone();
        match &self.0 {
            Change::Field(field) => {
                if field.shape() != image.shape() {
                    return Err(Error::Shape {
                        what: "image whose colours are changed".into(),
                        expected: format!("{:?}, as the first", field.shape()),
                        got: format!("{:?}", image.shape()),
                    });
                }
                let values = out.data_mut().iter_mut().zip(field.data());
                values.for_each(|(value, change)| *value += change);
            }
            Change::Channels(channels) => {
                let planes = out.data_mut().chunks_exact_mut(height * width);
                for (values, channel) in planes.zip(channels) {
                    values.iter_mut().for_each(|v| *v = channel.apply(*v));
                }
            }
        }
        Ok(out)
    }
}

/// Mean and standard deviation of each channel of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics([(f64, f64); 3]);

impl Statistics {
    /// Those of `[3, H, W]`.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] unless it is an image.
    pub fn of(image: &Array) -> Result<Self> {
        let [height, width] = picture_size(image)?;
        let plane = height * width;
        let channel = |c: usize| mean_and_deviation(&image.data()[c * plane..][..plane]);
        Ok(Self(std::array::from_fn(channel)))
    }

    /// The weighted mean with `newer`, whose weight is `share` of 1.
    #[must_use]
    pub fn moved_to(&self, newer: &Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| a + (b - a) * share;
        let channel = |c: usize| {
            let ((mean, deviation), (new_mean, new_deviation)) = (self.0[c], newer.0[c]);
            (mix(mean, new_mean), mix(deviation, new_deviation))
        };
        Self(std::array::from_fn(channel))
    }
}

/// Reference minus image on a grid of `step` pixels of the image.
fn difference(image: &Array, reference: &Array, step: usize) -> Result<Array> {
    let grid = picture_size(image)?
        .map(|side| (side as f64 / step.max(1) as f64).round().max(1.0) as usize);
    let mut difference = resize(reference, grid, Filter::Lanczos3)?;
    let own = resize(image, grid, Filter::Lanczos3)?;
    difference
        .data_mut()
        .iter_mut()
        .zip(own.data())
        .for_each(|(r, p)| *r -= p);
    Ok(difference)
}

/// Points after which the grids of decoders repeat, on a colour grid of two pixels at base
/// resolution: a diffusion model's tokens are two latent cells of eight pixels wide, and the stages
/// of decoders repeat after 2, 4 and 8 pixels.
const LATTICE: usize = 8;
/// Fewer repetitions cannot separate a pattern from what the image shows.
const REPETITIONS: usize = 64;

/// Subtracts from each point the mean of all points at its place of the lattice, and keeps the mean
/// of all.
fn remove_pattern(grid: &mut Array) -> Result<()> {
    let [h, w] = picture_size(grid)?;
    if (h / LATTICE) * (w / LATTICE) < REPETITIONS {
        return Ok(());
    }
    let place = |i: usize| i / w % LATTICE * LATTICE + i % w % LATTICE;
    for plane in grid.data_mut().chunks_exact_mut(h * w) {
        let mut sums = [(0.0, 0.0); LATTICE * LATTICE];
        for (i, &value) in plane.iter().enumerate() {
            let (sum, count) = &mut sums[place(i)];
            (*sum, *count) = (*sum + f64::from(value), *count + 1.0);
        }
        let (mean, _) = mean_and_deviation(plane);
        let pattern = sums.map(|(sum, count)| (sum / count - mean) as f32);
        plane
            .iter_mut()
            .enumerate()
            .for_each(|(i, value)| *value -= pattern[place(i)]);
    }
    Ok(())
}

/// Brightness of sRGB values, `[3, h, w]` -> `[1, h, w]` (ITU-R BT.709).
fn luma(image: &Array) -> Result<Array> {
    const WEIGHTS: [f32; 3] = [0.2126, 0.7152, 0.0722];
    let [h, w] = picture_size(image)?;
    let plane = h * w;
    let at = |i: usize| {
        (0..3)
            .map(|c| WEIGHTS[c] * image.data()[c * plane + i])
            .sum()
    };
    Array::new([1, h, w], (0..plane).map(at).collect())
}

/// `(x - from) gain + to`: another mean and deviation; flat channels only get the mean.
#[derive(Clone, Copy, Debug)]
struct Restated {
    from: f64,
    gain: f64,
    to: f64,
}

impl Restated {
    fn between((from, own_deviation): (f64, f64), (to, deviation): (f64, f64)) -> Self {
        let gain = if own_deviation > FLAT {
            deviation / own_deviation
        } else {
            1.0
        };
        Self { from, gain, to }
    }

    fn apply(self, value: f32) -> f32 {
        ((f64::from(value) - self.from) * self.gain + self.to) as f32
    }
}

/// A channel that varies by less than a tenth of an 8-bit step has no contrast to be scaled.
const FLAT: f64 = u8_steps(0.1);

fn mean_and_deviation(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values
        .iter()
        .map(|&v| (f64::from(v) - mean).powi(2))
        .sum::<f64>()
        / n;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_testkit::compare::assert_close;

    const LOW: Matching = Matching::Low {
        brightness: 8,
        colour: 2,
    };

    /// Waves of these periods; those of the second list in red and blue so that brightness stays.
    fn waves(grey: &[f64], coloured: &[f64], size: [usize; 2]) -> Array {
        let value = |c: usize, y: usize, x: usize| {
            let wave = |period: &f64| (std::f64::consts::TAU * (x + y) as f64 / period).sin();
            let tint = [0.1, 0.0, -0.1 * 0.2126 / 0.0722][c];
            (grey.iter().map(wave).sum::<f64>() * 0.1
                + coloured.iter().map(wave).sum::<f64>() * tint) as f32
        };
        let plane = size[0] * size[1];
        let data = (0..3 * plane)
            .map(|i| value(i / plane, i / size[1] % size[0], i % size[1]))
            .collect();
        Array::new([3, size[0], size[1]], data).unwrap()
    }

    fn plus(image: &Array, shift: [f32; 3]) -> Array {
        let plane = image.data().len() / 3;
        let data = image
            .data()
            .iter()
            .enumerate()
            .map(|(i, v)| v + shift[i / plane])
            .collect();
        Array::new(image.shape(), data).unwrap()
    }

    /// The part away from the edges, where reduced grids have nothing to look at.
    fn middle(image: &Array) -> Array {
        let [_, h, w] = image.dims("image").unwrap();
        let rows = image
            .data()
            .chunks_exact(w)
            .enumerate()
            .filter(|(i, _)| (24..h - 24).contains(&(i % h)));
        let data: Vec<f32> = rows
            .flat_map(|(_, row)| &row[24..w - 24])
            .copied()
            .collect();
        Array::new([3, h - 48, w - 48], data).unwrap()
    }

    #[test]
    fn a_shift_is_undone_and_detail_stays() {
        let image = waves(&[3.0, 6.0], &[40.0], [96, 128]);
        let shifted = plus(&image, [0.1, -0.05, 0.02]);
        for matching in [LOW, Matching::Stats] {
            assert_close(
                "matched",
                &match_color(&shifted, &image, matching).unwrap(),
                &image,
                0.01,
            );
        }
        let small = resize(&image, [48, 64], Filter::Area).unwrap();
        assert_close(
            "another size",
            &match_color(&shifted, &small, LOW).unwrap(),
            &image,
            0.02,
        );
    }

    #[test]
    fn coarse_waves_are_taken_over_and_fine_ones_are_not() {
        let size = [160, 160];
        let image = waves(&[5.0], &[], size);
        let reference = waves(&[64.0, 8.0, 4.0, 2.0], &[11.0, 2.0], size);
        let want = waves(&[5.0, 64.0], &[11.0], size);
        let matched = match_color(&image, &reference, LOW).unwrap();
        assert_close("matched", &middle(&matched), &middle(&want), 0.04);
    }

    #[test]
    fn grids_that_repeat_all_over_are_not_taken_over() {
        let size = [160, 160];
        let image = waves(&[5.0], &[], size);
        for period in [4.0, 8.0, 16.0] {
            let reference = waves(&[5.0], &[40.0, period], size);
            let want = waves(&[5.0], &[40.0], size);
            let matched = match_color(&image, &reference, LOW).unwrap();
            assert_close(
                &format!("{period}"),
                &middle(&matched),
                &middle(&want),
                0.04,
            );
        }
    }

    #[test]
    fn statistics_are_the_references_whatever_it_shows() {
        let reference = plus(&waves(&[9.0], &[31.0], [40, 60]), [0.2, 0.0, -0.3]);
        let matched = match_color(
            &waves(&[7.0], &[7.0], [64, 64]),
            &reference,
            Matching::Stats,
        )
        .unwrap();
        for c in 0..3 {
            let (mean, deviation) = mean_and_deviation(&matched.data()[c * 4096..][..4096]);
            let (want_mean, want_deviation) =
                mean_and_deviation(&reference.data()[c * 2400..][..2400]);
            assert!((mean - want_mean).abs() < 1e-5 && (deviation - want_deviation).abs() < 1e-5);
        }
        let flat = Array::new([3, 4, 4], vec![0.5; 48]).unwrap();
        let matched = match_color(&flat, &reference, Matching::Stats).unwrap();
        assert!(matched.data().iter().all(|v| v.is_finite()));
    }

    #[test]
    fn pictures_below_a_step_get_the_mean() {
        let matched = match_color(
            &plus(&Array::zeros([3, 4, 4]), [0.3; 3]),
            &Array::zeros([3, 2, 2]),
            LOW,
        )
        .unwrap();
        assert!(matched.data().iter().all(|v| v.abs() < 1e-6));
    }
}
