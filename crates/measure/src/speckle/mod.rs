//! The speckle score: how far a grid's energy stands above its spectral neighbourhood in flat regions.
//!
//! A decoder's grid keeps its phase to the pixel lattice; texture and noise do not. So the image is cut into blocks at multiples of
//! the largest period ([`blocks`]), the flat ones are kept, and at each lattice frequency the products `z_a conj(z_b)` of
//! *different* blocks are averaged, every `z` divided by the root of its own block's neighbourhood level. Without a grid that mean is
//! zero, however strong the texture; with one it is the grid's energy in units of the neighbourhood's. The score of a period is
//! `10 log10(1 + sum of means)` over its waves, as speckles spread their energy over many and a stripe has it in one. Blocks are only
//! paired within areas of [`AREA`] blocks, so that a grid that changes with colour or light is found too.
//!
//! The neighbourhood's level includes that of a wave of amplitude [`UNSEEN`]: JPEG and sensors leave lattice-locked patterns of some
//! hundredths of an 8-bit step in nearly every photo, which nobody sees and nothing should count.
//!
//! That score asks for one sign everywhere. Dots whose sign follows the content are found by the lattice energy, in the same blocks:
//! see [`lattice`].

mod blocks;
mod lattice;

use rustfft::num_complex::Complex;
use serde::Serialize;
use vae2x_core::{Array, Error, Result};
use vae2x_media::pixels::picture_size;

use blocks::{Block, Layout, Line};
use lattice::Variation;

/// The longest period of a grid, in pixels at base resolution; the shorter ones are its halves.
const LARGEST_PERIOD: usize = 16;
/// Pixels at base resolution that both sides of an image must have.
pub const LEAST_SIDE: usize = 2 * blocks::SPACING * LARGEST_PERIOD;
/// Sides of areas whose blocks are compared with each other, in blocks: 256 pixels at base resolution.
const AREA: usize = 4;
/// Amplitude of a wave that is as good as none, in 8-bit steps.
const UNSEEN: f64 = 0.5;
/// Roughness below which a block is flat, in 8-bit steps.
const FLAT: f64 = 3.0;
/// Share of the blocks, the flattest, that is measured in any case, and their least number.
const QUIETEST: f64 = 0.25;
const FEWEST: usize = 16;
/// Blocks of a mean brightness outside this range are clipped: they cannot show a grid.
const SHOWN: std::ops::RangeInclusive<f64> = 1.5..=253.5;
/// Standard errors that are called noise.
const DEVIATIONS: f64 = 3.0;

/// The score of an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speckle {
    /// The score of the strongest period, in dB: 0 for none. NaN if a value of the image is.
    pub speckle_db: f64,
    /// The score that chance alone may reach in an image of this size: three standard errors, in dB.
    pub noise_db: f64,
    /// The strongest period.
    pub period: usize,
    /// Its amplitude in 8-bit steps.
    pub amplitude: f64,
    /// How much the energy of fine detail varies with the place in the pixel lattice, at the period where it varies most:
    /// `10 log10(1 + deviation / mean)`, so 0 dB for none and 3 dB where it varies by as much as there is. NaN as above.
    pub lattice_energy_db: f64,
    /// What chance alone may reach: three standard errors, in dB.
    pub lattice_noise_db: f64,
    /// The period where it varies most.
    pub lattice_period: usize,
    /// Every period, from fine to coarse.
    pub periods: Vec<Period>,
    /// Share of the blocks that are flat. Where it is small the flattest were measured all the same.
    pub flat_share: f64,
    /// Blocks that were measured.
    pub blocks: usize,
    /// Pixels per pixel at base resolution.
    pub scale: usize,
}

/// One period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Period {
    /// In pixels of the image.
    pub period: usize,
    /// Its waves' energy together, above that of the neighbourhood of one, in dB.
    pub speckle_db: f64,
    /// Amplitude of its waves together: the root of the sum of their squared amplitudes, in 8-bit steps.
    pub amplitude: f64,
    /// As [`Speckle::lattice_energy_db`], of this period and not of half of it.
    pub lattice_energy_db: f64,
    #[serde(skip)]
    noise: f64,
    #[serde(skip)]
    lattice_noise: f64,
}

