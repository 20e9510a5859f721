//! Whether an image was a JPEG file, and where its blocks were.
//!
//! JPEG's blocks of 8 pixels are a lattice, too: their edges hold the most fine detail of a smooth area. They are told from a decoder's
//! by what made them. Of the cosine transform of a stored block most coefficients are zero; of blocks at any other offset fewer are,
//! as these see edges. So the share of coefficients that are not zero is taken at all 64 offsets, and that of one must be far lower than that of
//! every other.

use std::f64::consts::PI;

use rayon::prelude::*;

/// Pixels of a block's side.
const SIDE: usize = 8;
/// Periods that JPEG's blocks have, those of halved colours, which are twice as wide, included.
pub(super) const PERIODS: std::ops::RangeInclusive<usize> = 4..=2 * SIDE;
/// Coefficients below this are zero but for rounding to 8 bits, which has a standard deviation of 0.29 or less in brightness.
const ZERO: f64 = 0.7;
/// Share of nonzero coefficients at an offset, relative to the next higher one, below which the blocks were there.
const CLEAR: f64 = 0.85;
/// Share of nonzero coefficients that an image must have at other offsets to tell.
const LEAST: f64 = 0.002;
/// Squares that suffice to tell.
pub(super) const SQUARES: usize = 64;

/// The row and column, modulo 8, where JPEG's blocks begin, if there are any: `squares` are the brightness of places whose sides
/// are `side`, row by row, with their first row and column.
pub(super) fn blocks(squares: &[([usize; 2], Vec<f64>)], side: usize) -> Option<[usize; 2]> {
    let cosines = cosines();
    let share = |offset: usize| {
        let offset = [offset / SIDE, offset % SIDE];
        let counts = squares
            .par_iter()
            .map(|(place, square)| {
                // The first block whose place in the image has this offset.
                let first = [0, 1].map(|i| (offset[i] + SIDE - place[i] % SIDE) % SIDE);
                nonzero(square, side, first, &cosines)
            })
            .reduce(|| [0, 0], |a, b| [a[0] + b[0], a[1] + b[1]]);
        counts[0] as f64 / counts[1].max(1) as f64
    };
    let mut shares: Vec<(usize, f64)> = (0..SIDE * SIDE).map(|i| (i, share(i))).collect();
    shares.sort_by(|a, b| a.1.total_cmp(&b.1));
    let is_clear = shares[1].1 >= LEAST && shares[0].1 < CLEAR * shares[1].1;
    is_clear.then(|| [shares[0].0 / SIDE, shares[0].0 % SIDE])
}

/// How many coefficients of the blocks from `first` on are not zero, and how many there are, the mean left out. All offsets see as
/// many blocks.
fn nonzero(square: &[f64], side: usize, first: [usize; 2], cosines: &Cosines) -> [usize; 2] {
    let across = side / SIDE - 1;
    let mut counts = [0, 0];
    for i in 0..across * across {
        let [top, left] = [first[0] + i / across * SIDE, first[1] + i % across * SIDE];
        let rows: [[f64; SIDE]; SIDE] = std::array::from_fn(|y| {
            let row = &square[(top + y) * side + left..][..SIDE];
            std::array::from_fn(|u| dot(&cosines[u], |x| row[x]))
        });
        // All but the mean.
        for i in 1..SIDE * SIDE {
            let value = dot(&cosines[i / SIDE], |y| rows[y][i % SIDE]);
            counts[0] += usize::from(value.abs() > ZERO);
        }
        counts[1] += SIDE * SIDE - 1;
    }
    counts
}

fn dot(cosine: &[f64; SIDE], value: impl Fn(usize) -> f64) -> f64 {
    cosine.iter().enumerate().map(|(i, c)| c * value(i)).sum()
}

/// By frequency, then place.
type Cosines = [[f64; SIDE]; SIDE];

/// The orthonormal cosine transform.
fn cosines() -> Cosines {
    std::array::from_fn(|u| {
        let scale = if u == 0 { 1.0 } else { 2.0 } / SIDE as f64;
        let phase = |i: usize| (2 * i + 1) as f64 * u as f64 * PI / (2 * SIDE) as f64;
        std::array::from_fn(|i| scale.sqrt() * phase(i).cos())
    })
}
