//! Where a weights argument of the command line leads: a local path, or files of a Hugging Face repository.
//!
//! Strategy: [`Source::parse`] tells paths from hub ids, [`fetch`] lists the repository, picks the one VAE in it, and brings
//! what is missing into the cache that all Hugging Face programs share (`$HF_HOME/hub`: `blobs/`, `snapshots/`, `refs/`).
//! One small request asks for the list at each call; files that are there are not asked for again. If the hub cannot be
//! reached, refuses, or answers with anything but what was asked for, a model that is in the cache is used all the same, with a
//! warning.
//!
//! The network is hostile: the token goes to the endpoint alone (`http`), what the hub says becomes a name of a file only
//! if it is a hash, a commit or a path inside (`remote`), files have the listed size and hash (`download`), nothing is
//! written outside the cache (`cache`), and everything that waits has a limit ([`Limits`]).
//!
//! hf-hub is not used: 0.5 shows the token to servers that the endpoint redirects to and takes an `ETag` for a path; 1.0 needs an
//! async runtime. What it would do beside that is a ranged request.
//!
//! Limits: model repositories only; a file that was changed in the cache, with its size kept, is not noticed.

mod cache;
mod config;
mod digest;
mod download;
mod error;
mod http;
mod id;
mod pick;
mod remote;
mod repo;
mod source;
#[cfg(feature = "testing")]
pub mod testing;
mod url;

pub use config::{DEFAULT_ENDPOINT, HubConfig, Limits, Proxies};
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
    /// Bytes of the whole file; those that have arrived, if nobody says how many there will be.
    pub total: u64,
}

/// What happens during a fetch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// A piece of a file arrived, here or in another program that downloads it. Not for files that are in the cache.
    Transfer(Transfer<'a>),
    /// The fetch goes on, with something that the user should know.
    Warning(&'a str),
}

/// Called with every event of a fetch.
pub type OnEvent<'a> = dyn FnMut(Event<'_>) + 'a;

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
pub fn resolve(argument: &str, config: &HubConfig, on_event: &mut OnEvent<'_>) -> Result<PathBuf> {
    match Source::parse_at(argument, &config.endpoint)? {
        Source::Local(path) => Ok(path),
        Source::Hub(id) => Ok(fetch(&id, config, on_event)?.path),
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
pub fn fetch(id: &HubId, config: &HubConfig, on_event: &mut OnEvent<'_>) -> Result<Resolved> {
    if config.offline {
        return find(&RepoView::cached(id, config)?, id, on_event);
    }
    match fetch_listed(id, config, on_event) {
        Err(error) if error.is_of_the_hub() => {
            let cached = RepoView::cached(id, config);
            // An error about the cache would hide the cause.
            let Some(found) = cached.and_then(|repo| find(&repo, id, on_event)).ok() else {
                return Err(error);
            };
            on_event(Event::Warning(&format!(
                "{error}; using the copy in the cache"
            )));
            Ok(found)
        }
        done => done,
    }
}

fn fetch_listed(id: &HubId, config: &HubConfig, on_event: &mut OnEvent<'_>) -> Result<Resolved> {
    let repo = RepoView::listed(id, config)?;
    let found = find(&repo, id, on_event)?;
    // The files are there; that a later call without the hub may not find them is no reason to fail.
    if let Err(error) = repo.remember() {
        on_event(Event::Warning(&error.to_string()));
    }
    Ok(found)
}

/// Picks the VAE and brings its files.
fn find(repo: &RepoView<'_>, id: &HubId, on_event: &mut OnEvent<'_>) -> Result<Resolved> {
    let pick = match &id.inner {
        Some(inner) => pick::inside(id, repo.names(), inner),
        None => pick::anywhere(id, repo.names(), &mut |file| {
            let config = repo.config_file(file, &mut |_| ())?;
            Ok(names_autoencoder(&repo.read_config(&config)?))
        }),
    };
    let pick = pick.map_err(|e| repo.explain(e))?;
    bring(repo, &pick, on_event)
}

/// Fetches the configuration first: it is small, and a folder is complete once its weights are there.
fn bring(repo: &RepoView<'_>, pick: &Pick, on_event: &mut OnEvent<'_>) -> Result<Resolved> {
    let config = pick
        .config
        .as_deref()
        .map(|file| repo.config_file(file, on_event))
        .transpose()?;
    let weights = repo.file(&pick.weights, on_event)?;
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
