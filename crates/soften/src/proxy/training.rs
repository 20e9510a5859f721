//! The maths: crops of pairs, and the proxy's distance to the degraded latent.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use vae2x_core::Array;
use vae2x_nn::array::to_tensor;
use vae2x_nn::degradation::{METADATA, Proxy, ProxyConfig, initial, specs};
use vae2x_nn::wan_vae::parameters;

use super::measure::{Measured, measure};
use super::pairs::{Pair, Pairs};
use crate::latents::spread;
use vae2x_train::run::checkpoint::write;
use vae2x_train::run::memory::{Need, Place};
use vae2x_train::run::{
    LARGEST_CROP, MOST_CROPS, Network, Record, SmallOptions, SmallTraining, Work, at_most, check,
    crop, random, resume, split,
};
use vae2x_train::{Error, Result};

/// The stream of random numbers that splits pairs; steps have those before it.
const SPLIT: u64 = u64::MAX;
/// Sizes that no run has use for.
const WIDEST: usize = 1 << 13;
const MOST_BLOCKS: usize = 1 << 10;
/// Held-out pairs that are measured on at a checkpoint: less work than a few steps.
const LOOKED_AT: usize = 16;

/// The loss.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyLoss {
    /// The mean absolute difference.
    L1,
    /// The mean squared difference.
    #[default]
    L2,
}

/// How a proxy is trained.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyTrainingConfig {
    /// The folder of pairs.
    pub pairs: Option<PathBuf>,
    /// Channels inside.
    pub width: usize,
    /// Residual blocks.
    pub blocks: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// Crops per step.
    pub batch: usize,
    /// Side of a crop in latent cells; latents with a shorter side are refused.
    pub crop: usize,
    /// Learning rate at the start of the cosine, which ends at 0.
    pub lr: f64,
    /// The loss.
    pub loss: ProxyLoss,
    /// Decay of the moving average of weights, which is then what is measured and saved; 0 for none.
    pub ema: f64,
    /// Random seed of the run.
    pub seed: u64,
    /// Part of the latents whose pairs are held out and measured on; one at least.
    pub held_out: f64,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

impl Default for ProxyTrainingConfig {
    fn default() -> Self {
        let ProxyConfig { width, blocks, .. } = ProxyConfig::default();
        Self {
            pairs: None,
            width,
            blocks,
            steps: 20_000,
            batch: 16,
            crop: 32,
            lr: 1e-3,
            loss: ProxyLoss::L2,
            ema: 0.0,
            seed: 0,
            held_out: 0.05,
            log_every: 50,
            checkpoint_every: 500,
        }
    }
}

impl ProxyTrainingConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        self.options().validate()?;
        check(
            self.width > 0 && self.blocks > 0,
            "width and blocks must be 1 or more",
        )?;
        check(self.batch > 0, "batch must be 1 or more")?;
        check(self.crop >= 4, "crop: expected 4 cells or more")?;
        at_most(&[
            ("width", self.width, WIDEST),
            ("blocks", self.blocks, MOST_BLOCKS),
            ("batch", self.batch, MOST_CROPS),
            ("crop", self.crop, LARGEST_CROP),
        ])
    }

    /// The least memory that a run takes.
    pub fn need(&self) -> Need {
        /// Of the latents, which are not known yet: next to the width inside, they count for little.
        const CHANNELS: usize = 1;
        let sizes = ProxyConfig {
            channels: CHANNELS,
            width: self.width,
            blocks: self.blocks,
        };
        let model = format!(
            "the proxy (width = {}, blocks = {})",
            self.width, self.blocks
        );
        let cells = (self.batch * self.crop * self.crop) as f64;
        // What both convolutions of a block and its modulation have seen.
        let values = 3.0 * cells * (self.width * self.blocks) as f64;
        Need::default()
            .and_trained(&model, &specs(&sizes), self.ema > 0.0)
            .and(
                Place::Device,
                format!(
                    "what the backward pass needs of a batch (batch = {}, crop = {}, width = {}, blocks = {})",
                    self.batch, self.crop, self.width, self.blocks
                ),
                values * size_of::<f32>() as f64,
            )
    }

    /// The options that all small networks share.
    pub fn options(&self) -> SmallOptions {
        SmallOptions {
            steps: self.steps,
            lr: self.lr,
            ema: self.ema,
            log_every: self.log_every,
            checkpoint_every: self.checkpoint_every,
            held_out: self.held_out,
        }
    }
}

