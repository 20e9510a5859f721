//! `vae2x preview`: latents as coarse images, without weights.

use vae2x::VaeConfig;
use vae2x_media::frames::Folders;
use vae2x_media::output::{Output, OutputOptions};

use crate::args::PreviewArgs;
use crate::batch;
use crate::files::keep_or_remove;
use crate::latents::{Reading, look_at_all, planned};
use crate::run::run;
use crate::work::Previewing;

/// Runs the command: one image for each latent frame.
///
/// # Errors
/// If the input cannot be read or the output cannot be written.
pub fn preview(args: &PreviewArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || checked(args))
}

fn checked(args: &PreviewArgs) -> anyhow::Result<()> {
    let (files, mut failed) = batch::list(&args.inputs, Folders::OfLatents)?;
    batch::check_shard(&args.output, files.len(), args.batch.shard)?;
    let reading = Reading::from(&args.latent);
    let inputs = look_at_all(&files, &reading, args.batch.shard, &mut failed);
    if inputs.is_empty() {
        return failed.result();
    }
    let options = OutputOptions::default();
    let images = planned(&inputs, |input| input.extent.frames);
    let output = Output::plan(&args.output, &images, options)?;
    let inputs = inputs.into_iter().map(|(_, input)| input).collect();
    let jobs = batch::places(inputs, &output, args.batch.skip_existing);
    let work = Previewing {
        reading,
        output,
        config: VaeConfig::default(),
    };
    run(&work, &jobs, failed).map(|_| ())
}
