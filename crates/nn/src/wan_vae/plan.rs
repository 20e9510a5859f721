//! How an image is cut so that the work fits a device: bands of rows, and how many cells the attention takes at a time.
//!
//! A band costs more than its share, because it needs rows around it, so there are as few as the estimates in `memory` allow.

use vae2x_core::arch::{self, Layer};
use vae2x_core::{Error, Result, VaeConfig};

use super::decoder::tail_rows;
use super::encoder::stage_rows;
use super::memory::{self, Cost, Frames};
use super::rows::Rows;
use crate::device::Limits;

/// Share of the memory that plans may fill, in sixteenths: the rest is for kernels' scratch memory and the rounding of
/// allocators.
const USABLE_SIXTEENTHS: u64 = 12;
/// Attention scores may take the memory divided by this.
const SCORES_SHARE: usize = 8;
/// Most values of a tensor, however large a buffer may be: burn's direct convolution counts positions in 32 bits, others in
/// signed 32 bits.
/// <https://github.com/tracel-ai/burn> 0.22.1 `kernel/conv/direct.rs`, cubek-convolution 0.3.1 `kernels/forward/direct.rs`
const MOST_VALUES: u64 = i32::MAX as u64;
/// Layers at the latent's resolution that need whole frames: the first ones of a decoder, the last ones of an encoder.
const WHOLE: usize = 5;

/// What to plan for.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Height and width of the latent.
    pub cells: [usize; 2],
    /// Whether frames come after the first.
    pub clip: bool,
    /// Bytes of a value.
    pub bytes: usize,
    /// What the device can hold.
    pub limits: Limits,
}

impl Job {
    /// Values that fit the memory.
    fn memory(&self) -> usize {
        let usable = (u128::from(self.limits.memory) * u128::from(USABLE_SIXTEENTHS) / 16) as u64;
        (usable / self.bytes as u64) as usize
    }

    /// Values that fit a buffer and that kernels can count.
    fn buffer(&self) -> usize {
        (self.limits.buffer / self.bytes as u64).min(MOST_VALUES) as usize
    }

    fn area(&self) -> usize {
        self.cells[0] * self.cells[1]
    }

    fn queries(&self) -> usize {
        memory::queries(self.area(), self.memory() / SCORES_SHARE, self.buffer())
    }

    /// `count` frames at the latent's resolution.
    fn frames(&self, count: usize) -> Frames {
        let wide = size_of::<f32>().div_ceil(self.bytes);
        Frames {
            count,
            area: self.area(),
            clip: self.clip,
            queries: self.queries(),
            wide,
        }
    }

    fn fits(&self, fixed: usize, cost: Cost) -> bool {
        fixed.saturating_add(cost.working) <= self.memory() && cost.largest <= self.buffer()
    }

    /// Whether the past of bands leaves the device; images have none.
    fn ways_to_keep(&self) -> impl Iterator<Item = bool> + use<> {
        [false, true].into_iter().take(1 + usize::from(self.clip))
    }

    fn refused(&self, what: &str, fixed: usize, least: Cost) -> Error {
        let megabytes = |values: usize| (values * self.bytes).div_ceil(1_000_000);
        let [h, w] = self.cells;
        Error::Memory(format!(
            "{what} {w}x{h} latent cells needs about {} MB on the device even row by row, with tensors of up to {} MB; {} MB, \
             and tensors of {} MB, may be planned for",
            megabytes(fixed + least.working),
            megabytes(least.largest),
            megabytes(self.memory()),
            megabytes(self.buffer()),
        ))
    }
}

/// How a latent is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodePlan {
    /// The bands, in latent rows, from the top.
    pub bands: Vec<Rows>,
    /// Cells that the attention takes at a time.
    pub queries: usize,
    /// Whether the past of bands waits in the host's memory between frames.
    pub parked: bool,
}

