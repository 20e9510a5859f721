//! The loop over items and files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::velocity::Velocity;
use burn::tensor::Device;
use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_media::shard::Shard;

use super::manifest::{FileEntry, Manifest, Plan, Skipped, file_name};
use super::pair::pair;
use super::source::Source;
use vae2x_train::run::Lock;
use vae2x_train::run::checkpoint::write;
use vae2x_train::{Error, Result};

/// Where the pairs of unfinished files are, one by one.
const PARTS: &str = "parts";

/// Source, model and device of a job.
#[derive(Clone, Copy)]
pub struct Maker<'a> {
    /// Clean latents.
    pub source: &'a dyn Source,
    /// The model that softens them.
    pub model: &'a dyn Velocity,
    /// Where it computes.
    pub device: &'a Device,
}

/// The latents of a source, unless it cannot be used.
type Found = Result<Vec<Array>, Skipped>;

/// Removes what a killed process left half written.
fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_ours = [".pairs-", ".manifest."]
            .iter()
            .any(|start| name.starts_with(start));
        if is_ours && name.ends_with(".tmp") {
            std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
    }
    Ok(())
}

/// The manifest of a folder in which the job of `wanted` can begin or continue, as far as is known without hashes; `None` to begin.
fn find(folder: &Path, wanted: &Manifest, resume: bool) -> Result<Option<Manifest>> {
    wanted.plan.options.validate()?;
    let problem = |problem: String| {
        Err(Error::Run {
            path: folder.to_path_buf(),
            problem,
        })
    };
    let found = Manifest::read(folder)?;
    match &found {
        Some(_) if !resume => {
            return problem(
                "already holds a job; continue it with --resume, or choose another folder".into(),
            );
        }
        Some(found) => {
            if let Some(what) = found.plan.other_settings(&wanted.plan) {
                return Err(another(folder, what));
            }
            if found.shard() != wanted.shard() {
                return problem(format!(
                    "the job here is shard {}, not {}",
                    found.shard(),
                    wanted.shard()
                ));
            }
        }
        None if (0..wanted.plan.files()).any(|file| folder.join(file_name(file)).exists()) => {
            return problem("holds pairs without a manifest.json; choose another folder".into());
        }
        None => (),
    }
    Ok(found)
}

fn another(folder: &Path, what: &str) -> Error {
    let problem =
        format!("the job here has a different {what}; it cannot be continued with this one");
    Error::Run {
        path: folder.to_path_buf(),
        problem,
    }
}

/// The latents of source `index`, which is called `name`.
fn look(source: &dyn Source, index: usize, name: &str) -> Result<Found> {
    match source.latents(index) {
        Err(Error::Unusable(why)) => Ok(Err(Skipped {
            name: name.into(),
            why,
        })),
        found => found.map(Ok),
    }
}

/// A job's folder.
#[derive(Debug)]
pub struct Job {
    folder: PathBuf,
    manifest: Manifest,
    /// What the manifest of a job that was done before says of the files that are still there.
    recorded: Vec<FileEntry>,
    /// In the folder of parts, which goes when the job is done.
    _lock: Lock,
}

