//! The loop: batch, discriminator, generator, average, log; every so often measure, show, store.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use vae2x_core::temp;
use vae2x_core::weights::Weights;
use vae2x_nn::discriminator::formula_tensor;

use crate::checkpoint::{AVERAGE, Checkpoint, Checkpoints, GENERATOR, Newest, Progress, save};
use crate::data::loader::DatasetOptions;
use crate::data::{CropOptions, Dataset, Limits, Loader, Source, list};
use crate::eval::{EvalLpips, Evaluation, EvaluationOptions};
use crate::lock::Lock;
use crate::log::{EventFile, JsonLog, Line, Screen};
use crate::losses::VggChoices;
use crate::model::{Generator, Overlay};
use crate::ranks::{Followers, Member};
use crate::step::{Batch, Learner, Start};
use crate::{Config, Error, Result};

/// The file of a run folder that holds its configuration.
pub const CONFIG_FILE: &str = "config.toml";

/// What a run reads beside its photos.
pub struct Inputs {
    /// The model to start from.
    pub base: Arc<dyn Weights>,
    /// Weights of the losses' networks.
    pub choices: VggChoices,
}

/// Where a run is and how it is told to stop.
pub struct RunOptions<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// Without autodiff; each is a rank.
    pub devices: &'a [Device],
    /// Set from outside: finish the step, store, end.
    pub stop: &'a AtomicBool,
    /// What the user sees.
    pub screen: &'a mut dyn Screen,
}

/// Whether a new run may begin in a folder.
///
/// # Errors
/// [`Error::Run`] if the folder holds a run already.
pub fn check_new(folder: &Path) -> Result<()> {
    if folder.join(CONFIG_FILE).exists() {
        let problem = "holds a run already; go on with --resume, or choose another folder".into();
        return Err(Error::Run {
            path: folder.to_path_buf(),
            problem,
        });
    }
    Ok(())
}

/// Runs from the newest checkpoint, or from the start, to the last step or until stopped.
///
/// # Errors
/// [`Error::Diverged`], data that cannot be used, files that cannot be written, a folder in which another process trains. The
/// checkpoints written so far stay.
pub fn train(config: &Config, inputs: &Inputs, options: RunOptions<'_>) -> Result<Progress> {
    let RunOptions {
        folder,
        devices,
        stop,
        screen,
    } = options;
    let lock = folder.exists().then(|| Lock::take(folder)).transpose()?;
    let checkpoints = Checkpoints::of(folder);
    let checkpoint = go_on(&checkpoints, screen)?;
    let mut progress = checkpoint
        .as_ref()
        .map(|c| c.progress.clone())
        .unwrap_or_default();
    let (mut learner, followers) = ranks(config, inputs, checkpoint.as_ref(), devices)?;
    drop(checkpoint);
    let photos = photos(config)?;
    screen.note(&format!(
        "{} photos to train on, {} held out",
        photos.train.len(),
        photos.held_out.len()
    ));
    let evaluation = evaluation(config, inputs, &photos.held_out, learner.device())?;
    let dataset = Arc::new(Dataset::new(photos.train, dataset_options(config)));
    let mut loader = Loader::start(
        &dataset,
        progress.samples,
        config.data.workers,
        config.data.prefetch,
    )?;
    // From here on there is a run; changes to an old one's configuration are kept.
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let _lock = lock.map_or_else(|| Lock::take(folder), Ok)?;
    temp::write_bytes(&folder.join(CONFIG_FILE), config.to_toml()?.as_bytes())?;
    checkpoints.prepare()?;
    let mut record = Record::open(folder, progress.step)?;
    let mut since = (Instant::now(), progress.samples);

    while progress.step < config.train.steps {
        let mut batches = next_batches(config, &mut loader, devices)?;
        for news in dataset.take_news() {
            screen.note(&format!(
                "skipped {news} ({} of {} photos so far)",
                dataset.dropped(),
                dataset.len()
            ));
        }

        followers.order(progress.step, batches.split_off(1));
        let mut work = learner.begin(progress.step, batches.remove(0));
        let updated = learner
            .discriminator_step(&mut work)
            .and_then(|()| learner.generator_step(&mut work));
        if let Err(error) = updated {
            drop(learner);
            return Err(followers.explain(error));
        }
        learner.update_average(progress.step);
        progress.step += 1;
        progress.samples = loader.next();

        screen.step(progress.step);
        let is_last = progress.step == config.train.steps;
        let stopped = stop.load(Ordering::Relaxed) || screen.wants_stop();
        let due = |every: u64| is_last || progress.step.is_multiple_of(every);
        if due(config.log.every) {
            let rate = (progress.samples - since.1) as f64 / since.0.elapsed().as_secs_f64();
            let values = work.values.iter().map(|(name, value)| (*name, *value));
            record.add(
                screen,
                "train",
                progress.step,
                values.chain([("images_per_second", rate)]),
            )?;
            since = (Instant::now(), progress.samples);
        }
        let mut is_best = false;
        if due(config.log.eval_every) && !evaluation.is_empty() {
            let measured = evaluation.measure(&learner, &record.sheet(progress.step)?)?;
            record.add(
                screen,
                "eval",
                progress.step,
                measured.iter().map(|(n, v)| (n.as_str(), *v)),
            )?;
            is_best = measured
                .get("psnr")
                .is_some_and(|&score| progress.is_better(score));
            if let (true, Some(&score)) = (is_best, measured.get("psnr")) {
                progress.best = Some((progress.step, score));
            }
            since = (Instant::now(), progress.samples);
        }
        if due(config.log.checkpoint_every) || is_best || stopped {
            record.json.sync()?;
            save(
                &checkpoints.path(progress.step),
                &learner,
                &progress,
                config,
            )?;
            checkpoints.prune(config.log.keep, progress.best.map(|best| best.0))?;
        }
        if stopped {
            break;
        }
    }
    Ok(progress)
}

