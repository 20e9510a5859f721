//! What all trainings share: the loop, the run's folder, its lock, its logs, checkpoint files, the optimizer.
//!
//! [`train`] is the one loop; decoder, proxy and flow model are each a [`Work`]. A run that was stopped or killed goes on from its last
//! checkpoint as if nothing had happened: everything random follows from the seed and the step, and [`Record`] cuts the log back to
//! the checkpoint. [`SmallTraining`] is the state and the update of networks that are small enough for one checkpoint file.

pub mod checkpoint;
mod folder;
mod lock;
pub mod memory;
#[cfg(feature = "networks")]
pub mod noise;
#[cfg(feature = "networks")]
pub mod optim;
mod record;
#[cfg(feature = "networks")]
mod small;
mod work;

pub use folder::{
    CONFIG_FILE, at_most, check, check_new, create, open_config, parse_config, to_toml,
    write_config,
};
pub use lock::Lock;
pub use record::Record;
#[cfg(feature = "networks")]
pub use small::{
    CHECKPOINT_FILE, LARGEST_CROP, MOST_CROPS, Network, SmallOptions, SmallTraining, crop, random,
    resume, split,
};
pub use work::{Intervals, Work, train};
