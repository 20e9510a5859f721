//! `vae2x decode`: latents to images and clips.

use std::path::{Path, PathBuf};

use vae2x::{Finisher, Vae};
use vae2x_media::frames::{Input, Output, OutputOptions};

use crate::args::DecodeArgs;
use crate::compute::{Compute, vae_name};
use crate::decoding::{Decoded, Decoding, Finishing};
use crate::files::{check_distinct, check_writable, keep_or_remove};
use crate::finishing::{Asked, note_view};
use crate::latents::{LatentFrame, LatentInput, Reading};
use crate::run::{Kind, Need, Sink, Source, Stage, Work, Written, prepare, run};

/// Runs the command.
///
/// # Errors
/// If an input or the weights cannot be used, or the output cannot be written.
pub fn decode(args: &DecodeArgs) -> anyhow::Result<()> {
    let name = vae_name(&args.vae)?;
    let (compute, reading) = (Compute::new(&args.run)?, Reading::from(&args.latent));
    let inputs = args.inputs.iter().map(PathBuf::as_path);
    let reference = args.match_color.as_deref();
    let reference = reference.map(|text| Path::new(text.strip_prefix("base:").unwrap_or(text)));
    let outputs = [Some(&args.output), compute.timings.as_ref()];
    let outputs: Vec<&Path> = outputs.into_iter().flatten().map(PathBuf::as_path).collect();
    check_distinct(inputs.chain([Path::new(&name)]).chain(reference), &outputs)?;
    compute.timings.as_deref().map_or(Ok(()), check_writable)?;
    let asked = Asked::of(args)?;
    keep_or_remove(&args.output, || {
        let look = |path: &PathBuf| LatentInput::look(path, &reading);
        let (jobs, failed) = prepare(&args.inputs, |path| path.display().to_string(), look);
        let options = OutputOptions { depth: args.bit_depth, ..OutputOptions::default() };
        let output = Output::plan(&args.output, &jobs.iter().map(planned).collect::<Vec<_>>(), options)?;
        let (vae, base) = asked.open(&compute, &name)?;
        let finisher = asked.finish.for_decoder(vae.config(), vae.name())?;
        jobs.iter().for_each(|job| note_view(&finisher, &job.path, job.extent, vae.config()));
        let jobs: Vec<_> = jobs.into_iter().enumerate().collect();
        let keeps_text = !args.no_metadata;
        let decode = Decode { vae, base, reading, finisher, output, keeps_text, allowed: compute.memory };
        run(&decode, &jobs, failed)?.write_timings(&compute, &decode.vae, Kind::Decoding)
    })
}
