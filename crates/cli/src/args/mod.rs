//! The command line as clap sees it. Each command turns its arguments into a validated job before any work starts.

mod measure;
mod parse;
#[cfg(feature = "train")]
mod train;

pub use measure::*;
#[cfg(feature = "train")]
pub use train::*;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use vae2x::{Detail, Device, Precision, Space, SpaceChoice, Taking};
use vae2x_core::weights::{DType, Layout};
use vae2x_media::picture::BitDepth;

use parse::{
    dtypes, layouts, parse_bit_depth, parse_bytes, parse_scale, parse_sigma, parse_size, precisions, space_choices, spaces, takings,
};

/// Decode and encode with the VAE of Wan2.1, Wan2.2-14B and Qwen-Image, at base resolution or twice that.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = crate::missing::help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One variant per command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Latents to pictures.
    Decode(DecodeArgs),
    /// Pictures to latents.
    Encode(EncodeArgs),
    /// Pictures at twice their size, by encoding and decoding them.
    Upscale(UpscaleArgs),
    /// Latents for a second, finer pass of a diffusion model: decoded at twice the size and encoded again.
    Hires(HiresArgs),
    /// Latents to a quick, coarse picture, without weights.
    Preview(PreviewArgs),
    /// What a weight file or a latent file holds.
    Info(InfoArgs),
    /// A weight file in another layout or precision, or as the start of a 2x decoder.
    Convert(ConvertArgs),
    /// What this program can compute on, here
    Devices,
    /// Pictures, or folders of them, in one HTML page: flip, wipe, zoom, differences, numbers.
    Compare(CompareArgs),
    /// How far pictures are from a reference: PSNR, SSIM, MS-SSIM, LPIPS, CIEDE2000, sharpness, speckle.
    Metrics(MetricsArgs),
    /// How much of a grid there is in pictures, or in what a model makes of flat colours.
    Speckle(SpeckleArgs),
    /// Encode and decode a photo with the small models in this program, and lay the results side by side.
    Demo(DemoArgs),
    /// Train a decoder.
    #[cfg(feature = "train")]
    #[command(subcommand)]
    Train(TrainCommand),
    /// Look through photos before training on them.
    #[cfg(feature = "train")]
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// A training run's model as a weight file.
    #[cfg(feature = "train")]
    Export(ExportArgs),
    /// Latents softened as a diffusion model softens them.
    #[cfg(feature = "train")]
    Degrade(DegradeArgs),
    /// Pairs of a clean latent and what a diffusion model makes of it after some noise, to train a softening network on.
    #[cfg(feature = "train")]
    Sdedit(SdeditArgs),
    /// A caption as the diffusion model reads it: the text encoder's embedding.
    #[cfg(feature = "text")]
    EmbedText(EmbedTextArgs),
    /// Power spectra of sets of latents side by side: what was lost, at which frequency.
    #[cfg(feature = "train")]
    Spectrum(SpectrumArgs),
}

/// The argument that names weights. Its value is optional for clap, so that the program can say what is on offer.
#[derive(Debug, Args)]
pub struct VaeArg {
    /// Weights: a file, a diffusers folder, a hub id (owner/name[:subfolder-or-file]), demo:2x or demo:base
    #[arg(long, value_name = "WEIGHTS", num_args = 0..=1)]
    pub vae: Option<Option<String>>,
}

/// Where and how fast to compute.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Device: auto, cpu, burn (the slow reference), or of those that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
    /// Precision of weights and arithmetic, of the decoder where there are both; cpu computes in f32 and may keep the decoder's large
    /// weights as bf16
    #[arg(long, visible_alias = "precision", value_name = "PRECISION", default_value = "f32", value_parser = precisions())]
    pub dtype: Precision,
    /// Memory that may be used, such as 4GiB; what the device has if not given
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Threads; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Write times and peak memory as JSON
    #[arg(long, value_name = "FILE")]
    pub timings: Option<PathBuf>,
}

/// How a latent file is to be read.
#[derive(Debug, Args)]
pub struct LatentArgs {
    /// Whether latents are as the VAE speaks (raw) or normalized per channel
    #[arg(long, value_name = "SPACE", default_value = "auto", value_parser = space_choices())]
    pub latent_space: SpaceChoice,
    /// The tensor to take from a file that holds several
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Height and width in pixels at base resolution, for diffusers' packed Qwen-Image latents
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    pub size: Option<[usize; 2]>,
}

