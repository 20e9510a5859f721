//! Runs a plan over one frame after the other. The buffers are the only state.

use std::ops::Range;
use std::time::Instant;

use vae2x_core::Result;

use crate::buffers::pages::Pages;
use crate::buffers::rows::{Extent, Rows};
use crate::machine::Machine;
use crate::ops::{Target, attention, conv, copy, together};
use crate::plan::schedule::{Flow, Schedule};
use crate::plan::steps::{BufferId, ConvSpec, Method, Op, Plan, Step, Tables};
use crate::weights::model::Model;
use crate::weights::pack::{ConvWeights, Sets};
use vae2x_kernels::PAST;

/// Receives the rows of a plan's last buffer: the frame, counted from the first that was put in together with it, the
/// row's number and its pixels.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(usize, usize, &[f32]);

/// How a plan is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One frame without a past. Rows leave as they are done, and memory is given back as soon as it can be.
    Image,
    /// Frames of a clip whose rows leave as they are done.
    ClipEnd,
    /// Frames of a clip that leave whole.
    Clip,
}

/// How a plan is run, and on what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOptions {
    pub mode: Mode,
    /// Height and width of the frames that go in.
    pub size: [usize; 2],
    pub threads: usize,
}

/// What a plan holds between frames: its buffers.
pub(crate) struct State {
    mode: Mode,
    size: [usize; 2],
    rows: Vec<Rows>,
    /// The plan's input.
    input: BufferId,
    /// Frames put in so far.
    frames: usize,
    /// Time spent in each step.
    seconds: Vec<f64>,
}

/// A plan at work on its state.
pub(crate) struct Runner<'r> {
    pub model: &'r Model,
    pub machine: &'r Machine,
    pub plan: &'r Plan,
    pub state: &'r mut State,
}

/// The extents of all buffers of a plan.
pub(crate) fn extents(
    plan: &Plan,
    schedule: Schedule<'_>,
    size: [usize; 2],
    mode: Mode,
) -> Vec<Extent> {
    let together = plan.usage.together();
    let capacities = schedule.capacities();
    let extent = |id: usize| {
        let whole = plan.extent(id, size);
        let stays = mode != Mode::Image && plan.buffers[id].history;
        let leaves_whole = mode == Mode::Clip && plan.outputs.contains(&id);
        if stays && (id == plan.input || leaves_whole) {
            // Whole frames come in or leave, and stay.
            return Extent {
                slots: PAST + together,
                ..whole
            };
        }
        let capacity = if leaves_whole {
            whole.height
        } else {
            capacities[id].min(whole.height)
        };
        Extent {
            slots: together,
            past: if stays { PAST } else { 0 },
            capacity,
            ..whole
        }
    };
    (0..plan.buffers.len()).map(extent).collect()
}

impl State {
    /// Before the first frame.
    pub fn new(plan: &Plan, tables: &Tables, options: RunOptions) -> Result<Self> {
        let RunOptions {
            mode,
            size,
            threads,
        } = options;
        let schedule = Schedule::new(plan, tables, size, threads);
        let rows = extents(plan, schedule, size, mode)
            .into_iter()
            .map(Rows::new)
            .collect::<Result<_>>()?;
        Ok(Self {
            mode,
            size,
            rows,
            input: plan.input,
            frames: 0,
            seconds: vec![0.0; plan.steps.len()],
        })
    }

    /// Time spent in each step so far.
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// Extents of the frames that go in.
    pub fn input(&self) -> Extent {
        self.rows[self.input].extent
    }

    /// Puts a frame in without running the plan: it will be in the past of the next.
    pub fn put(&mut self, frame: Pages) {
        self.rows[self.input].put(self.frames, frame);
        self.frames += 1;
    }
}

