//! A network in training that is small enough for one file: AdamW down a cosine, clipped gradients, a moving average if asked for.
//!
//! What is learned differs by network; what all of them share is here: [`Fitted`] is the maths and the state, [`run`] the folder and the
//! loop over it. Everything random is drawn by the network's own code from its seed and the step, so that a file of tensors and the
//! number of the step are all that is needed to go on.

pub mod run;

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, temp};
use vae2x_nn::layers::TensorSource;
use vae2x_nn::wan_vae::parameters;

use crate::optim::{self, Adam, AdamOptions};
use crate::{Error, Result};

/// Gradient norms are held below this: the first steps of an unlucky crop would else throw the optimizer's averages.
const CLIP: f64 = 1.0;
/// AdamW's averaging of gradients and of their squares.
const BETAS: [f32; 2] = [0.9, 0.99];
/// What names in a checkpoint begin with.
const MODEL: &str = "model";
const AVERAGE: &str = "average";
const OPTIMIZER: &str = "optimizer";
/// The metadata's key for the steps done.
const STEP: &str = "vae2x.step";

/// How the weights move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// Optimizer steps.
    pub steps: u64,
    /// Learning rate at the start of the cosine, which ends at 0.
    pub lr: f64,
    /// Decay of the moving average of weights; 0 for none.
    pub ema: f64,
}

impl Course {
    /// Refuses what cannot be meant.
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
        )
    }

    fn learning_rate(&self, step: u64) -> f64 {
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / self.steps as f64).cos())
    }
}

/// An [`Error::Config`] saying `what`, unless a condition holds.
///
/// # Errors
/// [`Error::Config`].
pub fn check(holds: bool, what: &str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::Config(what.into()))
    }
}

/// The random numbers of a step: one stream of the seed each.
pub fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
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

/// What a network is: its tensors, in the order of the module's parameters, and how it is built from them.
pub struct Kind<'a, M> {
    /// Names and shapes.
    pub specs: Vec<TensorSpec>,
    /// From a source of those, on a device.
    pub load: &'a dyn Fn(&TensorSource<'_>, &Device) -> vae2x_core::Result<M>,
    /// Values before the first step.
    pub start: &'a TensorSource<'a>,
}

/// A network with its optimizer.
pub struct Fitted<M> {
    course: Course,
    specs: Vec<TensorSpec>,
    module: M,
    average: Option<M>,
    adam: Adam,
    step: u64,
}

impl<M: Module> Fitted<M> {
    /// Begins, or goes on from a checkpoint. `device` is one without autodiff.
    ///
    /// # Errors
    /// [`Error::Config`]; reading errors of the checkpoint.
    pub fn new(
        kind: Kind<'_, M>,
        course: Course,
        checkpoint: Option<&TensorFile>,
        device: &Device,
    ) -> Result<Self> {
        course.validate()?;
        let Kind { specs, load, start } = kind;
        let under = |prefix: &'static str| {
            move |name: &str, shape: &[usize]| match checkpoint {
                Some(file) => file.read(&format!("{prefix}.{name}"))?.reshape(shape),
                None => start(name, shape),
            }
        };
        let module = load(&under(MODEL), &device.clone().autodiff())?;
        let average = (course.ema > 0.0)
            .then(|| load(&under(AVERAGE), device))
            .transpose()?;
        let mut fitted = Self {
            adam: Adam::new(AdamOptions {
                betas: BETAS,
                weight_decay: 0.0,
            }),
            step: 0,
            course,
            specs,
            module,
            average,
        };
        if let Some(file) = checkpoint {
            let find = |name: &str| {
                Ok(file
                    .tensors()
                    .contains_key(name)
                    .then(|| file.read(name))
                    .transpose()?)
            };
            fitted
                .adam
                .restore(&fitted.optimizer_names(), &find, device)?;
            fitted.step = steps_done(file)?;
        }
        Ok(fitted)
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The module, with gradients.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// What the training is for: the average if there is one, else the module as it is; without gradients.
    pub fn result(&self) -> M {
        self.average.clone().unwrap_or_else(|| self.module.valid())
    }

    /// One step down a loss of [`Self::module`]; gives its value. `names` are told if it is not finite.
    ///
    /// # Errors
    /// [`Error::Diverged`], before anything is changed.
    pub fn descend(&mut self, loss: Tensor<1>, names: Vec<String>) -> Result<f64> {
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
            self.course.learning_rate(step),
            self.module.clone(),
            gradients,
        );
        let decay = optim::early_decay(self.course.ema, step);
        self.average = self
            .average
            .take()
            .map(|average| optim::average(average, &self.module, decay));
        self.step += 1;
        Ok(value)
    }

    /// Writes all of the state in one file.
    ///
    /// # Errors
    /// Writing errors: what was there before stays.
    pub fn store(&self, path: &Path) -> Result<()> {
        let under = |prefix: &str, module: &M| -> Result<Vec<(String, Array)>> {
            let arrays = parameters::read(module, &self.specs)?;
            Ok(arrays
                .into_iter()
                .map(|(name, array)| (format!("{prefix}.{name}"), array))
                .collect())
        };
        let mut arrays = under(MODEL, &self.module)?;
        if let Some(average) = &self.average {
            arrays.extend(under(AVERAGE, average)?);
        }
        arrays.extend(self.adam.read(&self.optimizer_names())?);
        write(
            path,
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

/// The steps that a checkpoint has behind it.
fn steps_done(file: &TensorFile) -> Result<u64> {
    let step = file.metadata().get(STEP).and_then(|text| text.parse().ok());
    let problem = format!("no checkpoint of a run: '{STEP}' is missing");
    step.ok_or_else(|| Error::Run {
        path: file.path().to_path_buf(),
        problem,
    })
}

/// Writes arrays under their names; when this returns, the file outlasts a power cut.
///
/// # Errors
/// Writing errors: what was there before stays.
pub fn write(
    path: &Path,
    arrays: &[(String, Array)],
    metadata: BTreeMap<String, String>,
) -> Result<()> {
    let arrays: Vec<(&str, &Array)> = arrays
        .iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect();
    write_arrays(path, &arrays, &metadata)?;
    Ok(temp::sync_folder_of(path)?)
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
