//! Training, and what comes before and after it: photos, degraded latents, the model of a run.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use vae2x::{Device, SpaceChoice};
use vae2x_core::weights::{DType, Layout};
use vae2x_media::latent::LatentFormat;
use vae2x_media::shard::Shard;

use super::parse::{dtypes, layouts, parse_named, parse_time, space_choices};
use super::{BatchArgs, LatentArgs};

/// The networks that can be trained.
#[derive(Debug, Subcommand)]
pub enum TrainCommand {
    /// Train a 2x decoder, or the parts that `train.parts` names.
    Decoder(TrainArgs),
    /// Train a proxy that degrades latents as a diffusion model does, on SDEdit pairs.
    Degradation(TrainDegradationArgs),
    /// Train a small flow model on latents, for `sdedit` with a VAE that has no diffusion model.
    Flow(TrainFlowArgs),
}

/// What to do with photos.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// List sizes, sharpness, JPEG quality, near-duplicates and licences, and what to drop and why.
    Scan(ScanArgs),
}

/// A new training run, or one to continue.
#[derive(Debug, Args)]
pub struct TrainingArgs {
    /// Configuration of a new run; see configs/
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    pub config: Option<PathBuf>,
    /// Continue the run in this folder
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    /// Folder for a new run [default: runs/ and the configuration file's name]
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Number of threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `vae2x train decoder`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The run.
    #[command(flatten)]
    pub run: TrainingArgs,
    /// Override a key of the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print log lines instead of the progress bar
    #[arg(long)]
    pub no_tui: bool,
    /// Device: auto, cpu, or one that `vae2x devices` lists; with several, each trains on its own batch
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
    /// Train on the pairs in DIR: .safetensors files with tensors NAME.clean and NAME.degraded,
    /// [16, h, w] or [16, T, h, w], normalized, and NAME.t, [1]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub pairs: Option<PathBuf>,
    /// The run.
    #[command(flatten)]
    pub run: TrainingArgs,
    /// Device: auto, cpu, or one that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
}

/// `vae2x train flow`
#[derive(Debug, Args)]
pub struct TrainFlowArgs {
    /// Train on the latent files in DIR
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub latents: Option<PathBuf>,
    /// Space of the latents [default: from the configuration, else auto]
    #[arg(long, value_name = "SPACE", value_parser = space_choices(), conflicts_with = "resume")]
    pub latent_space: Option<SpaceChoice>,
    /// VAE of the latents, for its latent statistics [default: Wan2.1's]
    #[arg(long, value_name = "WEIGHTS", conflicts_with = "resume")]
    pub vae: Option<String>,
    /// The run.
    #[command(flatten)]
    pub run: TrainingArgs,
    /// Device: auto, cpu, or one that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
}

/// `vae2x degrade`
#[derive(Debug, Args)]
pub struct DegradeArgs {
    /// A latent file (.latent, .safetensors, .npy, .pt), a folder of them, or a folder of pairs,
    /// whose clean latents are degraded at their own times
    #[arg(value_name = "LATENTS")]
    pub input: PathBuf,
    /// The degradation proxy: proxy.safetensors from `train degradation`
    #[arg(long, value_name = "FILE")]
    pub proxy: PathBuf,
    /// Flow time from 0 (no change) to 1; pairs have their own
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub t: Option<f64>,
    /// .latent (ComfyUI, raw), .safetensors or .npy (normalized); a folder if the input is one
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// VAE of the latents, for its latent statistics [default: Wan2.1's]
    #[arg(long, value_name = "WEIGHTS")]
    pub vae: Option<String>,
    /// The batch.
    #[command(flatten)]
    pub batch: BatchArgs,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
    /// Device: auto, cpu, or one that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
}

