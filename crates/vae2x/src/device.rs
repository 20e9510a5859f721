//! From a device's name to a loaded engine.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Once};

use burn::tensor::{DType, FloatDType};
use vae2x_core::engine::Engine;
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Result, VaeConfig};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa, MemoryEstimate, Precision as Kept};
use vae2x_nn::device::{Api, Facts, Kind, Listed, UNKNOWN_MEMORY, check_dtype};
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
            Some((name, index)) => (
                name,
                Some(
                    index
                        .parse()
                        .map_err(|_| format!("'{index}' is not a number"))?,
                ),
            ),
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
    /// burn's device for training, without gradients; the processor, where there is no GPU that can be opened, through burn, as the
    /// own kernels have no gradients. `say` hears which device it is, unless it is the processor, and why others were passed over.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the device is not in this build or not there; [`Error::Device`] if it cannot be opened.
    pub fn for_training(self, say: impl Fn(&str)) -> Result<burn::tensor::Device> {
        let Some(listed) = self.listed(&say)? else {
            return Ok(burn::tensor::Device::flex());
        };
        say(&format!(
            "computing on {}",
            shown(&listed, &listed.facts()?)
        ));
        Ok(listed.device)
    }

    /// Bytes that may be held on the device of [`Self::for_training`]: of a GPU what plans may use of it, else what the machine has left.
    ///
    /// # Errors
    /// As [`Self::for_training`].
    pub fn memory_for_training(self) -> Result<u64> {
        let available = available_bytes();
        match self.listed(|_: &str| ())? {
            Some(listed) => Ok(listed.facts()?.limits(listed.kind, available).memory),
            None => Ok(available),
        }
    }

    /// What [`Self::for_training`] is; `None` for the processor through burn.
    fn listed(self, say: impl Fn(&str)) -> Result<Option<Listed>> {
        match self {
            Self::Cpu | Self::Burn => Ok(None),
            Self::Through { api, index } => api.device(index).map(Some),
            Self::Auto => Ok(first_gpu(
                reached(),
                |listed| listed.facts().map(|_| ()),
                say,
            )),
        }
    }
}

/// A device's name here, and its maker's.
fn shown(listed: &Listed, facts: &Facts) -> String {
    facts
        .name
        .as_ref()
        .map_or(listed.name(), |name| format!("{} ({name})", listed.name()))
}

/// The first GPU that `check` has nothing against; `say` hears what it has against others.
fn first_gpu(
    devices: impl IntoIterator<Item = Listed>,
    check: impl Fn(&Listed) -> Result<()>,
    say: impl Fn(&str),
) -> Option<Listed> {
    gpus(devices).find(|listed| match check(listed) {
        Ok(()) => true,
        Err(e) => {
            say(&format!("{} is passed over: {e}", listed.name()));
            false
        }
    })
}

/// The devices that this build reaches, those of the best interface first.
fn reached() -> impl Iterator<Item = Listed> {
    let apis = Api::ALL.into_iter().filter(|api| api.is_built());
    apis.flat_map(|api| api.devices().unwrap_or_default())
}

