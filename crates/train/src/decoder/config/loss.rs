//! `[loss]` and `[gan]`: what the networks are trained for.

use serde::{Deserialize, Serialize};
use vae2x_nn::loss::fdl::{Axes, FdlConfig, Norm};
use vae2x_nn::loss::gan::GanKind;

/// `[loss]`: weights, 0 for none.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// L1.
    pub l1: f64,
    /// Charbonnier's epsilon in place of plain L1; 0 for L1.
    pub charbonnier: f32,
    /// L1 of unit-normalized VGG19 features, the perceptual term of FDLPIPS; shares its pass with `fdl`. Small: much of it makes
    /// speckles.
    pub feature_l1: f64,
    /// LPIPS with its heads, on VGG16; small too.
    pub lpips: f64,
    /// The frequency distribution loss. It grows with the crop, unless `fdl_options.norm` is `ortho`.
    pub fdl: f64,
    /// Its options.
    pub fdl_options: FdlOptions,
    /// KL divergence to the normal distribution, for `train.parts = ["base"]`.
    pub kl: f64,
    /// VGG16's weights: a torchvision or timm file, a file of the hub (`timm/vgg16.tv_in1k:model.safetensors`), or `random:SEED`.
    pub vgg16: Option<String>,
    /// VGG19's, likewise.
    pub vgg19: Option<String>,
    /// Side of the part of a crop that VGG losses see, drawn at random; 0 for all of it.
    pub vgg_crop: usize,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            l1: 1.0,
            charbonnier: 0.0,
            feature_l1: 0.0,
            lpips: 0.0,
            fdl: 0.0,
            fdl_options: FdlOptions::default(),
            kl: 1e-6,
            vgg16: None,
            vgg19: None,
            vgg_crop: 0,
        }
    }
}

/// The factor of the frequency distribution loss's transform.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FdlNorm {
    /// None, as published.
    #[default]
    Backward,
    /// `1 / sqrt(pixels)` of each feature map.
    Ortho,
}

/// `[loss.fdl_options]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FdlOptions {
    /// 2: height and width. 3, frames too, is for clips, which training does not read yet.
    pub dimensions: u8,
    /// Side of the random kernels.
    pub patch: usize,
    /// Random kernels per layer.
    pub projections: usize,
    /// Weight of angles relative to magnitudes.
    pub phase_weight: f64,
    /// Whether every step draws new kernels, or the run draws them once, from its seed.
    pub resample: bool,
    /// `backward`: the loss doubles with the side of the crop. `ortho`: it does not, and is smaller by the side of each feature map, in
    /// pixels.
    pub norm: FdlNorm,
    /// One per VGG stage; trailing zeros shorten the network.
    pub layer_weights: Vec<f64>,
}

impl Default for FdlOptions {
    fn default() -> Self {
        let FdlConfig {
            patch,
            projections,
            phase_weight,
            stage_weights,
            ..
        } = FdlConfig::default();
        Self {
            dimensions: 2,
            patch,
            projections,
            phase_weight,
            resample: false,
            norm: FdlNorm::Backward,
            layer_weights: stage_weights,
        }
    }
}

impl FdlOptions {
    /// As the loss takes them.
    pub fn to_config(&self) -> FdlConfig {
        FdlConfig {
            axes: match self.dimensions {
                3 => Axes::Volume,
                _ => Axes::Plane,
            },
            patch: self.patch,
            projections: self.projections,
            phase_weight: self.phase_weight,
            norm: match self.norm {
                FdlNorm::Backward => Norm::Backward,
                FdlNorm::Ortho => Norm::Ortho,
            },
            stage_weights: self.layer_weights.clone(),
        }
    }
}

/// The adversarial loss's form.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GanForm {
    /// To 1 and 0.
    #[default]
    LeastSquares,
    /// Beyond 1 and -1.
    Hinge,
}

/// `[gan]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GanConfig {
    /// 0 for no discriminator.
    pub weight: f64,
    /// The form of both losses.
    pub kind: GanForm,
    /// The first step at which the discriminator learns.
    pub start: u64,
    /// Steps in which it learns alone before the adversarial loss acts, whenever the run gets it.
    pub warmup: u64,
    /// Steps in which the weight then grows from 0; 0 for all of it at once.
    pub ramp: u64,
    /// Multiply the weight by the ratio of gradient norms at the decoder's last layer, so that it is the adversarial loss's pull
    /// as a share of all other losses'.
    pub adaptive: bool,
    /// Width of the discriminator's first layer.
    pub width: usize,
    /// Its learning rate.
    pub lr: f64,
    /// Its optimizer's averaging of gradients and of their squares.
    pub betas: [f32; 2],
}

impl Default for GanConfig {
    fn default() -> Self {
        Self {
            weight: 0.0,
            kind: GanForm::LeastSquares,
            start: 0,
            warmup: 1000,
            ramp: 0,
            adaptive: true,
            width: 64,
            lr: 1e-4,
            betas: [0.5, 0.9],
        }
    }
}

impl GanConfig {
    /// The share of the weight with which the adversarial loss acts when the discriminator has learned for so many steps: 0 in its
    /// warmup, 1 after the ramp.
    pub fn share(&self, steps: u64) -> f64 {
        match steps.saturating_sub(self.warmup) {
            0 => 0.0,
            steps if steps <= self.ramp => steps as f64 / (self.ramp as f64 + 1.0),
            _ => 1.0,
        }
    }
}

impl GanForm {
    /// As the loss takes it.
    pub fn to_kind(self) -> GanKind {
        match self {
            Self::LeastSquares => GanKind::LeastSquares,
            Self::Hinge => GanKind::Hinge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adversarial_loss_waits_for_its_critic_and_grows() {
        let gan = GanConfig {
            warmup: 3,
            ramp: 3,
            ..GanConfig::default()
        };
        let shares: Vec<f64> = (2..9).map(|steps| gan.share(steps)).collect();
        assert_eq!(shares, [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
        let at_once = GanConfig { ramp: 0, ..gan };
        assert_eq!([3, 4].map(|steps| at_once.share(steps)), [0.0, 1.0]);
    }
}
