//! Joins the shards of a job, in a temporary folder next to the target, which is renamed when it is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use vae2x_core::{files, temp};
use vae2x_media::shard::Shard;

use super::manifest::{FileEntry, MANIFEST_FILE, Manifest, file_name, hash_files};
use vae2x_train::{Error, Result};

/// Checks that `folders` are all shards of one job, each once and complete, and copies them into `target`, which then is what the job
/// without shards would have made. Gives its manifest; `None` if `stop` was set before the end, and nothing is left then.
///
/// # Errors
/// [`Error::Run`] if there is anything in `target`; [`Error::Data`] naming what is missing, twice there, different or damaged; files that
/// cannot be read or written. `target` is as it was then.
pub fn merge(folders: &[PathBuf], target: &Path, stop: &AtomicBool) -> Result<Option<Manifest>> {
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
    clear(&filling)?;
    let filled = fill(&filling, &shards, &joined, stop).and_then(|is_done| {
        if is_done {
            replace(&filling, target)?;
        }
        Ok(is_done)
    });
    if !matches!(filled, Ok(true)) {
        // The first error is the one to report.
        let _ = std::fs::remove_dir_all(&filling);
    }
    Ok(filled?.then_some(joined))
}

/// Removes what a killed merge has left in the folder to fill.
fn clear(folder: &Path) -> Result<()> {
    let fail = |e| Error::io(folder, e);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail(e)),
    };
    for entry in entries {
        let name = entry.map_err(fail)?.file_name();
        let name = name.to_string_lossy();
        let name = name.trim_start_matches('.');
        if !(name.starts_with("pairs-") || name.starts_with(MANIFEST_FILE)) {
            return Err(Error::run(
                folder,
                format!("is in the way: it holds '{name}', which no merge has left there"),
            ));
        }
    }
    std::fs::remove_dir_all(folder).map_err(fail)
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

/// Copies all files, checking each; `false` if it was stopped.
fn fill(
    folder: &Path,
    shards: &[(&PathBuf, Manifest)],
    joined: &Manifest,
    stop: &AtomicBool,
) -> Result<bool> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    for (from, shard) in shards {
        let numbers = shard.shard().of_list(shard.plan.files());
        for (file, entry) in numbers.zip(&shard.files) {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            shard.plan.check_file(file, entry).map_err(|what| {
                let path = from.join(&entry.file.name);
                Error::Data(format!(
                    "{}: not a file of this job: {what}",
                    path.display()
                ))
            })?;
            copy(from, folder, entry)?;
        }
    }
    joined.write(folder)?;
    Ok(true)
}

/// Gives `folder` the name of `target`, which is empty if it is there.
fn replace(folder: &Path, target: &Path) -> Result<()> {
    match std::fs::remove_dir(target) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(target, e)),
        _ => std::fs::rename(folder, target).map_err(|e| Error::io(target, e)),
    }
}

fn read(folder: &Path) -> Result<Manifest> {
    let bad = |what: &str| Error::Data(format!("{}: {what}", folder.display()));
    let manifest = Manifest::read(folder)?
        .ok_or_else(|| bad("not a folder of sdedit pairs: manifest.json is missing"))?;
    // Compared one by one: the manifest alone says how many there are to be.
    let wanted = manifest
        .shard()
        .of_list(manifest.plan.files())
        .map(file_name);
    let names = manifest.files.iter().map(|entry| entry.file.name.as_str());
    match names.eq(wanted) {
        true => Ok(manifest),
        false => Err(bad("this job is not finished; continue it with --resume")),
    }
}

/// Every shard once, and every pair.
fn check_complete(shards: &[(&PathBuf, Manifest)]) -> Result<()> {
    /// Missing shards that an error names.
    const NAMED: usize = 8;
    let of = shards[0].1.shard().of;
    let mut seen = BTreeMap::new();
    for (folder, manifest) in shards {
        let shard = manifest.shard();
        if shard.of != of {
            let what = format!("shard {shard} and shards of {of} do not belong together");
            return Err(Error::Data(format!("{}: {what}", folder.display())));
        }
        if let Some(other) = seen.insert(shard.index, *folder) {
            let (a, b) = (other.display(), folder.display());
            return Err(Error::Data(format!("{a} and {b} are both shard {shard}")));
        }
    }
    let missing = of - seen.len();
    if missing > 0 {
        let named: Vec<String> = (0..of)
            .filter(|i| !seen.contains_key(i))
            .map(|i| format!("{i}/{of}"))
            .take(NAMED)
            .collect();
        let more = match missing - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return Err(Error::Data(format!(
            "shards are missing: {}{more}",
            named.join(", ")
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
    let bad = |what: String| Error::Data(format!("{}: {what}", from.display()));
    let hashed = hash_files(&from, [from.as_path()], &mut |_| ())?;
    if hashed != entry.file {
        return Err(bad(format!(
            "damaged: sha256 {}, but the manifest has {}",
            hashed.sha256, entry.file.sha256
        )));
    }
    if FileEntry::read(folder, &entry.file.name)? != *entry {
        return Err(bad(
            "the manifest lists other pairs than the file has".into()
        ));
    }
    Ok(temp::write(&target.join(&entry.file.name), |out| {
        let mut file = files::open(&from)?;
        std::io::copy(&mut file, out)
            .map(drop)
            .map_err(|e| vae2x_core::Error::io(&from, e))
    })?)
}
