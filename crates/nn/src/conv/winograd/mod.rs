//! 3x3 and 4x4 convolutions of stride 1 on the CPU, and all their gradients, by Winograd's F(4x4, 3x3) and F(3x3, 4x4): a quarter of the
//! products.
//!
//! What a convolution makes is cut into tiles of 4x4 or 3x3 pixels, each of which sees 6x6, and rows of tiles, of all images of a batch,
//! into units ([`tiles`]). A panel of 16 outputs expands its weights when its turn comes, so that elements of weights, four times their
//! taps, never leave the cache. Units follow from shapes alone, and sums over them are taken in their order: the number of threads
//! changes no bit.

mod gradients;
mod memory;
mod tiles;
mod values;

pub use gradients::{bias_gradient, weight_gradient};
pub use values::{Taps, convolve};

use std::sync::OnceLock;

use vae2x_kernels::{Isa, WINDOW4};

use super::window::Window;

/// Tiles of an image below which expanding the weights costs more than it saves.
const FEWEST_TILES: usize = 4;
/// Channels below which most of a block would be padding.
const FEWEST_CHANNELS: usize = 8;

/// Whether a convolution is served, and faster than by products of patches: whatever the batch, as its items are computed alike.
pub fn serves(window: &Window) -> bool {
    let [side, _] = window.kernel;
    let is_even = |axis: usize| {
        let (padding, seen) = (window.padding[axis], window.size_in[axis]);
        padding < side && window.size_out[axis] + side == seen + 2 * padding + 1
    };
    if !matches!(window.kernel, [3, 3] | [4, 4])
        || window.stride != [1, 1]
        || ![0, 1].into_iter().all(is_even)
    {
        return false;
    }
    let tiles = window.size_out.map(|size| size.div_ceil(step(side)));
    tiles[0] * tiles[1] >= FEWEST_TILES && window.inputs.min(window.outputs) >= FEWEST_CHANNELS
}

/// Pixels that a tile makes along each axis, for a kernel of a side.
fn step(side: usize) -> usize {
    WINDOW4 + 1 - side
}

/// The instruction set of this process.
fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| Isa::from_env().ok().flatten().unwrap_or_else(Isa::detect))
}
