//! A hub on 127.0.0.1 for tests, behind the feature `testing`.
//!
//! It answers what a download asks of the real hub: the list of files with sizes and hashes, `resolve` with a redirect to a
//! content server for large files and a relative one for small files, byte ranges, and refusals with `X-Error-Code`. It can
//! break transfers in the middle, and it logs every request. Point `HubConfig::endpoint` or `HF_ENDPOINT` at
//! [`FakeHub::url`]. One request per connection; plain HTTP; hashes have the right length but are not SHA.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request that never ends must not hold a test up.
const READ_LIMIT: Duration = Duration::from_secs(10);

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
    /// The path with its query.
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

#[derive(Default)]
struct State {
    repos: BTreeMap<String, FakeRepo>,
    asked: Vec<Request>,
    /// Bytes after which bodies break, and how many more bodies do.
    breaks: Option<(usize, usize)>,
    ignore_ranges: bool,
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

struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes of the body that are sent before the connection ends.
    sent: usize,
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
                commit: hash(&all, 40),
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

fn handle(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(READ_LIMIT))?;
    let asked = read_request(&stream)?;
    let base = format!("http://{}", stream.local_addr()?);
    let answer = {
        let mut state = lock(state);
        state.asked.push(asked.clone());
        state.answer(&asked, &base)
    };
    let mut head = format!(
        "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if asked.method != "HEAD" {
        stream.write_all(&answer.body[..answer.sent])?;
    }
    stream.flush()
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut asked = Request {
        method,
        path,
        range: None,
        authorization: None,
    };
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                asked.range = Some(value.to_owned())
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                asked.authorization = Some(value.to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(asked)
}

impl State {
    fn answer(&mut self, asked: &Request, base: &str) -> Answer {
        let path = asked
            .path
            .split('?')
            .next()
            .unwrap_or_default()
            .trim_start_matches('/');
        let (kind, rest) = match path.strip_prefix("api/models/") {
            Some(rest) => ("list", rest),
            None => match path
                .strip_prefix("api/resolve-cache/models/")
                .or(path.strip_prefix("cdn/"))
            {
                Some(rest) => ("content", rest),
                None => ("resolve", path),
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
                base,
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
    fn content(&mut self, repo: &FakeRepo, name: &str, range: Option<&str>) -> Answer {
        let Some(bytes) = repo.files.get(name) else {
            return refusal("404 Not Found", "EntryNotFound");
        };
        let first_byte = range == Some("bytes=0-0");
        let mut headers = vec![
            ("ETag", format!("\"{}\"", etag(name, bytes))),
            ("X-Repo-Commit", repo.commit.clone()),
        ];
        let whole = !first_byte && self.ignore_ranges;
        let (status, body) = match range
            .filter(|_| !whole)
            .map(|r| parse_range(r, bytes.len()))
        {
            None => ("200 OK", bytes.clone()),
            Some(None) => return refusal("416 Range Not Satisfiable", "InvalidRange"),
            Some(Some((start, end))) => {
                headers.push((
                    "Content-Range",
                    format!("bytes {start}-{}/{}", end - 1, bytes.len()),
                ));
                ("206 Partial Content", bytes[start..end].to_vec())
            }
        };
        let sent = if first_byte {
            body.len()
        } else {
            self.broken_length(body.len())
        };
        Answer {
            status,
            headers,
            body,
            sent,
        }
    }

    fn broken_length(&mut self, length: usize) -> usize {
        match &mut self.breaks {
            Some((bytes, times)) if *times > 0 && *bytes < length => {
                *times -= 1;
                *bytes
            }
            _ => length,
        }
    }
}

fn list(id: &str, repo: &FakeRepo, revision: &str) -> Answer {
    if revision != "main" && revision != repo.commit {
        return refusal("404 Not Found", "RevisionNotFound");
    }
    let siblings: Vec<_> = repo
        .files
        .iter()
        .map(|(name, bytes)| sibling(name, bytes))
        .collect();
    let body = serde_json::json!({ "id": id, "sha": repo.commit, "siblings": siblings })
        .to_string()
        .into_bytes();
    answer(
        "200 OK",
        vec![("Content-Type", "application/json".to_owned())],
        body,
    )
}

fn sibling(name: &str, bytes: &[u8]) -> serde_json::Value {
    let mut entry =
        serde_json::json!({ "rfilename": name, "size": bytes.len(), "blobId": hash(bytes, 40) });
    if is_large(name) {
        entry["lfs"] = serde_json::json!({ "sha256": hash(bytes, 64), "size": bytes.len(), "pointerSize": 134 });
    }
    entry
}

/// Sends a client on: to the content server for a large file, to a path of the hub for a small one.
fn resolve(base: &str, id: &str, repo: &FakeRepo, rest: &str) -> Answer {
    let name = rest.split_once('/').unwrap_or_default().1;
    let Some(bytes) = repo.files.get(name) else {
        return refusal("404 Not Found", "EntryNotFound");
    };
    let commit = repo.commit.clone();
    if !is_large(name) {
        let location = format!("/api/resolve-cache/models/{id}/{commit}/{name}");
        return answer(
            "307 Temporary Redirect",
            vec![("Location", location)],
            Vec::new(),
        );
    }
    let headers = vec![
        ("Location", format!("{base}/cdn/{id}/{commit}/{name}")),
        ("X-Repo-Commit", commit),
        ("X-Linked-Etag", format!("\"{}\"", hash(bytes, 64))),
        ("X-Linked-Size", bytes.len().to_string()),
    ];
    answer("302 Found", headers, Vec::new())
}

fn answer(status: &'static str, headers: Vec<(&'static str, String)>, body: Vec<u8>) -> Answer {
    Answer {
        status,
        headers,
        sent: body.len(),
        body,
    }
}

fn refusal(status: &'static str, code: &str) -> Answer {
    answer(status, vec![("X-Error-Code", code.to_owned())], Vec::new())
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".pth")
}

fn etag(name: &str, bytes: &[u8]) -> String {
    hash(bytes, if is_large(name) { 64 } else { 40 })
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

/// FNV-1a in hexadecimal digits, repeated to `digits` of them.
fn hash(bytes: &[u8], digits: usize) -> String {
    let seed = 0xcbf2_9ce4_8422_2325_u64;
    let value = bytes.iter().fold(seed, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{value:016x}")
        .chars()
        .cycle()
        .take(digits)
        .collect()
}
