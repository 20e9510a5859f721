//! The command line as clap sees it. Each command turns its arguments into a validated job before any work starts.

mod measure;
mod parse;
#[cfg(feature = "train")]
mod train;
mod video;

pub use measure::*;
#[cfg(feature = "train")]
pub use train::*;
pub use video::VideoArgs;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use vae2x::{Axes, Detail, Device, Overshoot, Precision, Space, SpaceChoice, Taking};
use vae2x_core::weights::{DType, Layout};
use vae2x_media::picture::{BitDepth, PictureFormat};
use vae2x_media::shard::Shard;

use crate::latents::Cut;

use parse::{
    dtypes, layouts, parse_axes, parse_bit_depth, parse_bytes, parse_count, parse_picture_format,
    parse_scale, parse_sigma, parse_size, precisions, space_choices, spaces, takings,
};

/// Decode, encode and upscale with the VAE of Wan2.1, Wan2.2-14B, Qwen-Image, Krea 2 and Anima, at 1x or 2x.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = crate::missing::help())]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// One variant per command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Decode latents to images and videos.
    Decode(DecodeArgs),
    /// Encode images and videos to latents.
    Encode(EncodeArgs),
    /// Upscale images and videos to twice their size, by encoding and decoding them.
    Upscale(UpscaleArgs),
    /// Make latents of twice the size for a second pass of the diffusion model (highres fix).
    Hires(HiresArgs),
    /// Show a latent as a quick, coarse image, without weights.
    Preview(PreviewArgs),
    /// Print what a weight file or a latent file holds.
    Info(InfoArgs),
    /// Convert weights to another layout or precision, or a decoder to 1x or 2x.
    Convert(ConvertArgs),
    /// List available compute devices.
    Devices(DevicesArgs),
    /// Compare images and clips in one HTML page: flip, wipe, zoom, differences, numbers; clips
    /// play in step.
    Compare(CompareArgs),
    /// Measure images and clips against a reference: PSNR, SSIM, MS-SSIM, LPIPS, CIEDE2000, sharpness,
    /// speckle.
    Metrics(MetricsArgs),
    /// Measure the grid of speckles in images, or in what a model makes of probe latents.
    Speckle(SpeckleArgs),
    /// Encode and decode images again and again, as extending a clip does, and print how they drift.
    Roundtrip(RoundtripArgs),
    /// Encode and decode the bundled photos with the bundled models, and compare the results.
    Demo(DemoArgs),
    /// Train a decoder, a degradation proxy or a small flow model.
    #[cfg(feature = "train")]
    #[command(subcommand)]
    Train(TrainCommand),
    /// Check photos before training on them.
    #[cfg(feature = "train")]
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Write the model of a training run as a weight file.
    #[cfg(feature = "train")]
    Export(ExportArgs),
    /// Degrade latents as a diffusion model does, with a trained proxy.
    #[cfg(feature = "train")]
    Degrade(DegradeArgs),
    /// Make pairs of a clean latent and what a diffusion model makes of it after some noise, to
    /// train a proxy on.
    #[cfg(feature = "train")]
    Sdedit(SdeditArgs),
    /// Embed a caption with the text encoder of the diffusion model.
    #[cfg(feature = "text")]
    EmbedText(EmbedTextArgs),
    /// Compare the power spectra of sets of latents: what was lost, and at which frequency.
    #[cfg(feature = "train")]
    Spectrum(SpectrumArgs),
}

/// The argument that names weights. Its value is optional for clap, so that the program can list
/// the choices.
#[derive(Debug, Args)]
pub struct VaeArg {
    /// Weights: a file, a diffusers folder, a Hugging Face id (owner/name[:subfolder-or-file]),
    /// demo:2x or demo:base
    #[arg(long, value_name = "WEIGHTS", num_args = 0..=1)]
    pub vae: Option<Option<String>>,
}

