//! The SIMD inference engine of the Wan2.1 VAE, in `f32`.
//!
//! In the order the data flows: [`vae2x_core::arch`]'s layers become fused steps (`plan`), weights are packed for the
//! kernels (`weights`), rows of pixels (`buffers`) stream through the steps (`run`), each step is cut into tasks for the
//! threads (`ops`), whose inner loops are those of `vae2x-kernels`, compiled for every instruction set. Knows nothing of
//! burn.

mod bench;
mod buffers;
mod engine;
mod machine;
mod ops;
mod options;
mod plan;
mod run;
mod weights;

pub use engine::CpuEngine;
pub use options::CpuOptions;
pub use vae2x_kernels::{ISA_VARIABLE, Isa};

#[doc(hidden)]
pub use bench::{
    kernels::{KernelTime, measure_peak, profile_kernels},
    steps::StepTime,
    threads::Simulation,
};
