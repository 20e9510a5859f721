//! Losses between a decoded image and its target, each a mean over the batch unless it says otherwise.
//!
//! Images are `[B, 3, H, W]` in [-1, 1]. Targets are constants: callers pass them without autodiff, and where features of a
//! target are needed they are computed without it. Weights between losses are the trainer's affair.

pub mod fdl;
pub mod gan;
pub mod l1;
pub mod lpips;
