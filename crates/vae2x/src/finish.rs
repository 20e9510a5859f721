//! Finishing of decoded frames before they are saved: colours, then size, then detail.

use std::sync::Arc;

use vae2x_core::{Array, Error, Result, VaeConfig};
use vae2x_media::match_color::{Correction, Matching, Statistics, match_color};
use vae2x_media::opacity::{join, split};
use vae2x_media::reduce::reduce;
use vae2x_media::resample::{Filter, resize_planes};
use vae2x_media::sharpen::{blur, sharpen};

pub use vae2x_media::pixels::Overshoot;
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
    /// Whether the slow drift of a clip's colours is levelled, towards its first frame.
    pub levels_drift: bool,
    /// The change of detail.
    pub detail: Detail,
    /// What becomes of values beyond [-1, 1], last of all.
    pub overshoot: Overshoot,
}

/// The source of a result's colours.
#[derive(Clone, Debug, Default)]
pub enum Colours {
    /// The decoder itself.
    #[default]
    Own,
    /// This image of the same view, `[3, h, w]`. All frames of a clip get the change of its first one.
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
        self.scale.is_some()
            || self.detail != Detail::Keep
            || self.levels_drift
            || !matches!(self.colours, Colours::Own)
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
                Colours::Image(image) => Some(Arc::new(image)),
                Colours::Own | Colours::Base => None,
            },
            levels_drift: self.levels_drift,
            factor: own / scale,
            light: self.light,
            detail: self.detail,
            overshoot: self.overshoot,
        })
    }
}

/// The finishing of one decoder's frames. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Finisher {
    matching: Matching,
    reference: Option<Arc<Array>>,
    levels_drift: bool,
    factor: usize,
    light: Light,
    detail: Detail,
    overshoot: Overshoot,
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

    /// The finishing of one clip, whose frames share one change of colours.
    pub fn clip(&self) -> ClipFinisher {
        ClipFinisher {
            finisher: self.clone(),
            correction: None,
            drift: None,
        }
    }

    /// As [`ClipFinisher::apply`], for a single image.
    ///
    /// # Errors
    /// As [`ClipFinisher::apply`].
    pub fn apply(&self, pixels: Array, base: Option<&Array>) -> Result<Array> {
        self.clip().apply(pixels, base)
    }
}

/// The finishing of one clip's frames, in their order.
#[derive(Clone, Debug)]
pub struct ClipFinisher {
    finisher: Finisher,
    /// What gives the first frame the reference's colours.
    correction: Option<Correction>,
    drift: Option<Drift>,
}

impl ClipFinisher {
    /// Forgets the frames so far: the next one is the first of another clip.
    pub fn begin(&mut self) {
        self.correction = None;
        self.drift = None;
    }

    /// The frame to be saved, of the decoder's frame and, with [`Colours::Base`], the base decoder's. Opacity is only reduced.
    ///
    /// # Shapes
    /// `[3, H, W]` and `[3, h, w]` -> `[3, H / f, W / f]`; 4 channels with opacity
    ///
    /// # Errors
    /// [`Error::Shape`] unless both are frames, of the first one's size.
    pub fn apply(&mut self, pixels: Array, base: Option<&Array>) -> Result<Array> {
        let (colours, opacity) = split(pixels)?;
        let base = base.map(|base| split(base.clone())).transpose()?;
        let colours = self.match_colours(colours, base.as_ref().map(|(colours, _)| colours))?;
        let finisher = &self.finisher;
        let colours = match finisher.factor {
            1 => colours,
            factor => reduce(&colours, factor, finisher.light)?,
        };
        let colours = finisher.overshoot.limit(finisher.detail.apply(colours)?);
        let Some(opacity) = opacity else {
            return Ok(colours);
        };
        let size = [colours.shape()[1], colours.shape()[2]];
        let opacity = match finisher.factor {
            1 => opacity,
            _ => resize_planes(&opacity, size, Filter::CatmullRom)?,
        };
        join(&colours, Some(&opacity))
    }

