//! Everything that training a decoder reads and changes: networks, optimizers, losses.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use vae2x_core::VaeConfig;
use vae2x_core::weights::Weights;
use vae2x_nn::device::check_precision;
use vae2x_nn::discriminator::{self, Discriminator, Spectral};
use vae2x_nn::wan_vae::Encoder;

use super::collective::Collective;
use super::config::{Config, GanConfig, Part, TrainConfig};
use super::degradation::Degradation;
use super::losses::{PictureLosses, VggChoices};
use super::model::{Generator, Overlay, decode, encode};
use crate::run::optim::{self, Adam, AdamOptions};
use crate::{Error, Result};

/// The discriminator and what goes with it.
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
    /// Whether the model has temporal taps.
    pub has_time: bool,
    /// If several ranks train together.
    pub member: Option<Arc<dyn Collective>>,
    pub(super) frozen: Option<Encoder>,
    pub(super) losses: PictureLosses,
    pub(super) degradation: Degradation,
    pub(super) part: Part,
    pub(super) scale: usize,
    pub(super) train: TrainConfig,
    pub(super) gan: GanConfig,
    pub(super) kl: f64,
    pub(super) t_max: f64,
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
        let adam = || {
            Adam::new(AdamOptions {
                betas: config.train.betas,
                weight_decay: config.train.weight_decay,
            })
        };
        let critic = (config.gan.weight != 0.0).then(|| -> Result<Critic> {
            let (network, spectral) = Discriminator::load(
                config.gan.width,
                start.discriminator,
                &plain.clone().autodiff(),
            )?;
            Ok(Critic {
                network,
                spectral,
                adam: adam(),
            })
        });
        let with_encoder = part != Part::Decoder;
        let generator = Generator::load(start.weights, with_encoder, &tracked)?;
        Ok(Self {
            average: (config.train.ema > 0.0).then(|| generator.valid()),
            generator,
            adam: adam(),
            critic: critic.transpose()?,
            vae: start.weights.config().clone(),
            has_time: start.weights.has_time(),
            member: None,
            frozen: (!with_encoder)
                .then(|| Encoder::load(start.base, &plain))
                .transpose()?,
            losses: PictureLosses::load(&config.loss, choices, &plain)?,
            degradation: Degradation::new(
                &config.degradation,
                start.weights.config().z_dim,
                &plain,
            )?,
            part,
            scale: config.scale(),
            train: config.train.clone(),
            gan: config.gan.clone(),
            kl: config.loss.kl,
            t_max: config.degradation.t_max,
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

    /// Decodes without degradation.
    ///
    /// # Shapes
    /// `[B, 3, h, w]` -> `[B, 3, r h, r w]`
    ///
    /// # Errors
    /// If the size does not fit the model.
    pub fn reconstruct(&self, generator: &Generator, input: Tensor<4>) -> Result<Tensor<4>> {
        let encoder = generator.encoder.as_ref().or(self.frozen.as_ref());
        let encoder = encoder.ok_or_else(|| Error::Config("there is no encoder".into()))?;
        let [mean, _] = encode(encoder, input);
        Ok(decode(&generator.decoder, mean, self.scale)?.pictures)
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
