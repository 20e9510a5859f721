//! Hubs that lie, stall, break, leak and reach for files that are not theirs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vae2x_hub::testing::{Delivery, FakeHub, Reply, Request, read_anything, sha256};
use vae2x_hub::{Event, HubConfig, HubError, Limits, Proxies, Resolved, Source};

const REPO: &str = "o/n";
const FILE: &str = "m_vae.safetensors";
const TOKEN: &str = "hf_SECRETtokenSECRET0123456789";

/// Short limits: the other end of the line is this program.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    silence: Duration::from_millis(250),
    answer: Duration::from_millis(800),
    window: Duration::from_millis(200),
    pause: Duration::from_millis(5),
};
/// For tests in which nothing stalls, on a machine that may be busy.
const PATIENT: Limits = Limits {
    silence: Duration::from_secs(10),
    answer: Duration::from_secs(10),
    window: Duration::from_secs(10),
    ..LIMITS
};

fn weights() -> Vec<u8> {
    (0..50_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// The weights with one byte changed.
fn flipped() -> Vec<u8> {
    let mut bytes = weights();
    bytes[100_000] ^= 0x55;
    bytes
}

/// A hub with one file, a home folder whose `hub` is the cache, and a file beside it that must stay as it is.
struct Place {
    hub: FakeHub,
    home: tempfile::TempDir,
    config: HubConfig,
}

impl Place {
    fn new() -> Self {
        let (hub, home) = (FakeHub::start(), tempfile::tempdir().unwrap());
        hub.publish(REPO, &[(FILE, &weights())]);
        std::fs::write(home.path().join("victim"), "precious").unwrap();
        let config = HubConfig {
            endpoint: hub.url(),
            token: Some(TOKEN.to_owned()),
            limits: PATIENT,
            ..HubConfig::at_home(home.path())
        };
        Self { hub, home, config }
    }

    fn answering(hook: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        let place = Self::new();
        place.hub.answer_with(hook);
        place
    }

    /// A hub whose list is as usual and whose file requests are answered so.
    fn with_file(hook: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::answering(move |asked, usual| match asked.is_list() {
            true => usual,
            false => hook(asked, usual),
        })
    }

    /// A hub whose list is answered so.
    fn with_list(hook: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::answering(move |asked, usual| match asked.is_list() {
            true => hook(asked, usual),
            false => usual,
        })
    }

    /// A hub that lists its file under another name, size or hash.
    fn with_entry(change: impl Fn(&mut serde_json::Value) + Send + Sync + 'static) -> Self {
        Self::with_list(move |_, usual| {
            let mut list: serde_json::Value = serde_json::from_slice(&usual.body).unwrap();
            change(&mut list["siblings"][0]);
            json(&list)
        })
    }

    /// Fetches, and looks at what the cache and the rest of the home folder have afterwards.
    fn fetch(&self) -> (Result<Resolved, HubError>, Vec<String>) {
        let mut warnings = Vec::new();
        let Ok(Source::Hub(id)) = Source::parse(REPO) else {
            panic!("not a hub id")
        };
        let found = vae2x_hub::fetch(&id, &self.config, &mut |event| {
            if let Event::Warning(text) = event {
                warnings.push(text.to_owned());
            }
        });
        self.check_home();
        if let Err(error) = &found {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.contains(TOKEN), "{text}");
        }
        (found, warnings)
    }

    fn check_home(&self) {
        let victim = std::fs::read(self.home.path().join("victim")).unwrap();
        assert_eq!(victim, b"precious");
        for entry in std::fs::read_dir(self.home.path()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(name == "victim" || name == "hub", "{name:?} is new");
        }
        for file in files_below(&self.config.cache) {
            let bytes = std::fs::read(&file).unwrap_or_default();
            let token = bytes.windows(TOKEN.len()).any(|w| w == TOKEN.as_bytes());
            assert!(!token, "the token is in {}", file.display());
        }
    }

    #[track_caller]
    fn succeeds(&self, why: &str) {
        let (found, warnings) = self.fetch();
        let found = found.unwrap_or_else(|e| panic!("{why}: {e}"));
        assert_eq!(std::fs::read(&found.weights).unwrap(), weights(), "{why}");
        assert_eq!(warnings, Vec::<String>::new(), "{why}");
    }

    #[track_caller]
    fn fails(&self, why: &str) -> HubError {
        let (found, warnings) = self.fetch();
        assert_eq!(warnings, Vec::<String>::new(), "{why}");
        match found {
            Ok(found) => panic!("{why}: {found:?}"),
            Err(error) => error,
        }
    }

    /// The cached copy is used, with one warning.
    #[track_caller]
    fn uses_the_cache(&self, why: &str) -> String {
        let (found, warnings) = self.fetch();
        let found = found.unwrap_or_else(|e| panic!("{why}: {e}"));
        assert_eq!(std::fs::read(&found.weights).unwrap(), weights(), "{why}");
        assert_eq!(warnings.len(), 1, "{why}: {warnings:?}");
        warnings[0].clone()
    }

    fn in_cache(&self, path: &str) -> PathBuf {
        self.config.cache.join("models--o--n").join(path)
    }

    fn part(&self) -> PathBuf {
        self.in_cache(&format!("blobs/{}.part", sha256(&weights())))
    }

    fn plant_part(&self, bytes: &[u8]) {
        std::fs::create_dir_all(self.in_cache("blobs")).unwrap();
        std::fs::write(self.part(), bytes).unwrap();
    }
}

fn json(list: &serde_json::Value) -> Reply {
    Reply::new("200 OK", &[], list.to_string().as_bytes())
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .flat_map(|p| if p.is_dir() { files_below(&p) } else { vec![p] })
        .collect()
}

/// What another hub saw of the token, in any header of any request.
#[track_caller]
fn assert_no_secret(asked: &[Request], secrets: &[&str]) {
    assert!(!asked.is_empty(), "nothing was asked for");
    for request in asked {
        let text = format!("{request:?}");
        assert!(request.authorization.is_none(), "{text}");
        for secret in secrets {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let place = Place::new();
    place.succeeds("an honest hub");
    let asked = place.hub.take_asked();
    let expected = format!("Bearer {TOKEN}");
    assert!(
        asked
            .iter()
            .all(|a| a.authorization.as_ref() == Some(&expected))
    );

    for (what, list) in [("the list", true), ("files", false)] {
        for host in ["127.0.0.1", "localhost"] {
            let other = FakeHub::start();
            other.publish(REPO, &[(FILE, &weights())]);
            let base = other.url().replace("127.0.0.1", host);
            let place = Place::answering(move |asked, usual| match asked.is_list() == list {
                true => Reply::redirect(&format!("{base}{}", asked.path)),
                false => usual,
            });
            place.succeeds(what);
            assert_no_secret(&other.take_asked(), &[TOKEN]);
        }
    }
}

#[test]
fn a_content_server_sees_no_token() {
    let other = FakeHub::start();
    other.publish(REPO, &[(FILE, &weights())]);
    let place = Place::new();
    place.hub.redirect_content_to(&other);
    place.succeeds("content from another host");
    assert_no_secret(&other.take_asked(), &[TOKEN]);
}

#[test]
fn a_token_that_was_dropped_stays_dropped() {
    let other = FakeHub::start();
    let place = Place::new();
    let (there, back) = (other.url(), place.hub.url());
    other.answer_with(move |asked, _| Reply::redirect(&format!("{back}{}?again", asked.path)));
    place.hub.answer_with(move |asked, usual| {
        match asked.is_list() || asked.path.ends_with("?again") {
            true => usual,
            false => Reply::redirect(&format!("{there}{}", asked.path)),
        }
    });
    // The usual answer to "?again" redirects to this hub's content server, which is asked without a token too.
    place.succeeds("there and back");
    let asked = place.hub.take_asked();
    let again = asked.iter().position(|a| a.path.ends_with("?again"));
    assert_no_secret(&asked[again.unwrap()..], &[TOKEN]);
    assert_no_secret(&other.take_asked(), &[TOKEN]);
}

#[test]
fn a_login_in_the_endpoint_is_sent_to_it_and_never_printed() {
    let other = FakeHub::start();
    other.publish(REPO, &[(FILE, &weights())]);
    let mut place = Place::new();
    place.hub.redirect_content_to(&other);
    place.config.endpoint = place
        .hub
        .url()
        .replace("http://", "http://someone:PASSW%6Frd@");
    place.succeeds("a login");
    let asked = place.hub.take_asked();
    let expected = Some("Basic c29tZW9uZTpQQVNTV29yZA=="); // someone:PASSWord
    assert!(asked.iter().all(|a| a.authorization.as_deref() == expected));
    assert_no_secret(&other.take_asked(), &["someone", "PASSW", "c29tZW9u"]);

    for status in [
        "401 Unauthorized",
        "404 Not Found",
        "500 Internal Server Error",
    ] {
        let mut place = Place::answering(move |_, _| Reply::status(status));
        place.config.endpoint = place.hub.url().replace("http://", "http://user:PASSWord@");
        let text = place.fails(status).to_string();
        assert!(!text.contains("PASSWord"), "{text}");
    }
    let mut place = Place::new();
    place.config.endpoint = "http://user:PASSWord@127.0.0.1:1".to_owned();
    let text = place.fails("nobody there").to_string();
    assert!(!text.contains("PASSWord"), "{text}");
    assert!(text.contains("http://127.0.0.1:1"), "{text}");
}

#[test]
fn redirects_that_lead_nowhere_are_errors_soon() {
    type Location = fn(&Request) -> String;
    let cases: [(&str, Location); 9] = [
        ("a loop", |a| a.path.clone()),
        ("an absolute loop", |a| {
            format!("http://{}{}", a.header("host").unwrap(), a.path)
        }),
        ("*", |_| "*".to_owned()),
        ("?x=1", |_| "?x=1".to_owned()),
        ("a word", |_| "foo/bar".to_owned()),
        ("empty", |_| String::new()),
        ("//", |_| "//".to_owned()),
        ("a local file", |_| "file:///etc/passwd".to_owned()),
        ("ftp", |_| "ftp://x/y".to_owned()),
    ];
    for (name, location) in cases {
        for list in [true, false] {
            let place = Place::answering(move |asked, usual| match asked.is_list() == list {
                true => Reply::redirect(&location(asked)),
                false => usual,
            });
            let error = place.fails(name);
            assert!(matches!(error, HubError::Server { .. }), "{name}: {error}");
            let asked = place.hub.take_asked().len();
            assert!(asked <= 12, "{name}: {asked} requests");
        }
    }
}

#[test]
fn a_redirect_without_an_address_is_an_error() {
    for status in [
        "302 Found",
        "308 Permanent Redirect",
        "304 Not Modified",
        "300 Multiple Choices",
        "305 Use Proxy",
        "204 No Content",
    ] {
        let place = Place::with_file(move |_, _| Reply::status(status));
        let error = place.fails(status);
        assert!(
            matches!(error, HubError::Server { .. }),
            "{status}: {error}"
        );
        assert!(error.to_string().contains(&status[..3]), "{error}");
    }
}

#[test]
fn every_kind_of_redirect_is_followed_ten_times() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let place = Place::with_list(move |asked, usual| match asked.path.contains("moved") {
            true => usual,
            false => Reply::status(status).with("Location", &format!("{}&moved", asked.path)),
        });
        place.succeeds(status);
    }
    for (hops, works) in [(9, true), (10, true), (11, false)] {
        let left = AtomicUsize::new(hops);
        let place = Place::with_list(move |asked, usual| {
            let more = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            match more.is_ok() {
                true => Reply::redirect(&asked.path),
                false => usual,
            }
        });
        assert_eq!(place.fetch().0.is_ok(), works, "{hops} redirects");
    }
}

#[test]
fn names_that_leave_the_cache_are_not_files() {
    for name in [
        "../../evil_vae.safetensors",
        "/tmp/evil_vae.safetensors",
        "a/../../../evil_vae.safetensors",
        "..\\evil_vae.safetensors",
        "C:evil_vae.safetensors",
        "x\0evil_vae.safetensors",
        "evil_vae\n.safetensors",
        "\x1b[31mevil_vae.safetensors",
        "",
    ] {
        let place = Place::with_entry(move |entry| entry["rfilename"] = name.into());
        let error = place.fails(name);
        assert!(
            matches!(error, HubError::NoMatch { .. }),
            "{name:?}: {error}"
        );
    }
    for name in ["a".repeat(300), "a/".repeat(2000)] {
        let name = format!("{name}_vae.safetensors");
        let place = Place::new();
        place.hub.publish(REPO, &[(&name, &weights())]);
        let error = place.fails(&name);
        assert!(matches!(error, HubError::NoMatch { .. }), "{error}");
    }
}

#[test]
fn names_with_any_other_character_are_asked_for_as_they_are() {
    for name in [
        "my vae.safetensors",
        "v#1 vae.safetensors",
        "vae?x=1.safetensors",
        "vae%2e%2e.safetensors",
        "vae%20b.safetensors",
        "vä_vae.safetensors",
        "vae+plus.safetensors",
        "vae&a=b.safetensors",
        "vae'q.safetensors",
        "vae[1].safetensors",
        "vae;x.safetensors",
        "sub dir/vae.safetensors",
        "~/vae.safetensors",
        "$HOME/vae.safetensors",
        "-rf_vae.safetensors",
    ] {
        let place = Place::new();
        place.hub.publish(REPO, &[(name, &weights())]);
        place.succeeds(name);
    }
}

#[test]
fn headers_that_are_paths_reach_no_file() {
    for header in ["ETag", "X-Linked-Etag", "X-Repo-Commit"] {
        for path in [
            "absolute",
            "/etc/evil",
            "../../../../victim",
            ".",
            "..",
            "",
            "a\tb",
        ] {
            let place = Place::new();
            let victim = place.home.path().join("victim").display().to_string();
            let value = match path {
                "absolute" => victim,
                path => path.to_owned(),
            };
            place
                .hub
                .answer_with(move |asked, usual| match asked.is_list() {
                    true => usual,
                    false => usual.with(header, &format!("\"{value}\"")),
                });
            place.succeeds(&format!("{header} {path}"));
        }
    }
    for field in ["sha256", "blobId", "sha"] {
        for path in ["/home/victim", "../../../../victim", "", "\x1b[31mx"] {
            let place = Place::with_list(move |_, usual| {
                let mut list: serde_json::Value = serde_json::from_slice(&usual.body).unwrap();
                match field {
                    "sha" => list["sha"] = path.into(),
                    "blobId" => list["siblings"][0]["blobId"] = path.into(),
                    _ => list["siblings"][0]["lfs"]["sha256"] = path.into(),
                }
                json(&list)
            });
            match field {
                "sha" => {
                    let text = place.fails(path).to_string();
                    assert!(!text.contains('\x1b'), "{text}");
                }
                _ => place.succeeds(path),
            }
        }
    }
}

#[test]
fn one_flipped_byte_is_noticed() {
    let place = Place::with_file(|asked, _| {
        Reply::new("206 Partial Content", &[], &flipped()[asked.from()..])
    });
    let error = place.fails("a flipped byte");
    assert!(
        matches!(
            &error,
            HubError::Damaged { file, found, listed, .. }
                if file == FILE && *found == sha256(&flipped()) && *listed == sha256(&weights())
        ),
        "{error:?}"
    );
    let left = files_below(&place.in_cache("blobs"));
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        place.hub.take_asked().len(),
        3,
        "the list, and the file twice"
    );

    let times = AtomicUsize::new(0);
    let place = Place::with_file(move |asked, usual| {
        match asked.path.contains("/cdn/") && times.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Reply::new("206 Partial Content", &[], &flipped()[asked.from()..]),
            false => usual,
        }
    });
    place.succeeds("a byte flipped once");
}

