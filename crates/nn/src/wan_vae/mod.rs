//! The causal 3-D VAE of Wan2.1, Wan2.2-14B and Qwen-Image, with any number of output channels.
//!
//! Activations are `[B, C, T, H, W]`. Time is causal: a frame sees itself and frames before it, so a clip streams through
//! one latent frame at a time, with a typed state per layer ([`DecoderState`], [`EncoderState`]). The first frame, and so
//! every image, sees zeros in the past: only the last temporal tap acts, and its convolutions are two-dimensional.

mod attention;
mod conv;
mod decoder;
mod encoder;
mod engine;
pub mod latent;
mod memory;
mod norm;
pub mod parameters;
mod pass;
mod place;
mod plan;
mod resample;
mod residual;
mod rows;
mod stream;

pub use attention::Attention;
pub use conv::{CausalConv, FrameConv, History, Keep, PointConv, TimeConv};
pub use decoder::{Decoder, DecoderState, TailState, TrunkState};
pub use encoder::{Encoder, EncoderRestState, EncoderStageState, EncoderState};
pub use engine::{BurnEngine, BurnOptions};
pub use norm::RmsNorm;
pub use plan::{DecodePlan, EncodePlan, Job};
pub use resample::{Downsample, DownsampleState, Upsample, UpsampleState};
pub use residual::{Residual, ResidualState};
pub use rows::Rows;

use burn::tensor::Tensor;

/// `[B, C, T, H, W]` -> `[B T, C, H, W]`.
fn to_frames(x: Tensor<5>) -> Tensor<4> {
    let [b, c, t, h, w] = x.dims();
    if t == 1 {
        return x.reshape([b, c, h, w]);
    }
    x.swap_dims(1, 2).reshape([b * t, c, h, w])
}

/// `[B T, C, H, W]` -> `[B, C, T, H, W]`.
fn from_frames(x: Tensor<4>, t: usize) -> Tensor<5> {
    let [frames, c, h, w] = x.dims();
    if t == 1 {
        return x.reshape([frames, c, 1, h, w]);
    }
    x.reshape([frames / t, t, c, h, w]).swap_dims(1, 2)
}
