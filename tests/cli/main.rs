//! The program as its users meet it: a black box with files in, files out, messages and exit codes.

mod bad_input;
#[cfg(feature = "burn")]
mod burn;
mod clips;
mod codec;
mod compare;
mod compared_clips;
#[cfg(feature = "train")]
mod degradation;
mod demo;
mod devices;
#[cfg(feature = "text")]
mod embed_text;
mod files;
mod finish;
#[cfg(feature = "train")]
mod hostile_training;
mod hub;
mod messages;
mod metrics;
#[cfg(feature = "mp4")]
mod mp4;
mod public;
mod roundtrip;
#[cfg(feature = "train")]
mod sdedit;
mod shards;
#[cfg(unix)]
mod signals;
mod support;
#[cfg(unix)]
mod terminal;
#[cfg(feature = "train")]
mod train;
mod upscale;
mod video;
