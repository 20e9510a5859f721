//! The settings of a fetch, from the environment variables that all Hugging Face programs read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::read_small;
use crate::error::{HubError, Result};
use crate::url::Url;

/// The public hub.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// A token has some 40 characters.
const MAX_TOKEN_FILE: u64 = 64 << 10;

/// Where to fetch from and where to.
#[derive(Clone, PartialEq)]
pub struct HubConfig {
    /// The folder of `models--owner--name` folders.
    pub cache: PathBuf,
    /// The hub's address, without a slash at its end. User and password in it are sent to it alone and never printed.
    pub endpoint: String,
    /// Use the cache alone; send nothing.
    pub offline: bool,
    /// Sent to `endpoint` as a bearer token.
    pub token: Option<String>,
    /// What connections go through.
    pub proxies: Proxies,
    /// A PEM file with the certificates to trust instead of the system's.
    pub certificates: Option<PathBuf>,
    /// How long to wait.
    pub limits: Limits,
}

/// Proxies for connections, as URLs. User and password in them are never printed.
#[derive(Clone, Default, PartialEq)]
pub struct Proxies {
    /// For https addresses.
    pub https: Option<String>,
    /// For http addresses.
    pub http: Option<String>,
    /// Hosts that are reached without one: `host`, `.domain`, `*.domain` or `*`.
    pub except: Vec<String>,
}

/// Time limits of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// To resolve a name and to connect, TLS included.
    pub connect: Duration,
    /// Until an answer begins, and between two pieces of it.
    pub silence: Duration,
    /// The head of an answer, and the list of files as a whole.
    pub answer: Duration,
    /// A file must bring [`Self::SLOWEST`] bytes per second in each such window.
    pub window: Duration,
    /// Before a second attempt; before a third one, twice as long.
    pub pause: Duration,
}

impl Limits {
    /// Bytes per second below which a transfer counts as stalled.
    pub const SLOWEST: u64 = 1024;
}

impl Default for Limits {
    /// Silence as in huggingface_hub, 10 seconds; a connection that works answers far sooner.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(10),
            silence: seconds(10),
            answer: seconds(30),
            window: seconds(20),
            pause: Duration::from_millis(300),
        }
    }
}

impl fmt::Debug for HubConfig {
    /// Leaves out what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("cache", &self.cache)
            .field("endpoint", &self.shown_endpoint())
            .field("offline", &self.offline)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("proxies", &self.proxies)
            .field("certificates", &self.certificates)
            .field("limits", &self.limits)
            .finish()
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("https", &self.https.as_deref().map(without_login))
            .field("http", &self.http.as_deref().map(without_login))
            .field("except", &self.except)
            .finish()
    }
}

impl HubConfig {
    /// The public hub and the cache under `home` (what `HF_HOME` names), without a token.
    pub fn at_home(home: impl Into<PathBuf>) -> Self {
        Self {
            cache: home.into().join("hub"),
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            offline: false,
            token: None,
            proxies: Proxies::default(),
            certificates: None,
            limits: Limits::default(),
        }
    }

    /// Reads `HF_HOME` (else `XDG_CACHE_HOME`, else `~/.cache`), `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`,
    /// the token file at `HF_TOKEN_PATH` or in `HF_HOME`, and `HF_HUB_DOWNLOAD_TIMEOUT`; `HTTPS_PROXY`, `HTTP_PROXY`,
    /// `ALL_PROXY` and `NO_PROXY`, in small letters too; and `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// [`HubError::Config`] if there is no home folder, the endpoint is no http address, or a value is malformed.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(&|name| {
            std::env::var_os(name).map(|v| v.to_string_lossy().into_owned())
        })
    }

    /// As [`Self::from_env`], with `variable` in place of the environment. Empty values count as none.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| {
            variable(name)
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())
        };
        let folder = |name: &str| set(name).map(|v| expand_home(&v));
        let home = match folder("HF_HOME") {
            Some(home) => home,
            None => folder("XDG_CACHE_HOME")
                .or_else(|| std::env::home_dir().map(|h| h.join(".cache")))
                .ok_or_else(|| {
                    invalid("HF_HOME", "it is not set, and this user has no home folder")
                })?
                .join("huggingface"),
        };
        let token_file = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let config = Self::at_home(home);
        Ok(Self {
            cache: folder("HF_HUB_CACHE").unwrap_or(config.cache),
            endpoint: set("HF_ENDPOINT")
                .map(check_endpoint)
                .transpose()?
                .unwrap_or(config.endpoint),
            offline: set("HF_HUB_OFFLINE").is_some_and(|v| is_true(&v)),
            token: set("HF_TOKEN")
                .map(Ok)
                .or_else(|| read_token(&token_file).transpose())
                .transpose()?
                .map(check_token)
                .transpose()?,
            proxies: Proxies::from_variables(&set),
            certificates: folder("SSL_CERT_FILE"),
            limits: set("HF_HUB_DOWNLOAD_TIMEOUT")
                .map(|v| check_seconds(&v))
                .transpose()?
                .map_or(config.limits, |silence| Limits {
                    silence,
                    ..config.limits
                }),
        })
    }

    /// The endpoint without user and password, for messages.
    pub(crate) fn shown_endpoint(&self) -> String {
        without_login(&self.endpoint)
    }
}

