//! `vae2x encode`: pictures to latents.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use vae2x::{Device, Encoder, EngineOptions, Precision, whole_cells};
use vae2x_core::latent::{Raw, Space};
use vae2x_core::weights::{TensorFile, Weights};
use vae2x_core::{Array, VaeConfig, time};
use vae2x_media::latent::{LatentFormat, write_latent};
use vae2x_media::picture::read_image;

use super::fit::{crop, pad};
use super::{Timer, check_distinct, check_settled, check_writable, engine_options, keep_or_remove};
use crate::args::{EncodeArgs, EncodedSpaceArg};
use crate::timings::{Timings, timed};
use crate::ui::{self, Progress};
use crate::{memory, usage, weights};

/// Frames that tell a clip's memory: they pass four by four, after the first.
const STEP: usize = 5;

/// Runs the command.
///
/// # Errors
/// If an input, the weights or the output will not do.
pub fn run(args: &EncodeArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        let vae = weights::name(&args.vae)?;
        let options = engine_options(&args.run)?;
        let targets = targets(args)?;
        let outputs: Vec<&Path> =
            targets.iter().map(|t| &t.path).chain(&args.run.timings).map(PathBuf::as_path).collect();
        check_distinct(args.inputs.iter().map(PathBuf::as_path).chain([Path::new(vae)]), &outputs)?;
        let pixels = args.inputs.iter().map(|path| read(path, args.pad)).collect::<anyhow::Result<Vec<_>>>()?;
        encode(args, options, &pixels, &targets)
    })
}

/// A file to write.
struct Target {
    path: PathBuf,
    space: Space,
}

/// Where the latent of each input goes, checked to be writable.
fn targets(args: &EncodeArgs) -> anyhow::Result<Vec<Target>> {
    let shown = args.output.display();
    let is_folder = args.output.is_dir() || args.output.extension().is_none() || ends_in_separator(&args.output);
    let format = match LatentFormat::from_path(&args.output) {
        _ if is_folder => LatentFormat::Comfy,
        Ok(format) => format,
        Err(e) => return usage(format!("{e}, or a folder")),
    };
    if !is_folder && args.inputs.len() > 1 {
        return usage(format!(
            "{shown}: one file cannot hold the latents of {} inputs; give a folder",
            args.inputs.len()
        ));
    }
    let space = match args.latent_space {
        None => format.usual_space(),
        Some(EncodedSpaceArg::Raw) => Space::Raw,
        Some(EncodedSpaceArg::Normalized) => Space::Normalized,
    };
    if let Err(e) = format.check_space(space) {
        return usage(format!("{shown}: {e}"));
    }
    if is_folder {
        std::fs::create_dir_all(&args.output).with_context(|| format!("{shown}"))?;
    }
    let paths = if is_folder { in_folder(&args.output, &args.inputs)? } else { vec![args.output.clone()] };
    for path in paths.iter().chain(&args.run.timings) {
        check_writable(path)?;
    }
    Ok(paths.into_iter().map(|path| Target { path, space }).collect())
}

fn ends_in_separator(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_some_and(|&b| std::path::is_separator(b.into()))
}

fn in_folder(folder: &Path, inputs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut taken = HashSet::new();
    let target = |input: &PathBuf| {
        let stem = input.file_stem().map_or("latent".into(), |s| s.to_string_lossy());
        let path = folder.join(format!("{stem}.latent"));
        if !taken.insert(path.clone()) {
            return usage(format!("two inputs are named '{stem}'; encode them into folders of their own"));
        }
        Ok(path)
    };
    inputs.iter().map(target).collect()
}

/// The pixels of an input as `[B, 3, F, H, W]` in sizes that the encoder takes.
fn read(path: &Path, pad_edges: bool) -> anyhow::Result<Array> {
    let pixels = if is_tensor_file(path) { read_tensor(path)? } else { read_picture(path)? };
    fit(path, pixels, pad_edges)
}

fn is_tensor_file(path: &Path) -> bool {
    let known = ["safetensors", "npy", "pt", "pth"];
    path.extension().is_some_and(|e| known.iter().any(|k| e.eq_ignore_ascii_case(k)))
}

fn read_picture(path: &Path) -> anyhow::Result<Array> {
    let picture = read_image(path)?;
    picture.notes.iter().for_each(ui::warn);
    let [c, h, w] = picture.pixels.dims("picture")?;
    Ok(picture.pixels.reshape([1, c, 1, h, w])?)
}