/// Where to compute, and with how much.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Compute on DEVICE: auto, cpu, burn (the slow reference), or one that `vae2x devices` lists
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
    /// Compute in this precision; in upscale and hires, the decoder only. On the CPU, bf16 only
    /// stores the decoder's large weights in 16 bits
    #[arg(long, visible_alias = "precision", value_name = "PRECISION", default_value = "f32", value_parser = precisions())]
    pub dtype: Precision,
    /// Use at most SIZE of memory, such as 4GiB [default: what the device has]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Use N CPU threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Write times and peak memory to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub timings: Option<PathBuf>,
}

/// Which inputs are left out.
#[derive(Debug, Args)]
pub struct BatchArgs {
    /// Skip inputs whose outputs exist, to go on with a batch that was stopped or partly failed
    #[arg(long)]
    pub skip_existing: bool,
    /// Work on shard I of N of the inputs, from 0: every N-th one, under the names of a run over all
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE)]
    pub shard: Shard,
}

/// How to read a latent file.
#[derive(Debug, Args)]
pub struct LatentArgs {
    /// Read latents as raw (as the VAE makes them) or as normalized per channel
    #[arg(long, value_name = "SPACE", default_value = "auto", value_parser = space_choices())]
    pub latent_space: SpaceChoice,
    /// Read the tensor NAME from a file that holds several
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Set the height and width in pixels at 1x, for packed Qwen-Image latents of diffusers
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    pub size: Option<[usize; 2]>,
    /// Set the order of the tensor's axes, such as CTHW or BCHW, where its shape leaves it open
    #[arg(long, value_name = "AXES", value_parser = parse_axes)]
    pub axes: Option<Axes>,
}

/// `vae2x decode`
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// Latent files (.latent, .safetensors, .npy, .npz, .pt), or folders of them
    #[arg(required = true, value_name = "LATENTS")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// Write to OUT: an image (.png .jpg .webp .exr), a video (.mp4 .mov .mkv .webm .gif .apng .y4m,
    /// or - for .y4m on standard output), an array (.npy .safetensors), or a folder for PNG files
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
    /// Write PNG files with 8 or 16 bits per channel
    #[arg(long, value_name = "BITS", default_value = "8", value_parser = parse_bit_depth)]
    pub bit_depth: BitDepth,
    /// Write images at 1, 2 or 4 times the base resolution, up to what the decoder gives, which is
    /// the default; smaller sizes are blurred slightly and reduced without aliasing
    #[arg(long, value_name = "1|2|4", value_parser = parse_scale)]
    pub scale: Option<usize>,
    /// With --scale, average light instead of sRGB values
    #[arg(long, requires = "scale")]
    pub linear_light: bool,
    /// Detail.
    #[command(flatten)]
    pub detail: DetailArgs,
    /// Match the colours of an image of the same view or, with base:WEIGHTS, of what these weights
    /// decode
    #[arg(long, value_name = "IMAGE|base:WEIGHTS")]
    pub match_color: Option<String>,
    /// Match colours place by place, without touching detail, or by the mean and deviation of each
    /// channel. All frames of a clip get the change that the first one needs
    #[arg(long, value_name = "HOW", default_value = "low", requires = "match_color", value_parser = takings())]
    pub match_color_by: Taking,
    /// Level a slow drift of a clip's colours towards its first frame; for clips without cuts
    #[arg(long)]
    pub match_color_drift: bool,
    /// Keep values darker than black and brighter than white, in .exr, .npy and .safetensors
    #[arg(long)]
    pub no_clamp: bool,
    /// Write the images of a folder as FORMAT: png, jpg, webp or exr
    #[arg(long, value_name = "FORMAT", default_value = "png", value_parser = parse_picture_format)]
    pub format: PictureFormat,
    /// Do not write ComfyUI's prompt and workflow to images and videos
    #[arg(long)]
    pub no_metadata: bool,
    /// The batch.
    #[command(flatten)]
    pub batch: BatchArgs,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
    // Their headings hold for all that follows.
    /// Videos.
    #[command(flatten)]
    pub video: VideoArgs,
    /// Part of a clip.
    #[command(flatten)]
    pub part: PartArgs,
}

