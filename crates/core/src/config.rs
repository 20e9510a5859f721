//! The configuration of a model: widths, output channels, the statistics of its latent space; and the counting of frames.
//!
//! Widths come from the tensors, statistics from diffusers' `config.json` or from JSON in the safetensors metadata; where
//! both are silent, they are Wan2.1's. Constants are those of Wan2.1's published configuration
//! (<https://huggingface.co/Wan-AI/Wan2.1-T2V-14B-Diffusers/blob/main/vae/config.json>).

use crate::error::{Error, Result};

/// Channels of an image: red, green, blue.
pub const IMAGE_CHANNELS: usize = 3;
/// Channels of an image with opacity, which comes last, in [-1, 1] as the colours are: -1 clear, 1 opaque.
pub const RGBA_CHANNELS: usize = 4;
/// The model that has [`RGBA_CHANNELS`].
pub const LAYERED: &str = "Qwen-Image-Layered's RGBA VAE";

/// Channel means of Wan2.1's raw latents.
pub const WAN21_MEAN: [f32; 16] = [
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517,
    -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
];
/// Channel standard deviations of Wan2.1's raw latents.
pub const WAN21_STD: [f32; 16] = [
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
    1.6382, 1.1253, 2.8251, 1.9160,
];

/// The shape of a VAE and of its latent space.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Width of the encoder's first stage.
    pub encoder_base_dim: usize,
    /// Width of the decoder's last stage.
    pub decoder_base_dim: usize,
    /// Latent channels.
    pub z_dim: usize,
    /// Width of each stage in multiples of the base width, finest first.
    pub dim_mult: [usize; 4],
    /// Residual blocks per encoder stage; the decoder has one more.
    pub num_res_blocks: usize,
    /// Whether the step from stage `i` to `i + 1` of the encoder also halves time.
    pub temporal_downsample: [bool; 3],
    /// Side of the pixel patches that the first convolution reads and the last one writes; 1 for Wan2.1.
    pub patch: usize,
    /// Channels of the images that the encoder takes and the decoder gives: [`IMAGE_CHANNELS`], or [`RGBA_CHANNELS`] in
    /// Qwen-Image-Layered's VAE.
    pub image_channels: usize,
    /// Channels of the decoder's last convolution: `image_channels patch^2 r^2` for an `r`-fold output.
    pub out_channels: usize,
    /// Mean of each raw latent channel.
    pub latents_mean: Vec<f32>,
    /// Standard deviation of each raw latent channel.
    pub latents_std: Vec<f32>,
}

impl Default for VaeConfig {
    /// Wan2.1's published model: base width 96, 3 output channels.
    fn default() -> Self {
        Self {
            encoder_base_dim: 96,
            decoder_base_dim: 96,
            z_dim: 16,
            dim_mult: [1, 2, 4, 4],
            num_res_blocks: 2,
            temporal_downsample: [false, true, true],
            patch: 1,
            image_channels: IMAGE_CHANNELS,
            out_channels: 3,
            latents_mean: WAN21_MEAN.to_vec(),
            latents_std: WAN21_STD.to_vec(),
        }
    }
}

impl VaeConfig {
    /// A model of equal encoder and decoder width, otherwise Wan2.1's.
    pub fn with_widths(base_dim: usize, out_channels: usize) -> Self {
        Self {
            encoder_base_dim: base_dim,
            decoder_base_dim: base_dim,
            out_channels,
            ..Self::default()
        }
    }

    /// Whether images have opacity. Latents of such a model hold layers, where those of others hold the frames of a clip:
    /// `[B, z, L, h, w]` stands for `L` images, each of which is decoded by itself.
    pub fn has_opacity(&self) -> bool {
        self.image_channels == RGBA_CHANNELS
    }

    /// Pixels per latent cell along each axis at base resolution: 8.
    pub fn spatial(&self) -> usize {
        self.patch << (self.dim_mult.len() - 1)
    }

