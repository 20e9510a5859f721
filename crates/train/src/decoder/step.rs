//! The maths of one step: encode, degrade, decode, both networks' gradients, both updates. No input or output.
//!
//! A step has one or more batches, whose gradients are averaged. The generator's forward pass of a single batch serves both networks;
//! with several, the discriminator's pass decodes without a graph, so that memory stays that of one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Distribution, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use vae2x_core::Precision;
use vae2x_nn::array::to_array;
use vae2x_nn::device::float_dtype;
use vae2x_nn::loss::gan::{GanKind, adaptive_weight};
use vae2x_nn::wan_vae::latent;

use super::batch::Batch;
use super::collective::Collective;
use super::config::{Part, TrainConfig};
use super::learner::{Critic, Learner};
use super::losses::{LossStep, squared_pull};
use super::model::{Decoded, Generator, decode, encode, last_layer};
use super::schedule::learning_rate;
use crate::run::noise::seeded;
use crate::run::optim;
use crate::{Error, Result};

/// A step under way.
pub struct StepWork {
    /// Counted from 0.
    pub step: u64,
    batches: Vec<Batch>,
    kept: Option<Forward>,
    /// The numbers to report.
    pub values: BTreeMap<&'static str, f64>,
    /// Why the step was skipped, if it was.
    pub problem: Option<String>,
    /// The photos of a step that was skipped, of all ranks.
    pub skipped: Vec<String>,
}

/// Steps that were skipped because their losses or gradients were bad.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Skips {
    /// In the whole run.
    pub total: u64,
    /// Since the last good one.
    pub in_a_row: u64,
}

/// Decoded images with their graph.
struct Forward {
    decoded: Decoded,
    /// KL divergence of the latents, where it is trained.
    kl: Option<Tensor<1>>,
}

impl Learner {
    /// Begins a step.
    pub fn begin(&self, step: u64, batches: Vec<Batch>) -> StepWork {
        let values = BTreeMap::from([("lr", learning_rate(&self.train, step, self.train.lr))]);
        StepWork {
            step,
            batches,
            kept: None,
            values,
            problem: None,
            skipped: Vec::new(),
        }
    }

    /// A whole step but for the average. Up to `train.skip_bad` bad steps in a row change nothing but [`Self::skips`].
    ///
    /// # Errors
    /// As [`Self::discriminator_step`] and [`Self::generator_step`].
    pub fn advance(&mut self, step: u64, batches: Vec<Batch>) -> Result<StepWork> {
        let mut work = self.begin(step, batches);
        let most = self.train.skip_bad as u64;
        // The discriminator learns before the generator's losses are known.
        let critic = (most > 0).then(|| self.critic.clone());
        let done = self
            .discriminator_step(&mut work)
            .and_then(|()| self.generator_step(&mut work));
        let mut error = match done {
            Ok(()) => {
                self.skips.in_a_row = 0;
                return Ok(work);
            }
            Err(error) => error,
        };
        let Error::Diverged { what, names, .. } = &mut error else {
            return Err(error);
        };
        if self.skips.in_a_row >= most {
            if most > 0 {
                what.push_str(&format!(
                    ", as the {most} batches before were (train.skip_bad)"
                ));
            }
            return Err(error);
        }
        if let Some(critic) = critic {
            self.critic = critic;
        }
        self.skips.total += 1;
        self.skips.in_a_row += 1;
        work.problem = Some(std::mem::take(what));
        work.skipped = std::mem::take(names);
        Ok(work)
    }

    /// The weight of the adversarial loss, before it adapts; 0 where it does not act. A run may get a discriminator late, so its own
    /// steps count.
    fn adversarial_weight(&self, step: u64) -> f64 {
        match &self.critic {
            Some(critic) if step >= self.gan.start => {
                self.gan.weight * self.gan.share(critic.adam.steps())
            }
            _ => 0.0,
        }
    }

