//! The energy of fine detail by its place in the pixel lattice.
//!
//! A grid whose dots change their sign with the content cancels in the first-order score, and yet is seen: at some places of a cell
//! there is always more fine detail than at others. So the energy of what a pixel differs from its four neighbours by is averaged over
//! each block by phase, the place modulo a period, in decibels. Each block is asked for the difference between the two phases that
//! the *other half* of the blocks names as those with the most and the least: without a lattice its mean is zero, whatever the texture, and
//! with one it is the ratio of the energies, however strong. Every block counts alike, so that a few with edges do not decide.
//!
//! Only phases that are one modulo half the period are compared, four each: what half the period has, too, is its own.

use std::ops::Range;

use vae2x_core::Array;

/// Energy that is as good as none, in squared 8-bit steps: of a checkerboard of a quarter of a step.
const UNSEEN: f64 = 0.25;
/// Standard errors that are called noise.
const DEVIATIONS: f64 = 3.0;
/// By how much more, over the number of blocks less one, few blocks may stray: Student's distribution at three deviations.
const FEW: f64 = 3.0;
/// Phases that are one modulo half a period.
const MATES: usize = 4;

/// How the energy of fine detail differs between the phases of a period, and not of half of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Contrast {
    /// Mean over blocks, in dB; of either sign without a lattice.
    pub mean: f64,
    /// What chance may reach, in dB.
    pub noise: f64,
}

/// Levels of blocks for one period: `[block][group of mates][mate]`, in dB.
pub(super) struct Profiles {
    period: usize,
    levels: Vec<Vec<[f64; MATES]>>,
}

/// Energies of fine detail in one block, the channels' mean, row by row, in squared 8-bit steps.
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
        for (sum, (y, x)) in all.iter_mut().zip(places) {
            *sum += detail(y, x).powi(2) / 3.0;
        }
    }
    all
}

impl Contrast {
    /// What is more than chance, in dB. Chance and lattice add as squares, so that the excess of a strong lattice is the lattice.
    pub fn excess(&self) -> f64 {
        match self.mean > self.noise {
            true => (self.mean.powi(2) - self.noise.powi(2)).sqrt(),
            false => 0.0,
        }
    }
}

impl Profiles {
    pub fn new(period: usize) -> Self {
        Self {
            period,
            levels: Vec::new(),
        }
    }

    /// Adds a block of so many columns; sides are multiples of the period.
    pub fn add(&mut self, energies: &[f64], columns: usize) {
        let (period, half) = (self.period, self.period / 2);
        let mut means = vec![0.0; period * period];
        let pixels = energies.len() as f64 / means.len() as f64;
        for (i, energy) in energies.iter().enumerate() {
            means[i / columns % period * period + i % columns % period] += energy / pixels;
        }
        let level = |y: usize, x: usize| 10.0 * (means[y * period + x] + UNSEEN).log10();
        let groups = (0..half * half).map(|i| {
            let (y, x) = (i / half, i % half);
            [
                level(y, x),
                level(y, x + half),
                level(y + half, x),
                level(y + half, x + half),
            ]
        });
        self.levels.push(groups.collect());
    }

    /// The contrast that all blocks share.
    pub fn contrast(&self) -> Contrast {
        let named = [0, 1].map(|half| self.named_by(half));
        let of_block = |(i, levels): (usize, &Vec<[f64; MATES]>)| {
            let Named { group, low, high } = named[(i + 1) % 2];
            levels[group][high] - levels[group][low]
        };
        let contrasts: Vec<f64> = self.levels.iter().enumerate().map(of_block).collect();
        let n = contrasts.len() as f64;
        if n < 2.0 {
            return Contrast {
                mean: 0.0,
                noise: f64::INFINITY,
            };
        }
        let mean = contrasts.iter().sum::<f64>() / n;
        let variance = contrasts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Contrast {
            mean,
            noise: DEVIATIONS * (1.0 + FEW / (n - 1.0)) * (variance / n).sqrt(),
        }
    }

    /// The phases of one group whose levels differ most in every second block, from the first or from the second on.
    fn named_by(&self, half: usize) -> Named {
        let groups = self.period * self.period / MATES;
        let mut sum = vec![[0.0; MATES]; groups];
        for block in self.levels.iter().skip(half).step_by(2) {
            for (sums, levels) in sum.iter_mut().zip(block) {
                sums.iter_mut().zip(levels).for_each(|(s, l)| *s += l);
            }
        }
        let contrast = |group: usize| {
            let (low, high) = extremes(&sum[group]);
            (
                sum[group][high] - sum[group][low],
                Named { group, low, high },
            )
        };
        let first = contrast(0);
        let greater = |a: (f64, Named), b: (f64, Named)| if b.0 > a.0 { b } else { a };
        (1..groups).map(contrast).fold(first, greater).1
    }
}

/// Two phases of a group.
#[derive(Clone, Copy)]
struct Named {
    group: usize,
    low: usize,
    high: usize,
}

/// Indices of the least and the greatest value.
fn extremes(values: &[f64; MATES]) -> (usize, usize) {
    (1..MATES).fold((0, 0), |(low, high), i| {
        (
            if values[i] < values[low] { i } else { low },
            if values[i] > values[high] { i } else { high },
        )
    })
}
