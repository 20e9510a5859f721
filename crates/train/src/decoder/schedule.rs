//! The learning rate of a step.

use super::config::{Schedule, TrainConfig};

/// Linear warmup, then the schedule, for a network whose highest rate is `lr`.
pub fn learning_rate(train: &TrainConfig, step: u64, lr: f64) -> f64 {
    if step < train.warmup {
        return lr * (step + 1) as f64 / train.warmup as f64;
    }
    match train.schedule {
        Schedule::Constant => lr,
        Schedule::Cosine => {
            let part = (step - train.warmup) as f64
                / train.steps.saturating_sub(train.warmup).max(1) as f64;
            let least = train.lr_min * lr / train.lr;
            least + (lr - least) * 0.5 * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos())
        }
    }
}
