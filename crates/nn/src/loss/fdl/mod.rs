//! The frequency distribution loss: sliced Wasserstein distances between the spectra of VGG19 features.
//!
//! Source: Ni et al., "Misalignment-robust frequency distribution loss for image transformation", 2024
//! (<https://github.com/eezkni/FDL>). Per stage, the magnitude and the angle of the features' discrete Fourier transform are
//! convolved, without padding, with random kernels of unit norm; the responses of each kernel are sorted, and the sorted lists
//! of both images compared by their mean absolute difference. Its form for clips, scale and number of kernels are those of
//! FDLPIPS (<https://github.com/spacepxl/FDLPIPS>).
//!
//! The published transform is not normalized: magnitudes, and with them the loss, grow with the square root of the number of
//! pixels, so a weight that fits one crop is half of what fits one of half its side. [`Norm::Ortho`] takes that out.

mod graph;
mod spectrum;

use burn::tensor::{Device, Distribution, Tensor};
use vae2x_core::{Error, Result};

use super::lpips::sum;

/// Added to the squared magnitude under its root; far below the rounding of any bin that matters.
const SMALLEST: f32 = 1e-20;
/// FDLPIPS' factor of the whole loss, which brings it into the range of its perceptual term.
const SCALE: f64 = 1e-3;

/// Axes of the transform and of the kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axes {
    /// Height and width, for images.
    #[default]
    Plane,
    /// Frames, height and width, for clips.
    Volume,
}

/// The factor of the transform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norm {
    /// None, as published: the loss grows with the size of images.
    #[default]
    Backward,
    /// `1 / sqrt(bins)`: the transform keeps the power, whatever the size.
    Ortho,
}

/// What to compare, and how strongly.
#[derive(Clone, Debug, PartialEq)]
pub struct FdlConfig {
    /// Axes of the transform.
    pub axes: Axes,
    /// Side of the random kernels.
    pub patch: usize,
    /// Random kernels per stage.
    pub projections: usize,
    /// The weight of the angles' term relative to the magnitudes'.
    pub phase_weight: f64,
    /// The factor of the transform.
    pub norm: Norm,
    /// One per stage; a stage of weight 0 is left out.
    pub stage_weights: Vec<f64>,
}

impl Default for FdlConfig {
    /// FDLPIPS' kernels without its angles, which change its gradient by a ten-thousandth at their weight of 0.01.
    fn default() -> Self {
        Self {
            axes: Axes::Plane,
            patch: 5,
            projections: 64,
            phase_weight: 0.0,
            norm: Norm::Backward,
            stage_weights: vec![1.0; 5],
        }
    }
}

impl FdlConfig {
    /// The shape of a stage's kernels.
    ///
    /// # Shapes
    /// `[P, C, kt, k, k]`
    pub fn kernels(&self, channels: usize) -> [usize; 5] {
        let [frames, height, width] = self.window();
        [self.projections, channels, frames, height, width]
    }

    /// Frames, height and width of a kernel.
    fn window(&self) -> [usize; 3] {
        match self.axes {
            Axes::Plane => [1, self.patch, self.patch],
            Axes::Volume => [self.patch; 3],
        }
    }

    /// The factor of the magnitudes of `[B, C, F, H, W]` features.
    fn scale(&self, [_, _, f, h, w]: [usize; 5]) -> f64 {
        match self.norm {
            Norm::Backward => 1.0,
            Norm::Ortho => 1.0 / ((f * h * w) as f64).sqrt(),
        }
    }
}

/// Random kernels.
#[derive(Clone, Debug)]
pub struct Projections {
    /// `[P, C, kt, k, k]` per stage; `None` where the stage is left out.
    pub stages: Vec<Option<Tensor<5>>>,
}

