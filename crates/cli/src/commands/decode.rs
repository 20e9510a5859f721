//! `vae2x decode`: latents to pictures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vae2x::{DecodedClip, Decoder, EngineOptions, Parts};
use vae2x_core::latent::{Raw, to_raw};
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{VaeConfig, time};
use vae2x_cpu::MemoryEstimate;
use vae2x_media::latent::LatentFile;
use vae2x_media::output::{Input, Output, OutputOptions};

use super::finish::{Colours, Finish, colours};
use super::saving::{self, Decoded, Saving};
use super::{
    Timer, bit_depth, check_distinct, check_settled, check_time, check_writable, engine_options,
    keep_or_remove, latent_options, said_space,
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
    colours: Colours,
}

/// Runs the command.
///
/// # Errors
/// If an input, the weights or the output will not do.
pub fn run(args: &DecodeArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        let job = prepare(args)?;
        let weights = weights::open_vae(&args.vae)?;
        let base = match &job.colours {
            Colours::Base(name) => Some(weights::open(name)?),
            _ => None,
        };
        decode(args, job, Models { weights, base })
    })
}

fn prepare(args: &DecodeArgs) -> anyhow::Result<Job> {
    let vae = weights::name(&args.vae)?;
    let engine = engine_options(&args.run)?;
    let outputs: Vec<&Path> = [&args.output]
        .into_iter()
        .chain(&args.run.timings)
        .map(PathBuf::as_path)
        .collect();
    let reference = args
        .match_color
        .as_deref()
        .map(|text| Path::new(text.strip_prefix("base:").unwrap_or(text)));
    check_distinct(
        args.inputs
            .iter()
            .map(PathBuf::as_path)
            .chain([Path::new(vae)])
            .chain(reference),
        &outputs,
    )?;
    let options = OutputOptions {
        depth: bit_depth(args.bit_depth),
        ..OutputOptions::default()
    };
    if let Some(path) = &args.run.timings {
        check_writable(path)?;
    }
    let open = |path: &PathBuf| LatentFile::open(path, &latent_options(&args.latent));
    let files = args
        .inputs
        .iter()
        .map(open)
        .collect::<Result<Vec<_>, _>>()?;
    let inputs = args.inputs.iter().zip(&files).map(|(path, file)| {
        let [items, _, latent_frames, _, _] = file.array.dims("latent")?;
        Ok(Input {
            path: path.clone(),
            items,
            frames: time::frames(latent_frames),
        })
    });
    let inputs = inputs.collect::<vae2x_core::Result<Vec<_>>>()?;
    let colours = colours(args.match_color.as_deref())?;
    Ok(Job {
        output: super::plan(&args.output, &inputs, options)?,
        files,
        options: engine,
        colours,
    })
}

/// The weights that decode, and those whose colours are followed.
struct Models {
    weights: VaeWeights,
    base: Option<VaeWeights>,
}

