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
mod frames;
pub mod latent;
mod norm;
pub mod parameters;
mod resample;
mod residual;
mod rows;

pub use attention::Attention;
pub use conv::{CausalConv, FrameConv, History, Keep, PointConv, TimeConv};
pub use decoder::{Decoder, DecoderState, TailState, TrunkState};
pub use encoder::{Encoder, EncoderRestState, EncoderStageState, EncoderState};
pub use engine::burn::{BurnEngine, BurnOptions};
pub use engine::plan::decode::DecodePlan;
pub use engine::plan::demand::Demand;
pub use engine::plan::encode::EncodePlan;
pub use norm::RmsNorm;
pub use resample::{Downsample, DownsampleState, Upsample, UpsampleState};
pub use residual::{Residual, ResidualState};
pub use rows::Rows;
