//! One revision of a repository: its list of files, from the hub or from the cache, and its files in the cache.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::OnEvent;
use crate::cache::{RepoCache, read_small};
use crate::config::HubConfig;
use crate::download::{ATTEMPTS, Download};
use crate::error::{HubError, Result};
use crate::http::{Ask, Client, Failure};
use crate::id::HubId;
use crate::remote::{Listing, RemoteFile, is_commit};
use crate::url::escape_segment;

/// No further attempt to get the list begins after this time.
const LIST_PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a `config.json`; that of an autoencoder has 2 KB.
const MAX_CONFIG: u64 = 4 << 20;
const LIST: &str = "the list of files";

/// A revision of a repository, as the hub or the cache knows it.
pub(crate) struct RepoView<'a> {
    id: &'a HubId,
    config: &'a HubConfig,
    cache: RepoCache,
    /// None if only the cache is asked.
    client: Option<Client<'a>>,
    commit: String,
    files: Vec<RemoteFile>,
    names: Vec<String>,
}

impl<'a> RepoView<'a> {
    /// Asks the hub for the list.
    ///
    /// # Errors
    /// [`HubError::NoRepo`], [`HubError::Denied`], [`HubError::NoNetwork`], [`HubError::Server`], [`HubError::Config`].
    pub(crate) fn listed(id: &'a HubId, config: &'a HubConfig) -> Result<Self> {
        let client = Client::new(config)?;
        let Listing { commit, files } = list(&client, id, config)?;
        Ok(Self {
            client: Some(client),
            ..Self::new(id, config, commit, files)
        })
    }

    /// Lists what the cache has.
    ///
    /// # Errors
    /// [`HubError::NotCached`] if that is nothing.
    pub(crate) fn cached(id: &'a HubId, config: &'a HubConfig) -> Result<Self> {
        let cache = RepoCache::new(&config.cache, id);
        let revision = id.revision();
        let commit = match is_commit(revision) {
            true => Some(revision.to_owned()),
            false => cache.commit_of(revision),
        };
        let commit = commit.ok_or_else(|| not_cached(id, config))?;
        let files = cache.files_of(&commit);
        match files.is_empty() {
            true => Err(not_cached(id, config)),
            false => {
                let files = files.into_iter().map(RemoteFile::cached).collect();
                Ok(Self::new(id, config, commit, files))
            }
        }
    }

    fn new(id: &'a HubId, config: &'a HubConfig, commit: String, files: Vec<RemoteFile>) -> Self {
        Self {
            id,
            config,
            cache: RepoCache::new(&config.cache, id),
            client: None,
            names: files.iter().map(|f| f.name.clone()).collect(),
            commit,
            files,
        }
    }

    /// The files of the revision; without the hub, those in the cache.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The path of a listed file in the cache, downloaded if it is not there.
    pub(crate) fn file(&self, name: &str, on_event: &mut OnEvent<'_>) -> Result<PathBuf> {
        let pointer = self.cache.pointer(&self.commit, name);
        let listed = self.files.iter().find(|f| f.name == name);
        let Some((client, file)) = self.client.as_ref().zip(listed) else {
            return match pointer.is_file() {
                true => Ok(pointer),
                false => Err(not_cached(self.id, self.config)),
            };
        };
        if !is_whole(&pointer, file.size) {
            Download {
                id: self.id,
                config: self.config,
                client,
                cache: &self.cache,
                commit: &self.commit,
                file,
            }
            .run(on_event)?;
        }
        Ok(pointer)
    }

    /// As [`Self::file`], for a `config.json`, which is small.
    pub(crate) fn config_file(&self, name: &str, on_event: &mut OnEvent<'_>) -> Result<PathBuf> {
        let size = self
            .files
            .iter()
            .find(|f| f.name == name)
            .and_then(|f| f.size);
        match size {
            Some(size) if size > MAX_CONFIG => Err(server(
                self.id,
                self.config,
                &format!("'{name}'"),
                format!("{size} bytes, too many for a configuration"),
            )),
            _ => self.file(name, on_event),
        }
    }

