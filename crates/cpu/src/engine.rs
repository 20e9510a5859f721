//! The engine: weights and options in, sessions out.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Instant;

use vae2x_core::engine::{DecodeSession, EncodeSession, Engine};
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Result, VaeConfig, arch};

use crate::isa::Isa;
use crate::kernels::{self, Peak};
use crate::model::Model;
use crate::ops::Machine;
use crate::session::{Decode, Encode};

/// How weights are kept. Arithmetic is in `f32` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Those of the decoder's large convolutions, nine tenths of all, rounded to bf16: a fifth of the memory.
    Bf16,
}

/// How to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads; 0 for as many as the machine has.
    pub threads: usize,
    /// The instruction set; the widest the CPU has if `None`.
    pub isa: Option<Isa>,
    /// How the decoder's weights are kept; the encoder's are kept as they are.
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

    fn machine(&self) -> Result<Machine> {
        Machine::new(self.isa.unwrap_or_else(Isa::detect), self.thread_count())
            .map_err(|e| Error::Unsupported(format!("threads could not be started: {e}")))
    }
}

/// Floating-point operations per second that these threads could do at best, measured: a loop of fused multiply-adds in
/// registers. For benchmarks.
///
/// # Errors
/// [`Error::Unsupported`] if threads cannot be started.
pub fn measure_peak(options: CpuOptions) -> Result<f64> {
    /// About 20 ms.
    const ROUNDS: usize = 4_000_000;
    let machine = options.machine()?;
    let threads: Vec<usize> = (0..machine.threads).collect();
    let start = Instant::now();
    let operations = machine.map(&threads, |_| {
        let mut job = Peak {
            rounds: ROUNDS,
            operations: 0,
            result: 0.0,
        };
        kernels::peak(machine.isa, &mut job);
        std::hint::black_box(job.result);
        job.operations
    });
    Ok(operations.iter().sum::<usize>() as f64 / start.elapsed().as_secs_f64())
}

/// A model on this CPU, in `f32`.
///
/// Weights are read and packed when first needed: those of the decoder or the encoder, for single frames or for clips.
/// The results of a session do not depend on the number of threads nor on how a clip is cut, to the last bit.
pub struct CpuEngine {
    config: VaeConfig,
    machine: Machine,
    decoder: Model,
    encoder: Model,
    has_time: bool,
}

impl CpuEngine {
    /// An engine over `weights`, which are read as they are needed.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration cannot be; [`Error::Unsupported`] if threads cannot be started.
    pub fn new(weights: Arc<dyn Weights>, options: CpuOptions) -> Result<Self> {
        let config = weights.config().clone();
        config.validate()?;
        let machine = options.machine()?;
        let decoder = Model::new(&arch::decoder(&config), weights.clone(), options.precision);
        let encoder = Model::new(&arch::encoder(&config), weights.clone(), Precision::F32);
        Ok(Self {
            config,
            machine,
            decoder,
            encoder,
            has_time: weights.has_time(),
        })
    }

    /// Reads and packs the decoder's weights for single frames now instead of at the first step.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn prepare_decoder(&self) -> Result<()> {
        self.decoder.prepare_image(&self.machine)
    }

    /// Reads and packs the encoder's weights for single frames now instead of at the first step.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn prepare_encoder(&self) -> Result<()> {
        self.encoder.prepare_image(&self.machine)
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.machine.isa
    }

    /// The threads in use.
    pub fn threads(&self) -> usize {
        self.machine.threads
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(crate) fn decoder_model(&self) -> &Model {
        &self.decoder
    }

    pub(crate) fn has_time(&self) -> bool {
        self.has_time
    }

    pub(crate) fn config_ref(&self) -> &VaeConfig {
        &self.config
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> String {
        format!("cpu-{}", self.machine.isa)
    }

    fn config(&self) -> &VaeConfig {
        &self.config
    }

    fn decoder(&self) -> Box<dyn DecodeSession + '_> {
        Box::new(Decode::new(self, &self.decoder))
    }

    fn encoder(&self) -> Box<dyn EncodeSession + '_> {
        Box::new(Encode::new(self, &self.encoder))
    }
}