/// Measures an image that has `scale` pixels per pixel at base resolution: periods from 2 pixels to `16 scale`.
///
/// # Shapes
/// `[3, H, W]` in [-1, 1], clamped; H and W at least [`LEAST_SIDE`] times `scale`
///
/// # Errors
/// [`Error::Shape`] unless it is an image and large enough.
pub fn speckle(picture: &Array, scale: usize) -> Result<Speckle> {
    let layout = Layout::new(picture_size(picture)?, LARGEST_PERIOD * scale.max(1))?;
    let broken = picture.data().iter().any(|v| !v.is_finite());
    let blocks = layout.blocks(picture);
    let shown: Vec<&Block> = blocks
        .iter()
        .filter(|b| SHOWN.contains(&b.brightness))
        .collect();
    let shown = if shown.is_empty() {
        blocks.iter().collect()
    } else {
        shown
    };
    let flat = shown.iter().filter(|b| b.roughness <= FLAT).count();
    let measured = flattest(shown.clone(), flat);
    let areas: Vec<&[&Block]> = measured.chunk_by(|a, b| area(a) == area(b)).collect();
    let variations = layout.variations(picture, &measured);
    let period =
        |((period, frequencies), variation): ((usize, std::ops::Range<usize>), _)| match broken {
            true => Period {
                period,
                speckle_db: f64::NAN,
                amplitude: f64::NAN,
                lattice_energy_db: f64::NAN,
                noise: f64::NAN,
                lattice_noise: f64::NAN,
            },
            false => score(period, &layout, frequencies, &areas, variation),
        };
    let periods: Vec<Period> = layout.periods().zip(variations).map(period).collect();
    let most = |of: fn(&Period) -> f64| {
        periods
            .iter()
            .copied()
            .max_by(|a, b| of(a).total_cmp(&of(b)))
    };
    let strongest = most(|p| p.speckle_db).zip(most(|p| p.lattice_energy_db));
    let (strongest, lattice) = strongest.ok_or_else(|| Error::Shape {
        what: "periods of a grid".into(),
        expected: "one or more".into(),
        got: "none".into(),
    })?;
    Ok(Speckle {
        speckle_db: strongest.speckle_db,
        noise_db: decibels(periods.iter().map(|p| p.noise).fold(0.0, f64::max)),
        period: strongest.period,
        amplitude: strongest.amplitude,
        lattice_energy_db: lattice.lattice_energy_db,
        lattice_noise_db: decibels(periods.iter().map(|p| p.lattice_noise).fold(0.0, f64::max)),
        lattice_period: lattice.period,
        flat_share: flat as f64 / shown.len() as f64,
        blocks: measured.len(),
        periods,
        scale: scale.max(1),
    })
}

/// How many pixels an image has per pixel at base resolution, if `base` is the size at that: 1 unless it is 2, 4 or 8 times that, as lattices
/// of other periods are not looked at.
pub fn scale_to(size: [usize; 2], base: [usize; 2]) -> usize {
    [2, 4, 8]
        .into_iter()
        .find(|scale| base.map(|n| n.saturating_mul(*scale)) == size)
        .unwrap_or(1)
}

/// All `flat` blocks, and the quietest in any case, sorted by area.
fn flattest(mut blocks: Vec<&Block>, flat: usize) -> Vec<&Block> {
    let least = ((blocks.len() as f64 * QUIETEST).ceil() as usize).max(FEWEST);
    blocks.sort_by(|a, b| a.roughness.total_cmp(&b.roughness));
    blocks.truncate(least.max(flat));
    blocks.sort_by_key(|b| area(b));
    blocks
}

fn area(block: &Block) -> [usize; 2] {
    block.place.map(|n| n / AREA)
}

/// The score of the waves `frequencies`, over blocks grouped by area.
fn score(
    period: usize,
    layout: &Layout,
    frequencies: std::ops::Range<usize>,
    areas: &[&[&Block]],
    variation: Variation,
) -> Period {
    let (mut ratio, mut square, mut variance) = (0.0, 0.0, 0.0);
    for wave in frequencies {
        for channel in 0..3 {
            let lines = |blocks: &[&Block]| {
                blocks
                    .iter()
                    .map(|b| b.lines[wave][channel])
                    .collect::<Vec<_>>()
            };
            let sums = areas
                .iter()
                .map(|blocks| Pairs::of(&lines(blocks), layout.level_of(wave, UNSEEN)));
            let pairs = sums.fold(Pairs::default(), Pairs::plus);
            if pairs.count > 0.0 {
                ratio += pairs.products / pairs.count / 3.0;
                square += layout.squared_amplitude(wave, pairs.products / pairs.weights) / 3.0;
                variance += pairs.variance / pairs.count.powi(2) / 3.0;
            }
        }
    }
    let amplitude = square.max(0.0).sqrt();
    Period {
        period,
        speckle_db: decibels(ratio),
        amplitude,
        lattice_energy_db: decibels(variation.deviation),
        noise: DEVIATIONS * variance.sqrt(),
        lattice_noise: variation.noise,
    }
}

/// Decibels that a ratio adds to 1.
fn decibels(ratio: f64) -> f64 {
    10.0 * ratio.max(0.0).ln_1p() / std::f64::consts::LN_10
}

/// Sums over ordered pairs of different blocks.
#[derive(Clone, Copy, Debug, Default)]
struct Pairs {
    /// Mean of `z_a conj(z_b)`.
    products: f64,
    /// Mean of the products of the weights that made `z` of the spectrum.
    weights: f64,
    count: f64,
    /// The value of `products` without a grid.
    variance: f64,
}

impl Pairs {
    /// A sum over pairs is the square of a sum without the sum of squares.
    fn of(lines: &[Line], unseen: f64) -> Self {
        let mut sum = Complex::new(0.0, 0.0);
        let (mut energy, mut weight, mut squares) = (0.0, 0.0, 0.0);
        for line in lines {
            let w = 1.0 / (line.level + unseen).sqrt();
            let z = line.value * w;
            sum += z;
            energy += z.norm_sqr();
            weight += w;
            squares += w * w;
        }
        let n = lines.len() as f64;
        let count = n * (n - 1.0);
        let noise = lines
            .iter()
            .map(|l| l.level / (l.level + unseen))
            .sum::<f64>()
            / n.max(1.0);
        let (products, weights) = (sum.norm_sqr() - energy, weight * weight - squares);
        Self {
            products,
            weights,
            count,
            variance: count * noise * noise,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            products: self.products + other.products,
            weights: self.weights + other.weights,
            count: self.count + other.count,
            variance: self.variance + other.variance,
        }
    }
}

#[cfg(test)]
mod tests;
