//! The maths: crops of latents, noise, the distance between the model's velocity and the flow's.

use std::path::{Path, PathBuf};

use crate::velocity::{Captioned, Velocity, noised};
use crate::wan_dit::tensors::{initial, specs};
use crate::wan_dit::{DitConfig, WanDit};
use burn::tensor::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use vae2x_core::Array;
use vae2x_media::latent::SpaceChoice;
use vae2x_nn::array::to_tensor;

use crate::latents::LatentFolder;
use vae2x_train::run::memory::{Need, Place};
use vae2x_train::run::noise::normal;
use vae2x_train::run::{
    LARGEST_CROP, MOST_CROPS, Network, Record, SmallOptions, SmallTraining, Work, at_most, check,
    crop, random, resume, split,
};
use vae2x_train::{Error, Result};

/// Streams of random numbers; those of the steps come before them.
const SPLIT: u64 = u64::MAX;
const HELD_OUT: u64 = u64::MAX - 1;
/// Width of the caption's only token.
const TEXT_DIM: usize = 16;
/// Sizes that no run has use for.
const MOST_LAYERS: usize = 1 << 10;
const WIDEST: usize = 1 << 16;
/// Sines and cosines of the time.
const FREQ_DIM: usize = 256;
/// Times at which the held-out latents are measured.
pub(super) const TIMES: [f64; 5] = [0.05, 0.1, 0.2, 0.4, 0.8];

/// How a flow model is trained.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowTrainingConfig {
    /// The folder of latents.
    pub latents: Option<PathBuf>,
    /// Space of unmarked latents: `auto`, `raw` or `normalized`.
    pub latent_space: SpaceChoice,
    /// The VAE that they are of, for its means and deviations; Wan2.1's if not given.
    pub vae: Option<String>,
    /// Blocks.
    pub layers: usize,
    /// Width of a token.
    pub dim: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Width inside the feed-forward layers.
    pub ffn_dim: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// Crops per step.
    pub batch: usize,
    /// Side of a crop in latent cells, even; latents with a shorter side are refused.
    pub crop: usize,
    /// Learning rate at the start of the cosine, which ends at 0.
    pub lr: f64,
    /// Decay of the moving average of weights, which is what is saved; 0 for none.
    pub ema: f64,
    /// Times are drawn evenly from 0 to 1 and raised to this power: above 1, small times are more frequent.
    pub time_power: f64,
    /// Random seed of the run.
    pub seed: u64,
    /// Part of the files that is held out and measured on; one at least.
    pub held_out: f64,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

impl Default for FlowTrainingConfig {
    fn default() -> Self {
        Self {
            latents: None,
            latent_space: SpaceChoice::Auto,
            vae: None,
            layers: 4,
            dim: 192,
            heads: 4,
            ffn_dim: 512,
            steps: 4000,
            batch: 8,
            crop: 16,
            lr: 1e-3,
            ema: 0.999,
            time_power: 2.0,
            seed: 0,
            held_out: 0.05,
            log_every: 50,
            checkpoint_every: 500,
        }
    }
}

