//! `[eval]` and `[log]`: what is measured, shown and kept during a run.

use serde::{Deserialize, Serialize};

/// `[eval]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Held-out photos are scaled to this shorter side; 0 to keep them.
    pub short_side: usize,
    /// Side of the centre that is decoded, in target pixels.
    pub size: usize,
    /// Flow times at which held-out photos are also softened, by the run's degradation.
    pub times: Vec<f64>,
    /// Files and folders of latents that are decoded, too: such as a model has generated, softened ones, the degraded sides of `sdedit`'s
    /// pairs.
    pub latents: Vec<String>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            short_side: 1024,
            size: 512,
            times: vec![0.06, 0.12],
            latents: Vec::new(),
        }
    }
}

/// `[log]`: steps between.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Lines of `log.jsonl`.
    pub every: u64,
    /// Measurements on held-out photos, with a sample sheet.
    pub eval_every: u64,
    /// Checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept besides the best one.
    pub keep: usize,
    /// Milestones, which are kept for ever: the average's weights, and the images of an evaluation. 0 for none.
    pub milestone_every: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            every: 50,
            eval_every: 2000,
            checkpoint_every: 1000,
            keep: 3,
            milestone_every: 25_000,
        }
    }
}
