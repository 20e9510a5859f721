//! One file per command: arguments in, a job that owns what it needs, the run.

pub mod compare;
pub mod convert;
pub mod dataset;
pub mod decode;
pub mod degrade;
pub mod demo;
pub mod devices;
#[cfg(feature = "text")]
pub mod embed_text;
pub mod encode;
pub mod export;
pub mod hires;
pub mod info;
pub mod metrics;
pub mod preview;
pub mod sdedit;
pub mod speckle;
pub mod spectrum;
mod table;
pub mod train;
pub mod train_degradation;
pub mod train_flow;
pub mod upscale;