fn decode(args: &DecodeArgs, job: Job, models: Models) -> anyhow::Result<()> {
    let mut timings = Timings::default();
    let options = EngineOptions {
        others: models.base.is_some().into(),
        ..job.options
    };
    let options = options.settled(models.weights.config(), Parts::Decoder)?;
    check_settled(&options)?;
    let Job {
        files,
        output,
        colours,
        ..
    } = job;
    let finish = Finish::new(args, colours, &models.weights)?;
    check_files(args, &files, &models, &options)?;
    for file in &files {
        let [_, _, _, h, w] = file.array.dims("latent")?;
        finish.check_view(&file.path, [h, w]);
    }
    let Models { weights, base } = models;
    let load = |weights| Decoder::load(Arc::new(weights), &options);
    let decoder = timed(&mut timings.load_s, || load(weights))?;
    let base = timed(&mut timings.load_s, || base.map(load).transpose())?;
    super::say_device(&options, &decoder.engine());
    let text = |file: &LatentFile| {
        if args.no_metadata {
            Vec::new()
        } else {
            file.text.clone()
        }
    };
    let texts = files.iter().map(text).collect();
    let latents = files
        .into_iter()
        .map(|file| raw(args, file, decoder.config()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let total: usize = latents
        .iter()
        .map(|l| l.array().shape()[0] * l.array().shape()[2])
        .sum();
    let mut progress = Progress::new("decoding", total as f64, "latent frames");
    let mut timer = Timer::start();
    let mut done = 0.0;
    let pixels = &mut timings.pixels;
    let per_result = finish.pixels_per_result();
    let saving = Saving {
        output: &output,
        texts,
        finish: move |frame| finish.apply(frame),
    };
    let saved = saving::beside(saving, |saver| {
        for latent in &latents {
            for item in 0..latent.array().shape()[0] {
                let mut clips = Clips {
                    main: decoder.clip(latent, item),
                    base: base.as_ref().map(|b| b.clip(latent, item)),
                };
                while let Some(frames) =
                    clips.step(&mut |part| progress.set(done + f64::from(part)))?
                {
                    for frame in frames {
                        *pixels += (frame.pixels.data().len() / 3 / per_result) as u64;
                        saver.push(frame)?;
                    }
                    done += 1.0;
                }
            }
            saver.finish_input()?;
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
    Ok(args
        .run
        .timings
        .as_ref()
        .map_or(Ok(()), |path| timings.write(path))?)
}

/// A clip through the decoder and, frame by frame beside it, through the base decoder.
struct Clips<'a> {
    main: DecodedClip<'a>,
    base: Option<DecodedClip<'a>>,
}

impl Clips<'_> {
    /// The frames of the next latent frame; `None` after the last.
    fn step(
        &mut self,
        progress: &mut (dyn FnMut(f32) + Send),
    ) -> vae2x_core::Result<Option<Vec<Decoded>>> {
        // Both decoders do nearly all of their work at base resolution.
        let share = if self.base.is_some() { 0.5 } else { 1.0 };
        let Some(main) = self.main.step(&mut |part| progress(part * share))? else {
            return Ok(None);
        };
        let base = match &mut self.base {
            Some(base) => base.step(&mut |part| progress(share + part * share))?,
            None => None,
        };
        let base = base
            .into_iter()
            .flatten()
            .map(Some)
            .chain(std::iter::repeat(None));
        Ok(Some(
            main.into_iter()
                .zip(base)
                .map(|(pixels, base)| Decoded { pixels, base })
                .collect(),
        ))
    }
}

/// Refuses files that the weights or the memory cannot take.
fn check_files(
    args: &DecodeArgs,
    files: &[LatentFile],
    models: &Models,
    options: &EngineOptions,
) -> anyhow::Result<()> {
    let frames: usize = files
        .iter()
        .map(|file| file.array.shape()[0] * file.array.shape()[2])
        .sum();
    for file in files {
        let [_, _, t, h, w] = file.array.dims("latent")?;
        let mut need: Option<MemoryEstimate> = None;
        for weights in [Some(&models.weights), models.base.as_ref()]
            .into_iter()
            .flatten()
        {
            check_time(file, weights)?;
            let own = options.decode_memory(weights.config(), [t.min(STEP), h, w])?;
            need = own.map(|own| memory::together(own, need.unwrap_or_default()));
        }
        if let Some(need) = need {
            let at_once = time::frames(t.min(STEP));
            let is_finished =
                args.match_color.is_some() || args.scale.is_some() || args.detail.is_asked_for();
            let one = if is_finished {
                need.output / at_once
            } else {
                0
            };
            let need = if frames > 1 {
                saving::with_waiting(need, at_once)
            } else {
                need
            };
            let need = memory::with_finishing(need, one);
            memory::check(
                &format!(
                    "{}: decoding {t} latent frames of {w}x{h} cells",
                    file.path.display()
                ),
                need,
                args.run.memory,
            )?;
        }
    }
    Ok(())
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
        [first, .., last] => ui::print(&format!(
            "{} to {} ({} files)\n",
            first.display(),
            last.display(),
            written.len()
        )),
    }
}
