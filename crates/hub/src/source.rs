//! Telling local paths from hub ids.
//!
//! What exists is a path. What looks like a path (a weights extension, a leading `.`, `/` or `~`, a backslash, more than one
//! slash) and does not exist is a missing file, never a request to the hub: a typing error must not start a download. An address
//! copied from a browser means the repository, revision and path that it shows.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::config::{DEFAULT_ENDPOINT, without_login};
use crate::error::{HubError, Result};
use crate::id::HubId;

/// Endings that no name of a repository has.
const WEIGHT_EXTENSIONS: [&str; 5] = ["safetensors", "pth", "pt", "ckpt", "bin"];
/// The longest name that the hub allows for a repository or its owner.
const MAX_NAME: usize = 96;

/// What a weights argument names.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A file or folder that exists.
    Local(PathBuf),
    /// A model of the hub.
    Hub(HubId),
}

impl Source {
    /// Reads `PATH`, `owner/name`, `owner/name@revision`, `owner/name:path`, `owner/name@revision:path`, or the address of such a
    /// repository or file at huggingface.co.
    ///
    /// # Errors
    /// [`HubError::NoSuchFile`] for what looks like a path and does not exist, [`HubError::BadId`] for the rest.
    pub fn parse(argument: &str) -> Result<Self> {
        Self::parse_at(argument, DEFAULT_ENDPOINT)
    }

    /// As [`Self::parse`], with addresses of the hub at `endpoint` too.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_at(argument: &str, endpoint: &str) -> Result<Self> {
        let path = Path::new(argument);
        if path.exists() {
            return Ok(Self::Local(path.to_path_buf()));
        }
        if is_address(argument) {
            let bad = |problem| HubError::BadId {
                argument: without_login(argument),
                problem,
            };
            return read_address(argument, endpoint).map(Self::Hub).map_err(bad);
        }
        let (head, inner) = match argument.split_once(':') {
            Some((head, inner)) => (head, Some(inner)),
            None => (argument, None),
        };
        let (repo, revision) = match head.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (head, None),
        };
        if looks_like_path(argument, repo) {
            return Err(HubError::NoSuchFile {
                path: path.to_path_buf(),
            });
        }
        let bad = |problem| HubError::BadId {
            argument: argument.to_owned(),
            problem,
        };
        check_repo(repo).map_err(bad)?;
        let revision = revision.map(check_revision).transpose().map_err(bad)?;
        let inner = inner.map(check_inner).transpose().map_err(bad)?;
        Ok(Self::Hub(HubId {
            repo: repo.to_owned(),
            revision,
            inner,
        }))
    }
}

impl HubId {
    /// The revision to ask the hub for.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The same repository and revision as a whole.
    #[must_use]
    pub fn without_inner(&self) -> Self {
        Self {
            inner: None,
            ..self.clone()
        }
    }
}

/// Whether `name` ends like a weights file. `repo.v1.5` does not.
pub(crate) fn has_weight_extension(name: &str, extensions: &[&str]) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|e| extensions.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

