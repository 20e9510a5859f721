//! What a video file holds, whoever reads it.

use super::Rate;
use super::yuv::{Matrix, Range};

/// Frames are unevenly spaced if the distance of two differs from the mean by more than this share of it. Containers with coarse
/// clocks, such as Matroska's of a thousandth of a second, round times.
const VARYING: f64 = 0.25;

/// A video stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Video {
    /// Frames.
    pub frames: usize,
    /// Height and width, turned upright.
    pub size: [usize; 2],
    /// FFmpeg's name of how frames are stored.
    pub pixel_format: String,
    /// Frames per second: the mean, if they vary.
    pub rate: Option<Rate>,
    /// Whether frames are unevenly spaced.
    pub is_varying: bool,
    /// The stream's colours.
    pub colours: Colours,
    /// Whether a frame is two fields.
    pub is_interlaced: bool,
    /// Width and height of a pixel, if it is not square.
    pub pixel_aspect: Option<(u32, u32)>,
    /// The codec of the first audio stream.
    pub audio: Option<String>,
    /// ComfyUI's `prompt` and `workflow`.
    pub text: Vec<(String, String)>,
    /// What FFmpeg says of parts that it could not read.
    pub damage: Option<String>,
}

/// What a stream says of its colours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Colours {
    /// What the brightness is made of, if known.
    pub matrix: Option<Matrix>,
    /// What black and white are.
    pub range: Range,
    /// The transfer function, as FFmpeg names it.
    pub transfer: String,
    /// The primaries, as FFmpeg names them.
    pub primaries: String,
}

impl Video {
    /// Takes the rate from the times of frames: the mean, the least and the greatest distance of two in seconds. A rate that the
    /// file tells is kept, unless frames are unevenly spaced.
    pub fn pace(&mut self, mean: f64, [least, most]: [f64; 2]) {
        self.is_varying = least < mean * (1.0 - VARYING) || most > mean * (1.0 + VARYING);
        if self.is_varying || self.rate.is_none() {
            self.rate = Rate::from_f64(1.0 / mean).or(self.rate);
        }
    }
}
