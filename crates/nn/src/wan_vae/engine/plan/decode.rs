//! How a latent is decoded on a device.

use vae2x_core::arch::{self, Layer};
use vae2x_core::{Result, VaeConfig};

use super::bands::{fewest_bands, halved};
use super::demand::Demand;
use super::stages::{WHOLE, blocks, ends, stages, weights};
use crate::wan_vae::decoder::tail_rows;
use crate::wan_vae::engine::memory::{self, Cost};
use crate::wan_vae::rows::Rows;

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
    /// [`Error::Memory`](vae2x_core::Error::Memory) with an estimate if single rows do not fit.
    pub fn new(config: &VaeConfig, demand: &Demand) -> Result<Self> {
        let layers = arch::decoder(config);
        let (trunk, tail) = layers.split_at(WHOLE);
        let (trunk, _) = memory::run(trunk, demand.frames(1));
        let fixed = weights(&layers) + trunk.kept + 2 * tail_input(tail) * demand.area();
        let height = demand.cells[0];
        let fits = |bands: &[Rows], parked: bool| {
            let costs: Vec<_> = bands
                .iter()
                .map(|&band| decode_cost(tail, demand, band))
                .collect();
            let most = costs.iter().copied().fold(trunk, Cost::then);
            let kept = if parked {
                costs.iter().map(|c| c.kept).max()
            } else {
                Some(costs.iter().map(|c| c.kept).sum())
            };
            demand.fits(fixed + kept.unwrap_or(0), most)
        };
        for parked in demand.ways_to_keep() {
            if let Some(bands) = fewest_bands(height, |bands| fits(bands, parked)) {
                return Ok(Self {
                    bands,
                    queries: demand.queries(),
                    parked,
                });
            }
        }
        let least = Rows::bands(height, 1)
            .into_iter()
            .map(|band| decode_cost(tail, demand, band))
            .fold(trunk, Cost::then);
        Err(demand.refused("decoding", fixed, least))
    }

    /// The next smaller plan, if there is one.
    pub(in crate::wan_vae::engine) fn smaller(&self) -> Option<Self> {
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
pub(super) fn decode_cost(tail: &[Layer], demand: &Demand, band: Rows) -> Cost {
    let stages: Vec<_> = stages(tail).collect();
    let rows = tail_rows(
        &stages.iter().map(|stage| blocks(stage)).collect::<Vec<_>>(),
        band,
    );
    let mut frames = demand.frames(1);
    let mut sum = Cost::default();
    for (i, (stage, rows)) in stages.into_iter().zip(rows).enumerate() {
        frames.area = rows.input.len() * (demand.cells[1] << i);
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
