//! Measurements for benchmarks: kernels alone, steps of a decode, the peak of the machine.

pub(crate) mod kernels;
pub(crate) mod steps;
