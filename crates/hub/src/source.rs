//! Telling local paths from hub ids.
//!
//! What exists is a path. What looks like a path (a weights extension, a leading `.`, `/` or `~`, a backslash, more than one
//! slash) and does not exist is a missing file, never a request to the hub: a typing error must not start a download.

use std::path::{Path, PathBuf};

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
    /// Reads `PATH`, `owner/name`, `owner/name@revision`, `owner/name:path` or `owner/name@revision:path`.
    ///
    /// # Errors
    /// [`HubError::NoSuchFile`] for what looks like a path and does not exist, [`HubError::BadId`] for the rest.
    pub fn parse(argument: &str) -> Result<Self> {
        let path = Path::new(argument);
        if path.exists() {
            return Ok(Self::Local(path.to_path_buf()));
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
