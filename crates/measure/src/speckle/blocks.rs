//! An image as blocks, and each block's spectrum at the lattice frequencies and around them.
//!
//! A block is four largest periods wide, so lattice frequencies lie four bins apart. Under a Hann window a wave on a bin reaches one bin
//! further and no more: the bins two away from a lattice frequency see the neighbourhood and nothing of the grid. From each block the
//! plane that fits it best is subtracted, or else a sky's gradient, equal in all blocks, would look like a grid.
//!
//! Layout: blocks in reading order from the top left; what is left over at the right and the bottom is not measured. Values are in
//! 8-bit steps.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use vae2x_core::{Array, Error, Result};

use super::jpeg;
use super::lattice::{Contrast, Profiles, energies};

/// Bins between lattice frequencies, and largest periods in a block.
pub(super) const SPACING: usize = 4;
/// Brightness of red, green, blue (ITU-R BT.601).
const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

/// Where blocks and frequencies are.
pub(super) struct Layout {
    size: [usize; 2],
    /// Pixels of a block's side.
    side: usize,
    /// Bins of all waves, `[y, x]`, from the finest period to the coarsest.
    waves: Vec<[usize; 2]>,
    window: Vec<f64>,
    fft: Arc<dyn Fft<f64>>,
}

/// A block's spectrum at one frequency, in one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub value: Complex<f64>,
    /// Mean power of the bins around it.
    pub level: f64,
}

/// A block's statistics and spectrum.
pub(super) struct Block {
    /// Row and column among the blocks.
    pub place: [usize; 2],
    /// Mean, 0 to 255.
    pub brightness: f64,
    /// Deviation of white noise that has the block's power between the lattice frequencies.
    pub roughness: f64,
    /// By wave, then channel.
    pub lines: Vec<[Line; 3]>,
}

impl Layout {
    /// # Errors
    /// [`Error::Shape`] if the image has fewer than two blocks each way.
    pub fn new(size: [usize; 2], largest_period: usize) -> Result<Self> {
        let side = SPACING * largest_period;
        if size.iter().any(|&n| n < 2 * side) {
            return Err(Error::Shape {
                what: "image for a speckle score".into(),
                expected: format!("at least {0}x{0} pixels", 2 * side),
                got: format!("{}x{}", size[1], size[0]),
            });
        }
        let window = (0..side)
            .map(|i| {
                (std::f64::consts::PI * i as f64 / side as f64)
                    .sin()
                    .powi(2)
            })
            .collect();
        let waves = periods(side)
            .flat_map(|period| waves_of(side, period))
            .collect();
        Ok(Self {
            size,
            side,
            waves,
            window,
            fft: FftPlanner::new().plan_fft_forward(side),
        })
    }

    /// Each period with its waves' indices.
    pub fn periods(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut next = 0;
        periods(self.side).map(move |period| {
            let first = next;
            next += waves_of(self.side, period).len();
            (period, first..next)
        })
    }

    /// Power at a wave's bin if its amplitude is `amplitude`.
    pub fn level_of(&self, wave: usize, amplitude: f64) -> f64 {
        amplitude * amplitude * self.gain(wave)
    }

    /// The inverse of [`Self::level_of`], squared.
    pub fn squared_amplitude(&self, wave: usize, power: f64) -> f64 {
        power / self.gain(wave)
    }

    /// Power per squared amplitude: half of a wave is at the mirrored bin, unless that is the same.
    fn gain(&self, wave: usize) -> f64 {
        let sum = self.window.iter().sum::<f64>().powi(2);
        let is_own_mirror = self.waves[wave].iter().all(|bin| 2 * bin % self.side == 0);
        if is_own_mirror {
            sum * sum
        } else {
            sum * sum / 4.0
        }
    }

    /// How the energy of fine detail in some blocks differs between the phases of each period.
    pub fn contrasts(&self, picture: &Array, blocks: &[&Block]) -> Vec<Contrast> {
        let energies: Vec<Vec<f64>> = blocks
            .par_iter()
            .map(|block| {
                let [rows, columns] = block.place.map(|n| n * self.side..(n + 1) * self.side);
                energies(picture, self.size, rows, columns)
            })
            .collect();
        let contrast = |period: usize| {
            let mut profiles = Profiles::new(period);
            energies
                .iter()
                .for_each(|block| profiles.add(block, self.side));
            profiles.contrast()
        };
        periods(self.side).map(contrast).collect()
    }

