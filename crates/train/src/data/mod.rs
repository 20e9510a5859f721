//! From photos to batches: [`source`] finds photos, [`photo`] reads and judges one, [`crop`] cuts a training pair from it,
//! [`loader`] does so ahead in threads. Sample `i` of a run depends on the seed, `i` and the photos alone, so that the place in
//! the data is one number, whatever the number of threads.

pub mod crop;
pub mod loader;
pub mod photo;
pub mod source;

pub use crop::{CropOptions, Sample};
pub use loader::{Dataset, Loader};
pub use photo::{Limits, Quality};
pub use source::{Source, list};
