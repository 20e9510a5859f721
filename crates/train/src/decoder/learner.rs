//! Everything that training a decoder reads and changes: networks, optimizers, losses.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use vae2x_core::VaeConfig;
use vae2x_core::weights::Weights;
use vae2x_nn::device::check_precision;
use vae2x_nn::discriminator::{self, Discriminator, Spectral};
use vae2x_nn::wan_vae::{Encoder, latent};

use super::collective::Collective;
use super::config::{Config, GanConfig, Part, TrainConfig};
use super::degradation::Degradation;
use super::images::ImageWeights;
use super::losses::{PictureLosses, VggChoices};
use super::model::{Generator, Overlay, decode, encode};
use super::step::Skips;
use crate::run::noise::seeded;
use crate::run::optim::{self, Adam, AdamOptions};
use crate::{Error, Result};

/// The discriminator and what goes with it.
#[derive(Clone)]
pub struct Critic {
    /// The network.
    pub network: Discriminator,
    /// Its singular vectors.
    pub spectral: Spectral,
    /// Its optimizer.
    pub adam: Adam,
}

/// Everything that a step reads and changes.
pub struct Learner {
    /// The networks in training.
    pub generator: Generator,
    /// Its moving average.
    pub average: Option<Generator>,
    /// Its optimizer.
    pub adam: Adam,
    /// If the adversarial loss has a weight.
    pub critic: Option<Critic>,
    /// The model's shape and latent statistics.
    pub vae: VaeConfig,
    /// Whether all temporal taps are trained, and convolutions over time.
    pub has_time: bool,
    /// If several ranks train together.
    pub member: Option<Arc<dyn Collective>>,
    /// Steps that were skipped so far.
    pub skips: Skips,
    pub(super) frozen: Option<Encoder>,
    pub(super) losses: PictureLosses,
    pub(super) degradation: Degradation,
    pub(super) part: Part,
    pub(super) scale: usize,
    pub(super) train: TrainConfig,
    pub(super) log_every: u64,
    pub(super) gan: GanConfig,
    pub(super) kl: f64,
    pub(super) t_max: f64,
    /// Share of samples that are not degraded.
    pub(super) clean: f64,
    pub(super) device: Device,
}

/// Start values of both networks.
pub struct Start<'a> {
    /// The VAE.
    pub weights: &'a Overlay<'a>,
    /// The encoder, if it is frozen.
    pub base: &'a dyn Weights,
    /// A tensor of the discriminator by name and shape.
    pub discriminator: &'a dyn Fn(&str, &[usize]) -> vae2x_core::Result<vae2x_core::Array>,
    /// Power iterations before its first step.
    pub iterations: usize,
}

impl Learner {
    /// Builds the networks on `device`, which has no autodiff; the trained ones get it here.
    ///
    /// # Errors
    /// If weights are missing or of another model, or the device cannot compute as `train.precision` says.
    pub fn new(
        config: &Config,
        choices: &VggChoices,
        start: &Start<'_>,
        device: &Device,
    ) -> Result<Self> {
        let part = config.part();
        let plain = device.clone().without_autodiff();
        check_precision(&plain, config.train.precision)
            .map_err(|e| Error::Config(format!("train.precision: {e}")))?;
        let tracked = match config.train.gradient_checkpointing {
            true => plain.clone().autodiff().gradient_checkpointing(),
            false => plain.clone().autodiff(),
        };
        let adam = |betas| {
            Adam::new(AdamOptions {
                betas,
                weight_decay: config.train.weight_decay,
            })
        };
        let critic = (config.gan.weight != 0.0).then(|| -> Result<Critic> {
            let (network, mut spectral) = Discriminator::load(
                config.gan.width,
                start.discriminator,
                &plain.clone().autodiff(),
            )?;
            for _ in 0..start.iterations {
                network.iterate(&mut spectral);
            }
            Ok(Critic {
                network,
                spectral,
                adam: adam(config.gan.betas),
            })
        });
        let with_encoder = part != Part::Decoder;
        let generator = Generator::load(start.weights, with_encoder, &tracked)?;
        Ok(Self {
            average: (config.train.ema > 0.0).then(|| generator.valid()),
            generator,
            adam: adam(config.train.betas),
            critic: critic.transpose()?,
            vae: start.weights.config().clone(),
            has_time: start.weights.has_time(),
            member: None,
            skips: Skips::default(),
            frozen: (!with_encoder)
                .then(|| Encoder::load(&ImageWeights(start.base), &plain))
                .transpose()?,
            losses: PictureLosses::load(&config.loss, choices, config.train.seed, &plain)?,
            degradation: Degradation::new(
                &config.degradation,
                start.weights.config().z_dim,
                &plain,
            )?,
            part,
            scale: config.scale(),
            train: config.train.clone(),
            log_every: config.log.every,
            gan: config.gan.clone(),
            kl: config.loss.kl,
            t_max: config.degradation.t_max,
            clean: config.degradation.clean,
            device: plain,
        })
    }

