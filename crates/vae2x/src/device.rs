//! From a device's name to a loaded engine.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::{DType, FloatDType};
use vae2x_core::engine::Engine;
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Result, VaeConfig};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa, MemoryEstimate, Precision as Kept};
use vae2x_nn::device::{Api, Facts, Kind, Listed};
use vae2x_nn::wan_vae::{BurnEngine, BurnOptions, DecodePlan, EncodePlan, Job, Limits, Parts};

use crate::host::available_bytes;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor, with this project's own kernels.
    #[default]
    Cpu,
    /// The processor, through burn: the slow reference.
    Burn,
    /// Through an interface that this build has.
    Through {
        /// The interface.
        api: Api,
        /// The place in [`Api::devices`]; the first if not given.
        index: Option<usize>,
    },
    /// The first GPU that this build reaches and that holds the model, else [`Device::Cpu`]. Never a software driver.
    Auto,
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| format!("'{index}' is not a number"))?)),
            None => (text, None),
        };
        let api = Api::ALL.into_iter().find(|api| api.name() == name);
        match (name, api, index) {
            ("cpu", _, None) => Ok(Self::Cpu),
            ("burn", _, None) => Ok(Self::Burn),
            ("auto", _, None) => Ok(Self::Auto),
            (_, Some(api), index) => Ok(Self::Through { api, index }),
            _ => Err("expected auto, cpu, burn, cuda, metal, vulkan, webgpu or libtorch, the last five also with the \
                      device's number, such as cuda:1"
                .into()),
        }
    }
}

impl Device {
    /// burn's device for training, without gradients; the processor, where there is no GPU, through burn, as the own
    /// kernels have no gradients.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the device is not in this build or not there.
    pub fn for_training(self) -> Result<burn::tensor::Device> {
        Ok(self.listed()?.map_or_else(burn::tensor::Device::flex, |listed| listed.device))
    }

    /// Bytes that may be held on the device of [`Self::for_training`]: of a GPU with memory of its own what plans may use of it, else
    /// what the machine has left. No limit where a GPU does not tell.
    ///
    /// # Errors
    /// As [`Self::for_training`]; [`Error::Device`] if it cannot be opened.
    pub fn memory_for_training(self) -> Result<u64> {
        match self.listed()? {
            Some(listed) if listed.kind == Kind::Gpu => Ok(listed.facts()?.limits().memory),
            _ => Ok(available_bytes()),
        }
    }

    /// What [`Self::for_training`] is; `None` for the processor through burn.
    fn listed(self) -> Result<Option<Listed>> {
        match self {
            Self::Cpu | Self::Burn => Ok(None),
            Self::Through { api, index } => api.device(index).map(Some),
            Self::Auto => Ok(gpus(reached()).next()),
        }
    }

    /// What [`Self::Auto`] means among `devices`.
    fn automatic(devices: impl IntoIterator<Item = Listed>, usable: impl Fn(&Listed) -> bool) -> Self {
        let gpu = gpus(devices).find(usable);
        gpu.map_or(Self::Cpu, |gpu| Self::Through { api: gpu.api, index: Some(gpu.index) })
    }
}

/// The devices that this build reaches, those of the best interface first.
fn reached() -> impl Iterator<Item = Listed> {
    let apis = Api::ALL.into_iter().filter(|api| api.is_built());
    apis.flat_map(|api| api.devices().unwrap_or_default())
}

/// All but software drivers.
fn gpus(devices: impl IntoIterator<Item = Listed>) -> impl Iterator<Item = Listed> {
    devices.into_iter().filter(|listed| listed.kind != Kind::Processor)
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Burn => f.write_str("burn"),
            Self::Auto => f.write_str("auto"),
            Self::Through { api, index: None } => write!(f, "{api}"),
            Self::Through { api, index: Some(index) } => write!(f, "{api}:{index}"),
        }
    }
}

/// What numbers are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, 8 of them mantissa.
    Bf16,
    /// 16 bits, 11 of them mantissa.
    F16,
}

impl From<Precision> for FloatDType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::BF16,
            Precision::F16 => Self::F16,
        }
    }
}

/// Which half of the model to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Latents to pixels.
    Decoder,
    /// Pixels to latents.
    Encoder,
}

