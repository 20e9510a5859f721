//! The frequency distribution loss: sliced Wasserstein distances between the spectra of VGG19 features.
//!
//! Source: Ni et al., "Misalignment-robust frequency distribution loss for image transformation", 2024
//! (<https://github.com/eezkni/FDL>). Per stage, the magnitude and the angle of the features' discrete Fourier transform are
//! convolved, without padding, with random kernels of unit norm; the responses of each kernel are sorted, and the sorted lists
//! of both images compared by their mean absolute difference.
//!
//! The transform is a product with matrices of cosines and sines: exact for any size, differentiable on every device, and
//! stages below 16 are too small for a fast transform to matter. Sines at multiples of pi are exact zeros, so that the angle of
//! bins that are real by symmetry does not depend on rounding. Its gradient is unbounded at a zero magnitude and jumps at the
//! cut of the angle; [`SMALLEST`] bounds it.

use crate::conv::conv2d;
use crate::sort::sort_last;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use vae2x_core::{Error, Result};

use super::lpips::sum;

/// Added to the squared magnitude under its root; far below the rounding of any bin that matters.
const SMALLEST: f32 = 1e-20;
/// The published scale of the whole loss.
const SCALE: f64 = 1e-3;

/// Over which axes of `[C, H, W]` features the transform goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axes {
    /// Height and width: the published form.
    #[default]
    Plane,
    /// Channels too, so that relations between channels have a phase.
    Volume,
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
    /// One per stage; a stage of weight 0 is left out.
    pub stage_weights: Vec<f64>,
}

impl Default for FdlConfig {
    /// The published kernels, and a small phase weight.
    fn default() -> Self {
        Self {
            axes: Axes::Plane,
            patch: 5,
            projections: 256,
            phase_weight: 0.01,
            stage_weights: vec![1.0; 5],
        }
    }
}

/// Random kernels of one step.
#[derive(Clone, Debug)]
pub struct Projections {
    /// `[P, C, k, k]` per stage; `None` where the stage is left out or its map is smaller than a kernel.
    pub stages: Vec<Option<Tensor<4>>>,
}

impl Projections {
    /// Draws kernels for features of these shapes from the device's random numbers.
    pub fn sample(config: &FdlConfig, features: &[[usize; 4]], device: &Device) -> Self {
        let draw = |(&[_, c, h, w], &weight): (&[usize; 4], &f64)| {
            let shape = [config.projections, c, config.patch, config.patch];
            let is_used = weight != 0.0 && h.min(w) >= config.patch;
            is_used.then(|| {
                unit_kernels(Tensor::random(
                    shape,
                    Distribution::Normal(0.0, 1.0),
                    device,
                ))
            })
        };
        Self {
            stages: features
                .iter()
                .zip(&config.stage_weights)
                .map(draw)
                .collect(),
        }
    }
}

/// Divides each kernel by its 2-norm.
///
/// # Shapes
/// `[P, C, k, k]` -> the same
pub fn unit_kernels(kernels: Tensor<4>) -> Tensor<4> {
    let [p, ..] = kernels.dims();
    let norm = kernels
        .clone()
        .flatten::<2>(1, 3)
        .square()
        .sum_dim(1)
        .sqrt();
    kernels / norm.reshape([p, 1, 1, 1])
}

/// The loss of each image of a batch: `0.001 * sum over stages of weight * (magnitude + phase_weight * angle)`.
///
/// # Shapes
/// lists of `[B, C, H, W]` -> `[B]`
///
/// # Errors
/// [`Error::Config`] if no stage is large enough for a kernel.
pub fn fdl(
    config: &FdlConfig,
    projections: &Projections,
    x: &[Tensor<4>],
    y: &[Tensor<4>],
) -> Result<Tensor<1>> {
    let used = |i: usize| {
        projections
            .stages
            .get(i)
            .and_then(Option::as_ref)
            .map(|kernels| (i, kernels))
    };
    let terms: Vec<_> = (0..x.len().min(y.len()))
        .filter_map(used)
        .map(|(i, kernels)| {
            let (amplitude, phase) = stage(config, kernels, x[i].clone(), y[i].clone());
            let phase = phase.map(|p| p.mul_scalar(config.phase_weight));
            let both = phase.into_iter().fold(amplitude, |a, p| a + p);
            both.mul_scalar(SCALE * config.stage_weights[i])
        })
        .collect();
    if terms.is_empty() {
        return Err(Error::Config(format!(
            "no feature map is as large as a kernel of {0}x{0}",
            config.patch
        )));
    }
    Ok(sum(terms.into_iter()))
}

