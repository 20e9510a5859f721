//! `vae2x export`: a training run's model as a weight file.

use anyhow::Context;
use vae2x_train::checkpoint::{Checkpoint, Checkpoints};
use vae2x_train::export::{ExportOptions, export};
use vae2x_train::run::newest;

use super::{check_distinct, check_name, dtype, layout};
use crate::args::ExportArgs;
use crate::{ui, usage, weights};

/// Runs the command.
///
/// # Errors
/// If the run has no checkpoint, its starting model is gone, or the output cannot be written.
pub fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let options = ExportOptions { layout: layout(args.layout), dtype: dtype(args.dtype), average: args.ema };
    check_name(&args.output, options.layout)?;
    check_distinct([args.run.as_path()].into_iter(), &[&args.output])?;
    let checkpoint = open(args)?;
    let base = checkpoint.config.model.base.as_deref().map(weights::open).transpose();
    let base = base.context("the model that the run started from")?;
    export(&checkpoint, base.as_ref(), &options, &args.output)?;
    ui::print(&format!(
        "{} ({} layout, step {}{})\n",
        args.output.display(),
        options.layout,
        checkpoint.progress.step,
        if options.average { ", moving average" } else { "" }
    ))
}

fn open(args: &ExportArgs) -> anyhow::Result<Checkpoint> {
    if args.run.is_file() && args.best {
        return usage("--best chooses among a run's checkpoints; give the run's folder");
    }
    if args.run.is_file() {
        return Ok(Checkpoint::open(&args.run)?);
    }
    let missing = || format!("{}: no checkpoint there", args.run.display());
    anyhow::ensure!(args.run.join("checkpoints").is_dir(), missing());
    let newest = newest(&args.run)?.with_context(missing)?;
    match (args.best, newest.progress.best) {
        (true, Some((step, _))) => Ok(Checkpoint::open(&Checkpoints::open(&args.run)?.path(step))?),
        (true, None) => anyhow::bail!("{}: nothing was measured on held-out photos yet", args.run.display()),
        (false, _) => Ok(newest),
    }
}
