//! `vae2x export`: a training run's model as a weight file.

use anyhow::Context;
use vae2x_train::decoder::checkpoint::{Checkpoint, Checkpoints, Newest};
use vae2x_train::decoder::export::{ExportOptions, export};

use crate::args::ExportArgs;
use crate::compute::open_weights;
use crate::files::{check_distinct, check_weights_name};
use crate::{ui, usage};

/// Runs the command.
///
/// # Errors
/// If the run has no checkpoint, its starting model is gone, or the output cannot be written.
pub fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let layout = args.layout;
    check_weights_name(&args.output, layout)?;
    check_distinct([args.run.as_path()].into_iter(), &[&args.output])?;
    let checkpoint = open(args)?;
    // What was measured, and found best or kept as a milestone, was the average where there is one.
    let is_measured = args.best || checkpoint.is_milestone();
    let average = args.ema || (is_measured && checkpoint.has_average());
    let options = ExportOptions {
        layout,
        dtype: args.dtype,
        average,
    };
    let base = checkpoint
        .config
        .model
        .base
        .as_deref()
        .map(open_weights)
        .transpose();
    let base = base.context("the model that the run started from")?;
    export(&checkpoint, base.as_ref(), &options, &args.output)?;
    ui::print(format!(
        "{} ({layout} layout, step {}, {})",
        args.output.display(),
        checkpoint.progress.step,
        if average {
            "moving average of the weights"
        } else {
            "the step's own weights"
        }
    ))
}

fn open(args: &ExportArgs) -> anyhow::Result<Checkpoint> {
    if args.run.is_file() && args.best {
        return usage("--best chooses among the checkpoints of a run; give the run's folder");
    }
    if args.run.is_file() {
        return Ok(Checkpoint::open(&args.run)?);
    }
    let checkpoints = Checkpoints::of(&args.run);
    let Newest {
        checkpoint,
        damaged,
    } = checkpoints.newest()?;
    let newest =
        checkpoint.with_context(|| format!("{}: no checkpoint found", args.run.display()))?;
    match (args.best, newest.progress.best) {
        (true, Some((step, _))) => {
            let path = checkpoints.find(step)?;
            let path = path.unwrap_or_else(|| checkpoints.path(step));
            Ok(Checkpoint::open(&path)?)
        }
        (true, None) => anyhow::bail!(
            "{}: no checkpoint is the best by PSNR: nothing was measured on held-out photos before the discriminator \
             acted; use --ema, or choose a file of its folder milestones by eye",
            args.run.display()
        ),
        (false, _) => {
            damaged
                .iter()
                .for_each(|(_, error)| ui::warn(format!("skipped a damaged checkpoint: {error}")));
            Ok(newest)
        }
    }
}
