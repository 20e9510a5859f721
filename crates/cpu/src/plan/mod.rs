//! What is computed, without weights or data: fused steps, and the order of their rows.

pub(crate) mod builder;
pub(crate) mod schedule;
pub(crate) mod steps;
