//! Weights as the kernels read them, packed when a session first needs them.

pub(crate) mod model;
pub(crate) mod pack;