impl Projections {
    /// Draws kernels for stages of so many channels from the device's random numbers.
    pub fn sample(config: &FdlConfig, channels: &[usize], device: &Device) -> Self {
        let normal = Distribution::Normal(0.0, 1.0);
        let stages = channels.iter().zip(&config.stage_weights);
        let draw = |(&channels, &weight): (&usize, &f64)| {
            let shape = config.kernels(channels);
            (weight != 0.0).then(|| unit_kernels(Tensor::random(shape, normal, device)))
        };
        Self {
            stages: stages.map(draw).collect(),
        }
    }
}

/// Divides each kernel by its 2-norm.
///
/// # Shapes
/// `[P, C, kt, k, k]` -> the same
pub fn unit_kernels(kernels: Tensor<5>) -> Tensor<5> {
    let [p, ..] = kernels.dims();
    let norm = kernels
        .clone()
        .flatten::<2>(1, 4)
        .square()
        .sum_dim(1)
        .sqrt();
    kernels / norm.reshape([p, 1, 1, 1, 1])
}

/// The terms of one stage, of each image or clip.
#[derive(Clone, Debug)]
pub struct Terms {
    /// `[B]`
    pub magnitude: Tensor<1>,
    /// `[B]`; `None` if it has no weight.
    pub angle: Option<Tensor<1>>,
}

/// The loss of each image or clip of a batch: `0.001 * sum over stages of weight * (magnitude + phase_weight * angle)`. Stages
/// that are smaller than a kernel are left out. `y` is a constant.
///
/// # Shapes
/// lists of `[B, C, H, W]` for [`Axes::Plane`], of `[B, C, F, H, W]` for [`Axes::Volume`] -> `[B]`
///
/// # Errors
/// [`Error::Config`] if no stage is as large as a kernel, [`Error::Shape`] if features are not as above.
pub fn fdl<const D: usize>(
    config: &FdlConfig,
    projections: &Projections,
    x: &[Tensor<D>],
    y: &[Tensor<D>],
) -> Result<Tensor<1>> {
    let mut terms = Vec::new();
    let stages = x.iter().zip(y).zip(&projections.stages);
    for (((x, y), kernels), weight) in stages.zip(&config.stage_weights) {
        let Some(kernels) = kernels else { continue };
        let (x, y) = (as_clip(config, x)?, as_clip(config, y)?);
        let is_covered = x.dims()[2..]
            .iter()
            .zip(config.window())
            .all(|(side, k)| *side >= k);
        if !is_covered {
            continue;
        }
        let Terms { magnitude, angle } = stage(config, kernels, &x, &y);
        let angle = angle.map(|angle| angle.mul_scalar(config.phase_weight));
        let both = angle.into_iter().fold(magnitude, |sum, angle| sum + angle);
        terms.push(both.mul_scalar(SCALE * weight));
    }
    if terms.is_empty() {
        let [frames, height, width] = config.window();
        return Err(Error::Config(format!(
            "no feature map is as large as a kernel of {frames}x{height}x{width}"
        )));
    }
    Ok(sum(terms.into_iter()))
}

/// # Shapes
/// `[B, C, H, W]` -> `[B, C, 1, H, W]`; `[B, C, F, H, W]` -> the same
fn as_clip<const D: usize>(config: &FdlConfig, features: &Tensor<D>) -> Result<Tensor<5>> {
    let shape = match (config.axes, features.dims()[..].as_ref()) {
        (Axes::Plane, &[b, c, h, w]) => [b, c, 1, h, w],
        (Axes::Volume, &[b, c, f, h, w]) => [b, c, f, h, w],
        (axes, got) => {
            return Err(Error::Shape {
                what: "features for the frequency distribution loss".into(),
                expected: match axes {
                    Axes::Plane => "[B, C, H, W]".into(),
                    Axes::Volume => "[B, C, F, H, W]".into(),
                },
                got: format!("{got:?}"),
            });
        }
    };
    Ok(features.clone().reshape(shape))
}

