//! One file per command: arguments in, a job that owns what it needs, the run.

pub mod compare;
pub mod convert;
#[cfg(feature = "train")]
pub mod dataset;
pub mod decode;
#[cfg(feature = "train")]
pub mod degrade;
pub mod demo;
pub mod devices;
#[cfg(feature = "text")]
pub mod embed_text;
pub mod encode;
#[cfg(feature = "train")]
pub mod export;
pub mod hires;
pub mod info;
mod known_weights;
mod lpips;
mod measuring;
pub mod metrics;
pub mod preview;
#[cfg(feature = "train")]
mod processes;
pub mod roundtrip;
#[cfg(feature = "train")]
pub mod sdedit;
pub mod speckle;
#[cfg(feature = "train")]
pub mod spectrum;
mod table;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod train_degradation;
#[cfg(feature = "train")]
pub mod train_flow;
#[cfg(feature = "train")]
pub mod training;
pub mod upscale;
