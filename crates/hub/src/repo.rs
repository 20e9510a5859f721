//! One revision of a repository: its list of files, from the hub or from the cache, and its files in the cache.
//!
//! Layout of the cache, shared with other programs: `models--owner--name/refs/<revision>` holds a commit,
//! `snapshots/<commit>/<file>` links to `blobs/<hash>`. The list comes with sizes and hashes if the hub gave it.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use serde::Deserialize;

use crate::config::HubConfig;
use crate::download::{Download, request_failed};
use crate::error::{HubError, Result};
use crate::id::HubId;
use crate::remote::{RemoteFile, is_plain};
use crate::{OnTransfer, download};

/// A reachable hub answers far sooner; an unreachable one must not hold the program up.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// For the whole list.
const LIST_LIMIT: Duration = Duration::from_secs(60);
/// Folders in folders that a cached snapshot is searched for.
const MAX_DEPTH: usize = 8;

#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<RemoteFile>,
}

/// A revision of a repository, as the hub or the cache knows it.
pub(crate) struct RepoView<'a> {
    id: &'a HubId,
    config: &'a HubConfig,
    cache: CacheRepo,
    /// None if only the cache is asked.
    api: Option<ApiRepo>,
    /// Why the hub is not asked although the configuration would allow it.
    unreachable: Option<String>,
    commit: String,
    files: Vec<RemoteFile>,
    names: Vec<String>,
}

impl<'a> RepoView<'a> {
    /// Asks the hub for the list; offline, or with the hub out of reach, the cache.
    pub(crate) fn open(id: &'a HubId, config: &'a HubConfig) -> Result<Self> {
        if config.offline {
            return Self::cached(id, config, None).ok_or_else(|| not_cached(id, config));
        }
        match Self::listed(id, config) {
            Err(HubError::NoNetwork {
                id: asked,
                endpoint,
                reason,
            }) => Self::cached(id, config, Some(reason.clone())).ok_or(HubError::NoNetwork {
                id: asked,
                endpoint,
                reason,
            }),
            done => done,
        }
    }

    fn listed(id: &'a HubId, config: &'a HubConfig) -> Result<Self> {
        let api = ApiBuilder::from_cache(Cache::new(config.cache.clone()))
            .with_endpoint(config.endpoint.clone())
            .with_token(config.token.clone())
            .with_progress(false)
            .build()
            .map_err(|e| HubError::Config {
                name: "HF_ENDPOINT",
                problem: e.to_string(),
            })?
            .repo(hub_repo(id));
        let Listing { sha, siblings } = list(&api, id, config)?;
        let files = siblings.into_iter().filter(|f| is_safe(&f.name)).collect();
        Ok(Self::new(id, config, sha, files).with_api(api))
    }

    fn cached(id: &'a HubId, config: &'a HubConfig, unreachable: Option<String>) -> Option<Self> {
        let folder = config.cache.join(hub_repo(id).folder_name());
        let commit = match std::fs::read_to_string(folder.join("refs").join(id.revision())) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => id.revision().to_owned(),
        };
        if !is_plain(&commit) {
            return None;
        }
        let mut names = Vec::new();
        walk(
            &folder.join("snapshots").join(&commit),
            "",
            MAX_DEPTH,
            &mut names,
        );
        let file = |name| RemoteFile::cached(name);
        let files: Vec<RemoteFile> = names.into_iter().map(file).collect();
        (!files.is_empty()).then(|| Self {
            unreachable,
            ..Self::new(id, config, commit, files)
        })
    }

    fn new(id: &'a HubId, config: &'a HubConfig, commit: String, files: Vec<RemoteFile>) -> Self {
        let cache = Cache::new(config.cache.clone()).repo(hub_repo(id));
        let names = files.iter().map(|f| f.name.clone()).collect();
        Self {
            id,
            config,
            cache,
            api: None,
            unreachable: None,
            commit,
            files,
            names,
        }
    }

    fn with_api(self, api: ApiRepo) -> Self {
        Self {
            api: Some(api),
            ..self
        }
    }

    /// The files of the revision; without the hub, those in the cache.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The path of a listed file in the cache, downloaded if it is not there.
    pub(crate) fn file(&self, name: &str, on_transfer: &mut OnTransfer<'_>) -> Result<PathBuf> {
        let pointer = self.cache.pointer_path(&self.commit).join(name);
        let Some((api, file)) = self
            .api
            .as_ref()
            .zip(self.files.iter().find(|f| f.name == name))
        else {
            return if pointer.is_file() {
                Ok(pointer)
            } else {
                Err(self.missing())
            };
        };
        if download::is_whole(&pointer, file.size) {
            return Ok(pointer);
        }
        Download {
            id: self.id,
            config: self.config,
            api,
            cache: &self.cache,
            file,
            pointer: &pointer,
        }
        .run(on_transfer)?;
        Ok(pointer)
    }

    /// The bytes of a file of the cache.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        std::fs::read(path).map_err(|source| HubError::Cache {
            path: path.to_path_buf(),
            source,
        })
    }

    /// Notes which commit the revision is, for a later call without a network.
    pub(crate) fn remember(&self) -> Result<()> {
        let revision = self
            .config
            .cache
            .join(hub_repo(self.id).folder_name())
            .join("refs")
            .join(self.id.revision());
        let known = std::fs::read_to_string(&revision).is_ok_and(|commit| commit == self.commit);
        if self.api.is_none() || known || self.id.revision() == self.commit {
            return Ok(());
        }
        self.cache
            .create_ref(&self.commit)
            .map_err(|source| HubError::Cache {
                path: revision,
                source,
            })
    }

    /// A list from the cache has only what earlier calls brought: what it lacks, the hub may have.
    pub(crate) fn explain(&self, error: HubError) -> HubError {
        match error {
            HubError::NoMatch { .. } if self.api.is_none() => self.missing(),
            other => other,
        }
    }

    fn missing(&self) -> HubError {
        match &self.unreachable {
            Some(reason) => HubError::NoNetwork {
                id: Box::new(self.id.clone()),
                endpoint: self.config.endpoint.clone(),
                reason: reason.clone(),
            },
            None => not_cached(self.id, self.config),
        }
    }
}

