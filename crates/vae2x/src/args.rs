//! The command line as clap sees it. Each command turns its arguments into a validated job before any work starts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vae2x::media::sharpen::SIGMAS;
use vae2x::{Device, Precision};
use vae2x_compare::page::Crop;
use vae2x_train::sdedit::Shard;

/// Decode and encode with the VAE of Wan2.1, Wan2.2-14B and Qwen-Image, at base resolution or twice that.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
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
    #[command(subcommand)]
    Train(TrainCommand),
    /// Look through photos before training on them.
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// A training run's model as a weight file.
    Export(ExportArgs),
    /// Latents softened as a diffusion model softens them.
    Degrade(DegradeArgs),
    /// Pairs of a clean latent and what a diffusion model makes of it after some noise, to train a softening network on.
    Sdedit(SdeditArgs),
    /// A caption as the diffusion model reads it: the text encoder's embedding.
    #[cfg(feature = "text")]
    EmbedText(EmbedTextArgs),
    /// Power spectra of sets of latents side by side: what was lost, at which frequency.
    Spectrum(SpectrumArgs),
}

/// What can be trained.
#[derive(Debug, Subcommand)]
pub enum TrainCommand {
    /// The 2x decoder, or what the configuration's `train.parts` names.
    Decoder(TrainArgs),
    /// The network that softens latents as a diffusion model does, on pairs of a clean latent and a softened one.
    Degradation(TrainDegradationArgs),
    /// A small diffusion model on latents, for `sdedit` with a VAE that has none of its own.
    Flow(TrainFlowArgs),
}

/// What can be done with photos.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Sizes, sharpness, JPEG quality, near-duplicates, licences; what to drop and why.
    Scan(ScanArgs),
}

/// `vae2x train decoder`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// A run's configuration; see configs/
    #[arg(long, value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Change a key of the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    /// Folder for a new run; runs/NAME of the configuration file if not given
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Plain lines instead of the dashboard, as always where there is no terminal
    #[arg(long)]
    pub no_tui: bool,
    /// Device: auto, cpu, or of those that `vae2x devices` lists; several train together, each on a batch of its own
    #[arg(long, value_name = "DEVICE[,...]", value_delimiter = ',', default_value = "auto")]
    pub device: Vec<Device>,
    /// Threads; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `vae2x train degradation`