impl DegradeArgs {
    /// Checks that the options are those of pairs, or those of latents.
    ///
    /// # Errors
    /// The problem.
    pub fn check(&self, of_pairs: bool) -> Result<(), String> {
        let LatentArgs {
            latent_space,
            key,
            size,
            axes,
        } = &self.latent;
        let reads_latents =
            *latent_space != SpaceChoice::Auto || key.is_some() || size.is_some() || axes.is_some();
        match of_pairs {
            true if self.t.is_some() => {
                Err("--t is for latents; pairs have their own times".into())
            }
            true if self.batch.skip_existing => {
                Err("--skip-existing is for latents; pairs need a new folder".into())
            }
            true if self.vae.is_some() || reads_latents => Err(
                "--vae, --latent-space, --key, --size and --axes are for latents only; pairs are normalized"
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
    /// What to do instead of making pairs.
    #[command(subcommand)]
    pub command: Option<SdeditCommand>,
    /// Diffusion transformer: Wan2.1 text-to-video, a file or a folder, in the original or diffusers layout
    #[arg(long, value_name = "WEIGHTS", required = true)]
    pub dit: Option<PathBuf>,
    /// Embedded caption, usually the negative prompt: a file with `context` [tokens, width], as from `embed-text`
    #[arg(long, value_name = "FILE", required = true)]
    pub context: Option<PathBuf>,
    /// Make pairs of the latent files in DIR, images or clips
    #[arg(long, value_name = "DIR", conflicts_with = "photos")]
    pub latents: Option<PathBuf>,
    /// Space of the latents; auto decides from markers, kinds of file, and statistics over the folder
    #[arg(long, value_name = "SPACE", default_value = "auto", value_parser = space_choices())]
    pub latent_space: SpaceChoice,
    /// Make pairs of the photos in DIR, which are encoded
    #[arg(long, value_name = "DIR")]
    pub photos: Option<PathBuf>,
    /// VAE that encodes photos, and has the statistics of raw latents [default: Wan2.1's statistics]
    #[arg(long, value_name = "WEIGHTS")]
    pub vae: Option<String>,
    /// Scale photos down to this shorter side
    #[arg(long, value_name = "PIXELS", default_value_t = 512, value_parser = clap::value_parser!(u16).range(16..))]
    pub short_side: u16,
    /// Write the pairs and their manifest.json to this folder
    #[arg(short, long, value_name = "PAIRS", required = true)]
    pub output: Option<PathBuf>,
    /// Distribution of the flow times: logit-normal (`lognorm` in papers on flow models) or log-normal
    #[arg(long, value_name = "DRAW", default_value = "logit-normal")]
    pub t_draw: TimeDraw,
    /// Median of the flow times
    #[arg(long, value_name = "TIME", default_value_t = 0.2)]
    pub t_median: f64,
    /// Spread of the flow times: standard deviation of ln(t / (1 - t)), or of ln(t) for log-normal [default: 1, or 0.5]
    #[arg(long, value_name = "S")]
    pub t_sigma: Option<f64>,
    /// Use one flow time for all pairs
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["t_draw", "t_median", "t_sigma"])]
    pub t: Option<f64>,
    /// Number of model steps from the flow time down to 0
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
    /// Number of pairs per latent, each with its own noise and time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub per_latent: u16,
    /// Number of latents whose pairs share a file; shards consist of whole files
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub per_file: u16,
    /// Random seed for noise and flow times
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Continue the job in PAIRS, or start it if there is none
    #[arg(long)]
    pub resume: bool,
    /// Make only shard I of N, counted from 0, in its own folder; join shards with `sdedit merge`
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE)]
    pub shard: Shard,
    /// Number of attention heads [default: from config.json, else dim / 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub heads: Option<u16>,
    /// Device: auto, cpu, or one that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
    /// Number of threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// Distributions of flow times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeDraw {
    /// The logit of the time is normal.
    LogitNormal,
    /// The logarithm of the time is normal; times are held below 1.
    LogNormal,
}

/// Subcommands of `sdedit`.
#[derive(Debug, Subcommand)]
pub enum SdeditCommand {
    /// Join the shards of a job into one folder.
    Merge(MergeArgs),
}

/// `vae2x sdedit merge`
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The folders of all shards
    #[arg(required = true, value_name = "DIRS")]
    pub folders: Vec<PathBuf>,
    /// Write all pairs to this folder, new or empty
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
    /// UMT5 encoder: a file or a folder
    #[arg(long, value_name = "WEIGHTS")]
    pub umt5: PathBuf,
    /// The tokenizer.json of UMT5
    #[arg(long, value_name = "FILE")]
    pub tokenizer: PathBuf,
    /// Write `context` [tokens, width] to this .safetensors file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Cut captions to this number of tokens, as Wan2.1 does
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u16).range(2..))]
    pub max_tokens: u16,
    /// Device: auto, cpu, or one that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
    /// Number of threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `vae2x spectrum`
#[derive(Debug, Args)]
pub struct SpectrumArgs {
    /// Named sets: a latent file, a folder of them, or pairs as PAIRS:clean or PAIRS:degraded; the others are compared with the
    /// first
    #[arg(required = true, value_name = "NAME=LATENTS", value_parser = parse_named)]
    pub sets: Vec<(String, String)>,
    /// An .html page or a .png image
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Number of frequency bands, from coarse to fine
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub bands: u16,
    /// Space of the latents
    #[arg(long, value_name = "SPACE", default_value = "auto", value_parser = space_choices())]
    pub latent_space: SpaceChoice,
    /// VAE of the latents, for its latent statistics [default: Wan2.1's]
    #[arg(long, value_name = "WEIGHTS")]
    pub vae: Option<String>,
}

/// `vae2x dataset scan`
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// Folders of photos, globs, or .tar shards
    #[arg(required = true, value_name = "DIRS")]
    pub places: Vec<String>,
    /// Write the manifest to FILE, a line of JSON per photo
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Drop photos whose shorter side is below PIXELS
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    pub min_side: usize,
    /// Drop photos as blurred whose Laplacian has less variance than this (8-bit units)
    #[arg(long, value_name = "VARIANCE", default_value_t = 20.0)]
    pub min_sharpness: f64,
    /// Drop JPEG files below this estimated quality
    #[arg(long, value_name = "1..100", default_value_t = 75)]
    pub min_jpeg_quality: u8,
}

/// `vae2x export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The folder of a run, or one of its checkpoints
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Write to OUT: a .safetensors file, or a folder for diffusers
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Layout of the written file
    #[arg(long, value_name = "LAYOUT", value_parser = layouts())]
    pub layout: Layout,
    /// Export the moving average of the weights instead of the last ones
    #[arg(long)]
    pub ema: bool,
    /// Export the checkpoint with the best PSNR on held-out photos before a discriminator acted instead of the last one, with the moving
    /// average of the weights if the run keeps one, since that is what is measured
    #[arg(long)]
    pub best: bool,
    /// Precision of the trained tensors; the others are copied unchanged
    #[arg(long, value_name = "PRECISION", default_value = "f32", value_parser = dtypes())]
    pub dtype: DType,
}
