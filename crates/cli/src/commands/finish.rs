//! What a decoded picture goes through before it is saved: colours, then size, then detail.

use std::path::Path;

use vae2x_core::config::SPATIAL_FACTOR;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, Result, VaeConfig};
use vae2x_media::match_color::{Matching, match_color};
use vae2x_media::picture::read_image;
use vae2x_media::reduce::{Light, reduce};
use vae2x_media::sharpen::{blur, sharpen};

use super::saving::Decoded;
use crate::args::{DecodeArgs, DetailArgs, MatchArg};
use crate::{ui, usage};

/// Whose colours the result is to have.
pub enum Colours {
    /// The decoder's own.
    Own,
    /// This picture's, `[3, h, w]`.
    Picture(Array),
    /// What these weights decode.
    Base(String),
}

/// Reads what `--match-color` names, as far as it is a picture.
///
/// # Errors
/// If it cannot be read, or names no weights.
pub fn colours(arg: Option<&str>) -> anyhow::Result<Colours> {
    match arg.map(|text| (text, text.strip_prefix("base:"))) {
        None => Ok(Colours::Own),
        Some((_, Some(""))) => {
            usage("--match-color base: has no weights; give base:WEIGHTS, such as base:demo:base")
        }
        Some((_, Some(weights))) => Ok(Colours::Base(weights.to_owned())),
        Some((path, None)) => {
            let picture = read_image(Path::new(path))?;
            picture.notes.iter().for_each(ui::warn);
            Ok(Colours::Picture(picture.pixels))
        }
    }
}

/// The finishing of one decoder's pictures.
pub struct Finish {
    matching: Matching,
    picture: Option<Array>,
    factor: usize,
    light: Light,
    detail: Detail,
}

impl Finish {
    /// As `decode`'s arguments ask for, with the pictures of `weights`.
    ///
    /// # Errors
    /// A wrong command line if `--scale` is above the decoder's.
    pub fn new(args: &DecodeArgs, colours: Colours, weights: &VaeWeights) -> anyhow::Result<Self> {
        let own = weights.config().scale()?;
        let picture = match colours {
            Colours::Picture(picture) => Some(picture),
            Colours::Own | Colours::Base(_) => None,
        };
        Ok(Self {
            matching: match args.match_color_by {
                MatchArg::Low => matching(weights.config())?,
                MatchArg::Stats => Matching::Stats,
            },
            picture,
            factor: own / checked_scale(args.scale, own, weights)?,
            light: if args.linear_light {
                Light::Linear
            } else {
                Light::Encoded
            },
            detail: Detail::new(&args.detail),
        })
    }

    /// Tells the user where a reference cannot show the same view as a latent of `[h, w]` cells.
    pub fn check_view(&self, latent: &Path, [h, w]: [usize; 2]) {
        /// Encoders cut up to seven pixels; beyond that and a twentieth, something else is off.
        const CUT: f64 = 0.05;
        let (Some(picture), Matching::Low { .. }) = (&self.picture, self.matching) else {
            return;
        };
        let (rows, columns) = (picture.shape()[1], picture.shape()[2]);
        let stretch = (rows * w) as f64 / (columns * h) as f64;
        if stretch.ln().abs() > CUT {
            ui::warn(format!(
                "{}: the reference of --match-color, {columns}x{rows}, is stretched over {}x{}; for another view give \
                 --match-color-by stats",
                latent.display(),
                SPATIAL_FACTOR * w,
                SPATIAL_FACTOR * h,
            ));
        }
    }

    /// Pixels of the decoder per pixel of the result.
    pub fn pixels_per_result(&self) -> usize {
        self.factor * self.factor
    }

    /// The picture to be saved.
    ///
    /// # Errors
    /// If a picture is none.
    pub fn apply(&self, frame: Decoded) -> Result<Array> {
        let Decoded { mut pixels, base } = frame;
        if let Some(reference) = base.as_ref().or(self.picture.as_ref()) {
            pixels = match_color(&pixels, reference, self.matching)?;
        }
        if self.factor > 1 {
            pixels = reduce(&pixels, self.factor, self.light)?;
        }
        self.detail.apply(pixels)
    }
}

/// How colours follow a base decoder's: brightness by latent cells, whose size is the longest period of the grids that such
/// decoders leave; colour by two pixels of the base resolution.
///
/// # Errors
/// If the configuration is impossible.
pub fn matching(config: &VaeConfig) -> Result<Matching> {
    let scale = config.scale()?;
    Ok(Matching::Low {
        brightness: SPATIAL_FACTOR * scale,
        colour: 2 * scale,
    })
}

/// Of `--scale`, in multiples of the base resolution; the decoder's `own` if it is not given.
fn checked_scale(asked: Option<usize>, own: usize, weights: &VaeWeights) -> anyhow::Result<usize> {
    match asked {
        Some(scale) if scale > own => usage(format!(
            "--scale {scale} needs a decoder of {} output channels, such as {}; {} has {} and decodes at {own}x",
            3 * scale * scale,
            if scale == 2 {
                "demo:2x or spacepxl/Wan2.1-VAE-upscale2x"
            } else {
                "a trained 4x one"
            },
            weights.path().display(),
            3 * own * own,
        )),
        Some(scale) if ![scale, 2 * scale, 4 * scale].contains(&own) => usage(format!(
            "--scale {scale}: {} decodes at {own}x, which is not 1, 2 or 4 times that",
            weights.path().display()
        )),
        scale => Ok(scale.unwrap_or(own)),
    }
}

/// `--sharpen` and `--blur`.
#[derive(Clone, Copy)]
pub enum Detail {
    /// As it is.
    Kept,
    /// By an unsharp mask of this deviation.
    Sharpened(f64),
    /// By a Gaussian of this deviation.
    Blurred(f64),
}

impl Detail {
    /// As the arguments say, which exclude each other.
    pub fn new(args: &DetailArgs) -> Self {
        match (args.sharpen, args.blur) {
            (Some(sigma), _) => Self::Sharpened(sigma),
            (None, Some(sigma)) => Self::Blurred(sigma),
            (None, None) => Self::Kept,
        }
    }

    /// The changed picture.
    ///
    /// # Errors
    /// If the picture is none.
    pub fn apply(self, picture: Array) -> Result<Array> {
        match self {
            Self::Kept => Ok(picture),
            Self::Sharpened(sigma) => sharpen(&picture, sigma),
            Self::Blurred(sigma) => blur(&picture, sigma),
        }
    }
}
