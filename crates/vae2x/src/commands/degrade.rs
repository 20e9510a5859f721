//! `vae2x degrade`: latents softened as a diffusion model softens them.

use burn::tensor::Device;
use vae2x_core::VaeConfig;
use vae2x_core::latent::{Normalized, Space, to_raw};
use vae2x_core::weights::TensorFile;
use vae2x_media::latent::{LatentFile, LatentFormat, write_latent};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::degradation::Proxy;
use vae2x_train::proxy::{PairFiles, Pairs, soften};

use super::{check_distinct, check_writable, latent_options, said_space};
use crate::args::DegradeArgs;
use crate::{ui, usage};

/// Runs the command.
///
/// # Errors
/// If the input, the network or the output will not do.
pub fn run(args: &DegradeArgs) -> anyhow::Result<()> {
    if args.input.is_dir() {
        return pairs(args);
    }
    let Some(t) = args.t else { return usage("--t TIME is missing") };
    check_distinct([args.input.as_path(), args.proxy.as_path()].into_iter(), &[&args.output])?;
    let space = match LatentFormat::from_path(&args.output) {
        Ok(format) => format.usual_space(),
        Err(e) => return usage(e.to_string()),
    };
    check_writable(&args.output)?;
    let file = LatentFile::open(&args.input, &latent_options(&args.latent))?;
    let [batch, channels, ..] = file.array.dims::<5>("latent")?;
    let device = Device::flex();
    let proxy = Proxy::from_file(TensorFile::open(&args.proxy)?, channels, &device)?;
    let config = VaeConfig::default();
    let decision = said_space(&file, &config, args.latent.latent_space)?;
    let normalized = to_raw(file.array, decision.space, &config)?.normalize(&config)?;
    let latents = to_tensor(normalized.array(), "latent", &device)?;
    let softened = Normalized::new(to_array(proxy.forward_clip(latents, &vec![t; batch]))?)?;
    match space {
        Space::Normalized => write_latent(&args.output, softened.array(), space, &file.text)?,
        Space::Raw => write_latent(&args.output, softened.denormalize(&config)?.array(), space, &file.text)?,
    }
    ui::print(&format!("{} ({space})\n", args.output.display()))
}

/// The clean latents of pairs, each at its time.
fn pairs(args: &DegradeArgs) -> anyhow::Result<()> {
    if args.t.is_some() {
        return usage("--t is for a latent file; pairs have times of their own");
    }
    let pairs = PairFiles::open(&args.input)?;
    let device = Device::flex();
    let channels = pairs.pair(0)?.clean.shape()[0];
    let proxy = Proxy::from_file(TensorFile::open(&args.proxy)?, channels, &device)?;
    if args.output.exists() && args.output.canonicalize()? == args.input.canonicalize()? {
        return usage(format!("{}: the output would overwrite the input", args.output.display()));
    }
    let count = soften(&pairs, &proxy, &device, &args.output)?;
    ui::print(&format!("{}: {count} pairs\n", args.output.display()))
}
