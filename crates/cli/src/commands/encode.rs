//! `vae2x encode`: pictures to latents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use vae2x::{Device, Encoder, EngineOptions, Parts, Precision, whole_cells};
use vae2x_core::latent::{Raw, Space};
use vae2x_core::weights::{TensorFile, VaeWeights, Weights};
use vae2x_core::{Array, VaeConfig, time};
use vae2x_media::fit::{crop, pad};
use vae2x_media::latent::{LatentFormat, write_latent};
use vae2x_media::picture::{look_at_image, read_image};

use super::inputs::{check_files, check_single, expand, in_folder, is_folder};
use super::pipeline;
use super::{Timer, check_settled, engine_options, keep_or_remove};
use crate::args::{EncodeArgs, EncodedSpaceArg};
use crate::timings::{Timings, timed};
use crate::ui::{self, Progress};
use crate::{memory, usage, weights};

/// Frames that tell a clip's memory: they pass four by four, after the first.
const STEP: usize = 5;

/// Runs the command. Inputs are looked at before any work, and then read one ahead of what is encoded.
///
/// # Errors
/// If an input, the weights or the output will not do.
pub fn run(args: &EncodeArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        let vae = weights::name(&args.vae)?;
        let options = EngineOptions {
            encoder_precision: args.run.dtype.into(),
            ..engine_options(&args.run)?
        };
        let inputs = expand(&args.inputs)?;
        let (paths, space) = targets(args, &inputs)?;
        check_files(&inputs, vae, &paths, args.run.timings.as_deref())?;
        let job = |(input, path): (&PathBuf, PathBuf)| {
            let extent = fitted(input, look(input)?, args.pad)?;
            Ok(Job {
                input: input.clone(),
                extent,
                path,
                space,
            })
        };
        let jobs = inputs
            .iter()
            .zip(paths)
            .map(job)
            .collect::<anyhow::Result<Vec<_>>>()?;
        encode(args, options, &jobs)
    })
}

/// An input and the file that its latent goes to.
struct Job {
    input: PathBuf,
    /// What will be encoded of it.
    extent: Extent,
    path: PathBuf,
    space: Space,
}

/// Pixels `[items, 3, frames, height, width]`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Extent {
    items: usize,
    frames: usize,
    size: [usize; 2],
}

impl Extent {
    fn all_frames(&self) -> f64 {
        (self.items * self.frames) as f64
    }

    fn bytes(&self) -> usize {
        3 * self.items * self.frames * self.size[0] * self.size[1] * size_of::<f32>()
    }
}

/// Where the latent of each input goes, and in which space.
fn targets(args: &EncodeArgs, inputs: &[PathBuf]) -> anyhow::Result<(Vec<PathBuf>, Space)> {
    let shown = args.output.display();
    let format = match LatentFormat::from_path(&args.output) {
        _ if is_folder(&args.output) => LatentFormat::Comfy,
        Ok(format) => format,
        Err(e) => return usage(format!("{e}, or a folder")),
    };
    let space = match args.latent_space {
        None => format.usual_space(),
        Some(EncodedSpaceArg::Raw) => Space::Raw,
        Some(EncodedSpaceArg::Normalized) => Space::Normalized,
    };
    if let Err(e) = format.check_space(space) {
        return usage(format!("{shown}: {e}"));
    }
    let paths = match is_folder(&args.output) {
        true => in_folder(&args.output, inputs, |_| "latent")?,
        false => check_single(&args.output, inputs).map(|()| vec![args.output.clone()])?,
    };
    Ok((paths, space))
}

fn is_tensor_file(path: &Path) -> bool {
    let known = ["safetensors", "npy", "pt", "pth"];
    path.extension()
        .is_some_and(|e| known.iter().any(|k| e.eq_ignore_ascii_case(k)))
}

/// What a file holds, by its head.
fn look(path: &Path) -> anyhow::Result<Extent> {
    match is_tensor_file(path) {
        true => Ok(open_tensor(path)?.2),
        false => Ok(Extent {
            items: 1,
            frames: 1,
            size: look_at_image(path)?,
        }),
    }
}

