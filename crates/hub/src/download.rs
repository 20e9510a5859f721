//! One file from the hub into the cache.
//!
//! hf-hub appends to `blobs/<hash>.part`, beginning with a `Range` request where an earlier transfer broke, then renames it
//! to `blobs/<hash>` and links the snapshot to it. Around that: a blob that is there already is only linked, a broken
//! transfer is taken up again a few times, and a file of another size than listed is thrown away.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use hf_hub::CacheRepo;
use hf_hub::api::sync::{ApiError, ApiRepo};

use crate::config::HubConfig;
use crate::error::{HubError, Result};
use crate::id::HubId;
use crate::remote::RemoteFile;
use crate::{OnTransfer, Transfer};

/// Transfers of one file per call; each goes on where the last one broke.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; the third waits twice as long.
const PAUSE: Duration = Duration::from_millis(300);

/// One file on its way.
pub(crate) struct Download<'a> {
    pub(crate) id: &'a HubId,
    pub(crate) config: &'a HubConfig,
    pub(crate) api: &'a ApiRepo,
    pub(crate) cache: &'a CacheRepo,
    pub(crate) file: &'a RemoteFile,
    /// Where the file is to appear, in the snapshot of the listed commit.
    pub(crate) pointer: &'a Path,
}

impl Download<'_> {
    pub(crate) fn run(&self, on_transfer: &mut OnTransfer<'_>) -> Result<()> {
        self.clear_pointer()?;
        if self.link_blob() {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            self.drop_full_part();
            match self.transfer(on_transfer) {
                Err(HubError::Broken { .. } | HubError::NoNetwork { .. }) if attempt < ATTEMPTS => {
                    std::thread::sleep(PAUSE * attempt);
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    fn transfer(&self, on_transfer: &mut OnTransfer<'_>) -> Result<()> {
        let progress = Reporter {
            file: &self.file.name,
            done: 0,
            total: 0,
            on_transfer,
        };
        let arrived = self
            .api
            .download_with_progress(&self.file.name, progress)
            .map_err(|e| self.failed(e))?;
        if !is_whole(&arrived, self.file.size) {
            self.discard(&arrived)?;
            return Err(self.broken("its size is not the one that the hub lists"));
        }
        match arrived == self.pointer {
            true => Ok(()),
            false => Err(self.broken("the repository changed meanwhile")),
        }
    }

    /// Links the snapshot to a blob that an older commit of the repository brought.
    fn link_blob(&self) -> bool {
        let Some(name) = self.file.blob() else {
            return false;
        };
        let blob = self.cache.blob_path(name);
        is_whole(&blob, self.file.size)
            && self.file.size.is_some()
            && self
                .pointer
                .parent()
                .is_some_and(|folder| std::fs::create_dir_all(folder).is_ok())
            && link(&blob, name, self.pointer, &self.file.name).is_ok()
    }

    /// Removes a link that leads nowhere or to a file of the wrong size.
    fn clear_pointer(&self) -> Result<()> {
        remove(self.pointer)
    }

    /// Removes a `.part` with nothing left to ask for: the hub would refuse the empty range.
    fn drop_full_part(&self) {
        let Some((name, size)) = self.file.blob().zip(self.file.size) else {
            return;
        };
        let part = self.cache.blob_path(name).with_extension("part");
        if std::fs::metadata(&part).is_ok_and(|m| m.len() >= size) {
            // If it cannot be removed, the transfer fails with its own message.
            let _ = std::fs::remove_file(part);
        }
    }

    /// Removes a wrong file: the link and the blob behind it.
    fn discard(&self, arrived: &Path) -> Result<()> {
        if let Ok(blob) = std::fs::canonicalize(arrived) {
            remove(&blob)?;
        }
        remove(arrived)
    }

    fn failed(&self, error: ApiError) -> HubError {
        match error {
            ApiError::RequestError(e) => match &*e {
                ureq::Error::StatusCode(code @ (408 | 416 | 429 | 500..)) => {
                    self.broken(&format!("HTTP {code}"))
                }
                e => request_failed(self.id, self.config, &format!("'{}'", self.file.name), e),
            },
            ApiError::IoError(e) if is_of_the_network(&e) => self.broken(&e.to_string()),
            ApiError::IoError(source) => HubError::Cache {
                path: self.config.cache.clone(),
                source,
            },
            ApiError::LockAcquisition(lock) => HubError::Busy {
                id: Box::new(self.id.clone()),
                file: self.file.name.clone(),
                lock,
            },
            other => HubError::Server {
                id: Box::new(self.id.clone()),
                endpoint: self.config.endpoint.clone(),
                what: format!("'{}'", self.file.name),
                reason: format!("something unexpected: {other}"),
            },
        }
    }

    fn broken(&self, reason: &str) -> HubError {
        HubError::Broken {
            id: Box::new(self.id.clone()),
            file: self.file.name.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// Whether a file is there with its listed size.
pub(crate) fn is_whole(path: &Path, size: Option<u64>) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && size.is_none_or(|size| m.len() == size))
}

/// The error of a request for `what` that failed before its answer's body.
pub(crate) fn request_failed(
    id: &HubId,
    config: &HubConfig,
    what: &str,
    error: &ureq::Error,
) -> HubError {
    use ureq::Error as E;
    let (id, endpoint) = (Box::new(id.clone()), config.endpoint.clone());
    match error {
        E::StatusCode(status @ (401 | 403)) => HubError::Denied {
            id,
            endpoint,
            status: *status,
            gated: false,
            with_token: config.token.is_some(),
        },
        E::StatusCode(status) => HubError::Server {
            id,
            endpoint,
            what: what.to_owned(),
            reason: format!("HTTP {status}"),
        },
        E::Io(_)
        | E::Timeout(_)
        | E::HostNotFound
        | E::ConnectionFailed
        | E::ConnectProxyFailed(_)
        | E::Tls(_)
        | E::Rustls(_) => HubError::NoNetwork {
            id,
            endpoint,
            reason: error.to_string(),
        },
        other => HubError::Server {
            id,
            endpoint,
            what: what.to_owned(),
            reason: other.to_string(),
        },
    }
}

/// Tells a connection's end from a full or read-only disk, which hf-hub reports alike.
fn is_of_the_network(error: &io::Error) -> bool {
    use ErrorKind as K;
    matches!(
        error.kind(),
        K::UnexpectedEof
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::TimedOut
            | K::InvalidData
            | K::Other
    )
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(HubError::Cache {
            path: path.to_path_buf(),
            source,
        }),
        _ => Ok(()),
    }
}

/// A relative link, as other programs make it: the cache may move.
#[cfg(unix)]
fn link(_blob: &Path, name: &str, pointer: &Path, file: &str) -> io::Result<()> {
    // Out of the file's own folders, the commit's and `snapshots`.
    let up = "../".repeat(file.split('/').count() + 1);
    std::os::unix::fs::symlink(format!("{up}blobs/{name}"), pointer)
}

/// Symbolic links need a privilege on Windows; a second name for the same file does not.
#[cfg(not(unix))]
fn link(blob: &Path, _name: &str, pointer: &Path, _file: &str) -> io::Result<()> {
    std::fs::hard_link(blob, pointer)
}

/// hf-hub's progress, which comes in steps, as totals.
struct Reporter<'a, 'b> {
    file: &'a str,
    done: u64,
    total: u64,
    on_transfer: &'a mut OnTransfer<'b>,
}

impl hf_hub::api::Progress for Reporter<'_, '_> {
    fn init(&mut self, size: usize, _filename: &str) {
        (self.done, self.total) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        (self.on_transfer)(Transfer {
            file: self.file,
            done: self.done,
            total: self.total,
        });
    }

    fn finish(&mut self) {}
}
