//! The text-to-video diffusion transformer of Wan2.1: 1.3B, 14B, or any size.
//!
//! A latent `[B, 16, T, h, w]` is cut into patches of 1x2x2 cells; tokens attend to each other under a rotary embedding of their
//! frame, row and column, and to a caption. The flow time enters every block as shifts, scales and gates. The output is the
//! velocity `e - x0` of the flow `x_t = (1 - t) x0 + t e`; the model's clock shows `1000 t`.
//!
//! [`config`] is the shape of a model, [`tensors`] its list of tensors in both public layouts, [`weights`] finds them in files.
//! Attention works on a part of the queries at a time, so that memory grows with the number of tokens, not with its square.
//! Everything is computed in 32-bit floats, whatever the file's precision.
//!
//! Source of the architecture: Wan2.1, `wan/modules/model.py` (<https://github.com/Wan-Video/Wan2.1/blob/main/wan/modules/model.py>);
//! of the other layout's names: diffusers, `transformer_wan.py`.

mod attention;
mod block;
pub mod caption;
pub mod config;
mod foreign;
mod model;
mod rotary;
pub mod tensors;
pub mod weights;

pub use attention::Attention;
pub use block::Block;
pub use config::{DitConfig, DitOptions};
pub use model::{TIME_SCALE, WanDit};
pub use rotary::Rotary;
pub use weights::DitWeights;
