//! `vae2x hires`: latents decoded at twice the size and encoded again, for a second pass of a diffusion model that adds detail.
//!
//! The result is of the input's space, raw or normalized, where its file can hold that, and packed if the input was.

use std::path::Path;

use vae2x_media::frames::Folders;
use vae2x_media::latent::LatentFormat;

use crate::args::HiresArgs;
use crate::batch::{self, Pair};
use crate::compute::{Compute, vae_name};
use crate::files::{check_files, check_replaceable, is_folder, keep_or_remove, targets};
use crate::latents::{LatentInput, Reading};
use crate::run::{Direction, prepare, run};
use crate::work::{RefinedLatent, Refining};
use crate::{ui, usage};

/// The next steps, in ComfyUI.
const COMFY_HINT: &str = "next, in ComfyUI: put the file into input/, add LoadLatent and a KSampler of the same model at a denoise of \
                          0.3 to 0.6, and decode; or use SaveLatent after it, and `vae2x decode`";

/// Runs the command.
///
/// # Errors
/// If an input or the weights cannot be used, or the output cannot be written.
pub fn hires(args: &HiresArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || checked(args))
}

fn checked(args: &HiresArgs) -> anyhow::Result<()> {
    let name = vae_name(&args.vae)?;
    let compute = Compute::new(&args.run)?;
    if let (false, Err(e)) = (
        is_folder(&args.output),
        LatentFormat::from_path(&args.output),
    ) {
        return usage(format!("{e}, or into a folder"));
    }
    let (inputs, mut failed) = batch::list(&args.inputs, Folders::OfLatents)?;
    let paths = targets(&args.output, &inputs, kind)?;
    check_files(&inputs, &name, &paths, args.run.timings.as_deref())?;
    let reading = Reading::from(&args.latent);
    let look = |Pair { input, output }: Pair| {
        check_replaceable(&output)?;
        let input = LatentInput::look(&input, &reading)?;
        Ok(RefinedLatent {
            input,
            path: output,
        })
    };
    let pairs = batch::pairs(
        inputs,
        paths,
        args.batch.shard,
        args.batch.skip_existing,
        &mut failed,
    );
    let jobs = prepare(&mut failed, pairs, Pair::name, look);
    if jobs.is_empty() {
        return failed.result();
    }
    let vae = compute.open(&name)?;
    vae.require_enlarging()?;
    let for_model = |job: RefinedLatent| RefinedLatent {
        input: job.input.for_model(vae.config()),
        ..job
    };
    let jobs: Vec<_> = jobs.into_iter().map(for_model).collect();
    let work = Refining {
        vae,
        reading,
        keeps_text: !args.no_metadata,
        allowed: compute.memory,
    };
    let outcome = run(&work, &jobs, failed)?;
    if jobs.iter().any(|job| {
        job.path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("latent"))
    }) {
        ui::note(COMFY_HINT);
    }
    outcome.write_timings(&compute, &work.vae, Direction::Decoding)
}

/// The extension of an input's kind; safetensors for those that are only read.
fn kind(input: &Path) -> &'static str {
    match LatentFormat::from_path(input) {
        Ok(LatentFormat::Comfy) => "latent",
        Ok(LatentFormat::Npy) => "npy",
        Ok(LatentFormat::Safetensors) | Err(_) => "safetensors",
    }
}
