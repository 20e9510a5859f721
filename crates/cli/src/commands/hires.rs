//! `vae2x hires`: latents decoded at twice the size and encoded again, for a second pass of a diffusion model that adds detail.
//!
//! A latent frame's pixels are encoded as soon as they are decoded, so that memory does not grow with a clip. The result is of
//! the input's space, raw or normalized, where its file can hold that, and packed if the input was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use vae2x::{Decoder, Encoder, EngineOptions, Parts};
use vae2x_core::latent::{Raw, Space, to_raw};
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, VaeConfig, time};
use vae2x_media::latent::{LatentFile, LatentFormat, pack, write_latent};

use super::inputs::{check_files, check_single, in_folder, is_folder};
use super::upscale::require_enlarging;
use super::{
    Timer, check_settled, check_time, engine_options, keep_or_remove, latent_options, said_space,
};
use crate::args::HiresArgs;
use crate::timings::{Timings, timed};
use crate::ui::{self, Progress};
use crate::{memory, usage, weights};

/// Latent frames that tell a clip's memory.
const STEP: usize = 2;

/// What to do with the result.
const COMFY_HINT: &str = "in ComfyUI: put the file into input/, then LoadLatent, a KSampler of the same model at a denoise of \
                          0.3 to 0.6, and decode; in vae2x: decode what that KSampler saves";

/// An input and where its result goes.
struct Job {
    file: LatentFile,
    path: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If an input, the weights or the output will not do.
pub fn run(args: &HiresArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        let vae = weights::name(&args.vae)?;
        let options = engine_options(&args.run)?;
        let paths = targets(args)?;
        check_files(&args.inputs, vae, &paths, args.run.timings.as_deref())?;
        let open = |(input, path): (&PathBuf, PathBuf)| {
            Ok(Job {
                file: LatentFile::open(input, &latent_options(&args.latent))?,
                path,
            })
        };
        let jobs = args
            .inputs
            .iter()
            .zip(paths)
            .map(open)
            .collect::<anyhow::Result<Vec<_>>>()?;
        refine(args, options, jobs, weights::open_vae(&args.vae)?)
    })
}

/// Where each result goes.
fn targets(args: &HiresArgs) -> anyhow::Result<Vec<PathBuf>> {
    if is_folder(&args.output) {
        return in_folder(&args.output, &args.inputs, kind);
    }
    match LatentFormat::from_path(&args.output) {
        Ok(_) => check_single(&args.output, &args.inputs).map(|()| vec![args.output.clone()]),
        Err(e) => usage(format!("{e}, or into a folder")),
    }
}

/// The extension of an input's kind; safetensors for those that are only read.
fn kind(input: &Path) -> &'static str {
    match LatentFormat::from_path(input) {
        Ok(LatentFormat::Comfy) => "latent",
        Ok(LatentFormat::Npy) => "npy",
        Ok(LatentFormat::Safetensors) | Err(_) => "safetensors",
    }
}

fn refine(
    args: &HiresArgs,
    options: EngineOptions,
    jobs: Vec<Job>,
    weights: VaeWeights,
) -> anyhow::Result<()> {
    let mut timings = Timings::default();
    let options = EngineOptions {
        others: 1,
        ..options
    }
    .settled(weights.config(), Parts::Both)?;
    check_settled(&options)?;
    require_enlarging(&weights)?;
    for job in &jobs {
        check_time(&job.file, &weights)?;
        check_memory(args, &job.file, &weights, &options)?;
    }
    let models = timed(&mut timings.load_s, || Models::load(weights, &options))?;
    super::say_device(&options, &models.decoder.engine());
    let frames = |job: &Job| job.file.array.shape()[0] * job.file.array.shape()[2];
    let mut progress = Progress::new(
        "refining",
        jobs.iter().map(frames).sum::<usize>() as f64,
        "latent frames",
    );
    let (mut timer, mut done, mut list) = (Timer::start(), 0.0, String::new());
    for job in jobs {
        let frames = frames(&job) as f64;
        let shown = job.file.path.display().to_string();
        let space = said_space(&job.file, models.decoder.config(), args.latent.latent_space)?.space;
        let raw = to_raw(job.file.array, space, models.decoder.config())?;
        let larger = models
            .refine(&raw, &mut |part| progress.set(done + part))
            .with_context(|| shown)?;
        let text = if args.no_metadata {
            Vec::new()
        } else {
            job.file.text
        };
        let target = Target {
            path: job.path,
            space,
            is_packed: job.file.packed,
            text,
        };
        let space = timed(&mut timings.save_s, || {
            target.write(larger, models.decoder.config())
        })?;
        list += &format!("{} ({space})\n", target.path.display());
        done += frames;
    }
    progress.finish();
    timings.decode_s = Some(timer.lap() - timings.save_s);
    ui::print(&list)?;
    ui::note(COMFY_HINT);
    timings.engine = models.decoder.engine();
    timings.device_bytes = models.decoder.device_memory();
    timings.threads = options.thread_count()?;
    Ok(args
        .run
        .timings
        .as_ref()
        .map_or(Ok(()), |path| timings.write(path))?)
}