#[derive(Debug, Args)]
pub struct TrainDegradationArgs {
    /// Folder of .safetensors files with tensors NAME.clean, NAME.degraded [16, h, w] or [16, T, h, w], normalized, and NAME.t [1]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub pairs: Option<PathBuf>,
    /// A run's configuration; see configs/degradation.toml
    #[arg(long, value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    /// Folder for a new run; runs/NAME of the configuration file if not given
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Threads; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `vae2x train flow`
#[derive(Debug, Args)]
pub struct TrainFlowArgs {
    /// Folder of latent files
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub latents: Option<PathBuf>,
    /// The VAE that the latents are of, for its means and deviations; Wan2.1's if not given
    #[arg(long, value_name = "WEIGHTS", conflicts_with = "resume")]
    pub vae: Option<String>,
    /// A run's configuration; see configs/flow.toml
    #[arg(long, value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    /// Folder for a new run; runs/NAME of the configuration file if not given
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Device: auto, cpu, or of those that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
    /// Threads; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `vae2x degrade`
#[derive(Debug, Args)]
pub struct DegradeArgs {
    /// A latent file (.latent, .safetensors, .npy, .pt), or a folder of pairs, whose clean latents are softened at their own times
    #[arg(value_name = "LATENTS")]
    pub input: PathBuf,
    /// The network: proxy.safetensors of a run of train degradation
    #[arg(long, value_name = "FILE")]
    pub proxy: PathBuf,
    /// Flow time from 0 (nothing changes) to 1; not for pairs, which have theirs
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub t: Option<f64>,
    /// .latent (ComfyUI, raw), .safetensors (normalized), .npy (normalized); for pairs a folder for pairs
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
}

/// `vae2x sdedit`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SdeditArgs {
    /// Instead of making pairs.
    #[command(subcommand)]
    pub command: Option<SdeditCommand>,
    /// The diffusion transformer: Wan2.1 text-to-video in a file or folder, original or diffusers layout, sharded or not
    #[arg(long, value_name = "WEIGHTS", required = true)]
    pub dit: Option<PathBuf>,
    /// The caption, negative as a rule: a file with `context` [tokens, width], what UMT5 makes of it
    #[arg(long, value_name = "FILE", required = true)]
    pub context: Option<PathBuf>,
    /// Folder of latent files, images or clips
    #[arg(long, value_name = "DIR", conflicts_with = "photos")]
    pub latents: Option<PathBuf>,
    /// What latents are; auto decides from markers, kinds of file, and statistics over the folder
    #[arg(long, value_enum, default_value_t, value_name = "SPACE")]
    pub latent_space: SpaceArg,
    /// Folder of photos to encode
    #[arg(long, value_name = "DIR")]
    pub photos: Option<PathBuf>,
    /// The VAE: encodes photos, and has the means and deviations of raw latents (Wan2.1's if not given)
    #[arg(long, value_name = "WEIGHTS")]
    pub vae: Option<String>,
    /// Photos whose shorter side is above this are scaled down to it
    #[arg(long, value_name = "PIXELS", default_value_t = 512, value_parser = clap::value_parser!(u16).range(16..))]
    pub short_side: u16,
    /// Folder for the pairs and their manifest.json
    #[arg(short, long, value_name = "PAIRS", required = true)]
    pub output: Option<PathBuf>,
    /// Median of the flow times, which are log-normal and held below 1
    #[arg(long, value_name = "TIME", default_value_t = 0.2)]
    pub t_median: f64,
    /// Deviation of the times' logarithm
    #[arg(long, value_name = "S", default_value_t = 0.5)]
    pub t_sigma: f64,
    /// One flow time for all instead
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["t_median", "t_sigma"])]
    pub t: Option<f64>,
    /// Steps of the model from the flow time down to 0
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
    /// Pairs of each latent, with noise and times of their own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub per_latent: u16,
    /// Latents' pairs in a file
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub per_file: u16,
    /// Of noise and times; each pair has its own stream, by its name
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Go on with the job in PAIRS, if there is one
    #[arg(long)]
    pub resume: bool,
    /// Make only part I, from 0 on, of N; join them with `sdedit merge`
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE)]
    pub shard: Shard,
    /// Heads of each attention, where neither config.json nor the usual 128 channels per head tell
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub heads: Option<u16>,
    /// Device: auto, cpu, or of those that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
    /// Threads; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// What else `sdedit` does.
#[derive(Debug, Subcommand)]
pub enum SdeditCommand {
    /// Join the shards of a job into what the job without shards would have made.
    Merge(MergeArgs),
}

/// `vae2x sdedit merge`
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Folders of all shards
    #[arg(required = true, value_name = "DIRS")]
    pub folders: Vec<PathBuf>,
    /// Folder for all pairs
    #[arg(short, long, value_name = "PAIRS")]
    pub output: PathBuf,
}

/// `vae2x embed-text`
#[cfg(feature = "text")]
#[derive(Debug, Args)]
pub struct EmbedTextArgs {
    /// The caption
    #[arg(value_name = "TEXT")]
    pub text: String,
    /// UMT5's encoder: a file or folder
    #[arg(long, value_name = "WEIGHTS")]
    pub umt5: PathBuf,
    /// Its tokenizer.json
    #[arg(long, value_name = "FILE")]
    pub tokenizer: PathBuf,
    /// A .safetensors file with `context` [tokens, width]
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Longer captions are cut to this number of tokens, as Wan2.1 does
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u16).range(2..))]
    pub max_tokens: u16,
    /// Threads; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `vae2x spectrum`
#[derive(Debug, Args)]
pub struct SpectrumArgs {
    /// Sets with a name each: a latent file, a folder of them, or pairs as PAIRS:clean or PAIRS:degraded; the first is what others are
    /// compared with
    #[arg(required = true, value_name = "NAME=LATENTS", value_parser = parse_named)]
    pub sets: Vec<(String, String)>,
    /// A .html page or a .png picture
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Rings from the coarsest to the finest frequency
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub bands: u16,
    /// What latents are
    #[arg(long, value_enum, default_value_t, value_name = "SPACE")]
    pub latent_space: SpaceArg,
    /// The VAE that they are of, for its means and deviations; Wan2.1's if not given
    #[arg(long, value_name = "WEIGHTS")]
    pub vae: Option<String>,
}

