//! When each step of a plan runs, in units of rows, so that few rows wait anywhere.
//!
//! The last step that can run does run: rows flow to the end before new ones enter. A step waits until enough rows are
//! there to keep all threads busy and to make reading its weights worth it. Steps of the coarsest resolution, whose
//! frames are small and whose weights are many, wait for the whole frame. The same schedule, run without data, gives
//! the capacity of every buffer.

use std::ops::Range;

use crate::buffers::rows::Extent;
use crate::plan::steps::{BufferId, Method, Op, Plan, Step, Tables, Use};
use vae2x_kernels::{ELEMENTS4, STEP2, STEP4};

/// How the rows of a step's input and output belong together. Units are rows of tiles, of pixels, or the whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// A convolution.
    Conv(Method),
    /// All rows at once.
    Whole,
}

impl Flow {
    pub fn of(op: &Op, tables: &Tables) -> Self {
        match op {
            Op::Conv(index) => Self::Conv(tables.convs[*index].method),
            Op::Attention(_) => Self::Whole,
            Op::Copy => Self::Conv(Method::Point),
        }
    }

    /// Units that make an output of `height` rows.
    fn units(self, height: usize) -> usize {
        match self {
            Self::Conv(Method::Winograd) => height.div_ceil(STEP4),
            Self::Conv(Method::Enlarge) => height / STEP2,
            Self::Conv(_) => height,
            Self::Whole => 1,
        }
    }

    /// Output rows made by the first `units`.
    pub fn makes(self, units: usize, height: usize) -> usize {
        match self {
            Self::Conv(Method::Winograd) => (STEP4 * units).min(height),
            Self::Conv(Method::Enlarge) => STEP2 * units,
            Self::Conv(_) => units,
            Self::Whole => units * height,
        }
    }

    /// Input rows that the first `units` need, of `height`.
    fn needs(self, units: usize, height: usize) -> usize {
        match self {
            Self::Conv(Method::Winograd) => (STEP4 * units + 1).min(height),
            Self::Conv(Method::Enlarge) => (units + 1).min(height),
            Self::Conv(Method::Strided) => (2 * units + 1).min(height),
            Self::Conv(Method::Point) => units,
            Self::Whole => height,
        }
    }

    /// The first input row that is still needed after `units`.
    fn keeps(self, units: usize) -> usize {
        match self {
            Self::Conv(Method::Winograd) => (STEP4 * units).saturating_sub(1),
            Self::Conv(Method::Enlarge) => units.saturating_sub(1),
            Self::Conv(Method::Strided) => 2 * units,
            Self::Conv(Method::Point) => units,
            Self::Whole => 0,
        }
    }

    /// Tiles or pixels of a unit whose input and output are so wide.
    pub fn columns(self, input_width: usize, output_width: usize) -> usize {
        match self {
            Self::Conv(Method::Winograd) => output_width.div_ceil(STEP4),
            Self::Conv(Method::Enlarge) | Self::Whole => input_width,
            Self::Conv(_) => output_width,
        }
    }
}

/// What the schedule knows of a step.
#[derive(Clone, Debug)]
struct StepProgress {
    flow: Flow,
    done: usize,
    total: usize,
    /// Units worth starting for.
    batch: usize,
}

/// The state of one frame's way through a plan.
#[derive(Clone, Debug)]
pub(crate) struct Schedule<'p> {
    plan: &'p Plan,
    steps: Vec<StepProgress>,
    heights: Vec<usize>,
    /// The step that makes each buffer; none makes the input.
    producers: Vec<Option<usize>>,
}

/// Products of tiles and elements that a step should be started for, per thread; see [`Schedule::new`].
const BATCH: usize = 32 * ELEMENTS4;

