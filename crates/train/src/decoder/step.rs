//! The maths of one step: encode, degrade, decode, both networks' gradients, both updates. No input or output.
//!
//! A step has one or more batches, whose gradients are averaged. The generator's forward pass of a single batch serves both networks;
//! with several, the discriminator's pass decodes without a graph, so that memory stays that of one batch.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vae2x_core::weights::Weights;
use vae2x_core::{Precision, VaeConfig};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::discriminator::{self, Discriminator, Spectral};
use vae2x_nn::loss::gan::{GanKind, adaptive_weight};
use vae2x_nn::wan_vae::{Encoder, latent};

use super::config::{Config, GanConfig, Part, Schedule, TrainConfig};
use super::degradation::Degradation;
use super::losses::{PictureLosses, VggChoices};
use super::meeting::Member;
use super::model::{Decoded, Generator, Overlay, decode, encode, last_layer};
use crate::data::Sample;
use crate::run::noise::seeded;
use crate::run::optim::{self, Adam, AdamOptions};
use crate::{Error, Result};

/// Pictures on the device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The photos.
    pub names: Vec<String>,
    /// `[B, 3, H, W]` in [-1, 1]
    pub target: Tensor<4>,
    /// `[B, 3, H / r, W / r]` in [-1, 1]
    pub input: Tensor<4>,
}

impl Batch {
    /// Copies samples of one size to the device.
    ///
    /// # Errors
    /// If sizes differ.
    pub fn new(samples: Vec<Sample>, device: &Device) -> Result<Self> {
        let stack = |part: fn(&Sample) -> &vae2x_core::Array, what: &str| {
            let parts: Vec<_> = samples.iter().map(|s| part(s).clone()).collect();
            to_tensor(&vae2x_core::Array::stack(&parts)?, what, device)
        };
        Ok(Self {
            target: stack(|s| &s.target, "targets")?,
            input: stack(|s| &s.input, "inputs")?,
            names: samples.iter().map(|s| s.name.clone()).collect(),
        })
    }
}

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
    /// What is trained.
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
    /// If several devices train together.
    pub member: Option<Member>,
    frozen: Option<Encoder>,
    losses: PictureLosses,
    degradation: Degradation,
    part: Part,
    scale: usize,
    train: TrainConfig,
    gan: GanConfig,
    kl: f64,
    t_max: f64,
    device: Device,
}

/// A step under way.
pub struct Work {
    /// Counted from 0.
    pub step: u64,
    batches: Vec<Batch>,
    kept: Option<Forward>,
    /// What there is to tell of the step.
    pub values: BTreeMap<&'static str, f64>,
}

/// Decoded pictures with their graph.
struct Forward {
    decoded: Decoded,
    /// KL divergence of the latents, where it is trained.
    kl: Option<Tensor<1>>,
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
        check_precision(config.train.precision, &plain)?;
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

    /// Begins a step.
    pub fn begin(&self, step: u64, batches: Vec<Batch>) -> Work {
        let values = BTreeMap::from([("lr", self.learning_rate(step, self.train.lr))]);
        Work {
            step,
            batches,
            kept: None,
            values,
        }
    }

    /// A whole step but for the average.
    ///
    /// # Errors
    /// As [`Self::discriminator_step`] and [`Self::generator_step`].
    pub fn advance(&mut self, step: u64, batches: Vec<Batch>) -> Result<Work> {
        let mut work = self.begin(step, batches);
        self.discriminator_step(&mut work)?;
        self.generator_step(&mut work)?;
        Ok(work)
    }

    /// This rank, and the number of ranks.
    fn place(&self) -> [usize; 2] {
        self.member
            .as_ref()
            .map_or([0, 1], |member| [member.rank, member.count()])
    }

    /// Whether the adversarial loss acts at a step.
    fn is_adversarial(&self, step: u64) -> bool {
        self.critic.is_some() && step >= self.gan.start
    }

