//! From photos to batches: [`list()`] finds photos, [`photo`] reads and judges one, [`crop`] cuts a training pair from it,
//! [`dataset`] gives the pairs of each visit to a photo, [`order`] mixes those of several, [`loader`] prepares them ahead in
//! threads. Sample `i` of a run depends on the seed, `i` and the photos alone, so that the place in the data is one number, whatever
//! the number of threads. [`scan`] judges a collection before it is trained on.

pub mod crop;
pub mod dataset;
mod list;
pub mod loader;
pub mod manifest;
pub mod order;
pub mod photo;
pub mod scan;
mod shard;
mod source;

pub use crop::{CropOptions, Sample};
pub use dataset::Dataset;
pub use list::{Listing, list};
pub use loader::{Loader, Share};
pub use photo::{Limits, Photo, Quality};
pub use source::Source;
