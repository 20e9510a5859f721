//! Decoding and encoding sessions.
//!
//! The extent of the clip is known from the start: an image goes through one plan in memory that grows with its width
//! alone, and the first frame of a clip goes through the clip's stages, where it leaves the state that later frames see.

use std::sync::Arc;

use vae2x_core::engine::{Decode, Encode, Progress};
use vae2x_core::{Array, Extent, Result, VaeConfig};

use crate::buffers::frames::{OutputFrames, frame};
use crate::buffers::pages::Pages;
use crate::machine::Machine;
use crate::plan::steps::Stage;
use crate::run::runner::{Mode, RunOptions, Runner, State};
use crate::weights::model::Model;

/// The encoder or the decoder on its way through a clip.
struct Stream {
    model: Arc<Model>,
    machine: Machine,
    way: Way,
}

enum Way {
    /// A single frame, of this height and width.
    Image([usize; 2]),
    /// The stages of a clip, in order.
    Clip(Vec<Part>),
}

/// What a stage of a clip's way holds between frames.
struct Part {
    state: State,
    /// Frames that came so far.
    frames: usize,
}

impl Stream {
    /// Reads and packs the weights; `size` is the height and width of the frames that go in.
    fn new(model: Arc<Model>, machine: Machine, is_clip: bool, size: [usize; 2]) -> Result<Self> {
        let way = if is_clip {
            model.prepare_clip(&machine)?;
            Way::Clip(parts(&model, machine.threads, size)?)
        } else {
            model.prepare_image(&machine)?;
            Way::Image(size)
        };
        Ok(Self {
            model,
            machine,
            way,
        })
    }

    /// Runs the frames `[C, T, H, W]` of one latent frame; those that leave go to `output`. An error leaves the state half
    /// written; the door in `core` lets nothing in after it.
    fn step(
        &mut self,
        frames: &Array,
        output: &mut OutputFrames,
        progress: Progress<'_>,
    ) -> Result<()> {
        let Self {
            model,
            machine,
            way,
        } = self;
        machine.enter(|| match way {
            Way::Image(size) => image(model, machine, *size, frames, output, progress),
            Way::Clip(parts) => clip(model, machine, parts, frames, output, progress),
        })
    }
}

/// The stages of a clip of frames of height and width `size`, before the first frame.
fn parts(model: &Model, threads: usize, mut size: [usize; 2]) -> Result<Vec<Part>> {
    let stages = &model.plans.clip;
    let mut parts = Vec::new();
    for (i, stage) in stages.iter().enumerate() {
        let plan = stage.plan();
        let options = RunOptions {
            mode: if i + 1 == stages.len() {
                Mode::ClipEnd
            } else {
                Mode::Clip
            },
            size,
            threads,
        };
        parts.push(Part {
            state: State::new(plan, &model.plans.tables, options)?,
            frames: 0,
        });
        let output = plan.extent(plan.outputs[0], size);
        size = [output.height, output.width];
    }
    Ok(parts)
}

fn image(
    model: &Model,
    machine: &Machine,
    size: [usize; 2],
    frames: &Array,
    output: &mut OutputFrames,
    progress: Progress<'_>,
) -> Result<()> {
    let plan = &model.plans.image;
    let options = RunOptions {
        mode: Mode::Image,
        size,
        threads: machine.threads,
    };
    let mut state = State::new(plan, &model.plans.tables, options)?;
    let input = frame(frames, 0, state.input())?;
    let mut runner = Runner {
        model,
        machine,
        plan,
        state: &mut state,
    };
    runner.run(
        vec![input],
        &mut |_, y, pixels| output.row(0, y, pixels),
        progress,
    )?;
    Ok(())
}

fn clip(
    model: &Model,
    machine: &Machine,
    parts: &mut [Part],
    frames: &Array,
    output: &mut OutputFrames,
    progress: Progress<'_>,
) -> Result<()> {
    let input = parts[0].state.input();
    let values = (0..frames.shape()[1])
        .map(|t| frame(frames, t, input))
        .collect::<Result<_>>()?;
    let mut feed = Feed {
        model,
        machine,
        out: &mut |event| output.take(event),
        progress,
        done: 0.0,
        total: cost(model, machine, parts, frames.shape()[1]),
    };
    feed.feed(0, parts, values)
}

/// Multiplications of so many frames on their way through all stages, roughly.
fn cost(model: &Model, machine: &Machine, parts: &mut [Part], mut frames: usize) -> f64 {
    let mut total = 0.0;
    for (stage, part) in model.plans.clip.iter().zip(parts) {
        let runs = stage.runs(part.frames, frames);
        let plan = stage.plan();
        let runner = Runner {
            model,
            machine,
            plan,
            state: &mut part.state,
        };
        total += runs as f64 * runner.frame_cost();
        frames = match stage {
            Stage::Frames(_) => frames,
            Stage::TimeUp(_) => frames + runs,
            Stage::TimeDown(_) => frames.div_ceil(2),
        };
    }
    total
}

impl Stage {
    /// How many of `new` frames, which come after `before`, or pairs of them, are computed.
    fn runs(&self, before: usize, new: usize) -> usize {
        match self {
            Self::Frames(_) => new,
            Self::TimeUp(_) => before + new - before.max(1),
            Self::TimeDown(_) => (before + new - 1) / 2 - before.saturating_sub(1) / 2,
        }
    }
}

