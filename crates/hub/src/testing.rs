//! A hub on 127.0.0.1 for tests, behind the feature `testing`.
//!
//! It answers what a download asks of the real hub: the list of files with sizes and hashes, `resolve` with a redirect to a
//! content server for large files and a relative one for small files, byte ranges, and refusals with `X-Error-Code`. It logs
//! every request with all its headers. Point `HubConfig::endpoint` or `HF_ENDPOINT` at [`FakeHub::url`]. One request per
//! connection; plain HTTP.
//!
//! It is as hostile as a test wants: [`FakeHub::answer_with`] takes any answer's place with a [`Reply`], which may lie, stall,
//! drip, break or be no HTTP at all. A second hub is another host.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::digest;
use crate::remote::{Hash, Listing, content_range, linked_sha256};
use crate::source::Source;
use crate::url::{Url, escape_path};

/// A request that never ends must not hold a test up.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// A stalled answer ends with its hub, or after this.
const STALL_LIMIT: Duration = Duration::from_secs(200);

/// A running hub. It stops when dropped.
pub struct FakeHub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

/// A request as the hub saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// The path with its query, escaped as it came.
    pub path: String,
    /// All headers, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

impl Request {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether it asks for the list of files.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.path.starts_with("/api/models/")
    }

    /// The first byte of the range that it asks for.
    #[must_use]
    pub fn from(&self) -> usize {
        let first = self.range.as_deref().and_then(|range| {
            let (first, _) = range.strip_prefix("bytes=")?.split_once('-')?;
            first.parse().ok()
        });
        first.unwrap_or(0)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code with its text.
    pub status: String,
    /// Headers, beside `Connection`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// How it is sent.
    pub delivery: Delivery,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delivery {
    /// At once.
    Whole,
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// Nothing comes after so many bytes of the body, and the connection stays open.
    StallAfter(usize),
    /// A byte of the body after each pause.
    Drip(Duration),
    /// Nothing comes at all, and the connection stays open.
    Silence,
    /// The connection is closed instead of an answer.
    HangUp,
    /// The body alone is sent, in place of an answer.
    Raw,
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub fn status(status: &str) -> Self {
        Self::new(status, &[], b"")
    }

    /// An answer.
    #[must_use]
    pub fn new(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let reply = Self {
            status: status.to_owned(),
            headers: Vec::new(),
            body: body.to_vec(),
            delivery: Delivery::Whole,
        };
        let length = body.len().to_string();
        headers
            .iter()
            .fold(reply.with("Content-Length", &length), |reply, (k, v)| {
                reply.with(k, v)
            })
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::new("302 Found", &[("Location", location)], b"")
    }

    /// The answer with a header, in place of others of its name.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        let mut reply = self.without(name);
        reply.headers.push((name.to_owned(), value.into()));
        reply
    }

    /// The answer without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The answer, sent in this way.
    #[must_use]
    pub fn sent(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    fn is_head_only(&self) -> bool {
        matches!(self.delivery, Delivery::StallAfter(0) | Delivery::Drip(_))
    }
}

/// Makes an answer from a request and what a well-behaved hub would answer.
type Hook = dyn Fn(&Request, Reply) -> Reply + Send + Sync;

#[derive(Default)]
struct State {
    repos: BTreeMap<String, FakeRepo>,
    asked: Vec<Request>,
    /// Bytes after which bodies break, and how many more bodies do.
    breaks: Option<(usize, usize)>,
    ignore_ranges: bool,
    content_server: Option<String>,
    hook: Option<Arc<Hook>>,
    stopped: bool,
}

#[derive(Clone, Default)]
struct FakeRepo {
    commit: String,
    files: BTreeMap<String, Vec<u8>>,
    /// The token that must be shown, for the list too unless the repository is gated.
    token: Option<String>,
    gated: bool,
}

impl FakeHub {
    /// Starts a hub without repositories on a free port.
    ///
    /// # Panics
    /// If 127.0.0.1 has no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the address just bound");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || serve(&listener, &shared));
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    /// The endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a public repository, or a new commit of one. Files that end in `.safetensors` or `.pth` count as large.
    pub fn publish(&self, repo: &str, files: &[(&str, &[u8])]) {
        let files: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(n, b)| ((*n).to_owned(), b.to_vec()))
            .collect();
        let all: Vec<u8> = files
            .iter()
            .flat_map(|(n, b)| n.bytes().chain(b.iter().copied()))
            .collect();
        self.state().repos.insert(
            repo.to_owned(),
            FakeRepo {
                commit: git_hash(&all),
                files,
                ..FakeRepo::default()
            },
        );
    }

    /// Makes a published repository private: nothing of it without `token`.
    pub fn make_private(&self, repo: &str, token: &str) {
        self.close(repo, token, false);
    }

    /// Makes a published repository gated: its list is public, its files need `token`.
    pub fn make_gated(&self, repo: &str, token: &str) {
        self.close(repo, token, true);
    }

    /// Ends the connection after `bytes` bytes of the next `times` bodies that are longer than that.
    pub fn break_after(&self, bytes: usize, times: usize) {
        self.state().breaks = Some((bytes, times));
    }

    /// Answers requests for the rest of a file with the whole file, as some proxies do.
    pub fn ignore_ranges(&self) {
        self.state().ignore_ranges = true;
    }

    /// Redirects large files to another hub, which has to have them too.
    pub fn redirect_content_to(&self, other: &Self) {
        self.state().content_server = Some(other.url());
    }

    /// Answers with what `hook` makes of a request and the usual answer to it.
    pub fn answer_with(&self, hook: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
        self.state().hook = Some(Arc::new(hook));
    }

    /// Answers as usual again.
    pub fn answer_as_usual(&self) {
        self.state().hook = None;
    }

    /// The requests since the last call, oldest first.
    #[must_use]
    pub fn take_asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().asked)
    }

    fn close(&self, repo: &str, token: &str, gated: bool) {
        if let Some(repo) = self.state().repos.get_mut(repo) {
            (repo.token, repo.gated) = (Some(token.to_owned()), gated);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.state().stopped = true;
        // Wakes the thread from its wait for a connection.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn serve(listener: &TcpListener, state: &Arc<Mutex<State>>) {
    for stream in listener.incoming().flatten() {
        if lock(state).stopped {
            return;
        }
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            // A client that hangs up is no concern of the hub's.
            let _ = handle(stream, &state);
        });
    }
}

