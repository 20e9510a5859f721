//! From photos to batches: [`list()`] finds photos, [`photo`] reads and judges one, [`crop`] cuts a training pair from it,
//! [`loader`] does so ahead in threads. Sample `i` of a run depends on the seed, `i` and the photos alone, so that the place in
//! the data is one number, whatever the number of threads. [`scan`] judges a collection before it is trained on.

pub mod crop;
mod list;
pub mod loader;
pub mod manifest;
pub mod photo;
pub mod scan;
mod shard;
mod source;

pub use crop::{CropOptions, Sample};
pub use list::{Listing, list};
pub use loader::{Dataset, Loader, Share};
pub use photo::{Limits, Quality};
pub use source::Source;