/// Pixels in sizes that the encoder takes, and ComfyUI's texts.
struct Read {
    /// `[B, 3, F, H, W]`
    pixels: Array,
    text: Vec<(String, String)>,
}

fn read(path: &Path, pad_edges: bool) -> anyhow::Result<Read> {
    let (pixels, text) = match is_tensor_file(path) {
        true => (read_tensor(path)?, Vec::new()),
        false => read_picture(path)?,
    };
    Ok(Read {
        pixels: fit(path, pixels, pad_edges)?,
        text,
    })
}

fn read_picture(path: &Path) -> anyhow::Result<(Array, Vec<(String, String)>)> {
    let picture = read_image(path)?;
    picture.notes.iter().for_each(ui::warn);
    let [c, h, w] = picture.pixels.dims("picture")?;
    Ok((picture.pixels.reshape([1, c, 1, h, w])?, picture.text))
}

/// The file, the name and the extent of `pixels`, or of the only tensor, as `[3, H, W]`, `[B, 3, H, W]` or `[B, 3, F, H, W]`.
fn open_tensor(path: &Path) -> anyhow::Result<(TensorFile, String, Extent)> {
    let file = TensorFile::open(path)?;
    let names: Vec<_> = file.tensors().keys().collect();
    let name = match names[..] {
        [only] => only.clone(),
        _ if file.tensors().contains_key("pixels") => "pixels".into(),
        _ => bail!(
            "{}: expected a tensor named 'pixels' or a single one, found {names:?}",
            path.display()
        ),
    };
    let shape = &file.tensors()[&name].shape;
    let (items, frames, size) = match *shape.as_slice() {
        [3, h, w] => (1, 1, [h, w]),
        [b, 3, h, w] => (b, 1, [h, w]),
        [b, 3, f, h, w] => (b, f, [h, w]),
        ref other => bail!(
            "{}: expected pixels [B, 3, F, H, W], found shape {other:?}",
            path.display()
        ),
    };
    if shape.contains(&0) {
        bail!("{}: there are no pixels in shape {shape:?}", path.display());
    }
    Ok((
        file,
        name,
        Extent {
            items,
            frames,
            size,
        },
    ))
}

fn read_tensor(path: &Path) -> anyhow::Result<Array> {
    let (
        file,
        name,
        Extent {
            items,
            frames,
            size: [h, w],
        },
    ) = open_tensor(path)?;
    let pixels = file.read(&name)?;
    let outside = pixels
        .data()
        .iter()
        .filter(|x| !(x.abs() <= 1.0 + 1e-3))
        .count();
    if outside > 0 {
        bail!("{}: {outside} values are not in [-1, 1]", path.display());
    }
    Ok(pixels.reshape([items, 3, frames, h, w])?)
}

/// Whole cells and whole latent frames.
///
/// # Errors
/// If there is no whole cell.
fn fitted(path: &Path, extent: Extent, pad_edges: bool) -> anyhow::Result<Extent> {
    let Extent {
        items,
        frames,
        size: [h, w],
    } = extent;
    let size = if pad_edges {
        [h, w].map(|n| n.next_multiple_of(8))
    } else {
        whole_cells([h, w])
    };
    if size.contains(&0) {
        bail!(
            "{}: {w}x{h} pixels are smaller than a latent cell of 8x8; pad them with --pad",
            path.display()
        );
    }
    Ok(Extent {
        items,
        frames: time::whole_frames(frames),
        size,
    })
}

/// Whole cells and whole latent frames, by cropping or padding.
fn fit(path: &Path, pixels: Array, pad_edges: bool) -> anyhow::Result<Array> {
    let [b, c, frames, h, w] = pixels.dims("pixels")?;
    let found = Extent {
        items: b,
        frames,
        size: [h, w],
    };
    let wanted = fitted(path, found, pad_edges)?;
    let Extent {
        frames: whole,
        size,
        ..
    } = wanted;
    if whole != frames {
        ui::warn(format!(
            "{}: the last {} of {frames} frames fill no latent frame and are left out",
            path.display(),
            frames - whole
        ));
    }
    if wanted == found {
        return Ok(pixels);
    }
    if size != [h, w] {
        let verb = if pad_edges { "padded" } else { "cropped" };
        ui::warn(format!(
            "{}: {verb} from {w}x{h} to {}x{} pixels, multiples of 8",
            path.display(),
            size[1],
            size[0]
        ));
    }
    // Each frame by itself: [B 3, F, H, W] -> planes [B 3 F, H, W].
    let kept = pixels
        .reshape([b * c, frames, h, w])?
        .narrow1(0..whole)
        .reshape([b * c * whole, h, w])?;
    let fitted = if pad_edges {
        pad(&kept, size)?
    } else {
        crop(&kept, size)?
    };
    Ok(fitted.reshape([b, c, whole, size[0], size[1]])?)
}

