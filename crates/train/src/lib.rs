//! Training of the 2x decoder, and of the networks that soften latents for it: configuration, data, steps, the loop, checkpoints.
//!
//! [`run`] is the loop and has no tensor maths; [`step`] is the maths and has no input or output. In between: [`config`] is
//! checked before anything starts, [`data`] gives samples by their number, [`checkpoint`] holds all of a run's state in one file,
//! [`eval`] measures on held-out photos, [`log`] tells, [`ranks`] joins devices. Everything random follows from the seed and the number of the step or
//! sample, so that a run that was stopped goes on as if it had not been.
//!
//! Softened latents come in three steps: [`flow`] trains a small flow model where a VAE has none, [`sdedit`] makes pairs with a flow model,
//! [`proxy`] learns them; [`fit`] is the loop that both trainings share, [`degrade`] applies the result.

pub mod checkpoint;
pub mod config;
pub mod data;
pub mod degrade;
pub mod error;
pub mod eval;
pub mod export;
pub mod fit;
pub mod flow;
pub mod latents;
pub mod lock;
pub mod log;
pub mod losses;
pub mod model;
pub mod noise;
pub mod optim;
pub mod proxy;
pub mod ranks;
pub mod run;
pub mod scan;
pub mod sdedit;
pub mod step;
pub mod widen;

pub use config::{Config, VggChoice};
pub use error::{Error, Result};
pub use run::{Inputs, RunOptions, train};
