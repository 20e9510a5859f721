//! Latents to coarse images without weights: one image per latent frame.

use std::sync::Arc;

use anyhow::Result;
use vae2x::{Array, Progress, VaeConfig};
use vae2x_core::latent::Normalized;
use vae2x_media::frames::FrameSink;
use vae2x_media::output::Output;
use vae2x_media::preview::preview_frame;

use super::plain;
use crate::latents::{LatentInput, Reading};
use crate::run::{Need, Sink, Source, Stage, Work, Written};

/// Previewing, ready to run.
pub struct Previewing {
    /// How the latent is read.
    pub reading: Reading,
    /// Where images go; input N of it is job N.
    pub output: Output,
    /// The latent space.
    pub config: VaeConfig,
}

/// One latent frame, by its place in the whole latent.
pub struct PreviewPiece {
    latent: Arc<Normalized>,
    item: usize,
    frame: usize,
}

impl Work for Previewing {
    type Job = (usize, LatentInput);
    type Piece = PreviewPiece;
    type Result = Array;

    const LABEL: &'static str = "previewing";
    const UNIT: &'static str = "latent frames";

    fn name(&self, (_, input): &Self::Job) -> String {
        input.path.display().to_string()
    }

    fn units(&self, (_, input): &Self::Job) -> f64 {
        input.latent_frames() as f64
    }

    fn need(&self, _: &Self::Job) -> Result<Option<Need>> {
        Ok(None)
    }

    fn source(&self, (_, input): &Self::Job) -> Result<Source<PreviewPiece>> {
        let raw = input.read(&self.reading, &self.config)?;
        let latent = Arc::new(raw.normalize(&self.config)?);
        let frames = input.extent.frames;
        let pieces = (0..input.latent_frames()).map(move |i| {
            Ok(PreviewPiece {
                latent: latent.clone(),
                item: i / frames,
                frame: i % frames,
            })
        });
        Ok(Box::new(pieces))
    }

    fn stage<'a>(&'a self, _: &'a Self::Job) -> Result<Box<dyn Stage<PreviewPiece, Array> + 'a>> {
        Ok(Box::new(Coarse))
    }

    fn sink<'a>(&'a self, (index, input): &'a Self::Job) -> Result<Box<dyn Sink<Array> + 'a>> {
        Ok(Box::new(Files(self.output.open(*index, input.text(true))?)))
    }
}

struct Coarse;

impl Stage<PreviewPiece, Array> for Coarse {
    fn step(&mut self, piece: PreviewPiece, _: Progress<'_>) -> Result<Vec<Array>> {
        Ok(vec![preview_frame(&piece.latent, piece.item, piece.frame)?])
    }
}

struct Files(Box<dyn FrameSink>);

impl Sink<Array> for Files {
    fn push(&mut self, image: Array) -> Result<()> {
        Ok(self.0.push(&image)?)
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        Ok(plain(self.0.finish()?))
    }
}
