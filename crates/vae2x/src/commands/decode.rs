//! `vae2x decode`: latents to pictures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use vae2x::{Decoder, EngineOptions};
use vae2x_core::latent::{Raw, to_raw};
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{VaeConfig, time};
use vae2x_media::latent::LatentFile;
use vae2x_media::output::{Input, Output, OutputOptions};
use vae2x_media::picture::BitDepth;

use super::saving;
use super::{
    Timer, check_distinct, check_settled, check_writable, engine_options, keep_or_remove, latent_options, said_space,
};
use crate::args::DecodeArgs;
use crate::timings::{Timings, timed};
use crate::ui::{self, Progress};
use crate::{memory, weights};

/// Latent frames that tell a clip's memory: they pass one by one, and the second is the first with a past.
const STEP: usize = 2;

/// Everything that could be checked before the weights are opened.
struct Job {
    files: Vec<LatentFile>,
    output: Output,
    options: EngineOptions,
}

/// Runs the command.
///
/// # Errors
/// If an input, the weights or the output will not do.
pub fn run(args: &DecodeArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        let job = prepare(args)?;
        let weights = weights::open_vae(&args.vae)?;
        decode(args, job, weights)
    })
}

fn prepare(args: &DecodeArgs) -> anyhow::Result<Job> {
    let vae = weights::name(&args.vae)?;
    let engine = engine_options(&args.run)?;
    let outputs: Vec<&Path> = [&args.output].into_iter().chain(&args.run.timings).map(PathBuf::as_path).collect();
    check_distinct(args.inputs.iter().map(PathBuf::as_path).chain([Path::new(vae)]), &outputs)?;
    let options = OutputOptions { depth: bit_depth(args.bit_depth), ..OutputOptions::default() };
    if let Some(path) = &args.run.timings {
        check_writable(path)?;
    }
    let open = |path: &PathBuf| LatentFile::open(path, &latent_options(&args.latent));
    let files = args.inputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let inputs = args.inputs.iter().zip(&files).map(|(path, file)| {
        let [items, _, latent_frames, _, _] = file.array.dims("latent")?;
        Ok(Input { path: path.clone(), items, frames: time::frames(latent_frames) })
    });
    let inputs = inputs.collect::<vae2x_core::Result<Vec<_>>>()?;
    Ok(Job { output: super::plan(&args.output, &inputs, options)?, files, options: engine })
}

fn bit_depth(bits: u8) -> BitDepth {
    if bits == 16 { BitDepth::Sixteen } else { BitDepth::Eight }
}

fn decode(args: &DecodeArgs, job: Job, weights: VaeWeights) -> anyhow::Result<()> {
    let mut timings = Timings::default();
    let options = job.options.settled_for_decoding(weights.config())?;
    check_settled(&options)?;
    let frames: usize = job.files.iter().map(|file| file.array.shape()[0] * file.array.shape()[2]).sum();
    for file in &job.files {
        let [_, _, t, h, w] = file.array.dims("latent")?;
        if t > 1 && !weights.has_time() {
            bail!(
                "{}: a clip of {t} latent frames, but {} is of the 2-D layout, whose weights take single frames only",
                file.path.display(),
                weights.path().display()
            );
        }
        if let Some(need) = options.decode_memory(weights.config(), [t.min(STEP), h, w])? {
            let need = if frames > 1 { saving::with_waiting(need, time::frames(t.min(STEP))) } else { need };
            memory::check(
                &format!("{}: decoding {t} latent frames of {w}x{h} cells", file.path.display()),
                need,
                args.run.memory,
            )?;
        }
    }
    let decoder = timed(&mut timings.load_s, || Decoder::load(Arc::new(weights), &options))?;
    super::say_device(&options, &decoder.engine());
    let Job { files, output, .. } = job;
    let texts: Vec<_> = files.iter().map(|f| f.text.clone()).collect();
    let latents =
        files.into_iter().map(|file| raw(args, file, decoder.config())).collect::<anyhow::Result<Vec<_>>>()?;
    let total: usize = latents.iter().map(|l| l.array().shape()[0] * l.array().shape()[2]).sum();
    let mut progress = Progress::new("decoding", total as f64, "latent frames");
    let mut timer = Timer::start();
    let mut done = 0.0;
    let pixels = &mut timings.pixels;
    let saved = saving::beside(&output, texts, |saver| {
        for latent in &latents {
            decoder.decode_frames(latent, &mut |part| progress.set(done + part), |frame| {
                *pixels += (frame.pixels.data().len() / 3) as u64;
                saver.push(frame.pixels)
            })?;
            saver.finish_input()?;
            done += (latent.array().shape()[0] * latent.array().shape()[2]) as f64;
        }
        timings.decode_s = Some(timer.lap());
        Ok(())
    })?;
    progress.finish();
    timings.decode_s = timings.decode_s.map(|seconds| seconds - saved.waited_s);
    timings.save_s = saved.save_s;
    report(&saved.written)?;
    timings.engine = decoder.engine();
    timings.device_bytes = decoder.device_memory();
    timings.threads = options.thread_count()?;
    Ok(args.run.timings.as_ref().map_or(Ok(()), |path| timings.write(path))?)
}

/// The file's latent as the VAE speaks, and a word on how that was decided.
fn raw(args: &DecodeArgs, file: LatentFile, config: &VaeConfig) -> anyhow::Result<Raw> {
    let decision = said_space(&file, config, args.latent.latent_space)?;
    Ok(to_raw(file.array, decision.space, config)?)
}

/// Names the file, or the folder's first and last one.
fn report(written: &[PathBuf]) -> anyhow::Result<()> {
    match written {
        [] => Ok(()),
        [one] => ui::print(&format!("{}\n", one.display())),
        [first, .., last] => {
            ui::print(&format!("{} to {} ({} files)\n", first.display(), last.display(), written.len()))
        }
    }
}