    /// The bytes of a configuration in the cache.
    pub(crate) fn read_config(&self, path: &Path) -> Result<Vec<u8>> {
        read_small(path, MAX_CONFIG).map_err(|source| HubError::Cache {
            path: path.to_path_buf(),
            source,
        })
    }

    /// Notes which commit the revision is, for a later call without the hub.
    pub(crate) fn remember(&self) -> Result<()> {
        let revision = self.id.revision();
        let known = self.cache.commit_of(revision).as_ref() == Some(&self.commit);
        if self.client.is_none() || known || revision == self.commit {
            return Ok(());
        }
        self.cache.remember(revision, &self.commit)
    }

    /// A list from the cache has only what earlier calls brought: what it lacks, the hub may have.
    pub(crate) fn explain(&self, error: HubError) -> HubError {
        match error {
            HubError::NoMatch { .. } if self.client.is_none() => not_cached(self.id, self.config),
            other => other,
        }
    }
}

/// Whether a file is there with its listed size.
fn is_whole(path: &Path, size: Option<u64>) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && size.is_none_or(|size| m.len() == size))
}

fn not_cached(id: &HubId, config: &HubConfig) -> HubError {
    HubError::NotCached {
        id: Box::new(id.clone()),
        cache: config.cache.clone(),
    }
}

fn server(id: &HubId, config: &HubConfig, what: &str, reason: String) -> HubError {
    HubError::Server {
        id: Box::new(id.clone()),
        endpoint: config.shown_endpoint(),
        what: what.to_owned(),
        reason,
    }
}

/// Asks for the files of a revision, with sizes and hashes, and again if the hub is busy or the connection breaks.
fn list(client: &Client<'_>, id: &HubId, config: &HubConfig) -> Result<Listing> {
    let started = Instant::now();
    let mut attempt = 1;
    loop {
        match list_once(client, id, config) {
            Err((error, true)) if attempt < ATTEMPTS && started.elapsed() < LIST_PATIENCE => {
                drop(error);
                std::thread::sleep(config.limits.pause * attempt);
                attempt += 1;
            }
            done => return done.map_err(|(error, _)| error),
        }
    }
}

/// One request; with an error, whether another one could help.
fn list_once(
    client: &Client<'_>,
    id: &HubId,
    config: &HubConfig,
) -> Result<Listing, (HubError, bool)> {
    let path = format!(
        "api/models/{}/revision/{}?blobs=true",
        id.repo,
        escape_segment(id.revision())
    );
    let failed = |failure: Failure| match failure {
        Failure::Network(reason) => (
            HubError::NoNetwork {
                id: Box::new(id.clone()),
                endpoint: config.shown_endpoint(),
                reason,
            },
            true,
        ),
        Failure::Answer(reason) => (server(id, config, LIST, reason), false),
        Failure::Config(error) => (error, false),
    };
    let ask = Ask {
        from: None,
        list: true,
    };
    let answer = client.get(&path, ask).map_err(failed)?;
    match answer.status {
        200 => {
            let json = answer.into_list(config).map_err(failed)?;
            Listing::parse(&json).map_err(|reason| (server(id, config, LIST, reason), false))
        }
        status @ (401 | 403) => Err((
            HubError::Denied {
                id: Box::new(id.clone()),
                endpoint: config.shown_endpoint(),
                status,
                gated: answer.gated,
                with_token: config.token.is_some(),
            },
            false,
        )),
        404 => Err((
            HubError::NoRepo {
                id: Box::new(id.clone()),
                endpoint: config.shown_endpoint(),
            },
            false,
        )),
        status => {
            let busy = matches!(status, 408 | 425 | 429 | 500..);
            let error = server(id, config, LIST, format!("HTTP {status}"));
            Err((error, busy))
        }
    }
}
