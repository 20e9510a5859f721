//! `vae2x preview`: what a latent shows, without weights.

use vae2x_core::VaeConfig;
use vae2x_core::latent::{Normalized, to_raw};
use vae2x_media::latent::LatentFile;
use vae2x_media::output::{Input, OutputOptions};
use vae2x_media::preview::preview_frame;

use super::{keep_or_remove, latent_options, plan, said_space};
use crate::args::PreviewArgs;
use crate::ui;

/// Runs the command. One picture for each latent frame.
///
/// # Errors
/// If the input or the output will not do.
pub fn run(args: &PreviewArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        let file = LatentFile::open(&args.input, &latent_options(&args.latent))?;
        let [items, _, frames, _, _] = file.array.dims("latent")?;
        let input = Input {
            path: args.input.clone(),
            items,
            frames,
        };
        let output = plan(&args.output, &[input], OutputOptions::default())?;
        let config = VaeConfig::default();
        let space = said_space(&file, &config, args.latent.latent_space)?.space;
        let mut sink = output.open(0, file.text)?;
        let normalized: Normalized = to_raw(file.array, space, &config)?.normalize(&config)?;
        for item in 0..items {
            for frame in 0..frames {
                sink.push(&preview_frame(&normalized, item, frame)?)?;
            }
        }
        let written = sink.finish()?;
        ui::print(
            &written
                .iter()
                .map(|p| format!("{}\n", p.display()))
                .collect::<String>(),
        )
    })
}