impl DecodeArgs {
    /// What becomes of values beyond [-1, 1].
    pub fn overshoot(&self) -> Overshoot {
        match self.no_clamp {
            true => Overshoot::Keep,
            false => Overshoot::Clamp,
        }
    }
}

/// Which frames of a clip are decoded, and what is left of a run that ends early.
#[derive(Debug, Args)]
#[command(next_help_heading = "Part of a clip")]
pub struct PartArgs {
    /// Begin with frame N, from 0
    #[arg(long, value_name = "N")]
    pub start: Option<usize>,
    /// Decode N frames [default: to the end]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub frames: Option<usize>,
    /// Decode N latent frames before --start for the past that the decoder needs: faster than all,
    /// and less exact [default: all, which gives the bits of the whole clip]
    #[arg(long, value_name = "N", requires = "start", value_parser = parse_count)]
    pub run_in: Option<usize>,
    /// If the run fails or is stopped by Ctrl-C, keep the frames that are done, in OUT.partial.mp4
    /// and the like
    #[arg(long)]
    pub keep_partial: bool,
}

impl PartArgs {
    /// The part that is asked for, if any.
    pub fn cut(&self) -> Option<Cut> {
        let is_asked = self.start.is_some() || self.frames.is_some();
        is_asked.then(|| Cut {
            start: self.start.unwrap_or_default(),
            frames: self.frames,
            run_in: self.run_in,
        })
    }
}

/// What is done to the detail of an image, in sRGB values, after everything else.
#[derive(Debug, Args)]
pub struct DetailArgs {
    /// Sharpen with an unsharp mask of this standard deviation, 0.2 to 20 pixels of the result
    #[arg(long, value_name = "SIGMA", value_parser = parse_sigma, conflicts_with = "blur")]
    pub sharpen: Option<f64>,
    /// Blur with a Gaussian of this standard deviation, 0.2 to 20 pixels of the result
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
    /// Images, folders of them, or videos
    #[arg(required = true, value_name = "IMAGES")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// Write to OUT: an image (.png .jpg .webp .exr), a video (.mp4 .mov .mkv .webm .y4m), or a
    /// folder for PNG files and videos
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Upscale each folder as one clip: its images are the frames, in the order of their numbers
    #[arg(long)]
    pub clip: bool,
    /// Write PNG files with 8 or 16 bits per channel [default: same as input]
    #[arg(long, value_name = "BITS", value_parser = parse_bit_depth)]
    pub bit_depth: Option<BitDepth>,
    /// Detail.
    #[command(flatten)]
    pub detail: DetailArgs,
    /// Match the colours of the input, place by place, without touching detail
    #[arg(long)]
    pub match_color: bool,
    /// Leave out metadata: ComfyUI's prompt and workflow, other programs' texts, EXIF and XMP
    #[arg(long)]
    pub no_metadata: bool,
    /// The batch.
    #[command(flatten)]
    pub batch: BatchArgs,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
    // Their headings hold for all that follows.
    /// Videos.
    #[command(flatten)]
    pub video: VideoArgs,
}

