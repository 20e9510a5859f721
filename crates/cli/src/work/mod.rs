//! Each command's work on its inputs: its source, its stage, its sink. Nothing here knows arguments or threads.

mod decoding;
mod encoding;
mod enlarging_clips;
mod previewing;
mod refining;
mod round_trips;
mod upscaling;

pub use decoding::Decoding;
pub use encoding::{Encoding, Opening, PixelInput};
pub use enlarging_clips::{EnlargedClip, EnlargingClips};
pub use previewing::Previewing;
pub use refining::{RefinedLatent, Refining};
pub use round_trips::{Round, RoundTrips, Trip, TripInput};
pub use upscaling::{EnlargedImage, Upscaling};

use std::path::PathBuf;

use anyhow::Result;
use vae2x::Array;
use vae2x_core::latent::Raw;

use crate::run::Written;

/// Files without a note.
fn plain(paths: Vec<PathBuf>) -> Vec<Written> {
    let plain = |path| Written { path, note: None };
    paths.into_iter().map(plain).collect()
}

/// The latents of a batch as they come, one latent frame after another.
#[derive(Default)]
struct Latents {
    /// Those of the present item.
    frames: Vec<Array>,
    items: Vec<Array>,
}

impl Latents {
    /// Takes `[z, 1, h, w]`, the last one of its item or not.
    fn push(&mut self, frame: Array, is_last: bool) -> Result<()> {
        self.frames.push(frame);
        if is_last {
            let frames = std::mem::take(&mut self.frames);
            self.items.push(Array::concat1(&frames)?);
        }
        Ok(())
    }

    /// `[B, z, T, h, w]`
    fn finish(&mut self) -> Result<Raw> {
        let items = std::mem::take(&mut self.items);
        Ok(Raw::new(Array::stack(&items)?)?)
    }
}
