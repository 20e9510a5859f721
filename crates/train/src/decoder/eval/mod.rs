//! Measuring and showing a run: held-out photos, as they are and softened, and given latents, each beside what the model that the run
//! starts from makes of it.

mod baseline;
mod case;
mod sheet;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use vae2x_core::Array;
use vae2x_core::weights::Weights;
use vae2x_measure::metrics::{psnr, sharpness, ssim};
use vae2x_measure::speckle::{LEAST_SIDE, speckle};
use vae2x_media::names::distinct_names;
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::loss::lpips::Lpips;

use baseline::{Baseline, BaselineName};
pub use case::{GivenLatent, MOST_LATENTS, read_latents};
use case::{Photo, read_photo};
use sheet::{Detail, Rows};

use super::config::{EvalConfig, VggChoice};
use super::degradation::Degradation;
use super::learner::Learner;
use super::losses::load_lpips;
use super::terms::LPIPS_NAMES;
use crate::Result;
use crate::data::Source;
use crate::data::crop::clamped;

/// Photos that are shown.
const SHOWN: usize = 4;

/// LPIPS under the name that its network has earned.
pub struct EvalLpips {
    metric: Lpips,
    name: &'static str,
}

impl EvalLpips {
    /// With VGG16 from `choice`.
    ///
    /// # Errors
    /// If a file lacks a tensor.
    pub fn load(choice: &VggChoice, device: &Device) -> Result<Self> {
        Ok(Self {
            metric: load_lpips(choice, device)?,
            name: choice.label(LPIPS_NAMES),
        })
    }
}

/// A latent that is decoded at every evaluation.
enum Subject {
    /// That of a photo, by its index, softened at a flow time, or clean at 0.
    Photo(usize, f64),
    /// Given, raw.
    Latent(Box<Tensor<4>>),
}

impl Subject {
    /// Before the names of its numbers.
    fn prefix(&self) -> String {
        match self {
            Self::Photo(_, 0.0) => String::new(),
            Self::Photo(_, time) => format!("t{time}_"),
            Self::Latent(_) => "latents_".into(),
        }
    }
}

/// A subject with what stays the same over a run.
struct Case {
    /// For names of files.
    name: String,
    subject: Subject,
    baseline: Option<Array>,
    detail: Option<Detail>,
}

/// What is measured and shown of a run.
pub struct Evaluation {
    photos: Vec<Photo>,
    /// Each photo clean and softened, then latents.
    cases: Vec<Case>,
    baseline: Option<BaselineName>,
    /// They do not change.
    baseline_numbers: Means,
    meter: Meter,
}

/// Where the photos come from and what they are measured with.
pub struct EvaluationOptions<'a> {
    /// The photos.
    pub sources: &'a [Source],
    /// Latents.
    pub latents: Vec<GivenLatent>,
    /// Sizes and times.
    pub config: &'a EvalConfig,
    /// Target pixels per input pixel.
    pub factor: usize,
    /// If its weights are there.
    pub lpips: Option<EvalLpips>,
    /// The model that the run starts from; none from scratch.
    pub base: Option<&'a dyn Weights>,
    /// The run's degradation, and its device.
    pub learner: &'a Learner,
}

/// The numbers of an evaluation and the images, one for each case.
pub struct Measured {
    /// Means over photos or latents, by name.
    pub means: BTreeMap<String, f64>,
    outputs: Vec<Array>,
}

impl Evaluation {
    /// Reads the photos and makes the baseline.
    ///
    /// # Errors
    /// If a photo cannot be read or is too small.
    pub fn new(options: EvaluationOptions<'_>) -> Result<Self> {
        let (learner, factor) = (options.learner, options.factor);
        let read = |source| read_photo(source, options.config, factor);
        let photos: Vec<Photo> = options.sources.iter().map(read).collect::<Result<_>>()?;
        let times: &[f64] = match learner.degradation {
            Degradation::None => &[],
            _ => &options.config.times,
        };
        let named = photos_and_latents(options.sources, &options.latents);
        let (of_photos, of_latents) = named.split_at(photos.len());
        let of_photo = |(i, name): (usize, &String)| {
            let softened = times.iter().map(|&t| (format!("{name}-t{t}"), t));
            let all: Vec<_> = [(name.clone(), 0.0)].into_iter().chain(softened).collect();
            all.into_iter()
                .map(move |(name, time)| (name, Subject::Photo(i, time)))
        };
        let given = of_latents.iter().cloned().zip(options.latents);
        let subjects = of_photos
            .iter()
            .enumerate()
            .flat_map(of_photo)
            .chain(given.map(|(name, given)| (name, Subject::Latent(Box::new(given.latent)))));
        let subjects: Vec<_> = subjects.collect();
        let mut evaluation = Self {
            photos,
            cases: Vec::with_capacity(subjects.len()),
            baseline: options.base.map(|base| BaselineName::of(base, factor)),
            baseline_numbers: Means::default(),
            meter: Meter {
                lpips: options.lpips,
                factor,
                device: learner.device().clone(),
            },
        };
        let base = (options.base)
            .map(|base| Baseline::load(base, learner.device()))
            .transpose()?;
        for (name, subject) in subjects {
            evaluation.add(name, subject, base.as_ref(), learner)?;
        }
        Ok(evaluation)
    }

