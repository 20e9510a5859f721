//! Clips at a multiple of their size: each latent frame is decoded as soon as it is encoded, so that memory does not grow with the
//! clip.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use vae2x::{Array, EnlargeSession, Progress, Upscale, Vae};
use vae2x_media::frames::{FrameSink, FrameSource, Spec};
use vae2x_media::output::Output;

use super::plain;
use crate::run::{Need, Sink, Source, Stage, Work, Written};
use crate::ui;

/// Enlarging of clips, ready to run.
pub struct EnlargingClips<'a> {
    /// The model, whose decoder enlarges.
    pub vae: &'a Vae,
    /// How frames are enlarged.
    pub how: Upscale,
    /// Whether ComfyUI's texts are kept.
    pub keeps_text: bool,
    /// Bytes that may be used.
    pub allowed: Option<u64>,
}

/// A clip and where its enlarged version goes.
pub struct EnlargedClip {
    /// The clip.
    pub input: PathBuf,
    /// The clip, opened; taken when it is read.
    pub opened: Mutex<Option<Box<dyn FrameSource>>>,
    /// Its frames.
    pub spec: Spec,
    /// The result, for this clip alone.
    pub output: Output,
}

impl Work for EnlargingClips<'_> {
    type Job = EnlargedClip;
    type Piece = Vec<Array>;
    type Result = Array;

    const LABEL: &'static str = "upscaling";
    const UNIT: &'static str = "frames";

    fn name(&self, job: &EnlargedClip) -> String {
        job.input.display().to_string()
    }

    fn units(&self, job: &EnlargedClip) -> f64 {
        job.spec.frames as f64
    }

    fn piece_units(&self, frames: &Vec<Array>) -> f64 {
        frames.len() as f64
    }

    fn need(&self, job: &EnlargedClip) -> Result<Option<Need>> {
        let Spec { frames, size, .. } = job.spec;
        if frames > 1 && !self.vae.has_time() {
            anyhow::bail!(
                "this is a clip of {frames} frames, but {} has the 2-D layout, which takes single frames only",
                self.vae.name()
            );
        }
        let temporal = self.vae.config().temporal().min(frames);
        let engine = self.vae.enlarge_memory(frames, size)?;
        Ok(engine.map(|engine| Need {
            what: format!(
                "enlarging {frames} frames of {}x{} pixels",
                size[1], size[0]
            ),
            engine,
            piece: temporal * job.spec.frame_bytes(),
            result: engine.output / temporal,
            is_finished: true,
            allowed: self.allowed,
        }))
    }

    fn source(&self, job: &EnlargedClip) -> Result<Source<Vec<Array>>> {
        let mut opened = job.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let source = opened.take();
        Ok(Box::new(Steps {
            source: source.ok_or_else(|| anyhow::anyhow!("it was read before"))?,
            temporal: self.vae.config().temporal(),
        }))
    }

    fn stage<'a>(
        &'a self,
        job: &'a EnlargedClip,
    ) -> Result<Box<dyn Stage<Vec<Array>, Array> + 'a>> {
        let Spec { frames, size, .. } = job.spec;
        Ok(Box::new(Enlarging(
            self.vae.enlarger(frames, size, &self.how)?,
        )))
    }

    fn sink<'a>(&'a self, job: &'a EnlargedClip) -> Result<Box<dyn Sink<Array> + 'a>> {
        let text = match self.keeps_text {
            true => job.spec.text.clone(),
            false => Vec::new(),
        };
        Ok(Box::new(Frames(job.output.open(0, text)?)))
    }

    fn pixels(&self, frame: &Array) -> u64 {
        frame.data().len() as u64 / 3
    }
}

/// The frames of one latent frame after another: the first by itself, then as many as one stands for, fewer at the end.
struct Steps {
    source: Box<dyn FrameSource>,
    temporal: usize,
}

impl Iterator for Steps {
    type Item = Result<Vec<Array>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut frames = Vec::new();
        loop {
            let frame = match self.source.next() {
                Ok(Some(frame)) => frame,
                Ok(None) if frames.is_empty() => return None,
                Ok(None) => return Some(Ok(frames)),
                Err(e) => return Some(Err(e.into())),
            };
            frame.notes.iter().for_each(ui::warn);
            frames.push(frame.pixels);
            if frame.index == 0 || frames.len() == self.temporal {
                return Some(Ok(frames));
            }
        }
    }
}

struct Enlarging(EnlargeSession);

impl Stage<Vec<Array>, Array> for Enlarging {
    fn step(&mut self, frames: Vec<Array>, progress: Progress<'_>) -> Result<Vec<Array>> {
        Ok(self.0.step_with(&frames, progress)?)
    }
}

struct Frames(Box<dyn FrameSink>);

impl Sink<Array> for Frames {
    fn push(&mut self, frame: Array) -> Result<()> {
        self.0.push(&frame)?;
        self.0.notes().iter().for_each(ui::warn);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        Ok(plain(self.0.finish()?))
    }
}
