//! How a run starts or goes on: photos, networks and their optimizers, the other ranks.

use std::collections::HashSet;
use std::sync::Arc;

use burn::tensor::Device;
use vae2x_core::weights::Weights;
use vae2x_nn::discriminator::formula_tensor;

use super::checkpoint::{AVERAGE, Checkpoint, Checkpoints, GENERATOR, Newest};
use super::collective::Collective;
use super::config::{Config, Part};
use super::eval::{EvalLpips, Evaluation, EvaluationOptions, read_latents};
use super::learner::{Learner, Start};
use super::losses::VggChoices;
use super::meeting::Member;
use super::model::{Generator, Overlay};
use super::processes::Processes;
use super::ranks::Followers;
use crate::data::dataset::DatasetOptions;
use crate::data::{CropOptions, Limits, Source, list};
use crate::log::Screen;
use crate::{Error, Result};

/// Power iterations of a new discriminator. Its singular vectors start at random; after as many the largest singular value is known
/// to a few percent, and the first gradients are those of the network that later steps have.
const BIRTH_ITERATIONS: usize = 20;

/// Weights that a run starts with.
pub struct Inputs {
    /// The model to start from.
    pub base: Arc<dyn Weights>,
    /// Weights of the losses' networks.
    pub choices: VggChoices,
}

/// The newest checkpoint that can be read. Damaged ones after it are renamed, so that they no longer count as checkpoints.
pub(super) fn newest(
    checkpoints: &Checkpoints,
    screen: &mut dyn Screen,
) -> Result<Option<Checkpoint>> {
    let Newest {
        checkpoint,
        damaged,
    } = checkpoints.newest()?;
    for (path, error) in damaged {
        let aside = path.with_added_extension("damaged");
        std::fs::rename(&path, &aside).map_err(|e| Error::io(&path, e))?;
        screen.note(&format!(
            "skipped a damaged checkpoint, and kept it as {}: {error}",
            aside.display()
        ));
    }
    Ok(checkpoint)
}

/// Both networks with their optimizers, as a checkpoint has them or as they start.
///
/// # Errors
/// If weights are missing or of another model, or a checkpoint is not whole.
pub fn build(
    config: &Config,
    inputs: &Inputs,
    checkpoint: Option<&Checkpoint>,
    device: &Device,
) -> Result<Learner> {
    let base = inputs.base.as_ref();
    let overlay = |prefix| -> Result<Overlay<'_>> {
        let mut overlay = Overlay::new(base, config.scale(), config.model.start)?;
        if config.is_of_images() {
            overlay = overlay.for_images();
        }
        Ok(match checkpoint {
            Some(checkpoint) => overlay.with_checkpoint(&checkpoint.file, prefix),
            None => overlay,
        })
    };
    if let Some(checkpoint) = checkpoint {
        if checkpoint.is_milestone() {
            let problem = "a milestone has a model's weights alone; expected a checkpoint";
            return Err(Error::run(checkpoint.file.path(), problem));
        }
        let overlay = overlay(GENERATOR)?;
        checkpoint.check(overlay.config(), overlay.has_time())?;
        if checkpoint.has_encoder() && config.part() == Part::Decoder {
            return Err(Error::Config(
                "train.parts is [\"decoder\"], but the run has trained the encoder too; expected [\"all\"]".into(),
            ));
        }
    }
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
        iterations: match critic {
            Some(_) => 0,
            None => BIRTH_ITERATIONS,
        },
    };
    let mut learner = Learner::new(config, &inputs.choices, &start, device)?;
    if let Some(checkpoint) = checkpoint {
        checkpoint.restore(&mut learner, config.gan.width)?;
        learner.skips = checkpoint.progress.skips;
        // A run that begins to keep an average begins with its own weights.
        if learner.average.is_some() && checkpoint.has_average() {
            let with_encoder = learner.generator.encoder.is_some();
            learner.average = Some(Generator::load(&overlay(AVERAGE)?, with_encoder, device)?);
        }
    }
    Ok(learner)
}

/// The photos of a run.
pub(super) struct Photos {
    /// Photos to train on.
    pub train: Vec<Source>,
    /// Photos to measure on, none of which is trained on.
    pub held_out: Vec<Source>,
}

/// Lists the photos of a run, and tells of tar shards that cannot be listed whole.
pub(super) fn photos(config: &Config, screen: &mut dyn Screen) -> Result<Photos> {
    let mut list = |places: &[String]| -> Result<Vec<Source>> {
        let listing = list(places)?;
        for (path, why) in listing.damaged {
            screen.note(&format!(
                "skipped what is left of {}: {why}",
                path.display()
            ));
        }
        Ok(listing.photos)
    };
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

pub(super) fn dataset_options(config: &Config) -> DatasetOptions {
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
        crops_per_photo: data.crops_per_photo,
        shuffle: data.shuffle,
    }
}

pub(super) fn evaluation(
    config: &Config,
    inputs: &Inputs,
    (sources, latents): (&[Source], &[String]),
    learner: &Learner,
    screen: &mut dyn Screen,
) -> Result<Evaluation> {
    let (base, device) = (inputs.base.as_ref(), learner.device());
    let cells = config.eval.size / (base.config().spatial() * config.scale());
    let latents = read_latents(latents, cells, base.config(), device, screen)?;
    Evaluation::new(EvaluationOptions {
        sources,
        latents,
        config: &config.eval,
        factor: config.scale(),
        lpips: inputs
            .choices
            .vgg16
            .as_ref()
            .map(|choice| EvalLpips::load(choice, device))
            .transpose()?,
        base: config.model.base.is_some().then_some(base),
        learner,
    })
}

/// The first rank of this process, and the others at work. Only a run's first rank needs the average of the weights.
pub(super) fn ranks(
    config: &Config,
    inputs: &Inputs,
    checkpoint: Option<&Checkpoint>,
    devices: &[Device],
    processes: &Processes,
) -> Result<(Learner, Followers)> {
    let [first, others @ ..] = devices else {
        return Err(Error::Config("no device to train on".into()));
    };
    let mut learner = build(config, inputs, checkpoint, first)?;
    let mut members = Member::meet(devices.len()).into_iter();
    learner.member = members
        .next()
        .filter(|_| !others.is_empty())
        .map(|member| Arc::new(member) as Arc<dyn Collective>)
        .or_else(|| processes.collective());
    if !processes.is_first() {
        learner.average = None;
    }
    let follower = |(device, member)| {
        let mut learner = build(config, inputs, checkpoint, device)?;
        learner.member = Some(Arc::new(member));
        learner.average = None;
        Ok(learner)
    };
    let learners = others
        .iter()
        .zip(members)
        .map(follower)
        .collect::<Result<_>>()?;
    Ok((learner, Followers::start(learners)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::NoScreen;

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
            let photos = photos(&config(held_out), &mut NoScreen).unwrap();
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
