//! Decoding and encoding sessions.
//!
//! The first call may bring a single frame, and nobody knows whether more will follow. It is run as an image, in memory
//! that grows with the width alone, and its input is kept; if the clip goes on, the frame is run again for the state
//! that it leaves. The first frame is the cheapest of a clip, and an image pays nothing.

use std::ops::Range;

use vae2x_core::config::{SPATIAL_FACTOR, TEMPORAL_FACTOR};
use vae2x_core::engine::{DecodeSession, EncodeSession, Progress};
use vae2x_core::{Array, Error, Result};

use crate::engine::CpuEngine;
use crate::model::Model;
use crate::ops::Machine;
use crate::pages::Pages;
use crate::picture::{Picture, frame};
use crate::plan::{Stage, Use};
use crate::run::{Mode, RunOptions, Runner};

/// One side of the model on its way through a clip.
struct Stream<'e> {
    model: &'e Model,
    machine: &'e Machine,
    has_time: bool,
    /// Frames that go in for each latent frame but the first.
    group: usize,
    state: State<'e>,
}

enum State<'e> {
    /// Nothing has come yet.
    Empty,
    /// A single frame has come and was run as an image.
    First(Array),
    /// More has come: the stages, and the height and width of frames.
    Clip(Vec<Part<'e>>, [usize; 2]),
}

/// A stage of a clip's way.
struct Part<'e> {
    stage: &'e Stage,
    runner: Runner<'e>,
    /// Frames that came so far.
    frames: usize,
}

impl<'e> Stream<'e> {
    fn new(engine: &'e CpuEngine, model: &'e Model, group: usize) -> Self {
        Self {
            model,
            machine: engine.machine(),
            has_time: engine.has_time(),
            group,
            state: State::Empty,
        }
    }

    /// Whether the next frame is the first of its clip.
    fn is_new(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    fn check_size(&self, what: &str, size: [usize; 2]) -> Result<()> {
        let before = match &self.state {
            State::Empty => return Ok(()),
            State::First(array) => [array.shape()[2], array.shape()[3]],
            State::Clip(_, size) => *size,
        };
        if before == size {
            return Ok(());
        }
        let [expected, got] =
            [before, size].map(|[h, w]| format!("{h} x {w}, as in the first frame of the clip"));
        Err(Error::Shape {
            what: what.into(),
            expected,
            got: got.replace(", as in the first frame of the clip", ""),
        })
    }

    /// Runs frames `[C, T, H, W]`; the frames that leave go to `picture`, which knows how many they will be.
    fn step(
        &mut self,
        frames: &Array,
        picture: &mut Picture,
        expected: usize,
        progress: Progress<'_>,
    ) -> Result<()> {
        let size = [frames.shape()[2], frames.shape()[3]];
        if self.is_new() && frames.shape()[1] == 1 {
            self.model.prepare_image(self.machine)?;
            self.image(frames, picture, progress);
            self.state = State::First(frames.clone());
            return Ok(());
        }
        if !self.has_time {
            return Err(Error::Unsupported(
                "these weights are for single frames; they cannot run a clip".into(),
            ));
        }
        self.model.prepare_clip(self.machine)?;
        let mut parts = match std::mem::replace(&mut self.state, State::Empty) {
            State::Clip(parts, _) => parts,
            State::Empty => self.parts(size),
            State::First(first) => {
                let mut parts = self.parts(size);
                feed_frames(&mut parts, &first, 0..1, &mut |_| ());
                parts
            }
        };
        // The first frame of a clip is a group of its own.
        let mut next = 0;
        while next < frames.shape()[1] {
            let first = parts.first().is_some_and(|part| part.frames == 0);
            let group = next..next + if first { 1 } else { self.group };
            next = group.end;
            feed_frames(&mut parts, frames, group, &mut |event| {
                if picture.take(event) {
                    progress(picture.frames() as f32 / expected as f32);
                }
            });
        }
        self.state = State::Clip(parts, size);
        Ok(())
    }

    fn image(&self, frames: &Array, picture: &mut Picture, progress: Progress<'_>) {
        let size = [frames.shape()[2], frames.shape()[3]];
        let options = RunOptions {
            mode: Mode::Image,
            size,
        };
        let mut runner = Runner::new(self.model, self.machine, &self.model.plans.image, options);
        let input = frame(frames, 0, runner.input());
        runner.run(
            vec![input],
            &mut |_, y, pixels| picture.row(0, y, pixels),
            progress,
        );
    }

    /// The stages for frames of height and width `size`.
    fn parts(&self, mut size: [usize; 2]) -> Vec<Part<'e>> {
        let stages = &self.model.plans.clip;
        let mut parts = Vec::new();
        for (i, stage) in stages.iter().enumerate() {
            let plan = stage.plan();
            let mode = if i + 1 == stages.len() {
                Mode::ClipEnd
            } else {
                Mode::Clip
            };
            let options = RunOptions { mode, size };
            let runner = Runner::new(self.model, self.machine, plan, options);
            parts.push(Part {
                stage,
                runner,
                frames: 0,
            });
            let output = plan.extent(plan.outputs[0], size);
            size = [output.height, output.width];
        }
        parts
    }
}

/// What leaves the last stage.
enum Event<'a> {
    /// A row: the frame, counted from the first that is not done, the row's number, its pixels.
    Row(usize, usize, &'a [f32]),
    /// So many frames are done.
    Done(usize),
}