    /// The row and column, modulo 8, where the blocks of a JPEG file began that the image once was.
    pub fn jpeg_blocks(&self, picture: &Array, blocks: &[&Block]) -> Option<[usize; 2]> {
        let brightness = |block: &&Block| {
            let channels = [0, 1, 2].map(|c| self.samples(picture, block.place, c));
            let at = |i: usize| (0..3).map(|c| LUMA[c] * channels[c][i]).sum();
            let square: Vec<f64> = (0..self.side * self.side).map(at).collect();
            (block.place.map(|n| n * self.side), square)
        };
        let step = blocks.len().div_ceil(jpeg::SQUARES).max(1);
        let squares: Vec<_> = blocks.iter().step_by(step).map(brightness).collect();
        jpeg::blocks(&squares, self.side)
    }

    /// All blocks of an image of this layout's size.
    pub fn blocks(&self, picture: &Array) -> Vec<Block> {
        let [rows, columns] = self.size.map(|n| n / self.side);
        let places: Vec<[usize; 2]> = (0..rows * columns)
            .map(|i| [i / columns, i % columns])
            .collect();
        places
            .into_par_iter()
            .map(|place| self.block(picture, place))
            .collect()
    }

    fn block(&self, picture: &Array, place: [usize; 2]) -> Block {
        let mut block = Block {
            place,
            brightness: 0.0,
            roughness: 0.0,
            lines: vec![[Line::NONE; 3]; self.waves.len()],
        };
        let energy = self.window.iter().map(|w| w * w).sum::<f64>().powi(2);
        for (channel, luma) in LUMA.into_iter().enumerate() {
            let mut samples = self.samples(picture, place, channel);
            block.brightness += luma * self.flatten(&mut samples);
            let power = self.spectrum(&samples);
            block.roughness += self.between(&power) / energy / 3.0;
            for (lines, wave) in block.lines.iter_mut().zip(&self.waves) {
                lines[channel] = Line {
                    value: power[self.index(*wave, [0, 0])],
                    level: self.around(&power, *wave),
                };
            }
        }
        block.roughness = block.roughness.sqrt();
        block
    }

    fn samples(&self, picture: &Array, place: [usize; 2], channel: usize) -> Vec<f64> {
        let [height, width] = self.size;
        let [top, left] = place.map(|n| n * self.side);
        let row =
            |y: usize| &picture.data()[(channel * height + top + y) * width + left..][..self.side];
        let step = |v: &f32| (f64::from(*v) + 1.0).clamp(0.0, 2.0) * 127.5;
        (0..self.side)
            .flat_map(|y| row(y).iter().map(step))
            .collect()
    }

    /// Subtracts the plane that fits best under the window, and gives its height at the centre.
    fn flatten(&self, samples: &mut [f64]) -> f64 {
        // The window is symmetric about this index.
        let offset = |i: usize| i as f64 - self.side as f64 / 2.0;
        let (mut sum, mut along, mut down) = (0.0, 0.0, 0.0);
        for (i, value) in samples.iter().enumerate() {
            let (y, x) = (i / self.side, i % self.side);
            let v = value * self.window[y] * self.window[x];
            sum += v;
            along += v * offset(x);
            down += v * offset(y);
        }
        let total: f64 = self.window.iter().sum();
        let spread = total
            * self
                .window
                .iter()
                .enumerate()
                .map(|(i, w)| w * offset(i).powi(2))
                .sum::<f64>();
        let (mean, along, down) = (sum / (total * total), along / spread, down / spread);
        for (i, value) in samples.iter_mut().enumerate() {
            *value -= mean + along * offset(i % self.side) + down * offset(i / self.side);
        }
        mean
    }