fn hub_repo(id: &HubId) -> Repo {
    Repo::with_revision(id.repo.clone(), RepoType::Model, id.revision().to_owned())
}

fn not_cached(id: &HubId, config: &HubConfig) -> HubError {
    HubError::NotCached {
        id: Box::new(id.clone()),
        cache: config.cache.clone(),
    }
}

/// Asks the hub for the files of a revision, with sizes and hashes.
fn list(api: &ApiRepo, id: &HubId, config: &HubConfig) -> Result<Listing> {
    const WHAT: &str = "the list of files";
    let request = api.info_request().query("blobs", "true").config();
    let request = request
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_global(Some(LIST_LIMIT));
    let mut response = request
        .build()
        .call()
        .map_err(|e| request_failed(id, config, WHAT, &e))?;
    let gated = response
        .headers()
        .get("x-error-code")
        .is_some_and(|code| code == "GatedRepo");
    let endpoint = config.endpoint.clone();
    let reason = match response.status().as_u16() {
        200 => match response.body_mut().read_json::<Listing>() {
            Ok(listing) if is_plain(&listing.sha) => return Ok(listing),
            Ok(listing) => format!("the malformed commit '{}'", listing.sha.escape_default()),
            Err(e) => format!("something else ({e})"),
        },
        status @ (401 | 403) => {
            return Err(HubError::Denied {
                id: Box::new(id.clone()),
                endpoint,
                status,
                gated,
                with_token: config.token.is_some(),
            });
        }
        404 => {
            return Err(HubError::NoRepo {
                id: Box::new(id.clone()),
                endpoint,
            });
        }
        status => format!("HTTP {status}"),
    };
    Err(HubError::Server {
        id: Box::new(id.clone()),
        endpoint,
        what: WHAT.to_owned(),
        reason,
    })
}

/// Collects the files under `folder`, as paths relative to the snapshot with `/` between their parts.
fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for (path, name) in entries.map(|e| {
        (
            e.path(),
            format!("{prefix}{}", e.file_name().to_string_lossy()),
        )
    }) {
        if path.is_file() {
            names.push(name);
        } else if path.is_dir() && depth > 0 {
            walk(&path, &format!("{name}/"), depth - 1, names);
        }
    }
}

/// Whether a name from the hub stays inside the snapshot's folder, and an error that has it on one line.
fn is_safe(name: &str) -> bool {
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    !name.is_empty() && inside && !name.contains(['\\', ':']) && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_snapshot_are_unsafe() {
        assert!(is_safe("a/b.safetensors"));
        for name in [
            "",
            "../a",
            "a/../../b",
            "/etc/passwd",
            "..\\a",
            "C:a",
            "a/./../b",
            "a\nb",
        ] {
            assert!(!is_safe(name), "{name}");
        }
    }
}
