//! A network in training that is small enough for one checkpoint file: AdamW down a cosine, clipped gradients, a moving average if asked for.
//!
//! Everything random is drawn by the network's own code from its seed and the step, so that a file of tensors and the number of the step
//! are all that is needed to go on.

use std::path::Path;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use vae2x_core::Array;
use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::TensorFile;
use vae2x_nn::layers::TensorSource;

use super::checkpoint::{self, Expected, find, metadata, write};
use super::folder::check;
use super::optim::{self, Adam, AdamOptions};
use super::work::Intervals;
use crate::{Error, Result};

/// The checkpoint of a run folder, which each one replaces.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Gradient norms are held below this: otherwise the first steps of an unlucky crop would throw off the optimizer's averages.
const CLIP: f64 = 1.0;
/// AdamW's decay of its averages of gradients and of their squares.
const BETAS: [f32; 2] = [0.9, 0.99];
/// Crops of a batch, and cells along a crop's side, that no small network is trained with.
pub const MOST_CROPS: usize = 1 << 16;
/// See [`MOST_CROPS`].
pub const LARGEST_CROP: usize = 1 << 12;
/// Prefixes of names in a checkpoint.
const MODEL: &str = "model";
const AVERAGE: &str = "average";
const OPTIMIZER: &str = "optimizer";
/// The metadata key of the number of steps done.
const STEP: &str = "vae2x.step";

/// How a small network is trained, in every configuration of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmallOptions {
    /// Optimizer steps.
    pub steps: u64,
    /// Learning rate at the start of the cosine, which ends at 0.
    pub lr: f64,
    /// Decay of the moving average of weights; 0 for none.
    pub ema: f64,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Share of the data that is held out and measured on.
    pub held_out: f64,
}

impl SmallOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        check(self.steps > 0, "steps must be 1 or more")?;
        check(
            self.lr > 0.0 && self.lr.is_finite(),
            "lr: expected a positive number",
        )?;
        check(
            (0.0..1.0).contains(&self.ema),
            "ema: expected a number from 0 to below 1",
        )?;
        check(
            self.log_every > 0 && self.checkpoint_every > 0,
            "log_every and checkpoint_every must be 1 or more",
        )?;
        check(
            0.0 < self.held_out && self.held_out < 1.0,
            "held_out: expected a number between 0 and 1",
        )
    }

    /// For [`train`](super::train): measured at every checkpoint.
    pub fn intervals(&self) -> Intervals {
        Intervals {
            steps: self.steps,
            log: self.log_every,
            evaluate: self.checkpoint_every,
            checkpoint: self.checkpoint_every,
            milestone: 0,
        }
    }

    fn learning_rate(&self, step: u64) -> f64 {
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / self.steps as f64).cos())
    }
}

/// The random numbers of a step: each step has its own stream of the seed.
pub fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// The checkpoint of a run folder, if there is one.
///
/// # Errors
/// If it cannot be read.
pub fn resume(folder: &Path) -> Result<Option<TensorFile>> {
    let path = folder.join(CHECKPOINT_FILE);
    Ok(path.exists().then(|| TensorFile::open(&path)).transpose()?)
}

/// Splits indices of `what` into those to train on and those held out, one at least of each, both in order.
///
/// # Errors
/// [`Error::Data`] for fewer than two.
pub fn split(
    count: usize,
    what: &str,
    held_out: f64,
    rng: &mut ChaCha8Rng,
) -> Result<(Vec<usize>, Vec<usize>)> {
    if count < 2 {
        return Err(Error::Data(format!(
            "{count} {what}; expected 2 or more, one of them to be held out"
        )));
    }
    let mut all: Vec<usize> = (0..count).collect();
    all.shuffle(rng);
    let first = ((count as f64 * held_out).round() as usize).clamp(1, count - 1);
    let (held_out, train) = all.split_at_mut(first);
    train.sort_unstable();
    held_out.sort_unstable();
    Ok((train.to_vec(), held_out.to_vec()))
}

/// A network to train: its tensors, in the order of the module's parameters, and how it is built from them.
pub struct Network<'a, M> {
    /// Names and shapes.
    pub specs: Vec<TensorSpec>,
    /// Builds it from a source of those, on a device.
    pub load: &'a dyn Fn(&TensorSource<'_>, &Device) -> vae2x_core::Result<M>,
    /// Values before the first step.
    pub start: &'a TensorSource<'a>,
}

/// Checks that a checkpoint has the weights of a network and what its optimizer keeps, and nothing else.
fn check_whole(file: &TensorFile, specs: &[TensorSpec], with_average: bool) -> Result<()> {
    let parameters = || {
        specs
            .iter()
            .map(|spec| (spec.name.as_str(), &spec.shape[..]))
    };
    let mut expected = Expected::default()
        .weights(MODEL, parameters())
        .states(OPTIMIZER, parameters());
    let is_average = |name: &String| name.starts_with(&format!("{AVERAGE}."));
    if with_average || file.tensors().keys().any(is_average) {
        expected = expected.weights(AVERAGE, parameters());
    }
    Ok(expected.check(file)?)
}