/// All but software drivers.
fn gpus(devices: impl IntoIterator<Item = Listed>) -> impl Iterator<Item = Listed> {
    devices
        .into_iter()
        .filter(|listed| listed.kind != Kind::Processor)
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Burn => f.write_str("burn"),
            Self::Auto => f.write_str("auto"),
            Self::Through { api, index: None } => write!(f, "{api}"),
            Self::Through {
                api,
                index: Some(index),
            } => write!(f, "{api}:{index}"),
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

/// Where and how to compute.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// The device.
    pub device: Device,
    /// Threads; 0 for as many as there are cores. Only [`Device::Cpu`] heeds it; burn's engines take rayon's global pool.
    pub threads: usize,
    /// Of the decoder's weights and arithmetic. [`Device::Cpu`] computes in `f32` always and keeps weights in `f32` or bf16.
    pub precision: Precision,
    /// Of the encoder's; [`Device::Cpu`] takes `f32` whatever it is.
    pub encoder_precision: Precision,
    /// Bytes that a device may hold, by which pictures are cut into bands; what the device has if not given.
    pub memory: Option<u64>,
    /// Other models that are loaded on the device at the same time: each has an equal part of the memory.
    pub others: u8,
    /// Hears of what the user should know: GPUs that are passed over, what is assumed of a device, retries with smaller bands.
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
        Ok(CpuOptions {
            threads: self.threads,
            isa: Isa::from_env()?,
            precision,
        })
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
    pub fn decode_memory(
        &self,
        config: &VaeConfig,
        [t, h, w]: [usize; 3],
    ) -> Result<Option<MemoryEstimate>> {
        match self.device {
            Device::Cpu => vae2x_cpu::decode_memory(config, [t, h, w], self.cpu()?).map(Some),
            _ => Ok(None),
        }
    }

    /// What encoding pixels `[3, f, h, w]` will take; `None` on devices that cut pictures to what they hold.
    ///
    /// # Errors
    /// If the configuration is impossible.
    pub fn encode_memory(
        &self,
        config: &VaeConfig,
        [f, h, w]: [usize; 3],
    ) -> Result<Option<MemoryEstimate>> {
        match self.device {
            Device::Cpu => vae2x_cpu::encode_memory(config, [f, h, w], self.cpu()?).map(Some),
            _ => Ok(None),
        }
    }

    /// The same with [`Device::Auto`] settled for parts of a model.
    ///
    /// # Errors
    /// If the configuration is impossible.
    pub fn settled(self, config: &VaeConfig, parts: Parts) -> Result<Self> {
        if self.device != Device::Auto {
            return Ok(self);
        }
        config.validate()?;
        Ok(Self {
            device: self.automatic(reached(), |listed| self.check(config, parts, listed)),
            ..self
        })
    }

    /// What [`Device::Auto`] means among `devices`, of which `check` refuses some.
    fn automatic(
        &self,
        devices: impl IntoIterator<Item = Listed>,
        check: impl Fn(&Listed) -> Result<()>,
    ) -> Device {
        let gpu = first_gpu(devices, check, |text| self.say(text));
        gpu.map_or(Device::Cpu, |gpu| Device::Through {
            api: gpu.api,
            index: Some(gpu.index),
        })
    }

    fn say(&self, text: &str) {
        if let Some(notify) = self.notify {
            notify(text);
        }
    }

    /// Refuses devices that lack a precision or cannot make a picture of ordinary size.
    fn check(&self, config: &VaeConfig, parts: Parts, listed: &Listed) -> Result<()> {
        /// 1024 pixels at base resolution.
        const ORDINARY: [usize; 2] = [128, 128];
        let limits = self.limits(listed.kind, &listed.facts()?);
        let job = |precision: Precision| {
            let dtype = FloatDType::from(precision);
            check_dtype(&listed.device, dtype)?;
            Ok(Job {
                cells: ORDINARY,
                clip: false,
                bytes: DType::from(dtype).size(),
                limits,
            })
        };
        if parts != Parts::Encoder {
            DecodePlan::new(config, &job(self.precision)?)?;
        }
        if parts != Parts::Decoder {
            EncodePlan::new(config, &job(self.encoder_precision)?)?;
        }
        Ok(())
    }

    /// The same for burn's engine.
    fn burn(&self, name: String, parts: Parts, limits: Limits) -> BurnOptions {
        let (decoder_dtype, encoder_dtype) = (self.precision.into(), self.encoder_precision.into());
        BurnOptions {
            name,
            parts,
            decoder_dtype,
            encoder_dtype,
            limits,
            notify: self.notify,
        }
    }

    /// What the user allows, else what there is; of that, this model's part.
    fn limits(&self, kind: Kind, facts: &Facts) -> Limits {
        let limits = facts.limits(kind, available_bytes());
        let memory = self.memory.unwrap_or(limits.memory) / (1 + u64::from(self.others));
        Limits { memory, ..limits }
    }

    /// Says, once in this process, that a GPU does not tell its memory, if that matters.
    fn say_what_is_assumed(&self, listed: &Listed, facts: &Facts) {
        static ONCE: Once = Once::new();
        if self.memory.is_none() && facts.memory.is_none() && listed.kind != Kind::Processor {
            ONCE.call_once(|| {
                let (name, gib) = (shown(listed, facts), UNKNOWN_MEMORY >> 30);
                self.say(&format!(
                    "{name} does not tell its memory; no more than {gib} GiB are used, or what --memory says"
                ));
            });
        }
    }
}

