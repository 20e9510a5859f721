//! Finds the files of a model: a file and the `config.json` beside it, or those of a folder.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// Name of the configuration in a diffusers folder.
pub(crate) const CONFIG: &str = "config.json";
/// Name of the weights in a diffusers folder.
pub(crate) const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
/// How such names begin.
const WEIGHTS_STEM: &str = "diffusion_pytorch_model";
/// Far more than a list of two hundred tensors takes.
const MAX_JSON: u64 = 16 << 20;

/// The files of a model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub files: Vec<PathBuf>,
    /// The text of `config.json`.
    pub config: Option<String>,
}

/// Finds the files of a model, as [`super::vae::VaeWeights::open`] tells.
pub(crate) fn find(path: &Path) -> Result<Found> {
    let found = path.metadata().map_err(|e| Error::io(path, e))?;
    if found.is_dir() {
        return find_in(path);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(Found { files: vec![path.to_path_buf()], config: read_config(folder)? })
}

fn find_in(folder: &Path) -> Result<Found> {
    let names = list(folder)?;
    let has = |name: &str| names.iter().any(|n| n == name);
    let index = format!("{WEIGHTS}.index.json");
    let files = if has(WEIGHTS) {
        vec![folder.join(WEIGHTS)]
    } else if has(&index) {
        shards(folder, &folder.join(&index))?
    } else if let Some(file) = single(folder, &names)? {
        vec![file]
    } else if has("vae") && folder.join("vae").is_dir() {
        return find_in(&folder.join("vae"));
    } else {
        return Err(Error::format(
            folder,
            format!(
                "no weights in this folder; expected {WEIGHTS}, a folder named vae, or one .safetensors or .pth file"
            ),
        ));
    };
    Ok(Found { files, config: read_config(folder)? })
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

/// The only weight file; those with diffusers' name (`diffusion_pytorch_model.fp16.safetensors`) come before others.
fn single(folder: &Path, names: &[String]) -> Result<Option<PathBuf>> {
    let is_weights =
        |n: &&String| [".safetensors", ".pth", ".pt"].iter().any(|e| n.ends_with(e)) && !n.starts_with('.');
    let all: Vec<_> = names.iter().filter(is_weights).collect();
    let named: Vec<_> = all.iter().copied().filter(|n| n.starts_with(WEIGHTS_STEM)).collect();
    match if named.is_empty() { all } else { named }[..] {
        [] => Ok(None),
        [one] => Ok(Some(folder.join(one))),
        [first, second, ..] => Err(Error::format(
            folder,
            format!("several weight files, among them {first} and {second}; name the one that is meant"),
        )),
    }
}

/// The files that an index of shards names.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let text = read_text(index)?;
    let parsed: Index =
        serde_json::from_str(&text).map_err(|e| Error::format(index, format!("invalid index of shards: {e}")))?;
    let names: BTreeSet<_> = parsed.weight_map.into_values().collect();
    if let Some(bad) = names.iter().find(|n| Path::new(n).file_name() != Some(n.as_str().as_ref())) {
        return Err(Error::format(index, format!("the shard '{bad}' is not a file of this folder")));
    }
    if names.is_empty() {
        return Err(Error::format(index, "the index names no shards"));
    }
    Ok(names.iter().map(|n| folder.join(n)).collect())
}

fn read_config(folder: &Path) -> Result<Option<String>> {
    let path = folder.join(CONFIG);
    if path.is_file() { read_text(&path).map(Some) } else { Ok(None) }
}

fn read_text(path: &Path) -> Result<String> {
    let failed = |e| Error::io(path, e);
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MAX_JSON + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_JSON {
        return Err(Error::format(path, format!("more than {MAX_JSON} bytes of JSON")));
    }
    Ok(text)
}