impl Picture {
    /// Takes an event in; true if it completes frames.
    fn take(&mut self, event: Event<'_>) -> bool {
        match event {
            Event::Row(frame, y, pixels) => self.row(frame, y, pixels),
            Event::Done(frames) => self.advance(frames),
        }
        matches!(event, Event::Done(_))
    }
}

/// Puts a group of frames in.
fn feed_frames(
    parts: &mut [Part<'_>],
    frames: &Array,
    group: Range<usize>,
    out: &mut dyn FnMut(Event<'_>),
) {
    if let Some(first) = parts.first() {
        let extent = first.runner.input();
        let values = group.map(|t| frame(frames, t, extent)).collect();
        feed(parts, values, out);
    }
}

/// Puts frames into the first of `parts`, and what leaves it into the others.
fn feed(parts: &mut [Part<'_>], frames: Vec<Pages>, out: &mut dyn FnMut(Event<'_>)) {
    let Some((part, rest)) = parts.split_first_mut() else {
        return;
    };
    let mut frames = frames.into_iter();
    let mut results = Vec::new();
    while let Some(frame) = frames.next() {
        let second = if part.stage.plan().usage == Use::Pairs && part.frames > 0 {
            frames.next()
        } else {
            None
        };
        let group: Vec<Pages> = [frame].into_iter().chain(second).collect();
        let count = group.len();
        results.append(&mut part.step(group, out));
        if rest.is_empty() {
            out(Event::Done(count));
        }
    }
    if !results.is_empty() {
        feed(rest, results, out);
    }
}

impl Part<'_> {
    /// The frames that leave whole; the last stage's leave through `out`.
    fn step(&mut self, frames: Vec<Pages>, out: &mut dyn FnMut(Event<'_>)) -> Vec<Pages> {
        let n = self.frames;
        self.frames += frames.len();
        match self.stage {
            Stage::TimeUp(_) if n == 0 => return frames,
            Stage::TimeDown(_) if n == 0 => {
                frames
                    .iter()
                    .for_each(|frame| self.runner.put(frame.clone()));
                return frames;
            }
            Stage::TimeDown(_) if n % 2 == 1 => {
                frames.into_iter().for_each(|frame| self.runner.put(frame));
                return vec![];
            }
            _ => {}
        }
        self.runner.run(
            frames,
            &mut |frame, y, pixels| out(Event::Row(frame, y, pixels)),
            &mut |_| (),
        )
    }
}

/// The decoding of one clip.
pub(crate) struct Decode<'e> {
    engine: &'e CpuEngine,
    stream: Stream<'e>,
}

impl<'e> Decode<'e> {
    pub fn new(engine: &'e CpuEngine, model: &'e Model) -> Self {
        Self {
            engine,
            stream: Stream::new(engine, model, 1),
        }
    }
}

impl DecodeSession for Decode<'_> {
    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array> {
        let config = self.engine.config_ref();
        let [z, t, h, w] = latent.dims("latent")?;
        if z != config.z_dim || t == 0 || h == 0 || w == 0 {
            let expected = format!("[{}, t, h, w] with extents of at least 1", config.z_dim);
            return Err(Error::Shape {
                what: "latent".into(),
                expected,
                got: format!("{:?}", latent.shape()),
            });
        }
        self.stream.check_size("latent", [h, w])?;
        let scale = config.scale()?;
        let frames = if self.stream.is_new() {
            vae2x_core::time::frames(t)
        } else {
            TEMPORAL_FACTOR * t
        };
        let pixels = scale * SPATIAL_FACTOR;
        let mut picture = Picture::new([3, frames, pixels * h, pixels * w], scale);
        self.engine
            .machine()
            .enter(|| self.stream.step(latent, &mut picture, frames, progress))?;
        Ok(picture.into_array())
    }

    fn reset(&mut self) {
        self.stream.state = State::Empty;
    }
}

/// The encoding of one clip.
pub(crate) struct Encode<'e> {
    engine: &'e CpuEngine,
    stream: Stream<'e>,
}

impl<'e> Encode<'e> {
    pub fn new(engine: &'e CpuEngine, model: &'e Model) -> Self {
        Self {
            engine,
            stream: Stream::new(engine, model, TEMPORAL_FACTOR),
        }
    }
}

impl EncodeSession for Encode<'_> {
    fn step(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array> {
        let [c, f, h, w] = pixels.dims("pixels")?;
        let new = self.stream.is_new();
        let whole = match new {
            true => f % TEMPORAL_FACTOR == 1,
            false => f > 0 && f.is_multiple_of(TEMPORAL_FACTOR),
        };
        let divides = |n: usize| n > 0 && n.is_multiple_of(SPATIAL_FACTOR);
        if c != 3 || !whole || !divides(h) || !divides(w) {
            let count = if new { "1 + 4 k" } else { "4 k" };
            let expected = format!("[3, f, 8h, 8w] with f = {count}");
            return Err(Error::Shape {
                what: "pixels".into(),
                expected,
                got: format!("{:?}", pixels.shape()),
            });
        }
        self.stream.check_size("pixels", [h, w])?;
        let frames = f.div_ceil(TEMPORAL_FACTOR);
        let z = self.engine.config_ref().z_dim;
        // The mean comes first; the log-variance is left.
        let mut picture = Picture::new([z, frames, h / SPATIAL_FACTOR, w / SPATIAL_FACTOR], 1);
        self.engine
            .machine()
            .enter(|| self.stream.step(pixels, &mut picture, frames, progress))?;
        Ok(picture.into_array())
    }

    fn reset(&mut self) {
        self.stream.state = State::Empty;
    }
}
