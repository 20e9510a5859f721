//! A run's whole state in one safetensors file, written to a temporary file and renamed.
//!
//! `generator.NAME`, `average.NAME` and `optimizer.generator.NAME.{m,v,t}` with the model's own names; `discriminator.N.{weight,bias,u,v}`
//! and `optimizer.discriminator.N...`. The metadata holds the configuration and [`Progress`]. All random numbers follow from
//! the seed, the step and the sample's number, so they need no place here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, VaeConfig};
use vae2x_nn::array::to_array;
use vae2x_nn::discriminator;

use super::config::{Config, Part};
use super::learner::{Learner, discriminator_names};
use super::model::specs;
use super::step::Skips;
use crate::run::checkpoint::{Expected, find, metadata, read, weights, write};
use crate::{Error, Result};

pub(super) const PROGRESS: &str = "vae2x.progress";
pub(super) const CONFIG: &str = "vae2x.config";
/// Marks files that have a model's weights and nothing to train it on with.
pub(super) const MILESTONE: &str = "vae2x.milestone";
/// Prefix of the trained tensors.
pub const GENERATOR: &str = "generator";
/// Prefix of their moving average.
pub const AVERAGE: &str = "average";
const DISCRIMINATOR: &str = "discriminator";
const OPTIMIZER: &str = "optimizer";

/// Before a step's number in names of checkpoints.
const STEP: &str = "step-";
/// Before that of the best one.
const BEST: &str = "best-psnr-step-";

/// How far a run is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Samples taken: the place in the data.
    pub samples: u64,
    /// The step with the best PSNR on held-out photos before a discriminator acted, and that PSNR.
    pub best: Option<(u64, f64)>,
    /// Steps that were skipped.
    #[serde(default)]
    pub skips: Skips,
}

impl Progress {
    /// Refuses numbers that no run reaches.
    fn check(&self) -> Result<(), String> {
        /// Beyond it, counting on would come to the end of the numbers.
        const MOST: u64 = 1 << 62;
        let Skips { total, in_a_row } = self.skips;
        let numbers = [self.step, self.samples, total, in_a_row];
        match numbers.into_iter().find(|&n| n > MOST) {
            Some(n) => Err(format!("{n} steps or samples; expected at most {MOST}")),
            None => Ok(()),
        }
    }
}

/// A checkpoint file whose header has been read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The tensors.
    pub file: TensorFile,
    /// How far the run was.
    pub progress: Progress,
    /// The run's configuration.
    pub config: Config,
}

