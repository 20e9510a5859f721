//! The maths: crops of pairs, the proxy's distance to the degraded latent, AdamW down a cosine; and the state in one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::write::write_arrays;
use vae2x_nn::array::to_tensor;
use vae2x_nn::degradation::{METADATA, Proxy, ProxyConfig, initial, specs};
use vae2x_nn::wan_vae::parameters;

use super::measure::{Measured, measure};
use super::pairs::{Pair, Pairs};
use crate::optim::{self, Adam, AdamOptions};
use crate::{Error, Result};

/// The stream of random numbers that splits pairs; steps have those before it.
const SPLIT: u64 = u64::MAX;
/// Gradient norms are held below this: the first steps of an unlucky crop would else throw the optimizer's averages.
const CLIP: f64 = 1.0;
/// AdamW's averaging of gradients and of their squares.
const BETAS: [f32; 2] = [0.9, 0.99];
/// What names of the proxy's tensors begin with in a checkpoint.
const PROXY: &str = "proxy";
/// The metadata's key for the steps done.
const STEP: &str = "vae2x.step";

/// What is made small.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FitLoss {
    /// The mean absolute difference.
    L1,
    /// The mean squared difference.
    #[default]
    L2,
}

/// How a proxy is trained.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
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
    /// What is made small.
    pub loss: FitLoss,
    /// Of everything random.
    pub seed: u64,
    /// Part of the pairs that is held out and measured on; one pair at least.
    pub held_out: f64,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

impl Default for FitConfig {
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
            loss: FitLoss::L2,
            seed: 0,
            held_out: 0.05,
            log_every: 50,
            checkpoint_every: 500,
        }
    }
}

impl FitConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let check = |holds: bool, what: &str| if holds { Ok(()) } else { Err(Error::Config(what.into())) };
        check(self.width > 0 && self.blocks > 0, "width and blocks must be 1 or more")?;
        check(self.steps > 0 && self.batch > 0, "steps and batch must be 1 or more")?;
        check(self.log_every > 0 && self.checkpoint_every > 0, "log_every and checkpoint_every must be 1 or more")?;
        check(self.crop >= 4, "crop: expected 4 cells or more")?;
        check(self.lr > 0.0 && self.lr.is_finite(), "lr: expected a positive number")?;
        check(0.0 < self.held_out && self.held_out < 1.0, "held_out: expected a number between 0 and 1")
    }
}

/// A proxy in training.
pub struct Fit<'a> {
    config: &'a FitConfig,
    pairs: &'a dyn Pairs,
    train: Vec<usize>,
    held_out: Vec<usize>,
    proxy: Proxy,
    adam: Adam,
    step: u64,
    device: Device,
}

impl<'a> Fit<'a> {
    /// Begins, or goes on from a checkpoint of the same configuration and pairs.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Data`] for fewer than two pairs; reading errors of the checkpoint.
    pub fn new(
        pairs: &'a dyn Pairs,
        config: &'a FitConfig,
        checkpoint: Option<&TensorFile>,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let (train, held_out) = split(pairs.len(), config)?;
        let channels = pairs.pair(train[0])?.clean.shape()[0];
        let sizes = ProxyConfig { channels, width: config.width, blocks: config.blocks };
        let plain = device.clone().without_autodiff();
        let start = |name: &str, shape: &[usize]| match checkpoint {
            Some(file) => file.read(&format!("{PROXY}.{name}"))?.reshape(shape),
            None => initial(config.seed, name, shape),
        };
        let proxy = Proxy::load(&sizes, &start, &plain.clone().autodiff())?;
        let mut adam = Adam::new(AdamOptions { betas: BETAS, weight_decay: 0.0 });
        let mut step = 0;
        if let Some(file) = checkpoint {
            let find = |name: &str| Ok(file.tensors().contains_key(name).then(|| file.read(name)).transpose()?);
            adam.restore(&optimizer_names(&sizes), &find, &plain)?;
            step = steps_done(file)?;
        }
        Ok(Self { config, pairs, train, held_out, proxy, adam, step, device: plain })
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Pairs to train on, and held out.
    pub fn counts(&self) -> [usize; 2] {
        [self.train.len(), self.held_out.len()]
    }

    /// One step; gives its loss.
    ///
    /// # Errors
    /// [`Error::Data`] for latents that differ in channels or are smaller than a crop; [`Error::Diverged`], before anything is
    /// changed.
    pub fn advance(&mut self) -> Result<f64> {
        let (config, step) = (self.config, self.step);
        let channels = self.proxy.config().channels;
        let batch = Batch::draw(self.pairs, &self.train, config, step, channels, &self.device)?;
        let difference = self.proxy.forward(batch.clean, &batch.times) - batch.degraded;
        let loss = match config.loss {
            FitLoss::L1 => difference.abs().mean(),
            FitLoss::L2 => difference.square().mean(),
        };
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &self.proxy);
        let norm = optim::norm(&self.proxy, &gradients);
        if !(value.is_finite() && norm.is_finite()) {
            let losses = format!("loss {value:e}, gradient {norm:e}");
            let what = "the loss or its gradient is not finite".into();
            return Err(Error::Diverged { step, what, names: batch.names, losses });
        }
        let gradients = if norm > CLIP { optim::scale(&self.proxy, gradients, CLIP / norm) } else { gradients };
        self.proxy = self.adam.step(learning_rate(config, step), self.proxy.clone(), gradients);
        self.step += 1;
        Ok(value)
    }

