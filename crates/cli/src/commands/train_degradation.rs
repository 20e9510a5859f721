//! `vae2x train degradation`: a new run from a configuration and pairs, or an old one resumed.

use std::path::{Path, PathBuf};

use vae2x_soften::proxy::{
    Measured, PROXY_FILE, PairFiles, ProxyTrainingConfig, open_config, train,
};
use vae2x_train::run::CONFIG_FILE;
use vae2x_train::run::create;

use super::processes::require_one;
use super::training::{
    RunScreen, check_memory, config_and_folder, open_device, start_threads, stoppable, stopped,
};
use crate::args::TrainDegradationArgs;
use crate::{ui, usage};

/// Runs the command.
///
/// # Errors
/// If the configuration is invalid, pairs are missing or the run fails.
pub fn run(args: &TrainDegradationArgs) -> anyhow::Result<()> {
    require_one("train degradation")?;
    start_threads(args.run.threads)?;
    let device = open_device(args.device)?;
    let (folder, config) = match &args.run.resume {
        Some(folder) => {
            let config = open_config(&folder.join(CONFIG_FILE))?;
            check_memory(&config.need(), args.device)?;
            (folder.clone(), config)
        }
        None => new_run(args)?,
    };
    ui::note(format!("run in {}", folder.display()));
    let mut screen = RunScreen::new(config.steps, false);
    let measured = stoppable(|stop| train(&folder, &config, &device, stop, &mut screen))?;
    match measured {
        Some(measured) => ui::print_lines(report(&folder.join(PROXY_FILE), &measured)),
        None => ui::print(stopped(&folder)),
    }
}

/// Checks everything before the folder is made.
fn new_run(args: &TrainDegradationArgs) -> anyhow::Result<(PathBuf, ProxyTrainingConfig)> {
    let (path, folder) = config_and_folder(&args.run)?;
    let mut config = open_config(path)?;
    config.pairs = args.pairs.clone().or(config.pairs);
    let Some(pairs) = &config.pairs else {
        return usage("--pairs DIR is missing");
    };
    check_memory(&config.need(), args.device)?;
    PairFiles::open(pairs)?.refuse_raw()?;
    create(&folder, &config)?;
    Ok((folder, config))
}

fn report(path: &Path, measured: &Measured) -> [String; 3] {
    let list = |values: &[f64]| {
        values
            .iter()
            .map(|v| format!("{v:.2}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    [
        path.display().to_string(),
        format!(
            "error on held-out pairs, relative to doing nothing: {:.4}",
            measured.error
        ),
        format!(
            "spectrum from coarse to fine, dB: degraded against clean {}; proxy against degraded {}",
            list(&measured.degraded_db),
            list(&measured.proxy_db)
        ),
    ]
}