#[test]
fn small_files_have_a_hash_too() {
    let config: &[u8] = br#"{"_class_name": "AutoencoderKLWan", "z_dim": 16}"#;
    let files = [
        ("config.json", config),
        ("diffusion_pytorch_model.safetensors", &weights()),
    ];
    let place = Place::new();
    place.hub.publish(REPO, &files);
    place.succeeds("a diffusers model");

    let place = Place::with_file(|asked, usual| match asked.path.contains("resolve-cache") {
        true => Reply::new(
            "206 Partial Content",
            &[],
            br#"{"_class_name": "AutoencoderKLWan", "z_dim": 61}"#,
        ),
        false => usual,
    });
    place.hub.publish(REPO, &files);
    let error = place.fails("another config");
    assert!(
        matches!(&error, HubError::Damaged { file, kind: "git hash", .. } if file == "config.json"),
        "{error:?}"
    );
}

#[test]
fn a_part_that_is_not_what_it_should_be_heals() {
    let zeros_behind = [&weights()[..100_000], &[0; 50_000]].concat();
    for (name, part) in [
        ("zeros", vec![0; 100_000]),
        ("a tail of zeros", zeros_behind),
        ("longer than the file", vec![0; weights().len() + 5]),
        ("as long as the file", vec![0; weights().len()]),
        ("the whole file", weights()),
        ("a part of the file", weights()[..70_001].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let place = Place::new();
        place.plant_part(&part);
        place.succeeds(name);
        assert!(!place.part().exists(), "{name}");
    }
    let place = Place::new();
    std::fs::create_dir_all(place.part()).unwrap();
    let error = place.fails("a folder");
    assert!(
        matches!(&error, HubError::Cache { path, .. } if *path == place.part()),
        "{error:?}"
    );
}

#[cfg(unix)]
#[test]
fn planted_links_are_not_followed() {
    let hash = sha256(&weights());
    let commit = {
        let place = Place::new();
        place.succeeds("to learn the commit");
        std::fs::read_to_string(place.in_cache("refs/main")).unwrap()
    };
    for path in [
        format!("models--o--n/blobs/{hash}.part"),
        format!("models--o--n/blobs/{hash}"),
        format!("models--o--n/blobs/{hash}.lock"),
        format!(".locks/models--o--n/{hash}.lock"),
        "models--o--n/refs/main".to_owned(),
        format!("models--o--n/snapshots/{commit}/{FILE}"),
    ] {
        let place = Place::new();
        let path = place.config.cache.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(place.home.path().join("victim"), &path).unwrap();
        place.succeeds(&path.display().to_string());
    }
    for folder in ["models--o--n/blobs", "models--o--n/snapshots", ".locks"] {
        let place = Place::new();
        let (path, elsewhere) = (
            place.config.cache.join(folder),
            tempfile::tempdir().unwrap(),
        );
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
        let error = place.fails(folder);
        assert!(
            matches!(&error, HubError::Cache { path: at, .. } if *at == path),
            "{error:?}"
        );
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}

#[test]
fn sizes_that_lie_are_noticed() {
    for size in [0, 1000, 1 << 40, u64::MAX] {
        let place = Place::with_entry(move |entry| entry["size"] = size.into());
        let error = place.fails("another size");
        assert!(
            matches!(error, HubError::Server { .. } | HubError::Damaged { .. }),
            "{size}: {error}"
        );
    }
    let place = Place::with_entry(|entry| entry["size"] = (-1).into());
    place.fails("a negative size");
    let place = Place::with_entry(|entry| entry["size"] = serde_json::Value::Null);
    place.succeeds("no size beside that of the large file");

    let place = Place::with_file(|_, usual| {
        usual.with("Content-Range", "bytes 0-199999/9223372036854775807")
    });
    place.fails("a huge range");
    let place = Place::with_file(|_, usual| {
        let longer = weights().len() + 100;
        usual
            .without("Content-Range")
            .with("Content-Length", &longer.to_string())
    });
    place.fails("a body that ends early");
}

#[test]
fn an_endless_body_ends_at_the_listed_size() {
    let place = Place::with_file(|asked, usual| match asked.path.contains("/cdn/") {
        true => {
            let body = [weights(), vec![0; 4 << 20]].concat();
            Reply::new("206 Partial Content", &[], &body[asked.from()..]).without("Content-Length")
        }
        false => usual,
    });
    let error = place.fails("too many bytes");
    assert!(matches!(error, HubError::Server { .. }), "{error}");
    let kept: u64 = files_below(&place.config.cache)
        .iter()
        .map(|f| f.metadata().unwrap().len())
        .sum();
    assert!(kept <= weights().len() as u64, "{kept} bytes are kept");
}

#[test]
fn what_is_compressed_is_refused() {
    for list in [true, false] {
        let place = Place::answering(move |asked, usual| match asked.is_list() == list {
            true => usual.with("Content-Encoding", "gzip"),
            false => usual,
        });
        let error = place.fails("gzip");
        assert!(error.to_string().contains("compressed"), "{error}");
        let asked = place.hub.take_asked();
        assert!(
            asked
                .iter()
                .all(|a| a.header("accept-encoding") == Some("identity"))
        );
    }
}

#[test]
fn lists_that_are_none_are_errors() {
    let lists: [(&str, Vec<u8>); 6] = [
        ("HTML", b"<html>\x1b[31m".to_vec()),
        ("nothing", Vec::new()),
        ("deep", b"[".repeat(1_000_000)),
        ("other types", br#"{"sha":1,"siblings":"x"}"#.to_vec()),
        ("no commit", br#"{"siblings":[]}"#.to_vec()),
        ("half", br#"{"sha":"0123"#.to_vec()),
    ];
    for (name, body) in lists {
        let place = Place::with_list(move |_, _| Reply::new("200 OK", &[], &body));
        let error = place.fails(name);
        assert!(matches!(error, HubError::Server { .. }), "{name}: {error}");
        assert!(!error.to_string().contains('\x1b'), "{error}");
    }
    let commit = "a".repeat(40);
    let empty = serde_json::json!({ "sha": commit, "siblings": [] });
    let place = Place::with_list(move |_, _| json(&empty));
    assert!(matches!(place.fails("no files"), HubError::NoMatch { .. }));
}

#[test]
fn answers_that_are_no_http_are_errors() {
    let many: String = (0..50_000).map(|i| format!("X{i}: a\r\n")).collect();
    let ok = "HTTP/1.1 200 OK\r\n";
    let answers: [(&str, Vec<u8>); 7] = [
        ("another protocol", b"SSH-2.0-OpenSSH\r\n".to_vec()),
        (
            "a huge header",
            format!("{ok}X: {}\r\n\r\n", "a".repeat(2_000_000)).into_bytes(),
        ),
        ("many headers", format!("{ok}{many}\r\n").into_bytes()),
        (
            "a lie about a chunk",
            format!("{ok}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nabc\r\n")
                .into_bytes(),
        ),
        (
            "no chunk",
            format!("{ok}Transfer-Encoding: chunked\r\n\r\nxyz\r\n").into_bytes(),
        ),
        ("half a header", b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        ("a zero", vec![0; 100]),
    ];
    for (name, bytes) in answers {
        for list in [true, false] {
            let bytes = bytes.clone();
            let place = Place::answering(move |asked, usual| match asked.is_list() == list {
                true => Reply::new("", &[], &bytes).sent(Delivery::Raw),
                false => usual,
            });
            let error = place.fails(name);
            assert!(
                matches!(
                    error,
                    HubError::Server { .. } | HubError::NoNetwork { .. } | HubError::Broken { .. }
                ),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn a_list_without_end_is_cut() {
    let place = Place::with_list(|_, _| {
        let chunk = [
            b"100000\r\n".to_vec(),
            vec![b' '; 0x10_0000],
            b"\r\n".to_vec(),
        ]
        .concat();
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let body = [head, chunk.repeat(80)].concat();
        Reply::new("", &[], &body).sent(Delivery::Raw)
    });
    let error = place.fails("80 MB of a list");
    assert!(matches!(error, HubError::Server { .. }), "{error}");
}

#[test]
fn refusals_have_their_cause_and_what_helps() {
    let list = |status: &'static str| Place::with_list(move |_, _| Reply::status(status));
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let error = list(status).fails(status);
        assert!(matches!(error, HubError::Denied { .. }), "{error}");
    }
    let error = list("404 Not Found").fails("404");
    assert!(matches!(error, HubError::NoRepo { .. }), "{error}");
    for status in ["400 Bad Request", "410 Gone", "500 Error", "429 Slow Down"] {
        let place = Place::with_list(move |_, _| {
            Reply::new(status, &[("Retry-After", "3600")], b"\x1b[31mno")
        });
        let error = place.fails(status);
        assert!(matches!(error, HubError::Server { .. }), "{error}");
        assert!(error.to_string().contains(&status[..3]), "{error}");
    }
    for (status, file_error) in [
        ("401 Unauthorized", "denied"),
        ("403 Forbidden", "denied"),
        ("404 Not Found", "404"),
        ("429 Too Many Requests", "broke"),
        ("503 Service Unavailable", "broke"),
    ] {
        let place =
            Place::with_file(move |_, _| Reply::new(status, &[("Retry-After", "3600")], b"no"));
        let error = place.fails(status).to_string();
        assert!(error.contains(file_error), "{error}");
    }
}

#[test]
fn a_gated_model_is_named_with_the_page_of_its_terms() {
    for list in [true, false] {
        for (status, gated) in [("401 Unauthorized", true), ("403 Forbidden", false)] {
            let place = Place::answering(move |asked, usual| match asked.is_list() == list {
                true if gated => Reply::new(status, &[("X-Error-Code", "GatedRepo")], b""),
                true => Reply::status(status),
                false => usual,
            });
            let error = place.fails(status);
            assert!(
                matches!(error, HubError::Denied { gated: found, .. } if found == gated),
                "{error}"
            );
            let page = format!("{}/{REPO}", place.hub.url());
            assert!(error.to_string().contains(&page), "{error}");
        }
    }
}

#[test]
fn a_cached_model_works_whatever_the_hub_answers() {
    let place = Place::new();
    place.succeeds("to fill the cache");
    for status in [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "302 Found",
        "999 Odd",
    ] {
        place.hub.answer_with(move |_, _| Reply::status(status));
        place.uses_the_cache(status);
    }
    place.hub.answer_with(|_, _| {
        Reply::new("200 OK", &[("Content-Type", "text/html")], b"<html>log in")
    });
    let warning = place.uses_the_cache("a portal");
    assert!(warning.contains("not a list of files"), "{warning}");
    assert!(warning.contains("cache"), "{warning}");
    place
        .hub
        .answer_with(|_, usual| usual.sent(Delivery::HangUp));
    place.uses_the_cache("a connection that breaks");
    place
        .hub
        .answer_with(|_, _| Reply::redirect("http://127.0.0.1:1/portal"));
    place.uses_the_cache("a redirect to nobody");
    let Place { hub, home, config } = place;
    drop(hub);
    let found = vae2x_hub::resolve(REPO, &config, &mut |_| ()).unwrap();
    assert!(found.starts_with(home.path()), "{found:?}");
}

#[test]
fn a_new_version_that_does_not_arrive_leaves_the_old_one_in_use() {
    for status in ["503 Service Unavailable", "403 Forbidden", "404 Not Found"] {
        let place = Place::new();
        place.succeeds("to fill the cache");
        place.hub.publish(REPO, &[(FILE, b"new weights")]);
        place
            .hub
            .answer_with(move |asked, usual| match asked.is_list() {
                true => usual,
                false => Reply::status(status),
            });
        place.uses_the_cache(status);
        place.hub.answer_as_usual();
        let found = place.fetch().0.unwrap();
        assert_eq!(std::fs::read(found.weights).unwrap(), b"new weights");
    }
}

#[test]
fn the_list_is_asked_for_again() {
    for reply in [
        Reply::status("503 Service Unavailable"),
        Reply::status("429 Too Many Requests"),
        Reply::status("").sent(Delivery::HangUp),
    ] {
        let times = AtomicUsize::new(0);
        let place =
            Place::with_list(
                move |_, usual| match times.fetch_add(1, Ordering::SeqCst) < 2 {
                    true => reply.clone(),
                    false => usual,
                },
            );
        place.succeeds("two failures");
    }
}

#[test]
fn a_mirror_may_leave_out_what_it_does_not_know() {
    let place = Place::with_file(|_, usual| {
        usual
            .without("ETag")
            .without("X-Linked-Etag")
            .without("X-Linked-Size")
            .without("X-Repo-Commit")
            .without("Content-Range")
    });
    place.hub.break_after(70_000, 1);
    place.succeeds("no headers, and a range");

    let no_hashes = |entry: &mut serde_json::Value| {
        *entry = serde_json::json!({ "rfilename": entry["rfilename"] });
    };
    let place = Place::with_entry(no_hashes);
    place.hub.break_after(70_000, 1);
    place.succeeds("no sizes and hashes");
    assert!(place.in_cache("blobs").join(sha256(&weights())).is_file());
    place.succeeds("again");

    // Without a hash in the list, that of the redirect counts.
    let place = Place::answering(move |asked, usual| {
        if asked.is_list() {
            let mut list: serde_json::Value = serde_json::from_slice(&usual.body).unwrap();
            no_hashes(&mut list["siblings"][0]);
            return json(&list);
        }
        match asked.path.contains("/cdn/") {
            true => Reply::new("200 OK", &[], &flipped()),
            false => usual,
        }
    });
    let error = place.fails("a flipped byte");
    assert!(matches!(error, HubError::Damaged { .. }), "{error}");

    let place = Place::with_file(|asked, usual| match asked.path.contains("moved") {
        true => usual,
        false => Reply::status("308 Permanent Redirect")
            .with("Location", &format!("{}?moved", asked.path)),
    });
    place.succeeds("308");
}

#[test]
fn an_empty_file_has_no_first_byte() {
    let place = Place::new();
    place.hub.publish(REPO, &[(FILE, b"")]);
    let found = place.fetch().0.unwrap();
    assert_eq!(std::fs::read(found.weights).unwrap(), b"");
    let place = Place::with_entry(|entry| {
        *entry = serde_json::json!({ "rfilename": entry["rfilename"] });
    });
    place.hub.publish(REPO, &[(FILE, b"")]);
    assert!(place.fetch().0.is_ok());
}

#[test]
fn transfers_that_break_are_taken_up_again() {
    for delivery in [Delivery::CutAfter(50_000), Delivery::HangUp] {
        let times = AtomicUsize::new(0);
        let place =
            Place::with_file(
                move |_, usual| match times.fetch_add(1, Ordering::SeqCst) < 2 {
                    true => usual.sent(delivery),
                    false => usual,
                },
            );
        place.succeeds("two breaks");
    }
    for (name, delivery) in [
        ("always cut", Delivery::CutAfter(1000)),
        ("always closed", Delivery::HangUp),
    ] {
        let place = Place::with_file(move |_, usual| usual.sent(delivery));
        let error = place.fails(name);
        assert!(matches!(error, HubError::Broken { .. }), "{name}: {error}");
    }
    // Far more breaks than attempts, each after a good part of the file.
    let big: Vec<u8> = vec![7; 8 << 20];
    let place = Place::new();
    place.hub.publish(REPO, &[(FILE, &big)]);
    place.hub.break_after((1 << 20) + 1, 7);
    let found = place.fetch().0.unwrap();
    assert_eq!(std::fs::read(found.weights).unwrap(), big);
}

#[test]
fn a_content_server_whose_address_expired_is_asked_for_again() {
    let other = FakeHub::start();
    other.publish(REPO, &[(FILE, &weights())]);
    let times = AtomicUsize::new(0);
    other.answer_with(move |_, usual| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new("403 Forbidden", &[("X-Error-Code", "GatedRepo")], b""),
        _ => usual,
    });
    let place = Place::new();
    place.hub.redirect_content_to(&other);
    place.succeeds("an expired address");
    other.answer_with(|_, _| Reply::status("403 Forbidden"));
    let place = Place::new();
    place.hub.redirect_content_to(&other);
    let error = place.fails("a content server that refuses");
    assert!(matches!(error, HubError::Broken { .. }), "{error}");
    assert!(error.to_string().contains(&other.url()), "{error}");
}

#[test]
fn another_range_than_asked_for_is_not_taken() {
    let place = Place::with_file(|asked, usual| match asked.from() {
        0 => usual,
        _ => usual.with("Content-Range", "bytes 5-199999/200000"),
    });
    place.hub.break_after(70_000, 1);
    place.succeeds("a wrong range");
    let place = Place::with_file(|asked, usual| match asked.from() {
        0 => usual,
        _ => Reply::status("416 Range Not Satisfiable"),
    });
    place.hub.break_after(70_000, 1);
    place.succeeds("no ranges");
}

#[test]
fn what_stalls_ends() {
    let drip = Delivery::Drip(Duration::from_millis(50));
    let files = Delivery::StallAfter(1000);
    let cases = [
        ("the list says nothing", true, Delivery::Silence),
        ("the list stops", true, Delivery::StallAfter(10)),
        ("the list drips", true, drip),
        ("a file says nothing", false, Delivery::Silence),
        ("a file stops", false, files),
        ("a file drips", false, drip),
        ("a file has headers alone", false, Delivery::StallAfter(0)),
    ];
    let ends = |(name, list, delivery): (&str, bool, Delivery)| {
        let mut place = Place::answering(move |asked, usual| {
            match asked.is_list() == list && !asked.path.contains("/resolve/") {
                true => usual.sent(delivery),
                false => usual,
            }
        });
        place.config.limits = LIMITS;
        let started = Instant::now();
        let error = place.fails(name);
        let took = started.elapsed();
        assert!(
            matches!(error, HubError::NoNetwork { .. } | HubError::Broken { .. }),
            "{name}: {error}"
        );
        assert!(took < Duration::from_secs(15), "{name}: {took:?}");
    };
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || ends(case));
        }
    });
}

#[test]
fn a_stalled_hub_does_not_hold_a_cached_model_up() {
    let mut place = Place::new();
    place.succeeds("to fill the cache");
    place.config.limits = LIMITS;
    place
        .hub
        .answer_with(|_, usual| usual.sent(Delivery::Silence));
    place.uses_the_cache("silence");
}

#[test]
fn a_second_program_waits_for_the_first() {
    let place = Place::with_file(|asked, usual| match asked.path.contains("/cdn/") {
        true => {
            std::thread::sleep(Duration::from_millis(500));
            usual
        }
        false => usual,
    });
    std::thread::scope(|scope| {
        let calls = [(); 3].map(|()| scope.spawn(|| place.fetch().0.unwrap()));
        for call in calls {
            let found = call.join().unwrap();
            assert_eq!(std::fs::read(found.weights).unwrap(), weights());
        }
    });
    let asked = place.hub.take_asked();
    let files = asked.iter().filter(|a| a.path.contains("/cdn/")).count();
    assert_eq!(files, 1, "the file comes once");
}

#[cfg(unix)]
#[test]
fn a_program_that_holds_the_lock_and_does_nothing_is_named() {
    let mut place = Place::new();
    place.config.limits = Limits {
        silence: Duration::from_millis(100),
        ..PATIENT
    };
    let lock = place
        .config
        .cache
        .join(".locks/models--o--n")
        .join(format!("{}.lock", sha256(&weights())));
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = std::fs::File::create(&lock).unwrap();
    held.lock().unwrap();
    let error = place.fails("a held lock");
    assert!(
        matches!(&error, HubError::Busy { lock: at, .. } if *at == lock),
        "{error:?}"
    );
    drop(held);
    place.succeeds("the lock is free");
}

#[test]
fn a_proxy_is_used_and_sees_no_token() {
    let proxy = FakeHub::start();
    proxy.answer_with(|_, _| Reply::status("502 Bad Gateway"));
    let mut place = Place::new();
    let address = proxy.url().replace("http://", "http://user:PASSWord@");
    place.config.proxies = Proxies {
        http: Some(address),
        ..Proxies::default()
    };
    let text = place.fails("a proxy that refuses").to_string();
    assert!(!text.contains("PASSWord"), "{text}");
    let asked = proxy.take_asked();
    assert_no_secret(&asked, &[TOKEN]);
    assert!(asked.iter().all(|a| a.method == "CONNECT"), "{asked:?}");
    assert!(place.hub.take_asked().is_empty());

    place.config.proxies.except = vec!["127.0.0.1".to_owned()];
    place.succeeds("a host without a proxy");
    assert!(proxy.take_asked().is_empty());
}

#[test]
fn an_address_of_the_hub_is_an_id() {
    let place = Place::new();
    let address = format!("{}/{REPO}/blob/main/{FILE}", place.hub.url());
    let found = vae2x_hub::resolve(&address, &place.config, &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(found).unwrap(), weights());
}

#[cfg(unix)]
#[test]
fn a_ref_that_cannot_be_written_is_a_warning() {
    let place = Place::new();
    std::fs::create_dir_all(place.in_cache("refs/main")).unwrap();
    let (found, warnings) = place.fetch();
    assert_eq!(std::fs::read(found.unwrap().weights).unwrap(), weights());
    assert!(warnings[0].contains("refs/main"), "{warnings:?}");
}

#[test]
fn a_damaged_blob_in_the_cache_is_fetched_again() {
    let place = Place::new();
    place.succeeds("to fill the cache");
    let blob = place.in_cache("blobs").join(sha256(&weights()));
    std::fs::write(&blob, &weights()[..1000]).unwrap();
    place.succeeds("a blob that is cut");
    std::fs::remove_file(&blob).unwrap();
    place.succeeds("a blob that is gone");
}

/// What `fuzz/fuzz_targets/hub_answers.rs` does for longer.
#[test]
fn any_bytes_are_an_answer_or_an_error() {
    let hash = sha256(b"");
    let list = format!(
        r#"{{"sha":"{}","siblings":[{{"rfilename":"a/b.pth","size":9,"blobId":"{}","lfs":{{"sha256":"{hash}"}}}}]}}"#,
        &hash[..40],
        &hash[..40]
    );
    let seeds = [
        list.as_str(),
        "bytes 5-9/10",
        &format!("W/\"{hash}\""),
        "https://user:word@cdn.example:8080/a/b%20c?d=e#f",
        "//[::1]:80/a/../b",
        "?x=1",
        "owner/name@refs/pr/1:folder/file.safetensors",
        "https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/dir/my%20vae.pth?download=true",
    ];
    const MARKS: &[u8] = b"/:@.%#?[]\"{}\\ \0-";
    let mut state = 1_u64;
    let mut below = |limit: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % limit.max(1)
    };
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..below(6) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, MARKS[below(MARKS.len())]),
                _ => bytes.extend_from_within(at..),
            }
        }
        read_anything(&bytes);
    }
}
