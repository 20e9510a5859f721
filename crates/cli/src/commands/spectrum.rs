//! `vae2x spectrum`: sets of latents by their power at each frequency.

use std::path::Path;

use anyhow::Context;
use vae2x_compare::spectrum_page::{Mean, Report};
use vae2x_core::temp;
use vae2x_media::picture::write_image;
use vae2x_soften::latents::LatentFolder;
use vae2x_soften::proxy::{PairFiles, Pairs};

use super::training::vae_config;
use crate::args::SpectrumArgs;
use crate::files::check_writable;
use crate::{ui, usage};

/// Runs the command.
///
/// # Errors
/// If a set cannot be read or the output cannot be written.
pub fn run(args: &SpectrumArgs) -> anyhow::Result<()> {
    let extension = args
        .output
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    let is_page = match extension.as_deref() {
        Some("html" | "htm") => true,
        Some("png") => false,
        _ => {
            return usage(format!(
                "{}: expected an .html or .png file",
                args.output.display()
            ));
        }
    };
    check_writable(&args.output)?;
    let sets = args
        .sets
        .iter()
        .map(|(name, place)| read(args, name, place))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let report = Report::new(&sets);
    match is_page {
        true => temp::write_bytes(&args.output, report.html().as_bytes())?,
        false => write_image(&args.output, &report.picture()?, &Default::default())?,
    }
    let written = args.output.display().to_string();
    ui::print_lines(report.lines().into_iter().chain([written]))
}

/// The mean spectrum of a set.
fn read(args: &SpectrumArgs, name: &str, place: &str) -> anyhow::Result<Mean> {
    let mut mean = Mean::new(name, usize::from(args.bands));
    let part = place
        .rsplit_once(':')
        .filter(|(_, part)| matches!(*part, "clean" | "degraded"));
    if let Some((folder, part)) = part {
        let pairs = PairFiles::open(Path::new(folder))?;
        for i in 0..pairs.len() {
            let pair = pairs.pair(i)?;
            mean.add(if part == "clean" {
                &pair.clean
            } else {
                &pair.degraded
            })
            .context(place.to_string())?;
        }
        return Ok(mean);
    }
    let config = vae_config(args.vae.as_deref())?;
    let latents = LatentFolder::open(Path::new(place), args.latent_space, &config)?;
    ui::note(format!("{name}: latents are {}", latents.space()));
    for i in 0..latents.len() {
        for latent in latents.read(i)? {
            mean.add(&latent).context(place.to_string())?;
        }
    }
    Ok(mean)
}
