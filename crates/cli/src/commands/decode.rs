//! `vae2x decode`: latents to images and clips.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use vae2x::VaeConfig;
use vae2x_media::frames::Folders;
use vae2x_media::output::{Output, OutputOptions, VideoOptions};

use crate::args::DecodeArgs;
use crate::batch;
use crate::compute::{Compute, vae_name};
use crate::files::{check_distinct, check_writable, keep_or_remove};
use crate::finishing::{FinishPlan, note_view};
use crate::latents::{Cut, LatentInput, Reading, look_at_all, planned};
use crate::run::{Direction, Failures, prepare, run};
use crate::usage;
use crate::work::Decoding;

/// Runs the command.
///
/// # Errors
/// If an input or the weights cannot be used, or the output cannot be written.
pub fn decode(args: &DecodeArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || checked(args))
}

fn checked(args: &DecodeArgs) -> anyhow::Result<()> {
    let name = vae_name(&args.vae)?;
    let compute = Compute::new(&args.run)?;
    let finishing = FinishPlan::of(args)?;
    let (files, mut failed) = batch::list(&args.inputs, Folders::OfLatents)?;
    check_paths(args, &files, &name)?;
    batch::check_shard(&args.output, files.len(), args.batch.shard)?;
    let reading = Reading::from(&args.latent);
    let inputs = look_at_all(&files, &reading, args.batch.shard, &mut failed);
    let cut = args.part.cut();
    let inputs = cut_all(inputs, cut, &mut failed);
    if inputs.is_empty() {
        return failed.result();
    }
    let options = OutputOptions {
        depth: args.bit_depth,
        folder_format: args.format,
        overshoot: args.overshoot(),
        video: VideoOptions {
            audio_from: args.part.start.unwrap_or_default(),
            ..(&args.video).into()
        },
    };
    let mut plan = planned(&inputs, |input| input.kept.len());
    let mut output = Output::plan(&args.output, &plan, options.clone())?;
    output.keep(models(args, &name))?;
    output.keep(args.video.audio.as_deref())?;
    let inputs = inputs.into_iter().map(|(_, input)| input).collect();
    let mut jobs = batch::places(inputs, &output, args.batch.skip_existing);
    if jobs.is_empty() {
        return failed.result();
    }
    let (vae, base) = finishing.open(&compute, &name)?;
    if vae.config().has_opacity() {
        if cut.is_some() {
            return usage(format!(
                "--start and --frames are for clips; {} takes latent frames as the layers of an image",
                vae.name()
            ));
        }
        jobs = jobs
            .into_iter()
            .map(|(place, input)| (place, input.for_model(vae.config())))
            .collect();
        for (place, input) in &jobs {
            plan[*place].items = input.items;
            plan[*place].frames = input.kept.len();
        }
        output = Output::plan(&args.output, &plan, options)?;
    }
    let is_finished = finishing.finish.is_asked_for();
    let finisher = finishing.finish.for_decoder(vae.config(), vae.name())?;
    for (_, input) in &jobs {
        note_view(&finisher, &input.path, input.extent, vae.config());
    }
    let work = Decoding {
        vae,
        base,
        reading,
        finisher,
        is_finished,
        output,
        keeps_text: !args.no_metadata,
        keeps_part: args.part.keep_partial,
        overshoot: args.overshoot(),
        allowed: compute.memory,
    };
    run(&work, &jobs, failed)?.write_timings(&compute, &work.vae, Direction::Decoding)
}

/// The part of each input that is asked for.
fn cut_all(
    inputs: Vec<(String, LatentInput)>,
    cut: Option<Cut>,
    failed: &mut Failures,
) -> Vec<(String, LatentInput)> {
    let Some(cut) = cut else { return inputs };
    let shown = |(_, input): &(String, LatentInput)| input.path.display().to_string();
    prepare(failed, inputs, shown, |(name, input)| {
        Ok((name, input.cut(cut, &VaeConfig::default())?))
    })
}

/// Refuses outputs that would replace an input or cannot be written.
fn check_paths(args: &DecodeArgs, inputs: &[PathBuf], vae: &str) -> anyhow::Result<()> {
    if args.output == Path::new("-") && std::io::stdout().is_terminal() {
        return usage("-o -: standard output is a terminal; pipe it into a program that reads y4m");
    }
    let timings = args.run.timings.as_deref();
    let outputs: Vec<&Path> = [args.output.as_path()].into_iter().chain(timings).collect();
    let inputs = inputs.iter().map(PathBuf::as_path);
    check_distinct(inputs.chain(models(args, vae)), &outputs)?;
    timings.map_or(Ok(()), check_writable)
}

/// The weights, and the image or the weights that colours are matched with.
fn models<'a>(args: &'a DecodeArgs, vae: &'a str) -> impl Iterator<Item = &'a Path> {
    let reference = args.match_color.as_deref();
    let reference = reference.map(|text| Path::new(text.strip_prefix("base:").unwrap_or(text)));
    [Path::new(vae)].into_iter().chain(reference)
}
