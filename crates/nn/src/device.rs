//! The devices that burn can compute on in this build: finding them, opening them, what they hold, how they fail.
//!
//! Nothing else knows burn's backends by name. Each interface is a cargo feature; asking for one that was left out is an
//! error that names the feature.

pub use vae2x_kernels::keep_freed_memory;

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, DeviceType, FloatDType, Tensor};
use vae2x_core::device::Api;
use vae2x_core::{Error, Precision, Result};

/// What a device can hold, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub memory: u64,
    /// In one buffer.
    pub buffer: u64,
}

impl Default for Limits {
    /// No limits.
    fn default() -> Self {
        Self {
            memory: u64::MAX,
            buffer: u64::MAX,
        }
    }
}

/// Whether `x` is `f32` on burn's CPU backend, for which this crate has custom operations.
pub(crate) fn is_flex_f32<const D: usize>(x: &Tensor<D>) -> bool {
    #[allow(unreachable_patterns)] // Other backends may not be built.
    match x.device().without_autodiff().as_dispatch() {
        DispatchDevice::Flex(_) => x.dtype() == DType::F32,
        _ => false,
    }
}

/// Whether `x` is on LibTorch's CPU device.
#[cfg(feature = "libtorch")]
#[allow(deprecated)]
pub(crate) fn is_libtorch_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    x.device().without_autodiff() == Device::libtorch()
}

/// As there is none in this build.
#[cfg(not(feature = "libtorch"))]
pub(crate) fn is_libtorch_cpu<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

/// The devices that burn reaches through an interface. Each interface is a cargo feature of the same name.
pub trait Devices: Sized {
    /// Its devices on this machine: GPUs with their own memory first, then GPUs that share the CPU's memory, then others.
    /// Empty where no driver is installed. Opens none.
    ///
    /// # Errors
    /// [`Error::Missing`] if this build lacks it, [`Error::Device`] if a driver fails.
    fn devices(self) -> Result<Vec<DeviceEntry>>;

    /// The device at `index` of [`Self::devices`], or the first.
    ///
    /// # Errors
    /// As [`Self::devices`]; [`Error::NoDevice`] if there is no such device, or as [`DeviceEntry::check`].
    fn device(self, index: Option<usize>) -> Result<DeviceEntry>;
}

impl Devices for Api {
    fn devices(self) -> Result<Vec<DeviceEntry>> {
        let Some(device_type) = device_type(self) else {
            let feature = self.name();
            return Err(Error::Missing {
                what: format!("the device '{feature}'"),
                feature,
            });
        };
        let mut devices = guarded(|| {
            Ok(Device::enumerate(device_type)
                .into_iter()
                .collect::<Vec<_>>())
        })?;
        devices.extend(cpu_of(self));
        let mut listed: Vec<_> = devices
            .into_iter()
            .map(|device| (kind(&device), device))
            .collect();
        listed.sort_by_key(|(kind, _)| *kind);
        let listed = listed.into_iter().enumerate();
        Ok(listed
            .map(|(index, (kind, device))| DeviceEntry {
                api: self,
                index,
                kind,
                device,
            })
            .collect())
    }

    fn device(self, index: Option<usize>) -> Result<DeviceEntry> {
        let mut devices = self.devices()?;
        let (index, count, name) = (index.unwrap_or(0), devices.len(), self.name());
        if index < count {
            let device = devices.swap_remove(index);
            return device.check().map(|()| device);
        }
        Err(Error::NoDevice(match count {
            0 => format!("no {name} device found; is its driver installed?"),
            _ => format!("no device {name}:{index}; the last is {name}:{}", count - 1),
        }))
    }
}

/// burn's name for an interface, if this build has it.
#[allow(unreachable_patterns)] // Where all are built.
fn device_type(api: Api) -> Option<DeviceType> {
    match api {
        #[cfg(feature = "cuda-llvm")]
        Api::Cuda => Some(DeviceType::Cuda),
        #[cfg(feature = "metal")]
        Api::Metal => Some(DeviceType::Metal),
        #[cfg(feature = "vulkan")]
        Api::Vulkan => Some(DeviceType::Vulkan),
        #[cfg(feature = "webgpu")]
        Api::WebGpu => Some(DeviceType::Wgpu),
        #[cfg(feature = "libtorch")]
        Api::LibTorch => Some(DeviceType::LibTorch),
        _ => None,
    }
}

/// LibTorch lists GPUs only.
fn cpu_of(api: Api) -> Option<Device> {
    match api {
        #[cfg(feature = "libtorch")]
        #[allow(deprecated)]
        // burn recommends its own backends; this one is for those who have PyTorch.
        Api::LibTorch => Some(Device::libtorch()),
        _ => None,
    }
}

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// A GPU with its own memory.
    Gpu,
    /// A GPU that shares the CPU's memory.
    SharedGpu,
    /// The CPU.
    Cpu,
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gpu => "GPU",
            Self::SharedGpu => "GPU with shared memory",
            Self::Cpu => "CPU",
        })
    }
}

