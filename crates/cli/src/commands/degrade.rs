//! `vae2x degrade`: latents degraded by a trained proxy.

use std::path::{Path, PathBuf};

use anyhow::Context;
use vae2x_media::output::is_finished;
use vae2x_soften::latents::LatentFolder;
use vae2x_soften::proxy::{PairFiles, Softener};

use super::training::{open_device, vae_config};
use crate::args::DegradeArgs;
use crate::batch::{self, Pair};
use crate::files::{check_distinct, check_writable, is_folder, keep_or_remove};
use crate::latents::Reading;
use crate::run::Failures;
use crate::ui::{self, Meter};
use crate::usage;

/// Runs the command.
///
/// # Errors
/// If the input or the proxy cannot be used, or the output cannot be written.
pub fn run(args: &DegradeArgs) -> anyhow::Result<()> {
    let device = open_device(args.device)?;
    let of_pairs = args.input.is_dir() && PairFiles::are_in(&args.input)?;
    args.check(of_pairs).or_else(usage)?;
    match args.t {
        Some(t) => latents(args, t, device),
        None => pairs(args, device),
    }
}

/// A file, or those of a folder, at one time.
fn latents(args: &DegradeArgs, t: f64, device: burn::tensor::Device) -> anyhow::Result<()> {
    match args.input.is_dir() {
        true if !is_folder(&args.output) => {
            return usage(format!(
                "{}: the output for a folder of latents must be a folder",
                args.output.display()
            ));
        }
        true => (),
        false => check_writable(&args.output)?,
    }
    let config = vae_config(args.vae.as_deref())?;
    let options = Reading::from(&args.latent).options;
    let space = args.latent.latent_space;
    let folder = LatentFolder::open_as(&args.input, space, &config, &options)?;
    let shown = args.input.display();
    ui::note(format!("{shown}: latents are {}", folder.space()));
    let targets = folder.targets(&args.output)?;
    let inputs = folder.paths().iter().chain([&args.proxy]);
    let outputs: Vec<&Path> = targets.iter().map(PathBuf::as_path).collect();
    check_distinct(inputs.map(PathBuf::as_path), &outputs)?;
    let all = folder.paths().iter().cloned().zip(targets).enumerate();
    let places = all.map(|(place, (input, output))| (place, Pair { input, output }));
    let mine = args.batch.shard.take(places.collect());
    let left = batch::not_done(mine, args.batch.skip_existing, |(_, pair)| {
        is_finished(&pair.output)
    });
    if left.is_empty() {
        return Ok(());
    }
    let softener = Softener::open(&args.proxy, folder.channels()?, device)?;
    let mut list = Vec::new();
    each_file(args, left, |place, target| {
        let space = softener.latents(&folder, place, t, target)?;
        list.push(format!("{} ({space})", target.display()));
        Ok(())
    })
    .and_then(|failed| {
        ui::print_lines(list)?;
        failed.result()
    })
}

/// The clean latents of pairs, each at its time.
fn pairs(args: &DegradeArgs, device: burn::tensor::Device) -> anyhow::Result<()> {
    let pairs = PairFiles::open(&args.input)?;
    pairs.refuse_raw()?;
    let softener = Softener::open(&args.proxy, pairs.channels()?, device)?;
    PairFiles::check_new(&args.output)?;
    let target = |path: &PathBuf| args.output.join(path.file_name().unwrap_or_default());
    let pair = |path: &PathBuf| Pair {
        input: path.clone(),
        output: target(path),
    };
    let files = pairs.paths().iter().map(pair).enumerate().collect();
    let files = args.batch.shard.take(files);
    let mut count = 0;
    let failed = each_file(args, files, |place, target| {
        count += softener.pairs(&pairs.paths()[place], target)?;
        Ok(())
    })?;
    ui::print(format!("{}: {count} pairs", args.output.display()))?;
    failed.result()
}

/// Calls `soften` for each file and its place, with progress. A file that fails does not stop the others; an output folder without
/// results is removed.
fn each_file(
    args: &DegradeArgs,
    files: Vec<(usize, Pair)>,
    mut soften: impl FnMut(usize, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<Failures> {
    let mut progress = Meter::new("degrading", files.len() as f64, "files");
    let mut failed = Failures::among(files.len());
    let mut done = 0;
    keep_or_remove(&args.output, || {
        if args.input.is_dir() {
            let shown = || args.output.display().to_string();
            std::fs::create_dir_all(&args.output).with_context(shown)?;
        }
        let count = files.len();
        for (i, (place, pair)) in files.into_iter().enumerate() {
            let softened = soften(place, &pair.output);
            done += usize::from(failed.note(&pair.name(), softened).is_some());
            progress.set(i as f64 + 1.0);
        }
        match done {
            0 if count > 0 => failed.result().map(|()| Failures::among(count)),
            _ => Ok(failed),
        }
    })
    .inspect(|_| progress.finish())
}
