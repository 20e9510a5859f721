//! Addresses of http and https: what is asked for, where a redirect leads, and which of them are the same host.
//!
//! Only what a hub needs: no other schemes, no fragments, no dot segments, and names of hosts as they are given.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use ureq::http::Uri;

/// What a path segment may not hold; huggingface_hub escapes the same.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What servers leave unescaped in a `Location` although no address may hold it.
const STRAY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An address without user, password and fragment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Url {
    https: bool,
    /// In small letters; IPv6 in brackets.
    host: String,
    port: u16,
    /// Begins with `/`; with the query.
    path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

impl Url {
    /// Reads an absolute address; returns `user:password` of it apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<(Self, Option<String>), &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no http://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it is neither http nor https"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login.to_owned()), host),
            None => (None, authority),
        };
        let (host, port) = split_port(host)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = Self {
            https,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(if https { 443 } else { 80 }),
            path: format!("{slash}{path}"),
        };
        let valid = Uri::from_str(&url.to_string()).is_ok_and(|uri| uri.host().is_some());
        match valid && !url.host.is_empty() {
            true => Ok((url, login)),
            false => Err("it has no valid host or path"),
        }
    }

    /// Reads the address of a hub, which may have a path, but no query.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn parse_endpoint(text: &str) -> Result<(Self, Option<String>), &'static str> {
        match text.contains(['?', '#']) {
            true => Err("it has a query"),
            false => Self::parse(text),
        }
    }

    /// `scheme://host`, with the port unless it is the scheme's own.
    pub(crate) fn origin(&self) -> String {
        let (scheme, default) = match self.https {
            true => ("https", 443),
            false => ("http", 80),
        };
        match self.port == default {
            true => format!("{scheme}://{}", self.host),
            false => format!("{scheme}://{}:{}", self.host, self.port),
        }
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// The host, as in the address.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The path with the query.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether scheme, host and port are the same: what may see a credential of the other.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    /// The address of `path`, escaped and without a slash in front, below this one.
    pub(crate) fn below(&self, path: &str) -> Self {
        Self {
            path: format!("{}/{path}", self.path.trim_end_matches('/')),
            ..self.clone()
        }
    }

    /// Where a `Location` header leads from here. User and password in it are dropped.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn join(&self, location: &[u8]) -> Result<Self, &'static str> {
        let location = percent_encode(location.trim_ascii(), STRAY).to_string();
        let location = location.split('#').next().unwrap_or_default();
        if location.is_empty() {
            return Err("an empty address");
        }
        let reference = match location.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => {
                if !rest.starts_with("//") {
                    return Err("an address that is neither http nor https");
                }
                location.to_owned()
            }
            _ if location.starts_with("//") => {
                format!("{}:{location}", if self.https { "https" } else { "http" })
            }
            _ => format!("{}{}", self.origin(), self.relative(location)),
        };
        let (url, _) = Self::parse(&reference).map_err(|_| "an invalid address")?;
        Ok(url)
    }

    fn relative(&self, location: &str) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        match location.as_bytes().first() {
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            _ => {
                let folder = path.rsplit_once('/').unwrap_or_default().0;
                format!("{folder}/{location}")
            }
        }
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let host_end = match authority.find(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((host, None)),
        Some("") => Ok((host, None)),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(port @ 1..) => Ok((host, Some(port))),
            _ => Err("its port is not one of 1 to 65535"),
        },
        _ => Err("it has no valid host"),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Escapes a path segment, slashes too.
pub(crate) fn escape_segment(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

/// Escapes the segments of a path.
pub(crate) fn escape_path(path: &str) -> String {
    path.split('/')
        .map(escape_segment)
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap().0
    }

    #[test]
    fn an_address_has_an_origin_and_a_path() {
        let (found, login) = Url::parse("HTTP://user:p@ss@Host:80/a/b?c=1#d").unwrap();
        assert_eq!(found.to_string(), "http://host/a/b?c=1");
        assert_eq!(login.as_deref(), Some("user:p@ss"));
        assert_eq!(url("https://[::1]:8080").to_string(), "https://[::1]:8080/");
        assert_eq!(
            url("https://h/api/").below("x/y").to_string(),
            "https://h/api/x/y"
        );
    }

    #[test]
    fn scheme_host_and_port_make_an_origin() {
        let hub = url("https://hub.example/a");
        assert!(hub.same_origin(&url("https://HUB.example:443/b?c")));
        for other in [
            "http://hub.example/a",
            "https://hub.example:444/a",
            "https://hub.example.org/a",
            "https://example/a",
        ] {
            assert!(!hub.same_origin(&url(other)), "{other}");
        }
    }

    #[test]
    fn redirects_lead_where_they_say() {
        let from = url("https://hub:8/a/b?q=1");
        for (location, target) in [
            ("/x y/\u{e4}#f", "https://hub:8/x%20y/%C3%A4"),
            ("?c=2", "https://hub:8/a/b?c=2"),
            ("c/d", "https://hub:8/a/c/d"),
            ("//cdn/e", "https://cdn/e"),
            ("http://u:p@cdn:9/e?f", "http://cdn:9/e?f"),
            ("*", "https://hub:8/a/*"),
        ] {
            assert_eq!(
                from.join(location.as_bytes()).unwrap().to_string(),
                target,
                "{location}"
            );
        }
        for wrong in [
            "",
            "  ",
            "//",
            "file:///etc/passwd",
            "ftp://x/y",
            "javascript:1",
            "http://",
        ] {
            assert!(from.join(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(from.join(b"/\xff").unwrap().path(), "/%FF");
    }

    #[test]
    fn names_are_escaped_as_huggingface_hub_escapes_them() {
        assert_eq!(
            escape_path("sub dir/v#1?x=%20 \u{e4}+&;'[1].safetensors"),
            "sub%20dir/v%231%3Fx%3D%2520%20%C3%A4%2B%26%3B%27%5B1%5D.safetensors"
        );
        assert_eq!(escape_segment("refs/pr/1"), "refs%2Fpr%2F1");
    }
}