impl From<Side> for Parts {
    fn from(side: Side) -> Self {
        match side {
            Side::Decoder => Self::Decoder,
            Side::Encoder => Self::Encoder,
        }
    }
}

/// Where and how to compute.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// The device.
    pub device: Device,
    /// Threads; 0 for as many as there are cores. Only [`Device::Cpu`] heeds it; burn's engines take rayon's global pool.
    pub threads: usize,
    /// Of weights and arithmetic. [`Device::Cpu`] computes in `f32` always and keeps weights in `f32` or bf16.
    pub precision: Precision,
    /// Bytes that a device may hold, by which pictures are cut into bands; what the device has if not given.
    pub memory: Option<u64>,
    /// Hears of retries with smaller bands.
    pub notify: Option<fn(&str)>,
}

impl EngineOptions {
    /// The processor's options; the instruction set may be forced by the environment ([`vae2x_cpu::ISA_VARIABLE`]).
    fn cpu(&self) -> Result<CpuOptions> {
        let precision = match self.precision {
            Precision::F32 => Kept::F32,
            Precision::Bf16 => Kept::Bf16,
            Precision::F16 => {
                let problem = "the device 'cpu' keeps weights in f32 or bf16, not in f16";
                return Err(Error::Unsupported(problem.into()));
            }
        };
        Ok(CpuOptions { threads: self.threads, isa: Isa::from_env()?, precision })
    }

    /// The number of threads that will be used.
    ///
    /// # Errors
    /// If the environment asks for an instruction set that this processor lacks.
    pub fn thread_count(&self) -> Result<usize> {
        match self.device {
            Device::Cpu | Device::Auto => Ok(self.cpu()?.thread_count()),
            Device::Burn => Ok(rayon::current_num_threads()),
            // The one that feeds the device.
            Device::Through { .. } => Ok(1),
        }
    }

    /// What decoding a latent `[z, t, h, w]` will take; `None` on devices that cut pictures to what they hold.
    ///
    /// # Errors
    /// If the configuration is impossible.
    pub fn decode_memory(&self, config: &VaeConfig, [t, h, w]: [usize; 3]) -> Result<Option<MemoryEstimate>> {
        match self.device {
            Device::Cpu => vae2x_cpu::decode_memory(config, [t, h, w], self.cpu()?).map(Some),
            _ => Ok(None),
        }
    }

    /// What encoding pixels `[3, f, h, w]` will take; `None` on devices that cut pictures to what they hold.
    ///
    /// # Errors
    /// If the configuration is impossible.
    pub fn encode_memory(&self, config: &VaeConfig, [f, h, w]: [usize; 3]) -> Result<Option<MemoryEstimate>> {
        match self.device {
            Device::Cpu => vae2x_cpu::encode_memory(config, [f, h, w], self.cpu()?).map(Some),
            _ => Ok(None),
        }
    }

    /// The same with [`Device::Auto`] settled for decoding with a model.
    ///
    /// # Errors
    /// If the configuration is impossible.
    pub fn settled_for_decoding(self, config: &VaeConfig) -> Result<Self> {
        self.settled(config, Side::Decoder)
    }

    /// The same with [`Device::Auto`] settled for encoding with a model.
    ///
    /// # Errors
    /// If the configuration is impossible.
    pub fn settled_for_encoding(self, config: &VaeConfig) -> Result<Self> {
        self.settled(config, Side::Encoder)
    }

    fn settled(self, config: &VaeConfig, side: Side) -> Result<Self> {
        if self.device != Device::Auto {
            return Ok(self);
        }
        config.validate()?;
        let usable = |listed: &Listed| {
            listed.facts().is_ok_and(|facts| self.holds(config, side, self.limits(listed.kind, &facts)))
                && listed.device.supports_dtype(FloatDType::from(self.precision))
        };
        Ok(Self { device: Device::automatic(reached(), usable), ..self })
    }

