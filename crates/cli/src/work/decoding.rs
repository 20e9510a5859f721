//! Latents to frames: decoded one latent frame at a time, finished and written behind.

use std::ops::Range;

use anyhow::Result;
use vae2x::{Array, ClipFinisher, DecodeSession, Extent, Finisher, Overshoot, Progress, Vae};
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

/// A decoded frame, `[3, H, W]` or with opacity `[4, H, W]`, and the base decoder's.
pub struct Decoded {
    pixels: Array,
    base: Option<Array>,
}

impl Work for Decoding {
    type Job = (usize, LatentInput);
    type Piece = LatentFrame;
    type Result = Decoded;

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
    ) -> Result<Box<dyn Stage<LatentFrame, Decoded> + 'a>> {
        let base = self.base.as_ref();
        Ok(Box::new(Clips {
            main: Clip::new(&self.vae, input.extent, self.overshoot)?,
            base: base
                .map(|vae| Clip::new(vae, input.extent, self.overshoot))
                .transpose()?,
            kept: input.kept.clone(),
            decoded: 0,
        }))
    }

    fn sink<'a>(&'a self, (index, input): &'a Self::Job) -> Result<Box<dyn Sink<Decoded> + 'a>> {
        let text = input.text(self.keeps_text);
        Ok(Box::new(Finishing {
            finisher: &self.finisher,
            clip: self.finisher.clip(),
            frames: input.kept.len(),
            planned: input.items * input.kept.len(),
            pushed: 0,
            sink: self.output.open(*index, text)?,
        }))
    }

    fn pixels(&self, result: &Decoded) -> u64 {
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

/// A model on its way through the items of a batch.
struct Clip<'a> {
    vae: &'a Vae,
    extent: Extent,
    overshoot: Overshoot,
    session: DecodeSession,
}

impl<'a> Clip<'a> {
    fn new(vae: &'a Vae, extent: Extent, overshoot: Overshoot) -> Result<Self> {
        Ok(Self {
            session: vae.decoder(extent)?.with_overshoot(overshoot),
            vae,
            extent,
            overshoot,
        })
    }

    /// The frames of the next latent frame, which may be the first of the next item.
    fn step(&mut self, values: &Array, progress: Progress<'_>) -> Result<Vec<Array>> {
        if self.session.is_done() {
            self.session = self
                .vae
                .decoder(self.extent)?
                .with_overshoot(self.overshoot);
        }
        Ok(self.session.step_with(values, progress)?)
    }
}

/// A decoder and, frame by frame beside it, the base decoder.
struct Clips<'a> {
    main: Clip<'a>,
    base: Option<Clip<'a>>,
    /// The frames of each item that are kept.
    kept: Range<usize>,
    /// Frames of this item that have been decoded.
    decoded: usize,
}

impl Stage<LatentFrame, Decoded> for Clips<'_> {
    fn step(&mut self, piece: LatentFrame, progress: Progress<'_>) -> Result<Vec<Decoded>> {
        // Both decoders do nearly all of their work at base resolution.
        let share = if self.base.is_some() { 0.5 } else { 1.0 };
        let main = &mut |part: f32| progress(part * share);
        let main = self.main.step(&piece.values, main)?;
        let base = match &mut self.base {
            Some(base) => {
                let beside = &mut |part: f32| progress(share + part * share);
                base.step(&piece.values, beside)?
            }
            None => Vec::new(),
        };
        let base = base.into_iter().map(Some).chain(std::iter::repeat(None));
        let first = self.decoded;
        self.decoded = match self.main.session.is_done() {
            true => 0,
            false => first + main.len(),
        };
        let both = (first..).zip(main.into_iter().zip(base));
        Ok(both
            .filter(|(number, _)| self.kept.contains(number))
            .map(|(_, (pixels, base))| Decoded { pixels, base })
            .collect())
    }
}

/// Frames are finished on the writer thread, before they are written.
struct Finishing<'a> {
    finisher: &'a Finisher,
    /// Of the present item.
    clip: ClipFinisher<'a>,
    /// Frames of each item.
    frames: usize,
    /// Frames of all items.
    planned: usize,
    pushed: usize,
    sink: Box<dyn FrameSink>,
}

impl Sink<Decoded> for Finishing<'_> {
    fn push(&mut self, frame: Decoded) -> Result<()> {
        if self.pushed.is_multiple_of(self.frames) {
            self.clip = self.finisher.clip();
        }
        self.pushed += 1;
        let finished = self.clip.apply(frame.pixels, frame.base.as_ref())?;
        self.sink.push(&finished)?;
        self.sink.notes().iter().for_each(ui::warn);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        Ok(plain(self.sink.finish()?))
    }

    fn keep_part(self: Box<Self>) -> Result<Vec<Written>> {
        if self.pushed == self.planned {
            return self.finish();
        }
        let note = format!("the first {} of {} frames", self.pushed, self.planned);
        let written = |path| Written {
            path,
            note: Some(note.clone()),
        };
        let paths = self.sink.keep_part()?;
        Ok(paths.into_iter().map(written).collect())
    }
}