impl<'p> Schedule<'p> {
    /// `size` is the height and width of the plan's input.
    pub fn new(plan: &'p Plan, tables: &Tables, size: [usize; 2], threads: usize) -> Self {
        let extent = |id: BufferId| plan.extent(id, size);
        let coarsest = plan.coarsest();
        let step = |step: &Step| {
            let flow = Flow::of(&step.op, tables);
            let output = extent(step.target());
            let columns = flow.columns(extent(step.input).width, output.width);
            let elements = match flow {
                Flow::Conv(method) => method.elements(),
                Flow::Whole => 1,
            };
            let total = flow.units(output.height);
            let batch = match plan.buffers[step.target()].shift == coarsest {
                true => total,
                false => (threads * BATCH * weight(plan, &step.op, tables))
                    .div_ceil(columns * elements.max(ELEMENTS_AT_LEAST)),
            };
            StepProgress {
                flow,
                done: 0,
                total,
                batch: batch.max(1),
            }
        };
        let heights = (0..plan.buffers.len())
            .map(|id| extent(id).height)
            .collect();
        let producer = |id: BufferId| plan.steps.iter().position(|step| step.makes(id));
        let producers = (0..plan.buffers.len()).map(producer).collect();
        Self {
            plan,
            steps: plan.steps.iter().map(step).collect(),
            heights,
            producers,
        }
    }

    /// Rows of a buffer that are there.
    fn made(&self, id: BufferId) -> usize {
        self.producers[id].map_or(self.heights[id], |i| {
            self.steps[i]
                .flow
                .makes(self.steps[i].done, self.heights[id])
        })
    }

    /// Units of step `i` whose inputs are there.
    fn ready(&self, i: usize) -> usize {
        let (step, progress) = (&self.plan.steps[i], &self.steps[i]);
        let (made, height) = (self.made(step.input), self.heights[step.input]);
        let residual = step.residual.map(|id| (self.made(id), self.heights[id]));
        let fits = |units: usize| {
            progress.flow.needs(units, height) <= made
                && residual.is_none_or(|(made, height)| progress.flow.makes(units, height) <= made)
        };
        // More made rows never make fewer units ready: bisect.
        let (mut ready, mut beyond) = (progress.done, progress.total + 1);
        while beyond - ready > 1 {
            let middle = ready.midpoint(beyond);
            match fits(middle) {
                true => ready = middle,
                false => beyond = middle,
            }
        }
        ready
    }

    /// The step to run next and its units; `None` when all is done.
    pub fn next(&self) -> Option<(usize, Range<usize>)> {
        (0..self.steps.len()).rev().find_map(|i| {
            let p = &self.steps[i];
            if p.done == p.total {
                return None;
            }
            let ready = self.ready(i);
            let run = p.done..ready.min(p.done + p.batch);
            (!run.is_empty() && (run.len() == p.batch || ready == p.total)).then_some((i, run))
        })
    }

    /// Notes that a step has run up to unit `end`.
    pub fn finish(&mut self, step: usize, end: usize) {
        self.steps[step].done = end;
    }

    /// Output rows that `units` of a step make.
    pub fn output(&self, step: usize, units: &Range<usize>) -> Range<usize> {
        let (flow, height) = (
            self.steps[step].flow,
            self.heights[self.plan.steps[step].target()],
        );
        flow.makes(units.start, height)..flow.makes(units.end, height)
    }

    /// The first row of a buffer that some step still needs; all rows of an unread buffer are handed on at once.
    fn kept(&self, id: BufferId) -> usize {
        let mut kept = usize::MAX;
        for (step, p) in self.plan.steps.iter().zip(&self.steps) {
            if p.done < p.total && step.input == id {
                kept = kept.min(p.flow.keeps(p.done));
            }
            if p.done < p.total && step.residual == Some(id) {
                kept = kept.min(p.flow.makes(p.done, self.heights[id]));
            }
        }
        kept
    }

    /// Rows of a buffer, from the first on, that no step needs any more.
    pub fn used(&self, id: BufferId) -> usize {
        self.kept(id).min(self.made(id))
    }

    /// Whether no step will read the buffer again.
    pub fn is_dead(&self, id: BufferId) -> bool {
        self.kept(id) == usize::MAX && self.made(id) == self.heights[id]
    }

