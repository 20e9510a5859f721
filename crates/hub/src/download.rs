//! One file from the hub into the cache.
//!
//! The bytes are appended to `blobs/<hash>.part`, beginning with a ranged request where an earlier transfer broke. When all have
//! arrived, the file's hash is compared with the listed one, and the file becomes `blobs/<hash>`, to which the snapshot links. A
//! file with another hash, be it the fault of an old `.part` or of the transfer, is fetched once more from its first byte. Where
//! a hub lists no hash, the blob is named by the SHA-256 of what arrived.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ureq::http::header;

use crate::cache::{RepoCache, remove};
use crate::config::{HubConfig, Limits};
use crate::digest;
use crate::error::{HubError, Result};
use crate::http::{Answer, Ask, Client, Failure, explain_io};
use crate::id::HubId;
use crate::remote::{Hash, RemoteFile, content_range};
use crate::url::escape_path;
use crate::{Event, OnEvent, Transfer};

/// Transfers of one file that bring no progress to speak of.
pub(crate) const ATTEMPTS: u32 = 3;
/// Bytes after which a transfer that breaks is not counted.
const PROGRESS: u64 = 1 << 20;
/// Between two looks at a file that another program downloads.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Another program that downloads a file may be silent for this many times as long as a server, as it also checks the file.
const PATIENCE: u32 = 6;

/// One file on its way.
pub(crate) struct Download<'a> {
    pub(crate) id: &'a HubId,
    pub(crate) config: &'a HubConfig,
    pub(crate) client: &'a Client<'a>,
    pub(crate) cache: &'a RepoCache,
    pub(crate) commit: &'a str,
    pub(crate) file: &'a RemoteFile,
}

/// The file so far.
struct Part<'a> {
    path: &'a Path,
    file: File,
    /// Bytes that it has.
    done: u64,
    /// What it should have: listed, or what the first answer says.
    size: Option<u64>,
    /// Listed, or what the first answer says.
    hash: Option<Hash>,
}

/// Why a transfer ended early.
enum Stop {
    /// It may go on with another request.
    Broken(String),
    /// It may not.
    Failed(HubError),
}

impl From<HubError> for Stop {
    fn from(error: HubError) -> Self {
        Self::Failed(error)
    }
}

