//! How videos are written.

use std::path::PathBuf;

use clap::Args;
use vae2x_media::output::VideoOptions;
use vae2x_media::video::{Codec, PixelFormat, Rate, Wishes};

/// How a video is written. FFmpeg writes all but .y4m files; .mp4 is written without it by builds with `mp4`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Videos")]
pub struct VideoArgs {
    /// Frames per second, such as 16, 23.976 or 30000/1001 [default: 16, or that of the input]
    #[arg(long, value_name = "RATE")]
    pub fps: Option<Rate>,
    /// Compress with CODEC: h264, h265, av1, vp9, prores or ffv1 (lossless) [default: h264; prores
    /// in .mov, vp9 in .webm]
    #[arg(long, value_name = "CODEC")]
    pub codec: Option<Codec>,
    /// Set the quality: less is better and larger [default: 19 for h264, 22 for h265, 24 for vp9,
    /// 30 for av1]
    #[arg(long, value_name = "N")]
    pub crf: Option<u8>,
    /// Store colours as FORMAT, such as yuv420p, yuv422p10 or yuv444p16 [default: what plays
    /// everywhere, yuv420p for h264; yuv444p in .y4m]
    #[arg(long, value_name = "FORMAT")]
    pub pixel_format: Option<PixelFormat>,
    /// Add the sound of FILE, copied where the video can hold it as it is
    #[arg(long, value_name = "FILE")]
    pub audio: Option<PathBuf>,
    /// Use this FFmpeg program [default: VAE2X_FFMPEG, the search path, imageio-ffmpeg]
    #[arg(long, value_name = "PATH")]
    pub ffmpeg: Option<PathBuf>,
}

impl From<&VideoArgs> for VideoOptions {
    fn from(args: &VideoArgs) -> Self {
        Self {
            rate: args.fps,
            wishes: Wishes {
                codec: args.codec,
                format: args.pixel_format,
                crf: args.crf,
            },
            audio: args.audio.clone(),
            audio_from: 0,
            ffmpeg: args.ffmpeg.clone(),
        }
    }
}