/// A proxy in training.
pub struct ProxyTraining<'a> {
    folder: PathBuf,
    config: &'a ProxyTrainingConfig,
    pairs: &'a dyn Pairs,
    train: Vec<usize>,
    held_out: Vec<usize>,
    network: SmallTraining<Proxy>,
    device: Device,
}

impl<'a> ProxyTraining<'a> {
    /// Begins, or goes on from a checkpoint of the same configuration and pairs.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Data`] for pairs of fewer than two latents, or held-out ones that do not fit; reading errors.
    pub fn new(
        pairs: &'a dyn Pairs,
        config: &'a ProxyTrainingConfig,
        folder: &Path,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let checkpoint = resume(folder)?;
        let (train, held_out) = split_latents(pairs, config)?;
        let channels = pairs.pair(train[0])?.clean.shape()[0];
        // What cannot be measured at the end is known before the start.
        for &index in &held_out {
            corner(
                &pairs.pair(index)?,
                index,
                config.crop,
                channels,
                &mut random(config.seed, SPLIT),
            )?;
        }
        let sizes = ProxyConfig {
            channels,
            width: config.width,
            blocks: config.blocks,
        };
        let device = device.clone().without_autodiff();
        let network = Network {
            specs: specs(&sizes),
            load: &|source, device| Proxy::load(&sizes, source, device),
            start: &|name, shape| initial(config.seed, name, shape),
        };
        let network = SmallTraining::new(network, config.options(), checkpoint.as_ref(), &device)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            config,
            pairs,
            train,
            held_out,
            network,
            device,
        })
    }

    /// Pairs to train on, and held out.
    pub fn counts(&self) -> [usize; 2] {
        [self.train.len(), self.held_out.len()]
    }

    /// The result, without gradients.
    pub fn proxy(&self) -> Proxy {
        self.network.result()
    }

    /// Measures it on the held-out pairs.
    ///
    /// # Errors
    /// As [`measure`].
    pub fn measure(&self) -> Result<Measured> {
        measure(&self.proxy(), self.pairs, &self.held_out, &self.device)
    }
}

impl Work for ProxyTraining<'_> {
    fn step(&self) -> u64 {
        self.network.step()
    }

    /// # Errors
    /// [`Error::Data`] for latents that differ in channels or are smaller than a crop; [`Error::Diverged`], before anything is
    /// changed.
    fn advance(&mut self, _: &mut Record<'_>) -> Result<()> {
        let proxy = self.network.module();
        let channels = proxy.config().channels;
        let batch = Batch::draw(
            self.pairs,
            &self.train,
            self.config,
            self.step(),
            channels,
            &self.device,
        )?;
        let difference = proxy.forward(batch.clean, &batch.times) - batch.degraded;
        let loss = match self.config.loss {
            ProxyLoss::L1 => difference.abs().mean(),
            ProxyLoss::L2 => difference.square().mean(),
        };
        self.network.descend(loss, batch.names)
    }

    fn report(&mut self) -> Vec<(String, f64)> {
        self.network.report()
    }

    fn store(&mut self) -> Result<()> {
        self.network.store(&self.folder)
    }

    /// On some of the held-out pairs. At the last step, the run measures on all of them.
    fn evaluate(&mut self, record: &mut Record<'_>) -> Result<bool> {
        let step = self.step();
        if step < self.config.steps {
            let some: Vec<usize> = spread(self.held_out.len(), LOOKED_AT)
                .map(|i| self.held_out[i])
                .collect();
            let measured = measure(&self.proxy(), self.pairs, &some, &self.device)?;
            record.add("eval", step, measured.values())?;
        }
        Ok(false)
    }
}

/// Writes a proxy with its sizes in the metadata.
///
/// # Errors
/// Writing errors: what was there before stays.
pub fn save(path: &Path, proxy: &Proxy) -> Result<()> {
    let arrays = parameters::read(proxy, &specs(proxy.config()))?;
    let sizes = serde_json::to_string(proxy.config()).map_err(|e| Error::Config(e.to_string()))?;
    write(path, &arrays, [(METADATA.to_string(), sizes)].into())
}

