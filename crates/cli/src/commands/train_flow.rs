//! `vae2x train flow`: a small flow model on latents; a new run, or an old one resumed.

use std::path::{Path, PathBuf};

use vae2x_soften::flow::{CONTEXT_FILE, FlowTrainingConfig, MODEL_FOLDER, open_config, train};
use vae2x_soften::latents::LatentFolder;
use vae2x_train::run::CONFIG_FILE;
use vae2x_train::run::create;

use super::processes::require_one;
use super::training::{
    RunScreen, check_memory, config_and_folder, open_device, start_threads, stoppable, stopped,
    vae_config,
};
use crate::args::TrainFlowArgs;
use crate::{ui, usage};

/// Runs the command.
///
/// # Errors
/// If the configuration is invalid, latents are missing or the run fails.
pub fn run(args: &TrainFlowArgs) -> anyhow::Result<()> {
    require_one("train flow")?;
    start_threads(args.run.threads)?;
    let device = open_device(args.device)?;
    let (folder, config, latents) = match &args.run.resume {
        Some(folder) => {
            let config = open_config(&folder.join(CONFIG_FILE))?;
            check_memory(&config.need(), args.device)?;
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
    let mut screen = RunScreen::new(config.steps, false);
    match stoppable(|stop| train(&folder, &config, &latents, &device, stop, &mut screen))? {
        Some(measured) => ui::print_lines(report(&folder, &measured)),
        None => ui::print(stopped(&folder)),
    }
}

/// Checks everything before the folder is made.
fn new_run(args: &TrainFlowArgs) -> anyhow::Result<(PathBuf, FlowTrainingConfig, LatentFolder)> {
    let (path, folder) = config_and_folder(&args.run)?;
    let mut config = open_config(path)?;
    config.latents = args.latents.clone().or(config.latents);
    config.vae = args.vae.clone().or(config.vae);
    config.latent_space = args.latent_space.unwrap_or(config.latent_space);
    check_memory(&config.need(), args.device)?;
    let latents = open(&config)?;
    create(&folder, &config)?;
    Ok((folder, config, latents))
}

fn open(config: &FlowTrainingConfig) -> anyhow::Result<LatentFolder> {
    let Some(folder) = &config.latents else {
        return usage("--latents DIR is missing");
    };
    Ok(LatentFolder::open(
        folder,
        config.latent_space,
        &vae_config(config.vae.as_deref())?,
    )?)
}

fn report(folder: &Path, measured: &[(f64, f64)]) -> [String; 3] {
    let errors = measured
        .iter()
        .map(|(time, error)| format!("  t {time}: {error:.4}"))
        .collect::<String>();
    [
        folder.join(MODEL_FOLDER).display().to_string(),
        folder.join(CONTEXT_FILE).display().to_string(),
        format!("mean squared error of the velocity on held-out latents:{errors}"),
    ]
}
