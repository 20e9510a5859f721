//! `vae2x train decoder`: a new run from a configuration, or an old one resumed.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use vae2x_core::VaeConfig;
use vae2x_core::weights::Weights;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_train::checkpoint::Progress;
use vae2x_train::log::{Dashboard, PlainScreen};
use vae2x_train::losses::VggChoices;
use vae2x_train::run::{CONFIG_FILE, check_new};
use vae2x_train::{Config, Inputs, RunOptions, VggChoice};

use super::{check_built, start_threads};
use crate::args::{TrainArgs, TrainingArgs};
use crate::{ui, usage, weights};

/// Whether a run is under way that can be stopped between steps.
static RUNNING: AtomicBool = AtomicBool::new(false);
/// Asks that run to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// Asks a run to store and end. `false` if there is none, or it has been asked already.
pub fn stop_softly() -> bool {
    RUNNING.load(Ordering::Relaxed) && !STOP.swap(true, Ordering::Relaxed)
}

/// Whether a run was stopped by [`stop_softly`] or from the dashboard.
pub fn was_stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Does `work`, which [`stop_softly`] can ask to stop through the flag that it is given.
pub(super) fn stoppable<T>(work: impl FnOnce(&'static AtomicBool) -> T) -> T {
    RUNNING.store(true, Ordering::Relaxed);
    let result = work(&STOP);
    RUNNING.store(false, Ordering::Relaxed);
    result
}

/// Runs the command.
///
/// # Errors
/// If the configuration cannot be meant, weights or photos are missing, or the run fails.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    start_threads(args.run.threads)?;
    let job = Job::new(args)?;
    let inputs = inputs(&job.config)?;
    ui::note(format!("run in {}", job.folder.display()));
    let progress =
        stoppable(|_| job.run(&inputs, !args.no_tui && std::io::stdout().is_terminal()))?;
    let best = progress
        .best
        .map(|(step, psnr)| format!(", the best at step {step}: PSNR {psnr:.2}"));
    let steps = job.config.train.steps;
    ui::print(&format!(
        "{}: step {} of {steps}{}\n",
        job.folder.display(),
        progress.step,
        best.unwrap_or_default()
    ))
}

/// The configuration of a new run, and the folder that it is to have.
pub(super) fn config_and_folder(args: &TrainingArgs) -> anyhow::Result<(&Path, PathBuf)> {
    let Some(path) = &args.config else {
        return usage("--config FILE is missing");
    };
    let folder = args
        .out
        .clone()
        .or_else(|| Some(Path::new("runs").join(path.file_stem()?)));
    Ok((
        path,
        folder.context("the configuration file has no name to call the run by; give --out")?,
    ))
}

struct Job {
    folder: PathBuf,
    config: Config,
    devices: Vec<burn::tensor::Device>,
}

impl Job {
    fn new(args: &TrainArgs) -> anyhow::Result<Self> {
        args.device
            .iter()
            .try_for_each(|device| check_built(*device))?;
        let devices = args
            .device
            .iter()
            .map(|&device| super::open_device(device))
            .collect::<vae2x_core::Result<_>>()?;
        if let Some(folder) = &args.run.resume {
            let config = Config::open(&folder.join(CONFIG_FILE), &args.set)?;
            return Ok(Self {
                folder: folder.clone(),
                config,
                devices,
            });
        }
        let (path, folder) = config_and_folder(&args.run)?;
        let config = Config::open(path, &args.set)?;
        check_new(&folder)?;
        Ok(Self {
            folder,
            config,
            devices,
        })
    }

    fn run(&self, inputs: &Inputs, with_dashboard: bool) -> anyhow::Result<Progress> {
        let options = |screen| RunOptions {
            folder: &self.folder,
            devices: &self.devices,
            stop: &STOP,
            screen,
        };
        if !with_dashboard {
            return Ok(vae2x_train::train(
                &self.config,
                inputs,
                options(&mut PlainScreen),
            )?);
        }
        let mut dashboard = Dashboard::open(self.config.train.steps);
        let result = vae2x_train::train(&self.config, inputs, options(&mut dashboard));
        dashboard.close();
        let progress = result?;
        if progress.step < self.config.train.steps {
            // Also where it was the dashboard that asked for it.
            STOP.store(true, Ordering::Relaxed);
        }
        Ok(progress)
    }
}

/// Opens, and fetches if need be, what the configuration names.
fn inputs(config: &Config) -> anyhow::Result<Inputs> {
    let base: Arc<dyn Weights> = match (&config.model.base, config.model.base_dim) {
        (Some(name), _) => Arc::new(weights::open(name)?),
        (None, Some(width)) => {
            let shape = VaeConfig::with_widths(width, 3);
            shape.validate()?;
            Arc::new(FormulaWeights::new(shape))
        }
        (None, None) => return usage("model.base is missing"),
    };
    let choice = |key: &str, name: &Option<String>| {
        let parse = |name: &String| VggChoice::parse(name, weights::fetch);
        let choice = name
            .as_ref()
            .map(parse)
            .transpose()
            .with_context(|| format!("loss.{key}"))?;
        if let Some(VggChoice::Random(seed)) = choice {
            ui::note(format!(
                "loss.{key}: untrained, random features of seed {seed}"
            ));
        }
        anyhow::Ok(choice)
    };
    let choices = VggChoices {
        vgg16: choice("vgg16", &config.loss.vgg16)?,
        vgg19: choice("vgg19", &config.loss.vgg19)?,
    };
    Ok(Inputs { base, choices })
}