/// `vae2x dataset scan`
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// Folders, globs, .tar shards
    #[arg(required = true, value_name = "DIRS")]
    pub places: Vec<String>,
    /// The manifest: a line of JSON per photo
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Drop photos with a shorter side below this
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    pub min_side: usize,
    /// Drop photos whose Laplacian varies less (8-bit units)
    #[arg(long, value_name = "VARIANCE", default_value_t = 20.0)]
    pub min_sharpness: f64,
    /// Drop JPEGs below this estimated quality
    #[arg(long, value_name = "1..100", default_value_t = 75)]
    pub min_jpeg_quality: u8,
}

/// `vae2x export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A run's folder, or one checkpoint of it
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// A .safetensors file, or a folder for diffusers
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Layout to write
    #[arg(long, value_enum)]
    pub layout: LayoutArg,
    /// The moving average of the weights instead of the last ones
    #[arg(long)]
    pub ema: bool,
    /// The checkpoint with the best score on held-out photos instead of the last one
    #[arg(long)]
    pub best: bool,
    /// Precision of the trained tensors; the others keep their bytes
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: DTypeArg,
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
    /// Precision of weights and arithmetic; cpu computes in f32 and may keep the decoder's large weights as bf16
    #[arg(long, visible_alias = "precision", value_enum, default_value_t = DTypeArg::F32)]
    pub dtype: DTypeArg,
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
    #[arg(long, value_enum, default_value_t, value_name = "SPACE")]
    pub latent_space: SpaceArg,
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
    #[arg(long, value_name = "BITS", default_value_t = 8, value_parser = parse_bit_depth)]
    pub bit_depth: u8,
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
    #[arg(long, value_enum, default_value_t, requires = "match_color")]
    pub match_color_by: MatchArg,
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

impl DetailArgs {
    /// Whether anything is to be done.
    pub fn is_asked_for(&self) -> bool {
        self.sharpen.or(self.blur).is_some()
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
    pub bit_depth: Option<u8>,
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
    #[arg(long, value_enum, value_name = "SPACE")]
    pub latent_space: Option<EncodedSpaceArg>,
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
    #[arg(long, value_enum)]
    pub layout: LayoutArg,
    /// Precision to write; as in the input if not given
    #[arg(long, value_enum)]
    pub dtype: Option<DTypeArg>,
    /// Make a 12-channel decoder that gives exactly the nearest-neighbour 2x of the 3-channel one
    #[arg(long)]
    pub to_2x: bool,
}

/// `vae2x compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Pictures, or folders whose pictures are paired by name; the file's name stands for NAME where it is not given
    #[arg(required = true, value_name = "NAME=IMAGE|DIR")]
    pub sides: Vec<String>,
    /// The name that the others are measured against; the first if not given
    #[arg(long, value_name = "NAME")]
    pub reference: Option<String>,
    /// Show and measure this part alone, in pixels of the widest picture
    #[arg(long, value_name = "WxH+X+Y", value_parser = parse_crop)]
    pub crop: Option<Crop>,
    /// Leave out the numbers, which take longest for large pictures
    #[arg(long)]
    pub no_numbers: bool,
    /// The page, a file that needs no other
    #[arg(short, long, value_name = "FILE.html")]
    pub output: PathBuf,
}

/// `vae2x metrics`
#[derive(Debug, Args)]
pub struct MetricsArgs {
    /// Pictures, or folders whose pictures are paired by their names without extension
    #[arg(required = true, value_name = "NAME=IMAGE|DIR")]
    pub sides: Vec<String>,
    /// The name that the others are measured against
    #[arg(long, value_name = "NAME")]
    pub reference: String,
    /// LPIPS too, with these weights: VGG16 as torchvision or timm writes it, a file or a hub id
    #[arg(long, value_name = "VGG16")]
    pub lpips: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `vae2x speckle`
#[derive(Debug, Args)]
pub struct SpeckleArgs {
    /// Pictures, or folders of them
    #[arg(value_name = "IMAGES")]
    pub inputs: Vec<PathBuf>,
    /// Pixels of the pictures per pixel at base resolution: 2 for what a 2x decoder made
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "vae", value_parser = clap::value_parser!(u16).range(1..=8))]
    pub scale: u16,
    /// Instead of pictures, what this model makes of flat colours.
    #[command(flatten)]
    pub vae: VaeArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Device for the model, as for decode
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto, requires = "vae")]
    pub device: Device,
}

/// `vae2x demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the pictures
    #[arg(short, long, value_name = "DIR", default_value = "vae2x-demo")]
    pub output: PathBuf,
}

