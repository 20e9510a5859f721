//! SDEdit pairs: a clean latent, and what a flow model makes of it after noising to a time.
//!
//! Every pair follows from the job's seed and its own name, so that order, shards and interruptions change no byte. Pairs lie in files of
//! a fixed number, whose place in the whole job is known before it starts: a shard of a job makes every N-th file, and joining shards is
//! copying files. While a file is being made, its pairs lie one by one in a folder of parts, so that a killed job loses one at most.
//! A latent or photo that cannot be used leaves a part without pairs, whose reason goes with the file into the manifest.
//!
//! [`pair`] is the maths, [`Source`] where latents come from, [`Job`] the loop, [`Manifest`] the description of a folder, [`merge`](fn@merge) joins shards.

#[cfg(feature = "networks")]
mod job;
mod manifest;
mod merge;
mod options;
#[cfg(feature = "networks")]
mod pair;
mod source;

#[cfg(feature = "networks")]
pub use job::{Job, Maker};
pub use manifest::{Hashed, MANIFEST_FILE, Manifest, Plan, Skipped, hash_files};
pub use merge::merge;
pub use options::{SdeditOptions, Time};
#[cfg(feature = "networks")]
pub use pair::pair;
pub use source::{Cropped, Photos, Source};
