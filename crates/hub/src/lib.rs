//! Where a weights argument of the command line leads: a local path, or files of a Hugging Face repository.
//!
//! Strategy: [`Source::parse`] tells paths from hub ids, [`fetch`] lists the repository, picks the one VAE in it, and brings
//! what is missing into the cache that all Hugging Face programs share (`$HF_HOME/hub`: `blobs/`, `snapshots/`, `refs/`).
//! One small request asks for the list at each call; files that are there are not asked for again. Without a network the
//! cache answers alone.
//!
//! The transfer is hf-hub 0.5 in its blocking form (ureq, rustls with ring and bundled roots). hf-hub 1.0 needs an async
//! runtime, builds several times as many crates, among them the C sources of aws-lc, and does not continue a broken plain
//! download; 0.5 does, with a `Range` request. Around it, this crate adds what 0.5 lacks: offline mode, `HF_HUB_CACHE`,
//! `HF_TOKEN`, retries, a check of every file's size, reuse of a blob after the repository's head moved, and errors that
//! tell a missing repository from a closed one and from a missing network.
//!
//! Limits: model repositories only; a transfer that stalls without breaking waits for ever (the request for the list has time
//! limits); sizes are checked, hashes are not; the endpoint is trusted with the names of blobs in its part of the cache, and
//! hf-hub shows the token to the content servers that the endpoint redirects to. Certificates of the system's own store are
//! not known to it.

mod config;
mod download;
mod error;
mod id;
mod pick;
mod remote;
mod repo;
mod source;
#[cfg(feature = "testing")]
pub mod testing;

pub use config::{DEFAULT_ENDPOINT, HubConfig};
pub use error::{HubError, Result};
pub use id::HubId;
pub use source::Source;

use std::path::PathBuf;

use pick::Pick;
use repo::RepoView;

/// How far the transfer of one file has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transfer<'a> {
    /// The file's path in its repository.
    pub file: &'a str,
    /// Bytes that have arrived, those of an earlier, broken transfer included.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// Called with every piece of a file that arrives. Never called for files that are cached already.
pub type OnTransfer<'a> = dyn FnMut(Transfer<'_>) + 'a;

/// A model of the hub, as files of the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What to open: the folder of a diffusers model (`config.json` lies beside the weights), else the weights file.
    pub path: PathBuf,
    /// The weights file.
    pub weights: PathBuf,
    /// The `config.json` that belongs to the weights.
    pub config: Option<PathBuf>,
}

/// The local path that a weights argument means, fetched into the cache if it names a model of the hub.
///
/// # Errors
/// Those of [`Source::parse`] and [`fetch`].
pub fn resolve(
    argument: &str,
    config: &HubConfig,
    on_transfer: &mut OnTransfer<'_>,
) -> Result<PathBuf> {
    match Source::parse(argument)? {
        Source::Local(path) => Ok(path),
        Source::Hub(id) => Ok(fetch(&id, config, on_transfer)?.path),
    }
}

/// Brings the VAE that `id` names into the cache.
///
/// With a path inside the repository: that file, or the model in that folder. Without: the model at the root if its
/// `config.json` names an autoencoder; else `vae/`; else the only such folder below; else the only weights file, those with
/// "vae" in their path first.
///
/// # Errors
/// One line with the id, the file and the cause: see [`HubError`].
pub fn fetch(id: &HubId, config: &HubConfig, on_transfer: &mut OnTransfer<'_>) -> Result<Resolved> {
    let repo = RepoView::open(id, config)?;
    let pick = match &id.inner {
        Some(inner) => pick::inside(id, repo.names(), inner),
        None => pick::anywhere(id, repo.names(), &mut |file| {
            Ok(names_autoencoder(
                &repo.read(&repo.file(file, &mut |_| ())?)?,
            ))
        }),
    };
    let pick = pick.map_err(|e| repo.explain(e))?;
    let resolved = bring(&repo, &pick, on_transfer)?;
    repo.remember()?;
    Ok(resolved)
}

/// Fetches the configuration first: it is small, and a folder is complete once its weights are there.
fn bring(repo: &RepoView<'_>, pick: &Pick, on_transfer: &mut OnTransfer<'_>) -> Result<Resolved> {
    let config = pick
        .config
        .as_deref()
        .map(|file| repo.file(file, on_transfer))
        .transpose()?;
    let weights = repo.file(&pick.weights, on_transfer)?;
    let folder = weights
        .parent()
        .filter(|_| config.is_some() && !pick.explicit_file);
    Ok(Resolved {
        path: folder.unwrap_or(&weights).to_path_buf(),
        weights,
        config,
    })
}

/// Whether a diffusers `config.json` may be that of an autoencoder. One that names no class may.
fn names_autoencoder(config: &[u8]) -> bool {
    let config: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
    config["_class_name"]
        .as_str()
        .is_none_or(|class| class.starts_with("Autoencoder"))
}

#[cfg(test)]
mod tests {
    use super::names_autoencoder;

    #[test]
    fn a_config_that_names_another_class_is_no_vae() {
        assert!(names_autoencoder(br#"{"_class_name": "AutoencoderKLWan"}"#));
        assert!(names_autoencoder(br#"{"z_dim": 16}"#));
        assert!(names_autoencoder(b"not JSON"));
        assert!(!names_autoencoder(br#"{"_class_name": "WanModel"}"#));
    }
}