impl DecodePlan {
    /// As few bands as the limits allow; their past stays on the device if it fits.
    ///
    /// # Errors
    /// [`Error::Memory`] with an estimate if single rows do not fit.
    pub fn new(config: &VaeConfig, job: &Job) -> Result<Self> {
        let layers = arch::decoder(config);
        let (trunk, tail) = layers.split_at(WHOLE);
        let (trunk, _) = memory::run(trunk, job.frames(1));
        let fixed = weights(&layers) + trunk.kept + 2 * tail_input(tail) * job.area();
        let height = job.cells[0];
        let fits = |bands: &[Rows], parked: bool| {
            let costs: Vec<_> = bands
                .iter()
                .map(|&band| decode_cost(tail, job, band))
                .collect();
            let most = costs.iter().copied().fold(trunk, Cost::then);
            let kept = if parked {
                costs.iter().map(|c| c.kept).max()
            } else {
                Some(costs.iter().map(|c| c.kept).sum())
            };
            job.fits(fixed + kept.unwrap_or(0), most)
        };
        for parked in job.ways_to_keep() {
            if let Some(bands) = fewest_bands(height, |bands| fits(bands, parked)) {
                return Ok(Self {
                    bands,
                    queries: job.queries(),
                    parked,
                });
            }
        }
        let least = Rows::bands(height, 1)
            .into_iter()
            .map(|band| decode_cost(tail, job, band))
            .fold(trunk, Cost::then);
        Err(job.refused("decoding", fixed, least))
    }

    /// The next smaller plan, if there is one.
    pub(super) fn smaller(&self) -> Option<Self> {
        Some(Self {
            bands: halved(&self.bands)?,
            queries: (self.queries / 2).max(1),
            parked: true,
        })
    }
}

/// Channels of the decoder's tail.
fn tail_input(tail: &[Layer]) -> usize {
    match tail {
        [Layer::Residual(first), ..] => first.conv1.inputs,
        _ => 0,
    }
}

/// What a band of the decoder's tail holds, with the pixels of the band before it, which wait to be fetched.
fn decode_cost(tail: &[Layer], job: &Job, band: Rows) -> Cost {
    let stages: Vec<_> = stages(tail).collect();
    let rows = tail_rows(
        &stages.iter().map(|stage| blocks(stage)).collect::<Vec<_>>(),
        band,
    );
    let mut frames = job.frames(1);
    let mut sum = Cost::default();
    for (i, (stage, rows)) in stages.into_iter().zip(rows).enumerate() {
        frames.area = rows.input.len() * (job.cells[1] << i);
        let (cost, made) = memory::run(stage, frames);
        sum = sum.then(cost);
        frames = made;
    }
    let pixels = memory::leaving(ends(tail).1, frames);
    let sum = sum.then(pixels);
    Cost {
        working: sum.working + pixels.largest,
        ..sum
    }
}

/// How frames are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodePlan {
    /// The bands of each stage, in rows of its output.
    pub stages: Vec<Vec<Rows>>,
    /// Cells that the attention takes at a time.
    pub queries: usize,
    /// Whether the past of bands waits in the host's memory between frames.
    pub parked: bool,
}

impl EncodePlan {
    /// As few bands as the limits allow; their past stays on the device if it fits.
    ///
    /// # Errors
    /// [`Error::Memory`] with an estimate if single rows do not fit.
    pub fn new(config: &VaeConfig, job: &Job) -> Result<Self> {
        let layers = arch::encoder(config);
        let (front, rest) = layers.split_at(layers.len() - WHOLE);
        let front = Front::new(config, front);
        let stages = &front.stages;
        let (rest, _) = memory::run(rest, job.frames(1));
        let height =
            |i: usize| ((job.cells[0] * front.spatial) >> i) >> usize::from(halves(stages[i]));
        let cost = |i: usize, bands: &[Rows]| front.cost(i, job, bands);
        let fixed = weights(&layers) + rest.kept;
        for parked in job.ways_to_keep() {
            let mut bands: Vec<_> = (0..stages.len())
                .map(|i| vec![Rows::whole(height(i))])
                .collect();
            let mut costs: Vec<_> = (0..stages.len()).map(|i| cost(i, &bands[i])).collect();
            // More bands for one stage keep more, which may be too much for another.
            loop {
                let all: usize = costs.iter().map(|cost| cost.kept).sum();
                let kept = |cost: &StageCost| if parked { cost.one.kept } else { all };
                let fits = |cost: &StageCost| job.fits(fixed + kept(cost), cost.one.then(rest));
                let Some(i) = costs.iter().position(|cost| !fits(cost)) else {
                    return Ok(Self {
                        stages: bands,
                        queries: job.queries(),
                        parked,
                    });
                };
                let Some(more) = more_bands(&bands[i]) else {
                    break;
                };
                costs[i] = cost(i, &more);
                bands[i] = more;
            }
        }
        let least = (0..stages.len())
            .map(|i| cost(i, &Rows::bands(height(i), 1)).one)
            .fold(rest, Cost::then);
        Err(job.refused("encoding", fixed, least))
    }

