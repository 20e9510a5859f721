//! Measurements for benchmarks: kernels alone, steps of a decode, the peak of the machine, threads that are not there.

pub(crate) mod kernels;
pub(crate) mod steps;
pub(crate) mod threads;
