//! The demand that a plan must meet: the latent, and what the device can hold.

use vae2x_core::Error;

use crate::device::Limits;
use crate::wan_vae::engine::memory::{self, Cost, Frames};

/// Share of the memory that plans may fill, in sixteenths: the rest is for kernels' scratch memory and the rounding of
/// allocators.
const USABLE_SIXTEENTHS: u64 = 12;
/// Attention scores may take the memory divided by this.
const SCORES_SHARE: usize = 8;
/// Most values of a tensor, however large a buffer may be: burn's direct convolution counts positions in 32 bits, others in
/// signed 32 bits.
/// <https://github.com/tracel-ai/burn> 0.22.1 `kernel/conv/direct.rs`, cubek-convolution 0.3.1 `kernels/forward/direct.rs`
pub(super) const MOST_VALUES: u64 = i32::MAX as u64;
/// The latent to plan for, and the limits of the device.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Height and width of the latent.
    pub cells: [usize; 2],
    /// Whether frames come after the first.
    pub clip: bool,
    /// Bytes of a value.
    pub bytes: usize,
    /// What the device can hold.
    pub limits: Limits,
}

impl Demand {
    /// Values that fit the memory.
    pub(super) fn memory(&self) -> usize {
        let usable = (u128::from(self.limits.memory) * u128::from(USABLE_SIXTEENTHS) / 16) as u64;
        (usable / self.bytes as u64) as usize
    }

    /// Values that fit a buffer and that kernels can count.
    pub(super) fn buffer(&self) -> usize {
        (self.limits.buffer / self.bytes as u64).min(MOST_VALUES) as usize
    }

    /// Cells of a latent frame.
    pub(super) fn area(&self) -> usize {
        self.cells[0] * self.cells[1]
    }

    /// Cells that the attention takes at a time.
    pub(super) fn queries(&self) -> usize {
        memory::queries(self.area(), self.memory() / SCORES_SHARE, self.buffer())
    }

    /// `count` frames at the latent's resolution.
    pub(super) fn frames(&self, count: usize) -> Frames {
        let wide = size_of::<f32>().div_ceil(self.bytes);
        Frames {
            count,
            area: self.area(),
            clip: self.clip,
            queries: self.queries(),
            wide,
        }
    }

    /// Whether `fixed` values that stay and `cost` fit the limits.
    pub(super) fn fits(&self, fixed: usize, cost: Cost) -> bool {
        fixed.saturating_add(cost.working) <= self.memory() && cost.largest <= self.buffer()
    }

    /// Whether the past of bands leaves the device; images have none.
    pub(super) fn ways_to_keep(&self) -> impl Iterator<Item = bool> + use<> {
        [false, true].into_iter().take(1 + usize::from(self.clip))
    }

    /// The error if `least`, the cost in single rows, does not fit.
    pub(super) fn refused(&self, what: &str, fixed: usize, least: Cost) -> Error {
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
