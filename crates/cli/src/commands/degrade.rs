//! `vae2x degrade`: latents softened as a diffusion model softens them.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use burn::tensor::Device;
use vae2x_core::latent::{Normalized, Space};
use vae2x_core::weights::TensorFile;
use vae2x_media::latent::{LatentFormat, write_latent};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::degradation::Proxy;
use vae2x_train::latents::LatentFolder;
use vae2x_train::proxy::{PairFiles, Pairs, soften};

use super::inputs::is_folder;
use super::train_flow::vae_config;
use super::{
    check_built, check_distinct, check_writable, keep_or_remove, latent_options, space_choice,
};
use crate::args::{DegradeArgs, LatentArgs, SpaceArg};
use crate::ui::{self, Progress};
use crate::usage;

/// Runs the command.
///
/// # Errors
/// If the input, the network or the output will not do.
pub fn run(args: &DegradeArgs) -> anyhow::Result<()> {
    check_built(args.device)?;
    let device = super::open_device(args.device)?;
    match args.input.is_dir() && PairFiles::are_in(&args.input)? {
        true => pairs(args, &device),
        false => latents(args, &device),
    }
}

/// A file, or those of a folder, at one time.
fn latents(args: &DegradeArgs, device: &Device) -> anyhow::Result<()> {
    let Some(t) = args.t else {
        return usage("--t TIME is missing");
    };
    check_output(args)?;
    let config = vae_config(args.vae.as_deref())?;
    let options = latent_options(&args.latent);
    let folder = LatentFolder::open_as(
        &args.input,
        space_choice(args.latent.latent_space),
        &config,
        &options,
    )?;
    ui::note(format!(
        "{}: latents are {}",
        args.input.display(),
        folder.space()
    ));
    let targets = targets(args, &folder)?;
    let channels = folder.read_whole(0)?.0.array().shape()[1];
    let proxy = Proxy::from_file(TensorFile::open(&args.proxy)?, channels, device)?;
    let (mut progress, mut list) = (
        Progress::new("softening", folder.len() as f64, "files"),
        String::new(),
    );
    keep_or_remove(&args.output, || {
        for (index, target) in targets.iter().enumerate() {
            let (latents, text) = folder.read_whole(index)?;
            let times = vec![t; latents.array().shape()[0]];
            let softened =
                proxy.forward_clip(to_tensor(latents.array(), "latent", device)?, &times);
            let softened = Normalized::new(to_array(softened)?)?;
            if let Some(parent) = target.parent().filter(|_| args.input.is_dir()) {
                std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            }
            let space = LatentFormat::from_path(target)?.usual_space();
            match space {
                Space::Normalized => write_latent(target, softened.array(), space, &text)?,
                Space::Raw => {
                    write_latent(target, softened.denormalize(&config)?.array(), space, &text)?
                }
            }
            list += &format!("{} ({space})\n", target.display());
            progress.set(index as f64 + 1.0);
        }
        Ok(())
    })?;
    progress.finish();
    ui::print(&list)
}

/// Refuses an output of another kind than the input.
fn check_output(args: &DegradeArgs) -> anyhow::Result<()> {
    let shown = args.output.display();
    match args.input.is_dir() {
        true if !is_folder(&args.output) => {
            usage(format!("{shown}: a folder's latents go into a folder"))
        }
        true => Ok(()),
        false => match LatentFormat::from_path(&args.output) {
            Ok(_) => Ok(check_writable(&args.output)?),
            Err(e) => usage(e.to_string()),
        },
    }
}

/// Where each latent goes: to its own place in the output folder, as its own kind of file or, if that is only read, as safetensors.
fn targets(args: &DegradeArgs, folder: &LatentFolder) -> anyhow::Result<Vec<PathBuf>> {
    let below = |name: String| {
        let path = args.output.join(name);
        LatentFormat::from_path(&path).map_or(path.with_extension("safetensors"), |_| path)
    };
    let targets: Vec<PathBuf> = match args.input.is_dir() {
        true => folder.names().into_iter().map(below).collect(),
        false => vec![args.output.clone()],
    };
    let mut taken = HashSet::new();
    if let Some(twice) = targets.iter().find(|&target| !taken.insert(target)) {
        return usage(format!(
            "{}: two inputs would be written there; give them folders of their own",
            twice.display()
        ));
    }
    let inputs = folder
        .paths()
        .iter()
        .map(PathBuf::as_path)
        .chain([args.proxy.as_path()]);
    check_distinct(
        inputs,
        &targets.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
    )?;
    Ok(targets)
}

/// The clean latents of pairs, each at its time.
fn pairs(args: &DegradeArgs, device: &Device) -> anyhow::Result<()> {
    if args.t.is_some() {
        return usage("--t is for latents; pairs have times of their own");
    }
    let LatentArgs {
        latent_space,
        key,
        size,
    } = &args.latent;
    if args.vae.is_some() || *latent_space != SpaceArg::Auto || key.is_some() || size.is_some() {
        return usage(
            "--vae, --latent-space, --key and --size are for latents; pairs are normalized",
        );
    }
    let pairs = PairFiles::open(&args.input)?;
    pairs.refuse_raw()?;
    let channels = pairs.pair(0)?.clean.shape()[0];
    let proxy = Proxy::from_file(TensorFile::open(&args.proxy)?, channels, device)?;
    if args.output.is_dir() && !PairFiles::files_in(&args.output)?.is_empty() {
        bail!(
            "{}: holds pairs or other tensors already; choose another folder",
            args.output.display()
        );
    }
    let mut progress = Progress::new("softening", pairs.paths().len() as f64, "files");
    let mut count = 0;
    keep_or_remove(&args.output, || {
        std::fs::create_dir_all(&args.output).with_context(|| args.output.display().to_string())?;
        for (index, path) in pairs.paths().iter().enumerate() {
            let target = args.output.join(path.file_name().unwrap_or_default());
            count += soften(path, &proxy, device, &target)?;
            progress.set(index as f64 + 1.0);
        }
        Ok(())
    })?;
    progress.finish();
    ui::print(&format!("{}: {count} pairs\n", args.output.display()))
}