    /// Whether the numbers of a step go into the log.
    fn is_reported(&self, step: u64) -> bool {
        let done = step + 1;
        done.is_multiple_of(self.log_every) || done == self.train.steps
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
                    encode(encoder, batch.input.clone().cast(float_dtype(precision)));
                match self.part {
                    Part::Base => self.drawn(mean, log_variance, rng),
                    _ => (mean, None),
                }
            }
        };
        let times = self.times(batch.names.len(), rng);
        let shape = raw.dims();
        let normalized = latent::normalize(raw, &self.vae);
        let degraded = self
            .degradation
            .apply(normalized, &times, || self.normal(shape, rng));
        let latents =
            latent::denormalize(degraded, &self.vae).cast(float_dtype(self.train.precision));
        let decoded = decode(&generator.decoder, latents, self.scale)?;
        Ok(Forward { decoded, kl })
    }

    /// Flow times of a batch, 0 for samples that are not degraded; drawn for the samples of all ranks.
    fn times(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let [rank, ranks] = self.place();
        let all = ranks * count;
        let mut times: Vec<f64> = (0..all)
            .map(|_| rng.random_range(0.0..=self.t_max))
            .collect();
        for time in &mut times {
            if rng.random_bool(self.clean) {
                *time = 0.0;
            }
        }
        times[rank * count..][..count].to_vec()
    }

    /// Standard normal values for a batch, drawn for the samples of all ranks.
    fn normal(&self, [batch, z, h, w]: [usize; 4], rng: &mut ChaCha8Rng) -> Tensor<4> {
        let [rank, ranks] = self.place();
        let all = seeded(&self.device, rng.random(), |device| {
            let shape = [ranks * batch, z, h, w];
            Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), device)
        });
        all.narrow(0, rank * batch, batch)
    }

    /// A latent drawn from its distribution, and `sum (mean^2 + variance - 1 - log variance) / 2` per image.
    fn drawn(
        &self,
        mean: Tensor<4>,
        log_variance: Tensor<4>,
        rng: &mut ChaCha8Rng,
    ) -> (Tensor<4>, Option<Tensor<1>>) {
        let log_variance = log_variance.clamp(-30.0, 20.0);
        let batch = mean.dims()[0];
        let noise = self.normal(mean.dims(), rng);
        let divergence =
            mean.clone().square() + log_variance.clone().exp() - 1.0 - log_variance.clone();
        let kl = divergence.sum() * (0.5 / batch as f64);
        (mean + (log_variance * 0.5).exp() * noise, Some(kl))
    }

    /// Teaches the discriminator targets from decoded images, which are constants here.
    ///
    /// # Errors
    /// [`Error::Diverged`], before anything is changed.
    pub fn discriminator_step(&mut self, work: &mut StepWork) -> Result<()> {
        if self.critic.is_none() || work.step < self.gan.start {
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
        let lr = learning_rate(&self.train, work.step, self.gan.lr);
        let (Some(critic), member) = (&mut self.critic, &self.member) else {
            return Ok(());
        };
        critic.network.iterate(&mut critic.spectral);
        let mut sum = GradientsAccumulator::new();
        let mut numbers = [0.0; 3];
        for (batch, decoded) in work.batches.iter().zip(pictures) {
            let Judged { loss, logits } = judged(critic, kind, batch.target.clone(), decoded);
            let means = logits.map(|logits| logits.into_scalar::<f32>());
            let values = [loss.clone().into_scalar::<f32>(), means[0], means[1]];
            for (number, value) in numbers.iter_mut().zip(values) {
                *number += f64::from(value) / work.batches.len() as f64;
            }
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
        let gradients = averaged(member, &critic.network, gradients, numbers.iter_mut())?;
        work.values
            .extend(["d_loss", "d_real", "d_decoded"].into_iter().zip(numbers));
        work.values
            .insert("d_grad_norm", optim::norm(&critic.network, &gradients));
        work.check(&self.train, member)?;
        critic.network = critic.adam.step(lr, critic.network.clone(), gradients);
        Ok(())
    }

    /// Changes the generator.
    ///
    /// # Errors
    /// [`Error::Diverged`], before anything is changed.
    pub fn generator_step(&mut self, work: &mut StepWork) -> Result<()> {
        let gradients = self.generator_gradients(work)?;
        let norm = optim::norm(&self.generator, &gradients);
        work.values.insert("grad_norm", norm);
        work.check(&self.train, &self.member)?;
        let clip = self.train.clip;
        let gradients = match clip > 0.0 && norm > clip {
            true => optim::scale(&self.generator, gradients, clip / norm),
            false => gradients,
        };
        let lr = learning_rate(&self.train, work.step, self.train.lr);
        self.generator = self.adam.step(lr, self.generator.clone(), gradients);
        Ok(())
    }

    /// The gradient of all losses over all batches of a step, before clipping.
    ///
    /// # Errors
    /// If the crop is too small for the losses.
    pub fn generator_gradients(&self, work: &mut StepWork) -> Result<GradientsParams> {
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
            let at = LossStep {
                step: work.step,
                is_reported: self.is_reported(work.step),
            };
            let pull = self.losses.pull(&pictures, &batch.target, at, &mut rng)?;
            work.add(&pull.values, share);
            work.add(&pull.squares, share);
            let mut gradient = pull.gradient;
            if self.adversarial_weight(work.step) != 0.0 {
                gradient =
                    self.with_adversarial(gradient, &pictures, &forward.decoded, work, share)?;
            }
            // The decoder's gradient for this gradient of its images.
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
        let gradients = averaged(&self.member, &self.generator, sum.grads(), new)?;
        work.finish_pulls();
        Ok(gradients)
    }

    /// Adds the adversarial loss's gradient with respect to the images.
    fn with_adversarial(
        &self,
        gradient: Tensor<4>,
        pictures: &Tensor<4>,
        decoded: &Decoded,
        work: &mut StepWork,
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
        let weight = self.adversarial_weight(work.step) * factor;
        work.add(&[("gan_weight", weight)], share);
        let adversarial = adversarial.mul_scalar(weight);
        if self.is_reported(work.step) {
            work.add(&[("pull_gan", squared_pull(&adversarial))], share);
        }
        Ok(gradient + adversarial)
    }

    /// The norm of the last convolution's gradient for a gradient of the images.
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
}

impl StepWork {
    fn add(&mut self, values: &[(&'static str, f64)], share: f64) {
        for (name, value) in values {
            *self.values.entry(name).or_default() += value * share;
        }
    }

    /// Squared pulls, averaged over the batches and ranks of a step, become pulls.
    fn finish_pulls(&mut self) {
        let pulls = self
            .values
            .iter_mut()
            .filter(|(name, _)| name.starts_with("pull_"));
        pulls.for_each(|(_, square)| *square = square.sqrt());
    }

    /// All values so far are finite, and those that have a limit are within it. They are means over ranks, so all ranks agree; each
    /// knows its own photos, which the error names together.
    fn check(&self, train: &TrainConfig, member: &Option<Arc<dyn Collective>>) -> Result<()> {
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
            names: self.names(member)?,
            losses: losses.join(", "),
        })
    }

    /// The photos of a step on all ranks, in their order.
    fn names(&self, member: &Option<Arc<dyn Collective>>) -> Result<Vec<String>> {
        let own = self.batches.iter().flat_map(|b| b.names.clone());
        let Some(member) = member else {
            return Ok(own.collect());
        };
        // No path holds a zero.
        let own = own.collect::<Vec<_>>().join("\0");
        let all = member.gather(own.into_bytes())?;
        let names = all.iter().flat_map(|bytes| bytes.split(|&b| b == 0));
        Ok(names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect())
    }
}

/// The gradients of a module that there are, and numbers, averaged over ranks.
fn averaged<'a, M: Module>(
    member: &Option<Arc<dyn Collective>>,
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

/// The discriminator's view of a batch.
struct Judged {
    loss: Tensor<1>,
    /// Mean logits of targets and of decoded images.
    logits: [Tensor<1>; 2],
}

fn judged(critic: &Critic, kind: GanKind, target: Tensor<4>, decoded: Tensor<4>) -> Judged {
    let [real, decoded] = [target, decoded].map(|x| critic.network.forward(x, &critic.spectral));
    let logits = [&real, &decoded].map(|logits| logits.clone().without_autodiff().mean());
    let loss = kind.discriminator(real, decoded);
    Judged { loss, logits }
}
