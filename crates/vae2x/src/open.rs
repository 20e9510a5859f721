//! From a name to open weights: a path, a bundled demo model, or a model on the hub.

use std::io::ErrorKind;
use std::path::PathBuf;

use vae2x_core::weights::VaeWeights;
use vae2x_core::{Error, Result};
use vae2x_hub::{HubConfig, HubError, OnEvent};

use crate::demo::{DEMO_MODELS, demo_model};

/// Opens the weights called `name`: a file, a diffusers folder, a hub id `owner/name[:subfolder-or-file]`, or one of
/// [`DEMO_MODELS`]. Only headers are read. `on_event` is called with what happens while a model is fetched.
///
/// # Errors
/// [`Error::BadRequest`] for a demo model that does not exist; [`Error::Fetch`] if the hub cannot give the model; else as
/// [`VaeWeights::open`].
pub fn open_weights(name: &str, on_event: &mut OnEvent<'_>) -> Result<VaeWeights> {
    if let Some(model) = demo_model(name) {
        return model;
    }
    if name.starts_with("demo:") {
        return Err(Error::BadRequest(format!(
            "unknown demo model '{name}'; available: {}",
            DEMO_MODELS.join(" and ")
        )));
    }
    VaeWeights::open(&local_path(name, on_event)?)
}

/// The local path of a file or hub id, fetched into the shared Hugging Face cache first if it is on the hub.
///
/// # Errors
/// [`Error::Fetch`] if the hub cannot give it.
pub fn local_path(name: &str, on_event: &mut OnEvent<'_>) -> Result<PathBuf> {
    let fetch = |error: HubError| match error {
        HubError::NoSuchFile { path } => Error::io(
            path,
            std::io::Error::new(
                ErrorKind::NotFound,
                "no such file or folder (a model of the hub is written owner/name or owner/name:path)",
            ),
        ),
        other => Error::Fetch(Box::new(other)),
    };
    let config = HubConfig::from_env().map_err(fetch)?;
    vae2x_hub::resolve(name, &config, on_event).map_err(fetch)
}