/// A device that was found.
#[derive(Clone, Debug)]
pub struct DeviceEntry {
    /// The interface that reaches it.
    pub api: Api,
    /// Its place in [`Devices::devices`].
    pub index: usize,
    /// Its kind.
    pub kind: DeviceKind,
    /// burn's handle.
    pub device: Device,
}

/// Bytes that plans use on a GPU that does not report its memory: what small GPUs have.
pub const UNKNOWN_MEMORY: u64 = 4 << 30;

/// What a device reports about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// The vendor's name for it, if reported.
    pub name: Option<String>,
    /// All of its memory, free or not, in bytes, if reported.
    pub memory: Option<u64>,
    /// The largest buffer that it can hold, in bytes, if reported.
    pub buffer: Option<u64>,
}

impl Properties {
    /// What plans may use: most of the memory, as other programs and the driver use some; for devices that share the CPU's
    /// memory no more than the `host` bytes that are free there; and [`UNKNOWN_MEMORY`] where it is not reported.
    pub fn limits(&self, kind: DeviceKind, host: u64) -> Limits {
        let own = self.memory.map(|all| all / 8 * 7);
        let memory = match kind {
            DeviceKind::Gpu => own.unwrap_or(UNKNOWN_MEMORY),
            DeviceKind::SharedGpu => own.unwrap_or(UNKNOWN_MEMORY).min(host),
            DeviceKind::Cpu => own.unwrap_or(host).min(host),
        };
        Limits {
            memory,
            buffer: self.buffer.unwrap_or(u64::MAX),
        }
    }
}

impl DeviceEntry {
    /// Refuses CUDA without what compiling its kernels takes, and what is known to crash: software Vulkan drivers lack `VK_KHR_workgroup_memory_explicit_layout`, without which
    /// cubecl-spirv 0.11.3 makes invalid modules. An environment variable lifts this for builds with a corrected version.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with the reason.
    pub fn check(&self) -> Result<()> {
        #[cfg(feature = "cuda-llvm")]
        if self.api == Api::Cuda {
            return crate::cuda::check();
        }
        const CORRECTED: &str = "VAE2X_SOFTWARE_VULKAN";
        let is_spirv = cfg!(feature = "vulkan") && matches!(self.api, Api::Vulkan | Api::WebGpu);
        if is_spirv && self.kind == DeviceKind::Cpu && std::env::var_os(CORRECTED).is_none() {
            return Err(Error::NoDevice(format!(
                "{} is a software driver, for which this version of CubeCL makes invalid SPIR-V; build with \
                 `--features webgpu` alone, which reaches it through WebGPU shaders",
                self.name()
            )));
        }
        Ok(())
    }

    /// The name on the command line.
    pub fn name(&self) -> String {
        format!("{}:{}", self.api, self.index)
    }

    /// Opens the device and asks it.
    ///
    /// # Errors
    /// [`Error::Device`] if it cannot be opened.
    pub fn properties(&self) -> Result<Properties> {
        guarded(|| Ok(properties(&self.device)))
    }
}

#[cfg(any(feature = "metal", feature = "vulkan", feature = "webgpu"))]
fn wgpu_kind(device: &Device) -> Option<DeviceKind> {
    use burn::backend::{CubeDevice, DispatchDevice, WgpuDeviceKind};
    match device.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(device)) => Some(match device.kind {
            WgpuDeviceKind::Cpu => DeviceKind::Cpu,
            WgpuDeviceKind::IntegratedGpu(_) => DeviceKind::SharedGpu,
            _ => DeviceKind::Gpu,
        }),
        _ => None,
    }
}

#[cfg(not(any(feature = "metal", feature = "vulkan", feature = "webgpu")))]
fn wgpu_kind(_: &Device) -> Option<DeviceKind> {
    None
}

fn kind(device: &Device) -> DeviceKind {
    #[cfg(feature = "libtorch")]
    #[allow(deprecated)]
    if *device == Device::libtorch() {
        return DeviceKind::Cpu;
    }
    wgpu_kind(device).unwrap_or(DeviceKind::Gpu)
}

#[cfg(feature = "cube")]
fn properties(device: &Device) -> Properties {
    use burn::backend::DispatchDevice;
    #[allow(unreachable_patterns)] // Other backends may not be built.
    match device.as_dispatch() {
        DispatchDevice::Cube(cube) => {
            let client = cube.client();
            let memory = &client.properties().memory;
            Properties {
                name: device.identity().map(|identity| identity.name),
                memory: memory.max_memory(),
                buffer: Some(memory.max_page_size),
            }
        }
        _ => Properties::default(),
    }
}

