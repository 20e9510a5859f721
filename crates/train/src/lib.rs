//! Training of the 2x decoder, and what every training needs.
//!
//! [`data`] gives samples by their number, [`decoder`] trains the decoder on them, [`run`] is the loop, the run's folder, its checkpoints
//! and the optimizer for this and other trainings, [`log`] is what they report. Everything random follows from the seed and the number of
//! the step or sample, so that a run that was stopped goes on as if it had not been.
//!
//! This crate never draws on the screen (its caller passes a [`Screen`](log::Screen)), and never fetches a file.

// Some of what networks need is not used without them.
#![cfg_attr(not(feature = "networks"), allow(dead_code))]

pub mod data;
#[cfg(feature = "networks")]
pub mod decoder;
pub mod error;
pub mod log;
pub mod run;

#[cfg(feature = "networks")]
pub use decoder::config::{Config, VggChoice};
#[cfg(feature = "networks")]
pub use decoder::{Inputs, RunOptions, train};
pub use error::{Error, Result};