    fn add(
        &mut self,
        name: String,
        subject: Subject,
        base: Option<&Baseline>,
        learner: &Learner,
    ) -> Result<()> {
        let decoded = |base: &Baseline| {
            let latent = match &subject {
                Subject::Latent(latent) => (**latent).clone(),
                Subject::Photo(photo, time) => {
                    let input = batch(&self.photos[*photo].input, &self.meter.device)?;
                    learner.soften(base.encode(input), *time)
                }
            };
            base.decode(latent, self.meter.factor)
        };
        let baseline = base.map(decoded).transpose()?;
        let target = self.target(&subject);
        let detail = target
            .or(baseline.as_ref())
            .map(Detail::busiest)
            .transpose()?;
        if let (Some(image), Some(named)) = (&baseline, self.baseline) {
            let numbers = self.meter.numbers(image, target)?;
            let prefix = format!("{}{}", named.prefix, subject.prefix());
            self.baseline_numbers.add(&prefix, numbers);
        }
        self.cases.push(Case {
            name,
            subject,
            baseline,
            detail,
        });
        Ok(())
    }

    fn target(&self, subject: &Subject) -> Option<&Array> {
        match subject {
            Subject::Photo(photo, _) => Some(&self.photos[*photo].target),
            Subject::Latent(_) => None,
        }
    }

    /// Whether there is nothing to decode.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Decodes everything and measures it: `psnr`, `ssim`, `lpips` (or [`VggChoice::label`]), `sharpness`, relative to the target's, and
    /// `speckle_db` and `lattice_energy_db` where images are large enough. Softened photos have their flow time before their names,
    /// as in `t0.06_psnr`; latents have `latents_`, and no target. The baseline's numbers have `base_` before all that, or `start_`,
    /// if the run does not start from a base decoder.
    ///
    /// # Errors
    /// If the device fails.
    pub fn measure(&self, learner: &Learner) -> Result<Measured> {
        let generator = learner.best_generator();
        let (mut means, mut outputs) = (self.baseline_numbers.clone(), Vec::new());
        for case in &self.cases {
            let latent = match &case.subject {
                Subject::Latent(latent) => (**latent).clone(),
                Subject::Photo(photo, time) => {
                    let input = batch(&self.photos[*photo].input, &self.meter.device)?;
                    learner.soften(learner.encode(&generator, input)?, *time)
                }
            };
            let output = clamped(single(learner.decode(&generator, latent)?)?);
            let numbers = self.meter.numbers(&output, self.target(&case.subject))?;
            means.add(&case.subject.prefix(), numbers);
            outputs.push(output);
        }
        Ok(Measured {
            means: means.finish(),
            outputs,
        })
    }

    /// Sheets by name: `photos`, with the input, the baseline, the output and the target, details, and details of softened ones; and
    /// `latents`.
    ///
    /// # Errors
    /// If an image is none.
    pub fn sheets(&self, measured: &Measured) -> Result<Vec<(&'static str, Array)>> {
        let (mut photos, mut latents) = (Rows::default(), Rows::default());
        let mut softened = Vec::new();
        for (case, output) in self.shown(measured) {
            match case.subject {
                Subject::Photo(photo, 0.0) => {
                    photos.add(std::mem::take(&mut softened));
                    let photo = &self.photos[photo];
                    let size = picture_size(&photo.target)?;
                    let input = resize(&photo.input, size, Filter::Area)?;
                    let mut views = self.views(case, output, Some(&photo.target), "");
                    let details = details(case, &views)?;
                    if let (Some(named), Some(first)) = (self.baseline, views.first_mut()) {
                        first.0 = named.caption.into();
                    }
                    photos.add([vec![(format!("input of {}", case.name), input)], views].concat());
                    photos.add(details);
                }
                Subject::Photo(_, time) => {
                    let views = self.views(case, output, None, &format!(" t{time}"));
                    softened.extend(details(case, &views)?);
                }
                Subject::Latent(_) => {
                    let mut views = self.views(case, output, None, "");
                    let details = details(case, &views)?;
                    if let Some(first) = views.first_mut() {
                        first.0.push_str(&format!(" of {}", case.name));
                    }
                    latents.add([views, details].concat());
                }
            }
        }
        photos.add(softened);
        let sheets = [("photos", photos.sheet()?), ("latents", latents.sheet()?)];
        let there = |(name, sheet): (&'static str, Option<Array>)| Some((name, sheet?));
        Ok(sheets.into_iter().filter_map(there).collect())
    }

    /// Baseline, output and target of a case, with captions that end in `end`.
    fn views(
        &self,
        case: &Case,
        output: &Array,
        target: Option<&Array>,
        end: &str,
    ) -> Vec<(String, Array)> {
        let caption = self.baseline.map_or("", |named| named.short());
        let baseline = case.baseline.as_ref().map(|image| (caption, image));
        let views = baseline
            .into_iter()
            .chain([("output", output)])
            .chain(target.map(|target| ("target", target)));
        views
            .map(|(caption, image)| (format!("{caption}{end}"), image.clone()))
            .collect()
    }

    /// Cases that are shown, and their outputs.
    fn shown<'a>(&'a self, measured: &'a Measured) -> impl Iterator<Item = (&'a Case, &'a Array)> {
        let cases = self.cases.iter().zip(&measured.outputs);
        cases.filter(|(case, _)| is_shown(case))
    }

