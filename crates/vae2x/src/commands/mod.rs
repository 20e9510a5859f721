//! One file per command: arguments in, a job whose every path and option has been checked, the run.

pub mod convert;
pub mod decode;
pub mod demo;
pub mod encode;
mod fit;
pub mod info;
pub mod preview;
mod sheet;

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use vae2x::{Device, EngineOptions};
use vae2x_core::{Error, VaeConfig};
use vae2x_media::latent::{Decision, LatentFile, LatentOptions, SpaceChoice, decide_space};
use vae2x_media::output::{Input, Output, OutputOptions};

use crate::args::{DeviceArg, LatentArgs, RunArgs, SpaceArg};
use crate::{ui, usage};

/// Where to compute, as `--device` and `--threads` say.
///
/// # Errors
/// If burn's threads cannot be started.
fn engine_options(args: &RunArgs) -> anyhow::Result<EngineOptions> {
    let threads = args.threads.map_or(0, usize::from);
    let device = match args.device {
        DeviceArg::Cpu => Device::Cpu,
        DeviceArg::Burn => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
            pool.with_context(|| format!("cannot start {threads} threads"))?;
            Device::Burn
        }
    };
    Ok(EngineOptions { device, threads })
}

/// How `--key` and `--size` have a latent file read.
fn latent_options(args: &LatentArgs) -> LatentOptions {
    LatentOptions { key: args.key.clone(), packed_size: args.size }
}

/// What `--latent-space` asks for.
fn space_choice(arg: SpaceArg) -> SpaceChoice {
    match arg {
        SpaceArg::Auto => SpaceChoice::Auto,
        SpaceArg::Raw => SpaceChoice::Raw,
        SpaceArg::Normalized => SpaceChoice::Normalized,
    }
}

/// Decides the space of a latent file, and tells the user unless they chose it.
///
/// # Errors
/// If the latent does not fit the model.
fn said_space(file: &LatentFile, config: &VaeConfig, arg: SpaceArg) -> anyhow::Result<Decision> {
    let decision = decide_space(file, config, space_choice(arg))?;
    let text = format!(
        "{}: taken as {} ({:.0} % sure: {})",
        file.path.display(),
        decision.space,
        100.0 * decision.confidence,
        decision.why
    );
    match (arg, decision.doubtful) {
        (SpaceArg::Auto, true) => ui::warn(format!("{text}; say which with --latent-space raw or normalized")),
        (SpaceArg::Auto, false) => ui::note(text),
        _ => (),
    }
    Ok(decision)
}

/// Plans the output. A path that does not fit what is asked is a wrong command line.
///
/// # Errors
/// As [`Output::plan`].
fn plan(path: &Path, inputs: &[Input], options: OutputOptions) -> anyhow::Result<Output> {
    match Output::plan(path, inputs, options) {
        Err(Error::Unsupported(message)) => usage(message),
        other => Ok(other?),
    }
}

/// Checks, before any work, that a file can be created at `path`.
///
/// # Errors
/// Naming the path and what the system says.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    drop(vae2x_core::temp::TempFile::create(path)?);
    Ok(())
}

/// Runs `work`; if it fails and had made the folder `path`, removes it again unless something is in it.
///
/// # Errors
/// Those of `work`.
fn keep_or_remove<T>(path: &Path, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let is_new = !path.exists();
    work().inspect_err(|_| {
        if is_new && path.is_dir() {
            // Fails, as it should, where finished pictures are in it.
            let _ = std::fs::remove_dir(path);
        }
    })
}

/// Seconds between laps.
struct Timer(Instant);

impl Timer {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start or the last lap.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.0).as_secs_f64();
        self.0 = now;
        seconds
    }
}
