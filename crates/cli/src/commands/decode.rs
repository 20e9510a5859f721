//! `vae2x decode`: latents to images and clips.

use std::path::{Path, PathBuf};

use vae2x_media::output::{Input, Output, OutputOptions};

use crate::args::DecodeArgs;
use crate::compute::{Compute, vae_name};
use crate::files::{check_distinct, check_writable, keep_or_remove};
use crate::finishing::{FinishPlan, note_view};
use crate::latents::{LatentInput, Reading};
use crate::run::{Direction, prepare, run};
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
    check_paths(args, &name)?;
    let finishing = FinishPlan::of(args)?;
    let reading = Reading::from(&args.latent);
    let look = |path: &PathBuf| LatentInput::look(path, &reading);
    let (mut inputs, failed) = prepare(&args.inputs, |path| path.display().to_string(), look);
    if inputs.is_empty() {
        return failed.result();
    }
    let mut output = plan(args, &inputs)?;
    output.keep(models(args, &name))?;
    let (vae, base) = finishing.open(&compute, &name)?;
    if vae.config().has_opacity() {
        inputs = inputs
            .into_iter()
            .map(|i| i.for_model(vae.config()))
            .collect();
        output = plan(args, &inputs)?;
    }
    let is_finished = finishing.finish.is_asked_for();
    let finisher = finishing.finish.for_decoder(vae.config(), vae.name())?;
    for input in &inputs {
        note_view(&finisher, &input.path, input.extent, vae.config());
    }
    let jobs: Vec<_> = inputs.into_iter().enumerate().collect();
    let work = Decoding {
        vae,
        base,
        reading,
        finisher,
        is_finished,
        output,
        keeps_text: !args.no_metadata,
        allowed: compute.memory,
    };
    run(&work, &jobs, failed)?.write_timings(&compute, &work.vae, Direction::Decoding)
}

/// Refuses outputs that would replace an input or cannot be written.
fn check_paths(args: &DecodeArgs, vae: &str) -> anyhow::Result<()> {
    let timings = args.run.timings.as_deref();
    let outputs: Vec<&Path> = [args.output.as_path()].into_iter().chain(timings).collect();
    let inputs = args.inputs.iter().map(PathBuf::as_path);
    check_distinct(inputs.chain(models(args, vae)), &outputs)?;
    timings.map_or(Ok(()), check_writable)
}

/// The weights, and the image or the weights that colours are matched with.
fn models<'a>(args: &'a DecodeArgs, vae: &'a str) -> impl Iterator<Item = &'a Path> {
    let reference = args.match_color.as_deref();
    let reference = reference.map(|text| Path::new(text.strip_prefix("base:").unwrap_or(text)));
    [Path::new(vae)].into_iter().chain(reference)
}

/// Where the frames of each input go.
fn plan(args: &DecodeArgs, inputs: &[LatentInput]) -> anyhow::Result<Output> {
    let config = vae2x::VaeConfig::default();
    let input = |input: &LatentInput| Input {
        path: input.path.clone(),
        items: input.items,
        frames: config.frames(input.extent.frames),
    };
    let options = OutputOptions {
        depth: args.bit_depth,
        ..OutputOptions::default()
    };
    let inputs: Vec<Input> = inputs.iter().map(input).collect();
    Ok(Output::plan(&args.output, &inputs, options)?)
}