fn handle(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(READ_LIMIT))?;
    let asked = read_request(&stream)?;
    let base = format!("http://{}", stream.local_addr()?);
    let (usual, hook) = {
        let mut state = lock(state);
        state.asked.push(asked.clone());
        (state.answer(&asked, &base), state.hook.clone())
    };
    let reply = match hook {
        Some(hook) => hook(&asked, usual),
        None => usual,
    };
    send(stream, &reply, state)
}

fn send(mut stream: TcpStream, reply: &Reply, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        head.extend_from_slice(format!("{name}: ").as_bytes());
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let sent = match reply.delivery {
        Delivery::CutAfter(bytes) | Delivery::StallAfter(bytes) => bytes.min(reply.body.len()),
        _ => reply.body.len(),
    };
    match reply.delivery {
        Delivery::HangUp => return Ok(()),
        Delivery::Silence => return stall(state, Duration::MAX),
        Delivery::Raw => return stream.write_all(&reply.body),
        _ => stream.write_all(&head)?,
    }
    if !reply.is_head_only() {
        stream.write_all(&reply.body[..sent])?;
    }
    stream.flush()?;
    match reply.delivery {
        Delivery::StallAfter(_) => stall(state, Duration::MAX),
        Delivery::Drip(pause) => {
            for byte in &reply.body {
                stall(state, pause)?;
                stream.write_all(&[*byte])?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Waits while the hub runs.
fn stall(state: &Mutex<State>, time: Duration) -> std::io::Result<()> {
    let started = Instant::now();
    while started.elapsed() < time.min(STALL_LIMIT) {
        if lock(state).stopped {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut headers = Vec::new();
    for line in lines {
        match line?.split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let asked = Request {
        method,
        path,
        headers,
        range: None,
        authorization: None,
    };
    Ok(Request {
        range: asked.header("range").map(str::to_owned),
        authorization: asked.header("authorization").map(str::to_owned),
        ..asked
    })
}

impl State {
    fn answer(&mut self, asked: &Request, base: &str) -> Reply {
        let path = asked.path.split('?').next().unwrap_or_default();
        let path = percent_encoding::percent_decode_str(path.trim_start_matches('/'))
            .decode_utf8_lossy()
            .into_owned();
        let (kind, rest) = match path.strip_prefix("api/models/") {
            Some(rest) => ("list", rest),
            None => match path
                .strip_prefix("api/resolve-cache/models/")
                .or(path.strip_prefix("cdn/"))
            {
                Some(rest) => ("content", rest),
                None => ("resolve", path.as_str()),
            },
        };
        let Some((id, repo, rest)) = self.repos.iter().find_map(|(id, repo)| {
            Some((
                id.clone(),
                repo.clone(),
                rest.strip_prefix(id.as_str())?
                    .strip_prefix('/')?
                    .to_owned(),
            ))
        }) else {
            return refusal("404 Not Found", "RepoNotFound");
        };
        let shown = asked
            .authorization
            .as_deref()
            .and_then(|a| a.strip_prefix("Bearer "));
        // The content server's addresses are secrets in themselves.
        let open = kind == "content" || (kind == "list" && repo.gated);
        if !open && repo.token.is_some() && shown != repo.token.as_deref() {
            return refusal(
                "401 Unauthorized",
                if repo.gated {
                    "GatedRepo"
                } else {
                    "RepoNotFound"
                },
            );
        }
        match kind {
            "list" => list(
                &id,
                &repo,
                rest.strip_prefix("revision/").unwrap_or_default(),
            ),
            "resolve" => resolve(
                self.content_server.as_deref().unwrap_or(base),
                &id,
                &repo,
                rest.strip_prefix("resolve/").unwrap_or_default(),
            ),
            _ => self.content(
                &repo,
                rest.split_once('/').unwrap_or_default().1,
                asked.range.as_deref(),
            ),
        }
    }

    /// A file or a range of it.
    fn content(&mut self, repo: &FakeRepo, name: &str, range: Option<&str>) -> Reply {
        let Some(bytes) = repo.files.get(name) else {
            return refusal("404 Not Found", "EntryNotFound");
        };
        let tag = match is_large(name) {
            true => sha256(bytes),
            false => git_hash(bytes),
        };
        let headers = [
            ("ETag", &*format!("\"{tag}\"")),
            ("X-Repo-Commit", &repo.commit),
        ];
        let range = range.filter(|_| !self.ignore_ranges);
        let reply = match range.map(|r| parse_range(r, bytes.len())) {
            None => Reply::new("200 OK", &headers, bytes),
            Some(None) => return refusal("416 Range Not Satisfiable", "InvalidRange"),
            Some(Some((start, end))) => {
                let range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
                Reply::new("206 Partial Content", &headers, &bytes[start..end])
                    .with("Content-Range", &range)
            }
        };
        match &mut self.breaks {
            Some((bytes, times)) if *times > 0 && *bytes < reply.body.len() => {
                *times -= 1;
                let cut = Delivery::CutAfter(*bytes);
                reply.sent(cut)
            }
            _ => reply,
        }
    }
}

fn list(id: &str, repo: &FakeRepo, revision: &str) -> Reply {
    if revision != "main" && revision != repo.commit {
        return refusal("404 Not Found", "RevisionNotFound");
    }
    let siblings: Vec<_> = repo
        .files
        .iter()
        .map(|(name, bytes)| sibling(name, bytes))
        .collect();
    let body = serde_json::json!({ "id": id, "sha": repo.commit, "siblings": siblings });
    let json = [("Content-Type", "application/json")];
    Reply::new("200 OK", &json, body.to_string().as_bytes())
}

/// A file's entry in the list.
fn sibling(name: &str, bytes: &[u8]) -> serde_json::Value {
    let mut entry = serde_json::json!({
        "rfilename": name, "size": bytes.len(), "blobId": git_hash(bytes)
    });
    if is_large(name) {
        entry["lfs"] = serde_json::json!({
            "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134
        });
    }
    entry
}

/// Sends a client on: to the content server for a large file, to a path of the hub for a small one.
fn resolve(base: &str, id: &str, repo: &FakeRepo, rest: &str) -> Reply {
    let (revision, name) = rest.split_once('/').unwrap_or_default();
    let Some(bytes) = repo
        .files
        .get(name)
        .filter(|_| revision == "main" || revision == repo.commit)
    else {
        return refusal("404 Not Found", "EntryNotFound");
    };
    let (commit, escaped) = (&repo.commit, escape_path(name));
    if !is_large(name) {
        let location = format!("/api/resolve-cache/models/{id}/{commit}/{escaped}");
        return Reply::new("307 Temporary Redirect", &[("Location", &*location)], b"");
    }
    Reply::redirect(&format!("{base}/cdn/{id}/{commit}/{escaped}"))
        .with("X-Repo-Commit", commit)
        .with("X-Linked-Etag", &format!("\"{}\"", sha256(bytes)))
        .with("X-Linked-Size", &bytes.len().to_string())
}

fn refusal(status: &str, code: &str) -> Reply {
    Reply::new(status, &[("X-Error-Code", code)], b"")
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".pth")
}

/// `bytes=START-` or `bytes=START-LAST` as start and end (exclusive).
fn parse_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let start: usize = start.parse().ok()?;
    let end = last
        .parse()
        .map_or(length, |last: usize| last.saturating_add(1).min(length));
    (start < end).then_some((start, end))
}

/// The SHA-256 of bytes, as a hub lists it for large files.
///
/// # Panics
/// Never: memory can be read.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let hash = digest::of(&mut &bytes[..], None, bytes.len() as u64);
    hash.expect("memory can be read").digits().to_owned()
}

fn git_hash(bytes: &[u8]) -> String {
    let like = Hash::Git(String::new());
    let hash = digest::of(&mut &bytes[..], Some(&like), bytes.len() as u64);
    hash.expect("memory can be read").digits().to_owned()
}

/// Reads bytes as everything that a hub or a user may send, for fuzzing: a list of files, headers, addresses and ids.
///
/// # Panics
/// If a list names a file that leaves its folder, or an address has a credential.
pub fn read_anything(bytes: &[u8]) {
    if let Ok(list) = Listing::parse(bytes) {
        for file in list.files {
            let path = std::path::Path::new("folder").join(&file.name);
            let normal = |part| matches!(part, std::path::Component::Normal(_));
            assert!(path.components().all(normal), "{path:?}");
            let hash = file.hash.map(|hash| hash.digits().to_owned());
            let hex = |hash: &String| hash.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(hash.iter().all(hex), "{hash:?}");
        }
    }
    if let Some((first, Some(total))) = content_range(bytes) {
        assert!(first < total);
    }
    let _ = linked_sha256(bytes);
    let (hub, _) = Url::parse("https://hub.example/a/b?c").expect("an address");
    if let Ok(url) = hub.join(bytes) {
        assert!(!url.host().contains('@') && url.path().starts_with('/'));
        let again = Url::parse(&url.to_string()).map(|(url, _)| url);
        assert_eq!(again.as_ref(), Ok(&url));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(Source::Hub(id)) = Source::parse(text) {
        assert!(!id.repo.contains("..") && !id.revision().contains(".."));
        assert_eq!(id.repo.split('/').count(), 2);
    }
}