    /// The windowed samples' transform, columns as rows.
    fn spectrum(&self, samples: &[f64]) -> Vec<Complex<f64>> {
        let n = self.side;
        let at =
            |(i, v): (usize, &f64)| Complex::new(v * self.window[i / n] * self.window[i % n], 0.0);
        let mut values: Vec<_> = samples.iter().enumerate().map(at).collect();
        self.fft.process(&mut values);
        for y in 0..n {
            (0..y).for_each(|x| values.swap(y * n + x, x * n + y));
        }
        self.fft.process(&mut values);
        values
    }

    /// The index in [`Self::spectrum`] of a bin `[y, x]` plus an offset, both taken round.
    fn index(&self, bin: [usize; 2], offset: [usize; 2]) -> usize {
        let [y, x] = [0, 1].map(|i| (bin[i] + offset[i]) % self.side);
        x * self.side + y
    }

    /// The level of the neighbourhood: mean power on the square ring two bins away from `wave`, or that of the strongest adjacent
    /// bin without what a wave on this bin puts there, if that is more. The latter tells apart a cloth of nearly the same period.
    fn around(&self, spectrum: &[Complex<f64>], wave: [usize; 2]) -> f64 {
        self.ring(spectrum, wave).max(self.beside(spectrum, wave))
    }

    fn beside(&self, spectrum: &[Complex<f64>], wave: [usize; 2]) -> f64 {
        /// Hann's transform next to its peak, relative to that.
        const LEAK: f64 = -0.5;
        /// Power that white noise keeps: 1 + LEAK^2, less twice LEAK times adjacent bins' correlation, -2/3.
        const KEPT: f64 = 1.0 + LEAK * LEAK - 2.0 / 3.0;
        let own = spectrum[self.index(wave, [0, 0])] * LEAK;
        let before = self.side - 1;
        let adjacent = [[0, 1], [1, 0], [0, before], [before, 0]];
        adjacent
            .iter()
            .map(|o| (spectrum[self.index(wave, *o)] - own).norm_sqr() / KEPT)
            .fold(0.0, f64::max)
    }

    fn ring(&self, spectrum: &[Complex<f64>], wave: [usize; 2]) -> f64 {
        let ring = (0..25)
            .map(|i| [i / 5, i % 5])
            .filter(|o| o.iter().any(|&n| n == 0 || n == 4));
        // Offsets from two bins before.
        let corner = wave.map(|n| n + self.side - 2);
        let powers: Vec<f64> = ring
            .map(|o| spectrum[self.index(corner, o)].norm_sqr())
            .collect();
        powers.iter().sum::<f64>() / powers.len() as f64
    }

    /// Mean power of the bins that no grid reaches, but for the lowest frequencies, which are shading.
    fn between(&self, spectrum: &[Complex<f64>]) -> f64 {
        let from_lattice = |k: usize| (k % SPACING).min(SPACING - k % SPACING);
        let from_zero = |k: usize| k.min(self.side - k);
        let (mut sum, mut count) = (0.0, 0usize);
        for (i, value) in spectrum.iter().enumerate() {
            let bin = [i % self.side, i / self.side];
            let is_free = bin.iter().any(|&k| from_lattice(k) == SPACING / 2);
            if is_free
                && bin.iter().map(|&k| from_zero(k).pow(2)).sum::<usize>() >= (SPACING / 2).pow(2)
            {
                sum += value.norm_sqr();
                count += 1;
            }
        }
        sum / count as f64
    }
}

impl Line {
    const NONE: Self = Self {
        value: Complex::ZERO,
        level: 0.0,
    };
}

/// 2, 4, and so on to a quarter of the block.
fn periods(side: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(2), |n| Some(2 * n)).take_while(move |n| n * SPACING <= side)
}

/// Bins of the waves along both axes and both diagonals that have a period and not half of it: frequencies of its odd multiples, up
/// to the finest.
fn waves_of(side: usize, period: usize) -> Vec<[usize; 2]> {
    let odd = (1..=period / 2).step_by(2).map(|n| n * side / period);
    let mut waves: Vec<_> = odd
        .flat_map(|k| [[0, k], [k, 0], [k, k], [k, side - k]])
        .collect();
    // At the finest frequency the diagonals are one.
    waves.dedup();
    waves
}