impl Runner<'_> {
    /// Runs one frame, or as many as pass together, through the plan. Returns the frames that leave whole; `emit` receives
    /// the rows of those that do not. `progress` is called with the fraction done. After an error the state is not to be used.
    pub fn run(
        &mut self,
        frames: Vec<Pages>,
        emit: Emit<'_>,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Vec<Pages>> {
        let now = self.state.frames..self.state.frames + frames.len();
        frames.into_iter().for_each(|frame| self.state.put(frame));
        let plan = self.plan;
        let rows = self.state.rows.iter_mut();
        rows.for_each(|rows| rows.begin(now.start));
        let mut schedule = Schedule::new(
            plan,
            &self.model.plans.tables,
            self.state.size,
            self.machine.threads,
        );
        let (mut done, total) = (0.0, self.frame_cost());
        while let Some((index, units)) = schedule.next() {
            let step = &plan.steps[index];
            let rows = schedule.output(index, &units);
            let start = Instant::now();
            self.step(step, units.clone(), rows.clone(), now.clone())?;
            self.state.seconds[index] += start.elapsed().as_secs_f64();
            schedule.finish(index, units.end);
            for id in [Some(step.input), step.residual].into_iter().flatten() {
                self.state.rows[id].pass(now.end, schedule.used(id));
            }
            done += self.cost(step) * rows.len() as f64
                / self.state.rows[step.target()].extent.height as f64;
            if self.state.mode != Mode::Clip && step.targets().any(|id| id == plan.outputs[0]) {
                let output = &self.state.rows[plan.outputs[0]];
                now.clone().for_each(|n| {
                    rows.clone()
                        .for_each(|y| emit(n - now.start, y, output.pixels(n, y)))
                });
            }
            if self.state.mode == Mode::Image {
                self.release(&schedule);
            }
            progress((done / total) as f32);
        }
        Ok(match self.state.mode {
            Mode::Clip => now
                .flat_map(|n| plan.outputs.iter().map(move |&id| (id, n)))
                .map(|(id, n)| self.state.rows[id].take(n))
                .collect(),
            Mode::Image | Mode::ClipEnd => Vec::new(),
        })
    }

    fn release(&mut self, schedule: &Schedule<'_>) {
        for id in 0..self.state.rows.len() {
            if schedule.is_dead(id) {
                self.state.rows[id].release();
            }
        }
    }

    /// Multiplications of a frame, roughly.
    pub fn frame_cost(&self) -> f64 {
        self.plan.steps.iter().map(|step| self.cost(step)).sum()
    }

    /// Multiplications of a step over a whole frame, roughly.
    fn cost(&self, step: &Step) -> f64 {
        let output = self.state.rows[step.target()].extent;
        let pixels = (output.width * output.height) as f64;
        match &step.op {
            Op::Conv(index) => {
                let spec = &self.model.plans.tables.convs[*index];
                pixels * (spec.method.elements() * spec.k() * spec.padded_outputs()) as f64
            }
            Op::Attention(_) => {
                pixels * output.channels as f64 * (4.0 * output.channels as f64 + 2.0 * pixels)
            }
            Op::Copy => pixels * output.channels as f64,
        }
    }

    /// Runs units of a step, which make the output rows `made`, for the frames `now`.
    fn step(
        &mut self,
        step: &Step,
        units: Range<usize>,
        made: Range<usize>,
        now: Range<usize>,
    ) -> Result<()> {
        let mut raw = step.raw.map(|id| std::mem::take(&mut self.state.rows[id]));
        let mut act = step
            .act
            .map(|(id, _)| std::mem::take(&mut self.state.rows[id]));
        let channels = raw
            .as_ref()
            .or(act.as_ref())
            .map_or(0, |rows| rows.extent.channels);
        let norm = step.act.map(|(_, norm)| self.model.norm(norm));
        let width = self.plan.extent(step.target(), self.state.size).width;
        let (mut raws, mut acts) = (
            written(&mut raw, &now, &made)?,
            written(&mut act, &now, &made)?,
        );
        let mut next = || Target {
            channels,
            raw: raws.as_mut().and_then(Iterator::next),
            act: acts.as_mut().and_then(Iterator::next),
            norm,
        };
        let targets: Vec<_> = now.clone().map(|_| next()).collect();
        let work = StepPart { units, width, now };
        match step.op {
            Op::Conv(index) => self.conv(step, self.model.conv(index), work, targets)?,
            Op::Attention(parts) => self.attention(step, parts, work, targets)?,
            Op::Copy => {
                for (target, n) in targets.into_iter().zip(work.now) {
                    copy::run(
                        self.machine,
                        &self.state.rows[step.input],
                        n,
                        work.units.clone(),
                        target,
                    )?;
                }
            }
        }
        for (id, rows) in step.targets().zip([raw, act].into_iter().flatten()) {
            self.state.rows[id] = rows;
        }
        Ok(())
    }

    fn attention(
        &self,
        step: &Step,
        parts: [usize; 4],
        work: StepPart,
        targets: Vec<Target<'_>>,
    ) -> Result<()> {
        let weights = parts.map(|index| self.model.conv(index));
        let residual = &self.state.rows[step.residual.expect("attention is added to its input")];
        for (target, frame) in targets.into_iter().zip(work.now) {
            let job = attention::Attention {
                weights,
                input: &self.state.rows[step.input],
                residual,
                frame,
            };
            attention::run(self.machine, &job, target)?;
        }
        Ok(())
    }

    fn conv(
        &self,
        step: &Step,
        weights: &ConvWeights,
        work: StepPart,
        targets: Vec<Target<'_>>,
    ) -> Result<()> {
        let (input, spec) = (&self.state.rows[step.input], &weights.spec);
        let columns = Flow::Conv(spec.method).columns(input.extent.width, work.width);
        let residual = step.residual.map(|id| &self.state.rows[id]);
        let all = spec.frames();
        let together =
            all > 1 && spec.method == Method::Winograd && matches!(work.now.len(), 2 | 4);
        let wanted = match together {
            true => 0..all,
            false => all - 1 - self.past(spec, work.now.end - 1)..all,
        };
        self.machine.with_expanded(|memory| {
            let sets = &weights.sets(self.machine, wanted, memory)?;
            if !together {
                return self.conv_frames(step, weights, sets, work, targets);
            }
            let conv = together::Together {
                weights,
                sets,
                input,
                residual,
                frames: work.now,
                columns,
            };
            together::run(self.machine, &conv, work.units, targets)
        })
    }

    /// Frames before frame `n` that a convolution sees.
    fn past(&self, spec: &ConvSpec, n: usize) -> usize {
        match self.state.mode {
            Mode::Image => 0,
            Mode::Clip | Mode::ClipEnd => n.min(spec.frames() - 1),
        }
    }

    /// A convolution of one frame after the other.
    fn conv_frames(
        &self,
        step: &Step,
        weights: &ConvWeights,
        sets: &Sets<'_>,
        work: StepPart,
        targets: Vec<Target<'_>>,
    ) -> Result<()> {
        let (input, spec) = (&self.state.rows[step.input], &weights.spec);
        let columns = Flow::Conv(spec.method).columns(input.extent.width, work.width);
        for (target, n) in targets.into_iter().zip(work.now) {
            let frame = |ago: usize| conv::Past {
                rows: input,
                frame: n - ago,
                tap: spec.frames() - 1 - ago,
            };
            let frames: Vec<_> = (0..=self.past(spec, n)).map(frame).collect();
            let residual = step.residual.map(|id| (&self.state.rows[id], n));
            let conv = conv::Conv {
                weights,
                sets,
                frames: &frames,
                residual,
                columns,
            };
            conv::run(self.machine, &conv, work.units.clone(), target)?;
        }
        Ok(())
    }
}

/// The rows `made` of each of the frames `now`, for writing, if there is a buffer.
fn written<'r>(
    rows: &'r mut Option<Rows>,
    now: &Range<usize>,
    made: &Range<usize>,
) -> Result<Option<std::vec::IntoIter<Vec<&'r mut [f32]>>>> {
    let Some(rows) = rows else { return Ok(None) };
    let pixels = rows.pixels_mut(now.start, now.len(), made.clone())?;
    Ok(Some(pixels.into_iter()))
}

/// The part of a step that is to run.
struct StepPart {
    units: Range<usize>,
    /// Pixels of an output row.
    width: usize,
    /// The frames.
    now: Range<usize>,
}
