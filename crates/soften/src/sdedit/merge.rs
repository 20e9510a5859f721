//! Joins the shards of a job, in a temporary folder next to the target, which is renamed when it is complete.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use vae2x_core::temp;

use super::manifest::{FileEntry, Manifest, Shard, file_name, hash_files};
use vae2x_train::{Error, Result};

/// Checks that `folders` are all shards of one job, each once and complete, and copies them into `target`, which then is what the job
/// without shards would have made. Gives its manifest.
///
/// # Errors
/// [`Error::Run`] if there is anything in `target`; [`Error::Data`] naming what is missing, twice there, different or damaged; files that
/// cannot be read or written. `target` is as it was then.
pub fn merge(folders: &[PathBuf], target: &Path) -> Result<Manifest> {
    let filling = filling(target)?;
    let shards = folders
        .iter()
        .map(|folder| Ok((folder, read(folder)?)))
        .collect::<Result<Vec<_>>>()?;
    let Some(((first_folder, first), rest)) = shards.split_first() else {
        return Err(Error::Data("no folders to merge".into()));
    };
    for (folder, shard) in rest {
        if let Some(what) = first.plan.difference(&shard.plan) {
            let (a, b) = (first_folder.display(), folder.display());
            return Err(Error::Data(format!(
                "{a} and {b} are of different jobs: each has another {what}"
            )));
        }
    }
    check_complete(&shards)?;
    let mut joined = Manifest::new(first.plan.clone(), Shard::WHOLE);
    joined.files.extend(
        shards
            .iter()
            .flat_map(|(_, shard)| shard.files.iter().cloned()),
    );
    joined.files.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    joined.check_used()?;
    // Empty, whatever a killed merge has left there.
    let folder = temp::TempFolder::create(&filling)?;
    fill(&filling, &shards, &joined)?;
    folder.persist(target)?;
    Ok(joined)
}

/// The folder to fill, for a `target` that is empty or not there.
fn filling(target: &Path) -> Result<PathBuf> {
    let problem = |problem: &str| {
        Err(Error::Run {
            path: target.to_path_buf(),
            problem: problem.into(),
        })
    };
    let is_empty = match std::fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => return Err(Error::io(target, e)),
    };
    if !is_empty {
        return problem("is not empty; choose another folder");
    }
    match target.file_name() {
        Some(name) => Ok(target.with_file_name(format!(".{}.merging", name.to_string_lossy()))),
        None => problem("the path does not name a folder"),
    }
}

/// Copies all files, checking each.
fn fill(folder: &Path, shards: &[(&PathBuf, Manifest)], joined: &Manifest) -> Result<()> {
    for (from, shard) in shards {
        shard
            .files
            .iter()
            .try_for_each(|entry| copy(from, folder, entry))?;
    }
    joined.write(folder)
}

fn read(folder: &Path) -> Result<Manifest> {
    let bad = |what: &str| Error::Data(format!("{}: {what}", folder.display()));
    let manifest = Manifest::read(folder)?
        .ok_or_else(|| bad("not a folder of sdedit pairs: manifest.json is missing"))?;
    let shard = manifest.shard();
    let wanted = (0..manifest.plan.files())
        .filter(|&file| shard.has(file))
        .map(file_name);
    match manifest
        .files
        .iter()
        .map(|entry| &entry.file.name)
        .eq(wanted.collect::<Vec<_>>().iter())
    {
        true => Ok(manifest),
        false => Err(bad("this job is not finished; continue it with --resume")),
    }
}

/// Every shard once, and every pair.
fn check_complete(shards: &[(&PathBuf, Manifest)]) -> Result<()> {
    let of = shards[0].1.shard().of;
    let mut seen = vec![None; of];
    for (folder, manifest) in shards {
        let shard = manifest.shard();
        if shard.of != of {
            let what = format!("shard {shard} and shards of {of} do not belong together");
            return Err(Error::Data(format!("{}: {what}", folder.display())));
        }
        if let Some(other) = seen[shard.index].replace(*folder) {
            let (a, b) = (other.display(), folder.display());
            return Err(Error::Data(format!("{a} and {b} are both shard {shard}")));
        }
    }
    let missing: Vec<String> = (0..of)
        .filter(|&i| seen[i].is_none())
        .map(|i| format!("{i}/{of}"))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Data(format!(
            "shards are missing: {}",
            missing.join(", ")
        )));
    }
    let mut names = BTreeSet::new();
    let pairs = shards
        .iter()
        .flat_map(|(_, manifest)| manifest.files.iter().flat_map(|file| &file.pairs));
    match pairs
        .into_iter()
        .find(|pair| !names.insert(pair.name.as_str()))
    {
        Some(pair) => Err(Error::Data(format!(
            "the pair '{}' is there twice",
            pair.name
        ))),
        None => Ok(()),
    }
}

fn copy(folder: &Path, target: &Path, entry: &FileEntry) -> Result<()> {
    let from = folder.join(&entry.file.name);
    let found = hash_files(&from, [from.as_path()], &mut |_| ())?;
    if found != entry.file {
        let what = format!(
            "damaged: sha256 {}, but the manifest has {}",
            found.sha256, entry.file.sha256
        );
        return Err(Error::Data(format!("{}: {what}", from.display())));
    }
    Ok(temp::write(&target.join(&entry.file.name), |out| {
        let mut file = std::fs::File::open(&from).map_err(|e| vae2x_core::Error::io(&from, e))?;
        std::io::copy(&mut file, out)
            .map(drop)
            .map_err(|e| vae2x_core::Error::io(&from, e))
    })?)
}
