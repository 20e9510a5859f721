//! The memory of a session, found by running the schedule without data: nothing is allocated.

use vae2x_core::Estimate;

use crate::buffers::rows::Extent;
use crate::ops::{attention, conv, together};
use crate::plan::schedule::Schedule;
use crate::plan::steps::{ConvSpec, Method, Op, Plan, Tables, Use};
use crate::run::runner::{Mode, extents};
use crate::weights::model::Plans;

/// The memory of one session of `plans`.
///
/// `size` is the height and width of the frames that go in, `output` the values of the array that a step returns.
pub(crate) fn estimate(
    plans: &Plans,
    is_clip: bool,
    size: [usize; 2],
    threads: usize,
    output: usize,
) -> Estimate {
    let Tables { convs, storage, .. } = &plans.tables;
    let used = if is_clip {
        plans.clip_convs()
    } else {
        plans.image_convs()
    };
    let kept = |(index, usage): (&usize, &Use)| convs[*index].kept_bytes(*usage, *storage);
    let expanded = |(index, usage): (&usize, &Use)| convs[*index].expanded_bytes(*usage, *storage);
    let scratch = |(index, usage): (&usize, &Use)| scratch(&convs[*index], *usage);
    let rows = if is_clip {
        plans.clip_rows(size, threads)
    } else {
        plans.image_rows(size, threads)
    };
    let scratch = threads * used.iter().map(scratch).max().unwrap_or(0);
    Estimate {
        weights: used.iter().map(kept).sum(),
        working: (rows + scratch) * BYTES + used.iter().map(expanded).max().unwrap_or(0),
        output: output * BYTES,
    }
}

/// Bytes of a value.
const BYTES: usize = size_of::<f32>();

impl Plans {
    /// Values of the rows of a single frame at the worst moment.
    fn image_rows(&self, size: [usize; 2], threads: usize) -> usize {
        let schedule = Schedule::new(&self.image, &self.tables, size, threads);
        let extents = extents(&self.image, schedule.clone(), size, Mode::Image);
        most_alive(&self.image, schedule, &extents)
    }

    /// Values of the rows of all stages of a clip: they all stay from frame to frame.
    fn clip_rows(&self, mut size: [usize; 2], threads: usize) -> usize {
        let mut total = 0;
        for (i, stage) in self.clip.iter().enumerate() {
            let plan = stage.plan();
            let mode = if i + 1 == self.clip.len() {
                Mode::ClipEnd
            } else {
                Mode::Clip
            };
            let schedule = Schedule::new(plan, &self.tables, size, threads);
            let all = extents(plan, schedule, size, mode);
            let attention = plan
                .steps
                .iter()
                .map(|step| extra(&step.op, &all[step.input]))
                .max();
            total += all.iter().map(Extent::values).sum::<usize>() + attention.unwrap_or(0);
            let output = plan.extent(plan.outputs[0], size);
            size = [output.height, output.width];
        }
        total
    }
}

/// Values of a thread's scratch memory for a convolution.
fn scratch(spec: &ConvSpec, usage: Use) -> usize {
    let (k, outputs, frames) = (spec.k(), spec.padded_outputs(), usage.together());
    let alone = conv::scratch_values(spec.method, k, outputs);
    match frames > 1 && spec.method == Method::Winograd {
        true => alone.max(together::scratch_values(k, outputs, frames)),
        false => alone,
    }
}

/// Values that a step takes besides its buffers.
fn extra(op: &Op, input: &Extent) -> usize {
    match op {
        Op::Attention(_) => attention::memory_values(input.width * input.height, input.channels),
        Op::Conv(_) | Op::Copy => 0,
    }
}

fn most_alive(plan: &Plan, mut schedule: Schedule<'_>, extents: &[Extent]) -> usize {
    let mut alive = vec![false; extents.len()];
    alive[plan.input] = true;
    let mut most = 0;
    while let Some((index, units)) = schedule.next() {
        let step = &plan.steps[index];
        step.targets().for_each(|id| alive[id] = true);
        let held: usize = extents
            .iter()
            .zip(&alive)
            .filter(|(_, alive)| **alive)
            .map(|(e, _)| e.values())
            .sum();
        most = most.max(held + extra(&step.op, &extents[step.input]));
        schedule.finish(index, units.end);
        (0..extents.len())
            .filter(|&id| schedule.is_dead(id))
            .for_each(|id| alive[id] = false);
    }
    most
}
