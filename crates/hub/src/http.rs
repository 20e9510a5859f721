//! Requests to a hub and to where it redirects.
//!
//! Redirects are followed here, not by ureq: at most [`MAX_REDIRECTS`], with the credential only as long as scheme, host and
//! port are the endpoint's, and never again once they were not. Answers in a compressed form, which nobody asked for, are
//! refused. Limits on time are those of [`crate::config::Limits`].
//!
//! Certificates are the system's, through rustls-native-certs, which reads `SSL_CERT_DIR` too and adds two small crates; ureq's
//! platform verifier would add one more and its own dependencies. A system without any gets the ones built into the program.

use std::cell::OnceCell;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderName, Response, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy, Timeout};

use crate::cache::read_small;
use crate::config::{HubConfig, without_login};
use crate::error::{HubError, Result};
use crate::remote::{Hash, linked_sha256};
use crate::url::Url;

/// As in curl's and ureq's defaults, a little less than browsers follow.
const MAX_REDIRECTS: usize = 10;
/// Bytes of a list of files: a repository of 100,000 files has some 30 MB.
const MAX_LIST: u64 = 64 << 20;
/// Bytes of a file of certificates; that of a usual system has 0.2 MB.
const MAX_CERTIFICATES: u64 = 16 << 20;

/// What asks a hub.
pub(crate) struct Client<'a> {
    config: &'a HubConfig,
    endpoint: Url,
    /// The value of the `Authorization` header.
    credential: Option<String>,
    plain: OnceCell<Agent>,
    encrypted: OnceCell<Agent>,
}

/// An answer that is not a redirect.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The hub said that the repository is gated.
    pub(crate) gated: bool,
    /// The hash that the endpoint, not a server that it redirects to, gave in `X-Linked-ETag`.
    pub(crate) linked: Option<Hash>,
    /// The server that answered, if it is not the endpoint.
    pub(crate) elsewhere: Option<String>,
    headers: HeaderMap,
    body: Body,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection failed, stalled or broke.
    Network(String),
    /// The server answered, but not in a way that can be used.
    Answer(String),
    /// The settings cannot be used.
    Config(HubError),
}

/// What to ask for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ask {
    /// The first byte that is wanted.
    pub(crate) from: Option<u64>,
    /// Limit the time of the whole answer to that of a list.
    pub(crate) list: bool,
}

