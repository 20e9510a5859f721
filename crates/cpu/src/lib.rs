//! The SIMD inference engine of the Wan2.1 VAE, in `f32`.
//!
//! In the order the data flows: [`vae2x_core::arch`]'s layers become fused steps (`plan`), weights are packed for the
//! kernels (`weights`), rows of pixels (`buffers`) stream through the steps (`run`), each step is cut into tasks for the
//! threads (`ops`), whose inner loops are compiled for every instruction set (`kernels`, the only unsafe code). Knows
//! nothing of burn.

mod bench;
mod buffers;
mod engine;
mod isa;
mod kernels;
mod machine;
mod ops;
mod options;
mod plan;
mod run;
mod weights;

pub use engine::CpuEngine;
pub use isa::{ISA_VARIABLE, Isa};
pub use options::CpuOptions;

#[doc(hidden)]
pub use bench::{
    kernels::{KernelTime, measure_peak, profile_kernels},
    steps::StepTime,
    threads::Simulation,
};
