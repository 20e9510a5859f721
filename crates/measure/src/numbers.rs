//! The numbers that tables show, as one list: a line here is a column there.

use std::borrow::Cow;

use vae2x_core::{Array, Error, Result};
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};

use crate::metrics::{self, MS_SSIM_LEAST_SIDE};
use crate::speckle::{LEAST_SIDE as SPECKLE_LEAST_SIDE, speckle};

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

/// How a number is measured. Images are `[3, H, W]` in [-1, 1].
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// An image alone, at the reference's size if there is one.
    Picture(fn(&Array) -> Result<f64>),
    /// An image alone, as it is, and its pixels per pixel at base resolution.
    Scaled(fn(&Array, usize) -> Result<f64>),
    /// An image and its reference, of one size.
    Pair(fn(&Array, &Array) -> Result<f64>),
    /// The same, by a network that whoever asks has.
    Network,
}

/// A distance between two images of one size, `[3, H, W]`.
pub type Distance<'a> = dyn Fn(&Array, &Array) -> Result<f64> + 'a;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// In JSON.
    pub key: &'static str,
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
    /// Pixels that an image's shorter side must have.
    pub least_side: usize,
    /// Its definition.
    pub of: Of,
}

/// The image to measure, and its reference.
pub struct Subject<'a> {
    /// `[3, H, W]`, as it is.
    pub picture: &'a Array,
    /// Its pixels per pixel at base resolution.
    pub scale: usize,
    /// The image at the reference's size, by [`at_size`], and the reference.
    pub pair: Option<(&'a Array, &'a Array)>,
    /// LPIPS, if there is a network for it.
    pub lpips: Option<&'a Distance<'a>>,
}

