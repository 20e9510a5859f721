//! Joins the shards of a job.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use vae2x_core::temp;

use super::manifest::{FileEntry, MANIFEST_FILE, Manifest, Shard, file_name, hash_files};
use crate::{Error, Result};

/// Checks that `folders` are all shards of one job, each once and complete, and copies them into `target`, which then is what the job
/// without shards would have made. Gives the number of pairs.
///
/// # Errors
/// [`Error::Data`] naming what is missing, twice there, different or damaged; files that cannot be read or written.
pub fn merge(folders: &[PathBuf], target: &Path) -> Result<usize> {
    if target.join(MANIFEST_FILE).exists() {
        let problem = "holds pairs already; choose another folder".into();
        return Err(Error::Run { path: target.to_path_buf(), problem });
    }
    let shards = folders.iter().map(|folder| Ok((folder, read(folder)?))).collect::<Result<Vec<_>>>()?;
    let Some(((first_folder, first), rest)) = shards.split_first() else {
        return Err(Error::Data("no folders to merge".into()));
    };
    for (folder, shard) in rest {
        if let Some(what) = first.plan.difference(&shard.plan) {
            let (a, b) = (first_folder.display(), folder.display());
            return Err(Error::Data(format!("{a} and {b} are of different jobs: each has another {what}")));
        }
    }
    check_complete(&shards)?;
    let mut joined = Manifest::new(first.plan.clone(), Shard::WHOLE);
    std::fs::create_dir_all(target).map_err(|e| Error::io(target, e))?;
    for (folder, shard) in &shards {
        shard.files.iter().try_for_each(|entry| copy(folder, target, entry))?;
        joined.files.extend(shard.files.iter().cloned());
    }
    joined.files.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    joined.write(target)?;
    Ok(joined.files.iter().map(|file| file.pairs.len()).sum())
}

fn read(folder: &Path) -> Result<Manifest> {
    let bad = |what: &str| Error::Data(format!("{}: {what}", folder.display()));
    let manifest = Manifest::read(folder)?.ok_or_else(|| bad("no pairs of sdedit: there is no manifest.json"))?;
    let shard = manifest.shard();
    let wanted = (0..manifest.plan.files()).filter(|&file| shard.has(file)).map(file_name);
    match manifest.files.iter().map(|entry| &entry.file.name).eq(wanted.collect::<Vec<_>>().iter()) {
        true => Ok(manifest),
        false => Err(bad("this job is not finished; go on with it with --resume")),
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
    let missing: Vec<String> = (0..of).filter(|&i| seen[i].is_none()).map(|i| format!("{i}/{of}")).collect();
    if !missing.is_empty() {
        return Err(Error::Data(format!("shards are missing: {}", missing.join(", "))));
    }
    let mut names = BTreeSet::new();
    let pairs = shards.iter().flat_map(|(_, manifest)| manifest.files.iter().flat_map(|file| &file.pairs));
    match pairs.into_iter().find(|pair| !names.insert(pair.name.as_str())) {
        Some(pair) => Err(Error::Data(format!("the pair '{}' is there twice", pair.name))),
        None => Ok(()),
    }
}

fn copy(folder: &Path, target: &Path, entry: &FileEntry) -> Result<()> {
    let from = folder.join(&entry.file.name);
    let found = hash_files(&from, [from.as_path()])?;
    if found != entry.file {
        let what = format!("damaged: sha256 {}, but the manifest has {}", found.sha256, entry.file.sha256);
        return Err(Error::Data(format!("{}: {what}", from.display())));
    }
    Ok(temp::write(&target.join(&entry.file.name), |out| {
        let mut file = std::fs::File::open(&from).map_err(|e| vae2x_core::Error::io(&from, e))?;
        std::io::copy(&mut file, out).map(drop).map_err(|e| vae2x_core::Error::io(&from, e))
    })?)
}