    /// Random numbers of one batch of one step, the same whenever they are asked for.
    fn random(&self, step: u64, batch: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.train.seed);
        rng.set_stream(step * self.train.accumulate as u64 + batch as u64);
        rng
    }

    /// Encodes, degrades, decodes.
    fn forward(
        &self,
        generator: &Generator,
        batch: &Batch,
        rng: &mut ChaCha8Rng,
    ) -> Result<Forward> {
        let trained = generator.encoder.as_ref();
        let (raw, kl) = match trained.or(self.frozen.as_ref()) {
            None => return Err(Error::Config("there is no encoder".into())),
            Some(encoder) => {
                let precision = if trained.is_some() {
                    self.train.precision
                } else {
                    Precision::F32
                };
                let [mean, log_variance] =
                    encode(encoder, batch.input.clone().cast(dtype(precision)));
                match self.part {
                    Part::Base => self.drawn(mean, log_variance, rng),
                    _ => (mean, None),
                }
            }
        };
        // Drawn for the samples of all ranks.
        let ([rank, ranks], count) = (self.place(), batch.names.len());
        let times: Vec<f64> = (0..ranks * count)
            .map(|_| rng.random_range(0.0..=self.t_max))
            .collect();
        let times = &times[rank * count..][..count];
        let degraded = self
            .degradation
            .apply(latent::normalize(raw, &self.vae), times);
        let latents = latent::denormalize(degraded, &self.vae).cast(dtype(self.train.precision));
        let decoded = decode(&generator.decoder, latents, self.scale)?;
        Ok(Forward { decoded, kl })
    }

    /// A latent drawn from its distribution, and `sum (mean^2 + variance - 1 - log variance) / 2` per picture.
    fn drawn(
        &self,
        mean: Tensor<4>,
        log_variance: Tensor<4>,
        rng: &mut ChaCha8Rng,
    ) -> (Tensor<4>, Option<Tensor<1>>) {
        let log_variance = log_variance.clamp(-30.0, 20.0);
        let [batch, z, h, w] = mean.dims();
        let [rank, ranks] = self.place();
        let all = seeded(&self.device, rng.random(), |device| {
            Tensor::<4>::random(
                [ranks * batch, z, h, w],
                Distribution::Normal(0.0, 1.0),
                device,
            )
        });
        let noise = all.narrow(0, rank * batch, batch);
        let divergence =
            mean.clone().square() + log_variance.clone().exp() - 1.0 - log_variance.clone();
        let kl = divergence.sum() * (0.5 / batch as f64);
        (mean + (log_variance * 0.5).exp() * noise, Some(kl))
    }

    /// Teaches the discriminator targets from decoded pictures, which are constants here.
    ///
    /// # Errors
    /// [`Error::Diverged`], before anything is changed.
    pub fn discriminator_step(&mut self, work: &mut Work) -> Result<()> {
        if !self.is_adversarial(work.step) {
            return Ok(());
        }
        let mut pictures = Vec::new();
        match &work.batches[..] {
            [single] => {
                let forward =
                    self.forward(&self.generator, single, &mut self.random(work.step, 0))?;
                pictures.push(forward.decoded.pictures.clone().without_autodiff());
                work.kept = Some(forward);
            }
            several => {
                let plain = self.generator.valid();
                for (i, batch) in several.iter().enumerate() {
                    pictures.push(
                        self.forward(&plain, batch, &mut self.random(work.step, i))?
                            .decoded
                            .pictures,
                    );
                }
            }
        }
        let kind = self.gan.kind.to_kind();
        let lr = self.learning_rate(work.step, self.gan.lr);
        let (Some(critic), member) = (&mut self.critic, &self.member) else {
            return Ok(());
        };
        critic.network.iterate(&mut critic.spectral);
        let mut sum = GradientsAccumulator::new();
        let mut total = 0.0;
        for (batch, decoded) in work.batches.iter().zip(pictures) {
            let loss = critic_loss(critic, kind, batch.target.clone(), decoded);
            total += f64::from(loss.clone().into_scalar::<f32>()) / work.batches.len() as f64;
            sum.accumulate(
                &critic.network,
                GradientsParams::from_grads(loss.backward(), &critic.network),
            );
        }
        let gradients = optim::scale(
            &critic.network,
            sum.grads(),
            1.0 / work.batches.len() as f64,
        );
        let gradients = averaged(member, &critic.network, gradients, [&mut total].into_iter())?;
        work.values.insert("d_loss", total);
        work.values
            .insert("d_grad_norm", optim::norm(&critic.network, &gradients));
        work.check(&self.train)?;
        critic.network = critic.adam.step(lr, critic.network.clone(), gradients);
        Ok(())
    }

    /// Changes the generator.
    ///
    /// # Errors
    /// [`Error::Diverged`], before anything is changed.
    pub fn generator_step(&mut self, work: &mut Work) -> Result<()> {
        let gradients = self.generator_gradients(work)?;
        let norm = optim::norm(&self.generator, &gradients);
        work.values.insert("grad_norm", norm);
        work.check(&self.train)?;
        let clip = self.train.clip;
        let gradients = match clip > 0.0 && norm > clip {
            true => optim::scale(&self.generator, gradients, clip / norm),
            false => gradients,
        };
        let lr = self.learning_rate(work.step, self.train.lr);
        self.generator = self.adam.step(lr, self.generator.clone(), gradients);
        Ok(())
    }

    /// The gradient of all losses over all batches of a step, before clipping.
    ///
    /// # Errors
    /// If the crop is too small for the losses.
    pub fn generator_gradients(&self, work: &mut Work) -> Result<GradientsParams> {
        let share = 1.0 / work.batches.len() as f64;
        let mut sum = GradientsAccumulator::new();
        let told: Vec<_> = work.values.keys().copied().collect();
        for i in 0..work.batches.len() {
            let mut rng = self.random(work.step, i);
            let batch = work.batches[i].clone();
            let forward = match work.kept.take() {
                Some(kept) => kept,
                None => self.forward(&self.generator, &batch, &mut rng)?,
            };
            // Apart from the numbers of the forward pass, which may have been made earlier.
            let mut rng = self.random(work.step, i);
            rng.set_word_pos(1 << 20);
            let pictures = forward.decoded.pictures.clone().without_autodiff();
            let pull = self
                .losses
                .pull(&pictures, &batch.target, work.step, &mut rng)?;
            work.add(&pull.values, share);
            let mut gradient = pull.gradient;
            if self.is_adversarial(work.step) {
                gradient =
                    self.with_adversarial(gradient, &pictures, &forward.decoded, work, share)?;
            }
            // The decoder's gradient for this gradient of its pictures.
            let mut surrogate = (forward.decoded.pictures * gradient.mul_scalar(share)).sum();
            if let Some(kl) = forward.kl {
                work.add(&[("kl", f64::from(kl.clone().into_scalar::<f32>()))], share);
                surrogate = surrogate + kl * (self.kl * share);
            }
            sum.accumulate(
                &self.generator,
                GradientsParams::from_grads(surrogate.backward(), &self.generator),
            );
        }
        let new = work
            .values
            .iter_mut()
            .filter(|(name, _)| !told.contains(name))
            .map(|(_, value)| value);
        averaged(&self.member, &self.generator, sum.grads(), new)
    }

    /// Adds the adversarial loss's gradient with respect to the pictures.
    fn with_adversarial(
        &self,
        gradient: Tensor<4>,
        pictures: &Tensor<4>,
        decoded: &Decoded,
        work: &mut Work,
        share: f64,
    ) -> Result<Tensor<4>> {
        let Some(critic) = &self.critic else {
            return Ok(gradient);
        };
        let leaf = Tensor::from_inner(pictures.clone()).require_grad();
        let loss = self.gan.kind.to_kind().generator(
            critic
                .network
                .valid()
                .forward(leaf.clone(), &critic.spectral),
        );
        work.add(
            &[("gan", f64::from(loss.clone().into_scalar::<f32>()))],
            share,
        );
        let Some(adversarial) = leaf.grad(&loss.backward()) else {
            return Ok(gradient);
        };
        let factor = match self.gan.adaptive {
            false => 1.0,
            true => adaptive_weight(
                self.last_layer_norm(decoded, &gradient)?,
                self.last_layer_norm(decoded, &adversarial)?,
            ),
        };
        work.add(&[("gan_weight", self.gan.weight * factor)], share);
        Ok(gradient + adversarial.mul_scalar(self.gan.weight * factor))
    }

    /// The norm of the last convolution's gradient for a gradient of the pictures.
    fn last_layer_norm(&self, decoded: &Decoded, gradient: &Tensor<4>) -> Result<f64> {
        let decoder = &self.generator.decoder;
        let pictures = last_layer(
            decoder,
            decoded.features.clone().without_autodiff(),
            self.scale,
        );
        let gradients = (pictures * gradient.clone()).sum().backward();
        let weight = decoder.head_conv.weight.val().grad(&gradients);
        let Some(weight) = weight else { return Ok(0.0) };
        let values = to_array(weight)?.into_data();
        let norm = |values: &[f32]| {
            values
                .iter()
                .map(|v| f64::from(*v).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        match &self.member {
            None => Ok(norm(&values)),
            Some(member) => Ok(norm(&member.mean(values)?)),
        }
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

    fn learning_rate(&self, step: u64, lr: f64) -> f64 {
        learning_rate(&self.train, step, lr)
    }
}

impl Work {
    fn add(&mut self, values: &[(&'static str, f64)], share: f64) {
        for (name, value) in values {
            *self.values.entry(name).or_default() += value * share;
        }
    }

    /// All values so far are finite, and those that have a limit are within it.
    fn check(&self, train: &TrainConfig) -> Result<()> {
        let problem = |(name, value): (&&'static str, &f64)| {
            let (key, limit) = match *name {
                "loss" | "gan" | "d_loss" => ("train.explode_loss", train.explode_loss),
                "grad_norm" | "d_grad_norm" => ("train.explode", train.explode),
                _ => ("", f64::INFINITY),
            };
            match value {
                v if !v.is_finite() => Some(format!("{name} is {v}")),
                v if *v > limit => Some(format!("{name} is {v:.4e}, above {key} = {limit:e}")),
                _ => None,
            }
        };
        let problems: Vec<String> = self.values.iter().filter_map(problem).collect();
        if problems.is_empty() {
            return Ok(());
        }
        let losses = self
            .values
            .iter()
            .map(|(name, value)| format!("{name} {value:.4e}"))
            .collect::<Vec<_>>();
        Err(Error::Diverged {
            step: self.step,
            what: problems.join(", "),
            names: self.batches.iter().flat_map(|b| b.names.clone()).collect(),
            losses: losses.join(", "),
        })
    }
}

/// Gradients of a module and numbers, averaged over ranks.
fn averaged<'a, M: Module>(
    member: &Option<Member>,
    module: &M,
    gradients: GradientsParams,
    numbers: impl Iterator<Item = &'a mut f64>,
) -> Result<GradientsParams> {
    let Some(member) = member else {
        return Ok(gradients);
    };
    let mut values = optim::flatten(module, &gradients)?;
    let (count, numbers) = (values.len(), numbers.collect::<Vec<_>>());
    values.extend(numbers.iter().map(|number| **number as f32));
    let mean = member.mean(values)?;
    numbers
        .into_iter()
        .zip(&mean[count..])
        .for_each(|(number, mean)| *number = f64::from(*mean));
    Ok(optim::unflatten(module, gradients, &mean[..count]))
}

fn check_precision(precision: Precision, device: &Device) -> Result<()> {
    match device.supports_dtype(dtype(precision)) {
        true => Ok(()),
        false => Err(Error::Config(format!(
            "train.precision: {device:?} cannot compute in {precision}"
        ))),
    }
}

/// burn's type of a precision.
fn dtype(precision: Precision) -> FloatDType {
    match precision {
        Precision::F32 => FloatDType::F32,
        Precision::Bf16 => FloatDType::BF16,
        Precision::F16 => FloatDType::F16,
    }
}

fn critic_loss(critic: &Critic, kind: GanKind, target: Tensor<4>, decoded: Tensor<4>) -> Tensor<1> {
    let real = critic.network.forward(target, &critic.spectral);
    let decoded = critic.network.forward(decoded, &critic.spectral);
    kind.discriminator(real, decoded)
}

/// Linear warmup, then the schedule.
fn learning_rate(train: &TrainConfig, step: u64, lr: f64) -> f64 {
    if step < train.warmup {
        return lr * (step + 1) as f64 / train.warmup as f64;
    }
    match train.schedule {
        Schedule::Constant => lr,
        Schedule::Cosine => {
            let part = (step - train.warmup) as f64
                / train.steps.saturating_sub(train.warmup).max(1) as f64;
            let least = train.lr_min * lr / train.lr;
            least + (lr - least) * 0.5 * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos())
        }
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
