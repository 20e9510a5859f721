//! How well a proxy imitates, on pairs it has not seen.

use burn::tensor::{Device, Tensor};
use vae2x_core::Array;
use vae2x_measure::spectrum::{decibels, radial_power};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::degradation::Proxy;

use super::pairs::{Pair, Pairs};
use vae2x_train::Result;

/// Rings of a spectrum.
pub const BANDS: usize = 8;

/// Results on held-out pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Root-mean-square error of the proxy over that of doing nothing: 0 is perfect, 1 is useless.
    pub error: f64,
    /// Power of the proxy's latents over that of the degraded ones, in decibels per ring from coarse to fine.
    pub proxy_db: Vec<f64>,
    /// Power of the degraded latents over that of the clean ones: what there is to imitate.
    pub degraded_db: Vec<f64>,
}

impl Measured {
    /// All numbers by name, bands from coarse to fine.
    pub fn values(&self) -> impl Iterator<Item = (String, f64)> {
        let bands = |name: &'static str, db: &[f64]| {
            db.iter()
                .enumerate()
                .map(|(band, db)| (format!("{name}_{band}"), *db))
                .collect::<Vec<_>>()
        };
        let bands = bands("proxy_db", &self.proxy_db)
            .into_iter()
            .chain(bands("degraded_db", &self.degraded_db));
        bands.chain([("error".to_string(), self.error)])
    }
}

/// Runs the proxy on whole latents.
///
/// # Errors
/// If pairs cannot be read or are too small for a spectrum.
pub fn measure(
    proxy: &Proxy,
    pairs: &dyn Pairs,
    indices: &[usize],
    device: &Device,
) -> Result<Measured> {
    let mut squares = [0.0; 2];
    let mut powers = [[0.0; BANDS]; 3];
    for &index in indices {
        let Pair {
            clean,
            degraded,
            time,
        } = pairs.pair(index)?;
        let latent: Tensor<4> = to_tensor::<3>(&clean, "latent", device)?.unsqueeze_dim(0);
        let softened = to_array(proxy.forward(latent, &[time]).squeeze_dim::<3>(0))?;
        squares[0] += distance(&softened, &degraded);
        squares[1] += distance(&clean, &degraded);
        for (sums, latent) in powers.iter_mut().zip([&softened, &degraded, &clean]) {
            for (sum, power) in sums.iter_mut().zip(radial_power(latent, BANDS)?) {
                // Rings that a small latent does not have.
                *sum += if power.is_nan() { 0.0 } else { power };
            }
        }
    }
    let [softened, degraded, clean] = powers;
    Ok(Measured {
        error: (squares[0] / squares[1]).sqrt(),
        proxy_db: decibels(&softened, &degraded),
        degraded_db: decibels(&degraded, &clean),
    })
}

fn distance(a: &Array, b: &Array) -> f64 {
    a.data()
        .iter()
        .zip(b.data())
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum()
}
