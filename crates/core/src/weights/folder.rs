//! Finds the files of a model: a file and the `config.json` next to it, or those of a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files;

/// Name of the configuration in a diffusers folder.
pub(crate) const CONFIG: &str = "config.json";
/// Name of the VAE's weights in a diffusers folder.
pub(crate) const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// How the files of a kind of model are named in folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileNames {
    /// Weights are `STEM.safetensors`, or shards that `STEM.safetensors.index.json` lists.
    pub stem: &'static str,
    /// The model's folder in a whole pipeline's.
    pub subfolder: &'static str,
}

impl FileNames {
    /// The names of a VAE's files.
    pub(crate) const VAE: Self = Self {
        stem: "diffusion_pytorch_model",
        subfolder: "vae",
    };
}

/// The files of a model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub files: Vec<PathBuf>,
    /// The text of `config.json`.
    pub config: Option<String>,
}

/// Finds the files of a model: `path` is a file, a folder with such names, a folder that has it as a subfolder, or one with a
/// single weight file.
pub(crate) fn find(path: &Path, kind: FileNames) -> Result<Found> {
    let found = path.metadata().map_err(|e| Error::io(path, e))?;
    if found.is_dir() {
        return find_in(path, kind);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(Found {
        files: vec![path.to_path_buf()],
        config: read_config(folder)?,
    })
}

fn find_in(folder: &Path, kind: FileNames) -> Result<Found> {
    let names = list(folder)?;
    let has = |name: &str| names.iter().any(|n| n == name);
    let FileNames { stem, subfolder } = kind;
    let weights = format!("{stem}.safetensors");
    let index = format!("{weights}.index.json");
    let files = if has(&weights) {
        vec![folder.join(weights)]
    } else if has(&index) {
        shards(folder, &folder.join(&index))?
    } else if let Some(file) = single(folder, &names, stem)? {
        vec![file]
    } else if has(subfolder) && folder.join(subfolder).is_dir() {
        return find_in(&folder.join(subfolder), kind);
    } else {
        return Err(Error::format(
            folder,
            format!(
                "no weights in this folder; expected {weights}, a folder named {subfolder}, or one .safetensors or .pth file"
            ),
        ));
    };
    Ok(Found {
        files,
        config: read_config(folder)?,
    })
}

/// Names in a folder, sorted.
fn list(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The only weight file; those with the usual name (`diffusion_pytorch_model.fp16.safetensors`) come before others.
fn single(folder: &Path, names: &[String], stem: &str) -> Result<Option<PathBuf>> {
    let is_weights = |n: &&String| {
        [".safetensors", ".pth", ".pt"]
            .iter()
            .any(|e| n.ends_with(e))
            && !n.starts_with('.')
    };
    let all: Vec<_> = names.iter().filter(is_weights).collect();
    let named: Vec<_> = all
        .iter()
        .copied()
        .filter(|n| n.starts_with(stem))
        .collect();
    match if named.is_empty() { all } else { named }[..] {
        [] => Ok(None),
        [one] => Ok(Some(folder.join(one))),
        [first, second, ..] => Err(Error::format(
            folder,
            format!(
                "several weight files, among them {first} and {second}; name the one that is meant"
            ),
        )),
    }
}

/// The files that an index of shards names.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let text = files::read_text(index, files::MAX_TEXT)?;
    let parsed: Index = serde_json::from_str(&text)
        .map_err(|e| Error::format(index, format!("invalid index of shards: {e}")))?;
    let names: BTreeSet<_> = parsed.weight_map.into_values().collect();
    if let Some(bad) = names
        .iter()
        .find(|n| Path::new(n).file_name() != Some(n.as_str().as_ref()))
    {
        return Err(Error::format(
            index,
            format!("the shard '{bad}' is not a file of this folder"),
        ));
    }
    if names.is_empty() {
        return Err(Error::format(index, "the index names no shards"));
    }
    Ok(names.iter().map(|n| folder.join(n)).collect())
}

fn read_config(folder: &Path) -> Result<Option<String>> {
    let path = folder.join(CONFIG);
    match path.exists() {
        true => files::read_text(&path, files::MAX_TEXT).map(Some),
        false => Ok(None),
    }
}