    /// Bands of the stage with the most.
    pub(super) fn most_bands(&self) -> usize {
        self.stages.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The next smaller plan, if there is one.
    pub(super) fn smaller(&self) -> Option<Self> {
        let smaller: Vec<_> = self.stages.iter().map(|bands| halved(bands)).collect();
        smaller.iter().any(Option::is_some).then(|| Self {
            stages: smaller
                .into_iter()
                .zip(&self.stages)
                .map(|(s, old)| s.unwrap_or_else(|| old.clone()))
                .collect(),
            queries: (self.queries / 2).max(1),
            parked: true,
        })
    }
}

/// What a stage of the encoder holds.
#[derive(Clone, Copy, Debug)]
struct StageCost {
    /// At its most demanding band, with the past of that band, its whole input, and its whole output twice: in parts and
    /// joined.
    one: Cost,
    /// The past of all bands. Neighbours both keep the rows that both need.
    kept: usize,
}

/// The encoder's stages.
struct Front<'l> {
    stages: Vec<&'l [Layer]>,
    /// Pixels per cell, and frames per latent frame other than the first.
    spatial: usize,
    temporal: usize,
}

impl<'l> Front<'l> {
    fn new(config: &VaeConfig, layers: &'l [Layer]) -> Self {
        Self {
            stages: stages(layers).collect(),
            spatial: config.spatial(),
            temporal: config.temporal(),
        }
    }

    /// What stage `i` holds in `bands`.
    fn cost(&self, i: usize, job: &Job, bands: &[Rows]) -> StageCost {
        let mut frames = job.frames(if job.clip { self.temporal } else { 1 });
        for stage in &self.stages[..i] {
            frames = memory::run(stage, frames).1;
        }
        let stage = self.stages[i];
        let [height, width] = job.cells.map(|cells| (cells * self.spatial) >> i);
        let run = |band: &Rows| {
            let rows = stage_rows(i, blocks(stage), halves(stage), *band);
            let area = rows.input.len() * width;
            memory::run(stage, Frames { area, ..frames }).0
        };
        let (inputs, outputs) = ends(stage);
        let input = inputs * frames.count * height * width;
        let made = memory::run(stage, frames).1.count;
        let output = outputs * made * height * width / if halves(stage) { 4 } else { 1 };
        let costs: Vec<_> = bands.iter().map(run).collect();
        let most = costs.iter().copied().fold(Cost::default(), Cost::or);
        let one = Cost {
            working: most.working + input + 2 * output,
            largest: most.largest.max(input).max(output),
            ..most
        };
        StageCost {
            one,
            kept: costs.iter().map(|cost| cost.kept).sum(),
        }
    }
}

/// Channels that go into a stage and come out of it.
fn ends(stage: &[Layer]) -> (usize, usize) {
    let channels = |layer: &Layer| match layer {
        Layer::Residual(spec) => (spec.conv1.inputs, spec.conv2.outputs),
        Layer::Conv(conv)
        | Layer::Upsample { conv, .. }
        | Layer::Downsample { conv, .. }
        | Layer::Head { conv, .. } => (conv.inputs, conv.outputs),
        Layer::Attention(spec) => (spec.to_qkv.inputs, spec.proj.outputs),
    };
    let first = stage.first().map_or(0, |layer| channels(layer).0);
    (first, stage.last().map_or(0, |layer| channels(layer).1))
}

/// Values of all weights.
pub(super) fn weights(layers: &[Layer]) -> usize {
    layers
        .iter()
        .flat_map(Layer::tensors)
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum()
}

/// Runs of layers; each ends with a resampling layer or the last layer.
fn stages(layers: &[Layer]) -> impl Iterator<Item = &[Layer]> {
    layers.split_inclusive(is_resampling)
}