    /// Whether a picture of ordinary size can be made within `limits`.
    fn holds(&self, config: &VaeConfig, side: Side, limits: Limits) -> bool {
        /// 1024 pixels at base resolution.
        const ORDINARY: [usize; 2] = [128, 128];
        let bytes = DType::from(FloatDType::from(self.precision)).size();
        let job = Job { cells: ORDINARY, clip: false, bytes, limits };
        match side {
            Side::Decoder => DecodePlan::new(config, &job).is_ok(),
            Side::Encoder => EncodePlan::new(config, &job).is_ok(),
        }
    }

    /// The same for burn's engine.
    fn burn(&self, name: String, side: Side, limits: Limits) -> BurnOptions {
        let dtype = self.precision.into();
        let notify = self.notify;
        BurnOptions { name, parts: side.into(), decoder_dtype: dtype, encoder_dtype: dtype, limits, notify }
    }

    /// What the user allows, else what there is.
    fn limits(&self, kind: Kind, facts: &Facts) -> Limits {
        let mut limits = facts.limits();
        if kind == Kind::Processor {
            limits.memory = limits.memory.min(available_bytes());
        }
        Limits { memory: self.memory.unwrap_or(limits.memory), ..limits }
    }
}

/// Loads one half of a model.
///
/// # Errors
/// If the weights cannot be read, their configuration is impossible, or the device is not there.
pub(crate) fn load(weights: Arc<dyn Weights>, side: Side, options: &EngineOptions) -> Result<Box<dyn Engine>> {
    let options = options.settled(weights.config(), side)?;
    match options.device {
        Device::Cpu | Device::Auto => {
            let engine = CpuEngine::new(weights, options.cpu()?)?;
            match side {
                Side::Decoder => engine.prepare_decoder()?,
                Side::Encoder => engine.prepare_encoder()?,
            }
            Ok(Box::new(engine))
        }
        Device::Burn => {
            let burn = options.burn("burn-flex".into(), side, options.limits(Kind::Processor, &Facts::default()));
            Ok(Box::new(BurnEngine::load(&*weights, &burn, &burn::tensor::Device::flex())?))
        }
        Device::Through { api, index } => {
            let listed = api.device(index)?;
            let facts = listed.facts()?;
            let limits = options.limits(listed.kind, &facts);
            let name = facts.name.map_or(listed.name(), |name| format!("{} ({name})", listed.name()));
            Ok(Box::new(BurnEngine::load(&*weights, &options.burn(name, side, limits), &listed.device)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_they_are_shown() {
        for name in ["auto", "cpu", "burn", "vulkan", "cuda:1", "libtorch", "webgpu:0", "metal"] {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        for bad in ["", "gpu", "cpu:1", "cuda:", "cuda:x", "auto:0", "vulkan:-1"] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_is_the_first_gpu_that_can_be_used_and_never_a_software_driver() {
        let listed =
            |api: Api, index: usize, kind: Kind| Listed { api, index, kind, device: burn::tensor::Device::flex() };
        let software = [listed(Api::Vulkan, 0, Kind::Processor), listed(Api::LibTorch, 0, Kind::Processor)];
        let gpus = [listed(Api::Vulkan, 1, Kind::Gpu), listed(Api::WebGpu, 0, Kind::SharedGpu)];
        let both = || software.iter().chain(&gpus).chain(&software).cloned();
        let through = |api: Api, index: usize| Device::Through { api, index: Some(index) };
        assert_eq!(Device::automatic(both(), |_| true), through(Api::Vulkan, 1));
        assert_eq!(Device::automatic(both(), |listed| listed.kind == Kind::SharedGpu), through(Api::WebGpu, 0));
        assert_eq!(Device::automatic(both(), |_| false), Device::Cpu);
        assert_eq!(Device::automatic(software.clone(), |_| true), Device::Cpu);
        assert_eq!(Device::automatic([], |_| true), Device::Cpu);
    }

    #[test]
    fn auto_is_settled_on_what_this_machine_has() {
        let options = EngineOptions { device: Device::Auto, ..EngineOptions::default() };
        let settled = options.settled_for_decoding(&VaeConfig::default()).unwrap().device;
        match settled {
            Device::Through { api, index } => assert_ne!(api.device(index).unwrap().kind, Kind::Processor),
            other => assert_eq!(other, Device::Cpu),
        }
        assert!(gpus(reached()).next().is_some() || settled == Device::Cpu);
    }
}
