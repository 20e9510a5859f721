//! From a device's name to a loaded engine.

use std::sync::Arc;

use vae2x_core::engine::Engine;
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Result, VaeConfig};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa, MemoryEstimate, Precision};
use vae2x_nn::wan_vae::{BurnEngine, Parts};

/// Devices of this build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor, with this project's own kernels.
    #[default]
    Cpu,
    /// The processor, through burn: the slow reference.
    Burn,
}

/// Which half of the model to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Latents to pixels.
    Decoder,
    /// Pixels to latents.
    Encoder,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// The device.
    pub device: Device,
    /// Threads; 0 for as many as there are cores. [`Device::Burn`] always takes rayon's global pool.
    pub threads: usize,
    /// How the decoder's weights are kept; [`Device::Burn`] knows f32 alone.
    pub precision: Precision,
}

impl EngineOptions {
    /// The processor's options; the instruction set may be forced by the environment ([`vae2x_cpu::ISA_VARIABLE`]).
    fn cpu(&self) -> Result<CpuOptions> {
        Ok(CpuOptions { threads: self.threads, isa: Isa::from_env()?, precision: self.precision })
    }

    /// The number of threads that will be used.
    ///
    /// # Errors
    /// If the environment asks for an instruction set that this processor lacks.
    pub fn thread_count(&self) -> Result<usize> {
        match self.device {
            Device::Cpu => Ok(self.cpu()?.thread_count()),
            Device::Burn => Ok(rayon::current_num_threads()),
        }
    }

    /// What decoding a latent `[z, t, h, w]` will take; `None` where it cannot be told.
    ///
    /// # Errors
    /// If the configuration is impossible.
    pub fn decode_memory(&self, config: &VaeConfig, [t, h, w]: [usize; 3]) -> Result<Option<MemoryEstimate>> {
        match self.device {
            Device::Cpu => vae2x_cpu::decode_memory(config, [t, h, w], self.cpu()?).map(Some),
            Device::Burn => Ok(None),
        }
    }

    /// What encoding pixels `[3, f, h, w]` will take; `None` where it cannot be told.
    ///
    /// # Errors
    /// If the configuration is impossible.
    pub fn encode_memory(&self, config: &VaeConfig, [f, h, w]: [usize; 3]) -> Result<Option<MemoryEstimate>> {
        match self.device {
            Device::Cpu => vae2x_cpu::encode_memory(config, [f, h, w], self.cpu()?).map(Some),
            Device::Burn => Ok(None),
        }
    }
}

/// Loads one half of a model.
///
/// # Errors
/// If the weights cannot be read or their configuration is impossible.
pub(crate) fn load(weights: Arc<dyn Weights>, side: Side, options: &EngineOptions) -> Result<Box<dyn Engine>> {
    match (options.device, side) {
        (Device::Cpu, side) => {
            let engine = CpuEngine::new(weights, options.cpu()?)?;
            match side {
                Side::Decoder => engine.prepare_decoder()?,
                Side::Encoder => engine.prepare_encoder()?,
            }
            Ok(Box::new(engine))
        }
        (Device::Burn, _) if options.precision != Precision::F32 => Err(Error::Unsupported(
            "the device 'burn' computes in f32 only; bf16 weights are for the device 'cpu'".into(),
        )),
        (Device::Burn, side) => {
            let parts = match side {
                Side::Decoder => Parts::Decoder,
                Side::Encoder => Parts::Encoder,
            };
            let device = burn::tensor::Device::flex();
            Ok(Box::new(BurnEngine::load("burn-flex", weights.as_ref(), parts, &device)?))
        }
    }
}