    /// Frames per latent frame, the first excepted: 4.
    pub fn temporal(&self) -> usize {
        1 << self
            .temporal_downsample
            .iter()
            .filter(|&&halves| halves)
            .count()
    }

    /// Frames that `latent_frames` decode to: `1 + 4 (T - 1)`, and none for none.
    pub fn frames(&self, latent_frames: usize) -> usize {
        match latent_frames {
            0 => 0,
            t => 1 + self.temporal() * (t - 1),
        }
    }

    /// Frames of latent frame `t`: 1 for the first, 4 for later ones.
    pub fn frames_of(&self, t: usize) -> usize {
        if t == 0 { 1 } else { self.temporal() }
    }

    /// Latent frames that `frames` encode to; up to three trailing frames that do not fill a latent frame are not used.
    pub fn latent_frames(&self, frames: usize) -> usize {
        match frames {
            0 => 0,
            f => 1 + (f - 1) / self.temporal(),
        }
    }

    /// How many of `frames` the encoder uses: the largest `1 + 4 k` that is not greater.
    pub fn whole_frames(&self, frames: usize) -> usize {
        self.frames(self.latent_frames(frames))
    }

    /// How many times the base resolution the decoder's output has: 1, 2, 4 for 3, 12, 48 output channels, or with opacity
    /// for 4, 16, 64.
    ///
    /// # Errors
    /// [`Error::Config`] unless `out_channels` is `image_channels patch^2 r^2`.
    pub fn scale(&self) -> Result<usize> {
        let channels = self.image_channels * self.patch * self.patch;
        let fits = |r: &usize| channels.checked_mul(r * r) == Some(self.out_channels);
        (1..=8).find(fits).ok_or_else(|| {
            let (c, given) = (self.image_channels, self.out_channels);
            let whose = match self.has_opacity() {
                true => format!("the last convolution of {LAYERED}"),
                false => "the decoder's last convolution".into(),
            };
            Error::Config(format!(
                "{whose} has {given} output channels; expected {c} r^2: {c} (base resolution), {} (2x), {} (4x)",
                4 * c,
                16 * c
            ))
        })
    }

    /// Output pixels per latent cell, along each axis.
    ///
    /// # Errors
    /// As [`Self::scale`].
    pub fn pixels_per_cell(&self) -> Result<usize> {
        Ok(self.spatial() * self.scale()?)
    }