impl Job {
    /// Begins a job, or goes on with the same one.
    ///
    /// # Errors
    /// [`Error::Run`] if the folder holds a job already and `resume` is not set, holds another one or pairs of an unknown one, or
    /// another process works there; [`Error::Config`].
    pub fn open(folder: &Path, plan: Plan, shard: Shard, resume: bool) -> Result<Self> {
        let manifest = Manifest::new(plan, shard);
        let found = find(folder, &manifest, resume)?;
        if let Some(what) = found
            .as_ref()
            .and_then(|found| found.plan.difference(&manifest.plan))
        {
            return Err(another(folder, what));
        }
        // Those that are gone are made again, on whatever machine this is.
        let mut recorded = found
            .as_ref()
            .map_or(Vec::new(), |found| found.files.clone());
        recorded.retain(|entry| folder.join(&entry.file.name).exists());
        let parts = folder.join(PARTS);
        std::fs::create_dir_all(&parts).map_err(|e| Error::io(&parts, e))?;
        let lock = Lock::take(&parts)?;
        remove_leftovers(folder)?;
        if found.is_none() {
            manifest.write(folder)?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            manifest,
            recorded,
            _lock: lock,
        })
    }

    /// Checks what [`Self::open`] checks, as far as possible before files are hashed, which takes long for large models: the hashes of `plan`
    /// do not count. Makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn check(folder: &Path, plan: &Plan, shard: Shard, resume: bool) -> Result<()> {
        find(folder, &Manifest::new(plan.clone(), shard), resume).map(drop)
    }

    /// The job's plan and, when it is done, its results.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The job's files, in order.
    fn files(&self) -> impl Iterator<Item = usize> + '_ {
        self.manifest.shard().of_list(self.manifest.plan.files())
    }

    /// Items to make, and those that are there already.
    pub fn progress(&self) -> [usize; 2] {
        let plan = &self.manifest.plan;
        let has = |file: usize| self.folder.join(file_name(file)).exists();
        let done = |file: usize| match plan.items_of(file) {
            items if has(file) => items.len(),
            items => items.filter(|&item| self.part(item).exists()).count(),
        };
        self.files().fold([0, 0], |[all, there], file| {
            [all + plan.items_of(file).len(), there + done(file)]
        })
    }

    /// Makes what is missing. `tell` is called for every item that is done, with the reason if its source cannot be used. `false` if
    /// `stop` was set before the end: nothing is lost then.
    ///
    /// # Errors
    /// Errors of the system, latents that the model cannot take, files that cannot be written; [`Error::Data`] if no source at all can
    /// be used. What is done stays.
    pub fn run(
        &mut self,
        maker: Maker<'_>,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Option<&Skipped>),
    ) -> Result<bool> {
        let mut last = None;
        for file in self.unpacked() {
            for item in self
                .manifest
                .plan
                .items_of(file)
                .filter(|&item| !self.part(item).exists())
            {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                tell(self.make(item, maker, &mut last)?.as_ref());
            }
            self.pack(file)?;
        }
        self.finish().map(|()| true)
    }

    /// Files that are still to be made of parts.
    fn unpacked(&self) -> Vec<usize> {
        self.files()
            .filter(|&file| !self.folder.join(file_name(file)).exists())
            .collect()
    }

    fn part(&self, item: usize) -> PathBuf {
        self.folder
            .join(PARTS)
            .join(format!("item-{item:07}.safetensors"))
    }

    /// Makes the pairs of an item. `last` keeps what was found at the source before, for its next draw.
    fn make(
        &self,
        item: usize,
        maker: Maker<'_>,
        last: &mut Option<(usize, Found)>,
    ) -> Result<Option<Skipped>> {
        let Plan {
            options, sources, ..
        } = &self.manifest.plan;
        let (index, draw) = (item / options.per_latent, item % options.per_latent);
        let found = match last.take().filter(|(at, _)| *at == index) {
            Some((_, found)) => found,
            None => look(maker.source, index, &sources[index])?,
        };
        let mut arrays = Vec::new();
        let latents = found.as_deref().unwrap_or_default();
        for (i, latent) in latents.iter().enumerate() {
            let of_batch = if latents.len() > 1 {
                format!(":{i}")
            } else {
                String::new()
            };
            let name = format!("{}{of_batch}#{draw}", sources[index]);
            arrays.extend(pair(
                &name,
                latent.clone(),
                maker.model,
                options,
                maker.device,
            )?);
        }
        let skipped = found.as_ref().err().cloned();
        write(
            &self.part(item),
            &arrays,
            Skipped::to_metadata(&skipped.iter().cloned().collect())?,
        )?;
        *last = Some((index, found));
        Ok(skipped)
    }

    /// Joins the parts of a file.
    fn pack(&self, file: usize) -> Result<()> {
        let (mut arrays, mut skipped) = (Vec::new(), BTreeSet::new());
        let parts: Vec<PathBuf> = self
            .manifest
            .plan
            .items_of(file)
            .map(|item| self.part(item))
            .collect();
        for path in &parts {
            let part = TensorFile::open(path)?;
            for name in part.tensors().keys() {
                arrays.push((name.clone(), part.read(name)?));
            }
            skipped.extend(Skipped::from_file(&part)?);
        }
        arrays.sort_by(|a, b| a.0.cmp(&b.0));
        write(
            &self.folder.join(file_name(file)),
            &arrays,
            Skipped::to_metadata(&skipped)?,
        )?;
        parts
            .iter()
            .try_for_each(|path| std::fs::remove_file(path).map_err(|e| Error::io(path, e)))
    }

    /// A file for the manifest: with the pairs of its items, and with the bytes that a finished job had.
    fn entry(&self, file: usize) -> Result<FileEntry> {
        let name = file_name(file);
        let entry = FileEntry::read(&self.folder, &name)?;
        let problem = |what: String| Error::run(self.folder.join(&name), what);
        self.manifest
            .plan
            .check_file(file, &entry)
            .map_err(|what| problem(format!("not a file of this job: {what}")))?;
        match self.recorded.iter().find(|known| known.file.name == name) {
            Some(known) if known.file.sha256 != entry.file.sha256 => Err(problem(format!(
                "changed since the job was done: sha256 {}, but the manifest has {}; delete the file to have it made again",
                entry.file.sha256, known.file.sha256
            ))),
            _ => Ok(entry),
        }
    }

    /// Ends a job of which every item is there.
    ///
    /// # Errors
    /// As [`Self::run`]; [`Error::Run`] for a file of other pairs, or one that has changed since the job was done.
    pub fn finish(&mut self) -> Result<()> {
        self.unpacked()
            .into_iter()
            .try_for_each(|file| self.pack(file))?;
        self.manifest.files = self
            .files()
            .map(|file| self.entry(file))
            .collect::<Result<_>>()?;
        self.manifest.check_used()?;
        self.manifest.write(&self.folder)?;
        let parts = self.folder.join(PARTS);
        match std::fs::remove_dir_all(&parts) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&parts, e)),
            _ => Ok(()),
        }
    }
}
