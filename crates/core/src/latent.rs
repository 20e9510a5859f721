//! Latents with their space in the type: raw as the VAE uses them, or normalized per channel as diffusion models do.
//!
//! The only place where one becomes the other. [`guess`] decides which of the two an unmarked latent is.

use crate::array::Array;
use crate::config::VaeConfig;
use crate::error::{Error, Result};

/// A latent as the VAE uses it: `[B, z_dim, T, h, w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw(Array);

/// A latent as diffusion models speak, `(raw - mean) / std` per channel: `[B, z_dim, T, h, w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalized(Array);

/// The two spaces by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// As the VAE uses it.
    Raw,
    /// `(raw - mean) / std` per channel.
    Normalized,
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Normalized => "normalized",
        })
    }
}

impl std::str::FromStr for Space {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "raw" => Ok(Self::Raw),
            "normalized" => Ok(Self::Normalized),
            _ => Err(Error::BadRequest(format!(
                "unknown latent space '{name}'; expected raw or normalized"
            ))),
        }
    }
}

impl Raw {
    /// Takes `[B, C, T, h, w]` as raw.
    ///
    /// # Errors
    /// [`Error::Shape`] unless it has five axes of at least 1.
    pub fn new(array: Array) -> Result<Self> {
        checked(array).map(Self)
    }

    /// The values.
    pub fn array(&self) -> &Array {
        &self.0
    }

    /// Latent frame `t` of item `item`: `[z_dim, 1, h, w]`.
    ///
    /// # Panics
    /// If there is no such frame.
    pub fn frame(&self, item: usize, t: usize) -> Array {
        let shape = self.0.shape();
        let (channels, frames) = (shape[1], shape[2]);
        assert!(
            item < shape[0] && t < frames,
            "there is no such latent frame"
        );
        let plane = shape[3] * shape[4];
        let planes = (0..channels).map(|c| ((item * channels + c) * frames + t) * plane);
        let data = planes.flat_map(|start| &self.0.data()[start..start + plane]);
        let data: Vec<f32> = data.copied().collect();
        Array::new([channels, 1, shape[3], shape[4]], data)
            .unwrap_or_else(|_| unreachable!("each channel gives a plane"))
    }

    /// Each latent frame as an item of its own: `[B, C, L, h, w]` -> `[B L, C, 1, h, w]`, as models with opacity take the
    /// layers of an image.
    #[must_use]
    pub fn frames_as_items(self) -> Self {
        let &[items, channels, frames, h, w] = self.0.shape() else {
            unreachable!("a latent has five axes");
        };
        if frames == 1 {
            return self;
        }
        let each = (0..items).flat_map(|item| (0..frames).map(move |t| (item, t)));
        let data = each.flat_map(|(item, t)| self.frame(item, t).into_data());
        let array = Array::new([items * frames, channels, 1, h, w], data.collect());
        Self(array.unwrap_or_else(|_| unreachable!("no value is lost")))
    }

    /// `(raw - mean) / std`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the channels are not the model's.
    pub fn normalize(self, config: &VaeConfig) -> Result<Normalized> {
        per_channel(self.0, config, |x, mean, std| (x - mean) / std).map(Normalized)
    }
}

impl Normalized {
    /// Takes `[B, C, T, h, w]` as normalized.
    ///
    /// # Errors
    /// [`Error::Shape`] unless it has five axes of at least 1.
    pub fn new(array: Array) -> Result<Self> {
        checked(array).map(Self)
    }

    /// The values.
    pub fn array(&self) -> &Array {
        &self.0
    }

    /// `normalized * std + mean`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the channels are not the model's.
    pub fn denormalize(self, config: &VaeConfig) -> Result<Raw> {
        per_channel(self.0, config, |x, mean, std| x * std + mean).map(Raw)
    }
}

/// Takes `array` as a latent of `space` and gives it as raw.
///
/// # Errors
/// [`Error::Shape`] if the array does not fit the model.
pub fn to_raw(array: Array, space: Space, config: &VaeConfig) -> Result<Raw> {
    match space {
        Space::Raw => Raw::new(array),
        Space::Normalized => Normalized::new(array)?.denormalize(config),
    }
}

fn checked(array: Array) -> Result<Array> {
    let dims: [usize; 5] = array.dims("latent")?;
    if dims.contains(&0) {
        return Err(Error::Shape {
            what: "latent".into(),
            expected: "extents of at least 1".into(),
            got: format!("shape {dims:?}"),
        });
    }
    Ok(array)
}

