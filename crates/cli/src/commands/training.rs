//! Shared by the commands around training: threads, the device, the screen of a run.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vae2x::Device;
use vae2x_core::VaeConfig;
use vae2x_core::weights::Weights;
use vae2x_train::log::{Line, Screen};
use vae2x_train::run::memory::{Need, Place};

use crate::args::TrainingArgs;
use crate::compute::open_weights;
pub use crate::signals::stopping::stoppable;
use crate::{ui, usage};

/// The line that is printed for a run that was stopped.
pub fn stopped(folder: &Path) -> String {
    format!("stopped; continue with --resume {}", folder.display())
}

/// Starts the threads that burn computes with on the CPU; all cores if not given.
///
/// # Errors
/// If they cannot be started.
pub fn start_threads(threads: Option<u16>) -> anyhow::Result<()> {
    vae2x_nn::device::keep_freed_memory();
    let threads = threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
    pool.with_context(|| format!("cannot start {threads} threads"))
}

/// burn's device, with a note on which one it is.
///
/// # Errors
/// An invalid command line if this build lacks it; if it cannot be opened.
pub fn open_device(device: Device) -> anyhow::Result<burn::tensor::Device> {
    device.require_built()?;
    Ok(vae2x::open_for_training(device, |text| ui::note(text))?)
}

/// Refuses a run that cannot fit into the device's memory, or into the machine's.
///
/// # Errors
/// If it cannot, with the values that ask for the most; if the device cannot be opened.
pub fn check_memory(need: &Need, device: Device) -> anyhow::Result<()> {
    check_memory_of(need, device, 1)
}

/// As [`check_memory`], where `processes` on this machine share its memory; each has the device's to itself.
///
/// # Errors
/// As [`check_memory`].
pub fn check_memory_of(need: &Need, device: Device, processes: usize) -> anyhow::Result<()> {
    let machine = vae2x::available_bytes() / processes.max(1) as u64;
    if matches!(device, Device::Cpu | Device::Burn) {
        return Ok(need.check(None, machine)?);
    }
    need.check(Some(Place::Host), machine)?;
    Ok(need.check(Some(Place::Device), vae2x::memory_for_training(device)?)?)
}

/// The configuration file of a new run, and the folder that it is to have.
///
/// # Errors
/// An invalid command line without `--config`.
pub fn config_and_folder(args: &TrainingArgs) -> anyhow::Result<(&Path, PathBuf)> {
    let Some(path) = &args.config else {
        return usage("--config FILE is missing");
    };
    let folder = args
        .out
        .clone()
        .or_else(|| Some(Path::new("runs").join(path.file_stem()?)));
    Ok((
        path,
        folder.context("the configuration file has no name to name the run after; give --out")?,
    ))
}

/// The latent statistics of the VAE that is named, or Wan2.1's.
///
/// # Errors
/// If it cannot be opened.
pub fn vae_config(name: Option<&str>) -> anyhow::Result<VaeConfig> {
    Ok(name
        .map(open_weights)
        .transpose()?
        .map_or_else(VaeConfig::default, |vae| vae.config().clone()))
}

/// A run on the screen: its lines on standard error, above a progress bar if that is a terminal.
pub struct RunScreen {
    bar: Option<ProgressBar>,
}

impl RunScreen {
    /// Without a bar if `is_plain`.
    pub fn new(steps: u64, is_plain: bool) -> Self {
        let has_bar = !is_plain && std::io::stderr().is_terminal();
        let bar = has_bar.then(|| {
            let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
            let style = "training [{bar:32}] step {pos} of {len}  {eta} left";
            let style = ProgressStyle::with_template(style);
            bar.with_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            )
        });
        Self { bar }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| ui::note(text)),
            None => ui::note(text),
        }
    }
}

impl Screen for RunScreen {
    fn line(&mut self, line: &Line) {
        self.say(&line.plain());
    }

    fn step(&mut self, step: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
    }

    fn note(&mut self, text: &str) {
        self.say(text);
    }
}

impl Drop for RunScreen {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
