//! Latents to frames: decoded one latent frame at a time, finished and written behind.

use anyhow::Result;
use vae2x::{BatchDecoder, ClipFinisher, DecodedFrame, Finisher, Overshoot, Progress, Vae};
use vae2x_media::frames::FrameSink;
use vae2x_media::output::Output;

use super::plain;
use crate::latents::{LatentFrame, LatentInput, Reading};
use crate::run::{Need, Sink, Source, Stage, Work, Written, line};
use crate::ui;

/// Decoding, ready to run.
pub struct Decoding {
    /// The model.
    pub vae: Vae,
    /// The base decoder whose colours are matched.
    pub base: Option<Vae>,
    /// How latents are read.
    pub reading: Reading,
    /// The finishing of frames.
    pub finisher: Finisher,
    /// Whether finishing changes anything.
    pub is_finished: bool,
    /// Where frames go; input N of it is job N.
    pub output: Output,
    /// Whether ComfyUI's texts are kept.
    pub keeps_text: bool,
    /// Whether a clip that fails or is stopped leaves the frames that are done.
    pub keeps_part: bool,
    /// What becomes of values beyond [-1, 1].
    pub overshoot: Overshoot,
    /// Bytes that may be used.
    pub allowed: Option<u64>,
}

impl Work for Decoding {
    type Job = (usize, LatentInput);
    type Piece = LatentFrame;
    type Result = DecodedFrame;

    const LABEL: &'static str = "decoding";
    const UNIT: &'static str = "latent frames";

    fn name(&self, (_, input): &Self::Job) -> String {
        input.path.display().to_string()
    }

    fn units(&self, (_, input): &Self::Job) -> f64 {
        input.latent_frames() as f64
    }

    fn need(&self, (_, input): &Self::Job) -> Result<Option<Need>> {
        let clip = input.extent;
        input.require_time(&self.vae)?;
        let Some(mut engine) = self.vae.decode_memory(clip) else {
            return Ok(None);
        };
        if let Some(base) = &self.base {
            input.require_time(base)?;
            let Some(beside) = base.decode_memory(clip) else {
                return Ok(None);
            };
            engine = vae2x::in_turn(engine, beside);
        }
        let frames_of_a_step = if clip.is_clip() {
            self.vae.config().temporal()
        } else {
            1
        };
        Ok(Some(Need {
            what: input.described("decoding"),
            engine,
            piece: 0,
            result: engine.output / frames_of_a_step,
            is_finished: self.is_finished,
            allowed: self.allowed,
        }))
    }

    fn source(&self, (_, input): &Self::Job) -> Result<Source<LatentFrame>> {
        input.frames(&self.reading, self.vae.config())
    }

    fn stage<'a>(
        &'a self,
        (_, input): &'a Self::Job,
    ) -> Result<Box<dyn Stage<LatentFrame, DecodedFrame> + 'a>> {
        let decoder = BatchDecoder::new(&self.vae, self.base.as_ref(), input.extent)?;
        let decoder = decoder.with_frames(input.kept.clone());
        Ok(Box::new(Frames(decoder.with_overshoot(self.overshoot))))
    }

    fn sink<'a>(
        &'a self,
        (index, input): &'a Self::Job,
    ) -> Result<Box<dyn Sink<DecodedFrame> + 'a>> {
        let text = input.text(self.keeps_text);
        Ok(Box::new(Finishing {
            clip: self.finisher.clip(),
            planned: input.items * input.kept.len(),
            pushed: 0,
            sink: self.output.open(*index, text)?,
        }))
    }

    fn pixels(&self, result: &DecodedFrame) -> u64 {
        let pixels: usize = result.pixels.shape()[1..].iter().product();
        (pixels / self.finisher.pixels_per_result()) as u64
    }

    fn keeps_part(&self) -> bool {
        self.keeps_part
    }

    /// The file, or the first and the last one.
    fn report(&self, written: &[Written]) -> Vec<String> {
        match written {
            [first, .., last] => vec![format!(
                "{} to {} ({} files)",
                first.path.display(),
                last.path.display(),
                written.len()
            )],
            one => one.iter().map(line).collect(),
        }
    }
}

struct Frames(BatchDecoder);

impl Stage<LatentFrame, DecodedFrame> for Frames {
    fn step(&mut self, piece: LatentFrame, progress: Progress<'_>) -> Result<Vec<DecodedFrame>> {
        Ok(self.0.step_with(&piece.values, progress)?)
    }
}

/// Frames are finished on the writer thread, before they are written.
struct Finishing {
    clip: ClipFinisher,
    /// Frames of all items.
    planned: usize,
    pushed: usize,
    sink: Box<dyn FrameSink>,
}

impl Sink<DecodedFrame> for Finishing {
    fn push(&mut self, frame: DecodedFrame) -> Result<()> {
        self.pushed += 1;
        self.sink.push(&frame.finish(&mut self.clip)?)?;
        self.sink.notes().iter().for_each(ui::warn);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        Ok(plain(self.sink.finish()?))
    }

    fn keep_part(self: Box<Self>) -> Result<Vec<Written>> {
        let note = format!("the first {} of {} frames", self.pushed, self.planned);
        let written = |path| Written {
            path,
            note: Some(note.clone()),
        };
        let paths = self.sink.keep_part()?;
        Ok(paths.into_iter().map(written).collect())
    }
}