/// The newest checkpoint. Damaged ones after it are set aside under another name, so that they do not count as checkpoints.
fn go_on(checkpoints: &Checkpoints, screen: &mut dyn Screen) -> Result<Option<Checkpoint>> {
    let Newest {
        checkpoint,
        damaged,
    } = checkpoints.newest()?;
    for (path, error) in damaged {
        let aside = path.with_added_extension("damaged");
        std::fs::rename(&path, &aside).map_err(|e| Error::io(&path, e))?;
        screen.note(&format!(
            "a damaged checkpoint is passed over, and kept as {}: {error}",
            aside.display()
        ));
    }
    Ok(checkpoint)
}

impl Progress {
    fn is_better(&self, score: f64) -> bool {
        score.is_finite() && self.best.is_none_or(|(_, best)| score > best)
    }
}

/// Both networks with their optimizers, as a checkpoint has them or as they start.
///
/// # Errors
/// If weights are missing or of another model.
pub fn build(
    config: &Config,
    inputs: &Inputs,
    checkpoint: Option<&Checkpoint>,
    device: &Device,
) -> Result<Learner> {
    let base = inputs.base.as_ref();
    let overlay = |prefix| -> Result<Overlay<'_>> {
        let overlay = Overlay::new(base, config.scale(), config.model.start)?;
        Ok(match checkpoint {
            Some(checkpoint) => overlay.with_checkpoint(&checkpoint.file, prefix),
            None => overlay,
        })
    };
    // A run may begin to have a discriminator later.
    let critic = checkpoint.filter(|checkpoint| checkpoint.has_discriminator());
    let start_value = |name: &str, shape: &[usize]| match critic {
        Some(checkpoint) => checkpoint.discriminator(name, shape),
        None => formula_tensor(
            &format!("{}.discriminator.{name}", config.train.seed),
            shape,
        ),
    };
    let start = Start {
        weights: &overlay(GENERATOR)?,
        base,
        discriminator: &start_value,
    };
    let mut learner = Learner::new(config, &inputs.choices, &start, device)?;
    if let Some(checkpoint) = checkpoint {
        checkpoint.restore(&mut learner, config.gan.width)?;
        // A run that begins to keep an average begins with its own weights.
        if learner.average.is_some() && checkpoint.has_average() {
            let with_encoder = learner.generator.encoder.is_some();
            learner.average = Some(Generator::load(&overlay(AVERAGE)?, with_encoder, device)?);
        }
    }
    Ok(learner)
}

struct Photos {
    train: Vec<Source>,
    held_out: Vec<Source>,
}

fn photos(config: &Config) -> Result<Photos> {
    let held_out = list(&config.data.held_out)?;
    let mut train = list(&config.data.photos)?;
    let places: HashSet<_> = held_out.iter().map(Source::place).collect();
    train.retain(|source| places.is_empty() || !places.contains(&source.place()));
    if train.is_empty() {
        return Err(Error::Data(
            "all photos are held out; none is left to train on".into(),
        ));
    }
    Ok(Photos { train, held_out })
}

fn dataset_options(config: &Config) -> DatasetOptions {
    let data = &config.data;
    DatasetOptions {
        limits: Limits {
            min_side: data.min_side.max(data.crop),
            min_sharpness: data.min_sharpness,
            min_jpeg_quality: data.min_jpeg_quality,
        },
        crop: CropOptions {
            side: data.crop,
            factor: config.scale(),
            scale: data.scale,
            flip: data.flip,
        },
        seed: config.train.seed,
        cache: data.cache,
    }
}

