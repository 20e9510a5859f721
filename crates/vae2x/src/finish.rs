//! Finishing of decoded frames before they are saved: colours, then size, then detail.

use vae2x_core::{Array, Error, Result, VaeConfig};
use vae2x_media::match_color::{Matching, match_color};
use vae2x_media::opacity::{join, split};
use vae2x_media::reduce::reduce;
use vae2x_media::resample::{Filter, resize_planes};
use vae2x_media::sharpen::{blur, sharpen};

pub use vae2x_media::reduce::Light;

/// The finishing of frames, independent of any model; [`Self::for_decoder`] checks it against one.
#[derive(Clone, Debug, Default)]
pub struct Finish {
    /// The size in multiples of the base resolution; the decoder's if not given.
    pub scale: Option<usize>,
    /// The values that are averaged when the size is reduced.
    pub light: Light,
    /// The source of the result's colours.
    pub colours: Colours,
    /// How colours are matched.
    pub taking: Taking,
    /// The change of detail, last of all.
    pub detail: Detail,
}

/// The source of a result's colours.
#[derive(Clone, Debug, Default)]
pub enum Colours {
    /// The decoder itself.
    #[default]
    Own,
    /// This image of the same view, `[3, h, w]`.
    Image(Array),
    /// A base decoder, whose frame is given to [`Finisher::apply`].
    Base,
}

/// How colours are matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Taking {
    /// Place by place: brightness coarser than a latent cell, colour coarser than two pixels of the base resolution.
    #[default]
    Low,
    /// Each channel's mean and standard deviation, for references that show something else.
    Stats,
}

/// A change of detail.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Detail {
    /// None.
    #[default]
    Keep,
    /// An unsharp mask of this standard deviation, in pixels of the result.
    Sharpen(f64),
    /// A Gaussian of this standard deviation, in pixels of the result.
    Blur(f64),
}

impl Detail {
    /// The changed image.
    ///
    /// # Errors
    /// [`Error::Shape`] unless it is `[3, H, W]`.
    pub fn apply(self, image: Array) -> Result<Array> {
        match self {
            Self::Keep => Ok(image),
            Self::Sharpen(sigma) => sharpen(&image, sigma),
            Self::Blur(sigma) => blur(&image, sigma),
        }
    }
}

impl Finish {
    /// Whether anything is changed.
    pub fn is_asked_for(&self) -> bool {
        self.scale.is_some() || self.detail != Detail::Keep || !matches!(self.colours, Colours::Own)
    }

    /// Finishing for the frames of a decoder; `name` stands for its weights in messages.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if the decoder cannot give the scale.
    pub fn for_decoder(self, config: &VaeConfig, name: &str) -> Result<Finisher> {
        let own = config.scale()?;
        let scale = checked_scale(self.scale, own, config.image_channels, name)?;
        Ok(Finisher {
            matching: match self.taking {
                Taking::Low => low_matching(config)?,
                Taking::Stats => Matching::Stats,
            },
            reference: match self.colours {
                Colours::Image(image) => Some(image),
                Colours::Own | Colours::Base => None,
            },
            factor: own / scale,
            light: self.light,
            detail: self.detail,
        })
    }
}

/// The finishing of one decoder's frames.
#[derive(Clone, Debug)]
pub struct Finisher {
    matching: Matching,
    reference: Option<Array>,
    factor: usize,
    light: Light,
    detail: Detail,
}

impl Finisher {
    /// Pixels of the decoder per pixel of the result.
    pub fn pixels_per_result(&self) -> usize {
        self.factor * self.factor
    }

    /// How far the view of the reference image is stretched to cover a latent of `[h, w]` cells: the logarithm of the ratio
    /// of the two widths over heights; `None` where no image is matched place by place.
    pub fn stretch(&self, [h, w]: [usize; 2]) -> Option<f64> {
        match (&self.reference, self.matching) {
            (Some(image), Matching::Low { .. }) => {
                let (rows, columns) = (image.shape()[1], image.shape()[2]);
                Some(((rows * w) as f64 / (columns * h) as f64).ln())
            }
            _ => None,
        }
    }

    /// The size of the reference image, height and width.
    pub fn reference_size(&self) -> Option<[usize; 2]> {
        let shape = self.reference.as_ref()?.shape();
        Some([shape[1], shape[2]])
    }