/// `pixels`, or the only tensor, as `[3, H, W]`, `[B, 3, H, W]` or `[B, 3, F, H, W]`.
fn read_tensor(path: &Path) -> anyhow::Result<Array> {
    let file = TensorFile::open(path)?;
    let names: Vec<_> = file.tensors().keys().collect();
    let name = match names[..] {
        [only] => only.clone(),
        _ if file.tensors().contains_key("pixels") => "pixels".into(),
        _ => bail!("{}: expected a tensor named 'pixels' or a single one, found {names:?}", path.display()),
    };
    let pixels = file.read(&name)?;
    let shape = match *pixels.shape() {
        [3, h, w] => [1, 3, 1, h, w],
        [b, 3, h, w] => [b, 3, 1, h, w],
        [b, 3, f, h, w] => [b, 3, f, h, w],
        ref other => bail!("{}: expected pixels [B, 3, F, H, W], found shape {other:?}", path.display()),
    };
    if shape.contains(&0) {
        bail!("{}: there are no pixels in shape {:?}", path.display(), pixels.shape());
    }
    let outside = pixels.data().iter().filter(|x| !(x.abs() <= 1.0 + 1e-3)).count();
    if outside > 0 {
        bail!("{}: {outside} values are not in [-1, 1]", path.display());
    }
    Ok(pixels.reshape(shape)?)
}

/// Whole cells and whole latent frames, by cropping or padding.
fn fit(path: &Path, pixels: Array, pad_edges: bool) -> anyhow::Result<Array> {
    let [b, c, frames, h, w] = pixels.dims("pixels")?;
    let cropped = whole_cells([h, w]);
    let size = if pad_edges { [h, w].map(|n| n.next_multiple_of(8)) } else { cropped };
    if size.contains(&0) {
        bail!("{}: {w}x{h} pixels are smaller than a latent cell of 8x8; pad them with --pad", path.display());
    }
    let whole = time::whole_frames(frames);
    if whole != frames {
        ui::warn(format!(
            "{}: the last {} of {frames} frames fill no latent frame and are left out",
            path.display(),
            frames - whole
        ));
    }
    if size == [h, w] && whole == frames {
        return Ok(pixels);
    }
    if size != [h, w] {
        let verb = if pad_edges { "padded" } else { "cropped" };
        ui::warn(format!("{}: {verb} from {w}x{h} to {}x{} pixels, multiples of 8", path.display(), size[1], size[0]));
    }
    // Each frame by itself: [B 3, F, H, W] -> planes [B 3 F, H, W].
    let kept = pixels.reshape([b * c, frames, h, w])?.narrow1(0..whole).reshape([b * c * whole, h, w])?;
    let fitted = if pad_edges { pad(&kept, size)? } else { crop(&kept, size)? };
    Ok(fitted.reshape([b, c, whole, size[0], size[1]])?)
}

fn encode(args: &EncodeArgs, options: EngineOptions, pixels: &[Array], targets: &[Target]) -> anyhow::Result<()> {
    let weights = weights::open_vae(&args.vae)?;
    let mut timings = Timings::default();
    let options = options.settled_for_encoding(weights.config())?;
    check_settled(&options)?;
    if options.device == Device::Cpu && options.precision == Precision::Bf16 {
        ui::warn("--dtype bf16 is for decoding on the processor; encoding keeps the weights in f32");
    }
    for (path, pixels) in args.inputs.iter().zip(pixels) {
        let [_, _, f, h, w] = pixels.dims("pixels")?;
        if f > 1 && !weights.has_time() {
            bail!(
                "{}: a clip of {f} frames, but {} is of the 2-D layout, whose weights take single frames only",
                path.display(),
                weights.path().display()
            );
        }
        if let Some(need) = options.encode_memory(weights.config(), [f.min(STEP), h, w])? {
            memory::check(
                &format!("{}: encoding {f} frames of {w}x{h} pixels", path.display()),
                need,
                args.run.memory,
            )?;
        }
    }
    let encoder = timed(&mut timings.load_s, || Encoder::load(Arc::new(weights), &options))?;
    super::say_device(&options, &encoder.engine());
    let frames = |p: &Array| (p.shape()[0] * p.shape()[2]) as f64;
    let mut progress = Progress::new("encoding", pixels.iter().map(frames).sum(), "frames");
    let mut timer = Timer::start();
    let mut done = 0.0;
    for (pixels, target) in pixels.iter().zip(targets) {
        let raw = encoder.encode(pixels, &mut |part| progress.set(done + part))?;
        timed(&mut timings.save_s, || write(target, raw, encoder.config()))?;
        done += frames(pixels);
        timings.pixels += (pixels.data().len() / 3) as u64;
    }
    progress.finish();
    timings.encode_s = Some(timer.lap() - timings.save_s);
    let list = targets.iter().map(|t| format!("{} ({})\n", t.path.display(), t.space)).collect::<String>();
    ui::print(&list)?;
    timings.engine = encoder.engine();
    timings.device_bytes = encoder.device_memory();
    timings.threads = options.thread_count()?;
    Ok(args.run.timings.as_ref().map_or(Ok(()), |path| timings.write(path))?)
}

fn write(target: &Target, raw: Raw, config: &VaeConfig) -> vae2x_core::Result<()> {
    match target.space {
        Space::Raw => write_latent(&target.path, raw.array(), Space::Raw, &[]),
        Space::Normalized => write_latent(&target.path, raw.normalize(config)?.array(), Space::Normalized, &[]),
    }
}