/// A network with its optimizer.
pub struct SmallTraining<M> {
    options: SmallOptions,
    specs: Vec<TensorSpec>,
    module: M,
    average: Option<M>,
    adam: Adam,
    step: u64,
    /// Since the last report.
    losses: Vec<f64>,
}

impl<M: Module> SmallTraining<M> {
    /// Begins, or goes on from a checkpoint. `device` is one without autodiff.
    ///
    /// # Errors
    /// [`Error::Config`]; reading errors of the checkpoint.
    pub fn new(
        network: Network<'_, M>,
        options: SmallOptions,
        checkpoint: Option<&TensorFile>,
        device: &Device,
    ) -> Result<Self> {
        options.validate()?;
        let Network { specs, load, start } = network;
        let under = |prefix: &'static str| {
            move |name: &str, shape: &[usize]| match checkpoint {
                Some(file) => checkpoint::read(file, &format!("{prefix}.{name}"), shape),
                None => start(name, shape),
            }
        };
        if let Some(file) = checkpoint {
            check_whole(file, &specs, options.ema > 0.0)?;
        }
        let module = load(&under(MODEL), &device.clone().autodiff())?;
        let average = (options.ema > 0.0)
            .then(|| load(&under(AVERAGE), device))
            .transpose()?;
        let mut fit = Self {
            adam: Adam::new(AdamOptions {
                betas: BETAS,
                weight_decay: 0.0,
            }),
            step: 0,
            losses: Vec::new(),
            options,
            specs,
            module,
            average,
        };
        if let Some(file) = checkpoint {
            fit.adam.restore(
                &fit.optimizer_names(),
                &|name| Ok(find(file, name)?),
                device,
            )?;
            fit.step = metadata(file, STEP, str::parse)?;
        }
        Ok(fit)
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The module, with gradients.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// The result: the average if there is one, else the module as it is; without gradients.
    pub fn result(&self) -> M {
        self.average.clone().unwrap_or_else(|| self.module.valid())
    }

    /// One step down a loss of [`Self::module`]. `names` are the samples, for the error if the loss or its gradient is not finite.
    ///
    /// # Errors
    /// [`Error::Diverged`], before anything is changed.
    pub fn descend(&mut self, loss: Tensor<1>, names: Vec<String>) -> Result<()> {
        let step = self.step;
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &self.module);
        let norm = optim::norm(&self.module, &gradients);
        if !(value.is_finite() && norm.is_finite()) {
            let losses = format!("loss {value:e}, gradient {norm:e}");
            let what = "the loss or its gradient is not finite".into();
            return Err(Error::Diverged {
                step,
                what,
                names,
                losses,
            });
        }
        let gradients = if norm > CLIP {
            optim::scale(&self.module, gradients, CLIP / norm)
        } else {
            gradients
        };
        self.module = self.adam.step(
            self.options.learning_rate(step),
            self.module.clone(),
            gradients,
        );
        let decay = optim::early_decay(self.options.ema, step);
        self.average = self
            .average
            .take()
            .map(|average| optim::average(average, &self.module, decay));
        self.step += 1;
        self.losses.push(value);
        Ok(())
    }

    /// The mean loss since the last call.
    pub fn report(&mut self) -> Vec<(String, f64)> {
        let losses = std::mem::take(&mut self.losses);
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        vec![("loss".to_string(), mean)]
    }

    /// Writes all of the state into the checkpoint of a run folder.
    ///
    /// # Errors
    /// Writing errors: what was there before stays.
    pub fn store(&self, folder: &Path) -> Result<()> {
        let mut arrays = checkpoint::weights(MODEL, &self.module, &self.specs)?;
        if let Some(average) = &self.average {
            arrays.extend(checkpoint::weights(AVERAGE, average, &self.specs)?);
        }
        arrays.extend(self.adam.read(&self.optimizer_names())?);
        write(
            &folder.join(CHECKPOINT_FILE),
            &arrays,
            [(STEP.to_string(), self.step.to_string())].into(),
        )
    }

    fn optimizer_names(&self) -> Vec<String> {
        self.specs
            .iter()
            .map(|spec| format!("{OPTIMIZER}.{}", spec.name))
            .collect()
    }
}

/// The part of a plane stack `[C, h, w]` at a place.
///
/// # Errors
/// If it has another rank.
///
/// # Panics
/// If the part is not inside.
pub fn crop(latent: &Array, [top, left]: [usize; 2], side: usize) -> Result<Array> {
    let [c, h, w] = latent.dims("latent")?;
    let rows = (0..c * side).map(|i| (i / side * h + top + i % side) * w + left);
    let values = rows
        .flat_map(|start| &latent.data()[start..start + side])
        .copied();
    Ok(Array::new([c, side, side], values.collect())?)
}
