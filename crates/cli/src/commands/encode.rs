//! `vae2x encode`: images and clips to latents.

use std::path::PathBuf;

use vae2x::{Device, Precision, Space, Vae, VaeConfig};
use vae2x_media::frames::{Edges, FrameSource, list_inputs};
use vae2x_media::latent::LatentFormat;

use crate::args::EncodeArgs;
use crate::compute::{Compute, vae_name};
use crate::files::{check_files, is_folder, keep_or_remove, targets};
use crate::run::{Direction, prepare, run};
use crate::work::{Encoding, PixelInput};
use crate::{ui, usage};

/// Runs the command. Heads are looked at before any work.
///
/// # Errors
/// If an input or the weights cannot be used, or the output cannot be written.
pub fn encode(args: &EncodeArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || checked(args))
}

fn checked(args: &EncodeArgs) -> anyhow::Result<()> {
    let name = vae_name(&args.vae)?;
    let mut compute = Compute::new(&args.run)?;
    compute.encoder_precision = compute.precision;
    let inputs = list_inputs(&args.inputs, args.clip)?;
    let space = space(args)?;
    let paths = targets(&args.output, &inputs, |_| "latent")?;
    check_files(&inputs, &name, &paths, args.run.timings.as_deref())?;
    let edges = match args.pad {
        true => Edges::Pad,
        false => Edges::Crop,
    };
    // What cannot be read is known before a model is fetched; its own cells are known only then.
    let look = |path: &PathBuf, config: &VaeConfig| {
        let fitted = Encoding::open(path, args.clip, config, edges)?;
        Ok(fitted.spec().clone())
    };
    let shown = |(path, _): &(&PathBuf, PathBuf)| path.display().to_string();
    let usual = VaeConfig::default();
    let readable = |(path, target)| look(path, &usual).map(|_| (path, target));
    let (inputs, mut failed) = prepare(inputs.iter().zip(paths), shown, readable);
    if inputs.is_empty() {
        return failed.result();
    }
    let vae = compute.open(&name)?;
    note_precision(&compute, &vae);
    let mut jobs = Vec::with_capacity(inputs.len());
    for (path, target) in inputs {
        let spec = failed.note(&path.display().to_string(), look(path, vae.config()));
        let path = path.clone();
        jobs.extend(spec.map(|spec| PixelInput { path, spec, target }));
    }
    let work = Encoding {
        vae,
        edges,
        clip: args.clip,
        space,
        keeps_text: !args.no_metadata,
        allowed: compute.memory,
    };
    run(&work, &jobs, failed)?.write_timings(&compute, &work.vae, Direction::Encoding)
}

/// The space to write, which the output's format must hold.
fn space(args: &EncodeArgs) -> anyhow::Result<Space> {
    let format = match LatentFormat::from_path(&args.output) {
        _ if is_folder(&args.output) => LatentFormat::Comfy,
        Ok(format) => format,
        Err(e) => return usage(format!("{e}, or a folder")),
    };
    let space = args.latent_space.unwrap_or(format.usual_space());
    match format.check_space(space) {
        Ok(()) => Ok(space),
        Err(e) => usage(format!("{}: {e}", args.output.display())),
    }
}

fn note_precision(compute: &Compute, vae: &Vae) {
    if vae.device() == Device::Cpu && compute.precision == Precision::Bf16 {
        ui::warn("--dtype bf16 is for decoding on the CPU; encoding keeps the weights in f32");
    }
}
