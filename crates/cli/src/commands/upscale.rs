//! `vae2x upscale`: pictures at a multiple of their size, by encoding them and decoding with a 2x or 4x decoder.
//!
//! Pictures pass one by one; the next is read and the last written meanwhile. Sizes that are no multiples of 8 are continued by their mirror image and cut again, so that a
//! picture of any size comes out at exactly twice it. Opacity is resized beside the colours; under clear pixels those are
//! first filled from what is near, since the model would draw them into the edges.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use vae2x::{Decoder, Encoder, EngineOptions, Parts};
use vae2x_core::config::SPATIAL_FACTOR;
use vae2x_core::latent::Raw;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, Error};
use vae2x_media::fit::{corner, mirror};
use vae2x_media::match_color::match_color;
use vae2x_media::opacity::fill_clear;
use vae2x_media::picture::{
    BitDepth, Opacity, Picture, PictureFormat, PictureOptions, look_at_image, read_image_with,
    write_image,
};
use vae2x_media::resample::{Filter, resize_planes};

use super::finish::{Detail, matching};
use super::inputs::{check_files, check_single, expand, in_folder, is_folder};
use super::pipeline;
use super::{Timer, bit_depth, check_settled, engine_options, keep_or_remove};
use crate::args::UpscaleArgs;
use crate::timings::{Timings, timed};
use crate::ui::{self, Progress};
use crate::{memory, usage, weights};

/// An input and where its result goes.
struct Job {
    input: PathBuf,
    size: [usize; 2],
    path: PathBuf,
    format: PictureFormat,
}

/// Runs the command.
///
/// # Errors
/// If an input, the weights or the output will not do.
pub fn run(args: &UpscaleArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        let vae = weights::name(&args.vae)?;
        let options = engine_options(&args.run)?;
        let inputs = expand(&args.inputs)?;
        let (paths, format) = targets(args, &inputs)?;
        check_files(&inputs, vae, &paths, args.run.timings.as_deref())?;
        let job = |(input, path): (&PathBuf, PathBuf)| {
            Ok(Job {
                input: input.clone(),
                size: look_at_image(input)?,
                path,
                format,
            })
        };
        let jobs = inputs
            .iter()
            .zip(paths)
            .map(job)
            .collect::<anyhow::Result<Vec<_>>>()?;
        upscale(args, options, &jobs, weights::open_vae(&args.vae)?)
    })
}

/// Where each result goes, and in which format.
fn targets(
    args: &UpscaleArgs,
    inputs: &[PathBuf],
) -> anyhow::Result<(Vec<PathBuf>, PictureFormat)> {
    let format = match PictureFormat::from_path(&args.output) {
        _ if is_folder(&args.output) => PictureFormat::Png,
        Some(format) => format,
        None => {
            let shown = args.output.display();
            return usage(format!(
                "{shown}: pictures are written as .png, .jpg, .jpeg, .webp or .exr, or into a folder"
            ));
        }
    };
    if let Err(e) = format.check_depth(bit_depth(args.bit_depth.unwrap_or(8))) {
        return usage(e.to_string());
    }
    let paths = match is_folder(&args.output) {
        true => in_folder(&args.output, inputs, |_| format.extension())?,
        false => check_single(&args.output, inputs).map(|()| vec![args.output.clone()])?,
    };
    Ok((paths, format))
}

fn upscale(
    args: &UpscaleArgs,
    options: EngineOptions,
    jobs: &[Job],
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
    check_memory(args, jobs, &weights, &options)?;
    let models = timed(&mut timings.load_s, || Models::load(weights, &options))?;
    super::say_device(&options, &models.decoder.engine());
    let mut progress = Progress::new("upscaling", jobs.len() as f64, "pictures");
    let (mut done, mut seconds) = (0.0, 0.0);
    let read = |job: &Job| {
        let picture = read_image_with(&job.input, Opacity::Keep)?;
        picture.notes.iter().for_each(ui::warn);
        Ok(picture)
    };
    let compute = |job: &Job, picture| {
        let mut timer = Timer::start();
        let large = models
            .enlarge(args, &picture, &mut |part| progress.set(done + part))
            .with_context(|| job.input.display().to_string())?;
        seconds += timer.lap();
        done += 1.0;
        timings.pixels += large.data().len() as u64 / large.shape()[0] as u64;
        Ok((picture, large))
    };
    let save = |job: &Job, (picture, large)| {
        timed(&mut timings.save_s, || write(args, job, &picture, &large))
    };
    pipeline::run(jobs, read, compute, save)?;
    progress.finish();
    (timings.encode_s, timings.decode_s) = (None, Some(seconds));
    ui::print(
        &jobs
            .iter()
            .map(|job| format!("{}\n", job.path.display()))
            .collect::<String>(),
    )?;
    timings.engine = models.decoder.engine();
    timings.device_bytes = models.decoder.device_memory();
    timings.threads = options.thread_count()?;
    Ok(args
        .run
        .timings
        .as_ref()
        .map_or(Ok(()), |path| timings.write(path))?)
}