/// `vae2x decode`
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// Latent files: .latent, .safetensors, .npy, .pt
    #[arg(required = true, value_name = "LATENTS")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// .png .jpg .webp .exr .npy .safetensors, or a folder
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
    /// Bits per channel of PNG files
    #[arg(long, value_name = "BITS", default_value = "8", value_parser = parse_bit_depth)]
    pub bit_depth: BitDepth,
    /// Size in multiples of the base resolution: 1, 2 or 4, at most what the decoder gives, which is the default; smaller ones
    /// are blurred slightly and reduced without aliases
    #[arg(long, value_name = "1|2|4", value_parser = parse_scale)]
    pub scale: Option<usize>,
    /// With --scale: average light instead of sRGB values
    #[arg(long, requires = "scale")]
    pub linear_light: bool,
    /// Detail.
    #[command(flatten)]
    pub detail: DetailArgs,
    /// Take colours from a picture of the same view, or, with base:WEIGHTS, from what these weights decode
    #[arg(long, value_name = "IMAGE|base:WEIGHTS")]
    pub match_color: Option<String>,
    /// How colours are taken: place by place without touching detail, or as each channel's mean and deviation
    #[arg(long, value_name = "HOW", default_value = "low", requires = "match_color", value_parser = takings())]
    pub match_color_by: Taking,
    /// Leave ComfyUI's prompt and workflow out of PNG files
    #[arg(long)]
    pub no_metadata: bool,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What is done to a picture's detail, in sRGB values, last of all.
#[derive(Debug, Args)]
pub struct DetailArgs {
    /// Unsharp mask: add the difference to the Gaussian mean of this deviation, in pixels of the result, 0.2 to 20
    #[arg(long, value_name = "SIGMA", value_parser = parse_sigma, conflicts_with = "blur")]
    pub sharpen: Option<f64>,
    /// Gaussian mean of this deviation, in pixels of the result, 0.2 to 20
    #[arg(long, value_name = "SIGMA", value_parser = parse_sigma)]
    pub blur: Option<f64>,
}

impl From<&DetailArgs> for Detail {
    /// The two exclude each other.
    fn from(args: &DetailArgs) -> Self {
        match (args.sharpen, args.blur) {
            (Some(sigma), _) => Self::Sharpen(sigma),
            (None, Some(sigma)) => Self::Blur(sigma),
            (None, None) => Self::Keep,
        }
    }
}

/// `vae2x upscale`
#[derive(Debug, Args)]
pub struct UpscaleArgs {
    /// Pictures, or folders of them
    #[arg(required = true, value_name = "IMAGES")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// .png .jpg .webp .exr, or a folder for PNG files
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Bits per channel of PNG files; those of each input if not given
    #[arg(long, value_name = "BITS", value_parser = parse_bit_depth)]
    pub bit_depth: Option<BitDepth>,
    /// Detail.
    #[command(flatten)]
    pub detail: DetailArgs,
    /// Give the result the input's colours, place by place, without touching detail
    #[arg(long)]
    pub match_color: bool,
    /// Leave ComfyUI's prompt and workflow out of PNG files
    #[arg(long)]
    pub no_metadata: bool,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `vae2x hires`
#[derive(Debug, Args)]
pub struct HiresArgs {
    /// Latent files: .latent, .safetensors, .npy, .pt
    #[arg(required = true, value_name = "LATENTS")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// .latent (ComfyUI, raw), .safetensors, .npy, or a folder for files of each input's kind
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
    /// Leave ComfyUI's prompt and workflow out
    #[arg(long)]
    pub no_metadata: bool,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `vae2x encode`
#[derive(Debug, Args)]
pub struct EncodeArgs {
    /// Pictures, folders of them, or `pixels` as decode writes them (.safetensors, .npy)
    #[arg(required = true, value_name = "IMAGES")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// .latent (ComfyUI, raw), .safetensors (diffusers), .npy, or a folder for .latent files
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Space to write; raw for .latent, else normalized as diffusers has it
    #[arg(long, value_name = "SPACE", value_parser = spaces())]
    pub latent_space: Option<Space>,
    /// Encode each folder as one clip, its images being the frames in the order of their numbers
    #[arg(long)]
    pub clip: bool,
    /// Pad sizes up to a multiple of 8 by repeating the edge, instead of cropping them
    #[arg(long)]
    pub pad: bool,
    /// Leave ComfyUI's prompt and workflow, which PNG files may hold, out of latent files
    #[arg(long)]
    pub no_metadata: bool,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `vae2x preview`
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// A latent file: .latent, .safetensors, .npy, .pt
    #[arg(value_name = "LATENTS")]
    pub input: PathBuf,
    /// .png .jpg .webp, or a folder
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
}

/// `vae2x info`
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A weight file, a diffusers folder, a hub id, demo:2x, demo:base, or a latent file
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Reading of latents.
    #[command(flatten)]
    pub latent: LatentArgs,
}

/// `vae2x convert`
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Weights, as for --vae
    #[arg(value_name = "WEIGHTS")]
    pub weights: String,
    /// A .safetensors file, or a folder for diffusers
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Layout to write
    #[arg(long, value_name = "LAYOUT", value_parser = layouts())]
    pub layout: Layout,
    /// Precision to write; as in the input if not given
    #[arg(long, value_name = "PRECISION", value_parser = dtypes())]
    pub dtype: Option<DType>,
    /// Make a 12-channel decoder that gives exactly the nearest-neighbour 2x of the 3-channel one
    #[arg(long)]
    pub to_2x: bool,
}

/// `vae2x demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the pictures
    #[arg(short, long, value_name = "DIR", default_value = "vae2x-demo")]
    pub output: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