/// What leaves the last stage.
enum Event<'a> {
    /// A row: the frame, counted from the first that is not done, the row's number, its pixels.
    Row(usize, usize, &'a [f32]),
    /// So many frames are done.
    Done(usize),
}

impl OutputFrames {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Row(frame, y, pixels) => self.row(frame, y, pixels),
            Event::Done(frames) => self.advance(frames),
        }
    }
}

/// Passes frames from stage to stage.
struct Feed<'f> {
    model: &'f Model,
    machine: &'f Machine,
    out: &'f mut dyn FnMut(Event<'_>),
    /// Called with the completed fraction.
    progress: Progress<'f>,
    /// Multiplications so far, and of all.
    done: f64,
    total: f64,
}

impl Feed<'_> {
    /// Puts frames into the first of `parts`, which is stage `index`, and what leaves it into the others.
    fn feed(&mut self, index: usize, parts: &mut [Part], frames: Vec<Pages>) -> Result<()> {
        let Some((part, rest)) = parts.split_first_mut() else {
            return Ok(());
        };
        let stage = &self.model.plans.clip[index];
        let mut frames = frames.into_iter();
        let mut results = Vec::new();
        while frames.len() > 0 {
            // The very first frame passes alone.
            let together = match part.frames {
                0 => 1,
                _ => stage.plan().usage.together(),
            };
            let group: Vec<Pages> = frames.by_ref().take(together).collect();
            let count = group.len();
            results.append(&mut self.step(stage, part, group)?);
            if rest.is_empty() {
                (self.out)(Event::Done(count));
            }
        }
        match results.is_empty() {
            true => Ok(()),
            false => self.feed(index + 1, rest, results),
        }
    }

    /// The frames that leave whole; the last stage's leave through `out`.
    fn step(&mut self, stage: &Stage, part: &mut Part, frames: Vec<Pages>) -> Result<Vec<Pages>> {
        let (n, count) = (part.frames, frames.len());
        part.frames += count;
        match stage {
            Stage::TimeUp(_) if n == 0 => return Ok(frames),
            Stage::TimeDown(_) if n == 0 => {
                for frame in &frames {
                    part.state.put(frame.try_clone()?);
                }
                return Ok(frames);
            }
            Stage::TimeDown(_) if n % 2 == 1 => {
                frames.into_iter().for_each(|frame| part.state.put(frame));
                return Ok(vec![]);
            }
            _ => {}
        }
        let mut runner = Runner {
            model: self.model,
            machine: self.machine,
            plan: stage.plan(),
            state: &mut part.state,
        };
        let Self {
            out,
            progress,
            done,
            total,
            ..
        } = self;
        let own = stage.runs(n, count) as f64 * runner.frame_cost();
        let before = *done;
        *done += own;
        runner.run(
            frames,
            &mut |frame, y, pixels| out(Event::Row(frame, y, pixels)),
            &mut |part| progress(((before + f64::from(part) * own) / *total) as f32),
        )
    }
}

/// The decoding of one clip.
pub(crate) struct Decoding {
    config: VaeConfig,
    scale: usize,
    clip: Extent,
    /// Latent frames so far.
    done: usize,
    stream: Stream,
}

impl Decoding {
    /// Reads and packs the weights that a clip of this extent needs.
    pub fn new(
        config: &VaeConfig,
        machine: &Machine,
        model: &Arc<Model>,
        clip: Extent,
    ) -> Result<Self> {
        Ok(Self {
            config: config.clone(),
            scale: config.scale()?,
            clip,
            done: 0,
            stream: Stream::new(model.clone(), machine.clone(), clip.is_clip(), clip.cells)?,
        })
    }
    /// Time spent so far in each step of each stage of a clip.
    pub fn seconds(&self) -> Vec<Vec<f64>> {
        match &self.stream.way {
            Way::Image(_) => Vec::new(),
            Way::Clip(parts) => parts.iter().map(|p| p.state.seconds().to_vec()).collect(),
        }
    }
}

impl Decode for Decoding {
    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array> {
        let frames = self.config.frames_of(self.done);
        let [h, w] = self
            .clip
            .cells
            .map(|n| self.scale * self.config.spatial() * n);
        let mut output = OutputFrames::new([self.config.image_channels, frames, h, w], self.scale)?;
        self.stream.step(latent, &mut output, progress)?;
        self.done += 1;
        Ok(output.into_array())
    }
}

/// The encoding of one clip.
pub(crate) struct Encoding {
    config: VaeConfig,
    clip: Extent,
    stream: Stream,
}

impl Encoding {
    /// As [`Decoding::new`].
    pub fn new(
        config: &VaeConfig,
        machine: &Machine,
        model: &Arc<Model>,
        clip: Extent,
    ) -> Result<Self> {
        let size = clip.cells.map(|n| n * config.spatial());
        Ok(Self {
            config: config.clone(),
            clip,
            stream: Stream::new(model.clone(), machine.clone(), clip.is_clip(), size)?,
        })
    }
}

impl Encode for Encoding {
    fn step(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array> {
        let [h, w] = self.clip.cells;
        // The mean comes first; the log-variance is left.
        let mut output = OutputFrames::new([self.config.z_dim, 1, h, w], 1)?;
        self.stream.step(pixels, &mut output, progress)?;
        Ok(output.into_array())
    }
}
