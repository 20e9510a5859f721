//! Hubs that lie, stall, break, leak and reach for files that are not theirs.

mod answers;
mod contents;
mod credentials;
mod places;
mod redirects;
mod transfers;

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