fn evaluation(
    config: &Config,
    inputs: &Inputs,
    sources: &[Source],
    device: &Device,
) -> Result<Evaluation> {
    let options = EvaluationOptions {
        sources,
        config: &config.eval,
        factor: config.scale(),
        lpips: inputs
            .choices
            .vgg16
            .as_ref()
            .map(|choice| EvalLpips::load(choice, device))
            .transpose()?,
        base: Some(inputs.base.as_ref()).filter(|_| config.scale() > 1),
    };
    Evaluation::new(options, device)
}

/// The first rank, and the others at work.
fn ranks(
    config: &Config,
    inputs: &Inputs,
    checkpoint: Option<&Checkpoint>,
    devices: &[Device],
) -> Result<(Learner, Followers)> {
    let [first, others @ ..] = devices else {
        return Err(Error::Config("no device to train on".into()));
    };
    let mut learner = build(config, inputs, checkpoint, first)?;
    let mut members = Member::meet(devices.len()).into_iter();
    learner.member = members.next().filter(|_| !others.is_empty());
    let follower = |(device, member)| {
        let mut learner = build(config, inputs, checkpoint, device)?;
        (learner.member, learner.average) = (Some(member), None);
        Ok(learner)
    };
    let learners = others
        .iter()
        .zip(members)
        .map(follower)
        .collect::<Result<_>>()?;
    Ok((learner, Followers::start(learners)?))
}

/// The batches of a step, by rank.
fn next_batches(
    config: &Config,
    loader: &mut Loader,
    devices: &[Device],
) -> Result<Vec<Vec<Batch>>> {
    let mut ranks: Vec<Vec<Batch>> = vec![Vec::new(); devices.len()];
    for _ in 0..config.train.accumulate {
        for (batches, device) in ranks.iter_mut().zip(devices) {
            let samples = (0..config.train.batch)
                .map(|_| loader.take())
                .collect::<Result<Vec<_>>>()?;
            batches.push(Batch::new(samples, device)?);
        }
    }
    Ok(ranks)
}

/// The files that a run's numbers go to.
struct Record {
    json: JsonLog,
    events: EventFile,
    sheets: PathBuf,
}

impl Record {
    fn open(folder: &Path, step: u64) -> Result<Self> {
        Ok(Self {
            json: JsonLog::open(&folder.join("log.jsonl"), step)?,
            events: EventFile::create(&folder.join("tensorboard"), step)?,
            sheets: folder.join("samples"),
        })
    }

    /// Numbers that are not finite are left out: JSON has none.
    fn add<'a>(
        &mut self,
        screen: &mut dyn Screen,
        kind: &str,
        step: u64,
        values: impl Iterator<Item = (&'a str, f64)>,
    ) -> Result<()> {
        let values: BTreeMap<String, f64> = values
            .filter(|(_, v)| v.is_finite())
            .map(|(name, value)| (name.to_string(), value))
            .collect();
        let line = Line {
            step,
            kind: kind.into(),
            values,
        };
        screen.line(&line);
        self.json.add(&line)?;
        self.events.add(&line)
    }

    fn sheet(&self, step: u64) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.sheets).map_err(|e| Error::io(&self.sheets, e))?;
        Ok(self.sheets.join(format!("step-{step:08}.png")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same file by another spelling, by a link, and inside a tar file by another spelling.
    #[cfg(unix)]
    #[test]
    fn held_out_photos_are_known_by_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("photos/sub")).unwrap();
        for name in ["a.png", "b.png", "c.png"] {
            std::fs::write(at("photos").join(name), name).unwrap();
        }
        std::os::unix::fs::symlink(at("photos/b.png"), at("link.png")).unwrap();
        let mut shard = tar::Builder::new(std::fs::File::create(at("photos/s.tar")).unwrap());
        for name in ["a.png", "b.png"] {
            shard
                .append_path_with_name(at("photos").join(name), name)
                .unwrap();
        }
        shard.finish().unwrap();
        std::os::unix::fs::symlink(at("photos/s.tar"), at("s.tar")).unwrap();
        let root = folder.path().display().to_string();
        let config = |held_out: &str| {
            let text = format!(
                "model.base = \"none\"\n[data]\nphotos = [\"{root}/photos\"]\nheld_out = [{held_out}]\n"
            );
            Config::parse(&text, &[]).unwrap()
        };
        let left = |held_out: &str| {
            let photos = photos(&config(held_out)).unwrap();
            photos
                .train
                .iter()
                .map(|source| source.to_string().rsplit('/').next().unwrap().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            left(""),
            ["a.png", "b.png", "c.png", "s.tar:a.png", "s.tar:b.png"]
        );
        let spelled = format!("\"{root}/photos/sub/../a.png\", \"{root}/link.png\"");
        assert_eq!(left(&spelled), ["c.png", "s.tar:a.png", "s.tar:b.png"]);
        assert_eq!(
            left(&format!("\"{root}/s.tar\"")),
            ["a.png", "b.png", "c.png"]
        );
    }
}