    /// Images that are shown, by name.
    pub fn images<'a>(&'a self, measured: &'a Measured) -> Vec<(&'a str, &'a Array)> {
        let named = |(case, output): (&'a Case, &'a Array)| (case.name.as_str(), output);
        self.shown(measured).map(named).collect()
    }

    /// What these images are compared with, by the same names: `target`, and `base` or `start`.
    pub fn references(&self) -> Vec<(&'static str, Vec<(&str, &Array)>)> {
        let shown = || self.cases.iter().filter(|case| is_shown(case));
        let targets =
            shown().filter_map(|case| Some((case.name.as_str(), self.target(&case.subject)?)));
        let baselines =
            shown().filter_map(|case| Some((case.name.as_str(), case.baseline.as_ref()?)));
        let baseline = self
            .baseline
            .map(|named| named.prefix.trim_end_matches('_'));
        let sides = [("target", targets.collect::<Vec<_>>())].into_iter();
        sides
            .chain(baseline.map(|name| (name, baselines.collect())))
            .filter(|(_, images)| !images.is_empty())
            .collect()
    }
}

fn is_shown(case: &Case) -> bool {
    !matches!(case.subject, Subject::Photo(photo, _) if photo >= SHOWN)
}

/// Details of the views of a case.
fn details(case: &Case, views: &[(String, Array)]) -> Result<Vec<(String, Array)>> {
    let Some(detail) = case.detail else {
        return Ok(Vec::new());
    };
    let view =
        |(caption, image): &(String, Array)| Ok((Detail::caption(caption), detail.of(image)?));
    views.iter().map(view).collect()
}

/// Names of photos and of latents, as files may have them.
fn photos_and_latents(sources: &[Source], latents: &[GivenLatent]) -> Vec<String> {
    let of_photos = sources.iter().map(|source| source.to_string().into());
    let paths: Vec<_> = of_photos
        .chain(latents.iter().map(|given| given.path.clone()))
        .collect();
    let plain = |name: String| {
        let plain = |c: char| {
            if c.is_alphanumeric() || "-_. ".contains(c) {
                c
            } else {
                '-'
            }
        };
        name.chars().map(plain).collect()
    };
    let names = distinct_names(&paths, |_| "png");
    names.into_iter().map(plain).collect()
}

/// Sums and counts by name.
#[derive(Clone, Default)]
struct Means(BTreeMap<String, (f64, usize)>);

impl Means {
    fn add(&mut self, prefix: &str, numbers: Vec<(&'static str, f64)>) {
        for (name, value) in numbers {
            let (sum, count) = self.0.entry(format!("{prefix}{name}")).or_default();
            *sum += value;
            *count += 1;
        }
    }

    fn finish(self) -> BTreeMap<String, f64> {
        let mean = |(name, (sum, count)): (String, (f64, usize))| (name, sum / count as f64);
        self.0.into_iter().map(mean).collect()
    }
}

/// What images are measured with.
struct Meter {
    lpips: Option<EvalLpips>,
    /// Target pixels per input pixel.
    factor: usize,
    device: Device,
}

impl Meter {
    /// Numbers by name; those that need no target where there is none.
    fn numbers(&self, image: &Array, target: Option<&Array>) -> Result<Vec<(&'static str, f64)>> {
        let mut numbers = Vec::new();
        let is_large = |side: &usize| *side >= LEAST_SIDE * self.factor;
        if picture_size(image)?.iter().all(is_large) {
            let score = speckle(image, self.factor)?;
            numbers.push(("speckle_db", score.speckle_db));
            numbers.push(("lattice_energy_db", score.lattice_energy_db));
        }
        let Some(target) = target else {
            return Ok(numbers);
        };
        numbers.push(("psnr", psnr(image, target)?));
        numbers.push(("ssim", ssim(image, target)?));
        numbers.push(("sharpness", sharpness(image)? / sharpness(target)?));
        if let Some(lpips) = &self.lpips {
            let [image, target] = [image, target].map(|image| batch(image, &self.device));
            let distance = lpips.metric.distance(image?, target?);
            numbers.push((lpips.name, f64::from(distance.into_scalar::<f32>())));
        }
        Ok(numbers)
    }
}

fn batch(picture: &Array, device: &Device) -> Result<Tensor<4>> {
    Ok(to_tensor::<3>(picture, "picture", device)?.unsqueeze::<4>())
}

fn single(pictures: Tensor<4>) -> Result<Array> {
    Ok(to_array(pictures.squeeze_dim::<3>(0))?)
}