fn check_memory(
    args: &HiresArgs,
    file: &LatentFile,
    weights: &VaeWeights,
    options: &EngineOptions,
) -> anyhow::Result<()> {
    let [_, _, t, h, w] = file.array.dims("latent")?;
    let side = weights.config().pixels_per_cell()?;
    let frames = t.min(STEP);
    let decoding = options.decode_memory(weights.config(), [frames, h, w])?;
    let encoding =
        options.encode_memory(weights.config(), [time::frames(frames), side * h, side * w])?;
    match decoding.zip(encoding) {
        Some((decoding, encoding)) => memory::check(
            &format!(
                "{}: decoding and encoding {t} latent frames of {w}x{h} cells",
                file.path.display()
            ),
            memory::together(decoding, encoding),
            args.run.memory,
        ),
        None => Ok(()),
    }
}

/// Both halves of a model.
struct Models {
    decoder: Decoder,
    encoder: Encoder,
}

impl Models {
    fn load(weights: VaeWeights, options: &EngineOptions) -> vae2x_core::Result<Self> {
        let weights = Arc::new(weights);
        Ok(Self {
            decoder: Decoder::load(weights.clone(), options)?,
            encoder: Encoder::load(weights, options)?,
        })
    }

    /// `progress` hears the number of latent frames done.
    ///
    /// # Shapes
    /// `[B, z, T, h, w]` -> `[B, z, T, r h, r w]`
    fn refine(&self, raw: &Raw, progress: &mut (dyn FnMut(f64) + Send)) -> vae2x_core::Result<Raw> {
        // Pixels to encode are four times those at base resolution, where the decoder works.
        const DECODING: f64 = 0.2;
        let [batch, _, frames, _, _] = raw.array().dims("latent")?;
        let mut items = Vec::with_capacity(batch);
        for item in 0..batch {
            let (mut decoded, mut encoded) = (self.decoder.clip(raw, item), self.encoder.clip());
            let mut done = (item * frames) as f64;
            while let Some(frames) =
                decoded.step(&mut |part| progress(done + DECODING * f64::from(part)))?
            {
                let chunk = clip(&frames)?;
                encoded.step(&chunk, &mut |part| {
                    progress(done + DECODING + (1.0 - DECODING) * f64::from(part))
                })?;
                done += 1.0;
            }
            items.push(encoded.finish()?);
        }
        Raw::new(Array::stack(&items)?)
    }
}

/// A file to write.
struct Target {
    path: PathBuf,
    /// The input's space.
    space: Space,
    /// Whether the input was packed.
    is_packed: bool,
    text: Vec<(String, String)>,
}

impl Target {
    /// Writes the latent in the input's space, or in the usual one of a file that cannot hold it, and gives the one it took.
    fn write(&self, raw: Raw, config: &VaeConfig) -> vae2x_core::Result<Space> {
        let format = LatentFormat::from_path(&self.path)?;
        let space = if format.check_space(self.space).is_ok() {
            self.space
        } else {
            format.usual_space()
        };
        let normalized;
        let array = match space {
            Space::Raw => raw.array(),
            Space::Normalized => {
                normalized = raw.normalize(config)?;
                normalized.array()
            }
        };
        match self.is_packed && format != LatentFormat::Comfy {
            true => write_latent(&self.path, &pack(array)?, space, &self.text)?,
            false => write_latent(&self.path, array, space, &self.text)?,
        }
        Ok(space)
    }
}

/// F times `[3, H, W]` -> `[3, F, H, W]`
fn clip(frames: &[Array]) -> vae2x_core::Result<Array> {
    let frames: Vec<Array> = frames
        .iter()
        .map(|frame| {
            let [c, h, w] = frame.dims("frame")?;
            frame.clone().reshape([c, 1, h, w])
        })
        .collect::<vae2x_core::Result<_>>()?;
    Array::concat1(&frames)
}
