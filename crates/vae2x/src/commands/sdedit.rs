//! `vae2x sdedit`: pairs of clean latents and what a flow model makes of them; `vae2x sdedit merge` joins the shards of a job.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use vae2x::{Device, Encoder, EngineOptions, available_bytes};
use vae2x_core::weights::{ModelTensors, TensorFile};
use vae2x_core::{Array, VaeConfig};
use vae2x_media::picture::decode_image;
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};
use vae2x_nn::array::to_tensor;
use vae2x_nn::flow::Captioned;
use vae2x_nn::wan_dit::{DitConfig, DitOptions, DitWeights, WanDit, caption, weights::FILES};
use vae2x_train::data::{Source as Photo, list};
use vae2x_train::latents::LatentFolder;
use vae2x_train::sdedit::{Hashed, Job, Plan, SdeditOptions, Source, Time, hash_files, merge};

use super::fit::crop;
use super::train::stoppable;
use super::train_flow::vae_config;
use super::{check_built, space_choice, start_threads};
use crate::args::{MergeArgs, SdeditArgs, SdeditCommand};
use crate::ui::{self, Progress};
use crate::{usage, weights};

/// Runs the command.
///
/// # Errors
/// If the model, the caption or the latents will not do or do not fit each other, or the folder holds another job.
pub fn run(args: &SdeditArgs) -> anyhow::Result<()> {
    if let Some(SdeditCommand::Merge(args)) = &args.command {
        return join(args);
    }
    start_threads(args.threads)?;
    check_built(args.device)?;
    let device = args.device.for_training(|text| ui::note(text))?;
    let (Some(dit), Some(context)) = (&args.dit, &args.context) else {
        return usage("--dit and --context are missing");
    };
    let Some(folder) = &args.output else { return usage("-o PAIRS is missing") };
    let model = Model::open(dit, context, args)?;
    let input = Input::open(args, model.weights.config())?;
    let plan = Plan {
        model: model.hashed,
        context: model.context_hashed,
        options: options(args),
        input: input.facts,
        sources: input.names,
    };
    let mut job = Job::open(folder, plan, args.shard, args.resume)?;
    let [all, there] = job.progress();
    ui::note(format!("{}: {all} items, {there} of them there already", folder.display()));
    let text = to_tensor(&model.context, "context", &device)?;
    let weights = &model.weights;
    let transformer = WanDit::load(weights.config(), &|name, shape| weights.tensor(name, shape), &device)?;
    let model = Captioned { model: transformer, text };
    let (mut progress, mut done) = (Progress::new("sdedit", (all - there) as f64, "items"), 0.0);
    let mut tell = || {
        done += 1.0;
        progress.set(done);
    };
    let source = Cropped { inner: input.source, patch: model.model.config().patch };
    let finished = stoppable(|stop| job.run(&source, &model, &device, stop, &mut tell))?;
    progress.finish();
    let folder = folder.display();
    match finished {
        true => ui::print(&format!("{folder}: {all} items\n")),
        false => {
            ui::print(&format!("{folder}: stopped after {} of {all} items; go on with --resume\n", done + there as f64))
        }
    }
}

fn join(args: &MergeArgs) -> anyhow::Result<()> {
    let pairs = merge(&args.folders, &args.output)?;
    ui::print(&format!("{}: {pairs} pairs of {} shards\n", args.output.display(), args.folders.len()))
}

fn options(args: &SdeditArgs) -> SdeditOptions {
    let time = match args.t {
        Some(t) => Time::Fixed(t),
        None => Time::LogNormal { median: args.t_median, sigma: args.t_sigma },
    };
    SdeditOptions {
        time,
        steps: usize::from(args.steps),
        per_latent: usize::from(args.per_latent),
        seed: args.seed,
        per_file: usize::from(args.per_file),
    }
}

/// The transformer with its caption, checked but not loaded.
struct Model {
    weights: DitWeights,
    /// `[1, text_len, text_dim]`
    context: Array,
    hashed: Hashed,
    context_hashed: Hashed,
}

impl Model {
    fn open(dit: &Path, context: &Path, args: &SdeditArgs) -> anyhow::Result<Self> {
        let tensors = ModelTensors::open(dit, FILES)?;
        let files: Vec<PathBuf> = tensors.files().map(Path::to_path_buf).collect();
        let weights = DitWeights::find(tensors, DitOptions { heads: args.heads.map(usize::from) })?;
        let text = caption::read(&TensorFile::open(context)?, weights.config())?;
        let need = weights.weights().parameters() as u64 * size_of::<f32>() as u64;
        if need > available_bytes() && !matches!(args.device, Device::Through { .. }) {
            const GIB: f64 = (1u64 << 30) as f64;
            bail!(
                "{}: its weights take {:.1} GiB in 32-bit floats; {:.1} GiB of memory are free",
                dit.display(),
                need as f64 / GIB,
                available_bytes() as f64 / GIB
            );
        }
        Ok(Self {
            hashed: hash_files(dit, files.iter().map(PathBuf::as_path))?,
            context_hashed: hash_files(context, [context])?,
            weights,
            context: text,
        })
    }
}

/// Clean latents with what is known of them.
struct Input {
    source: Box<dyn Source>,
    names: Vec<String>,
    facts: BTreeMap<String, String>,
}