fn per_channel(
    mut array: Array,
    config: &VaeConfig,
    f: impl Fn(f32, f32, f32) -> f32,
) -> Result<Array> {
    let [_, channels, t, h, w] = array.dims("latent")?;
    if channels != config.latents_mean.len() || channels != config.latents_std.len() {
        return Err(Error::Shape {
            what: "latent".into(),
            expected: format!("{} channels", config.latents_mean.len()),
            got: format!("{channels}"),
        });
    }
    for (i, plane) in array.data_mut().chunks_exact_mut(t * h * w).enumerate() {
        let (mean, std) = (
            config.latents_mean[i % channels],
            config.latents_std[i % channels],
        );
        plane.iter_mut().for_each(|x| *x = f(*x, mean, std));
    }
    Ok(array)
}

/// The result of [`guess`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// The likelier space.
    pub space: Space,
    /// Probability of `space` under the two models, in [0.5, 1].
    pub confidence: f32,
}

/// Decides from per-channel statistics whether unmarked latents `[B, C, T, h, w]` are raw or normalized.
///
/// Over many images a normalized channel has mean 0 and standard deviation 1, a raw one those of the config. A single
/// image strays far from both, but orderly: low contrast shrinks all its channels alike. So each space is scored by how
/// far the channels' means lie from the expected ones, how far the logarithms of their deviations scatter around a common
/// shift, and how far that shift is from the usual one, all under Gaussians. Small or flat images can be misjudged;
/// with good contrast the confidence is near 1.
///
/// # Errors
/// [`Error::Shape`] if the channels are not the model's.
pub fn guess(latent: &Array, config: &VaeConfig) -> Result<Guess> {
    /// From this many cells on, means and deviations are those of an image rather than of a spot.
    const TELLING_CELLS: f64 = 64.0;
    /// Channels of one image are correlated: the evidence of 16 counts as that of this many.
    const INDEPENDENT_CHANNELS: f64 = 8.0;

    let [batch, channels, t, h, w] = latent.dims("latent")?;
    if channels != config.latents_mean.len() || channels != config.latents_std.len() {
        return Err(Error::Shape {
            what: "latent".into(),
            expected: format!("{} channels", config.latents_mean.len()),
            got: format!("{channels}"),
        });
    }
    let sample: Vec<_> = (0..channels)
        .map(|c| {
            let planes = (0..batch)
                .flat_map(|b| &latent.data()[(b * channels + c) * t * h * w..][..t * h * w]);
            mean_and_std(planes)
        })
        .collect();
    let raw = config
        .latents_mean
        .iter()
        .zip(&config.latents_std)
        .map(|(&m, &s)| (f64::from(m), f64::from(s)));
    let normalized = std::iter::repeat_n((0.0, 1.0), channels);
    let evidence = log_likelihood(&sample, raw, t) - log_likelihood(&sample, normalized, t);
    let cells = (batch * t * h * w) as f64;
    let odds = evidence * INDEPENDENT_CHANNELS / channels as f64 * (cells / TELLING_CELLS).min(1.0);
    let raw = 1.0 / (1.0 + (-odds).exp());
    Ok(match raw >= 0.5 {
        true => Guess {
            space: Space::Raw,
            confidence: raw as f32,
        },
        false => Guess {
            space: Space::Normalized,
            confidence: (1.0 - raw) as f32,
        },
    })
}

