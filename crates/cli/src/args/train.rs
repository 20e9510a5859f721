//! Training, and what goes before and after it: photos, softened latents, a run's model.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use vae2x::{Device, SpaceChoice};
use vae2x_core::weights::{DType, Layout};
use vae2x_media::latent::LatentFormat;
use vae2x_soften::sdedit::Shard;

use super::parse::{dtypes, layouts, parse_named, parse_time, space_choices};
use super::LatentArgs;

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

/// A new run of training, or one to go on with.
#[derive(Debug, Args)]
pub struct TrainingArgs {
    /// A run's configuration; see configs/
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
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

/// `vae2x train decoder`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The run.
    #[command(flatten)]
    pub run: TrainingArgs,
    /// Change a key of the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Plain lines instead of the dashboard, as always where there is no terminal
    #[arg(long)]
    pub no_tui: bool,
    /// Device: auto, cpu, or of those that `vae2x devices` lists; several train together, each on a batch of its own
    #[arg(
        long,
        value_name = "DEVICE[,...]",
        value_delimiter = ',',
        default_value = "auto"
    )]
    pub device: Vec<Device>,
}

/// `vae2x train degradation`
#[derive(Debug, Args)]
pub struct TrainDegradationArgs {
    /// Folder of .safetensors files with tensors NAME.clean, NAME.degraded [16, h, w] or [16, T, h, w], normalized, and NAME.t [1]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub pairs: Option<PathBuf>,
    /// The run.
    #[command(flatten)]
    pub run: TrainingArgs,
    /// Device: auto, cpu, or of those that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
}

/// `vae2x train flow`
#[derive(Debug, Args)]
pub struct TrainFlowArgs {
    /// Folder of latent files
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub latents: Option<PathBuf>,
    /// What latents are; as the configuration says if not given, which says auto if nothing
    #[arg(long, value_name = "SPACE", value_parser = space_choices(), conflicts_with = "resume")]
    pub latent_space: Option<SpaceChoice>,
    /// The VAE that the latents are of, for its means and deviations; Wan2.1's if not given
    #[arg(long, value_name = "WEIGHTS", conflicts_with = "resume")]
    pub vae: Option<String>,
    /// The run.
    #[command(flatten)]
    pub run: TrainingArgs,
    /// Device: auto, cpu, or of those that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
}

/// `vae2x degrade`
#[derive(Debug, Args)]
pub struct DegradeArgs {
    /// A latent file (.latent, .safetensors, .npy, .pt), a folder of them, or a folder of pairs, whose clean latents are softened at their
    /// own times
    #[arg(value_name = "LATENTS")]
    pub input: PathBuf,
    /// The network: proxy.safetensors of a run of train degradation
    #[arg(long, value_name = "FILE")]
    pub proxy: PathBuf,
    /// Flow time from 0 (nothing changes) to 1; not for pairs, which have theirs
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub t: Option<f64>,
    /// .latent (ComfyUI, raw), .safetensors (normalized), .npy (normalized); for a folder a folder, for pairs one without pairs
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// The VAE that latents are of, for its means and deviations; Wan2.1's if not given
    #[arg(long, value_name = "WEIGHTS")]
    pub vae: Option<String>,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
    /// Device: auto, cpu, or of those that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
}

impl DegradeArgs {
    /// Checks that the options are those of pairs, or those of latents.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, of_pairs: bool) -> Result<(), String> {
        let LatentArgs {
            latent_space,
            key,
            size,
        } = &self.latent;
        let reads_latents = *latent_space != SpaceChoice::Auto || key.is_some() || size.is_some();
        match of_pairs {
            true if self.t.is_some() => {
                Err("--t is for latents; pairs have their own times".into())
            }
            true if self.vae.is_some() || reads_latents => Err(
                "--vae, --latent-space, --key and --size are for latents; pairs are normalized"
                    .into(),
            ),
            false if self.t.is_none() => Err("--t TIME is missing".into()),
            false if !self.input.is_dir() => LatentFormat::from_path(&self.output)
                .map(|_| ())
                .map_err(|e| e.to_string()),
            _ => Ok(()),
        }
    }
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
    #[arg(long, value_name = "SPACE", default_value = "auto", value_parser = space_choices())]
    pub latent_space: SpaceChoice,
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
    /// Latents' pairs in a file; shards are of whole files
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub per_file: u16,
    /// Of noise and times; each pair has its own stream, by its name
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Go on with the job in PAIRS, or begin it if there is none
    #[arg(long)]
    pub resume: bool,
    /// Make only part I, from 0 on, of N, in a folder of its own; join them with `sdedit merge`
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
    /// Folder for all pairs, new or empty
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
    /// Device: auto, cpu, or of those that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
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
    #[arg(long, value_name = "SPACE", default_value = "auto", value_parser = space_choices())]
    pub latent_space: SpaceChoice,
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
    #[arg(long, value_name = "LAYOUT", value_parser = layouts())]
    pub layout: Layout,
    /// The moving average of the weights instead of the last ones
    #[arg(long)]
    pub ema: bool,
    /// The checkpoint with the best score on held-out photos instead of the last one; what was scored is the moving average, where the run
    /// keeps one
    #[arg(long)]
    pub best: bool,
    /// Precision of the trained tensors; the others keep their bytes
    #[arg(long, value_name = "PRECISION", default_value = "f32", value_parser = dtypes())]
    pub dtype: DType,
}
