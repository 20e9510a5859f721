//! `vae2x upscale`: images and clips at a multiple of their size, by encoding them and decoding with a 2x or 4x decoder.

use std::path::Path;

use anyhow::Result;
use vae2x::{Upscale, Vae};
use vae2x_media::frames::{Folders, SourceOptions, is_video_name, list_inputs, open_source};
use vae2x_media::output::{Input, Output, OutputOptions, VideoOptions};
use vae2x_media::picture::{BitDepth, PictureFormat, look_at_image};
use vae2x_media::video::{Animation, Container, Ffmpeg};

use crate::args::UpscaleArgs;
use crate::batch::{self, Pair};
use crate::compute::{Compute, vae_name};
use crate::files::{check_files, check_replaceable, is_folder, keep_or_remove, targets};
use crate::run::{Direction, Failures, prepare, run, run_all};
use crate::ui;
use crate::usage;
use crate::work::{EnlargedClip, EnlargedImage, EnlargingClips, Upscaling};

/// Runs the command.
///
/// # Errors
/// If an input or the weights cannot be used, or the output cannot be written.
pub fn upscale(args: &UpscaleArgs) -> Result<()> {
    keep_or_remove(&args.output, || checked(args))
}

fn checked(args: &UpscaleArgs) -> Result<()> {
    let name = vae_name(&args.vae)?;
    let compute = Compute::new(&args.run)?;
    if args.output == Path::new("-") {
        return usage("-o -: only `decode` writes to standard output");
    }
    let folders = match args.clip {
        true => Folders::Themselves,
        false => Folders::OfImagesAndVideos,
    };
    let (inputs, mut failed) = batch::list(&args.inputs, folders)?;
    let has_images = inputs.iter().any(|input| !is_clip(input));
    let format = match has_images {
        true => image_format(args)?,
        false => PictureFormat::Png,
    };
    let extension = |input: &Path| match is_clip(input) {
        true => video_extension(input),
        false => format.extension(),
    };
    let paths = targets(&args.output, &inputs, extension)?;
    check_files(&inputs, &name, &paths, args.run.timings.as_deref())?;
    // Folders of frames stay folders, of which each frame must exist.
    let skip_files = args.batch.skip_existing && !has_folders_out(args);
    let pairs = batch::pairs(inputs, paths, args.batch.shard, skip_files, &mut failed);
    let (clips, images): (Vec<Pair>, Vec<Pair>) =
        pairs.into_iter().partition(|pair| is_clip(&pair.input));
    if let (true, Some(option)) = (clips.is_empty(), VideoOptions::from(&args.video).asked()) {
        return usage(format!("{option} is for videos, of which none is upscaled"));
    }
    let images = look_at_images(images, &mut failed);
    let clips = look_at_clips(args, clips, &mut failed)?;
    if images.is_empty() && clips.is_empty() {
        return failed.result();
    }
    let vae = compute.open(&name)?;
    vae.require_enlarging()?;
    let how = Upscale {
        match_color: args.match_color,
        detail: (&args.detail).into(),
    };
    let work = Upscaling {
        vae,
        how,
        depth: args.bit_depth,
        keeps_metadata: !args.no_metadata,
        allowed: compute.memory,
    };
    if clips.is_empty() {
        return run(&work, &images, failed)?.write_timings(
            &compute,
            &work.vae,
            Direction::Decoding,
        );
    }
    if !images.is_empty() {
        failed = run_all(&work, &images, failed)?.1;
    }
    upscale_clips(args, &compute, &work.vae, how, &clips, failed)
}

fn upscale_clips(
    args: &UpscaleArgs,
    compute: &Compute,
    vae: &Vae,
    how: Upscale,
    clips: &[EnlargedClip],
    failed: Failures,
) -> Result<()> {
    let work = EnlargingClips {
        vae,
        how,
        keeps_text: !args.no_metadata,
        allowed: compute.memory,
    };
    run(&work, clips, failed)?.write_timings(compute, vae, Direction::Decoding)
}

/// Whether an input has frames: a video, or a folder that is one input by itself.
fn is_clip(input: &Path) -> bool {
    input.is_dir() || is_video_name(input)
}

