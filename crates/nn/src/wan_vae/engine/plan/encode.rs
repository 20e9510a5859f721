//! How frames are encoded on a device.

use vae2x_core::arch::{self, Layer};
use vae2x_core::{Result, VaeConfig};

use super::bands::{halved, more_bands};
use super::demand::Demand;
use super::stages::{WHOLE, blocks, ends, halves, stages, weights};
use crate::wan_vae::encoder::stage_rows;
use crate::wan_vae::engine::memory::{self, Cost, Frames};
use crate::wan_vae::rows::Rows;

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
    /// [`Error::Memory`](vae2x_core::Error::Memory) with an estimate if single rows do not fit.
    pub fn new(config: &VaeConfig, demand: &Demand) -> Result<Self> {
        let layers = arch::encoder(config);
        let (front, rest) = layers.split_at(layers.len() - WHOLE);
        let front = Front::new(config, front);
        let stages = &front.stages;
        let (rest, _) = memory::run(rest, demand.frames(1));
        let height =
            |i: usize| ((demand.cells[0] * front.spatial) >> i) >> usize::from(halves(stages[i]));
        let cost = |i: usize, bands: &[Rows]| front.cost(i, demand, bands);
        let fixed = weights(&layers) + rest.kept;
        for parked in demand.ways_to_keep() {
            let mut bands: Vec<_> = (0..stages.len())
                .map(|i| vec![Rows::whole(height(i))])
                .collect();
            let mut costs: Vec<_> = (0..stages.len()).map(|i| cost(i, &bands[i])).collect();
            // More bands for one stage keep more, which may be too much for another.
            loop {
                let all: usize = costs.iter().map(|cost| cost.kept).sum();
                let kept = |cost: &StageCost| if parked { cost.one.kept } else { all };
                let fits = |cost: &StageCost| demand.fits(fixed + kept(cost), cost.one.then(rest));
                let Some(i) = costs.iter().position(|cost| !fits(cost)) else {
                    return Ok(Self {
                        stages: bands,
                        queries: demand.queries(),
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
        Err(demand.refused("encoding", fixed, least))
    }

    /// Bands of the stage with the most.
    pub(in crate::wan_vae::engine) fn most_bands(&self) -> usize {
        self.stages.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The next smaller plan, if there is one.
    pub(in crate::wan_vae::engine) fn smaller(&self) -> Option<Self> {
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
pub(super) struct StageCost {
    /// At its most demanding band, with the past of that band, its whole input, and its whole output twice: in parts and
    /// joined.
    pub one: Cost,
    /// The past of all bands. Neighbours both keep the rows that both need.
    pub kept: usize,
}

/// The encoder's stages.
pub(super) struct Front<'l> {
    stages: Vec<&'l [Layer]>,
    /// Pixels per cell, and frames per latent frame other than the first.
    spatial: usize,
    temporal: usize,
}

impl<'l> Front<'l> {
    pub fn new(config: &VaeConfig, layers: &'l [Layer]) -> Self {
        Self {
            stages: stages(layers).collect(),
            spatial: config.spatial(),
            temporal: config.temporal(),
        }
    }

    /// What stage `i` holds in `bands`.
    pub fn cost(&self, i: usize, demand: &Demand, bands: &[Rows]) -> StageCost {
        let mut frames = demand.frames(if demand.clip { self.temporal } else { 1 });
        for stage in &self.stages[..i] {
            frames = memory::run(stage, frames).1;
        }
        let stage = self.stages[i];
        let [height, width] = demand.cells.map(|cells| (cells * self.spatial) >> i);
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
