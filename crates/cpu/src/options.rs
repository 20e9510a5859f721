//! How the engine runs: threads, instruction set, precision.

use std::num::NonZero;

use vae2x_core::{Error, Precision, Result};

use crate::machine::Machine;
use vae2x_kernels::Isa;

/// How to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads; 0 for as many as the machine has. Engines with the same number share one pool.
    pub threads: usize,
    /// The instruction set; the widest that the CPU has if `None`.
    pub isa: Option<Isa>,
    /// How the weights of the decoder's large convolutions, nine tenths of all, are kept: `bf16` rounds them and takes a
    /// quarter of the memory. All other weights, and the arithmetic, are in `f32` always. `f16` is refused.
    pub precision: Precision,
}

impl CpuOptions {
    /// The number of threads that will be used.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            n => n,
        }
    }

    /// The threads and the instruction set.
    pub(crate) fn machine(&self) -> Result<Machine> {
        Machine::new(self.isa.unwrap_or_else(Isa::detect), self.thread_count())
    }

    /// How large convolutions' weights are kept.
    pub(crate) fn storage(&self) -> Result<Storage> {
        match self.precision {
            Precision::F32 => Ok(Storage::F32),
            Precision::Bf16 => Ok(Storage::Bf16),
            Precision::F16 => Err(Error::BadRequest(
                "the device 'cpu' keeps weights in f32 or bf16, not in f16".into(),
            )),
        }
    }
}

/// How the taps of large convolutions are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Storage {
    /// As they are.
    #[default]
    F32,
    /// Rounded.
    Bf16,
}
