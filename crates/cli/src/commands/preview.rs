//! `vae2x preview`: latents as coarse images, without weights.

use vae2x::VaeConfig;
use vae2x_media::output::{Input, Output, OutputOptions};

use crate::args::PreviewArgs;
use crate::files::keep_or_remove;
use crate::latents::{LatentInput, Reading};
use crate::run::{Failures, run};
use crate::work::Previewing;

/// Runs the command: one image for each latent frame.
///
/// # Errors
/// If the input cannot be read or the output cannot be written.
pub fn preview(args: &PreviewArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        let reading = Reading::from(&args.latent);
        let input = LatentInput::look(&args.input, &reading)?;
        let planned = Input {
            path: input.path.clone(),
            items: input.items,
            frames: input.extent.frames,
        };
        let work = Previewing {
            reading,
            output: Output::plan(&args.output, &[planned], OutputOptions::default())?,
            config: VaeConfig::default(),
        };
        run(&work, &[input], Failures::among(1)).map(|_| ())
    })
}
