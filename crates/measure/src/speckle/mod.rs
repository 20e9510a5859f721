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
//! see [`lattice`]. JPEG's own blocks are recognized, and their periods do not count there: see [`jpeg`].

mod blocks;
mod jpeg;
mod lattice;

use rustfft::num_complex::Complex;
use serde::Serialize;
use vae2x_core::{Array, Error, Result};
use vae2x_media::pixels::picture_size;

use blocks::{Block, Layout, Line};
use lattice::Contrast;

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
    /// How much more fine detail there is at one place of a cell of the pixel lattice than at another, as a ratio of energies in
    /// dB, above what chance gives, at the period where it is most: 0 for none. NaN as above.
    pub lattice_energy_db: f64,
    /// What chance alone may reach at the worst period: three standard errors, in dB.
    pub lattice_noise_db: f64,
    /// The period where it is most.
    pub lattice_period: usize,
    /// Row and column, modulo 8, where the blocks of a JPEG file begin that the image once was. Then periods of 4 to 16 pixels of
    /// the image do not count in `lattice_energy_db`.
    pub jpeg_blocks: Option<[usize; 2]>,
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
    lattice_noise_db: f64,
}

/// Measures an image that has `scale` pixels per pixel at base resolution: periods from 2 pixels to `16 scale`.
///
/// # Shapes
/// `[3, H, W]` in [-1, 1], clamped; H and W at least [`LEAST_SIDE`] times `scale`
///
/// # Errors
/// [`Error::Shape`] unless it is an image and large enough.
pub fn speckle(picture: &Array, scale: usize) -> Result<Speckle> {
    speckle_from(picture, scale, Origin::File)
}

/// Where an image comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, which may have been a JPEG file once.
    File,
    /// A decoder itself: what looks like JPEG's blocks is its own.
    Decoder,
}

/// As [`speckle`], of an image whose origin is known.
///
/// # Errors
/// As [`speckle`].
pub fn speckle_from(picture: &Array, scale: usize, origin: Origin) -> Result<Speckle> {
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
    let contrasts = layout.contrasts(picture, &measured);
    let periods: Vec<Period> = layout
        .periods()
        .zip(contrasts)
        .map(|((period, frequencies), contrast)| match broken {
            true => Period::broken(period),
            false => score(period, &layout, frequencies, &areas, contrast),
        })
        .collect();
    let jpeg_blocks = match origin {
        Origin::File => layout.jpeg_blocks(picture, &measured),
        Origin::Decoder => None,
    };
    let counted = |p: &&Period| jpeg_blocks.is_none() || !jpeg::PERIODS.contains(&p.period);
    let strongest = most(periods.iter(), |p| p.speckle_db);
    let lattice = most(periods.iter().filter(counted), |p| p.lattice_energy_db);
    let (strongest, lattice) = strongest.zip(lattice).ok_or_else(|| Error::Shape {
        what: "periods of a grid".into(),
        expected: "one or more".into(),
        got: "none".into(),
    })?;
    let lattice_noise = periods.iter().filter(counted).map(|p| p.lattice_noise_db);
    Ok(Speckle {
        speckle_db: strongest.speckle_db,
        noise_db: decibels(periods.iter().map(|p| p.noise).fold(0.0, f64::max)),
        period: strongest.period,
        amplitude: strongest.amplitude,
        lattice_energy_db: lattice.lattice_energy_db,
        lattice_noise_db: lattice_noise.fold(0.0, f64::max),
        lattice_period: lattice.period,
        jpeg_blocks,
        flat_share: flat as f64 / shown.len() as f64,
        blocks: measured.len(),
        periods,
        scale: scale.max(1),
    })
}

/// The first period with the greatest value.
fn most<'a>(
    periods: impl Iterator<Item = &'a Period>,
    of: impl Fn(&Period) -> f64,
) -> Option<Period> {
    periods
        .copied()
        .reduce(|a, b| if of(&b) > of(&a) { b } else { a })
}

impl Period {
    /// Of an image with values that are not finite.
    fn broken(period: usize) -> Self {
        Self {
            period,
            speckle_db: f64::NAN,
            amplitude: f64::NAN,
            lattice_energy_db: f64::NAN,
            noise: f64::NAN,
            lattice_noise_db: f64::NAN,
        }
    }
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
    contrast: Contrast,
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
        lattice_energy_db: contrast.excess(),
        noise: DEVIATIONS * variance.sqrt(),
        lattice_noise_db: contrast.noise,
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