    /// Runs the schedule without data: the rows each buffer must hold.
    pub fn capacities(mut self) -> Vec<usize> {
        let mut capacity: Vec<usize> = vec![1; self.heights.len()];
        capacity[self.plan.input] = self.heights[self.plan.input];
        while let Some((i, units)) = self.next() {
            let rows = self.output(i, &units);
            for id in self.plan.steps[i].targets() {
                let kept = self.kept(id).min(rows.start);
                capacity[id] = capacity[id].max(rows.end - kept);
            }
            self.finish(i, units.end);
        }
        capacity
    }
}

/// How many batches at once are worth reading the weights of a step.
fn weight(plan: &Plan, op: &Op, tables: &Tables) -> usize {
    /// So that large weights are read for a hundred tiles, and expanded for some hundred.
    const READ: usize = 2;
    const EXPANDED: usize = 4;
    match op {
        Op::Conv(index) if tables.convs[*index].keeps_taps(plan.usage, tables.storage) => EXPANDED,
        Op::Conv(index) if tables.convs[*index].is_large() => READ,
        _ => 1,
    }
}

/// A matrix product over pixels has one element; batches of it are counted as if it had so many.
const ELEMENTS_AT_LEAST: usize = 4;

impl Step {
    /// The buffers it writes.
    pub fn targets(&self) -> impl Iterator<Item = BufferId> {
        self.raw.into_iter().chain(self.act.map(|(id, _)| id))
    }

    /// One of the buffers it writes; all have the same extents.
    pub fn target(&self) -> BufferId {
        self.targets()
            .next()
            .expect("a plan holds no step without a result")
    }

    fn makes(&self, id: BufferId) -> bool {
        self.targets().any(|t| t == id)
    }
}

impl Plan {
    /// The power of two of its coarsest rows.
    pub fn coarsest(&self) -> i32 {
        self.buffers.iter().map(|b| b.shift).min().unwrap_or(0)
    }

    /// What the weights of a step are for.
    pub fn usage(&self, step: &Step) -> Use {
        let coarse = self.buffers[step.target()].shift == self.coarsest();
        if self.usage == Use::Image && coarse {
            Use::Coarse
        } else {
            self.usage
        }
    }

    /// A buffer's extents, holding whole frames, for an input of height and width `size`.
    pub fn extent(&self, id: BufferId, size: [usize; 2]) -> Extent {
        let buffer = &self.buffers[id];
        let [h, w] = size.map(|n| {
            if buffer.shift >= 0 {
                n << buffer.shift
            } else {
                n >> -buffer.shift
            }
        });
        Extent::new(buffer.channels, w, h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::builder::image;
    use vae2x_core::{VaeConfig, arch};

    fn run(size: [usize; 2]) -> (Plan, Vec<usize>) {
        let mut tables = Tables::default();
        let plan = image(&arch::decoder(&VaeConfig::with_widths(96, 12)), &mut tables);
        let capacities = Schedule::new(&plan, &tables, size, 2).capacities();
        (plan, capacities)
    }

    #[test]
    fn every_unit_runs_once_even_for_one_cell() {
        for size in [[1, 1], [5, 7], [3, 19]] {
            let mut tables = Tables::default();
            let plan = image(&arch::decoder(&VaeConfig::default()), &mut tables);
            let mut schedule = Schedule::new(&plan, &tables, size, 2);
            while let Some((step, units)) = schedule.next() {
                assert_eq!(schedule.steps[step].done, units.start);
                schedule.finish(step, units.end);
            }
            assert!(schedule.steps.iter().all(|p| p.done == p.total), "{size:?}");
        }
    }

    #[test]
    fn rows_in_waiting_do_not_grow_with_the_height() {
        let (plan, low) = run([64, 128]);
        let (_, high) = run([256, 128]);
        for (id, buffer) in plan.buffers.iter().enumerate().filter(|(_, b)| b.shift > 0) {
            assert!(
                high[id] <= low[id].max(32),
                "{buffer:?}: {} {}",
                low[id],
                high[id]
            );
        }
    }
}
