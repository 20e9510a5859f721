//! The SIMD inference engine of the Wan2.1 VAE, in `f32`.
//!
//! In the order the data flows: [`vae2x_core::arch`]'s layers become fused steps (`builder`, `plan`), weights are packed
//! for the kernels (`pack`), a schedule lets rows stream through the steps (`schedule`, `rows`, `run`), each step is
//! cut into tasks for the threads (`ops`), whose inner loops are compiled for every instruction set (`kernels`, the
//! only unsafe code). Knows nothing of burn.

mod builder;
mod engine;
mod isa;
mod kernels;
mod machine;
mod memory;
mod model;
mod ops;
mod options;
mod pack;
mod pages;
mod picture;
mod plan;
mod probe;
mod profile;
mod rows;
mod run;
mod schedule;
mod session;

pub use engine::CpuEngine;
pub use isa::{ISA_VARIABLE, Isa};
pub use options::CpuOptions;
pub use probe::{KernelTime, measure_peak, profile_kernels};
pub use profile::StepTime;
