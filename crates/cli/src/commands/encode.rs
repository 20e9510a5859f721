//! `vae2x encode`: images and clips to latents.

use vae2x::{Device, Precision, Space, Vae, VaeConfig};
use vae2x_media::frames::{Edges, Fitted, Folders, FrameSource};
use vae2x_media::latent::LatentFormat;

use crate::args::EncodeArgs;
use crate::batch::{self, Pair};
use crate::compute::{Compute, vae_name};
use crate::files::{check_files, check_replaceable, is_folder, keep_or_remove, targets};
use crate::run::{Direction, prepare, run};
use crate::work::{Encoding, Opening, PixelInput};
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
    let space = space(args)?;
    let folders = match args.clip {
        true => Folders::Themselves,
        false => Folders::OfImagesAndVideos,
    };
    let (inputs, mut failed) = batch::list(&args.inputs, folders)?;
    let paths = targets(&args.output, &inputs, |_| "latent")?;
    check_files(&inputs, &name, &paths, args.run.timings.as_deref())?;
    let opening = Opening {
        clip: args.clip,
        edges: match args.pad {
            true => Edges::Pad,
            false => Edges::Crop,
        },
        ffmpeg: args.ffmpeg.clone(),
    };
    // What cannot be read is known before a model is fetched; its own cells are known only then.
    let usual = VaeConfig::default();
    let readable = |pair: Pair| {
        check_replaceable(&pair.output)?;
        Ok((opening.open(&pair.input, &usual)?, pair))
    };
    let pairs = batch::pairs(
        inputs,
        paths,
        args.batch.shard,
        args.batch.skip_existing,
        &mut failed,
    );
    let pairs = prepare(&mut failed, pairs, Pair::name, readable);
    if pairs.is_empty() {
        return failed.result();
    }
    let vae = compute.open(&name)?;
    note_precision(&compute, &vae);
    let job = |(opened, pair): (Fitted, Pair)| {
        let opened = opening.reopen(opened, vae.config())?;
        Ok(PixelInput {
            spec: opened.spec().clone(),
            opened: Some(opened).into(),
            path: pair.input,
            target: pair.output,
        })
    };
    let jobs = prepare(&mut failed, pairs, |(_, pair)| pair.name(), job);
    let work = Encoding {
        vae,
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