fn is_address(argument: &str) -> bool {
    argument.split_once("://").is_some_and(|(scheme, _)| {
        ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

/// Reads `https://host/owner/name`, with `/tree`, `/blob` or `/resolve`, a revision and a path behind it.
fn read_address(address: &str, endpoint: &str) -> Result<HubId, &'static str> {
    let shown = without_login(address);
    let path = shown.split(['?', '#']).next().unwrap_or_default();
    let path = [
        endpoint,
        DEFAULT_ENDPOINT,
        "https://hf.co",
        "https://www.huggingface.co",
    ]
    .iter()
    .find_map(|hub| below(path, &without_login(hub)))
    .ok_or("it is not an address of this hub (HF_ENDPOINT)")?;
    let decode = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8();
        decoded.map(String::from).map_err(|_| "it is not UTF-8")
    };
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (Some(owner), Some(name)) = (parts.next(), parts.next()) else {
        return Err("the address names no repository");
    };
    if matches!(owner, "datasets" | "spaces" | "docs" | "collections") {
        return Err("the address is not that of a model");
    }
    let repo = format!("{}/{}", decode(owner)?, decode(name)?);
    check_repo(&repo)?;
    let mut id = HubId {
        repo,
        revision: None,
        inner: None,
    };
    let Some(view) = parts.next() else {
        return Ok(id);
    };
    if !matches!(view, "blob" | "resolve" | "raw" | "tree" | "blame") {
        return Err("the address is not that of a file or folder");
    }
    let mut revision = decode(parts.next().unwrap_or("main"))?;
    // refs/pr/1 and the like may be escaped or not.
    if revision == "refs" {
        for part in parts.by_ref().take(2) {
            revision = format!("{revision}/{}", decode(part)?);
        }
    }
    id.revision = match revision.as_str() {
        "main" => None,
        other => Some(check_revision(other)?),
    };
    let inner = parts.map(decode).collect::<Result<Vec<_>, _>>()?.join("/");
    id.inner = (!inner.is_empty()).then_some(inner);
    Ok(id)
}

/// What follows `hub` in an address of it. Browsers and hubs may differ in the scheme and in capital letters of the host.
fn below<'a>(address: &'a str, hub: &str) -> Option<&'a str> {
    let bare = |url: &str| url.find("://").map_or(0, |at| at + 3);
    let (address, hub) = (&address[bare(address)..], &hub[bare(hub)..]);
    let head = address.get(..hub.len())?;
    let rest = &address[hub.len()..];
    (head.eq_ignore_ascii_case(hub) && rest.starts_with('/')).then_some(rest)
}

fn looks_like_path(argument: &str, repo: &str) -> bool {
    argument.is_empty()
        || argument.starts_with(['.', '/', '~'])
        || argument.contains('\\')
        || repo.matches('/').count() > 1
        || has_weight_extension(repo, &WEIGHT_EXTENSIONS)
        || (!repo.contains('/') && has_weight_extension(argument, &WEIGHT_EXTENSIONS))
}

fn check_repo(repo: &str) -> Result<(), &'static str> {
    let (owner, name) = repo.split_once('/').ok_or("it has no '/'")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    for part in [owner, name] {
        if part.is_empty() || part.len() > MAX_NAME || !part.chars().all(plain) {
            return Err("names have 1 to 96 letters, digits, '-', '_' and '.'");
        }
        if part.starts_with(['-', '.'])
            || part.ends_with(['-', '.'])
            || part.contains("..")
            || part.contains("--")
        {
            return Err("names neither begin nor end with '-' or '.', nor repeat them");
        }
    }
    Ok(())
}

fn check_revision(revision: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let part = |p: &str| !p.is_empty() && p != "." && !p.contains("..") && p.chars().all(plain);
    if revision.split('/').all(part) {
        Ok(revision.to_owned())
    } else {
        Err("the revision after '@' is malformed")
    }
}

