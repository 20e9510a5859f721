//! Training of a small flow model: Wan2.1's transformer, of a few layers, on latents, without captions.
//!
//! It is the least that makes real SDEdit pairs for a VAE that has no diffusion model of its own. A crop of a latent is noised to a time
//! that is drawn for it, and the model learns the velocity `e - x0` by mean squared error. Its caption is one token of zeros. Crops, noise,
//! times and start values follow from the seed and the step.
//!
//! Positions are relative, but a model has seen only distances within its crops: use it on latents of about their size.

mod run;
mod training;

pub use run::{CONTEXT_FILE, MODEL_FOLDER, open_config, train};
pub use training::{FlowTraining, FlowTrainingConfig};