/// Refuses decoders that give the size that was encoded.
pub fn require_enlarging(weights: &VaeWeights) -> anyhow::Result<()> {
    match weights.config().scale()? {
        1 => usage(format!(
            "{} has 3 output channels and decodes at 1x; this needs a 2x decoder, which has 12, such as demo:2x or \
             spacepxl/Wan2.1-VAE-upscale2x",
            weights.path().display()
        )),
        _ => Ok(()),
    }
}

fn check_memory(
    args: &UpscaleArgs,
    jobs: &[Job],
    weights: &VaeWeights,
    options: &EngineOptions,
) -> anyhow::Result<()> {
    for job in jobs {
        let [h, w] = job.size;
        let [rows, columns] = padded(job.size).map(|n| n / SPATIAL_FACTOR);
        let encoding = options.encode_memory(
            weights.config(),
            [1, rows * SPATIAL_FACTOR, columns * SPATIAL_FACTOR],
        )?;
        let decoding = options.decode_memory(weights.config(), [1, rows, columns])?;
        let Some((encoding, decoding)) = encoding.zip(decoding) else {
            continue;
        };
        let need = memory::in_pipeline(
            memory::together(encoding, decoding),
            3 * h * w * size_of::<f32>(),
            jobs.len(),
        );
        memory::check(
            &format!("{}: enlarging {w}x{h} pixels", job.input.display()),
            memory::with_finishing(need, decoding.output),
            args.run.memory,
        )?;
    }
    Ok(())
}

fn padded(size: [usize; 2]) -> [usize; 2] {
    size.map(|n| n.next_multiple_of(SPATIAL_FACTOR))
}

/// Both halves of a model.
struct Models {
    encoder: Encoder,
    decoder: Decoder,
}

impl Models {
    fn load(weights: VaeWeights, options: &EngineOptions) -> vae2x_core::Result<Self> {
        let weights = Arc::new(weights);
        Ok(Self {
            encoder: Encoder::load(weights.clone(), options)?,
            decoder: Decoder::load(weights, options)?,
        })
    }

    /// `[3, r h, r w]`, or four channels where the picture has opacity; `progress` hears the share that is done.
    fn enlarge(
        &self,
        args: &UpscaleArgs,
        picture: &Picture,
        progress: &mut (dyn FnMut(f64) + Send),
    ) -> vae2x_core::Result<Array> {
        let config = self.decoder.config();
        let [_, h, w] = picture.pixels.dims("picture")?;
        let colours = match &picture.opacity {
            Some(opacity) => &fill_clear(&picture.pixels, opacity)?,
            None => &picture.pixels,
        };
        let whole = mirror(colours, padded([h, w]))?;
        let mut large = self.round_trip(whole.clone(), progress)?;
        if args.match_color {
            large = match_color(&large, &whole, matching(config)?)?;
        }
        let size = [h, w].map(|n| n * config.scale().unwrap_or(1));
        let large = Detail::new(&args.detail).apply(corner(&large, size)?)?;
        match &picture.opacity {
            Some(opacity) => {
                with_opacity(large, &resize_planes(opacity, size, Filter::CatmullRom)?)
            }
            None => Ok(large),
        }
    }

    /// Encodes and decodes `[3, 8h, 8w]`.
    fn round_trip(
        &self,
        pixels: Array,
        progress: &mut (dyn FnMut(f64) + Send),
    ) -> vae2x_core::Result<Array> {
        let [c, h, w] = pixels.dims("pixels")?;
        // Decoding to twice the size takes about as long as encoding.
        const HALF: f64 = 0.5;
        let latent: Raw = self
            .encoder
            .encode(&pixels.reshape([1, c, 1, h, w])?, &mut |part| {
                progress(HALF * part)
            })?;
        let frames = self
            .decoder
            .clip(&latent, 0)
            .step(&mut |part| progress(HALF + HALF * f64::from(part)))?;
        frames
            .and_then(|mut frames| frames.pop())
            .ok_or_else(|| Error::Unsupported("the decoder gave no frame".into()))
    }
}

/// `[3, H, W]` and `[1, H, W]` -> `[4, H, W]`
fn with_opacity(colours: Array, opacity: &Array) -> vae2x_core::Result<Array> {
    let [_, h, w] = colours.dims("colours")?;
    let mut data = colours.into_data();
    data.extend(opacity.data());
    Array::new([4, h, w], data)
}

fn write(args: &UpscaleArgs, job: &Job, picture: &Picture, large: &Array) -> anyhow::Result<()> {
    let shown = job.path.display();
    let mut large = large;
    let opaque;
    if job.format == PictureFormat::Jpeg && large.shape()[0] == 4 {
        ui::warn(format!(
            "{shown}: JPEG keeps no transparency; write PNG, WebP or EXR for it"
        ));
        opaque = Array::new(
            [3, large.shape()[1], large.shape()[2]],
            large.data()[..large.data().len() / 4 * 3].to_vec(),
        )?;
        large = &opaque;
    }
    let depth = match (args.bit_depth, job.format) {
        (Some(bits), _) => bit_depth(bits),
        (None, PictureFormat::Png) => picture.depth,
        (None, _) => BitDepth::Eight,
    };
    let text = if args.no_metadata {
        Vec::new()
    } else {
        picture.text.clone()
    };
    match write_image(&job.path, large, &PictureOptions { depth, text }) {
        Err(e @ Error::Io { .. }) => bail!(e),
        other => other.with_context(|| shown.to_string()),
    }
}
