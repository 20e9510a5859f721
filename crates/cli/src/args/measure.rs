//! Looking at pictures, and measuring them.

use std::path::PathBuf;

use clap::Args;
use vae2x::Device;
use vae2x_compare::page::Crop;

use super::VaeArg;
use super::parse::{parse_crop, parse_scale};

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
    #[arg(long, value_name = "1|2|4", default_value_t = 1, conflicts_with = "vae", value_parser = parse_scale)]
    pub scale: usize,
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