#[cfg(not(feature = "cube"))]
fn properties(_: &Device) -> Properties {
    Properties::default()
}

/// The threads of this process that compute on a device; a GPU is fed by one.
pub(crate) fn threads(device: &Device) -> usize {
    if *device == Device::flex() {
        rayon::current_num_threads()
    } else {
        1
    }
}

/// burn's name for a precision.
pub fn float_dtype(precision: Precision) -> FloatDType {
    match precision {
        Precision::F32 => FloatDType::F32,
        Precision::Bf16 => FloatDType::BF16,
        Precision::F16 => FloatDType::F16,
    }
}

/// Refuses a precision that a device cannot compute in, and names the half precision that it can, if any.
///
/// # Errors
/// [`Error::NoDevice`] if it cannot, [`Error::Device`] if it fails.
pub fn check_precision(device: &Device, precision: Precision) -> Result<()> {
    let computes = |precision| guarded(|| Ok(device.supports_dtype(float_dtype(precision))));
    if computes(precision)? {
        return Ok(());
    }
    let other = match precision {
        Precision::F32 => None,
        Precision::Bf16 => Some(Precision::F16),
        Precision::F16 => Some(Precision::Bf16),
    };
    let advice = match other {
        Some(other) if computes(other)? => format!("; it can in {other}"),
        Some(_) => "; it can in f32".into(),
        None => String::new(),
    };
    Err(Error::NoDevice(format!(
        "the device cannot compute in {precision}{advice}"
    )))
}

/// Runs work on a device, whose failures may be panics of its libraries.
///
/// # Errors
/// Those of `work`; [`Error::OutOfMemory`] or [`Error::Device`] for a panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let words = payload.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(device_error(words.unwrap_or("a panic without a message")))
    })
}

/// Sorts a device's error by its message: drivers and libraries have no common error type.
pub(crate) fn device_error(words: &str) -> Error {
    /// Messages of CubeCL, Vulkan, CUDA, LibTorch on CUDA and LibTorch on the CPU.
    const OUT_OF_MEMORY: [&str; 6] = [
        "out of memory",
        "out-of-memory",
        "out of device memory",
        "out_of_memory",
        "can't allocate",
        "not enough memory",
    ];
    let lower = words.to_lowercase();
    // Backtraces and C++ stacks follow.
    const LINES: usize = 4;
    let short = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(LINES)
        .collect::<Vec<_>>()
        .join("; ");
    match OUT_OF_MEMORY.iter().any(|known| lower.contains(known)) {
        true => Error::OutOfMemory(short),
        false => Error::Device(short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_memory_are_known() {
        for words in [
            "out of device memory allocating 4096 bytes",
            "can't allocate buffer of size: 99",
            "CUDA out of memory. Tried to allocate 2.00 GiB",
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
            "CUDA_ERROR_OUT_OF_MEMORY",
        ] {
            assert!(
                matches!(device_error(words), Error::OutOfMemory(_)),
                "{words}"
            );
        }
        assert!(matches!(device_error("validation error"), Error::Device(_)));
    }

    #[test]
    fn plans_use_no_more_than_there_is() {
        let properties = |memory: Option<u64>| Properties {
            memory,
            ..Properties::default()
        };
        let memory = |told: Option<u64>, kind: DeviceKind, host: u64| {
            properties(told).limits(kind, host).memory
        };
        const GIB: u64 = 1 << 30;
        assert_eq!(memory(Some(8 * GIB), DeviceKind::Gpu, GIB), 7 * GIB);
        assert_eq!(memory(Some(8 * GIB), DeviceKind::SharedGpu, GIB), GIB);
        assert_eq!(
            memory(Some(8 * GIB), DeviceKind::SharedGpu, 64 * GIB),
            7 * GIB
        );
        assert_eq!(memory(Some(8 * GIB), DeviceKind::Cpu, GIB), GIB);
        // Not reported.
        assert_eq!(memory(None, DeviceKind::Gpu, GIB), UNKNOWN_MEMORY);
        assert_eq!(memory(None, DeviceKind::SharedGpu, GIB), GIB);
        assert_eq!(memory(None, DeviceKind::Cpu, 64 * GIB), 64 * GIB);
    }

    #[test]
    fn a_device_that_is_not_built_names_its_feature() {
        for api in Api::ALL
            .into_iter()
            .filter(|&api| device_type(api).is_none())
        {
            let refused = api.device(None).err();
            let is_missing =
                matches!(&refused, Some(Error::Missing { feature, .. }) if *feature == api.name());
            assert!(is_missing, "{refused:?}");
        }
    }
}