impl Proxies {
    fn from_variables(set: &dyn Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| set(&name.to_ascii_lowercase()).or_else(|| set(name));
        let all = either("ALL_PROXY");
        Self {
            https: either("HTTPS_PROXY").or_else(|| all.clone()),
            http: either("HTTP_PROXY").or(all),
            except: either("NO_PROXY")
                .unwrap_or_default()
                .split(',')
                .map(|host| host.trim().to_owned())
                .filter(|host| !host.is_empty())
                .collect(),
        }
    }
}

/// `scheme://user:password@host` without what stands before the `@`.
pub(crate) fn without_login(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}{}", &rest[host..])
}

fn invalid(name: &'static str, problem: impl Into<String>) -> HubError {
    HubError::Config {
        name,
        problem: problem.into(),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"]
        .iter()
        .any(|t| value.eq_ignore_ascii_case(t))
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

fn check_endpoint(endpoint: String) -> Result<String> {
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    match Url::parse_endpoint(&endpoint) {
        Ok(_) => Ok(endpoint),
        Err(problem) => Err(invalid(
            "HF_ENDPOINT",
            format!(
                "invalid URL '{}': {problem}; expected https://host",
                without_login(&endpoint)
            ),
        )),
    }
}

fn check_seconds(value: &str) -> Result<Duration> {
    match value.parse() {
        Ok(seconds @ 1..=3600_u64) => Ok(Duration::from_secs(seconds)),
        _ => Err(invalid(
            "HF_HUB_DOWNLOAD_TIMEOUT",
            format!("invalid number of seconds '{value}'; expected 1 to 3600"),
        )),
    }
}

/// A missing or unreadable token file means no token: most repositories need none.
fn read_token(file: &Path) -> Result<Option<String>> {
    let special = std::fs::metadata(file).is_ok_and(|m| !m.is_file());
    if special {
        let problem = format!("{} is not a regular file", file.display());
        return Err(invalid("the token file", problem));
    }
    let bytes = read_small(file, MAX_TOKEN_FILE).unwrap_or_default();
    let token = String::from_utf8(bytes).unwrap_or_default();
    Ok(Some(token.trim().to_owned()).filter(|token| !token.is_empty()))
}

/// The token goes into a header, where only visible ASCII may stand.
fn check_token(token: String) -> Result<String> {
    match token.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(token),
        false => Err(invalid(
            "HF_TOKEN",
            "the token (or the token file) has spaces or other invalid characters",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<HubConfig> {
        HubConfig::from_variables(&|name| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn variables_reach_their_fields() {
        let config = from(&[
            ("HF_HOME", "/h"),
            ("HF_ENDPOINT", "https://mirror.example/"),
            ("HF_HUB_OFFLINE", "YES"),
            ("HF_TOKEN", " hf_x\n"),
        ]);
        let expected = HubConfig {
            cache: "/h/hub".into(),
            endpoint: "https://mirror.example".into(),
            offline: true,
            token: Some("hf_x".into()),
            ..HubConfig::at_home("/h")
        };
        assert_eq!(config.unwrap(), expected);
        assert_eq!(
            from(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")])
                .unwrap()
                .cache,
            PathBuf::from("/c")
        );
        assert_eq!(
            from(&[("XDG_CACHE_HOME", "/x")]).unwrap().cache,
            PathBuf::from("/x/huggingface/hub")
        );
        assert!(from(&[]).unwrap().cache.ends_with(".cache/huggingface/hub"));
    }

    #[test]
    fn empty_variables_count_as_unset() {
        let config = from(&[
            ("HF_HOME", "/h"),
            ("HF_HUB_OFFLINE", ""),
            ("HF_ENDPOINT", ""),
            ("HF_TOKEN", ""),
        ])
        .unwrap();
        assert_eq!(config, HubConfig::at_home("/h"));
        assert!(!from(&[("HF_HUB_OFFLINE", "0")]).unwrap().offline);
    }

    #[test]
    fn the_token_file_stands_in_for_the_variable() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(
            from(&[("HF_HOME", path)]).unwrap().token.as_deref(),
            Some("hf_file")
        );
        assert_eq!(
            from(&[("HF_HOME", path), ("HF_TOKEN", "hf_env")])
                .unwrap()
                .token
                .as_deref(),
            Some("hf_env")
        );
        std::fs::write(home.path().join("other"), "hf_other").unwrap();
        let other = home.path().join("other");
        let config = from(&[
            ("HF_HOME", path),
            ("HF_TOKEN_PATH", other.to_str().unwrap()),
        ])
        .unwrap();
        assert_eq!(config.token.as_deref(), Some("hf_other"));
    }

    #[test]
    fn unusable_values_name_their_variable() {
        let endpoint = from(&[("HF_HOME", "/h"), ("HF_ENDPOINT", "mirror.example")]).unwrap_err();
        assert!(
            matches!(
                &endpoint,
                HubError::Config { name: "HF_ENDPOINT", problem }
                    if problem.contains("mirror.example")
            ),
            "{endpoint:?}"
        );
        let token = from(&[("HF_HOME", "/h"), ("HF_TOKEN", "two words")]).unwrap_err();
        assert!(
            matches!(
                &token,
                HubError::Config { name: "HF_TOKEN", problem } if !problem.contains("two words")
            ),
            "a token is a secret"
        );
    }

    #[test]
    fn endpoints_are_addresses_of_a_host() {
        for wrong in [
            "http://",
            "https://",
            "ftp://x",
            "localhost",
            "file:///etc",
            "http://[::1",
            "http://exa mple",
            "http://\u{1b}[31m",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:1/a/b?x#y",
        ] {
            let error = from(&[("HF_HOME", "/h"), ("HF_ENDPOINT", wrong)]).unwrap_err();
            assert!(
                matches!(
                    error,
                    HubError::Config {
                        name: "HF_ENDPOINT",
                        ..
                    }
                ),
                "{wrong}: {error}"
            );
        }
        for right in ["http://[::1]:8080", "https://u:p@host/artifactory/api/hub"] {
            let config = from(&[("HF_HOME", "/h"), ("HF_ENDPOINT", right)]).unwrap();
            assert_eq!(config.endpoint, right);
        }
        let error = from(&[("HF_HOME", "/h"), ("HF_ENDPOINT", "http://u:secret@a b")]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn proxies_are_chosen_by_scheme() {
        let config = from(&[
            ("HF_HOME", "/h"),
            ("https_proxy", "http://small"),
            ("HTTPS_PROXY", "http://large"),
            ("ALL_PROXY", "http://all"),
            ("NO_PROXY", "localhost, .example.org,"),
        ])
        .unwrap();
        let expected = Proxies {
            https: Some("http://small".into()),
            http: Some("http://all".into()),
            except: vec!["localhost".into(), ".example.org".into()],
        };
        assert_eq!(config.proxies, expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_that_is_a_device_is_refused_by_name() {
        let device = [("HF_HOME", "/h"), ("HF_TOKEN_PATH", "/dev/zero")];
        let error = from(&device).unwrap_err();
        assert!(error.to_string().contains("/dev/zero"), "{error}");
    }

    #[test]
    fn an_endless_token_file_is_no_token() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), vec![b'a'; 5_000_000]).unwrap();
        let config = from(&[("HF_HOME", home.path().to_str().unwrap())]).unwrap();
        assert_eq!(config.token, None);
    }

    #[test]
    fn debug_output_hides_secrets() {
        let config = HubConfig {
            token: Some("hf_secret".into()),
            endpoint: "https://user:secret@host/path".into(),
            proxies: Proxies {
                https: Some("http://user:secret@proxy:1".into()),
                http: Some("user:secret@proxy:1".into()),
                ..Proxies::default()
            },
            ..HubConfig::at_home("/h")
        };
        let debug = format!("{config:?}");
        assert!(!debug.contains("secret"), "{debug}");
        assert!(debug.contains("https://host/path"), "{debug}");
    }
}
