//! The settings of a fetch, from the environment variables that all Hugging Face programs read.

use std::path::PathBuf;

use crate::error::{HubError, Result};

/// The public hub.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Where to fetch from and where to.
#[derive(Clone, PartialEq)]
pub struct HubConfig {
    /// The folder of `models--owner--name` folders.
    pub cache: PathBuf,
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// Use the cache alone; send nothing.
    pub offline: bool,
    /// Sent to `endpoint` as a bearer token.
    pub token: Option<String>,
}

impl std::fmt::Debug for HubConfig {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cache,
            endpoint,
            offline,
            token,
        } = self;
        let token = token.as_ref().map(|_| "***");
        write!(
            f,
            "HubConfig {{ cache: {cache:?}, endpoint: {endpoint:?}, offline: {offline}, token: {token:?} }}"
        )
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
        }
    }

    /// Reads `HF_HOME` (else `XDG_CACHE_HOME`, else `~/.cache`), `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`,
    /// and the token file at `HF_TOKEN_PATH` or in `HF_HOME`.
    ///
    /// # Errors
    /// [`HubError::Config`] if there is no home folder, the endpoint is no http address, or the token is malformed.
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
                .or_else(|| read_token(token_file))
                .map(check_token)
                .transpose()?,
        })
    }
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
    let valid = ["https://", "http://"]
        .iter()
        .any(|scheme| endpoint.len() > scheme.len() && endpoint.starts_with(scheme));
    match valid {
        true => Ok(endpoint.trim_end_matches('/').to_owned()),
        false => Err(invalid(
            "HF_ENDPOINT",
            format!("invalid URL '{endpoint}'; expected https://host"),
        )),
    }
}

/// A missing or unreadable token file means no token: most repositories need none.
fn read_token(file: PathBuf) -> Option<String> {
    let token = std::fs::read_to_string(file).ok()?.trim().to_owned();
    (!token.is_empty()).then_some(token)
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
    fn debug_output_hides_the_token() {
        let config = HubConfig {
            token: Some("hf_secret".into()),
            ..HubConfig::at_home("/h")
        };
        assert!(!format!("{config:?}").contains("hf_secret"));
    }
}
