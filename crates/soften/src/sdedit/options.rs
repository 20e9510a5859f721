//! How pairs are made.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use vae2x_train::Result;

/// Drawn times are held below 1, where nothing of the latent is left.
pub(super) const LATEST: f64 = 0.999;
/// Most steps, pairs of a latent and items in a file: what the command line takes. The numbers of items and files stay far from
/// overflow, whatever a manifest says.
const MOST: usize = u16::MAX as usize;

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
    /// `sigmoid(logit(median) + sigma n)`, n normal: `lognorm` in papers on flow models, such as Esser et al., "Scaling rectified
    /// flow transformers for high-resolution image synthesis", 2024. It has more of the small times than [`Self::LogNormal`].
    LogitNormal {
        /// Half of the times are below.
        median: f64,
        /// Standard deviation of `ln(t / (1 - t))`.
        sigma: f64,
    },
}

impl Time {
    pub(super) fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Fixed(time) => time,
            Self::LogNormal { median, sigma } => {
                let n: f64 = StandardNormal.sample(rng);
                (median * (sigma * n).exp()).min(LATEST)
            }
            Self::LogitNormal { median, sigma } => {
                let n: f64 = StandardNormal.sample(rng);
                let odds = median / (1.0 - median) * (sigma * n).exp();
                // Infinite odds are a time of 1.
                (1.0 / (1.0 + odds.recip())).min(LATEST)
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
            Time::LogNormal { median, sigma } | Time::LogitNormal { median, sigma } => {
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
        let counts = [
            ("steps", self.steps),
            ("per-latent", self.per_latent),
            ("per-file", self.per_file),
        ];
        counts.into_iter().try_for_each(|(key, count)| {
            check(
                (1..=MOST).contains(&count),
                &format!("{key} is {count}; expected 1 to {MOST}"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            SdeditOptions {
                per_latent: 1 << 40,
                ..good
            },
            SdeditOptions {
                per_file: usize::MAX,
                ..good
            },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
