//! Milestones of a run: what is never removed, to compare by eye what became of it.
//!
//! `milestones/step-N.safetensors` has the average's weights, or the weights where a run keeps no average, in the form of a checkpoint
//! that is exported but not trained on. `milestones/images/step-N/NAME.png` are the images of the evaluation at that step, without
//! loss; `images/target` and `images/base` or `images/start` have what they are compared with, by the same names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vae2x_core::Array;
use vae2x_media::picture::write_image;

use super::checkpoint::{AVERAGE, CONFIG, GENERATOR, MILESTONE, PROGRESS, Progress};
use super::config::Config;
use super::learner::Learner;
use crate::run::checkpoint::{weights, write};
use crate::{Error, Result};

/// The milestones of a run's folder.
#[derive(Clone, Debug)]
pub struct Milestones {
    folder: PathBuf,
}

impl Milestones {
    /// Those in the folder `milestones` of a run. Nothing is read or written.
    pub fn of(run: &Path) -> Self {
        Self {
            folder: run.join("milestones"),
        }
    }

    /// Where the weights of a step are.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}.safetensors"))
    }

    /// Writes the images of a step.
    ///
    /// # Errors
    /// Writing errors.
    pub fn write_step(&self, step: u64, images: &[(&str, &Array)]) -> Result<()> {
        self.write_images(&format!("step-{step:08}"), images)
    }

    /// Writes what images are compared with, or the images of a step.
    ///
    /// # Errors
    /// Writing errors.
    pub fn write_images(&self, side: &str, images: &[(&str, &Array)]) -> Result<()> {
        let folder = self.folder.join("images").join(side);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        for (name, image) in images {
            let path = folder.join(format!("{name}.png"));
            write_image(&path, image, &Default::default())?;
        }
        Ok(())
    }

    /// Writes the average's weights, or the weights of a run that keeps no average.
    ///
    /// # Errors
    /// Writing errors.
    pub fn write_weights(
        &self,
        learner: &Learner,
        progress: &Progress,
        config: &Config,
    ) -> Result<()> {
        let path = self.path(progress.step);
        std::fs::create_dir_all(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
        let specs = learner.generator.specs(&learner.vae, learner.has_time);
        let arrays = match &learner.average {
            Some(average) => weights(AVERAGE, average, &specs)?,
            None => weights(GENERATOR, &learner.generator, &specs)?,
        };
        let text = serde_json::to_string(progress).map_err(|e| Error::run(&path, e.to_string()))?;
        let metadata = BTreeMap::from([
            (PROGRESS.to_string(), text),
            (CONFIG.to_string(), config.to_toml()?),
            (MILESTONE.to_string(), "weights only".to_string()),
        ]);
        write(&path, &arrays, metadata)
    }
}