/// The terms of one stage. `y` is a constant.
///
/// # Shapes
/// kernels `[P, C, kt, k, k]`, features `[B, C, F, H, W]`, one frame for [`Axes::Plane`]
pub fn stage(config: &FdlConfig, kernels: &Tensor<5>, x: &Tensor<5>, y: &Tensor<5>) -> Terms {
    graph::stage(config, kernels, x, &y.clone().detach())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(c: usize, h: usize, w: usize) -> Tensor<5> {
        let values: Vec<f32> = vae2x_core::weights::formula::unit("spectrum", c * h * w).collect();
        Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([1, c, 1, h, w])
    }

    #[test]
    fn equal_distributions_are_at_distance_0_wherever_their_values_lie() {
        let x = image(2, 8, 8);
        let kernels = unit_kernels(image(2, 3, 3));
        let config = FdlConfig {
            phase_weight: 1.0,
            ..FdlConfig::default()
        };
        let same = stage(&config, &kernels, &x, &x);
        assert_eq!(same.magnitude.into_scalar::<f32>(), 0.0);
        assert_eq!(same.angle.unwrap().into_scalar::<f32>(), 0.0);
        // A cyclic shift changes angles alone.
        let shifted = Tensor::cat(
            vec![x.clone().narrow(4, 3, 5), x.clone().narrow(4, 0, 3)],
            4,
        );
        let moved = stage(&config, &kernels, &x, &shifted);
        assert!(moved.magnitude.into_scalar::<f32>() < 1e-5);
        assert!(moved.angle.unwrap().into_scalar::<f32>() > 1e-3);
    }

    #[test]
    fn the_loss_grows_with_the_size_of_images_unless_the_transform_is_orthonormal() {
        let value = |norm: Norm, side: usize| {
            let config = FdlConfig {
                norm,
                stage_weights: vec![1.0],
                ..FdlConfig::default()
            };
            let device = Device::flex();
            device.seed(7);
            let projections = Projections::sample(&config, &[2], &device);
            let noise = |scale: f64| {
                Tensor::<4>::random(
                    [1, 2, side, side],
                    Distribution::Normal(0.0, scale),
                    &device,
                )
            };
            let loss = fdl(&config, &projections, &[noise(1.0)], &[noise(0.5)]).unwrap();
            loss.into_scalar::<f32>()
        };
        let growth = |norm: Norm| value(norm, 64) / value(norm, 16);
        assert!((growth(Norm::Backward) / 4.0 - 1.0).abs() < 0.2);
        assert!((growth(Norm::Ortho) - 1.0).abs() < 0.2);
    }

    #[test]
    fn kernels_have_unit_norm_and_stages_without_weight_none() {
        let config = FdlConfig {
            patch: 3,
            projections: 4,
            stage_weights: vec![1.0, 0.0],
            axes: Axes::Volume,
            ..FdlConfig::default()
        };
        let projections = Projections::sample(&config, &[2, 2], &Device::flex());
        assert!(projections.stages[1].is_none());
        let kernels = projections.stages[0].clone().unwrap();
        assert_eq!(kernels.dims(), [4, 2, 3, 3, 3]);
        let norms: Vec<f32> = kernels
            .flatten::<2>(1, 4)
            .square()
            .sum_dim(1)
            .try_into_vec_as()
            .unwrap();
        assert!(norms.iter().all(|n| (n - 1.0).abs() < 1e-5), "{norms:?}");
    }

    #[test]
    fn features_of_another_form_and_maps_smaller_than_kernels_are_refused() {
        let map = |side: usize| vec![Tensor::<4>::ones([1, 2, side, side], &Device::flex())];
        for axes in [Axes::Plane, Axes::Volume] {
            let config = FdlConfig {
                axes,
                ..FdlConfig::default()
            };
            let projections = Projections::sample(&config, &[2], &Device::flex());
            let problem = |side: usize| {
                fdl(&config, &projections, &map(side), &map(side))
                    .map(|_| ())
                    .unwrap_err()
                    .to_string()
            };
            match axes {
                Axes::Plane => assert!(problem(4).contains("1x5x5")),
                Axes::Volume => assert!(problem(8).contains("[B, C, F, H, W]")),
            }
        }
    }
}