    /// Checks every value against what the architecture allows.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first impossible value.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(Error::Config)
    }

    /// As [`Self::validate`], with the problem in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_widths()?;
        self.check_statistics()?;
        match self.scale() {
            Err(Error::Config(problem)) => Err(problem),
            _ => Ok(()),
        }
    }

    fn check_widths(&self) -> Result<(), String> {
        /// Far above any published width; keeps products of sizes far from overflow.
        const MAX_WIDTH: usize = 4096;
        if self.patch != 1 {
            let patch = self.patch;
            return Err(format!("patches of {patch}x{patch} pixels; expected 1x1"));
        }
        if ![IMAGE_CHANNELS, RGBA_CHANNELS].contains(&self.image_channels) {
            return Err(format!(
                "the encoder's first convolution has {} input channels; expected {IMAGE_CHANNELS}, or {RGBA_CHANNELS} with opacity",
                self.image_channels
            ));
        }
        let widths = [
            ("the encoder's base width", self.encoder_base_dim),
            ("the decoder's base width", self.decoder_base_dim),
            ("z_dim", self.z_dim),
            ("num_res_blocks", self.num_res_blocks),
        ];
        let multiples = self.dim_mult.map(|m| ("dim_mult", m));
        for (name, value) in widths.into_iter().chain(multiples) {
            if !(1..=MAX_WIDTH).contains(&value) {
                return Err(format!("{name} is {value}; expected 1 to {MAX_WIDTH}"));
            }
        }
        // Each upsampling halves the channels.
        let stages = self.dim_mult[1..].iter().map(|m| self.decoder_base_dim * m);
        match stages.into_iter().find(|width| !width.is_multiple_of(2)) {
            Some(odd) => Err(format!(
                "a decoder stage of {odd} channels cannot be halved"
            )),
            None => Ok(()),
        }
    }

    fn check_statistics(&self) -> Result<(), String> {
        for (name, values) in [
            ("latents_mean", &self.latents_mean),
            ("latents_std", &self.latents_std),
        ] {
            let count = values.len();
            if count != self.z_dim {
                return Err(format!(
                    "{name} has {count} values; expected one per latent channel ({})",
                    self.z_dim
                ));
            }
        }
        let is_positive = |s: &&f32| s.is_finite() && **s > 0.0;
        if let Some(bad) = self.latents_std.iter().find(|s| !is_positive(s)) {
            return Err(format!(
                "latents_std holds {bad}; expected positive numbers"
            ));
        }
        if let Some(bad) = self.latents_mean.iter().find(|m| !m.is_finite()) {
            return Err(format!("latents_mean holds {bad}; expected finite numbers"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoders_channels_say_what_the_decoders_mean() {
        let scale = |image_channels: usize, out_channels: usize| {
            let config = VaeConfig {
                image_channels,
                out_channels,
                ..VaeConfig::default()
            };
            config.scale().map_err(|e| e.to_string())
        };
        assert_eq!([scale(4, 4), scale(4, 16)], [Ok(1), Ok(2)]);
        assert_eq!([scale(3, 48), scale(4, 64)], [Ok(4), Ok(4)]);
        let error = scale(4, 12).unwrap_err();
        assert!(
            error.contains(LAYERED) && error.contains("expected 4 r^2"),
            "{error}"
        );
        let error = scale(3, 4).unwrap_err();
        assert!(
            error.contains("the decoder's last convolution has 4"),
            "{error}"
        );
        let two = VaeConfig {
            image_channels: 2,
            out_channels: 2,
            ..VaeConfig::default()
        };
        assert!(two.check().unwrap_err().contains("2 input channels"));
    }

    #[test]
    fn output_channels_give_the_scale() {
        let scale = |out| VaeConfig::with_widths(96, out).scale();
        assert_eq!(
            (scale(3).unwrap(), scale(12).unwrap(), scale(48).unwrap()),
            (1, 2, 4)
        );
        let error = scale(4).unwrap_err();
        assert!(
            matches!(&error, Error::Config(problem) if problem.contains(" 4 ")),
            "{error:?}"
        );
    }

    #[test]
    fn impossible_values_are_named() {
        let problem = |config: VaeConfig| config.check().unwrap_err();
        let no_spread = VaeConfig {
            latents_std: vec![0.0; 16],
            ..VaeConfig::default()
        };
        assert!(problem(no_spread).starts_with("latents_std"));
        let too_few = VaeConfig {
            latents_mean: vec![0.0; 3],
            ..VaeConfig::default()
        };
        assert!(problem(too_few).starts_with("latents_mean"));
        assert!(problem(VaeConfig::with_widths(0, 3)).contains(" 0"));
        assert!(problem(VaeConfig::with_widths(96, 5)).contains(" 5"));
        assert!(VaeConfig::default().validate().is_ok());
    }

    #[test]
    fn frames_agree_with_the_definition() {
        let config = VaeConfig::default();
        assert_eq!((config.spatial(), config.temporal()), (8, 4));
        let frames = [0, 1, 2, 3, 21].map(|n| config.frames(n));
        assert_eq!(frames, [0, 1, 5, 9, 81]);
        let latent = [0, 1, 4, 5, 8, 9, 81].map(|n| config.latent_frames(n));
        assert_eq!(latent, [0, 1, 1, 2, 2, 3, 21]);
        let whole = [0, 1, 4, 5, 8].map(|n| config.whole_frames(n));
        assert_eq!(whole, [0, 1, 1, 5, 5]);
    }
}
