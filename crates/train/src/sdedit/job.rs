//! The loop over items and files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_nn::flow::Velocity;

use super::manifest::{FileEntry, Manifest, Plan, Shard, file_name};
use super::pair::pair;
use crate::fit::write;
use crate::latents::LatentFolder;
use crate::lock::Lock;
use crate::{Error, Result};

/// Where the pairs of unfinished files are, one by one.
const PARTS: &str = "parts";

/// Where clean latents come from.
pub trait Source {
    /// The latents of source `index`, each `[C, T, h, w]`, normalized.
    ///
    /// # Errors
    /// If it cannot be read.
    fn latents(&self, index: usize) -> Result<Vec<Array>>;
}

impl Source for LatentFolder {
    fn latents(&self, index: usize) -> Result<Vec<Array>> {
        self.read(index)
    }
}

/// Removes what a killed process left half written.
fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_ours = [".pairs-", ".manifest."].iter().any(|start| name.starts_with(start));
        if is_ours && name.ends_with(".tmp") {
            std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
    }
    Ok(())
}

/// A job's folder.
#[derive(Debug)]
pub struct Job {
    folder: PathBuf,
    manifest: Manifest,
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
        plan.options.validate()?;
        let problem = |problem: String| Err(Error::Run { path: folder.to_path_buf(), problem });
        let manifest = Manifest::new(plan, shard);
        let found = Manifest::read(folder)?;
        match &found {
            Some(_) if !resume => {
                return problem("holds a job already; go on with --resume, or choose another folder".into());
            }
            Some(found) => {
                if let Some(what) = found.plan.difference(&manifest.plan) {
                    return problem(format!("the job here has another {what}; it cannot go on with this one"));
                }
                if found.shard() != shard {
                    return problem(format!("the job here is shard {}, not {shard}", found.shard()));
                }
            }
            None if (0..manifest.plan.files()).any(|file| folder.join(file_name(file)).exists()) => {
                return problem("holds pairs, but no manifest.json; choose another folder".into());
            }
            None => (),
        }
        let parts = folder.join(PARTS);
        std::fs::create_dir_all(&parts).map_err(|e| Error::io(&parts, e))?;
        let lock = Lock::take(&parts)?;
        remove_leftovers(folder)?;
        if found.is_none() {
            manifest.write(folder)?;
        }
        Ok(Self { folder: folder.to_path_buf(), manifest, _lock: lock })
    }

    /// The job's files, in order.
    fn files(&self) -> impl Iterator<Item = usize> + '_ {
        let shard = self.manifest.shard();
        (0..self.manifest.plan.files()).filter(move |&file| shard.has(file))
    }

    /// Items to make, and those that are there already.
    pub fn progress(&self) -> [usize; 2] {
        let plan = &self.manifest.plan;
        let has = |file: usize| self.folder.join(file_name(file)).exists();
        let done = |file: usize| match plan.items_of(file) {
            items if has(file) => items.len(),
            items => items.filter(|&item| self.part(item).exists()).count(),
        };
        self.files().fold([0, 0], |[all, there], file| [all + plan.items_of(file).len(), there + done(file)])
    }

    /// Makes what is missing; `tell` hears of every item that is done. `false` if `stop` was set before the end: nothing is lost then.
    ///
    /// # Errors
    /// Latents that cannot be read or do not fit the model, files that cannot be written. What is done stays.
    pub fn run(
        &mut self,
        source: &dyn Source,
        model: &dyn Velocity,
        device: &Device,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(),
    ) -> Result<bool> {
        let mut last = None;
        for file in self.files().collect::<Vec<_>>() {
            if self.folder.join(file_name(file)).exists() {
                continue;
            }
            for item in self.manifest.plan.items_of(file).filter(|&item| !self.part(item).exists()) {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                self.make(item, source, &mut last, model, device)?;
                tell();
            }
            self.pack(file)?;
        }
        self.finish().map(|()| true)
    }

    fn part(&self, item: usize) -> PathBuf {
        self.folder.join(PARTS).join(format!("item-{item:07}.safetensors"))
    }

    /// Makes the pairs of an item. `last` keeps the latents of the source before, for its next draw.
    fn make(
        &self,
        item: usize,
        source: &dyn Source,
        last: &mut Option<(usize, Vec<Array>)>,
        model: &dyn Velocity,
        device: &Device,
    ) -> Result<()> {
        let Plan { options, sources, .. } = &self.manifest.plan;
        let (index, draw) = (item / options.per_latent, item % options.per_latent);
        let latents = match last.take().filter(|(at, _)| *at == index) {
            Some((_, latents)) => latents,
            None => source.latents(index)?,
        };
        let mut arrays = Vec::new();
        for (i, latent) in latents.iter().enumerate() {
            let of_batch = if latents.len() > 1 { format!(":{i}") } else { String::new() };
            let name = format!("{}{of_batch}#{draw}", sources[index]);
            arrays.extend(pair(&name, latent.clone(), model, options, device)?);
        }
        *last = Some((index, latents));
        write(&self.part(item), &arrays, Default::default())
    }

    /// Joins the parts of a file.
    fn pack(&self, file: usize) -> Result<()> {
        let mut arrays = Vec::new();
        let parts: Vec<PathBuf> = self.manifest.plan.items_of(file).map(|item| self.part(item)).collect();
        for path in &parts {
            let part = TensorFile::open(path)?;
            for name in part.tensors().keys() {
                arrays.push((name.clone(), part.read(name)?));
            }
        }
        arrays.sort_by(|a, b| a.0.cmp(&b.0));
        write(&self.folder.join(file_name(file)), &arrays, Default::default())?;
        parts.iter().try_for_each(|path| std::fs::remove_file(path).map_err(|e| Error::io(path, e)))
    }

    fn finish(&mut self) -> Result<()> {
        self.manifest.files =
            self.files().map(|file| FileEntry::read(&self.folder, &file_name(file))).collect::<Result<_>>()?;
        self.manifest.write(&self.folder)?;
        let parts = self.folder.join(PARTS);
        match std::fs::remove_dir_all(&parts) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&parts, e)),
            _ => Ok(()),
        }
    }
}
