//! The program as its users meet it: a black box with files in, files out, messages and exit codes.

mod bad_input;
mod codec;
mod compare;
mod degradation;
mod demo;
mod devices;
#[cfg(feature = "text")]
mod embed_text;
mod files;
mod finish;
mod hub;
mod metrics;
mod sdedit;
mod support;
mod train;
mod upscale;