/// How well the channels' means and deviations fit the expected ones, for a latent of `t` frames.
///
/// The constants come from a real clip of Wan2.1 (16 latent frames of 40 x 64 cells, normalized): channel means of its
/// frames have a root mean square of 0.34 to 0.40; logarithms of channel deviations scatter by 0.19 to 0.22 around their
/// average, which is -0.76 for the first frame, -0.35 to -0.14 for later ones and -0.18 for the whole.
fn log_likelihood(
    sample: &[(f64, f64)],
    expected: impl Iterator<Item = (f64, f64)>,
    t: usize,
) -> f64 {
    /// Spread of a channel's mean around the expectation, in units of the channel's deviation.
    const MEAN_SPREAD: f64 = 0.4;
    /// Spread of the logarithm of a channel's deviation around the shift that all channels share.
    const LOG_STD_SPREAD: f64 = 0.25;
    /// The usual shift of images and of clips.
    const SHIFT: [f64; 2] = [-0.7, -0.2];
    /// Spread of the shift: one clip reveals little of it.
    const SHIFT_SPREAD: f64 = 0.4;

    /// A channel with less than this share of its usual deviation shows nothing: flat images are judged by their means.
    const FLAT: f64 = 0.1;

    let mut score = 0.0;
    let mut logs = Vec::with_capacity(sample.len());
    for (&(mean, std), (expected_mean, expected_std)) in sample.iter().zip(expected) {
        let m = (mean - expected_mean) / (MEAN_SPREAD * expected_std);
        // The mean's density is per unit of the latent, hence the logarithm of its width.
        score -= 0.5 * m * m + expected_std.ln();
        logs.push((std / expected_std).max(FLAT).ln());
    }
    // With a common shift of its own spread, n logarithms have one direction of variance LOG_STD^2 + n SHIFT^2.
    let n = logs.len().max(1) as f64;
    let shift = logs.iter().sum::<f64>() / n;
    let scatter: f64 = logs.iter().map(|l| (l - shift).powi(2)).sum();
    let off = n * (shift - SHIFT[usize::from(t > 1)]).powi(2);
    score
        - 0.5
            * (scatter / LOG_STD_SPREAD.powi(2)
                + off / (LOG_STD_SPREAD.powi(2) + n * SHIFT_SPREAD.powi(2)))
}

fn mean_and_std<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = values.map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalize_undoes_denormalize() {
        let config = VaeConfig::default();
        let array =
            Array::new([1, 16, 1, 2, 2], (0..64).map(|i| i as f32 / 10.0).collect()).unwrap();
        let back = Normalized::new(array.clone())
            .unwrap()
            .denormalize(&config)
            .unwrap()
            .normalize(&config)
            .unwrap();
        for (a, b) in array.data().iter().zip(back.array().data()) {
            assert!((a - b).abs() <= 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn denormalize_uses_each_channels_own_statistics() {
        let config = VaeConfig::default();
        let raw = Normalized::new(Array::zeros([2, 16, 1, 1, 1]))
            .unwrap()
            .denormalize(&config)
            .unwrap();
        assert_eq!(raw.array().data()[..16], config.latents_mean);
        assert_eq!(raw.array().data()[16..], config.latents_mean);
    }

    #[test]
    fn empty_and_foreign_latents_are_refused() {
        assert!(Raw::new(Array::zeros([1, 16, 0, 4, 4])).is_err());
        assert!(Raw::new(Array::zeros([16, 4, 4])).is_err());
        let foreign = Raw::new(Array::zeros([1, 48, 1, 4, 4])).unwrap();
        assert!(foreign.normalize(&VaeConfig::default()).is_err());
    }

    #[test]
    fn a_latent_frame_is_cut_from_every_channel() {
        let values = (0..2 * 3 * 4 * 2).map(|i| i as f32).collect();
        let raw = Raw::new(Array::new([2, 3, 4, 1, 2], values).unwrap()).unwrap();
        let frame = raw.frame(1, 2);
        assert_eq!(frame.shape(), [3, 1, 1, 2]);
        assert_eq!(frame.data(), [28., 29., 36., 37., 44., 45.]);
        assert_eq!(frame, raw.array().item(1).narrow1(2..3));
        let layers = raw.clone().frames_as_items();
        assert_eq!(layers.array().shape(), [8, 3, 1, 1, 2]);
        assert_eq!(layers.frame(6, 0), raw.frame(1, 2));
    }

    #[test]
    fn the_guess_follows_the_statistics() {
        let config = VaeConfig::default();
        // A deterministic spread of values with mean 0 and deviation near 0.8 in each channel.
        let wave = |i: usize| 1.13 * ((i as f32) * 0.7).sin();
        let normalized = Array::new([1, 16, 1, 8, 8], (0..1024).map(wave).collect()).unwrap();
        let verdict = guess(&normalized, &config).unwrap();
        assert_eq!(verdict.space, Space::Normalized);
        assert!(verdict.confidence > 0.9, "{verdict:?}");
        let raw = Normalized::new(normalized)
            .unwrap()
            .denormalize(&config)
            .unwrap();
        let verdict = guess(raw.array(), &config).unwrap();
        assert_eq!(verdict.space, Space::Raw);
        assert!(verdict.confidence > 0.9, "{verdict:?}");
    }
}
