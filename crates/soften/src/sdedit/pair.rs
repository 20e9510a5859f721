//! One pair.

use crate::velocity::{Velocity, noised, predict};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vae2x_core::Array;
use vae2x_nn::array::{to_array, to_tensor};

use vae2x_train::run::noise::normal;
use vae2x_train::{Error, Result};

/// Drawn times are held below 1, where nothing of the latent is left.
const LATEST: f64 = 0.999;

/// Where flow times come from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Time {
    /// Always this.
    Fixed(f64),
    /// `median exp(sigma n)`, n normal.
    LogNormal {
        /// Half of the times are below.
        median: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

impl Time {
    fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Fixed(time) => time,
            Self::LogNormal { median, sigma } => {
                let n: f64 = StandardNormal.sample(rng);
                (median * (sigma * n).exp()).min(LATEST)
            }
        }
    }
}

/// How pairs are made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct SdeditOptions {
    /// Where flow times come from.
    pub time: Time,
    /// Steps of the model from the time down to 0.
    pub steps: usize,
    /// Pairs of each latent, with noise and times of their own.
    pub per_latent: usize,
    /// Random seed of the job.
    pub seed: u64,
    /// Latents' pairs in a file.
    pub per_file: usize,
}

impl SdeditOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let check = vae2x_train::run::check;
        match self.time {
            Time::Fixed(time) => check(
                (0.0..=1.0).contains(&time),
                "t: expected a number from 0 to 1",
            )?,
            Time::LogNormal { median, sigma } => {
                check(
                    0.0 < median && median < 1.0,
                    "t-median: expected a number between 0 and 1",
                )?;
                check(
                    sigma >= 0.0 && sigma.is_finite(),
                    "t-sigma: expected a number from 0 on",
                )?;
            }
        }
        check(self.steps > 0, "steps must be 1 or more")?;
        check(
            self.per_latent > 0 && self.per_file > 0,
            "per-latent and per-file must be 1 or more",
        )
    }
}

/// The random numbers of the pair called `name`.
fn random(seed: u64, name: &str) -> ChaCha8Rng {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize();
    ChaCha8Rng::from_seed(digest.into())
}

/// The tensors of the pair called `name`: `NAME.clean`, `NAME.degraded`, `[C, h, w]` or for clips `[C, T, h, w]`, and `NAME.t` `[1]`.
///
/// # Shapes
/// normalized `[C, T, h, w]`
///
/// # Errors
/// If the latent does not fit the model; [`Error::Data`] if the model gives something that is not finite.
pub fn pair(
    name: &str,
    clean: Array,
    model: &dyn Velocity,
    options: &SdeditOptions,
    device: &Device,
) -> Result<[(String, Array); 3]> {
    let mut rng = random(options.seed, name);
    // As the file will hold it.
    let time = options.time.draw(&mut rng) as f32;
    let noise = normal(clean.shape(), &mut rng);
    let tensor = |array: &Array| -> Result<Tensor<5>> {
        Ok(to_tensor::<4>(array, name, device)?.unsqueeze_dim(0))
    };
    let t = f64::from(time);
    let x = noised(tensor(&clean)?, tensor(&noise)?, &[t]);
    let degraded = to_array(predict(model, x, t, options.steps)?.squeeze_dim::<4>(0))?;
    if let Some(broken) = degraded.data().iter().find(|v| !v.is_finite()) {
        return Err(Error::Data(format!(
            "{name}: the model gave {broken}: its weights or the latent are damaged"
        )));
    }
    let shape = match *clean.shape() {
        [c, 1, h, w] => vec![c, h, w],
        ref clip => clip.to_vec(),
    };
    Ok([
        (format!("{name}.clean"), clean.reshape(shape.clone())?),
        (format!("{name}.degraded"), degraded.reshape(shape)?),
        (format!("{name}.t"), Array::new([1], vec![time])?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_their_median_and_stay_below_1() {
        let time = Time::LogNormal {
            median: 0.2,
            sigma: 1.0,
        };
        let mut times: Vec<f64> = (0..999)
            .map(|i| time.draw(&mut random(7, &i.to_string())))
            .collect();
        times.sort_by(f64::total_cmp);
        assert!((0.18..0.22).contains(&times[499]), "{}", times[499]);
        assert!(times[998] <= LATEST && times[998] > 0.9 && times[0] > 0.0);
    }

    #[test]
    fn options_that_cannot_be_meant_are_refused() {
        let good = SdeditOptions {
            time: Time::Fixed(0.1),
            steps: 1,
            per_latent: 1,
            seed: 0,
            per_file: 4,
        };
        assert!(good.validate().is_ok());
        for bad in [
            SdeditOptions {
                time: Time::Fixed(1.5),
                ..good
            },
            SdeditOptions {
                time: Time::Fixed(f64::NAN),
                ..good
            },
            SdeditOptions {
                time: Time::LogNormal {
                    median: 0.2,
                    sigma: -1.0,
                },
                ..good
            },
            SdeditOptions {
                time: Time::LogNormal {
                    median: 1.0,
                    sigma: 0.5,
                },
                ..good
            },
            SdeditOptions { steps: 0, ..good },
            SdeditOptions {
                per_file: 0,
                ..good
            },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