fn check_inner(inner: &str) -> Result<String, &'static str> {
    match inner.trim_matches('/') {
        "" => Err("nothing follows the ':'"),
        trimmed => Ok(trimmed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(argument: &str) -> (String, Option<String>, Option<String>) {
        match Source::parse(argument) {
            Ok(Source::Hub(id)) => {
                assert_eq!(id.to_string(), argument.trim_end_matches('/'));
                (id.repo, id.revision, id.inner)
            }
            other => panic!("{argument}: {other:?}"),
        }
    }

    #[test]
    fn hub_ids_have_a_repo_a_revision_and_a_path() {
        let some = |s: &str| Some(s.to_owned());
        let repo = "spacepxl/Wan2.1-VAE-upscale2x".to_owned();
        assert_eq!(
            hub("spacepxl/Wan2.1-VAE-upscale2x"),
            (repo.clone(), None, None)
        );
        assert_eq!(
            hub("spacepxl/Wan2.1-VAE-upscale2x:a/b/"),
            (repo.clone(), None, some("a/b"))
        );
        assert_eq!(
            hub("spacepxl/Wan2.1-VAE-upscale2x:a.safetensors"),
            (repo.clone(), None, some("a.safetensors"))
        );
        assert_eq!(
            hub("spacepxl/Wan2.1-VAE-upscale2x@refs/pr/1"),
            (repo.clone(), some("refs/pr/1"), None)
        );
        assert_eq!(
            hub("spacepxl/Wan2.1-VAE-upscale2x@v1:vae"),
            (repo, some("v1"), some("vae"))
        );
    }

    #[test]
    fn an_address_from_a_browser_becomes_an_id() {
        let hub = "https://mirror.example:8/hub";
        for (address, id) in [
            ("https://huggingface.co/o/n", "o/n"),
            ("https://huggingface.co/o/n/", "o/n"),
            ("http://HuggingFace.co/o/n/tree/main", "o/n"),
            (
                "https://huggingface.co/o/n/blob/main/dir/file.safetensors",
                "o/n:dir/file.safetensors",
            ),
            (
                "https://huggingface.co/o/n/resolve/main/my%20vae%23.pth?download=true#x",
                "o/n:my vae#.pth",
            ),
            ("https://hf.co/o/n/tree/v1.0/vae/", "o/n@v1.0:vae"),
            (
                "https://hf.co/o/n/tree/refs%2Fpr%2F1/vae",
                "o/n@refs/pr/1:vae",
            ),
            ("https://hf.co/o/n/tree/refs/pr/1/vae", "o/n@refs/pr/1:vae"),
            (
                "https://mirror.example:8/hub/o/n/blob/main/a.pt",
                "o/n:a.pt",
            ),
            ("https://user:secret@hf.co/o/n", "o/n"),
        ] {
            match Source::parse_at(address, hub) {
                Ok(Source::Hub(found)) => assert_eq!(found.to_string(), id, "{address}"),
                other => panic!("{address}: {other:?}"),
            }
        }
        for wrong in [
            "https://example.org/o/n",
            "https://huggingface.co.example.org/o/n",
            "https://huggingface.co",
            "https://huggingface.co/o",
            "https://huggingface.co/datasets/o/n",
            "https://huggingface.co/o/n/discussions/1",
            "https://huggingface.co/o/n/tree/..%2Fx",
            "https://huggingface.co/o%2Fx/n",
            "https://huggingface.co/o/n/blob/main/%ff",
            "https://user:secret@example.org/o/n",
        ] {
            let error = Source::parse_at(wrong, hub).unwrap_err();
            assert!(matches!(error, HubError::BadId { .. }), "{wrong}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_looks_like_a_path_is_a_missing_file() {
        for argument in [
            "models/vae.safetensors",
            "vae.pth",
            "gone/vae.PT",
            "./owner/name",
            "../name",
            "/owner/name",
            "~/owner",
            "owner\\name",
            "C:\\vae",
            "a/b/c",
            "C:vae.safetensors",
            "",
        ] {
            let error = Source::parse(argument).unwrap_err();
            assert!(
                matches!(error, HubError::NoSuchFile { .. }),
                "{argument}: {error}"
            );
        }
    }

    #[test]
    fn malformed_ids_say_what_is_wrong() {
        for argument in [
            "name",
            "owner/",
            "o wner/name",
            "owner/na--me",
            "owner/name:",
            "owner/name@",
            "owner/name@../x",
        ] {
            let error = Source::parse(argument).unwrap_err();
            assert!(
                matches!(&error, HubError::BadId { argument: of, .. } if of == argument),
                "{argument}: {error}"
            );
        }
    }

    #[test]
    fn what_exists_is_local_even_if_it_reads_like_an_id() {
        let folder = env!("CARGO_MANIFEST_DIR");
        assert_eq!(Source::parse(folder).unwrap(), Source::Local(folder.into()));
        // Tests run in the crate's folder.
        assert_eq!(
            Source::parse("src/lib.rs").unwrap(),
            Source::Local("src/lib.rs".into())
        );
    }
}
