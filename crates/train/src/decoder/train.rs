//! The training of a decoder: [`train`] sets everything up, [`Training::advance`] is a step of [`run::train`]'s loop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use vae2x_core::temp;
use vae2x_media::picture::{PictureFormat, encode_image};
use vae2x_media::pixels::picture_size;

use super::batch::Batch;
use super::checkpoint::{Checkpoints, Progress, save};
use super::collective::Collective;
use super::config::Config;
use super::eval::Evaluation;
use super::learner::Learner;
use super::milestones::Milestones;
use super::processes::Processes;
use super::ranks::Followers;
use super::start::{Inputs, dataset_options, evaluation, photos, ranks};
use crate::data::{Dataset, Loader};
use crate::log::Screen;
use crate::run::{self, Intervals, Lock, Record, Work, write_config};
use crate::{Error, Result};

/// Where a run is, what it computes on, and how it is stopped.
pub struct RunOptions<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// Without autodiff; each is a rank. A single one where several processes train together.
    pub devices: &'a [Device],
    /// The processes that train together, if there are several; each calls [`train`] with the same configuration and folder, and with
    /// its place among them.
    pub processes: Option<Arc<dyn Collective>>,
    /// Set from outside: finish the step, store, end.
    pub stop: &'a AtomicBool,
    /// Where the run is shown.
    pub screen: &'a mut dyn Screen,
}

/// Trains from the newest checkpoint, or from the start, to the last step or until stopped.
///
/// # Errors
/// [`Error::Diverged`], data that cannot be used, files that cannot be written, a folder in which another process trains. The
/// checkpoints written so far stay.
pub fn train(config: &Config, inputs: &Inputs, options: RunOptions<'_>) -> Result<Progress> {
    let RunOptions {
        folder,
        devices,
        processes,
        stop,
        screen,
    } = options;
    let processes = Processes::new(processes, devices.len())?;
    let is_first = processes.is_first();
    let lock = (is_first && folder.exists())
        .then(|| Lock::take(folder))
        .transpose()?;
    let checkpoints = Checkpoints::of(folder);
    let checkpoint = processes.newest(&checkpoints, screen)?;
    let progress = checkpoint
        .as_ref()
        .map(|c| c.progress.clone())
        .unwrap_or_default();
    let (learner, followers) = ranks(config, inputs, checkpoint.as_ref(), devices, &processes)?;
    drop(checkpoint);
    let photos = photos(config, screen)?;
    processes.compare(&photos)?;
    screen.note(&format!(
        "{} photos to train on, {} held out",
        photos.train.len(),
        photos.held_out.len()
    ));
    // The others decode nothing.
    let measured = match is_first {
        true => (&photos.held_out[..], &config.eval.latents[..]),
        false => (&[][..], &[][..]),
    };
    let evaluation = evaluation(config, inputs, measured, &learner, screen)?;
    let dataset = Arc::new(Dataset::new(photos.train, dataset_options(config)));
    let loader = Loader::start(
        &dataset,
        progress.samples,
        processes.share(config.train.batch),
        config.data.workers,
        config.data.prefetch,
    )?;
    let (_lock, mut record) = match is_first {
        true => {
            let lock = begin(folder, lock, config, &checkpoints)?;
            let record = Record::open(folder, progress.step, screen)?;
            let record = record.with_tensorboard(folder, progress.step)?;
            (Some(lock), record)
        }
        false => (None, Record::unwritten(screen)),
    };
    let mut training = Training {
        config,
        folder,
        devices,
        processes,
        learner,
        followers,
        evaluation,
        dataset,
        loader,
        checkpoints,
        milestones: Milestones::of(folder),
        since: (Instant::now(), progress.samples),
        values: Vec::new(),
        progress,
    };
    training.write_references()?;
    run::train(&mut training, intervals(config), &mut record, stop)?;
    Ok(training.progress)
}

/// From here on there is a run. Changes to the configuration of an old one are kept.
fn begin(
    folder: &Path,
    lock: Option<Lock>,
    config: &Config,
    checkpoints: &Checkpoints,
) -> Result<Lock> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let lock = lock.map_or_else(|| Lock::take(folder), Ok)?;
    write_config(folder, config)?;
    checkpoints.prepare()?;
    Ok(lock)
}

fn intervals(config: &Config) -> Intervals {
    Intervals {
        steps: config.train.steps,
        log: config.log.every,
        evaluate: config.log.eval_every,
        checkpoint: config.log.checkpoint_every,
        milestone: config.log.milestone_every,
    }
}

/// A run under way.
struct Training<'a> {
    config: &'a Config,
    folder: &'a Path,
    devices: &'a [Device],
    processes: Processes,
    learner: Learner,
    followers: Followers,
    evaluation: Evaluation,
    dataset: Arc<Dataset>,
    loader: Loader,
    checkpoints: Checkpoints,
    milestones: Milestones,
    progress: Progress,
    /// The losses and norms of the last step.
    values: Vec<(String, f64)>,
    /// When the speed was last measured from, and the samples taken by then.
    since: (Instant, u64),
}

