//! Files as people have them, rebuilt from public reports, with their right answers.

mod batches;
mod latents;
mod pictures;
mod rgba;
mod to_1x;
mod weights;
