//! What is done to normalized latents on their way to the decoder, so that it learns to sharpen what a diffusion model gives.
//!
//! A kind is one variant here: it gets the latents and a flow time for each, and nothing else of training knows it.
//! The proxy is frozen: gradients pass through it to the latents, none is kept for its weights.

use std::f64::consts::PI;
use std::path::Path;

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use vae2x_core::weights::TensorFile;
use vae2x_nn::degradation::Proxy;

use super::config::{DegradationConfig, DegradationKind, HOW_TO_GET_A_PROXY};
use crate::{Error, Result};

/// Gaussian kernels reach this many standard deviations, and so many cells at least: the limit to the frequencies that cells can
/// hold gives narrow ones tails.
const REACH: f64 = 3.0;
const LEAST_REACH: usize = 8;

/// A degradation with what it needs.
#[derive(Clone, Debug)]
pub enum Degradation {
    /// Latents pass.
    None,
    /// A Gaussian of `cells * t` standard deviation.
    Blur {
        /// Standard deviation in latent cells per unit of flow time.
        cells: f64,
    },
    /// White noise of `deviation * t` standard deviation.
    Noise {
        /// In units of normalized latents, per unit of flow time.
        deviation: f64,
    },
    /// A trained network.
    Proxy(Box<Proxy>),
}

impl Degradation {
    /// The degradation of a configuration, for latents of `channels` channels.
    ///
    /// # Errors
    /// [`Error::Config`] if a proxy is not named; [`Error::Core`] if its file cannot be read, is none, or is for other latents.
    pub fn new(config: &DegradationConfig, channels: usize, device: &Device) -> Result<Self> {
        match config.kind {
            DegradationKind::None => Ok(Self::None),
            DegradationKind::Blur => Ok(Self::Blur { cells: config.blur }),
            DegradationKind::Noise => Ok(Self::Noise {
                deviation: config.noise,
            }),
            DegradationKind::Proxy => {
                let path = config.proxy_file()?.unwrap_or(Path::new(""));
                if !path.exists() {
                    let problem = format!("degradation.proxy: no file '{}'", path.display());
                    return Err(Error::Config(format!("{problem}; {HOW_TO_GET_A_PROXY}")));
                }
                let proxy = Proxy::from_file(
                    TensorFile::open(path)?,
                    channels,
                    &device.clone().without_autodiff(),
                )?;
                Ok(Self::Proxy(Box::new(proxy)))
            }
        }
    }

    /// # Shapes
    /// normalized latents `[B, z, h, w]`, one flow time in [0, 1] for each -> the same shape. `noise` is asked for standard normal
    /// values of that shape, if the kind needs them. At time 0 nothing changes.
    pub fn apply(
        &self,
        latents: Tensor<4>,
        times: &[f64],
        noise: impl FnOnce() -> Tensor<4>,
    ) -> Tensor<4> {
        match self {
            Self::None => latents,
            Self::Blur { cells } => {
                let blurred = times
                    .iter()
                    .enumerate()
                    .map(|(b, t)| blur(latents.clone().narrow(0, b, 1), cells * t));
                Tensor::cat(blurred.collect(), 0)
            }
            Self::Noise { deviation } => {
                let deviations: Vec<f32> = times.iter().map(|t| (deviation * t) as f32).collect();
                let deviations = Tensor::<1>::from_floats(deviations.as_slice(), &latents.device());
                latents + noise() * deviations.reshape([times.len(), 1, 1, 1])
            }
            Self::Proxy(proxy) => proxy.forward(latents, times),
        }
    }
}

/// A Gaussian over height and width; edges are weighed by what of the kernel lies inside.
fn blur(latent: Tensor<4>, sigma: f64) -> Tensor<4> {
    if sigma == 0.0 {
        return latent;
    }
    let radius = ((REACH * sigma).ceil() as usize).max(LEAST_REACH);
    let [_, z, h, w] = latent.dims();
    let device = latent.device();
    let once = |x: Tensor<4>, radii: [usize; 2]| {
        let kernel =
            gaussian(sigma, radius, &device).reshape([1, 1, 2 * radii[0] + 1, 2 * radii[1] + 1]);
        let options = ConvOptions::new([1, 1], radii, [1, 1], 1);
        conv2d(x, kernel, None, options)
    };
    // Channels as a batch of planes.
    let both = |x: Tensor<4>| once(once(x, [radius, 0]), [0, radius]);
    let inside = both(Tensor::ones([1, 1, h, w], &device));
    (both(latent.reshape([z, 1, h, w])) / inside).reshape([1, z, h, w])
}