    /// The frame to be saved, of the decoder's frame and, with [`Colours::Base`], the base decoder's. Opacity is only reduced.
    ///
    /// # Shapes
    /// `[3, H, W]` and `[3, h, w]` -> `[3, H / f, W / f]`; 4 channels with opacity
    ///
    /// # Errors
    /// [`Error::Shape`] unless both are frames.
    pub fn apply(&self, pixels: Array, base: Option<&Array>) -> Result<Array> {
        let (colours, opacity) = split(pixels)?;
        let base = base.map(|base| split(base.clone())).transpose()?;
        let colours = self.finish_colours(colours, base.as_ref().map(|(colours, _)| colours))?;
        let Some(opacity) = opacity else {
            return Ok(colours);
        };
        let size = [colours.shape()[1], colours.shape()[2]];
        let opacity = match self.factor {
            1 => opacity,
            _ => resize_planes(&opacity, size, Filter::CatmullRom)?,
        };
        join(&colours, Some(&opacity))
    }

    fn finish_colours(&self, mut pixels: Array, base: Option<&Array>) -> Result<Array> {
        if let Some(reference) = base.or(self.reference.as_ref()) {
            pixels = match_color(&pixels, reference, self.matching)?;
        }
        if self.factor > 1 {
            pixels = reduce(&pixels, self.factor, self.light)?;
        }
        self.detail.apply(pixels)
    }
}

/// Brightness is matched coarser than a latent cell, whose size is the longest period of the grids that base decoders leave, and
/// colour coarser than two pixels of the base resolution.
pub(crate) fn low_matching(config: &VaeConfig) -> Result<Matching> {
    Ok(Matching::Low {
        brightness: config.pixels_per_cell()?,
        colour: 2 * config.scale()?,
    })
}

/// The scale of the result; the decoder's scale `own` if none is asked for.
fn checked_scale(asked: Option<usize>, own: usize, channels: usize, name: &str) -> Result<usize> {
    match asked {
        Some(scale) if scale > own => Err(Error::BadRequest(format!(
            "--scale {scale} needs a decoder with {} output channels, such as {}; {name} has {} and decodes at {own}x",
            channels * scale * scale,
            match scale {
                2 => "demo:2x or spacepxl/Wan2.1-VAE-upscale2x",
                _ => "a trained 4x one",
            },
            channels * own * own,
        ))),
        Some(scale) if ![scale, 2 * scale, 4 * scale].contains(&own) => Err(Error::BadRequest(
            format!("--scale {scale}: {name} decodes at {own}x, which is not 1, 2 or 4 times that"),
        )),
        scale => Ok(scale.unwrap_or(own)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_above_the_decoders_is_refused() {
        let finish = |scale: usize, out_channels: usize| {
            let finish = Finish {
                scale: Some(scale),
                ..Finish::default()
            };
            finish.for_decoder(&VaeConfig::with_widths(8, out_channels), "w.safetensors")
        };
        assert_eq!(finish(1, 12).unwrap().pixels_per_result(), 4);
        assert_eq!(finish(2, 12).unwrap().pixels_per_result(), 1);
        assert!(matches!(finish(2, 3), Err(Error::BadRequest(_))));
        assert!(matches!(finish(4, 12), Err(Error::BadRequest(_))));
    }

    #[test]
    fn opacity_is_reduced_and_else_left_alone() {
        let finish = Finish {
            scale: Some(1),
            detail: Detail::Blur(1.0),
            ..Finish::default()
        };
        let config = VaeConfig {
            image_channels: 4,
            ..VaeConfig::with_widths(8, 16)
        };
        let finisher = finish.for_decoder(&config, "w").unwrap();
        let values = |c: usize| if c < 3 { 0.25 } else { -0.5 };
        let data = (0..4).flat_map(|c| vec![values(c); 8 * 12]).collect();
        let frame = Array::new([4, 8, 12], data).unwrap();
        let finished = finisher.apply(frame, None).unwrap();
        assert_eq!(finished.shape(), [4, 4, 6]);
        for (i, value) in finished.data().iter().enumerate() {
            assert!((value - values(i / 24)).abs() < 1e-5, "{i}: {value}");
        }
    }

    #[test]
    fn the_view_of_a_reference_is_compared_by_its_shape() {
        let finish = Finish {
            colours: Colours::Image(Array::zeros([3, 16, 32])),
            ..Finish::default()
        };
        let finisher = finish
            .for_decoder(&VaeConfig::with_widths(8, 3), "w")
            .unwrap();
        assert_eq!(finisher.stretch([4, 8]), Some(0.0));
        assert_eq!(finisher.stretch([8, 8]), Some((0.5f64).ln()));
    }
}
