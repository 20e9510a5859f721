//! One file per command: arguments in, a job whose every path and option has been checked, the run.

pub mod compare;
pub mod convert;
#[cfg(feature = "train")]
pub mod dataset;
pub mod decode;
#[cfg(feature = "train")]
pub mod degrade;
pub mod demo;
pub mod devices;
#[cfg(feature = "text")]
pub mod embed_text;
pub mod encode;
#[cfg(feature = "train")]
pub mod export;
mod finish;
pub mod hires;
pub mod info;
mod inputs;
pub mod metrics;
mod pipeline;
pub mod preview;
mod saving;
#[cfg(feature = "train")]
pub mod sdedit;
pub mod speckle;
#[cfg(feature = "train")]
pub mod spectrum;
mod table;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod train_degradation;
#[cfg(feature = "train")]
pub mod train_flow;
#[cfg(feature = "train")]
pub mod training;
pub mod upscale;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use vae2x::{Device, EngineOptions, Precision};
use vae2x_core::weights::{DType, Layout, VaeWeights, Weights};
use vae2x_core::{Error, VaeConfig};
use vae2x_media::latent::{Decision, LatentFile, LatentOptions, SpaceChoice, decide_space};
use vae2x_media::output::{Input, Output, OutputOptions};
use vae2x_media::picture::BitDepth;

use crate::args::{DTypeArg, LatentArgs, LayoutArg, RunArgs, SpaceArg};
use crate::{ui, usage};

/// The layout that `--layout` names.
fn layout(arg: LayoutArg) -> Layout {
    match arg {
        LayoutArg::Original => Layout::Original,
        LayoutArg::Diffusers => Layout::Diffusers,
        LayoutArg::TwoD => Layout::TwoD,
    }
}

/// The type that `--dtype` names.
fn dtype(arg: DTypeArg) -> DType {
    match arg {
        DTypeArg::F32 => DType::F32,
        DTypeArg::Bf16 => DType::BF16,
        DTypeArg::F16 => DType::F16,
    }
}

/// Refuses a name that does not fit a layout.
///
/// # Errors
/// A wrong command line.
fn check_name(output: &Path, layout: Layout) -> anyhow::Result<()> {
    let is_safetensors = output
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
    match is_safetensors || layout == Layout::Diffusers {
        true => Ok(()),
        false => usage(format!(
            "{}: the {layout} layout is written to a .safetensors file",
            output.display()
        )),
    }
}

/// Refuses a device that this program was built without.
///
/// # Errors
/// A wrong command line, telling how to build one that has it.
fn check_built(device: Device) -> anyhow::Result<()> {
    match device {
        Device::Through { api, .. } if !api.is_built() => usage(
            api.devices()
                .err()
                .map_or_else(String::new, |e| e.to_string()),
        ),
        _ => Ok(()),
    }
}

fn bit_depth(bits: u8) -> BitDepth {
    if bits == 16 {
        BitDepth::Sixteen
    } else {
        BitDepth::Eight
    }
}

/// Refuses what the processor cannot do after `auto` has settled on it.
///
/// # Errors
/// A wrong command line.
fn check_settled(options: &EngineOptions) -> anyhow::Result<()> {
    match (options.device, options.precision) {
        (Device::Cpu, Precision::F16) => usage(
            "no GPU can be used here, and the processor keeps weights in f32 or bf16, not in f16",
        ),
        _ => Ok(()),
    }
}

/// Where and how to compute, as the command line says; the encoder in `f32`.
///
/// # Errors
/// A wrong command line if this program lacks the device or the device the precision; if burn's threads cannot be started.
fn engine_options(args: &RunArgs) -> anyhow::Result<EngineOptions> {
    let threads = args.threads.map_or(0, usize::from);
    check_built(args.device)?;
    match args.device {
        Device::Cpu if args.dtype == DTypeArg::F16 => {
            return usage("the device 'cpu' keeps weights in f32 or bf16, not in f16");
        }
        Device::Burn => {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global();
            pool.with_context(|| format!("cannot start {threads} threads"))?;
        }
        _ => (),
    }
    Ok(EngineOptions {
        device: args.device,
        threads,
        precision: args.dtype.into(),
        memory: args.memory,
        notify: Some(|text| ui::note(text)),
        ..EngineOptions::default()
    })
}

/// Tells which device computes, unless it is the processor as usual.
fn say_device(options: &EngineOptions, engine: &str) {
    if options.device != Device::Cpu {
        ui::note(format!("computing on {engine}"));
    }
}

/// How `--key` and `--size` have a latent file read.
fn latent_options(args: &LatentArgs) -> LatentOptions {
    LatentOptions {
        key: args.key.clone(),
        packed_size: args.size,
    }
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
    let shown = file.path.display();
    match (arg, decision.warning()) {
        (SpaceArg::Auto, Some(warning)) => ui::warn(format!("{shown}: {warning}")),
        (SpaceArg::Auto, None) => ui::note(format!(
            "{shown}: taken as {}: {}",
            decision.space, decision.why
        )),
        _ => (),
    }
    Ok(decision)
}

/// Refuses a clip for weights that take single frames only.
///
/// # Errors
/// Naming both files.
fn check_time(file: &LatentFile, weights: &VaeWeights) -> anyhow::Result<()> {
    match file.array.shape()[2] {
        t if t > 1 && !weights.has_time() => anyhow::bail!(
            "{}: a clip of {t} latent frames, but {} is of the 2-D layout, whose weights take single frames only",
            file.path.display(),
            weights.path().display()
        ),
        _ => Ok(()),
    }
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

/// Refuses a command line that would write over one of its own inputs, or two outputs into one file.
///
/// # Errors
/// A wrong command line, naming the file.
fn check_distinct<'a>(
    inputs: impl Iterator<Item = &'a Path>,
    outputs: &[&Path],
) -> anyhow::Result<()> {
    let inputs: Vec<PathBuf> = inputs.filter_map(|path| path.canonicalize().ok()).collect();
    let mut written = Vec::new();
    for path in outputs
        .iter()
        .filter_map(|path| resolved(path))
        .filter(|path| !path.is_dir())
    {
        // Nothing is written into a folder of weights over what is there.
        let is_input = |input: &PathBuf| {
            *input == path || (path.exists() && path.parent() == Some(input.as_path()))
        };
        if inputs.iter().any(is_input) {
            return usage(format!(
                "{}: the output would overwrite an input",
                path.display()
            ));
        }
        if written.contains(&path) {
            return usage(format!("{}: two outputs have this name", path.display()));
        }
        written.push(path);
    }
    Ok(())
}

/// A path without links and dots, also of a file that does not exist yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    path.canonicalize()
        .ok()
        .or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
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
