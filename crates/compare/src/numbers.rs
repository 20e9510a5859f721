//! The numbers that tables show, as one list: a line here is a column there.

use vae2x_core::{Array, Result};

use crate::metrics;

/// Which direction is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More.
    Higher,
    /// Less.
    Lower,
    /// Neither by itself.
    Neither,
}

/// What a number is taken of. Pictures are `[3, H, W]` in [-1, 1].
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// A picture alone.
    Picture(fn(&Array) -> Result<f64>),
    /// A picture and its reference, of one size.
    Pair(fn(&Array, &Array) -> Result<f64>),
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// Heading.
    pub name: &'static str,
    /// Empty for bare numbers.
    pub unit: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// Digits behind the point.
    pub digits: usize,
    /// Pixels that a picture's shorter side must have.
    pub least_side: usize,
    /// Its definition.
    pub of: Of,
}

/// All columns, in their order.
pub const NUMBERS: &[Number] = &[
    Number {
        name: "PSNR",
        unit: "dB",
        about: "Peak signal-to-noise ratio to the reference, over all channels.",
        better: Better::Higher,
        digits: 2,
        least_side: 1,
        of: Of::Pair(metrics::psnr),
    },
    Number {
        name: "SSIM",
        unit: "",
        about: "Mean structural similarity to the reference (Gaussian window of 11 pixels).",
        better: Better::Higher,
        digits: 4,
        least_side: 11,
        of: Of::Pair(metrics::ssim),
    },
    Number {
        name: "Sharpness",
        unit: "",
        about: "Variance of the brightness's Laplacian, in squared 8-bit steps; noise raises it too.",
        better: Better::Neither,
        digits: 0,
        least_side: 3,
        of: Of::Picture(metrics::sharpness),
    },
];
