//! What each command does with its inputs: its source, its stage, its sink. Nothing here knows arguments or threads.

mod decoding;
mod encoding;
mod previewing;
mod refining;
mod upscaling;

pub use decoding::Decoding;
pub use encoding::{Encoding, PixelInput};
pub use previewing::Previewing;
pub use refining::{RefinedLatent, Refining};
pub use upscaling::{EnlargedImage, Upscaling};

use std::path::PathBuf;

use crate::run::Written;

/// Files of which there is nothing more to report.
fn plain(paths: Vec<PathBuf>) -> Vec<Written> {
    let plain = |path| Written { path, note: None };
    paths.into_iter().map(plain).collect()
}
