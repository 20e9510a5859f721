//! Training of the degradation proxy: a network that imitates, on pairs, what a diffusion model does to a clean latent at a flow time.
//!
//! [`Pairs`] gives pairs by number, from files or from anything else; [`ProxyTraining`] is the maths, [`train`] the run; [`measure`] reports on held-out
//! pairs how much of the degradation is explained and how the spectrum follows. Crops, order and start values follow from the seed and the step.

#[cfg(feature = "networks")]
mod measure;
pub(crate) mod pairs;
#[cfg(feature = "networks")]
mod run;
#[cfg(feature = "networks")]
mod softener;
#[cfg(feature = "networks")]
mod training;

#[cfg(feature = "networks")]
pub use measure::{BANDS, Measured, measure};
pub use pairs::{Pair, PairFiles, Pairs};
#[cfg(feature = "networks")]
pub use run::{PROXY_FILE, open_config, train};
#[cfg(feature = "networks")]
pub use softener::Softener;
#[cfg(feature = "networks")]
pub use training::{ProxyLoss, ProxyTraining, ProxyTrainingConfig, save};