impl Download<'_> {
    /// Brings the file to its place in the snapshot.
    pub(crate) fn run(&self, on_event: &mut OnEvent<'_>) -> Result<()> {
        if self.link_blob()? {
            return Ok(());
        }
        let key = self.key();
        let _lock = self.lock(&key, on_event)?;
        // Another program may have brought it meanwhile.
        if self.link_blob()? {
            return Ok(());
        }
        let (path, file) = self.cache.open_part(&key)?;
        let mut part = Part {
            path: &path,
            done: file.metadata().map_err(|e| failed(&path, e))?.len(),
            file,
            size: self.file.size,
            hash: self.file.hash.clone(),
        };
        let blob = match self.complete(&mut part, on_event) {
            Err(HubError::Damaged { .. }) => {
                part.restart()?;
                self.complete(&mut part, on_event)
            }
            done => done,
        };
        if matches!(blob, Err(HubError::Damaged { .. })) {
            remove(&path)?;
        }
        let blob = blob?;
        self.cache.keep_part(&path, &blob)?;
        self.cache.link(&blob, self.commit, &self.file.name)
    }

    /// Links the snapshot to a blob that is there already.
    fn link_blob(&self) -> Result<bool> {
        let (Some(hash), Some(size)) = (&self.file.hash, self.file.size) else {
            return Ok(false);
        };
        let there = self.cache.has_blob(hash.digits(), size);
        if there {
            self.cache
                .link(hash.digits(), self.commit, &self.file.name)?;
        }
        Ok(there)
    }

    /// The name of the lock and of the part: the blob's if it is known.
    fn key(&self) -> String {
        match &self.file.hash {
            Some(hash) => hash.digits().to_owned(),
            None => digest::of_text(&format!("{}/{}", self.commit, self.file.name)),
        }
    }

    /// Waits while another program downloads the file, as long as it does.
    fn lock(&self, key: &str, on_event: &mut OnEvent<'_>) -> Result<crate::cache::BlobLock> {
        let mut seen = self.cache.arrived(key);
        let mut since = Instant::now();
        self.cache.lock(key, &mut |lock| {
            let arrived = self.cache.arrived(key);
            if arrived != seen {
                (seen, since) = (arrived, Instant::now());
                self.report(arrived, self.file.size, on_event);
            }
            if since.elapsed() > self.config.limits.silence * PATIENCE {
                return Err(HubError::Busy {
                    id: Box::new(self.id.clone()),
                    file: self.file.name.clone(),
                    lock: lock.to_path_buf(),
                });
            }
            std::thread::sleep(LOOK_EVERY);
            Ok(())
        })
    }

    /// Brings what is missing and compares the hash. Returns the name of the blob.
    fn complete(&self, part: &mut Part<'_>, on_event: &mut OnEvent<'_>) -> Result<String> {
        let mut attempt = 1;
        loop {
            let before = part.done;
            match self.transfer(part, on_event) {
                Ok(()) => break,
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Broken(reason)) => {
                    if part.done >= before + PROGRESS {
                        attempt = 1;
                    }
                    if attempt >= ATTEMPTS {
                        return Err(self.broken(reason));
                    }
                    std::thread::sleep(self.config.limits.pause * attempt);
                    attempt += 1;
                }
            }
        }
        let found = part.digest().map_err(|e| failed(part.path, e))?;
        match &part.hash {
            Some(listed) if *listed != found => Err(HubError::Damaged {
                id: Box::new(self.id.clone()),
                file: self.file.name.clone(),
                kind: listed.kind(),
                found: found.digits().to_owned(),
                listed: listed.digits().to_owned(),
            }),
            _ => Ok(found.digits().to_owned()),
        }
    }

    /// One request for what is missing.
    fn transfer(&self, part: &mut Part<'_>, on_event: &mut OnEvent<'_>) -> Result<(), Stop> {
        if part.size.is_some_and(|size| part.done > size) {
            part.restart()?;
        }
        if part.size == Some(part.done) {
            return Ok(());
        }
        let path = format!(
            "{}/resolve/{}/{}",
            self.id.repo,
            self.commit,
            escape_path(&self.file.name)
        );
        // An empty file has no first byte to ask for.
        let from = (part.size.is_some() || part.done > 0).then_some(part.done);
        let ask = Ask { from, list: false };
        let answer = match self.client.get(&path, ask) {
            Ok(answer) => answer,
            Err(Failure::Network(reason)) => return Err(Stop::Broken(reason)),
            Err(Failure::Answer(reason)) => return Err(self.odd(reason)),
            Err(Failure::Config(error)) => return Err(Stop::Failed(error)),
        };
        self.check_status(&answer, part)?;
        if answer.is_compressed() {
            return Err(self.odd("a compressed file, which was not asked for".to_owned()));
        }
        self.place(&answer, part)?;
        if part.hash.is_none() {
            part.hash = answer.linked.clone();
        }
        self.receive(answer, part, on_event)
    }

    fn check_status(&self, answer: &Answer, part: &mut Part<'_>) -> Result<(), Stop> {
        match answer.status {
            200 | 206 => Ok(()),
            // Addresses of content servers expire; the next request gets another one.
            status @ 400..500 if status != 416 && answer.elsewhere.is_some() => {
                let server = answer.elsewhere.as_deref().unwrap_or_default();
                Err(Stop::Broken(format!("HTTP {status} from {server}")))
            }
            status @ (401 | 403) => Err(Stop::Failed(HubError::Denied {
                id: Box::new(self.id.clone()),
                endpoint: self.config.shown_endpoint(),
                status,
                gated: answer.gated,
                with_token: self.config.token.is_some(),
            })),
            // The part has more than the server: it is not of this file.
            416 if part.done > 0 => {
                part.restart()?;
                Err(Stop::Broken("HTTP 416".to_owned()))
            }
            status @ (408 | 425 | 429 | 500..) => Err(Stop::Broken(format!("HTTP {status}"))),
            status => Err(self.odd(format!("HTTP {status}"))),
        }
    }

    /// Finds out where in the file the answer begins, and how large the file is.
    fn place(&self, answer: &Answer, part: &mut Part<'_>) -> Result<(), Stop> {
        let range = answer
            .header(header::CONTENT_RANGE)
            .and_then(content_range)
            .filter(|_| answer.status == 206);
        match range {
            Some((first, _)) if first != part.done => {
                part.restart()?;
                return Err(Stop::Broken("another range than asked for".to_owned()));
            }
            None if answer.status == 200 => part.restart()?,
            // Without a `Content-Range`, what was asked for; the hash will tell.
            _ => {}
        }
        let announced = match range.and_then(|(_, total)| total) {
            Some(total) => Some(total),
            None => answer
                .length()
                .and_then(|length| length.checked_add(part.done)),
        };
        match (part.size, announced) {
            (Some(size), Some(announced)) if announced != size => Err(self.odd(format!(
                "a file of {announced} bytes, where {size} are listed"
            ))),
            (size, announced) => {
                part.size = size.or(announced);
                Ok(())
            }
        }
    }

    fn receive(
        &self,
        answer: Answer,
        part: &mut Part<'_>,
        on_event: &mut OnEvent<'_>,
    ) -> Result<(), Stop> {
        let mut body = answer.into_reader();
        let mut pace = Pace::new(&self.config.limits);
        let mut buffer = vec![0; 1 << 16];
        part.file
            .seek(SeekFrom::Start(part.done))
            .map_err(|e| failed(part.path, e))?;
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(Stop::Broken(explain_io(&e, self.config))),
            };
            let done = part.done + read as u64;
            if part.size.is_some_and(|size| done > size) {
                return Err(self.odd("more bytes than the file has".to_owned()));
            }
            part.file
                .write_all(&buffer[..read])
                .map_err(|e| failed(part.path, e))?;
            part.done = done;
            self.report(done, part.size, on_event);
            // The last bytes may be slow.
            if part.size != Some(done) && pace.is_too_slow(read as u64) {
                let slowest = Limits::SLOWEST;
                return Err(Stop::Broken(format!(
                    "fewer than {slowest} bytes per second"
                )));
            }
        }
        match part.size {
            Some(size) if part.done < size => {
                let done = part.done;
                Err(Stop::Broken(format!("{done} of {size} bytes arrived")))
            }
            size => {
                part.size = size.or(Some(part.done));
                Ok(())
            }
        }
    }

    fn report(&self, done: u64, total: Option<u64>, on_event: &mut OnEvent<'_>) {
        on_event(Event::Transfer(Transfer {
            file: &self.file.name,
            done,
            total: total.unwrap_or(done),
        }));
    }

    fn broken(&self, reason: String) -> HubError {
        HubError::Broken {
            id: Box::new(self.id.clone()),
            file: self.file.name.clone(),
            endpoint: self.config.shown_endpoint(),
            reason,
        }
    }

    fn odd(&self, reason: String) -> Stop {
        Stop::Failed(HubError::Server {
            id: Box::new(self.id.clone()),
            endpoint: self.config.shown_endpoint(),
            what: format!("'{}'", self.file.name),
            reason,
        })
    }
}

impl Part<'_> {
    fn restart(&mut self) -> Result<()> {
        self.done = 0;
        self.file.set_len(0).map_err(|e| failed(self.path, e))
    }

    /// The hash of what is on the disk, once it is there.
    fn digest(&mut self) -> std::io::Result<Hash> {
        self.file.sync_data()?;
        self.file.seek(SeekFrom::Start(0))?;
        digest::of(&mut self.file, self.hash.as_ref(), self.done)
    }
}

/// Notices a transfer that drips.
struct Pace {
    window: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self {
            window: limits.window,
            since: Instant::now(),
            bytes: 0,
        }
    }

    fn is_too_slow(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if elapsed < self.window {
            return false;
        }
        let slow = (self.bytes as f64) < elapsed.as_secs_f64() * Limits::SLOWEST as f64;
        (self.since, self.bytes) = (Instant::now(), 0);
        slow
    }
}

fn failed(path: &Path, source: std::io::Error) -> HubError {
    HubError::Cache {
        path: path.to_path_buf(),
        source,
    }
}