/// The space of a latent file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SpaceArg {
    /// Decide from the kind of file and its statistics
    #[default]
    Auto,
    /// As the VAE speaks
    Raw,
    /// (raw - mean) / std per channel
    Normalized,
}

/// The space of latents to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EncodedSpaceArg {
    /// As the VAE speaks
    Raw,
    /// (raw - mean) / std per channel
    Normalized,
}

/// What --match-color takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MatchArg {
    /// Place by place: brightness coarser than a latent cell, colour coarser than two pixels of the base resolution
    #[default]
    Low,
    /// Each channel's mean and deviation; for references that show something else
    Stats,
}

/// Layouts of weight files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LayoutArg {
    /// Wan2.1's own names, as ComfyUI reads them
    Original,
    /// A diffusers folder with config.json
    Diffusers,
    /// Two-dimensional convolutions, for single frames only
    #[value(name = "2d")]
    TwoD,
}

/// Precisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DTypeArg {
    /// 32 bits
    F32,
    /// 16 bits, 8 of them mantissa
    Bf16,
    /// 16 bits, 11 of them mantissa
    F16,
}

fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let parts: Vec<usize> = text.split(['x', 'X']).map_while(|p| p.parse().ok()).collect();
    match parts[..] {
        [h, w] if text.matches(['x', 'X']).count() == 1 && h > 0 && w > 0 => Ok([h, w]),
        _ => Err("expected HEIGHTxWIDTH in pixels, such as 1328x1024".into()),
    }
}

impl From<DTypeArg> for Precision {
    fn from(arg: DTypeArg) -> Self {
        match arg {
            DTypeArg::F32 => Self::F32,
            DTypeArg::Bf16 => Self::Bf16,
            DTypeArg::F16 => Self::F16,
        }
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 6] =
        [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("B", 1)];
    let unit = UNITS.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)));
    let (number, unit) = unit.unwrap_or((text, 1));
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number * unit as f64) as u64),
        _ => Err("expected a size such as 4GiB, 1.5GB or 800MiB".into()),
    }
}

fn parse_crop(text: &str) -> Result<Crop, String> {
    let numbers: Option<Vec<usize>> = text.split(['x', '+']).map(|part| part.parse().ok()).collect();
    let has_form = text.replace(|c: char| c.is_ascii_digit(), "") == "x++";
    match numbers.as_deref() {
        Some(&[width, height, left, top]) if has_form && width > 0 && height > 0 => {
            Ok(Crop { width, height, left, top })
        }
        _ => Err("expected WIDTHxHEIGHT+LEFT+TOP in pixels, such as 512x512+128+64".into()),
    }
}

fn parse_named(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, place)) if !name.is_empty() && !place.is_empty() => Ok((name.into(), place.into())),
        _ => Err("expected NAME=LATENTS, such as clean=latents/".into()),
    }
}

fn parse_time(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(t) if (0.0..=1.0).contains(&t) => Ok(t),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

fn parse_scale(text: &str) -> Result<usize, String> {
    match text {
        "1" | "2" | "4" => Ok(usize::from(text.as_bytes()[0] - b'0')),
        _ => Err("expected 1, 2 or 4".into()),
    }
}

fn parse_sigma(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(sigma) if SIGMAS.contains(&sigma) => Ok(sigma),
        _ => Err(format!("expected a number of pixels from {} to {}", SIGMAS.start(), SIGMAS.end())),
    }
}

fn parse_bit_depth(text: &str) -> Result<u8, String> {
    match text {
        "8" => Ok(8),
        "16" => Ok(16),
        _ => Err("expected 8 or 16".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn memory_is_read_with_its_unit() {
        assert_eq!(parse_bytes("4GiB"), Ok(4 << 30));
        assert_eq!(parse_bytes("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for bad in ["", "GiB", "-1GB", "0", "4Gb", "infGiB", "NaN"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_are_read_strictly() {
        assert_eq!(parse_crop("20x10+3+0"), Ok(Crop { width: 20, height: 10, left: 3, top: 0 }));
        for bad in ["", "20x10", "20x10+3", "20x10+3+", "20+10x3+0", "0x10+3+0", "20x10+-3+0", "20x10+3+0+1"] {
            assert!(parse_crop(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_strictly() {
        assert_eq!(parse_size("1328x1024"), Ok([1328, 1024]));
        for bad in ["", "12", "12x", "x12", "1x2x3", "0x8", "ax8"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