    /// The proxy as it is, without gradients.
    pub fn proxy(&self) -> Proxy {
        self.proxy.valid()
    }

    /// Measures it on the held-out pairs.
    ///
    /// # Errors
    /// As [`measure`].
    pub fn measure(&self) -> Result<Measured> {
        measure(&self.proxy(), self.pairs, &self.held_out, &self.device)
    }

    /// Writes all of the state in one file.
    ///
    /// # Errors
    /// Writing errors: what was there before stays.
    pub fn store(&self, path: &Path) -> Result<()> {
        let sizes = self.proxy.config();
        let proxy = parameters::read(&self.proxy, &specs(sizes))?;
        let mut arrays: Vec<_> = proxy.into_iter().map(|(name, array)| (format!("{PROXY}.{name}"), array)).collect();
        arrays.extend(self.adam.read(&optimizer_names(sizes))?);
        write(path, &arrays, [(STEP.to_string(), self.step.to_string())].into())
    }
}

fn optimizer_names(sizes: &ProxyConfig) -> Vec<String> {
    specs(sizes).into_iter().map(|spec| format!("optimizer.{}", spec.name)).collect()
}

/// The steps that a checkpoint has behind it.
fn steps_done(file: &TensorFile) -> Result<u64> {
    let step = file.metadata().get(STEP).and_then(|text| text.parse().ok());
    let problem = format!("no checkpoint of a proxy: '{STEP}' is missing");
    step.ok_or_else(|| Error::Run { path: file.path().to_path_buf(), problem })
}

fn write(path: &Path, arrays: &[(String, Array)], metadata: BTreeMap<String, String>) -> Result<()> {
    let arrays: Vec<(&str, &Array)> = arrays.iter().map(|(name, array)| (name.as_str(), array)).collect();
    Ok(write_arrays(path, &arrays, &metadata)?)
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

fn learning_rate(config: &FitConfig, step: u64) -> f64 {
    config.lr * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / config.steps as f64).cos())
}

/// Indices of the pairs to train on and of those held out, both in order.
fn split(pairs: usize, config: &FitConfig) -> Result<(Vec<usize>, Vec<usize>)> {
    if pairs < 2 {
        return Err(Error::Data(format!("{pairs} pairs; expected 2 or more, one of them to be held out")));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(SPLIT);
    let mut all: Vec<usize> = (0..pairs).collect();
    all.shuffle(&mut rng);
    let count = ((pairs as f64 * config.held_out).round() as usize).clamp(1, pairs - 1);
    let (held_out, train) = all.split_at_mut(count);
    train.sort_unstable();
    held_out.sort_unstable();
    Ok((train.to_vec(), held_out.to_vec()))
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
        config: &FitConfig,
        step: u64,
        channels: usize,
        device: &Device,
    ) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(step);
        let (mut clean, mut degraded, mut times, mut names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
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
        Ok(Self { clean: stack(&clean)?, degraded: stack(&degraded)?, times, names })
    }
}

/// Top and left of a crop.
fn corner(pair: &Pair, index: usize, side: usize, channels: usize, rng: &mut ChaCha8Rng) -> Result<[usize; 2]> {
    let [c, h, w] = pair.clean.dims("latent")?;
    if c != channels || h < side || w < side || pair.degraded.shape() != pair.clean.shape() {
        let (clean, degraded) = (pair.clean.shape(), pair.degraded.shape());
        return Err(Error::Data(format!(
            "pair {index}: shapes {clean:?} and {degraded:?}; expected two of [{channels}, h, w] with sides of {side} or more"
        )));
    }
    Ok([rng.random_range(0..=h - side), rng.random_range(0..=w - side)])
}

fn crop(latent: &Array, [top, left]: [usize; 2], side: usize) -> Result<Array> {
    let [c, h, w] = latent.dims("latent")?;
    let rows = (0..c * side).map(|i| (i / side * h + top + i % side) * w + left);
    let values = rows.flat_map(|start| &latent.data()[start..start + side]).copied();
    Ok(Array::new([c, side, side], values.collect())?)
}