/// `vae2x hires`
#[derive(Debug, Args)]
pub struct HiresArgs {
    /// Latent files (.latent, .safetensors, .npy, .npz, .pt), or folders of them
    #[arg(required = true, value_name = "LATENTS")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// Write to OUT: .latent (ComfyUI, raw), .safetensors, .npy, or a folder for files like each
    /// input
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
    /// Do not write ComfyUI's prompt and workflow
    #[arg(long)]
    pub no_metadata: bool,
    /// The batch.
    #[command(flatten)]
    pub batch: BatchArgs,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `vae2x encode`
#[derive(Debug, Args)]
pub struct EncodeArgs {
    /// Images, folders of them, videos, or `pixels` as decode writes them (.safetensors, .npy)
    #[arg(required = true, value_name = "IMAGES")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// Write to OUT: .latent (ComfyUI, raw), .safetensors (diffusers), .npy, or a folder for
    /// .latent files
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Write raw or normalized latents [default: raw for .latent, else normalized]
    #[arg(long, value_name = "SPACE", value_parser = spaces())]
    pub latent_space: Option<Space>,
    /// Encode each folder as one clip: its images are the frames, in the order of their numbers
    #[arg(long)]
    pub clip: bool,
    /// Pad to multiples of 8 pixels by repeating the edge, instead of cropping
    #[arg(long)]
    pub pad: bool,
    /// Use this FFmpeg program for videos [default: VAE2X_FFMPEG, the search path, imageio-ffmpeg]
    #[arg(long, value_name = "PATH")]
    pub ffmpeg: Option<PathBuf>,
    /// Do not write ComfyUI's prompt and workflow of images to latent files
    #[arg(long)]
    pub no_metadata: bool,
    /// The batch.
    #[command(flatten)]
    pub batch: BatchArgs,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `vae2x preview`
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// Latent files (.latent, .safetensors, .npy, .npz, .pt), or folders of them
    #[arg(required = true, value_name = "LATENTS")]
    pub inputs: Vec<PathBuf>,
    /// Write to OUT: .png .jpg .webp, or a folder for PNG files
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Reading.
    #[command(flatten)]
    pub latent: LatentArgs,
    /// The batch.
    #[command(flatten)]
    pub batch: BatchArgs,
}

/// `vae2x info`
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Weight files, diffusers folders, Hugging Face ids, demo:2x, demo:base, or latent files
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Print JSON: an object, or a list of them for several files
    #[arg(long)]
    pub json: bool,
    /// Reading of latents.
    #[command(flatten)]
    pub latent: LatentArgs,
}

/// `vae2x devices`
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Decode a small clip on every device and compare it with the CPU: some drivers return wrong
    /// values without an error
    #[arg(long)]
    pub check: bool,
}

/// `vae2x convert`
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Weights, as for `decode --vae`
    #[arg(value_name = "WEIGHTS")]
    pub weights: String,
    /// Write to OUT: a .safetensors file, or a folder for diffusers
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Write this layout
    #[arg(long, value_name = "LAYOUT", value_parser = layouts())]
    pub layout: Layout,
    /// Write this precision [default: same as input]
    #[arg(long, value_name = "PRECISION", value_parser = dtypes())]
    pub dtype: Option<DType>,
    /// Make a 12-channel decoder that outputs each pixel of the 3-channel one four times
    #[arg(long, conflicts_with = "to_1x")]
    pub to_2x: bool,
    /// Fold a 12-channel decoder into a 3-channel one that outputs the mean of each 2x2 block, for
    /// programs that know only 3 channels
    #[arg(long)]
    pub to_1x: bool,
    /// Take the encoder of these weights
    #[arg(long, value_name = "WEIGHTS")]
    pub encoder_from: Option<String>,
}

/// `vae2x demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Write the images to DIR
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

    /// A heading of clap holds for all arguments that follow.
    #[test]
    fn headings_stand_over_their_own_options() {
        let cli = Cli::command();
        for (command, heading, last) in [
            ("decode", "Videos", "ffmpeg"),
            ("decode", "Part of a clip", "keep_partial"),
            ("upscale", "Videos", "ffmpeg"),
        ] {
            let command = cli.find_subcommand(command).unwrap();
            let under = command
                .get_arguments()
                .filter(|arg| arg.get_help_heading() == Some(heading));
            assert_eq!(under.last().unwrap().get_id(), last, "{command} {heading}");
        }
    }
}
