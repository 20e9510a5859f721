//! The highres fix: latents decoded at twice the size and encoded again, one latent frame at a time.

use std::path::PathBuf;

use anyhow::Result;
use vae2x::{Progress, RefineSession, Vae};
use vae2x_core::latent::Raw;
use vae2x_media::latent::{WriteOptions, write_raw};

use super::Latents;
use crate::latents::{LatentFrame, LatentInput, Reading};
use crate::run::{Need, Sink, Source, Stage, Work, Written};

/// Refining, ready to run.
pub struct Refining {
    /// The model, whose decoder enlarges.
    pub vae: Vae,
    /// How latents are read.
    pub reading: Reading,
    /// Whether ComfyUI's texts are kept.
    pub keeps_text: bool,
    /// Bytes that may be used.
    pub allowed: Option<u64>,
}

/// A latent and where its refined version goes.
pub struct RefinedLatent {
    /// The latent.
    pub input: LatentInput,
    /// The result, of the input's space where its file can hold that, and packed if the input was.
    pub path: PathBuf,
}

impl Work for Refining {
    type Job = RefinedLatent;
    type Piece = LatentFrame;
    type Result = Raw;

    const LABEL: &'static str = "refining";
    const UNIT: &'static str = "latent frames";

    fn name(&self, job: &RefinedLatent) -> String {
        job.input.path.display().to_string()
    }

    fn units(&self, job: &RefinedLatent) -> f64 {
        job.input.latent_frames() as f64
    }

    fn need(&self, job: &RefinedLatent) -> Result<Option<Need>> {
        job.input.require_time(&self.vae)?;
        let engine = self.vae.refine_memory(job.input.extent)?;
        Ok(engine.map(|engine| Need {
            what: job.input.described("decoding and encoding"),
            engine,
            piece: 0,
            result: 0,
            is_finished: false,
            allowed: self.allowed,
        }))
    }

    fn source(&self, job: &RefinedLatent) -> Result<Source<LatentFrame>> {
        job.input.frames(&self.reading, self.vae.config())
    }

    fn stage<'a>(
        &'a self,
        job: &'a RefinedLatent,
    ) -> Result<Box<dyn Stage<LatentFrame, Raw> + 'a>> {
        Ok(Box::new(Clips {
            vae: &self.vae,
            input: &job.input,
            session: self.vae.refiner(job.input.extent)?,
            latents: Latents::default(),
        }))
    }

    fn sink<'a>(&'a self, job: &'a RefinedLatent) -> Result<Box<dyn Sink<Raw> + 'a>> {
        Ok(Box::new(LatentSink {
            work: self,
            job,
            written: Vec::new(),
        }))
    }
}

/// The items of a batch on their way.
struct Clips<'a> {
    vae: &'a Vae,
    input: &'a LatentInput,
    session: RefineSession,
    latents: Latents,
}

impl Stage<LatentFrame, Raw> for Clips<'_> {
    fn step(&mut self, piece: LatentFrame, progress: Progress<'_>) -> Result<Vec<Raw>> {
        if self.session.is_done() {
            self.session = self.vae.refiner(self.input.extent)?;
        }
        let latent = self.session.step_with(&piece.values, progress)?;
        self.latents.push(latent, self.session.is_done())?;
        Ok(Vec::new())
    }

    fn finish(&mut self) -> Result<Vec<Raw>> {
        Ok(vec![self.latents.finish()?])
    }
}

struct LatentSink<'a> {
    work: &'a Refining,
    job: &'a RefinedLatent,
    written: Vec<Written>,
}

impl Sink<Raw> for LatentSink<'_> {
    fn push(&mut self, raw: Raw) -> Result<()> {
        let facts = self.job.input.facts();
        let options = WriteOptions {
            space: facts.map(|facts| facts.space),
            packed: facts.is_some_and(|facts| facts.is_packed),
            text: self.job.input.text(self.work.keeps_text),
        };
        let path = self.job.path.clone();
        let space = write_raw(&path, &raw, self.work.vae.config(), &options)?;
        self.written.push(Written {
            path,
            note: Some(space.to_string()),
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        Ok(self.written)
    }
}