impl Work for Training<'_> {
    fn step(&self) -> u64 {
        self.progress.step
    }

    fn begin(&mut self, record: &mut Record<'_>) -> Result<()> {
        // The model that is trained before anything was; it is never the best.
        self.measure(record)?;
        Ok(())
    }

    fn advance(&mut self, record: &mut Record<'_>) -> Result<()> {
        let step = self.progress.step;
        let mut batches = self.next_batches()?;
        for news in self.dataset.take_news() {
            let (dropped, all) = (self.dataset.dropped(), self.dataset.len());
            record.note(&format!(
                "skipped {news} ({dropped} of {all} photos so far)"
            ));
        }

        self.followers.order(step, batches.split_off(1));
        let work = self
            .learner
            .advance(step, batches.remove(0))
            .map_err(|error| self.explain(error))?;
        self.progress.step += 1;
        self.progress.samples = self.loader.next();
        self.progress.skips = self.learner.skips;
        let named = work.values.iter();
        self.values = named.map(|(name, v)| (name.to_string(), *v)).collect();
        match work.problem {
            None => self.learner.update_average(step),
            Some(problem) => self.note_skip(record, &problem, &work.skipped)?,
        }
        Ok(())
    }

    fn report(&mut self) -> Vec<(String, f64)> {
        let (start, samples) = self.since;
        let rate = (self.progress.samples - samples) as f64 / start.elapsed().as_secs_f64();
        self.measure_speed_anew();
        let mut values = std::mem::take(&mut self.values);
        values.push(("images_per_second".to_string(), rate));
        if self.config.train.skip_bad > 0 {
            values.push(("skipped".to_string(), self.progress.skips.total as f64));
        }
        values
    }

    fn evaluate(&mut self, record: &mut Record<'_>) -> Result<bool> {
        let psnr = self.measure(record)?;
        // A discriminator takes PSNR from images that look better for it.
        let is_judged = !self.learner.was_adversarial();
        Ok(psnr.is_some_and(|psnr| is_judged && self.progress.keep_if_best(psnr)))
    }

    fn keep_milestone(&mut self) -> Result<()> {
        if !self.processes.is_first() {
            return Ok(());
        }
        self.milestones
            .write_weights(&self.learner, &self.progress, self.config)
    }

    fn agree(&mut self, is_stopped: bool) -> Result<bool> {
        self.processes.agree(is_stopped)
    }

    fn store(&mut self) -> Result<()> {
        if !self.processes.is_first() {
            return Ok(());
        }
        let path = self.checkpoints.path(self.progress.step);
        save(&path, &self.learner, &self.progress, self.config)?;
        let best = self.progress.best.map(|(step, _)| step);
        self.checkpoints.prune(self.config.log.keep, best)
    }
}

impl Training<'_> {
    /// Measures the model as it is; sheets go to files, and a milestone's images too. Returns PSNR, if there are photos.
    fn measure(&mut self, record: &mut Record<'_>) -> Result<Option<f64>> {
        if !self.processes.is_first() || self.evaluation.is_empty() {
            return Ok(None);
        }
        let step = self.progress.step;
        let measured = self.evaluation.measure(&self.learner)?;
        let folder = self.folder.join("samples");
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        for (name, sheet) in self.evaluation.sheets(&measured)? {
            let png = encode_image(&sheet, PictureFormat::Png, &Default::default())?;
            temp::write_bytes(&folder.join(format!("step-{step:08}-{name}.png")), &png)?;
            record.image(
                &format!("samples/{name}"),
                step,
                picture_size(&sheet)?,
                &png,
            )?;
        }
        let intervals = intervals(self.config);
        if intervals.is_milestone(step) {
            let images = self.evaluation.images(&measured);
            self.milestones.write_step(step, &images)?;
        }
        let psnr = measured.means.get("psnr").copied();
        record.add("eval", step, measured.means)?;
        self.measure_speed_anew();
        Ok(psnr)
    }

    /// Writes what milestones are compared with.
    fn write_references(&self) -> Result<()> {
        if !self.processes.is_first() || self.config.log.milestone_every == 0 {
            return Ok(());
        }
        for (side, images) in self.evaluation.references() {
            self.milestones.write_images(side, &images)?;
        }
        Ok(())
    }

    /// The batches of a step, by rank.
    fn next_batches(&mut self) -> Result<Vec<Vec<Batch>>> {
        let train = &self.config.train;
        let mut ranks: Vec<Vec<Batch>> = vec![Vec::new(); self.devices.len()];
        for _ in 0..train.accumulate {
            for (batches, device) in ranks.iter_mut().zip(self.devices) {
                let samples = (0..train.batch)
                    .map(|_| self.loader.take())
                    .collect::<Result<Vec<_>>>()?;
                batches.push(Batch::new(samples, device)?);
            }
        }
        Ok(ranks)
    }

    /// Why a step failed, where another rank may know. Ends the run on all of them.
    fn explain(&mut self, error: Error) -> Error {
        self.learner.member = None;
        std::mem::take(&mut self.followers).explain(error)
    }

    /// Reports a step that was skipped, with the photos of all ranks.
    fn note_skip(
        &mut self,
        record: &mut Record<'_>,
        problem: &str,
        names: &[String],
    ) -> Result<()> {
        /// Photos that are named.
        const NAMED: usize = 64;
        let skips = self.progress.skips;
        let mut photos = names[..names.len().min(NAMED)].join(", ");
        if names.len() > NAMED {
            photos.push_str(&format!(" and {} more", names.len() - NAMED));
        }
        let note = format!(
            "skipped a bad batch ({} in a row, {} in all): {problem}; the samples were {photos}",
            skips.in_a_row, skips.total
        );
        let skipped = ("skipped".to_string(), skips.total as f64);
        let values = self.values.iter().cloned().chain([skipped]);
        record.add_noted("skip", self.progress.step, values, note)
    }

    fn measure_speed_anew(&mut self) {
        self.since = (Instant::now(), self.progress.samples);
    }
}

impl Progress {
    /// Keeps a score as the best if it is better than all before, and returns whether it is.
    fn keep_if_best(&mut self, score: f64) -> bool {
        let is_best = score.is_finite() && self.best.is_none_or(|(_, best)| score > best);
        if is_best {
            self.best = Some((self.step, score));
        }
        is_best
    }
}
