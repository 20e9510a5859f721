//! `vae2x-bench`: measurements on any device, with weights by formula, so that nothing is downloaded. Each command prints one
//! JSON object per line, which `tools/gpu/measure.py` turns into tables.

mod convolutions;
mod decode;
mod device;
mod formula;
mod layers;
mod loader;
mod parity;
mod step_time;
mod transformer;

use clap::{Parser, Subcommand};

/// Measures vae2x on a device: cpu, burn, cuda, vulkan, metal, webgpu or libtorch, the last five also with a number (cuda:1).
#[derive(Parser)]
#[command(name = "vae2x-bench", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Distances from the goldens of tests/fixtures in every precision that the device has, and of bands from whole images.
    Parity(parity::Args),
    /// Seconds and memory of decoding.
    Decode(decode::Args),
    /// Each distinct layer of the decoder by itself, beside what the device's matrix products and copies reach.
    Layers(layers::Args),
    /// Seconds, memory and parts of training steps with all losses.
    StepTime(step_time::Args),
    /// Samples per second from photos: what training's threads make ready.
    Loader(loader::Args),
    /// Convolutions of training on the CPU: ours and burn's.
    Convolutions,
    /// One prediction of the 1.3B transformer.
    Transformer(transformer::Args),
    /// Writes a model whose weights follow the formula: any size, no download.
    Weights(formula::Args),
}

fn main() -> anyhow::Result<()> {
    #[cfg(feature = "cuda-llvm")]
    vae2x::restart_for_cuda();
    match Args::parse().command {
        Command::Parity(args) => parity::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Layers(args) => layers::run(&args),
        Command::StepTime(args) => step_time::run(&args),
        Command::Loader(args) => loader::run(&args),
        Command::Convolutions => {
            convolutions::run();
            Ok(())
        }
        Command::Transformer(args) => transformer::run(&args),
        Command::Weights(args) => formula::run(&args),
    }
}
