//! `vae2x sdedit`: pairs of clean latents and what a flow model makes of them; `vae2x sdedit merge` joins the shards of a job.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::bail;
use vae2x::{DEMO_MODELS, Device, Pixels, Vae};
use vae2x_core::weights::{ModelTensors, TensorFile, VaeWeights, Weights};
use vae2x_core::{Array, VaeConfig};
use vae2x_nn::array::to_tensor;
use vae2x_soften::latents::LatentFolder;
use vae2x_soften::sdedit::{
    Cropped, Hashed, Job, Maker, Manifest, Photos, Plan, SdeditOptions, Skipped, Source, Time,
    hash_files, merge,
};
use vae2x_soften::velocity::Captioned;
use vae2x_soften::wan_dit::{DitConfig, DitOptions, DitWeights, WanDit, caption, weights::FILES};
use vae2x_train::data::{Source as Photo, list};

use super::training::{open_device, start_threads, stoppable};
use crate::args::{MergeArgs, SdeditArgs, SdeditCommand, TimeDraw};
use crate::compute::{Compute, open_weights};
use crate::ui::{self, Meter};
use crate::usage;

/// Runs the command. What is known at once is checked before the model's files are hashed and loaded, which takes long.
///
/// # Errors
/// If the model, the caption or the latents cannot be used or do not fit each other, or the folder holds another job.
pub fn run(args: &SdeditArgs) -> anyhow::Result<()> {
    if let Some(SdeditCommand::Merge(args)) = &args.command {
        return join(args);
    }
    start_threads(args.threads)?;
    args.device.require_built()?;
    let (Some(dit), Some(context)) = (&args.dit, &args.context) else {
        return usage("--dit and --context are missing");
    };
    let Some(folder) = &args.output else {
        return usage("-o PAIRS is missing");
    };
    let model = Model::open(dit, context, args)?;
    let input = Input::open(args, model.weights.config())?;
    check_memory(&model.weights, &input, args.device)?;
    let mut plan = Plan {
        model: Hashed::default(),
        context: Hashed::default(),
        vae: None,
        options: options(args),
        input: input.facts(args, model.weights.config()),
        sources: input.names(args),
    };
    Job::check(folder, &plan, args.shard, args.resume)?;
    check_shards(args, &plan);
    hash(&mut plan, &model, &input)?;
    let mut job = Job::open(folder, plan, args.shard, args.resume)?;
    let [all, there] = job.progress();
    ui::note(format!(
        "{}: {all} items, {there} of them already there",
        folder.display()
    ));
    let made = if all == there {
        job.finish().map(|()| all)?
    } else {
        make(&mut job, args, &model, input)?
    };
    ui::print(match made == all {
        true => format!(
            "{}: {all} items{}",
            folder.display(),
            left_out(job.manifest())
        ),
        false => format!(
            "{}: stopped after {made} of {all} items; continue with --resume",
            folder.display()
        ),
    })
}

fn join(args: &MergeArgs) -> anyhow::Result<()> {
    let Some(manifest) = stoppable(|stop| merge(&args.folders, &args.output, stop))? else {
        return ui::print(format!(
            "{}: stopped; nothing is left",
            args.output.display()
        ));
    };
    let (folder, pairs, shards) = (args.output.display(), manifest.pairs(), args.folders.len());
    ui::print(format!(
        "{folder}: {pairs} pairs from {shards} shards{}",
        left_out(&manifest)
    ))
}

/// Warns of sources without pairs.
fn left_out(manifest: &Manifest) -> String {
    match manifest.skipped().len() {
        0 => String::new(),
        n => format!(
            "; {n} of {} sources were skipped, see manifest.json",
            manifest.plan.sources.len()
        ),
    }
}

/// Loads the model and makes what is missing of the job. Gives the number of items that are there then.
fn make(job: &mut Job, args: &SdeditArgs, model: &Model, input: Input) -> anyhow::Result<usize> {
    let device = open_device(args.device)?;
    let text = to_tensor(&model.context, "context", &device)?;
    let model = Captioned {
        model: load(&model.weights, &device)?,
        text,
    };
    let DitConfig {
        in_channels, patch, ..
    } = *model.model.config();
    let source = Cropped {
        source: input.source(args)?,
        channels: in_channels,
        patch,
    };
    let [all, there] = job.progress();
    let mut progress = Meter::new("sdedit", (all - there) as f64, "items");
    let (mut done, mut warned) = (0, BTreeSet::new());
    let mut tell = |skipped: Option<&Skipped>| {
        done += 1;
        progress.set(f64::from(done));
        if let Some(Skipped { name, why }) =
            skipped.filter(|skipped| warned.insert(skipped.name.clone()))
        {
            ui::warn(format!("{name}: {why}; it is skipped"));
        }
    };
    let maker = Maker {
        source: &source,
        model: &model,
        device: &device,
    };
    stoppable(|stop| job.run(maker, stop, &mut tell))?;
    progress.finish();
    Ok(there + done as usize)
}

