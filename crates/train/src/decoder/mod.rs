//! Training of the decoder: configuration, losses, a step, checkpoints, export.
//!
//! [`train`] runs it and has no tensor maths; [`step`] is the maths and has no input or output. [`config`] is checked before anything
//! starts, [`checkpoint`] holds all of a run's state in one file, [`eval`] measures on held-out photos, [`ranks`] and
//! [`collective`] join devices and processes.

pub mod batch;
pub mod checkpoint;
pub mod collective;
pub mod config;
pub mod degradation;
pub mod eval;
pub mod export;
pub mod images;
pub mod learner;
pub mod losses;
pub mod meeting;
pub mod memory;
pub mod milestones;
pub mod model;
#[cfg(feature = "mpi")]
pub mod mpi;
mod processes;
mod ranks;
mod schedule;
mod start;
pub mod step;
pub mod terms;
mod train;
pub mod widen;

pub use start::{Inputs, build};
pub use train::{RunOptions, train};