impl FlowTrainingConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        self.options().validate()?;
        at_most(&[
            ("layers", self.layers, MOST_LAYERS),
            ("dim", self.dim, WIDEST),
            ("ffn_dim", self.ffn_dim, WIDEST),
            ("batch", self.batch, MOST_CROPS),
            ("crop", self.crop, LARGEST_CROP),
        ])?;
        self.model(1).validate()?;
        check(self.batch > 0, "batch must be 1 or more")?;
        check(
            self.crop >= 4 && self.crop.is_multiple_of(2),
            "crop: expected an even number of cells from 4 on",
        )?;
        check(
            self.time_power > 0.0 && self.time_power.is_finite(),
            "time_power: expected a positive number",
        )
    }

    /// The least memory that a run takes.
    pub fn need(&self) -> Need {
        /// Of the latents, which are not known yet: next to the width, they count for little.
        const CHANNELS: usize = 1;
        let size = format!(
            "layers = {}, dim = {}, ffn_dim = {}",
            self.layers, self.dim, self.ffn_dim
        );
        let tokens = (self.batch * (self.crop / 2) * (self.crop / 2)) as f64;
        // For each token, what the linear maps have seen: norm, attended values, both again for the caption, norm; hidden values.
        let values = tokens * (self.layers * (5 * self.dim + self.ffn_dim)) as f64;
        Need::default()
            .and_trained(
                &format!("the model ({size})"),
                &specs(&self.model(CHANNELS)),
                self.ema > 0.0,
            )
            .and(
                Place::Device,
                format!(
                    "what the backward pass needs of a batch (batch = {}, crop = {}, {size})",
                    self.batch, self.crop
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

    /// The transformer's sizes, for latents of some channels.
    pub fn model(&self, channels: usize) -> DitConfig {
        DitConfig {
            layers: self.layers,
            dim: self.dim,
            heads: self.heads,
            ffn_dim: self.ffn_dim,
            freq_dim: FREQ_DIM,
            text_dim: TEXT_DIM,
            text_len: 1,
            in_channels: channels,
            out_channels: channels,
            ..DitConfig::wan_1_3b()
        }
    }
}

/// A flow model in training.
pub struct FlowTraining<'a> {
    folder: PathBuf,
    config: &'a FlowTrainingConfig,
    latents: &'a LatentFolder,
    names: Vec<String>,
    train: Vec<usize>,
    held_out: Vec<usize>,
    network: SmallTraining<WanDit>,
    device: Device,
}

impl<'a> FlowTraining<'a> {
    /// Begins, or goes on from a checkpoint of the same configuration and latents.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Data`] for fewer than two files, or held-out latents that do not fit; reading errors.
    pub fn new(
        latents: &'a LatentFolder,
        config: &'a FlowTrainingConfig,
        folder: &Path,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let checkpoint = resume(folder)?;
        let (train, held_out) = split(
            latents.len(),
            "latent files",
            config.held_out,
            &mut random(config.seed, SPLIT),
        )?;
        let channels = latents.read(train[0])?[0].shape()[0];
        let sizes = config.model(channels);
        let device = device.clone().without_autodiff();
        let network = Network {
            specs: specs(&sizes),
            load: &|source, device| WanDit::load(&sizes, source, device),
            start: &|name, shape| initial(config.seed, name, shape),
        };
        let network = SmallTraining::new(network, config.options(), checkpoint.as_ref(), &device)?;
        let fit = Self {
            folder: folder.to_path_buf(),
            config,
            latents,
            names: latents.names(),
            train,
            held_out,
            network,
            device,
        };
        // What cannot be measured at the end is known before the start.
        let mut rng = random(config.seed, HELD_OUT);
        fit.held_out
            .iter()
            .try_for_each(|&index| fit.sample(index, &mut rng).map(|_| ()))?;
        Ok(fit)
    }

    /// Files to train on, and held out.
    pub fn counts(&self) -> [usize; 2] {
        [self.train.len(), self.held_out.len()]
    }

    /// The result, without gradients.
    pub fn model(&self) -> WanDit {
        self.network.result()
    }

    /// The mean squared error of the velocity on crops of the held-out latents, at each of some times.
    ///
    /// # Errors
    /// As [`Work::advance`].
    pub fn measure(&self) -> Result<Vec<(f64, f64)>> {
        let model = captioned(self.model(), &self.device);
        let at = |time: f64| {
            let mut rng = random(self.config.seed, HELD_OUT);
            let mut sum = 0.0;
            for &index in &self.held_out {
                let sample = self.sample(index, &mut rng)?;
                sum += f64::from(
                    loss(&model, vec![sample], &[time], &self.device)?.into_scalar::<f32>(),
                );
            }
            Ok((time, sum / self.held_out.len() as f64))
        };
        TIMES.into_iter().map(at).collect()
    }

    /// A crop of a latent and noise of its size, `[C, side, side]`.
    fn sample(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<[Array; 2]> {
        let latents = self.latents.read(index)?;
        let latent = &latents[rng.random_range(0..latents.len())];
        let [c, t, h, w] = latent.dims("latent")?;
        let (side, channels) = (self.config.crop, self.network.module().config().in_channels);
        if c != channels || h < side || w < side {
            let name = &self.names[index];
            let expected = format!("{channels} channels and sides of {side} or more");
            return Err(Error::Data(format!(
                "{name}: a latent of shape {:?}; expected {expected}",
                latent.shape()
            )));
        }
        let frame = rng.random_range(0..t);
        let plane = latent.narrow1(frame..frame + 1).reshape([c, h, w])?;
        let corner = [
            rng.random_range(0..=h - side),
            rng.random_range(0..=w - side),
        ];
        Ok([crop(&plane, corner, side)?, normal(&[c, side, side], rng)])
    }
}

impl Work for FlowTraining<'_> {
    fn step(&self) -> u64 {
        self.network.step()
    }

    fn advance(&mut self, _: &mut Record<'_>) -> Result<()> {
        let mut rng = random(self.config.seed, self.step());
        let indices: Vec<usize> = (0..self.config.batch)
            .map(|_| self.train[rng.random_range(0..self.train.len())])
            .collect();
        let times: Vec<f64> = indices
            .iter()
            .map(|_| rng.random::<f64>().powf(self.config.time_power))
            .collect();
        let samples = indices
            .iter()
            .map(|&i| self.sample(i, &mut rng))
            .collect::<Result<Vec<_>>>()?;
        let model = captioned(self.network.module().clone(), &self.device);
        let loss = loss(&model, samples, &times, &self.device)?;
        let names = indices.iter().map(|&i| self.names[i].clone()).collect();
        self.network.descend(loss, names)
    }

    fn report(&mut self) -> Vec<(String, f64)> {
        self.network.report()
    }

    /// The velocity is measured at the end alone.
    fn evaluate(&mut self, _: &mut Record<'_>) -> Result<bool> {
        Ok(false)
    }

    fn store(&mut self) -> Result<()> {
        self.network.store(&self.folder)
    }
}

/// The caption of all training: one token of zeros.
pub(super) fn caption() -> Array {
    Array::zeros([1, 1, TEXT_DIM])
}

fn captioned(model: WanDit, device: &Device) -> Captioned {
    Captioned {
        model,
        text: Tensor::zeros([1, 1, TEXT_DIM], device),
    }
}

/// The mean squared error of the velocity.
fn loss(
    model: &Captioned,
    samples: Vec<[Array; 2]>,
    times: &[f64],
    device: &Device,
) -> Result<Tensor<1>> {
    let stack = |part: usize| -> Result<Tensor<5>> {
        let arrays: Vec<Array> = samples.iter().map(|sample| sample[part].clone()).collect();
        Ok(to_tensor::<4>(&Array::stack(&arrays)?, "crops", device)?.unsqueeze_dim::<5>(2))
    };
    let [clean, noise] = [stack(0)?, stack(1)?];
    let velocity = model.velocity(noised(clean.clone(), noise.clone(), times), times)?;
    Ok((velocity - (noise - clean)).square().mean())
}