/// Loads the transformer.
fn load(weights: &DitWeights, device: &burn::tensor::Device) -> anyhow::Result<WanDit> {
    let progress = RefCell::new(Counter::new(
        "loading the transformer",
        weight_bytes(weights),
    ));
    let source = |name: &str, shape: &[usize]| {
        let array = weights.tensor(name, shape)?;
        progress.borrow_mut().add(size_of_val(array.data()));
        Ok(array)
    };
    let model = WanDit::load(weights.config(), &source, device)?;
    progress.into_inner().bar.finish();
    Ok(model)
}

/// The progress of hashing bytes.
struct Counter {
    bar: Meter,
    done: u64,
}

impl Counter {
    fn new(label: &str, bytes: u64) -> Self {
        Self {
            bar: Meter::new(label, bytes as f64, "bytes"),
            done: 0,
        }
    }

    fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        self.bar.set(self.done as f64);
    }
}

/// Fills in what identifies the files of a plan.
fn hash(plan: &mut Plan, model: &Model, input: &Input) -> anyhow::Result<()> {
    let vae = input.vae.as_ref().filter(|vae| !is_demo(vae));
    let of_vae: Vec<&Path> = vae.iter().flat_map(|vae| vae.files()).collect();
    let files = model.files.iter().map(PathBuf::as_path);
    let bytes = files
        .clone()
        .chain(of_vae.iter().copied())
        .map(|path| path.metadata().map_or(0, |found| found.len()));
    let mut progress = Counter::new("hashing the models", bytes.sum());
    let mut tell = |bytes| progress.add(bytes);
    plan.model = hash_files(model.weights.weights().path(), files, &mut tell)?;
    plan.vae = vae
        .map(|vae| hash_files(vae.path(), of_vae, &mut tell))
        .transpose()?;
    plan.context = hash_files(
        &model.context_file,
        [model.context_file.as_path()],
        &mut |_| (),
    )?;
    progress.bar.finish();
    Ok(())
}

/// Whether this is a bundled demo model, which its name identifies.
fn is_demo(vae: &VaeWeights) -> bool {
    DEMO_MODELS.iter().any(|name| vae.path() == Path::new(name))
}

/// Bytes of the weights in 32-bit floats, as they are computed with.
fn weight_bytes(weights: &DitWeights) -> u64 {
    weights.weights().parameters() as u64 * size_of::<f32>() as u64
}

/// Refuses a model that the device, whichever `auto` is, cannot hold together with a pass over the largest latent. What the
/// encoder of photos holds is small compared to it.
fn check_memory(weights: &DitWeights, input: &Input, device: Device) -> anyhow::Result<()> {
    const GIB: f64 = (1u64 << 30) as f64;
    let gib = |bytes: u64| bytes as f64 / GIB;
    let [held, pass] = [
        weight_bytes(weights),
        input
            .largest
            .map_or(0, |size| weights.config().activation_bytes(size)),
    ];
    let there = vae2x::memory_for_training(device)?;
    if held.saturating_add(pass) > there {
        let size = input
            .largest
            .map_or_else(String::new, |[t, h, w]| format!(" of {t}x{h}x{w} cells"));
        bail!(
            "{}: needs about {:.1} GiB: {:.1} for weights in 32-bit floats, {:.1} for a latent{size}; {:.1} GiB are available",
            weights.weights().path().display(),
            gib(held + pass),
            gib(held),
            gib(pass),
            gib(there)
        );
    }
    Ok(())
}

/// Warns of shards that have nothing to do.
fn check_shards(args: &SdeditArgs, plan: &Plan) {
    let (files, shards) = (plan.files(), args.shard.of);
    if shards > files {
        let per_file = (plan.items() / shards).max(1);
        ui::warn(format!(
            "shards consist of whole files, and of {shards} shards {} have none; --per-file {per_file} makes more and smaller files",
            shards - files
        ));
    }
}