impl<'a> Client<'a> {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`HubError::Config`] if the endpoint is no address.
    pub(crate) fn new(config: &'a HubConfig) -> Result<Self> {
        let (endpoint, login) = Url::parse_endpoint(&config.endpoint).map_err(|problem| {
            let shown = config.shown_endpoint();
            HubError::Config {
                name: "HF_ENDPOINT",
                problem: format!("invalid URL '{shown}': {problem}"),
            }
        })?;
        // As in huggingface_hub, a login in the address comes before the token.
        let credential = match (login, &config.token) {
            (Some(login), _) => Some(basic(&login)),
            (None, Some(token)) => Some(format!("Bearer {token}")),
            (None, None) => None,
        };
        Ok(Self {
            config,
            endpoint,
            credential,
            plain: OnceCell::new(),
            encrypted: OnceCell::new(),
        })
    }

    /// Asks for `path`, which is escaped, below the endpoint.
    pub(crate) fn get(&self, path: &str, ask: Ask) -> Result<Answer, Failure> {
        let mut url = self.endpoint.below(path);
        let mut credential = self.credential.as_deref();
        let mut at_endpoint = true;
        let mut linked = None;
        let started = Instant::now();
        for _ in 0..=MAX_REDIRECTS {
            if started.elapsed() > self.config.limits.answer {
                return Err(Failure::Network("redirects without end".to_owned()));
            }
            let response = self.send(&url, credential, ask)?;
            let headers = response.headers();
            if at_endpoint && linked.is_none() {
                linked = headers
                    .get("x-linked-etag")
                    .and_then(|etag| linked_sha256(etag.as_bytes()));
            }
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                let gated = at_endpoint
                    && headers
                        .get("x-error-code")
                        .is_some_and(|code| code == "GatedRepo");
                let (parts, body) = response.into_parts();
                return Ok(Answer {
                    status,
                    gated,
                    linked,
                    elsewhere: (!at_endpoint).then(|| url.origin()),
                    headers: parts.headers,
                    body,
                });
            }
            let location = headers.get(header::LOCATION).ok_or_else(|| {
                Failure::Answer(format!("HTTP {status}, a redirect without an address"))
            })?;
            url = url.join(location.as_bytes()).map_err(|problem| {
                Failure::Answer(format!("HTTP {status}, a redirect to {problem}"))
            })?;
            if !url.same_origin(&self.endpoint) {
                (credential, at_endpoint) = (None, false);
            }
        }
        Err(Failure::Answer(format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    fn send(
        &self,
        url: &Url,
        credential: Option<&str>,
        ask: Ask,
    ) -> Result<Response<Body>, Failure> {
        let mut request = self
            .agent(url)?
            .get(url.to_string())
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some(from) = ask.from {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        if let Some(credential) = credential {
            request = request.header(header::AUTHORIZATION, credential);
        }
        let limit = ask.list.then_some(self.config.limits.answer);
        let response = request.config().timeout_global(limit).build().call();
        response.map_err(|e| failure(&e, self.config))
    }

    fn agent(&self, url: &Url) -> Result<&Agent, Failure> {
        let (agent, tls) = match url.is_https() {
            true => (&self.encrypted, true),
            false => (&self.plain, false),
        };
        if let Some(agent) = agent.get() {
            return Ok(agent);
        }
        let built = self.build_agent(tls).map_err(Failure::Config)?;
        Ok(agent.get_or_init(|| built))
    }

    fn build_agent(&self, tls: bool) -> Result<Agent> {
        let limits = &self.config.limits;
        let config = Agent::config_builder()
            .user_agent(concat!("vae2x/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy(self.config, tls)?)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_send_request(Some(limits.answer))
            .timeout_recv_response(Some(limits.answer))
            .timeout_per_read(Some(limits.silence));
        let config = match tls {
            true => config.tls_config(
                TlsConfig::builder()
                    .root_certs(root_certs(self.config)?)
                    .build(),
            ),
            false => config,
        };
        Ok(config.build().new_agent())
    }
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&[u8]> {
        self.headers.get(name).map(|value| value.as_bytes())
    }

    /// The bytes that are announced.
    pub(crate) fn length(&self) -> Option<u64> {
        let length = std::str::from_utf8(self.header(header::CONTENT_LENGTH)?).ok()?;
        length.trim().parse().ok()
    }

    /// Whether the body is not what was asked for but a compressed form of it.
    pub(crate) fn is_compressed(&self) -> bool {
        self.header(header::CONTENT_ENCODING)
            .is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
    }

    pub(crate) fn into_reader(self) -> impl Read {
        self.body.into_reader()
    }

    /// The whole body of a list.
    pub(crate) fn into_list(self, config: &HubConfig) -> Result<Vec<u8>, Failure> {
        if self.is_compressed() {
            return Err(Failure::Answer(
                "a compressed list, which was not asked for".to_owned(),
            ));
        }
        let mut bytes = Vec::new();
        let read = self
            .into_reader()
            .take(MAX_LIST + 1)
            .read_to_end(&mut bytes);
        match read {
            Err(e) => Err(Failure::Network(explain_io(&e, config))),
            Ok(_) if bytes.len() as u64 > MAX_LIST => Err(Failure::Answer(format!(
                "a list of more than {} MB",
                MAX_LIST >> 20
            ))),
            Ok(_) => Ok(bytes),
        }
    }
}

/// The reason of an error while a body is read.
pub(crate) fn explain_io(error: &io::Error, config: &HubConfig) -> String {
    match error
        .get_ref()
        .and_then(|e| e.downcast_ref::<ureq::Error>())
    {
        Some(error) => explain(error, config),
        None => error.to_string(),
    }
}

fn explain(error: &ureq::Error, config: &HubConfig) -> String {
    let seconds = |limit: Duration, what| format!("{what} for {} s", limit.as_secs_f32());
    let limits = &config.limits;
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            seconds(limits.connect, "no connection")
        }
        ureq::Error::Timeout(Timeout::PerRead) => seconds(limits.silence, "no answer"),
        ureq::Error::Timeout(_) => seconds(limits.answer, "no complete answer"),
        ureq::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    }
}

fn failure(error: &ureq::Error, config: &HubConfig) -> Failure {
    use ureq::Error as E;
    let reason = explain(error, config);
    match error {
        E::Io(_)
        | E::Timeout(_)
        | E::HostNotFound
        | E::ConnectionFailed
        | E::ConnectProxyFailed(_)
        | E::Tls(_)
        | E::Rustls(_) => Failure::Network(reason),
        _ => Failure::Answer(reason),
    }
}

/// `user:password`, escaped as in an address, as the value of an `Authorization` header.
fn basic(login: &str) -> String {
    use base64::Engine;
    let login: Vec<u8> = percent_encoding::percent_decode_str(login).collect();
    let login = match login.contains(&b':') {
        true => login,
        false => [&login[..], b":"].concat(),
    };
    let digits = base64::engine::general_purpose::STANDARD.encode(login);
    format!("Basic {digits}")
}

fn proxy(config: &HubConfig, tls: bool) -> Result<Option<Proxy>> {
    let (name, url) = match tls {
        true => ("HTTPS_PROXY", &config.proxies.https),
        false => ("HTTP_PROXY", &config.proxies.http),
    };
    let Some(url) = url else {
        return Ok(None);
    };
    let invalid = |_| HubError::Config {
        name,
        problem: format!("invalid proxy '{}'", without_login(url)),
    };
    // Read once to check it, then built again, as only the builder takes exceptions.
    let read = Proxy::new(url).map_err(invalid)?;
    let mut builder = Proxy::builder(read.protocol())
        .host(read.host())
        .port(read.port());
    if let Some(user) = read.username() {
        builder = builder.username(user);
    }
    if let Some(password) = read.password() {
        builder = builder.password(password);
    }
    for host in &config.proxies.except {
        builder = builder.no_proxy(host);
    }
    builder.build().map(Some).map_err(invalid)
}

fn root_certs(config: &HubConfig) -> Result<RootCerts> {
    let certificates = match &config.certificates {
        Some(file) => certificates_of(file).map_err(|problem| HubError::Config {
            name: "SSL_CERT_FILE",
            problem: format!("{}: {problem}", file.display()),
        })?,
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect(),
    };
    Ok(match certificates.is_empty() {
        true => RootCerts::WebPki,
        false => RootCerts::new_with_certs(&certificates),
    })
}

fn certificates_of(file: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = read_small(file, MAX_CERTIFICATES).map_err(|e| e.to_string())?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err("no certificates in it".to_owned()),
        false => Ok(certificates),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_decoded_once() {
        assert_eq!(basic("martin:secret"), "Basic bWFydGluOnNlY3JldA==");
        assert_eq!(basic("martin"), "Basic bWFydGluOg==");
        assert_eq!(basic("u:p%40%2541"), basic("u:p@%2541"));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("ca.pem");
        std::fs::write(&file, "no PEM").unwrap();
        for file in [&file, &home.path().join("gone.pem")] {
            let config = HubConfig {
                certificates: Some(file.clone()),
                ..HubConfig::at_home(home.path())
            };
            let error = root_certs(&config).unwrap_err().to_string();
            assert!(error.contains("SSL_CERT_FILE"), "{error}");
            assert!(error.contains(file.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn an_unusable_proxy_is_named_without_its_password() {
        let mut config = HubConfig::at_home("/h");
        config.proxies.https = Some("nonsense://user:secret@host".into());
        let error = proxy(&config, true).unwrap_err().to_string();
        assert!(
            error.contains("HTTPS_PROXY") && !error.contains("secret"),
            "{error}"
        );
        assert!(proxy(&config, false).unwrap().is_none());
        config.proxies.http = Some("user:p%40ss@proxy:3128".into());
        config.proxies.except = vec!["localhost".into()];
        let http = proxy(&config, false).unwrap().unwrap();
        assert_eq!((http.host(), http.port()), ("proxy", 3128));
        assert_eq!(http.password(), Some("p@ss"));
        assert!(http.is_no_proxy(&"http://localhost/".parse().unwrap()));
    }
}