/// Loads parts of a model.
///
/// # Errors
/// If the weights cannot be read, their configuration is impossible, or the device is not there.
pub(crate) fn load(
    weights: Arc<dyn Weights>,
    parts: Parts,
    options: &EngineOptions,
) -> Result<Box<dyn Engine>> {
    let options = options.settled(weights.config(), parts)?;
    match options.device {
        Device::Cpu | Device::Auto => {
            let engine = CpuEngine::new(weights, options.cpu()?)?;
            if parts != Parts::Encoder {
                engine.prepare_decoder()?;
            }
            if parts != Parts::Decoder {
                engine.prepare_encoder()?;
            }
            Ok(Box::new(engine))
        }
        Device::Burn => {
            let burn = options.burn(
                "burn-flex".into(),
                parts,
                options.limits(Kind::Processor, &Facts::default()),
            );
            Ok(Box::new(BurnEngine::load(
                &*weights,
                &burn,
                &burn::tensor::Device::flex(),
            )?))
        }
        Device::Through { api, index } => {
            let listed = api.device(index)?;
            let facts = listed.facts()?;
            options.say_what_is_assumed(&listed, &facts);
            let burn = options.burn(
                shown(&listed, &facts),
                parts,
                options.limits(listed.kind, &facts),
            );
            Ok(Box::new(BurnEngine::load(
                &*weights,
                &burn,
                &listed.device,
            )?))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn devices_are_named_as_they_are_shown() {
        for name in [
            "auto", "cpu", "burn", "vulkan", "cuda:1", "libtorch", "webgpu:0", "metal",
        ] {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        for bad in ["", "gpu", "cpu:1", "cuda:", "cuda:x", "auto:0", "vulkan:-1"] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_is_the_first_gpu_that_can_be_used_and_never_a_software_driver() {
        let listed = |api: Api, index: usize, kind: Kind| Listed {
            api,
            index,
            kind,
            device: burn::tensor::Device::flex(),
        };
        let software = [
            listed(Api::Vulkan, 0, Kind::Processor),
            listed(Api::LibTorch, 0, Kind::Processor),
        ];
        let gpus = [
            listed(Api::Vulkan, 1, Kind::Gpu),
            listed(Api::WebGpu, 0, Kind::SharedGpu),
        ];
        let both = || software.iter().chain(&gpus).chain(&software).cloned();
        let through = |api: Api, index: usize| Device::Through {
            api,
            index: Some(index),
        };
        let no = || Err(Error::Unsupported("too small".into()));
        let shared = |listed: &Listed| {
            if listed.kind == Kind::SharedGpu {
                Ok(())
            } else {
                no()
            }
        };
        let options = EngineOptions {
            notify: Some(listen),
            ..EngineOptions::default()
        };
        assert_eq!(
            options.automatic(both(), |_| Ok(())),
            through(Api::Vulkan, 1)
        );
        assert_eq!(options.automatic(software.clone(), |_| Ok(())), Device::Cpu);
        assert_eq!(options.automatic([], |_| Ok(())), Device::Cpu);
        assert!(SAID.take().is_empty());
        assert_eq!(options.automatic(both(), shared), through(Api::WebGpu, 0));
        assert_eq!(SAID.take(), ["vulkan:1 is passed over: too small"]);
        assert_eq!(options.automatic(both(), |_| no()), Device::Cpu);
        assert_eq!(SAID.take().len(), gpus.len());
    }

    thread_local! {
        /// What was said on this thread.
        static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn listen(words: &str) {
        SAID.with_borrow_mut(|said| said.push(words.into()));
    }

    #[test]
    fn each_half_has_its_own_precision() {
        let options = EngineOptions {
            precision: Precision::Bf16,
            ..EngineOptions::default()
        };
        let burn = options.burn(String::new(), Parts::Both, Limits::default());
        assert_eq!(
            (burn.decoder_dtype, burn.encoder_dtype),
            (FloatDType::BF16, FloatDType::F32)
        );
        let options = EngineOptions {
            encoder_precision: Precision::F16,
            ..EngineOptions::default()
        };
        let burn = options.burn(String::new(), Parts::Both, Limits::default());
        assert_eq!(
            (burn.decoder_dtype, burn.encoder_dtype),
            (FloatDType::F32, FloatDType::F16)
        );
    }

    #[test]
    fn models_on_one_device_share_its_memory() {
        const GIB: u64 = 1 << 30;
        let facts = Facts {
            memory: Some(16 * GIB),
            ..Facts::default()
        };
        let limits = |others: u8, memory: Option<u64>| {
            EngineOptions {
                others,
                memory,
                ..EngineOptions::default()
            }
            .limits(Kind::Gpu, &facts)
        };
        assert_eq!(
            [0, 1].map(|others| limits(others, None).memory),
            [14 * GIB, 7 * GIB]
        );
        assert_eq!(
            [0, 1].map(|others| limits(others, Some(4 * GIB)).memory),
            [4 * GIB, 2 * GIB]
        );
        // So that what both plans may fill is what one could.
        let bands = |limits: Limits| {
            let job = Job {
                cells: [128, 128],
                clip: false,
                bytes: 4,
                limits,
            };
            DecodePlan::new(&VaeConfig::default(), &job)
                .unwrap()
                .bands
                .len()
        };
        assert!(bands(limits(1, Some(4 * GIB))) > bands(limits(0, Some(4 * GIB))));
    }

    #[test]
    fn auto_is_settled_on_what_this_machine_has() {
        let options = EngineOptions {
            device: Device::Auto,
            ..EngineOptions::default()
        };
        let settled = options
            .settled(&VaeConfig::default(), Parts::Both)
            .unwrap()
            .device;
        match settled {
            Device::Through { api, index } => {
                assert_ne!(api.device(index).unwrap().kind, Kind::Processor)
            }
            other => assert_eq!(other, Device::Cpu),
        }
        assert!(gpus(reached()).next().is_some() || settled == Device::Cpu);
    }
}