impl Checkpoint {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Run`] if it is not a checkpoint.
    pub fn open(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let progress: Progress = metadata(&file, PROGRESS, |text| serde_json::from_str(text))?;
        progress
            .check()
            .map_err(|what| Error::run(path, format!("{PROGRESS}: {what}")))?;
        let config = metadata(&file, CONFIG, |text| Config::parse(text, &[]))?;
        Ok(Self {
            progress,
            config,
            file,
        })
    }

    /// Whether the run has kept an average of its weights.
    pub fn has_average(&self) -> bool {
        let prefix = format!("{AVERAGE}.");
        self.file
            .tensors()
            .keys()
            .any(|name| name.starts_with(&prefix))
    }

    /// Whether it has a model's weights alone.
    pub fn is_milestone(&self) -> bool {
        self.file.metadata().contains_key(MILESTONE)
    }

    /// Whether the run has had a discriminator.
    pub fn has_discriminator(&self) -> bool {
        let prefix = format!("{DISCRIMINATOR}.");
        self.file
            .tensors()
            .keys()
            .any(|name| name.starts_with(&prefix))
    }

    /// Whether the run has trained the encoder.
    pub fn has_encoder(&self) -> bool {
        self.config.part() != Part::Decoder
    }

    /// Checks that the file has every tensor of the run's state, in its shape, and no others. `vae` is the model that is trained, and
    /// `has_time` whether all of its temporal taps are.
    ///
    /// # Errors
    /// [`vae2x_core::Error::TensorSet`], [`vae2x_core::Error::Tensor`].
    pub fn check(&self, vae: &VaeConfig, has_time: bool) -> vae2x_core::Result<()> {
        let specs = specs(vae, has_time, self.has_encoder());
        let parameters = || {
            specs
                .iter()
                .map(|spec| (spec.name.as_str(), &spec.shape[..]))
        };
        let mut expected = Expected::default();
        if self.has_average() {
            expected = expected.weights(AVERAGE, parameters());
        }
        if !self.is_milestone() || !self.has_average() {
            expected = expected.weights(GENERATOR, parameters());
        }
        if !self.is_milestone() {
            expected = expected.states(&format!("{OPTIMIZER}.{GENERATOR}"), parameters());
        }
        if self.has_discriminator() {
            let tensors = discriminator::tensors(self.config.gan.width);
            let tensors = || {
                tensors
                    .iter()
                    .map(|(name, shape)| (name.as_str(), &shape[..]))
            };
            expected = expected
                .weights(DISCRIMINATOR, tensors())
                .states(&format!("{OPTIMIZER}.{DISCRIMINATOR}"), tensors());
        }
        expected.check(&self.file)
    }

    /// A tensor of the discriminator.
    ///
    /// # Errors
    /// If it is missing, of another shape, or not finite.
    pub fn discriminator(&self, name: &str, shape: &[usize]) -> vae2x_core::Result<Array> {
        read(&self.file, &format!("{DISCRIMINATOR}.{name}"), shape)
    }

    /// Gives both optimizers their state back. The networks have theirs from the start.
    ///
    /// # Errors
    /// Reading errors.
    pub fn restore(&self, learner: &mut Learner, width: usize) -> Result<()> {
        let device = learner.device().clone();
        let find = |name: &str| Ok(find(&self.file, name)?);
        learner
            .adam
            .restore(&generator_names(learner), &find, &device)?;
        if let Some(critic) = &mut learner.critic {
            critic.adam.restore(
                &optimizer_names(DISCRIMINATOR, &discriminator_names(width)),
                &find,
                &device,
            )?;
        }
        Ok(())
    }
}

fn optimizer_names(prefix: &str, names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("{OPTIMIZER}.{prefix}.{name}"))
        .collect()
}

fn generator_names(learner: &Learner) -> Vec<String> {
    let specs = learner.generator.specs(&learner.vae, learner.has_time);
    optimizer_names(
        GENERATOR,
        &specs.into_iter().map(|s| s.name).collect::<Vec<_>>(),
    )
}

/// Writes a checkpoint, whole or not at all; when this returns, it outlasts a power cut.
///
/// # Errors
/// Writing errors, a full disk among them: what was there before stays.
pub fn save(path: &Path, learner: &Learner, progress: &Progress, config: &Config) -> Result<()> {
    let specs = learner.generator.specs(&learner.vae, learner.has_time);
    let mut arrays = weights(GENERATOR, &learner.generator, &specs)?;
    if let Some(average) = &learner.average {
        arrays.extend(weights(AVERAGE, average, &specs)?);
    }
    arrays.extend(learner.adam.read(&generator_names(learner))?);
    if let Some(critic) = &learner.critic {
        for (i, conv) in critic.network.convs.iter().enumerate() {
            let name = |part: &str| format!("{DISCRIMINATOR}.{i}.{part}");
            arrays.push((
                name("weight"),
                to_array(conv.weight.val().without_autodiff())?,
            ));
            arrays.push((name("bias"), to_array(conv.bias.val().without_autodiff())?));
            arrays.push((name("u"), to_array(critic.spectral.u[i].clone())?));
            arrays.push((name("v"), to_array(critic.spectral.v[i].clone())?));
        }
        let names = optimizer_names(DISCRIMINATOR, &discriminator_names(config.gan.width));
        arrays.extend(critic.adam.read(&names)?);
    }
    let progress = serde_json::to_string(progress).map_err(|e| Error::run(path, e.to_string()))?;
    let metadata = BTreeMap::from([
        (PROGRESS.to_string(), progress),
        (CONFIG.to_string(), config.to_toml()?),
    ]);
    write(path, &arrays, metadata)
}

/// The checkpoints of a run folder. Only who holds the run's lock may [`Self::prepare`] or [`Self::prune`].
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// The newest checkpoint that can be opened.
#[derive(Debug)]
pub struct Newest {
    /// `None` where there are no checkpoints at all.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that cannot be opened, and why.
    pub damaged: Vec<(PathBuf, Error)>,
}

impl Checkpoints {
    /// Those in the folder `checkpoints` of a run. Nothing is read or written.
    pub fn of(run: &Path) -> Self {
        Self {
            folder: run.join("checkpoints"),
        }
    }

    /// Makes the folder, and removes what an earlier, killed process left half written.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn prepare(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
        for name in names(&self.folder)? {
            if name.starts_with(".step-") && name.ends_with(".tmp") {
                let path = self.folder.join(name);
                std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
            }
        }
        Ok(())
    }

    /// Where the checkpoint of a step is written.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("{STEP}{step:08}.safetensors"))
    }

    /// Where the checkpoint of the best step is, once newer ones are kept.
    pub fn best_path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("{BEST}{step:08}.safetensors"))
    }

    /// Where the checkpoint of a step is, if there is one.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn find(&self, step: u64) -> Result<Option<PathBuf>> {
        let files = self.files()?;
        Ok(files.into_iter().find(|(n, _)| *n == step).map(|(_, p)| p))
    }

    /// Steps that have a checkpoint, in order.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>> {
        Ok(self.files()?.into_iter().map(|(step, _)| step).collect())
    }

    /// Steps and their files, in order.
    fn files(&self) -> Result<Vec<(u64, PathBuf)>> {
        let step = |name: &String| {
            let number = name
                .strip_prefix(STEP)
                .or_else(|| name.strip_prefix(BEST))?
                .strip_suffix(".safetensors")?;
            Some((number.parse().ok()?, self.folder.join(name)))
        };
        let names = if self.folder.exists() {
            names(&self.folder)?
        } else {
            Vec::new()
        };
        let mut files: Vec<(u64, PathBuf)> = names.iter().filter_map(step).collect();
        files.sort_unstable();
        Ok(files)
    }

    /// The newest that can be opened.
    ///
    /// # Errors
    /// If there are some and none can be opened: the newest one's error.
    pub fn newest(&self) -> Result<Newest> {
        let mut damaged = Vec::new();
        for (_, path) in self.files()?.into_iter().rev() {
            match Checkpoint::open(&path) {
                Ok(checkpoint) => {
                    return Ok(Newest {
                        checkpoint: Some(checkpoint),
                        damaged,
                    });
                }
                Err(error) => damaged.push((path, error)),
            }
        }
        match damaged.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(Newest {
                checkpoint: None,
                damaged: Vec::new(),
            }),
        }
    }

    /// Removes all but the last `keep` and the best, which gets a name that says so when it is no longer among the last.
    ///
    /// # Errors
    /// If a file cannot be removed or renamed.
    pub fn prune(&self, keep: usize, best: Option<u64>) -> Result<()> {
        for (step, path) in self.files()?.iter().rev().skip(keep) {
            let done = match Some(*step) == best {
                true => std::fs::rename(path, self.best_path(*step)),
                false => std::fs::remove_file(path),
            };
            done.map_err(|e| Error::io(path, e))?;
        }
        Ok(())
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    Ok(entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_and_the_best_are_kept_and_leftovers_go() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(run.path());
        checkpoints.prepare().unwrap();
        for step in [5, 10, 15, 20, 25] {
            std::fs::write(checkpoints.path(step), b"").unwrap();
        }
        std::fs::write(
            run.path()
                .join("checkpoints/.step-00000030.safetensors.1-2.tmp"),
            b"",
        )
        .unwrap();
        checkpoints.prepare().unwrap();
        checkpoints.prune(2, Some(10)).unwrap();
        assert_eq!(checkpoints.steps().unwrap(), [10, 20, 25]);
        let place = |step| checkpoints.find(step).unwrap();
        assert_eq!(place(10), Some(checkpoints.best_path(10)));
        assert_eq!(place(20), Some(checkpoints.path(20)));
        assert_eq!(place(5), None);
        assert_eq!(names(&run.path().join("checkpoints")).unwrap().len(), 3);
    }

    #[test]
    fn looking_changes_nothing() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(run.path());
        assert!(checkpoints.newest().unwrap().checkpoint.is_none());
        assert!(names(run.path()).unwrap().is_empty());
        checkpoints.prepare().unwrap();
        // What a process that trains is writing at this moment.
        let unfinished = ".step-00000030.safetensors.1-2.tmp";
        std::fs::write(run.path().join("checkpoints").join(unfinished), b"").unwrap();
        assert!(checkpoints.newest().unwrap().checkpoint.is_none());
        assert_eq!(
            names(&run.path().join("checkpoints")).unwrap(),
            [unfinished]
        );
    }

    #[test]
    fn other_files_are_no_checkpoints() {
        let other = vae2x_testkit::fixture("losses/cases.safetensors");
        assert!(matches!(
            Checkpoint::open(&other).err(),
            Some(Error::Run { path, .. }) if path == other
        ));
    }
}