fn look_at_images(pairs: Vec<Pair>, failed: &mut Failures) -> Vec<EnlargedImage> {
    let look = |Pair { input, output }: Pair| {
        check_replaceable(&output)?;
        Ok(EnlargedImage {
            size: look_at_image(&input)?,
            input,
            path: output,
        })
    };
    prepare(failed, pairs, Pair::name, look)
}

/// Opens clips, and plans an output for each.
fn look_at_clips(
    args: &UpscaleArgs,
    pairs: Vec<Pair>,
    failed: &mut Failures,
) -> Result<Vec<EnlargedClip>> {
    if !pairs.is_empty() && args.bit_depth.is_some() && !is_folder(&args.output) {
        return usage("--bit-depth is for images; videos have --pixel-format");
    }
    let opening = SourceOptions {
        clip: true,
        ffmpeg: args.video.ffmpeg.clone(),
        ..SourceOptions::default()
    };
    let look = |Pair { input, output }: Pair| {
        let opened = open_source(&input, &opening)?;
        let spec = opened.spec().clone();
        // A folder of frames stays one.
        let target = match input.is_dir() && is_folder(&args.output) {
            true => &args.output,
            false => &output,
        };
        let mut video = VideoOptions::from(&args.video);
        let is_animation = Animation::from_path(target, spec.frames).is_some();
        let has_rate = Container::from_path(target).is_some() || is_animation;
        if PictureFormat::from_path(target).is_some() && !is_animation && spec.frames > 1 {
            return usage(format!(
                "{}: one image cannot hold {} frames; give a video, such as {}",
                target.display(),
                spec.frames,
                target.with_extension("mp4").display()
            ));
        }
        if has_rate {
            video.rate = video.rate.or(spec.rate);
        }
        let has_sound = Container::from_path(&output).is_some_and(Container::has_sound);
        if video.audio.is_none() && spec.has_audio && has_sound {
            match Ffmpeg::find(args.video.ffmpeg.as_deref()) {
                Ok(_) => video.audio = Some(input.clone()),
                Err(_) => ui::note(format!(
                    "{}: its sound is left out, as FFmpeg is not installed",
                    input.display()
                )),
            }
        }
        let options = OutputOptions {
            depth: args.bit_depth.unwrap_or_default(),
            video,
            ..OutputOptions::default()
        };
        let planned = Input {
            name: stem(&output),
            path: input.clone(),
            items: spec.items,
            frames: spec.frames,
        };
        let output = Output::plan(target, &[planned], options)?;
        output.keep(args.video.audio.as_deref())?;
        if input.is_dir() {
            let frames = list_inputs(std::slice::from_ref(&input), Folders::OfImages);
            output.keep(frames.files.iter().map(|file| file.as_path()))?;
        }
        Ok(EnlargedClip {
            opened: Some(opened).into(),
            input,
            spec,
            output,
        })
    };
    let clips = prepare(failed, pairs, Pair::name, look);
    let skip = args.batch.skip_existing && has_folders_out(args);
    Ok(batch::not_done(clips, skip, |clip: &EnlargedClip| {
        clip.output.is_written(0)
    }))
}

/// Whether frames of folders go into a folder.
fn has_folders_out(args: &UpscaleArgs) -> bool {
    args.clip && is_folder(&args.output)
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The extension of an enlarged clip in a folder: that of the input where such a file can be written at a usual size.
fn video_extension(input: &Path) -> &'static str {
    match Container::from_path(input) {
        Some(Container::Mkv) => "mkv",
        Some(Container::Webm) => "webm",
        Some(Container::Y4m) => "y4m",
        Some(Container::Mp4 | Container::Mov) | None => "mp4",
    }
}

/// The format of enlarged images, which must hold the depth that is asked for.
fn image_format(args: &UpscaleArgs) -> Result<PictureFormat> {
    let format = match PictureFormat::from_path(&args.output) {
        _ if is_folder(&args.output) => PictureFormat::Png,
        Some(format) => format,
        None => {
            return usage(format!(
                "{}: images are written as .png, .jpg, .jpeg, .webp or .exr, or into a folder",
                args.output.display()
            ));
        }
    };
    format.check_depth(args.bit_depth.unwrap_or(BitDepth::Eight))?;
    Ok(format)
}