/// The kernel whose response at `f` cycles per cell is a Gaussian's, `exp(-(2 pi f sigma)^2 / 2)`, up to the highest frequency that
/// cells can hold. Samples of a Gaussian have that response only if it is wide: at 0.24 cells they do nothing.
fn gaussian(sigma: f64, radius: usize, device: &Device) -> Tensor<1> {
    let points = (4 * radius).max(512);
    let at = |i: usize| {
        let n = i as f64 - radius as f64;
        let part = |k: usize| {
            let omega = (k as f64 + 0.5) * PI / points as f64;
            (-(sigma * omega).powi(2) / 2.0).exp() * (omega * n).cos()
        };
        (0..points).map(part).sum::<f64>() / points as f64
    };
    let values: Vec<f64> = (0..=2 * radius).map(at).collect();
    let sum: f64 = values.iter().sum();
    let values: Vec<f32> = values.into_iter().map(|v| (v / sum) as f32).collect();
    Tensor::<1>::from_floats(values.as_slice(), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latents() -> Tensor<4> {
        let values: Vec<f32> = vae2x_core::weights::formula::unit("latents", 2 * 3 * 64).collect();
        Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([2, 3, 8, 8])
    }

    #[test]
    fn blur_grows_with_time_and_keeps_flat_latents() {
        let blur = Degradation::new(&config(DegradationKind::Blur), 3, &Device::flex()).unwrap();
        let variance = |x: Tensor<4>| x.square().mean().into_scalar::<f32>();
        let at = |t: f64| variance(apply(&blur, latents(), &[t, t]));
        assert_eq!(at(0.0), variance(latents()));
        assert!(at(0.05) > at(0.12) && variance(latents()) > at(0.05));
        let flat = Tensor::ones([2, 3, 8, 8], &Device::flex());
        let flat = apply(&blur, flat, &[0.12, 0.0]);
        let worst = (flat - 1.0).abs().max().into_scalar::<f32>();
        assert!(worst < 1e-5, "{worst}");
    }

    /// A degradation that needs no noise.
    fn apply(degradation: &Degradation, latents: Tensor<4>, times: &[f64]) -> Tensor<4> {
        degradation.apply(latents, times, || panic!("no noise is needed"))
    }

    /// Waves keep the share that a Gaussian leaves of them, however narrow it is.
    #[test]
    fn blur_has_the_response_of_a_gaussian() {
        let device = Device::flex();
        for (cells, t, f) in [
            (2.0, 0.12, 0.1),
            (2.0, 0.12, 0.25),
            (2.0, 0.12, 0.45),
            (2.0, 0.05, 0.45),
            (6.0, 0.12, 0.25),
            (20.0, 0.12, 0.1),
        ] {
            let value = |i: usize| (2.0 * PI * f * (i % 64) as f64).cos() as f32;
            let values: Vec<f32> = (0..64 * 64).map(value).collect();
            let wave = Tensor::<1>::from_floats(values.as_slice(), &device);
            let wave = wave.reshape([1, 1, 64, 64]);
            let blurred = apply(&Degradation::Blur { cells }, wave.clone(), &[t]);
            // Away from the edges.
            let inside = |x: Tensor<4>| x.narrow(2, 20, 24).narrow(3, 20, 24);
            let (wave, blurred) = (inside(wave), inside(blurred));
            let gain = (wave.clone() * blurred).sum().into_scalar::<f32>()
                / wave.square().sum().into_scalar::<f32>();
            let want = (-(2.0 * PI * f * cells * t).powi(2) / 2.0).exp();
            assert!(
                (f64::from(gain) - want).abs() < 0.01,
                "{cells} {t} {f}: {gain}, expected {want}"
            );
        }
    }

    #[test]
    fn noise_has_its_deviation_in_units_of_the_latent() {
        let noise = Degradation::new(&config(DegradationKind::Noise), 3, &Device::flex()).unwrap();
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let values: Vec<f32> = (0..2 * 3 * 64).map(sign).collect();
        let values = Tensor::<1>::from_floats(values.as_slice(), &Device::flex());
        let x = noise.apply(latents(), &[0.0, 0.12], || values.reshape([2, 3, 8, 8]));
        let added = x - latents();
        let largest = |b: usize| {
            let of_one = added.clone().narrow(0, b, 1).abs();
            [of_one.clone().max(), of_one.min()].map(|v| v.into_scalar::<f32>())
        };
        assert_eq!(largest(0), [0.0; 2]);
        let wrong = largest(1).map(|v| (v - 0.4 * 0.12).abs());
        assert!(wrong.iter().all(|w| *w < 1e-6), "{wrong:?}");
    }

    #[test]
    fn each_latent_has_its_own_time() {
        let blur = Degradation::Blur { cells: 6.0 };
        let x = apply(&blur, latents(), &[0.0, 0.1]);
        let difference = |b: usize| {
            (x.clone() - latents())
                .narrow(0, b, 1)
                .abs()
                .max()
                .into_scalar::<f32>()
        };
        assert_eq!(difference(0), 0.0);
        assert!(difference(1) > 0.1);
    }

    fn config(kind: DegradationKind) -> DegradationConfig {
        DegradationConfig {
            kind,
            ..Default::default()
        }
    }

    #[test]
    fn a_proxy_that_is_missing_or_none_is_said() {
        let new = |config: &DegradationConfig| {
            Degradation::new(config, 16, &Device::flex()).err().unwrap()
        };
        let missing = new(&config(DegradationKind::Proxy));
        assert!(
            matches!(&missing, Error::Config(problem) if problem.contains("degradation.proxy")),
            "{missing:?}"
        );
        let of = |proxy: &str| {
            new(&DegradationConfig {
                proxy: Some(proxy.into()),
                ..config(DegradationKind::Proxy)
            })
        };
        use vae2x_core::Error as Core;
        let missing = of("nowhere.safetensors");
        assert!(
            matches!(&missing, Error::Config(problem)
                if problem.contains("nowhere.safetensors") && problem.contains("train degradation")),
            "{missing:?}"
        );
        let model = vae2x_testkit::fixture("vae_tiny_base/original.safetensors");
        let other = of(model.to_str().unwrap());
        assert!(
            matches!(&other, Error::Core(Core::Format { path, .. }) if *path == model),
            "{other:?}"
        );
    }
}
