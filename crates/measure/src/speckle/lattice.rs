//! The energy of fine detail by its place in the pixel lattice.
//!
//! A grid whose dots change their sign with the content cancels in the first-order score, and yet is seen: at some places of a cell
//! there is always more fine detail than at others. So the energy of what a pixel differs from its four neighbours by is averaged over
//! each block by phase, the place modulo a period. Profiles of *different* blocks are multiplied: without a lattice that mean is zero,
//! whatever the texture; with one it is the variance of the energy between phases. Every block counts alike, as its energies are
//! relative to its mean.

use std::ops::Range;

use vae2x_core::Array;

/// Energy that is as good as none, in squared 8-bit steps: of a checkerboard of a quarter of a step.
const UNSEEN: f64 = 0.25;
/// Standard errors that are called noise.
const DEVIATIONS: f64 = 3.0;

/// How the energy of fine detail varies between the phases of a period, and not of half of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Variation {
    /// Standard deviation over the mean; 0 for none.
    pub deviation: f64,
    /// What chance may reach.
    pub noise: f64,
}

/// Profiles of blocks for one period: `[block][phase]`, means over the pixels of a phase less the mean over half the period's.
pub(super) struct Profiles {
    period: usize,
    profiles: Vec<Vec<f64>>,
}

/// Energies of fine detail in one block relative to their mean, the channels' mean, row by row.
pub(super) fn energies(
    picture: &Array,
    size: [usize; 2],
    rows: Range<usize>,
    columns: Range<usize>,
) -> Vec<f64> {
    let [height, width] = size;
    let mut all = vec![0.0; rows.len() * columns.len()];
    for channel in 0..3 {
        let plane = &picture.data()[channel * height * width..][..height * width];
        let at =
            |y: usize, x: usize| (f64::from(plane[y * width + x]) + 1.0).clamp(0.0, 2.0) * 127.5;
        // The image is continued by its edge.
        let near = |n: usize, end: usize| [n.saturating_sub(1), (n + 1).min(end - 1)];
        let detail = |y: usize, x: usize| {
            let [above, below] = near(y, height);
            let [left, right] = near(x, width);
            at(y, x) - (at(above, x) + at(below, x) + at(y, left) + at(y, right)) / 4.0
        };
        let places = rows
            .clone()
            .flat_map(|y| columns.clone().map(move |x| (y, x)));
        let energies: Vec<f64> = places.map(|(y, x)| detail(y, x).powi(2)).collect();
        let mean = energies.iter().sum::<f64>() / energies.len() as f64;
        for (sum, energy) in all.iter_mut().zip(energies) {
            *sum += energy / (mean + UNSEEN) / 3.0;
        }
    }
    all
}

impl Profiles {
    pub fn new(period: usize) -> Self {
        Self {
            period,
            profiles: Vec::new(),
        }
    }

    /// Adds a block of so many columns; sides are multiples of the period.
    pub fn add(&mut self, energies: &[f64], columns: usize) {
        let period = self.period;
        let mut profile = vec![0.0; period * period];
        for (i, energy) in energies.iter().enumerate() {
            let phase = [i / columns % period, i % columns % period];
            profile[phase[0] * period + phase[1]] += energy;
        }
        let pixels = energies.len() as f64 / profile.len() as f64;
        profile.iter_mut().for_each(|sum| *sum /= pixels);
        // What half the period has, too, is its own.
        let half = period / 2;
        for y in 0..half {
            for x in 0..half {
                let same = [[y, x], [y, x + half], [y + half, x], [y + half, x + half]]
                    .map(|[y, x]| y * period + x);
                let mean = same.iter().map(|&i| profile[i]).sum::<f64>() / 4.0;
                same.iter().for_each(|&i| profile[i] -= mean);
            }
        }
        self.profiles.push(profile);
    }

    /// The variation that all blocks share.
    pub fn variation(&self) -> Variation {
        let phases = (self.period * self.period) as f64;
        let n = self.profiles.len() as f64;
        let mut sum = vec![0.0; self.period * self.period];
        let mut squares = 0.0;
        for profile in &self.profiles {
            sum.iter_mut()
                .zip(profile)
                .for_each(|(sum, value)| *sum += value);
            squares += profile.iter().map(|value| value * value).sum::<f64>();
        }
        let pairs = n * (n - 1.0);
        if pairs <= 0.0 {
            return Variation {
                deviation: 0.0,
                noise: f64::INFINITY,
            };
        }
        // A sum over pairs is the square of a sum without the sum of squares.
        let products = sum.iter().map(|sum| sum * sum).sum::<f64>() - squares;
        let variance = products / pairs / phases;
        // Three quarters of the phases are free of half the period's.
        let free = 0.75 * phases;
        let own = squares / n / phases;
        let chance = DEVIATIONS * own * (2.0 / pairs / free).sqrt();
        Variation {
            deviation: variance.max(0.0).sqrt(),
            noise: chance.sqrt(),
        }
    }
}
