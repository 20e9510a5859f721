//! From a weights argument to an open model: a path, one of the demo models, or a model of the hub.

use anyhow::Context;
use vae2x_core::weights::VaeWeights;
use vae2x_hub::{HubConfig, Transfer};

use crate::args::VaeArg;
use crate::demo_assets;
use crate::ui::Progress;
use crate::usage;

/// What the program offers where weights are missing.
const OFFER: &str = "give a file, a diffusers folder, a hub id such as spacepxl/Wan2.1-VAE-upscale2x, \
                     or demo:2x or demo:base for the small models in this program";

/// Opens what `--vae` names.
///
/// # Errors
/// If it is missing or cannot be opened.
pub fn open_vae(arg: &VaeArg) -> anyhow::Result<VaeWeights> {
    open(name(arg)?)
}

/// The value of `--vae`, before anything is read or fetched.
///
/// # Errors
/// A wrong command line if it is missing or empty.
pub fn name(arg: &VaeArg) -> anyhow::Result<&str> {
    match &arg.vae {
        Some(Some(name)) if !name.is_empty() => Ok(name),
        Some(_) => usage(format!("--vae has no value: {OFFER}")),
        None => usage(format!("--vae WEIGHTS is missing: {OFFER}")),
    }
}

/// Opens `name`, fetching it first if it is on the hub.
///
/// # Errors
/// If it cannot be found, fetched or read as a VAE.
pub fn open(name: &str) -> anyhow::Result<VaeWeights> {
    if let Some(model) = demo_assets::model(name) {
        return model.context("the demo model in this program");
    }
    if name.starts_with("demo:") {
        return usage(format!(
            "there is no demo model '{name}'; there are {}",
            demo_assets::MODELS.join(" and ")
        ));
    }
    Ok(VaeWeights::open(&fetch(name)?)?)
}

/// The local path of `name`.
///
/// # Errors
/// As [`vae2x_hub::resolve`].
pub fn fetch(name: &str) -> anyhow::Result<std::path::PathBuf> {
    let mut bar: Option<(String, Progress)> = None;
    let mut on_transfer = |transfer: Transfer<'_>| {
        if bar.as_ref().is_none_or(|(file, _)| file != transfer.file) {
            if let Some((_, finished)) = bar.take() {
                finished.finish();
            }
            let progress = Progress::new(
                format!("fetching {}", transfer.file),
                transfer.total as f64,
                "bytes",
            );
            bar = Some((transfer.file.to_owned(), progress));
        }
        if let Some((_, progress)) = &mut bar {
            progress.set(transfer.done as f64);
        }
    };
    let path = vae2x_hub::resolve(name, &HubConfig::from_env()?, &mut on_transfer)?;
    if let Some((_, finished)) = bar {
        finished.finish();
    }
    Ok(path)
}