/// The terms of one stage: magnitudes, and angles unless they have no weight.
///
/// # Shapes
/// kernels `[P, C, k, k]`, features `[B, C, H, W]` -> `[B]` each
pub fn stage(
    config: &FdlConfig,
    kernels: &Tensor<4>,
    x: Tensor<4>,
    y: Tensor<4>,
) -> (Tensor<1>, Option<Tensor<1>>) {
    let (x, y) = (Spectrum::of(x, config.axes), Spectrum::of(y, config.axes));
    let amplitude = sliced_wasserstein(x.magnitude(), y.magnitude(), kernels);
    let phase =
        (config.phase_weight != 0.0).then(|| sliced_wasserstein(x.angle(), y.angle(), kernels));
    (amplitude, phase)
}

/// `mean |sort(kernels * x) - sort(kernels * y)|`, per image.
fn sliced_wasserstein(x: Tensor<4>, y: Tensor<4>, kernels: &Tensor<4>) -> Tensor<1> {
    let sorted = |map: Tensor<4>| {
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let responses = conv2d(map, kernels.clone(), None, options);
        let [b, p, h, w] = responses.dims();
        sort_last(responses.reshape([b, p, h * w]))
    };
    let [batch, ..] = x.dims();
    (sorted(x) - sorted(y))
        .abs()
        .mean_dim(2)
        .mean_dim(1)
        .reshape([batch])
}

/// A complex tensor `[B, C, H, W]`.
struct Spectrum {
    re: Tensor<4>,
    im: Tensor<4>,
}

impl Spectrum {
    fn of(x: Tensor<4>, axes: Axes) -> Self {
        let [_, c, h, w] = x.dims();
        let like = (&x.device(), x.dtype());
        // Along the width, from real values.
        let (cos, sin) = dft(w, like);
        let re = x.clone().matmul(cos.unsqueeze());
        let im = x.matmul(sin.unsqueeze()).neg();
        let (cos, sin) = dft(h, like);
        let plane = Self { re, im }.product(
            |t| cos.clone().unsqueeze::<4>().matmul(t),
            |t| sin.clone().unsqueeze::<4>().matmul(t),
        );
        if axes == Axes::Plane {
            return plane;
        }
        let (cos, sin) = dft(c, like);
        let along_channels = |matrix: &Tensor<2>, t: Tensor<4>| {
            let [b, ..] = t.dims();
            matrix
                .clone()
                .unsqueeze::<3>()
                .matmul(t.reshape([b, c, h * w]))
                .reshape([b, c, h, w])
        };
        plane.product(|t| along_channels(&cos, t), |t| along_channels(&sin, t))
    }

