//! Comparing and measuring images and clips.

use std::path::PathBuf;

use clap::Args;
use vae2x::Device;
use vae2x_compare::clips::ClipOptions;
use vae2x_compare::page::Crop;
use vae2x_media::frames::Folders;
use vae2x_media::video::Rate;

use super::parse::{FrameRange, parse_bytes, parse_crop, parse_frames, parse_scale};
use super::{RunArgs, VaeArg};

/// `vae2x compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Images, videos, or folders of them, which are paired by name [default NAME: the file's name]; or the folder of a training run,
    /// for its milestones
    #[arg(required = true, value_name = "NAME=FILE|DIR")]
    pub sides: Vec<String>,
    /// Measure the others against NAME [default: the first]
    #[arg(long, value_name = "NAME")]
    pub reference: Option<String>,
    /// Show and measure only this part, in pixels of the widest image
    #[arg(long, value_name = "WxH+X+Y", value_parser = parse_crop)]
    pub crop: Option<Crop>,
    /// Do not measure; for large images, this takes longest
    #[arg(long)]
    pub no_numbers: bool,
    /// Write the page to FILE.html; it needs no other file
    #[arg(short, long, value_name = "FILE.html")]
    pub output: PathBuf,
    /// Clips.
    #[command(flatten)]
    pub clips: ClipArgs,
    /// Play clips at RATE frames per second [default: that of the first video, else 16]
    #[arg(long, value_name = "RATE", help_heading = "Clips")]
    pub fps: Option<Rate>,
    /// Refuse clips whose frames would take more than SIZE of the page
    #[arg(long, value_name = "SIZE", default_value = "500MB", value_parser = parse_bytes, help_heading = "Clips")]
    pub page_limit: u64,
}

/// Which clips there are, and which of their frames are compared.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clips")]
pub struct ClipArgs {
    /// Take each folder as one clip: its images are the frames, in the order of their numbers
    #[arg(long)]
    pub clip: bool,
    /// Take only frames A to B, both included, counted from 0; A.. and ..B go to the ends
    #[arg(long = "range", value_name = "A..B", value_parser = parse_frames)]
    pub frames: Option<FrameRange>,
    /// Take one of every N frames
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,
    /// Use this FFmpeg program for videos [default: VAE2X_FFMPEG, the search path, imageio-ffmpeg]
    #[arg(long, value_name = "PATH")]
    pub ffmpeg: Option<PathBuf>,
}

impl ClipArgs {
    /// What a folder stands for.
    pub fn folders(&self) -> Folders {
        match self.clip {
            true => Folders::Themselves,
            false => Folders::OfImagesAndVideos,
        }
    }
}

impl From<&ClipArgs> for ClipOptions {
    fn from(args: &ClipArgs) -> Self {
        let FrameRange { first, last } = args.frames.unwrap_or_default();
        Self {
            first,
            last,
            every: args.every as usize,
            ffmpeg: args.ffmpeg.clone(),
        }
    }
}

/// `vae2x metrics`
#[derive(Debug, Args)]
pub struct MetricsArgs {
    /// Images, videos, or folders of them, which are paired by name, without the extension
    #[arg(required = true, value_name = "NAME=FILE|DIR")]
    pub sides: Vec<String>,
    /// Measure the others against NAME
    #[arg(long, value_name = "NAME")]
    pub reference: String,
    /// Measure LPIPS, too, with these weights of VGG16: a file of torchvision or timm, or a Hugging
    /// Face id
    #[arg(long, value_name = "VGG16")]
    pub lpips: Option<String>,
    /// Print JSON; of clips, with the numbers of every frame
    #[arg(long)]
    pub json: bool,
    /// Clips.
    #[command(flatten)]
    pub clips: ClipArgs,
}

/// `vae2x speckle`
#[derive(Debug, Args)]
pub struct SpeckleArgs {
    /// Images, or folders of them
    #[arg(value_name = "IMAGES")]
    pub inputs: Vec<PathBuf>,
    /// The scale of the images: 2 for the output of a 2x decoder
    #[arg(long, value_name = "1|2|4", default_value_t = 1, conflicts_with = "vae", value_parser = parse_scale)]
    pub scale: usize,
    /// Measure what this model makes of probe latents, instead of images.
    #[command(flatten)]
    pub vae: VaeArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Compute on DEVICE, as for decode
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Auto, requires = "vae")]
    pub device: Device,
}

/// `vae2x roundtrip`
#[derive(Debug, Args)]
pub struct RoundtripArgs {
    /// Images, or folders of them
    #[arg(required = true, value_name = "IMAGES")]
    pub inputs: Vec<PathBuf>,
    /// Weights.
    #[command(flatten)]
    pub vae: VaeArg,
    /// Encode and decode N times
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Take each folder as one clip: its images are the frames, in the order of their numbers
    #[arg(long)]
    pub clip: bool,
    /// Write the images of the last round to DIR, as PNG
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Write the images of every round
    #[arg(long, requires = "output")]
    pub keep: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Running.
    #[command(flatten)]
    pub run: RunArgs,
}
