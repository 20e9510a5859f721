//! Plans at work: one frame after another, sessions over clips, and what both will take.

pub(crate) mod memory;
pub(crate) mod runner;
pub(crate) mod session;