impl Number {
    /// Takes the number; `None` if the images are too small for it, or lack a reference or a network that it needs.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are not images, or the pair is not of one size.
    pub fn measure(&self, subject: &Subject<'_>) -> Result<Option<f64>> {
        let alone = subject.pair.map_or(subject.picture, |(picture, _)| picture);
        let is_small = |picture: &Array, least: usize| {
            Ok::<_, Error>(picture_size(picture)?.iter().any(|&n| n < least))
        };
        match (self.of, subject.pair, subject.lpips) {
            (Of::Scaled(of), ..)
                if !is_small(subject.picture, self.least_side * subject.scale)? =>
            {
                of(subject.picture, subject.scale).map(Some)
            }
            (Of::Scaled(_), ..) => Ok(None),
            _ if is_small(alone, self.least_side)? => Ok(None),
            (Of::Picture(of), ..) => of(alone).map(Some),
            (Of::Pair(of), Some((picture, reference)), _) => of(picture, reference).map(Some),
            (Of::Network, Some((picture, reference)), Some(distance)) => {
                distance(picture, reference).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// An image at a size, enlarged or reduced (antialiased) by Lanczos' filter where it has another. A little of the sides' ratio may
/// differ, as when an encoder crops to whole cells.
///
/// # Shapes
/// `[3, H, W]` -> `[3, size]`
///
/// # Errors
/// [`Error::Shape`] if the sides' ratios differ by more than a hundredth: then the images do not show the same.
pub fn at_size(picture: &Array, size: [usize; 2]) -> Result<Cow<'_, Array>> {
    const SAME: f64 = 0.01;
    let own = picture_size(picture)?;
    let ratio = |[h, w]: [usize; 2]| h as f64 / w as f64;
    if own == size {
        return Ok(Cow::Borrowed(picture));
    }
    if !((ratio(own) / ratio(size)).ln().abs() <= SAME) {
        return Err(Error::Shape {
            what: "image".into(),
            expected: format!("the sides' ratio of its reference, {}x{}", size[1], size[0]),
            got: format!("{}x{}", own[1], own[0]),
        });
    }
    let mut fitted = resize(picture, size, Filter::Lanczos3)?;
    // As it would be saved.
    fitted
        .data_mut()
        .iter_mut()
        .for_each(|v| *v = v.clamp(-1.0, 1.0));
    Ok(Cow::Owned(fitted))
}

/// None of nothing; infinite if one is.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// All columns, in their order. `docs/metrics.md` has the definitions.
pub const NUMBERS: &[Number] = &[
    Number {
        key: "psnr",
        name: "PSNR",
        unit: "dB",
        about: "Peak signal-to-noise ratio to the reference, over all channels.",
        better: Better::Higher,
        digits: 2,
        least_side: 1,
        of: Of::Pair(metrics::psnr),
    },
    Number {
        key: "ssim",
        name: "SSIM",
        unit: "",
        about: "Mean structural similarity to the reference (Gaussian window of 11 pixels).",
        better: Better::Higher,
        digits: 4,
        least_side: 11,
        of: Of::Pair(metrics::ssim),
    },
    Number {
        key: "ms_ssim",
        name: "MS-SSIM",
        unit: "",
        about: "Structural similarity to the reference at five scales.",
        better: Better::Higher,
        digits: 4,
        least_side: MS_SSIM_LEAST_SIDE,
        of: Of::Pair(metrics::ms_ssim),
    },
    Number {
        key: "lpips",
        name: "LPIPS",
        unit: "",
        about: "Perceptual distance to the reference (VGG16, version 0.1).",
        better: Better::Lower,
        digits: 4,
        least_side: 16,
        of: Of::Network,
    },
    Number {
        key: "ciede2000",
        name: "CIEDE2000",
        unit: "",
        about: "Mean colour difference to the reference; about 1 is just seen between large patches.",
        better: Better::Lower,
        digits: 2,
        least_side: 1,
        of: Of::Pair(metrics::ciede2000),
    },
    Number {
        key: "ciede2000_p95",
        name: "CIEDE2000 95 %",
        unit: "",
        about: "The colour difference that 95 % of the pixels do not exceed.",
        better: Better::Lower,
        digits: 2,
        least_side: 1,
        of: Of::Pair(metrics::ciede2000_p95),
    },
    Number {
        key: "sharpness",
        name: "Sharpness",
        unit: "",
        about: "Variance of the brightness's Laplacian, in squared 8-bit steps; noise raises it too.",
        better: Better::Neither,
        digits: 0,
        least_side: 3,
        of: Of::Picture(metrics::sharpness),
    },
    Number {
        key: "speckle_db",
        name: "Speckle",
        unit: "dB",
        about: "How far a grid of period 2 to 16 stands above its spectral neighbourhood in flat regions; below 1 is none.",
        better: Better::Lower,
        digits: 2,
        least_side: SPECKLE_LEAST_SIDE,
        of: Of::Scaled(|picture, scale| Ok(speckle(picture, scale)?.speckle_db)),
    },
    Number {
        key: "lattice_energy_db",
        name: "Lattice",
        unit: "dB",
        about: "How much more fine detail there is at one place of a cell of 2 to 16 pixels than at another; sees dots of either sign.",
        better: Better::Lower,
        digits: 2,
        least_side: SPECKLE_LEAST_SIDE,
        of: Of::Scaled(|picture, scale| Ok(speckle(picture, scale)?.lattice_energy_db)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula::unit;

    fn noise(size: [usize; 2]) -> Array {
        Array::new(
            [3, size[0], size[1]],
            unit("numbers", 3 * size[0] * size[1]).collect(),
        )
        .unwrap()
    }

    fn taken(subject: &Subject<'_>) -> Vec<&'static str> {
        let has = |number: &&Number| number.measure(subject).unwrap().is_some();
        NUMBERS
            .iter()
            .filter(has)
            .map(|number| number.key)
            .collect()
    }

    #[test]
    fn numbers_need_a_reference_a_network_and_room() {
        let (large, small) = (noise([192, 176]), noise([12, 20]));
        let alone = Subject {
            picture: &large,
            scale: 1,
            pair: None,
            lpips: None,
        };
        assert_eq!(
            taken(&alone),
            ["sharpness", "speckle_db", "lattice_energy_db"]
        );
        assert_eq!(taken(&Subject { scale: 2, ..alone }), ["sharpness"]);
        let distance = |_: &Array, _: &Array| Ok(0.5);
        let pair = Subject {
            pair: Some((&large, &large)),
            lpips: Some(&distance),
            ..alone
        };
        assert_eq!(
            taken(&pair),
            NUMBERS.iter().map(|n| n.key).collect::<Vec<_>>()
        );
        let tight = Subject {
            picture: &small,
            scale: 1,
            pair: Some((&small, &small)),
            lpips: Some(&distance),
        };
        assert_eq!(
            taken(&tight),
            ["psnr", "ssim", "ciede2000", "ciede2000_p95", "sharpness"]
        );
    }

    #[test]
    fn pictures_come_to_the_size_of_their_reference_unless_they_show_something_else() {
        let picture = noise([20, 30]);
        assert!(matches!(
            at_size(&picture, [20, 30]).unwrap(),
            Cow::Borrowed(_)
        ));
        let mut larger = resize(&picture, [40, 60], Filter::Lanczos3).unwrap();
        assert!(
            larger.data().iter().any(|v| v.abs() > 1.0),
            "enlarged noise leaves the range"
        );
        larger
            .data_mut()
            .iter_mut()
            .for_each(|v| *v = v.clamp(-1.0, 1.0));
        assert_eq!(*at_size(&picture, [40, 60]).unwrap(), larger);
        assert_eq!(
            at_size(&picture, [201, 300]).unwrap().shape(),
            [3, 201, 300]
        );
        assert!(matches!(
            at_size(&picture, [20, 31]),
            Err(Error::Shape { got, .. }) if got == "30x20"
        ));
    }
}
