//! `vae2x train flow`: a small flow model on latents; a new run, or an old one resumed.

use std::path::{Path, PathBuf};

use vae2x_core::VaeConfig;
use vae2x_core::weights::Weights;
use vae2x_train::fit::run::create;
use vae2x_train::flow::{CONTEXT_FILE, FlowConfig, MODEL_FOLDER, open_config, train};
use vae2x_train::latents::LatentFolder;
use vae2x_train::log::PlainScreen;
use vae2x_train::run::CONFIG_FILE;

use super::train::{config_and_folder, stoppable};
use super::{check_built, space_choice, start_threads};
use crate::args::TrainFlowArgs;
use crate::{ui, usage, weights};

/// Runs the command.
///
/// # Errors
/// If the configuration cannot be meant, latents are missing or the run fails.
pub fn run(args: &TrainFlowArgs) -> anyhow::Result<()> {
    start_threads(args.run.threads)?;
    check_built(args.device)?;
    let device = super::open_device(args.device)?;
    let (folder, config, latents) = match &args.run.resume {
        Some(folder) => {
            let config = open_config(&folder.join(CONFIG_FILE))?;
            let latents = open(&config)?;
            (folder.clone(), config, latents)
        }
        None => new_run(args)?,
    };
    ui::note(format!(
        "run in {}; latents are {}",
        folder.display(),
        latents.space()
    ));
    match stoppable(|stop| train(&folder, &config, &latents, &device, stop, &mut PlainScreen))? {
        Some(measured) => ui::print(&report(&folder, &measured)),
        None => ui::print(&format!(
            "stopped; go on with --resume {}\n",
            folder.display()
        )),
    }
}

/// Checks everything before the folder is made.
fn new_run(args: &TrainFlowArgs) -> anyhow::Result<(PathBuf, FlowConfig, LatentFolder)> {
    let (path, folder) = config_and_folder(&args.run)?;
    let mut config = open_config(path)?;
    config.latents = args.latents.clone().or(config.latents);
    config.vae = args.vae.clone().or(config.vae);
    config.latent_space = args.latent_space.map_or(config.latent_space, space_choice);
    let latents = open(&config)?;
    create(&folder, &config)?;
    Ok((folder, config, latents))
}

fn open(config: &FlowConfig) -> anyhow::Result<LatentFolder> {
    let Some(folder) = &config.latents else {
        return usage("--latents DIR is missing");
    };
    Ok(LatentFolder::open(
        folder,
        config.latent_space,
        &vae_config(config.vae.as_deref())?,
    )?)
}

/// The means and deviations of the VAE that is named, or Wan2.1's.
pub(super) fn vae_config(name: Option<&str>) -> anyhow::Result<VaeConfig> {
    Ok(name
        .map(weights::open)
        .transpose()?
        .map_or_else(VaeConfig::default, |vae| vae.config().clone()))
}

fn report(folder: &Path, measured: &[(f64, f64)]) -> String {
    let errors = measured
        .iter()
        .map(|(time, error)| format!("  t {time}: {error:.4}"))
        .collect::<String>();
    format!(
        "{}\n{}\nmean squared error of the velocity on held-out latents:{errors}\n",
        folder.join(MODEL_FOLDER).display(),
        folder.join(CONTEXT_FILE).display(),
    )
}
