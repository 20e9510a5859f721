//! What a decode or an encode will take, found by running the schedule without data: nothing is allocated.

use vae2x_core::arch;
use vae2x_core::config::{SPATIAL_FACTOR, TEMPORAL_FACTOR};
use vae2x_core::{Result, VaeConfig, time};

use crate::engine::{CpuOptions, Precision};
use crate::model::Plans;
use crate::ops::{attention, conv, pair};
use crate::plan::{ConvSpec, Method, Op, Plan, Use};
use crate::rows::Extent;
use crate::run::{Mode, extents};
use crate::schedule::Schedule;

/// Bytes that a call to `step` will hold at its peak, beyond the weight files that are mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Weights as the engine keeps them. They stay for the next call.
    pub weights: usize,
    /// Rows between layers, the attention's keys and values, each thread's scratch memory, weights of the present step.
    pub working: usize,
    /// The array that is returned.
    pub output: usize,
}

impl MemoryEstimate {
    /// All of it.
    pub fn total(&self) -> usize {
        self.weights + self.working + self.output
    }
}

/// What decoding a latent `[z, t, h, w]` takes.
///
/// # Errors
/// [`vae2x_core::Error::Config`] if the configuration cannot be.
pub fn decode_memory(
    config: &VaeConfig,
    [t, h, w]: [usize; 3],
    options: CpuOptions,
) -> Result<MemoryEstimate> {
    config.validate()?;
    let side = config.pixels_per_cell()?;
    let output = 3 * time::frames(t) * h * w * side * side * BYTES;
    let plans = Plans::new(&arch::decoder(config), options.precision);
    Ok(MemoryEstimate {
        output,
        ..plans.memory(t > 1, [h, w], options.thread_count())
    })
}

/// What encoding pixels `[3, f, h, w]` takes.
///
/// # Errors
/// [`vae2x_core::Error::Config`] if the configuration cannot be.
pub fn encode_memory(
    config: &VaeConfig,
    [f, h, w]: [usize; 3],
    options: CpuOptions,
) -> Result<MemoryEstimate> {
    config.validate()?;
    let cells = (h / SPATIAL_FACTOR) * (w / SPATIAL_FACTOR);
    let output = config.z_dim * f.div_ceil(TEMPORAL_FACTOR) * cells * BYTES;
    let plans = Plans::new(&arch::encoder(config), Precision::F32);
    Ok(MemoryEstimate {
        output,
        ..plans.memory(f > 1, [h, w], options.thread_count())
    })
}

/// Of a value.
const BYTES: usize = size_of::<f32>();

impl Plans {
    fn memory(&self, clip: bool, size: [usize; 2], threads: usize) -> MemoryEstimate {
        let precision = self.tables.precision;
        let convs = if clip {
            self.clip_convs()
        } else {
            self.image_convs()
        };
        let spec = |index: &usize| &self.tables.convs[*index];
        let kept = |(index, usage): (&usize, &Use)| spec(index).kept_bytes(*usage, precision);
        let weights =
            convs.iter().map(kept).sum::<usize>() + if clip { self.left_from_image() } else { 0 };
        let expanded = convs
            .iter()
            .map(|(index, usage)| spec(index).expanded_bytes(*usage, precision))
            .max();
        let scratch = convs
            .keys()
            .map(|index| scratch(spec(index), clip))
            .max()
            .unwrap_or(0);
        let rows = if clip {
            self.clip_rows(size, threads)
        } else {
            self.image_rows(size, threads)
        };
        let working = (rows + threads * scratch) * BYTES + expanded.unwrap_or(0);
        MemoryEstimate {
            weights,
            working,
            output: 0,
        }
    }

    /// Bytes of weights for single frames that a clip does not use: its first frame is run as an image, and they stay.
    fn left_from_image(&self) -> usize {
        let clip = self.clip_convs();
        let unused = |&(index, _): &(&usize, &Use)| {
            let spec = &self.tables.convs[*index];
            spec.frames() > 1
                && clip
                    .get(index)
                    .is_some_and(|usage| spec.keeps_taps(*usage, self.tables.precision))
        };
        let bytes = |(index, usage): (&usize, &Use)| {
            self.tables.convs[*index].kept_bytes(*usage, self.tables.precision)
        };
        self.image_convs().iter().filter(unused).map(bytes).sum()
    }

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
fn scratch(spec: &ConvSpec, clip: bool) -> usize {
    let (k, outputs) = (spec.k(), spec.padded_outputs());
    match clip && spec.method == Method::Winograd {
        true => pair::scratch_values(k, outputs),
        false => conv::scratch_values(spec.method, k, outputs),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn megabytes(size: usize) -> MemoryEstimate {
        let config = VaeConfig::with_widths(96, 12);
        let options = CpuOptions {
            threads: 2,
            ..CpuOptions::default()
        };
        decode_memory(&config, [1, size, size], options).unwrap()
    }

    #[test]
    fn images_fit_the_promised_memory() {
        const MB: usize = 1_000_000;
        assert!(megabytes(128).total() < 600 * MB, "{:?}", megabytes(128));
        assert!(megabytes(256).total() < 1500 * MB, "{:?}", megabytes(256));
    }

    #[test]
    fn packed_weights_stay_below_one_and_a_half_times_the_files() {
        let config = VaeConfig::with_widths(96, 12);
        let values: usize = arch::decoder(&config)
            .iter()
            .flat_map(|l| l.tensors())
            .map(|t| t.shape.iter().product::<usize>())
            .sum();
        assert!(megabytes(8).weights * 2 < values * BYTES * 3);
    }
}
