//! The error of this crate: one line each, with the hub id, the file, what happened, and what to do about it.

use std::path::PathBuf;

use crate::id::HubId;

/// A result with the hub's error.
pub type Result<T, E = HubError> = std::result::Result<T, E>;

/// Why a weights argument led to no file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The argument reads as a local path, and nothing is there.
    #[error("{}: no such file or folder (a model of the hub is written owner/name or owner/name:path)", path.display())]
    NoSuchFile {
        /// The argument.
        path: PathBuf,
    },
    /// The argument is neither a path nor a hub id.
    #[error(
        "'{argument}' is neither a local file nor a hub id: {problem}; expected owner/name, owner/name@revision or owner/name:path"
    )]
    BadId {
        /// The argument.
        argument: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An environment variable or a field of the configuration cannot be used.
    #[error("{name}: {problem}")]
    Config {
        /// The variable.
        name: &'static str,
        /// What is wrong, in words.
        problem: String,
    },
    /// The hub has no such repository, or no such revision of it.
    #[error("{id}: no such repository or revision at {endpoint}")]
    NoRepo {
        /// What was asked for.
        id: Box<HubId>,
        /// Where.
        endpoint: String,
    },
    /// The hub refuses: the repository is private or gated, or hides that it does not exist.
    #[error("{id}: access denied (HTTP {status}): {}", denied(endpoint, id, *gated, *with_token))]
    Denied {
        /// What was asked for.
        id: Box<HubId>,
        /// Where.
        endpoint: String,
        /// 401 or 403.
        status: u16,
        /// The hub said that the repository is gated.
        gated: bool,
        /// The request carried a token.
        with_token: bool,
    },
    /// The hub could not be reached, and the cache lacks the files.
    #[error(
        "{id}: cannot reach {endpoint}: {reason} (HF_HUB_OFFLINE=1 uses the cache alone; a local path can be given instead)"
    )]
    NoNetwork {
        /// What was asked for.
        id: Box<HubId>,
        /// Where.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// Offline, and the cache lacks the files.
    #[error("{id}: not in the cache {} and HF_HUB_OFFLINE is set (a local path can be given instead)", cache.display())]
    NotCached {
        /// What was asked for.
        id: Box<HubId>,
        /// The folder that was searched.
        cache: PathBuf,
    },
    /// A file did not arrive whole. What did arrive is kept, and the next call goes on from there.
    #[error(
        "{id}: the download of '{file}' from {endpoint} broke: {reason} (run it again to continue)"
    )]
    Broken {
        /// What was asked for.
        id: Box<HubId>,
        /// The file in the repository.
        file: String,
        /// Where.
        endpoint: String,
        /// What happened.
        reason: String,
    },
    /// A file arrived with another hash than listed, twice. Nothing of it is kept.
    #[error("{id}: '{file}' is damaged: its {kind} is {found}, and the hub lists {listed}")]
    Damaged {
        /// What was asked for.
        id: Box<HubId>,
        /// The file in the repository.
        file: String,
        /// Of which kind the hashes are.
        kind: &'static str,
        /// The hash of what arrived.
        found: String,
        /// The hash that the hub lists.
        listed: String,
    },
    /// Another program downloads the same file.
    #[error("{id}: another program is downloading '{file}' (lock {})", lock.display())]
    Busy {
        /// What was asked for.
        id: Box<HubId>,
        /// The file in the repository.
        file: String,
        /// The lock.
        lock: PathBuf,
    },
    /// The hub answered in a way that this program does not understand.
    #[error("{id}: {endpoint} answered the request for {what} with {reason}")]
    Server {
        /// What was asked for.
        id: Box<HubId>,
        /// Where.
        endpoint: String,
        /// The file, or the list of files.
        what: String,
        /// The answer.
        reason: String,
    },
    /// The repository has no file that fits.
    #[error("{id}: no VAE weights{}; it has {}", inside(id), list(found))]
    NoMatch {
        /// What was asked for.
        id: Box<HubId>,
        /// The weights files elsewhere in the repository.
        found: Vec<String>,
    },
    /// The repository has several models, and nothing says which.
    #[error("{id}: several models fit; name one as {}:PATH, with PATH one of {}", id.without_inner(), list(candidates))]
    Ambiguous {
        /// What was asked for.
        id: Box<HubId>,
        /// Paths in the repository.
        candidates: Vec<String>,
    },
    /// The cache could not be read or written.
    #[error("{}: {source}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HubError {
    /// Whether the hub or the way to it is at fault, so that a copy in the cache can stand in.
    pub(crate) fn is_of_the_hub(&self) -> bool {
        matches!(
            self,
            Self::NoRepo { .. }
                | Self::Denied { .. }
                | Self::NoNetwork { .. }
                | Self::Broken { .. }
                | Self::Damaged { .. }
                | Self::Server { .. }
        )
    }
}

/// Why the hub refused and what helps.
fn denied(endpoint: &str, id: &HubId, gated: bool, with_token: bool) -> String {
    let repo = &id.repo;
    match (gated, with_token) {
        (true, false) => {
            format!("it is gated: accept its terms at {endpoint}/{repo} and set HF_TOKEN")
        }
        (true, true) => {
            format!(
                "it is gated, and this token's account has not accepted its terms at {endpoint}/{repo}"
            )
        }
        (false, false) => {
            format!(
                "it is private or gated, or does not exist; accept its terms, if it has any, at {endpoint}/{repo}, and set HF_TOKEN to a token that may read it"
            )
        }
        (false, true) => {
            format!(
                "the token (HF_TOKEN or the token file) may not read it, it has terms to accept at {endpoint}/{repo}, or it does not exist"
            )
        }
    }
}

/// Where in the repository the search was.
fn inside(id: &HubId) -> String {
    id.inner
        .as_ref()
        .map(|inner| format!(" at '{inner}'"))
        .unwrap_or_default()
}

/// Names a few of `names`.
fn list(names: &[String]) -> String {
    const NAMED: usize = 8;
    let head = names
        .iter()
        .take(NAMED)
        .map(|n| format!("'{n}'"))
        .collect::<Vec<_>>()
        .join(", ");
    match names.len() {
        0 => "no weights files at all".to_owned(),
        n if n > NAMED => format!("{head} and {} more", n - NAMED),
        _ => head,
    }
}