    /// `(cos - i sin) (re + i im)`, the matrices standing for themselves.
    fn product(
        self,
        cos: impl Fn(Tensor<4>) -> Tensor<4>,
        sin: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> Self {
        Self {
            re: cos(self.re.clone()) + sin(self.im.clone()),
            im: cos(self.im) - sin(self.re),
        }
    }

    fn magnitude(&self) -> Tensor<4> {
        (self.re.clone().square() + self.im.clone().square() + SMALLEST).sqrt()
    }

    /// In (-pi, pi]. Bins of no magnitude have the angle 0 and no gradient.
    fn angle(&self) -> Tensor<4> {
        let empty = (self.re.clone().square() + self.im.clone().square()).lower_elem(SMALLEST);
        self.im.clone().atan2(self.re.clone().mask_fill(empty, 1.0))
    }
}

/// The matrices `cos(2 pi j k / n)` and `sin(2 pi j k / n)`, symmetric, exact at multiples of a quarter turn.
///
/// # Shapes
/// `[n, n]`, both
fn dft(n: usize, like: (&Device, DType)) -> (Tensor<2>, Tensor<2>) {
    let quarter = |turn: usize| match (4 * turn).is_multiple_of(n) {
        true => [0.0, 1.0, 0.0, -1.0][4 * turn / n],
        false => (std::f64::consts::TAU * turn as f64 / n as f64).sin(),
    };
    // cos(a) = sin(a + pi / 2), computed apart where a quarter turn is not a whole step.
    let cosine = |turn: usize| match (4 * turn).is_multiple_of(n) {
        true => [1.0, 0.0, -1.0, 0.0][4 * turn / n],
        false => (std::f64::consts::TAU * turn as f64 / n as f64).cos(),
    };
    let matrix = |f: &dyn Fn(usize) -> f64| {
        let values: Vec<f64> = (0..n * n).map(|i| f((i / n) * (i % n) % n)).collect();
        Tensor::from_data(TensorData::new(values, [n, n]), like)
    };
    (matrix(&cosine), matrix(&quarter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(c: usize, h: usize, w: usize) -> Tensor<4> {
        let values: Vec<f32> = vae2x_core::weights::formula::unit("spectrum", c * h * w).collect();
        Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([1, c, h, w])
    }

    /// The definition, in double precision.
    fn slow(x: &Tensor<4>, axes: Axes) -> Vec<(f64, f64)> {
        let [_, c, h, w] = x.dims();
        let values: Vec<f32> = x.clone().try_into_vec_as().unwrap();
        let at = |i: usize| (i / (h * w), i / w % h, i % w);
        let turn = |a: usize, b: usize, n: usize| (a * b % n) as f64 / n as f64;
        let bin = |k: usize| {
            let (kc, kh, kw) = at(k);
            let terms = values
                .iter()
                .enumerate()
                .filter(|&(i, _)| axes == Axes::Volume || at(i).0 == kc);
            terms.fold((0.0, 0.0), |(re, im), (i, &v)| {
                let (xc, xh, xw) = at(i);
                let along_channels = if axes == Axes::Volume {
                    turn(xc, kc, c)
                } else {
                    0.0
                };
                let phase =
                    std::f64::consts::TAU * (along_channels + turn(xh, kh, h) + turn(xw, kw, w));
                (
                    re + f64::from(v) * phase.cos(),
                    im - f64::from(v) * phase.sin(),
                )
            })
        };
        (0..c * h * w).map(bin).collect()
    }

    #[test]
    fn the_transform_is_its_definition_at_any_size() {
        for (shape, axes) in [
            ((2, 4, 6), Axes::Plane),
            ((3, 5, 7), Axes::Volume),
            ((4, 3, 8), Axes::Volume),
        ] {
            let x = picture(shape.0, shape.1, shape.2);
            let spectrum = Spectrum::of(x.clone(), axes);
            let re: Vec<f32> = spectrum.re.try_into_vec_as().unwrap();
            let im: Vec<f32> = spectrum.im.try_into_vec_as().unwrap();
            for (got, want) in re.iter().zip(&im).zip(slow(&x, axes)) {
                let error = (f64::from(*got.0) - want.0).abs() + (f64::from(*got.1) - want.1).abs();
                assert!(error < 1e-5, "{shape:?} {axes:?}: {got:?} {want:?}");
            }
        }
    }

    #[test]
    fn real_bins_are_real_exactly() {
        let spectrum = Spectrum::of(picture(1, 6, 4), Axes::Plane);
        let im: Vec<f32> = spectrum.im.try_into_vec_as().unwrap();
        for (h, w) in [(0, 0), (0, 2), (3, 0), (3, 2)] {
            assert_eq!(im[h * 4 + w], 0.0);
        }
    }

    #[test]
    fn equal_distributions_are_at_distance_0_wherever_their_values_lie() {
        let x = picture(2, 8, 8);
        let kernels = unit_kernels(picture(2, 3, 3));
        let config = FdlConfig::default();
        let (amplitude, phase) = stage(&config, &kernels, x.clone(), x.clone());
        assert_eq!(amplitude.into_scalar::<f32>(), 0.0);
        assert_eq!(phase.unwrap().into_scalar::<f32>(), 0.0);
        // A cyclic shift changes angles alone.
        let shifted = Tensor::cat(
            vec![x.clone().narrow(3, 3, 5), x.clone().narrow(3, 0, 3)],
            3,
        );
        let (amplitude, phase) = stage(&config, &kernels, x, shifted);
        assert!(amplitude.into_scalar::<f32>() < 1e-5);
        assert!(phase.unwrap().into_scalar::<f32>() > 1e-3);
    }

    #[test]
    fn kernels_have_unit_norm_and_small_maps_none() {
        let config = FdlConfig {
            patch: 3,
            projections: 4,
            stage_weights: vec![1.0, 0.0, 1.0],
            ..FdlConfig::default()
        };
        let shapes = [[1, 2, 8, 8], [1, 2, 4, 4], [1, 2, 2, 2]];
        let projections = Projections::sample(&config, &shapes, &Device::flex());
        assert!(projections.stages[1].is_none() && projections.stages[2].is_none());
        let kernels = projections.stages[0].clone().unwrap();
        let norms: Vec<f32> = kernels
            .flatten::<2>(1, 3)
            .square()
            .sum_dim(1)
            .try_into_vec_as()
            .unwrap();
        assert!(norms.iter().all(|n| (n - 1.0).abs() < 1e-5), "{norms:?}");
    }
}