    /// Where batches are wanted.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// This rank, and the number of ranks.
    pub(super) fn place(&self) -> [usize; 2] {
        self.member
            .as_ref()
            .map_or([0, 1], |member| [member.rank(), member.count()])
    }

    /// Moves the average of the generator's weights.
    pub fn update_average(&mut self, step: u64) {
        if let Some(average) = self.average.take() {
            let decay = optim::early_decay(self.train.ema, step);
            self.average = Some(optim::average(average, &self.generator, decay));
        }
    }

    /// The generator to measure with: the average if there is one.
    pub fn best_generator(&self) -> Generator {
        self.average
            .clone()
            .unwrap_or_else(|| self.generator.valid())
    }

    /// Encodes images for an evaluation.
    ///
    /// # Shapes
    /// `[B, 3, h, w]` -> raw `[B, z, h / 8, w / 8]`
    ///
    /// # Errors
    /// If there is no encoder.
    pub fn encode(&self, generator: &Generator, input: Tensor<4>) -> Result<Tensor<4>> {
        let encoder = generator.encoder.as_ref().or(self.frozen.as_ref());
        let encoder = encoder.ok_or_else(|| Error::Config("there is no encoder".into()))?;
        let [mean, _] = encode(encoder, input);
        Ok(mean)
    }

    /// The degradation of a raw latent `[1, z, h, w]` at a flow time, as training applies it; none at 0.
    pub fn soften(&self, raw: Tensor<4>, time: f64) -> Tensor<4> {
        if time == 0.0 {
            return raw;
        }
        let normalized = latent::normalize(raw, &self.vae);
        let shape = normalized.dims();
        // The same at every evaluation.
        let noise = || {
            seeded(&self.device, 0, |device| {
                Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
            })
        };
        let degraded = self.degradation.apply(normalized, &[time], noise);
        latent::denormalize(degraded, &self.vae)
    }

    /// Decodes a raw latent for an evaluation.
    ///
    /// # Shapes
    /// `[B, z, h, w]` -> `[B, 3, 8 r h, 8 r w]`
    ///
    /// # Errors
    /// If the size does not fit the model.
    pub fn decode(&self, generator: &Generator, latent: Tensor<4>) -> Result<Tensor<4>> {
        Ok(decode(&generator.decoder, latent, self.scale)?.pictures)
    }

    /// Whether the adversarial loss has acted in any step so far.
    pub fn was_adversarial(&self) -> bool {
        let critic = self.critic.as_ref();
        critic.is_some_and(|critic| self.gan.share(critic.adam.steps()) > 0.0)
    }
}

/// Names of the discriminator's parameters, in the module's order.
pub fn discriminator_names(width: usize) -> Vec<String> {
    let names = discriminator::tensors(width)
        .into_iter()
        .map(|(name, _)| name);
    names
        .filter(|n| n.ends_with(".weight") || n.ends_with(".bias"))
        .collect()
}
