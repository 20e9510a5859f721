//! `vae2x train decoder`: a new run from a configuration, or an old one resumed.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use vae2x::Device;
use vae2x_core::VaeConfig;
use vae2x_core::weights::Weights;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_train::decoder::checkpoint::Progress;
use vae2x_train::decoder::losses::VggChoices;
use vae2x_train::decoder::memory::need;
use vae2x_train::run::{CONFIG_FILE, check_new};
use vae2x_train::{Config, Inputs, RunOptions, VggChoice};

use super::processes::Processes;
use super::training::{
    RunScreen, check_memory_of, config_and_folder, open_device, start_threads, stoppable,
};
use crate::args::TrainArgs;
use crate::compute::{fetch, open_weights};
use crate::{ui, usage};

/// Runs the command.
///
/// # Errors
/// If the configuration is invalid, weights or photos are missing, or the run fails.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let processes = Processes::join()?;
    let result = run_among(args, &processes);
    processes.finish(result)
}

fn run_among(args: &TrainArgs, processes: &Processes) -> anyhow::Result<()> {
    start_threads(args.run.threads.or_else(|| processes.threads()))?;
    let devices = processes.own_devices(&args.device)?;
    let job = Job::new(args, &devices, processes)?;
    let inputs = processes.first_alone(|| inputs(&job.config))?;
    let base = inputs.base.as_ref();
    let need = need(&job.config, base.config(), base.has_time());
    for &device in &devices {
        check_memory_of(&need, device, processes.on_this_machine())?;
    }
    ui::note(format!("run in {}", job.folder.display()));
    let progress = job.run(&inputs, args.no_tui)?;
    let best = progress
        .best
        .map(|(step, psnr)| format!(", the best PSNR at step {step}: {psnr:.2}"));
    let steps = job.config.train.steps;
    ui::print(format!(
        "{}: step {} of {steps}{}",
        job.folder.display(),
        progress.step,
        best.unwrap_or_default()
    ))
}

struct Job<'a> {
    folder: PathBuf,
    config: Config,
    devices: Vec<burn::tensor::Device>,
    processes: &'a Processes,
}

impl<'a> Job<'a> {
    fn new(args: &TrainArgs, devices: &[Device], processes: &'a Processes) -> anyhow::Result<Self> {
        let devices = devices
            .iter()
            .map(|&device| open_device(device))
            .collect::<anyhow::Result<_>>()?;
        let (folder, config) = match &args.run.resume {
            Some(folder) => {
                let path = folder.join(CONFIG_FILE);
                let config = processes.config(|| Ok(Config::open(&path, &args.set)?))?;
                (folder.clone(), config)
            }
            None => {
                let (path, folder) = config_and_folder(&args.run)?;
                let config = processes.config(|| {
                    let config = Config::open(path, &args.set)?;
                    check_new(&folder)?;
                    Ok(config)
                })?;
                (folder, config)
            }
        };
        Ok(Self {
            folder,
            config,
            devices,
            processes,
        })
    }

    fn run(&self, inputs: &Inputs, is_plain: bool) -> anyhow::Result<Progress> {
        let is_plain = is_plain || !self.processes.is_first();
        let mut screen = RunScreen::new(self.config.train.steps, is_plain);
        let progress = stoppable(|stop| {
            let options = RunOptions {
                folder: &self.folder,
                devices: &self.devices,
                processes: self.processes.collective(),
                stop,
                screen: &mut screen,
            };
            vae2x_train::train(&self.config, inputs, options)
        })?;
        Ok(progress)
    }
}

/// Opens the inputs that the configuration names, fetching them if need be.
fn inputs(config: &Config) -> anyhow::Result<Inputs> {
    let base: Arc<dyn Weights> = match (&config.model.base, config.model.base_dim) {
        (Some(name), _) => Arc::new(open_weights(name)?),
        (None, Some(width)) => {
            let shape = VaeConfig::with_widths(width, 3);
            shape.validate()?;
            Arc::new(FormulaWeights::new(shape))
        }
        (None, None) => return usage("model.base is missing"),
    };
    let choice = |key: &str, name: &Option<String>| {
        let parse = |name: &String| VggChoice::parse(name, |name| anyhow::Ok(fetch(name)?));
        let choice = name
            .as_ref()
            .map(parse)
            .transpose()
            .with_context(|| format!("loss.{key}"))?;
        if let Some(VggChoice::Random(seed)) = choice {
            ui::note(format!(
                "loss.{key}: random, untrained features (seed {seed})"
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