fn encode(args: &EncodeArgs, options: EngineOptions, jobs: &[Job]) -> anyhow::Result<()> {
    let weights = weights::open_vae(&args.vae)?;
    let mut timings = Timings::default();
    let options = options.settled(weights.config(), Parts::Encoder)?;
    check_settled(&options)?;
    if options.device == Device::Cpu && options.precision == Precision::Bf16 {
        ui::warn(
            "--dtype bf16 is for decoding on the processor; encoding keeps the weights in f32",
        );
    }
    check(args, jobs, &weights, &options)?;
    let encoder = timed(&mut timings.load_s, || {
        Encoder::load(Arc::new(weights), &options)
    })?;
    super::say_device(&options, &encoder.engine());
    let mut progress = Progress::new(
        "encoding",
        jobs.iter().map(|job| job.extent.all_frames()).sum(),
        "frames",
    );
    let (mut done, mut encode_s) = (0.0, 0.0);
    let compute = |job: &Job, Read { pixels, text }| {
        let mut timer = Timer::start();
        let raw = encoder
            .encode(&pixels, &mut |part| progress.set(done + part))
            .with_context(|| job.input.display().to_string())?;
        encode_s += timer.lap();
        done += job.extent.all_frames();
        timings.pixels += (pixels.data().len() / 3) as u64;
        Ok((raw, text))
    };
    let save = |job: &Job, (raw, text): (Raw, Vec<_>)| {
        let text = if args.no_metadata { &[] } else { &text[..] };
        Ok(timed(&mut timings.save_s, || {
            write(job, raw, encoder.config(), text)
        })?)
    };
    pipeline::run(jobs, |job| read(&job.input, args.pad), compute, save)?;
    progress.finish();
    timings.encode_s = Some(encode_s);
    let list = jobs
        .iter()
        .map(|j| format!("{} ({})\n", j.path.display(), j.space))
        .collect::<String>();
    ui::print(&list)?;
    timings.engine = encoder.engine();
    timings.device_bytes = encoder.device_memory();
    timings.threads = options.thread_count()?;
    Ok(args
        .run
        .timings
        .as_ref()
        .map_or(Ok(()), |path| timings.write(path))?)
}

/// Refuses what the weights or the memory cannot take.
fn check(
    args: &EncodeArgs,
    jobs: &[Job],
    weights: &VaeWeights,
    options: &EngineOptions,
) -> anyhow::Result<()> {
    for job in jobs {
        let Extent {
            frames,
            size: [h, w],
            ..
        } = job.extent;
        let shown = job.input.display();
        if frames > 1 && !weights.has_time() {
            bail!(
                "{shown}: a clip of {frames} frames, but {} is of the 2-D layout, whose weights take single frames only",
                weights.path().display()
            );
        }
        if let Some(need) = options.encode_memory(weights.config(), [frames.min(STEP), h, w])? {
            let need = memory::in_pipeline(need, job.extent.bytes(), jobs.len());
            memory::check(
                &format!("{shown}: encoding {frames} frames of {w}x{h} pixels"),
                need,
                args.run.memory,
            )?;
        }
    }
    Ok(())
}

fn write(
    job: &Job,
    raw: Raw,
    config: &VaeConfig,
    text: &[(String, String)],
) -> vae2x_core::Result<()> {
    match job.space {
        Space::Raw => write_latent(&job.path, raw.array(), Space::Raw, text),
        Space::Normalized => write_latent(
            &job.path,
            raw.normalize(config)?.array(),
            Space::Normalized,
            text,
        ),
    }
}