fn options(args: &SdeditArgs) -> SdeditOptions {
    let median = args.t_median;
    let time = match (args.t, args.t_draw) {
        (Some(t), _) => Time::Fixed(t),
        (None, TimeDraw::LogitNormal) => Time::LogitNormal {
            median,
            sigma: args.t_sigma.unwrap_or(1.0),
        },
        (None, TimeDraw::LogNormal) => Time::LogNormal {
            median,
            sigma: args.t_sigma.unwrap_or(0.5),
        },
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
    files: Vec<PathBuf>,
    /// `[1, text_len, text_dim]`
    context: Array,
    context_file: PathBuf,
}

impl Model {
    fn open(dit: &Path, context: &Path, args: &SdeditArgs) -> anyhow::Result<Self> {
        let tensors = ModelTensors::open(dit, FILES)?;
        let files = tensors.files().map(Path::to_path_buf).collect();
        let weights = DitWeights::find(
            tensors,
            DitOptions {
                heads: args.heads.map(usize::from),
            },
        )?;
        let text = caption::read(&TensorFile::open(context)?, weights.config())?;
        Ok(Self {
            weights,
            files,
            context: text,
            context_file: context.to_path_buf(),
        })
    }
}

/// Clean latents with what is known of them; nothing is loaded.
struct Input {
    of: Kind,
    vae: Option<VaeWeights>,
    /// Latent frames, rows and columns of the largest one.
    largest: Option<[usize; 3]>,
}

enum Kind {
    Latents(Box<LatentFolder>),
    Photos(Vec<Photo>),
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
        let vae = args.vae.as_deref().map(open_weights).transpose()?;
        let config = vae
            .as_ref()
            .map_or_else(VaeConfig::default, |vae| vae.config().clone());
        let latents = LatentFolder::open(folder, args.latent_space, &config)?;
        ui::note(format!(
            "{}: latents are {}",
            folder.display(),
            latents.space()
        ));
        let first =
            (0..latents.len()).find_map(|index| latents.read(index).ok()?.into_iter().next());
        if let Some(channels) = first
            .map(|latent| latent.shape()[0])
            .filter(|&c| c != model.in_channels)
        {
            bail!(
                "{}: latents of {channels} channels; the transformer takes {}",
                folder.display(),
                model.in_channels
            );
        }
        Ok(Self {
            largest: latents.largest(),
            of: Kind::Latents(Box::new(latents)),
            vae,
        })
    }

    fn photos(args: &SdeditArgs, folder: &Path) -> anyhow::Result<Self> {
        /// Photos are taken to be at most twice as long as they are high: their true sizes are known when they are read.
        const RATIO: usize = 2;
        let Some(name) = &args.vae else {
            return usage("--photos needs --vae WEIGHTS to encode them");
        };
        let listing = list(&[folder.display().to_string()])?;
        for (path, why) in &listing.damaged {
            ui::warn(format!(
                "{}: {why}; the rest of it is skipped",
                path.display()
            ));
        }
        let vae = open_weights(name)?;
        let side = usize::from(args.short_side) / vae.config().spatial();
        Ok(Self {
            of: Kind::Photos(listing.photos),
            vae: Some(vae),
            largest: Some([1, side, RATIO * side]),
        })
    }

    /// Names of the sources, the same on every machine.
    fn names(&self, args: &SdeditArgs) -> Vec<String> {
        let folder = args.photos.as_deref().unwrap_or(Path::new(""));
        let below = |photo: &Photo| {
            let path = photo.path.strip_prefix(folder).unwrap_or(&photo.path);
            let member = photo
                .member
                .as_ref()
                .map(|(name, ..)| format!(":{name}"))
                .unwrap_or_default();
            format!("{}{member}", path.display()).replace('\\', "/")
        };
        match &self.of {
            Kind::Latents(latents) => latents.names(),
            Kind::Photos(photos) => photos.iter().map(below).collect(),
        }
    }

    /// Facts that identify a job besides names and hashes of files.
    fn facts(&self, args: &SdeditArgs, model: &DitConfig) -> BTreeMap<String, String> {
        let of_input = match &self.of {
            Kind::Latents(latents) => [("kind", "latents".into()), ("space", latents.space())],
            Kind::Photos(_) => [
                ("kind", "photos".into()),
                ("short_side", args.short_side.to_string()),
            ],
        };
        let vae = match &self.vae {
            None => "Wan2.1".into(),
            Some(vae) if is_demo(vae) => vae.path().display().to_string(),
            Some(_) => "a file".into(),
        };
        let config = self
            .vae
            .as_ref()
            .map_or_else(VaeConfig::default, |vae| vae.config().clone());
        let others = [
            ("transformer", model.to_json().split_whitespace().collect()),
            ("vae", vae),
            ("vae_mean", format!("{:?}", config.latents_mean)),
            ("vae_std", format!("{:?}", config.latents_std)),
        ];
        of_input
            .into_iter()
            .chain(others)
            .map(|(key, value)| (key.to_string(), value))
            .collect()
    }

    /// Loads the model that encodes photos.
    fn source(self, args: &SdeditArgs) -> anyhow::Result<Box<dyn Source>> {
        let files = match self.of {
            Kind::Latents(latents) => return Ok(latents),
            Kind::Photos(photos) => photos,
        };
        let Some(vae) = self.vae else {
            return usage("--photos needs --vae WEIGHTS to encode them");
        };
        let compute = Compute {
            threads: args.threads.map(usize::from),
            ..Compute::on(args.device)?
        };
        let cell = vae.config().spatial();
        // The transformer is on the device too.
        let vae = compute.build(Vae::from_file(vae).models(2))?;
        let encode = move |pixels: &Array| {
            let latent = vae.encode(&Pixels::new(pixels.clone())?)?;
            latent.settle(vae.config())?.0.normalize(vae.config())
        };
        Ok(Box::new(Photos {
            files,
            short_side: usize::from(args.short_side),
            cell,
            encode,
        }))
    }
}
