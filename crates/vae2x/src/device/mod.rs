//! Compute devices: their names, and which one `auto` means here.
//!
//! Every build knows every name, so that a device that is not in this build is not taken for one that does not exist.

mod check;
#[cfg(feature = "burn")]
mod gpu;
#[cfg(feature = "burn")]
mod known;

#[cfg(feature = "burn")]
pub use gpu::{DeviceInfo, devices, memory_for_training, open_for_training};

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use check::{Check, check_device};
pub use vae2x_core::device::Api;
use vae2x_core::engine::{Engine, Notify};
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Precision, Result};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa};

/// Whether this build has an interface.
pub fn is_built(api: Api) -> bool {
    match api {
        Api::Cuda => cfg!(feature = "cuda-llvm"),
        Api::Metal => cfg!(feature = "metal"),
        Api::Vulkan => cfg!(feature = "vulkan"),
        Api::WebGpu => cfg!(feature = "webgpu"),
        Api::LibTorch => cfg!(feature = "libtorch"),
    }
}

/// For programs, as the first thing in `main`: starts the program again, with variables that lead to the CUDA of a PyTorch or a
/// toolkit that CubeCL and the loader would not find by themselves. Returns if they need none, or if it cannot be done; what is
/// missing is then told when a device is opened.
#[cfg(feature = "cuda-llvm")]
pub fn restart_for_cuda() {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        let environment = vae2x_nn::cuda::environment();
        let mut args = std::env::args_os();
        if let (false, Ok(program)) = (environment.is_empty(), std::env::current_exe()) {
            let mut command = std::process::Command::new(program);
            command.arg0(args.next().unwrap_or_default());
            // It returns only if it fails.
            let _ = command.args(args).envs(environment).exec();
        }
    }
}

/// A compute device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first GPU that this build reaches and that can hold the model, else [`Device::Cpu`]. Never a software driver.
    #[default]
    Auto,
    /// The CPU, with a custom SIMD engine.
    Cpu,
    /// The CPU through burn: the slow reference.
    Burn,
    /// A GPU.
    Gpu {
        /// The interface.
        api: Api,
        /// Its number among the devices of the interface; the first if not given.
        index: Option<usize>,
    },
}

impl Device {
    /// Refuses a device that this build lacks.
    ///
    /// # Errors
    /// [`Error::Missing`] with the feature that brings it.
    pub fn require_built(self) -> Result<()> {
        let feature = match self {
            Self::Burn if !cfg!(feature = "burn") => "burn",
            Self::Gpu { api, .. } if !is_built(api) => api.name(),
            _ => return Ok(()),
        };
        Err(Error::Missing {
            what: format!("the device '{self}'"),
            feature,
        })
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |index: &str| {
            index
                .parse()
                .map_err(|_| format!("'{index}' is not a number"))
        };
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(number(index)?)),
            None => (text, None),
        };
        let api = Api::ALL.into_iter().find(|api| api.name() == name);
        match (name, api, index) {
            ("auto", _, None) => Ok(Self::Auto),
            ("cpu", _, None) => Ok(Self::Cpu),
            ("burn", _, None) => Ok(Self::Burn),
            (_, Some(api), index) => Ok(Self::Gpu { api, index }),
            _ => Err(
                "expected auto, cpu, burn, cuda, metal, vulkan, webgpu or libtorch, the last five \
                 also with a device number, such as cuda:1"
                    .into(),
            ),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Burn => f.write_str("burn"),
            Self::Gpu { api, index: None } => f.write_str(api.name()),
            Self::Gpu {
                api,
                index: Some(index),
            } => write!(f, "{}:{index}", api.name()),
        }
    }
}

/// How a model is run, as the builder collects it.
#[derive(Clone, Default)]
pub(crate) struct EngineOptions {
    pub device: Device,
    /// Threads of the CPU; 0 for as many as there are cores.
    pub threads: usize,
    pub precision: Precision,
    /// The encoder's; the CPU computes and keeps it in `f32` whatever it is.
    pub encoder_precision: Precision,
    /// Bytes that may be used; all that the device has if not given.
    pub memory: Option<u64>,
    /// Models that hold the state of a clip on the device at the same time; each may use an equal part of the memory.
    pub models: u64,
    pub notify: Option<Notify>,
}

impl EngineOptions {
    #[cfg(feature = "burn")]
    fn notify(&self, text: &str) {
        if let Some(notify) = &self.notify {
            notify(text);
        }
    }

    /// The engine, and the device it is on, which is never [`Device::Auto`].
    pub fn engine(&self, weights: Arc<dyn Weights>) -> Result<(Arc<dyn Engine>, Device)> {
        weights.config().validate()?;
        self.device.require_built()?;
        match self.settled(&*weights) {
            Device::Cpu | Device::Auto => {
                let engine = CpuEngine::new(weights, self.cpu()?)?;
                Ok((Arc::new(engine), Device::Cpu))
            }
            device => self.burn_engine(weights, device),
        }
    }

    fn cpu(&self) -> Result<CpuOptions> {
        if self.precision == Precision::F16 {
            let why = match self.device {
                Device::Cpu => "the device 'cpu' keeps",
                _ => "no GPU can be used here, and the CPU keeps",
            };
            return Err(Error::BadRequest(format!(
                "{why} weights in f32 or bf16, not in f16"
            )));
        }
        Ok(CpuOptions {
            threads: self.threads,
            isa: Isa::from_env()?,
            precision: self.precision,
        })
    }

    #[cfg(not(feature = "burn"))]
    fn settled(&self, _: &dyn Weights) -> Device {
        self.device
    }

    #[cfg(not(feature = "burn"))]
    fn burn_engine(
        &self,
        _: Arc<dyn Weights>,
        device: Device,
    ) -> Result<(Arc<dyn Engine>, Device)> {
        Err(Error::Missing {
            what: format!("the device '{device}'"),
            feature: "burn",
        })
    }
}

#[cfg(test)]
mod tests {
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
    fn a_device_that_is_not_built_names_its_feature() {
        for api in Api::ALL.into_iter().filter(|&api| !is_built(api)) {
            let error = Device::Gpu { api, index: None }.require_built();
            assert!(
                matches!(error, Err(Error::Missing { feature, .. }) if feature == api.name()),
                "{error:?}"
            );
        }
    }

    #[test]
    fn the_cpu_keeps_no_f16() {
        let options = EngineOptions {
            device: Device::Cpu,
            precision: Precision::F16,
            ..EngineOptions::default()
        };
        assert!(matches!(options.cpu(), Err(Error::BadRequest(_))));
    }
}