    fn match_colours(&mut self, mut pixels: Array, base: Option<&Array>) -> Result<Array> {
        let finisher = &self.finisher;
        match (base, &finisher.reference) {
            (Some(base), _) => pixels = match_color(&pixels, base, finisher.matching)?,
            (None, Some(reference)) => {
                let correction = match self.correction.take() {
                    Some(correction) => correction,
                    None => Correction::between(&pixels, reference, finisher.matching)?,
                };
                pixels = self.correction.insert(correction).apply(&pixels)?;
            }
            (None, None) => (),
        }
        if !finisher.levels_drift {
            return Ok(pixels);
        }
        let own = Statistics::of(&pixels)?;
        let drift = self.drift.get_or_insert(Drift::from(own));
        drift.follow(&own).apply(&pixels)
    }
}

/// Means and deviations of the colours of a clip: at its first frame, and of late.
#[derive(Clone, Copy, Debug)]
struct Drift {
    first: Statistics,
    recent: Statistics,
}

impl From<Statistics> for Drift {
    fn from(first: Statistics) -> Self {
        Self {
            first,
            recent: first,
        }
    }
}

impl Drift {
    /// The weight of a new frame among the recent ones: what lasts one frame changes nothing visible, and what lasts a second
    /// or two is levelled.
    const SHARE: f64 = 1.0 / 16.0;

    /// Takes the next frame's statistics, and gives the change that levels what has built up.
    fn follow(&mut self, own: &Statistics) -> Correction {
        self.recent = self.recent.moved_to(own, Self::SHARE);
        Correction::between_statistics(&self.recent, &self.first)
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

    /// Frames of a wave, each with its own shift of all colours.
    fn shifted(shifts: impl Iterator<Item = f32>) -> impl Iterator<Item = Array> {
        shifts.map(|shift| {
            let value = |i: usize| 0.3 * (i as f32 * 0.37).sin() + shift;
            Array::new([3, 32, 32], (0..3 * 1024).map(value).collect()).unwrap()
        })
    }

    fn mean(frame: &Array) -> f64 {
        frame.data().iter().map(|&v| f64::from(v)).sum::<f64>() / frame.data().len() as f64
    }

    #[test]
    fn the_frames_of_a_clip_share_one_change_of_colours() {
        for taking in [Taking::Low, Taking::Stats] {
            let reference = shifted([0.2].into_iter()).next().unwrap();
            let finish = Finish {
                colours: Colours::Image(reference.clone()),
                taking,
                ..Finish::default()
            };
            let config = VaeConfig::with_widths(8, 3);
            let finisher = finish.for_decoder(&config, "w").unwrap();
            let mut clip = finisher.clip();
            let frames = shifted([0.0, 0.1, -0.1].into_iter());
            let frames = frames.map(|frame| mean(&clip.apply(frame, None).unwrap()));
            let frames: Vec<f64> = frames.collect();
            for (found, wanted) in frames.iter().zip([0.2, 0.3, 0.1]) {
                let wanted = wanted + mean(&reference) - 0.2;
                assert!((found - wanted).abs() < 1e-3, "{frames:?}");
            }
        }
    }

    #[test]
    fn a_slow_drift_is_levelled_and_a_flash_stays() {
        let finish = Finish {
            levels_drift: true,
            ..Finish::default()
        };
        assert!(finish.is_asked_for());
        let config = VaeConfig::with_widths(8, 3);
        let finisher = finish.for_decoder(&config, "w").unwrap();
        let mut clip = finisher.clip();
        let shifts = (0..80).map(|i| if i == 40 { 0.6 } else { 0.002 * i as f32 });
        let frames: Vec<f64> = shifted(shifts)
            .map(|frame| mean(&clip.apply(frame, None).unwrap()))
            .collect();
        let moved = |i: usize| frames[i] - frames[0];
        // What builds up over 16 frames is left.
        assert!((0.02..0.04).contains(&moved(79)), "{}", moved(79));
        assert!(moved(40) > 0.45, "{}", moved(40));
        assert!(
            (moved(41) - moved(39)).abs() < 0.05,
            "{} {}",
            moved(39),
            moved(41)
        );
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