struct Batch {
    /// `[B, C, crop, crop]`
    clean: Tensor<4>,
    /// The same.
    degraded: Tensor<4>,
    times: Vec<f64>,
    names: Vec<String>,
}

impl Batch {
    fn draw(
        pairs: &dyn Pairs,
        train: &[usize],
        config: &ProxyTrainingConfig,
        step: u64,
        channels: usize,
        device: &Device,
    ) -> Result<Self> {
        let mut rng = random(config.seed, step);
        let (mut clean, mut degraded, mut times, mut names) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..config.batch {
            let index = train[rng.random_range(0..train.len())];
            let pair = pairs.pair(index)?;
            let corner = corner(&pair, index, config.crop, channels, &mut rng)?;
            clean.push(crop(&pair.clean, corner, config.crop)?);
            degraded.push(crop(&pair.degraded, corner, config.crop)?);
            times.push(pair.time);
            names.push(format!("pair {index}"));
        }
        let stack = |parts: &[Array]| to_tensor(&Array::stack(parts)?, "crops", device);
        Ok(Self {
            clean: stack(&clean)?,
            degraded: stack(&degraded)?,
            times,
            names,
        })
    }
}

/// Pairs to train on and pairs held out, none of one latent among both.
fn split_latents(
    pairs: &dyn Pairs,
    config: &ProxyTrainingConfig,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let latents = (0..pairs.len())
        .map(|i| pairs.latent(i) + 1)
        .max()
        .unwrap_or(0);
    let (train, _) = split(
        latents,
        "latents with pairs",
        config.held_out,
        &mut random(config.seed, SPLIT),
    )?;
    Ok((0..pairs.len()).partition(|&i| train.binary_search(&pairs.latent(i)).is_ok()))
}

/// Top and left of a crop.
fn corner(
    pair: &Pair,
    index: usize,
    side: usize,
    channels: usize,
    rng: &mut ChaCha8Rng,
) -> Result<[usize; 2]> {
    let [c, h, w] = pair.clean.dims("latent")?;
    if c != channels || h < side || w < side || pair.degraded.shape() != pair.clean.shape() {
        let (clean, degraded) = (pair.clean.shape(), pair.degraded.shape());
        return Err(Error::Data(format!(
            "pair {index}: shapes {clean:?} and {degraded:?}; expected two of [{channels}, h, w] with sides of {side} or more"
        )));
    }
    Ok([
        rng.random_range(0..=h - side),
        rng.random_range(0..=w - side),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three draws of each latent.
    struct Draws(usize);

    impl Pairs for Draws {
        fn len(&self) -> usize {
            3 * self.0
        }

        fn pair(&self, index: usize) -> Result<Pair> {
            Err(Error::Data(format!("pair {index} is not needed to split")))
        }

        fn latent(&self, index: usize) -> usize {
            index / 3
        }
    }

    #[test]
    fn sizes_have_limits_and_what_they_ask_for_is_known() {
        let config = |width, blocks, batch| ProxyTrainingConfig {
            width,
            blocks,
            batch,
            ..ProxyTrainingConfig::default()
        };
        let (least, most) = (1 << 30, 1 << 36);
        config(96, 6, 16).need().check(None, least).unwrap();
        for (config, key) in [
            (config(1_000_000_000, 6, 16), "width"),
            (config(96, usize::MAX, 16), "blocks"),
            (config(96, 6, 1_000_000_000), "batch"),
        ] {
            assert!(matches!(
                config.validate(),
                Err(Error::Config(problem)) if problem.starts_with(key)
            ));
        }
        for (config, named) in [
            (config(8000, 1000, 1), "width = 8000, blocks = 1000"),
            (config(96, 6, 60000), "batch = 60000"),
        ] {
            config.validate().unwrap();
            let error = config.need().check(None, most).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn pairs_of_a_latent_are_held_out_together() {
        let config = ProxyTrainingConfig {
            held_out: 0.25,
            ..ProxyTrainingConfig::default()
        };
        let (train, held_out) = split_latents(&Draws(8), &config).unwrap();
        assert_eq!((train.len(), held_out.len()), (18, 6));
        assert!(
            train
                .iter()
                .all(|i| held_out.iter().all(|j| i / 3 != j / 3))
        );
        assert!(matches!(
            split_latents(&Draws(1), &config),
            Err(Error::Data(problem)) if problem.starts_with("1 ")
        ));
    }
}