fn is_resampling(layer: &Layer) -> bool {
    matches!(layer, Layer::Upsample { .. } | Layer::Downsample { .. })
}

fn halves(stage: &[Layer]) -> bool {
    stage.last().is_some_and(is_resampling)
}

fn blocks(stage: &[Layer]) -> usize {
    stage
        .iter()
        .filter(|layer| matches!(layer, Layer::Residual(_)))
        .count()
}

/// Twice as many bands, unless they are single rows.
fn halved(bands: &[Rows]) -> Option<Vec<Rows>> {
    let tallest = bands.iter().map(|band| band.len()).max()?;
    (tallest > 1).then(|| Rows::bands(bands[0].height, tallest.div_ceil(2)))
}

/// The next greater number of bands, unless they are single rows.
fn more_bands(bands: &[Rows]) -> Option<Vec<Rows>> {
    let tallest = bands.iter().map(|band| band.len()).max()?;
    (tallest > 1).then(|| Rows::bands(bands[0].height, tallest - 1))
}

/// The fewest bands that fit.
fn fewest_bands(height: usize, fits: impl Fn(&[Rows]) -> bool) -> Option<Vec<Rows>> {
    std::iter::successors(Some(vec![Rows::whole(height)]), |bands| more_bands(bands))
        .find(|bands| fits(bands))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn job(cells: [usize; 2], clip: bool, limits: Limits) -> Job {
        Job {
            cells,
            clip,
            bytes: 4,
            limits,
        }
    }

    fn decode(job: &Job) -> Result<DecodePlan> {
        DecodePlan::new(&VaeConfig::with_widths(96, 12), job)
    }

    #[test]
    fn without_limits_nothing_is_cut() {
        for clip in [false, true] {
            let job = job([128, 128], clip, Limits::default());
            let plan = decode(&job).unwrap();
            assert_eq!(
                plan,
                DecodePlan {
                    bands: vec![Rows::whole(128)],
                    queries: 128 * 128,
                    parked: false
                }
            );
            let plan = EncodePlan::new(&VaeConfig::default(), &job).unwrap();
            assert!(
                plan.stages.iter().all(|bands| bands.len() == 1) && !plan.parked,
                "{plan:?}"
            );
        }
    }

    #[test]
    fn a_gigabyte_is_enough_for_a_megapixel() {
        let job = job(
            [128, 128],
            false,
            Limits {
                memory: GIB,
                buffer: 2 * GIB,
            },
        );
        let plan = decode(&job).unwrap();
        assert!(plan.bands.len() > 1 && plan.queries < 128 * 128, "{plan:?}");
        let plan = EncodePlan::new(&VaeConfig::default(), &job).unwrap();
        // The finest stage needs more bands than the coarsest.
        assert!(plan.stages[0].len() > plan.stages[3].len(), "{plan:?}");
    }

    #[test]
    fn no_tensor_is_above_the_buffer() {
        let limits = Limits {
            memory: 64 * GIB,
            buffer: GIB / 4,
        };
        let job = job([96, 160], true, limits);
        let plan = decode(&job).unwrap();
        let layers = arch::decoder(&VaeConfig::with_widths(96, 12));
        let largest = plan
            .bands
            .iter()
            .map(|&band| decode_cost(&layers[WHOLE..], &job, band).largest)
            .max();
        assert!(
            largest.is_some_and(|values| values * 4 <= GIB as usize / 4),
            "{largest:?} in {plan:?}"
        );
        assert!(plan.bands.len() > 1 && plan.queries * 96 * 160 * 4 <= GIB as usize / 4);
        // Bands have the full width, so some buffers are too small for any plan.
        let refused = decode(&Job {
            limits: Limits {
                buffer: GIB / 8,
                ..limits
            },
            ..job
        })
        .unwrap_err()
        .to_string();
        assert!(refused.contains("160x96"), "{refused}");
    }

    #[test]
    fn no_tensor_has_more_values_than_kernels_count() {
        let job = Job {
            bytes: 2,
            ..job([176, 320], true, Limits::default())
        };
        let config = VaeConfig::with_widths(96, 12);
        let largest =
            |band: Rows| decode_cost(&arch::decoder(&config)[WHOLE..], &job, band).largest as u64;
        assert!(largest(Rows::whole(176)) > MOST_VALUES);
        let plan = DecodePlan::new(&config, &job).unwrap();
        assert!(
            plan.bands.iter().all(|&band| largest(band) <= MOST_VALUES),
            "{plan:?}"
        );
        assert!(plan.queries as u64 * 176 * 320 <= MOST_VALUES, "{plan:?}");
        let layers = arch::encoder(&config);
        let front = Front::new(&config, &layers);
        let job = Job {
            cells: [320, 640],
            ..job
        };
        let plan = EncodePlan::new(&config, &job).unwrap();
        let largest = |i: usize| front.cost(i, &job, &plan.stages[i]).one.largest as u64;
        assert!(
            (0..plan.stages.len()).all(|i| largest(i) <= MOST_VALUES),
            "{plan:?}"
        );
    }

    #[test]
    fn norms_in_f32_are_not_above_the_buffer_either() {
        let limits = Limits {
            memory: 64 * GIB,
            buffer: GIB / 4,
        };
        let job = Job {
            bytes: 2,
            ..job([96, 160], false, limits)
        };
        let config = VaeConfig::default();
        let finest = &EncodePlan::new(&config, &job).unwrap().stages[0];
        let norm = |band: Rows| {
            let pixels = stage_rows(0, config.num_res_blocks, true, band).input.len()
                * config.spatial()
                * job.cells[1];
            (pixels * config.encoder_base_dim * size_of::<f32>()) as u64
        };
        let whole = Rows::whole(finest[0].height);
        assert!(norm(whole) / 2 < limits.buffer && norm(whole) > limits.buffer);
        assert!(
            finest.iter().all(|&band| norm(band) <= limits.buffer),
            "{finest:?}"
        );
    }

    #[test]
    fn what_bands_of_an_encoder_keep_fits_with_the_rows_that_neighbours_share() {
        let config = VaeConfig::default();
        let job = |memory: u64| {
            job(
                [96, 96],
                true,
                Limits {
                    memory,
                    buffer: u64::MAX,
                },
            )
        };
        let plan = |memory: u64| {
            EncodePlan::new(&config, &job(memory))
                .ok()
                .filter(|plan| !plan.parked)
        };
        // The least memory in which all that is kept stays on the device.
        let (mut refused, mut accepted) = (0, 64 * GIB);
        while accepted - refused > GIB / 64 {
            let middle = (refused + accepted) / 2;
            if plan(middle).is_some() {
                accepted = middle
            } else {
                refused = middle
            }
        }
        let (job, plan) = (job(accepted), plan(accepted).unwrap());
        assert!(plan.stages[0].len() > 2, "{plan:?}");
        let layers = arch::encoder(&config);
        let front = Front::new(&config, &layers);
        // Two frames of each convolution's input, in the first stage alone: 3 channels, then 96 in four convolutions.
        let rows: usize = plan.stages[0]
            .iter()
            .map(|&band| stage_rows(0, 2, true, band).input.len())
            .sum();
        let kept = 2 * (3 + 4 * config.encoder_base_dim) * rows * 8 * 96;
        let working = front.cost(0, &job, &plan.stages[0]).one.working;
        assert!(
            weights(&layers) + kept + working <= job.memory(),
            "{kept} and {working} in {plan:?}"
        );
    }

    #[test]
    fn a_clip_keeps_its_past_on_the_host_if_it_must() {
        let plan = |memory: u64| {
            decode(&job(
                [60, 104],
                true,
                Limits {
                    memory,
                    buffer: 4 * GIB,
                },
            ))
            .unwrap()
        };
        assert!(!plan(16 * GIB).parked);
        assert!(plan(2 * GIB).parked);
    }

    #[test]
    fn plans_shrink_to_single_rows() {
        let mut plan = decode(&job([9, 4], false, Limits::default())).unwrap();
        let mut counts = vec![plan.bands.len()];
        while let Some(smaller) = plan.smaller() {
            plan = smaller;
            counts.push(plan.bands.len());
        }
        assert_eq!(counts, [1, 2, 3, 5, 9]);
    }
}
