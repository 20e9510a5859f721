//! How images differ, as numbers: metrics, the speckle score, spectra of latents.
//!
//! [`numbers`] lists every number that reports show. Training measures with the same functions. This crate never reads or writes a
//! file and never runs a neural network: a metric that needs one (LPIPS) is passed in as a function.

pub mod clip;
pub mod metrics;
pub mod numbers;
pub mod probes;
pub mod speckle;
pub mod spectrum;