impl Input {
    fn open(args: &SdeditArgs, model: &DitConfig) -> anyhow::Result<Self> {
        match (&args.latents, &args.photos) {
            (Some(folder), _) => Self::latents(args, folder, model),
            (None, Some(folder)) => Self::photos(args, folder),
            (None, None) => usage("--latents DIR or --photos DIR is missing"),
        }
    }

    fn latents(args: &SdeditArgs, folder: &Path, model: &DitConfig) -> anyhow::Result<Self> {
        let choice = space_choice(args.latent_space);
        let latents = LatentFolder::open(folder, choice, &vae_config(args.vae.as_deref())?)?;
        ui::note(format!("{}: latents are {}", folder.display(), latents.space()));
        let channels = latents.read(0)?[0].shape()[0];
        if channels != model.in_channels {
            bail!("{}: latents of {channels} channels; the transformer takes {}", folder.display(), model.in_channels);
        }
        let facts = [("kind", "latents".into()), ("space", latents.space()), ("vae", vae_name(args).into())];
        let facts = facts.map(|(key, value)| (key.to_string(), value)).into();
        Ok(Self { names: latents.names(), source: Box::new(latents), facts })
    }

    fn photos(args: &SdeditArgs, folder: &Path) -> anyhow::Result<Self> {
        let Some(name) = &args.vae else { return usage("--photos needs --vae WEIGHTS to encode them") };
        let photos = list(&[folder.display().to_string()])?;
        let below = |photo: &Photo| {
            let path = photo.path.strip_prefix(folder).unwrap_or(&photo.path);
            let member = photo.member.as_ref().map(|(name, ..)| format!(":{name}")).unwrap_or_default();
            format!("{}{member}", path.display()).replace('\\', "/")
        };
        let names = photos.iter().map(below).collect();
        let vae = weights::open(name)?;
        let facts = [("kind", "photos"), ("vae", vae_name(args)), ("short_side", &args.short_side.to_string())];
        let options = EngineOptions { device: args.device, ..EngineOptions::default() };
        let encoder = Encoder::load(Arc::new(vae), &options)?;
        let source = Photos { photos, encoder, short_side: usize::from(args.short_side) };
        let facts = facts.map(|(key, value)| (key.to_string(), value.to_string())).into();
        Ok(Self { source: Box::new(source), names, facts })
    }
}

/// The last part of the VAE's name, as places differ between machines.
fn vae_name(args: &SdeditArgs) -> &str {
    args.vae.as_deref().map_or("Wan2.1", |name| name.rsplit(['/', '\\']).next().unwrap_or(name))
}

/// Photos, scaled and encoded one by one.
struct Photos {
    photos: Vec<Photo>,
    encoder: Encoder,
    /// Larger ones are scaled to this shorter side.
    short_side: usize,
}

impl Source for Photos {
    fn latents(&self, index: usize) -> vae2x_train::Result<Vec<Array>> {
        let photo = &self.photos[index];
        let mut picture = decode_image(photo.to_string().as_ref(), &photo.read()?)?.pixels;
        let [h, w] = picture_size(&picture)?;
        if h.min(w) > self.short_side {
            let scaled = |n: usize| (n as f64 * self.short_side as f64 / h.min(w) as f64).round() as usize;
            picture = resize(&picture, [scaled(h), scaled(w)], Filter::Lanczos3)?;
            picture.data_mut().iter_mut().for_each(|v| *v = v.clamp(-1.0, 1.0));
        }
        let [h, w] = picture_size(&picture)?.map(|n| n / 8 * 8);
        if h == 0 || w == 0 {
            let what = format!("{photo}: smaller than a latent cell of 8x8 pixels");
            return Err(vae2x_train::Error::Data(what));
        }
        let pixels = crop(&picture, [h, w])?.reshape([1, 3, 1, h, w])?;
        let config: &VaeConfig = self.encoder.config();
        let latent = self.encoder.encode(&pixels, &mut |_| ())?.normalize(config)?;
        Ok(vec![latent.array().item(0)])
    }
}

/// Latents without the last row or column, where they do not fill a patch of the model.
struct Cropped {
    inner: Box<dyn Source>,
    patch: [usize; 3],
}

impl Source for Cropped {
    fn latents(&self, index: usize) -> vae2x_train::Result<Vec<Array>> {
        let fit = |latent: Array| -> vae2x_train::Result<Array> {
            let [c, t, h, w] = latent.dims("latent")?;
            let [_, ph, pw] = self.patch;
            let (height, width) = (h / ph * ph, w / pw * pw);
            if height == 0 || width == 0 {
                let what = format!("a latent of {h}x{w} cells is smaller than the transformer's patch of {ph}x{pw}");
                return Err(vae2x_train::Error::Data(what));
            }
            if [height, width] == [h, w] {
                return Ok(latent);
            }
            let rows = latent.data().chunks_exact(w).enumerate().filter(|(row, _)| row % h < height);
            let values = rows.flat_map(|(_, row)| &row[..width]).copied().collect();
            Ok(Array::new([c, t, height, width], values)?)
        };
        self.inner.latents(index)?.into_iter().map(fit).collect()
    }
}
