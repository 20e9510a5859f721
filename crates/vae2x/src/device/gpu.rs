//! Devices through burn: the list of them, the one that `auto` takes, and engines on them.

use std::sync::{Arc, Once};

use vae2x_core::engine::Engine;
use vae2x_core::weights::Weights;
use vae2x_core::{Error, Precision, Result, VaeConfig};
use vae2x_nn::device::{
    DeviceEntry, DeviceKind, Devices, Limits, Properties, UNKNOWN_MEMORY, check_precision,
};
use vae2x_nn::wan_vae::{BurnEngine, BurnOptions, DecodePlan, Demand, EncodePlan};

use super::{Api, Check, Device, EngineOptions, check_device, is_built, known};
use crate::memory::available_bytes;

/// A device that was found, or an interface without any.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The name that [`Device`] is parsed from.
    pub name: String,
    /// The maker's name and the kind of device, or why it cannot be used.
    pub description: String,
    /// All of its memory in bytes, if it reports that.
    pub memory: Option<u64>,
}

/// The devices that this build reaches through GPU interfaces, opened to be asked for their names and memory.
pub fn devices() -> Vec<DeviceInfo> {
    let built = Api::ALL.into_iter().filter(|&api| is_built(api));
    built.flat_map(through).collect()
}

fn through(api: Api) -> Vec<DeviceInfo> {
    let without_device = |description: String| DeviceInfo {
        name: api.name().into(),
        description,
        memory: None,
    };
    match api.devices() {
        Ok(found) if found.is_empty() => {
            vec![without_device("no device or no driver found".into())]
        }
        Ok(found) => found.iter().map(described).collect(),
        Err(e) => vec![without_device(e.to_string())],
    }
}

fn described(entry: &DeviceEntry) -> DeviceInfo {
    let name = entry.name();
    let properties = match entry.properties() {
        Ok(properties) => properties,
        Err(e) => {
            return DeviceInfo {
                name,
                description: e.to_string(),
                memory: None,
            };
        }
    };
    let maker = properties
        .name
        .unwrap_or_else(|| "PyTorch's library".into());
    let aside = match (entry.check(), entry.kind) {
        (Err(e), _) => format!(", cannot be used: {e}"),
        (Ok(()), DeviceKind::Cpu) => ", never selected automatically".into(),
        (Ok(()), _) => String::new(),
    };
    let shared = (entry.kind == DeviceKind::Cpu).then(available_bytes);
    DeviceInfo {
        name,
        description: format!("{maker}, {}{aside}", entry.kind),
        memory: properties.memory.or(shared),
    }
}

/// burn's device for training, without gradients. If no GPU can be opened, this is the CPU through burn, as the SIMD engine has
/// no backward pass. `notify` is called with the device, unless it is the CPU, and with the reason why others were skipped.
///
/// # Errors
/// [`vae2x_core::Error::Missing`] or [`vae2x_core::Error::NoDevice`] if the device is not in this build or not there; [`vae2x_core::Error::Device`] if it cannot
/// be opened.
pub fn open_for_training(device: Device, notify: impl Fn(&str)) -> Result<burn::tensor::Device> {
    let Some(entry) = entry(device, &notify)? else {
        return Ok(burn::tensor::Device::flex());
    };
    notify(&format!(
        "computing on {}",
        shown(&entry, &entry.properties()?)
    ));
    Ok(entry.device)
}

/// Bytes that may be used on the device of [`open_for_training`]: on a GPU the part that plans may use, else the available
/// memory.
///
/// # Errors
/// As [`open_for_training`].
pub fn memory_for_training(device: Device) -> Result<u64> {
    let available = available_bytes();
    match entry(device, |_: &str| ())? {
        Some(entry) => Ok(entry.properties()?.limits(entry.kind, available).memory),
        None => Ok(available),
    }
}

/// Bytes of a value.
fn bytes_of(precision: Precision) -> usize {
    match precision {
        Precision::F32 => 4,
        Precision::Bf16 | Precision::F16 => 2,
    }
}

/// The GPU that a device for training is; `None` for the CPU.
fn entry(device: Device, notify: impl Fn(&str)) -> Result<Option<DeviceEntry>> {
    match device {
        Device::Cpu | Device::Burn => Ok(None),
        Device::Gpu { api, index } => api.device(index).map(Some),
        Device::Auto => Ok(first_gpu(
            reached(),
            |entry| computes_rightly(entry, &notify),
            &notify,
        )),
    }
}

/// The name of a device in vae2x, and its maker's.
fn shown(entry: &DeviceEntry, properties: &Properties) -> String {
    let name = entry.name();
    match &properties.name {
        Some(maker) => format!("{name} ({maker})"),
        None => name,
    }
}

/// The first GPU that passes `check`; `notify` is called with the reason why others do not.
fn first_gpu(
    devices: impl IntoIterator<Item = DeviceEntry>,
    check: impl Fn(&DeviceEntry) -> Result<()>,
    notify: impl Fn(&str),
) -> Option<DeviceEntry> {
    let mut gpus = devices
        .into_iter()
        .filter(|entry| entry.kind != DeviceKind::Cpu);
    gpus.find(|entry| match check(entry) {
        Ok(()) => true,
        Err(e) => {
            notify(&format!("{} is skipped: {e}", entry.name()));
            false
        }
    })
}

/// The devices that this build reaches, those of the best interface first.
fn reached() -> impl Iterator<Item = DeviceEntry> {
    let apis = Api::ALL.into_iter().filter(|&api| is_built(api));
    apis.flat_map(|api| api.devices().unwrap_or_default())
}

/// Remembers what was found of a GPU.
pub(super) fn remember(device: Device, check: &Check) {
    let Device::Gpu { api, index } = device else {
        return;
    };
    if let Ok(entry) = api.device(index) {
        known::remember(&entry, check.decibels);
    }
}

/// Refuses a device that computes something else than the CPU. Each is checked once, and what was found is remembered.
fn computes_rightly(entry: &DeviceEntry, notify: impl Fn(&str)) -> Result<()> {
    let check = match known::recall(entry) {
        Some(decibels) => Check {
            decibels,
            seconds: 0.0,
        },
        None => {
            notify(&format!("checking {} once", entry.name()));
            check_device(Device::Gpu {
                api: entry.api,
                index: Some(entry.index),
            })?
        }
    };
    if check.is_right() {
        return Ok(());
    }
    Err(Error::Device(format!(
        "it computes wrong values ({:.0} dB against the CPU); a newer driver may help, and `vae2x devices --check` checks again",
        check.decibels
    )))
}

impl EngineOptions {
    /// The same device with [`Device::Auto`] settled.
    pub(super) fn settled(&self, weights: &dyn Weights) -> Device {
        match self.device {
            Device::Auto => self.automatic(reached(), |entry| {
                self.check(weights.config(), entry)?;
                computes_rightly(entry, |text| self.notify(text))
            }),
            device => device,
        }
    }

    /// The choice of [`Device::Auto`] among `devices`, of which `check` refuses some.
    fn automatic(
        &self,
        devices: impl IntoIterator<Item = DeviceEntry>,
        check: impl Fn(&DeviceEntry) -> Result<()>,
    ) -> Device {
        let gpu = first_gpu(devices, check, |text| self.notify(text));
        gpu.map_or(Device::Cpu, |gpu| Device::Gpu {
            api: gpu.api,
            index: Some(gpu.index),
        })
    }

    /// Refuses devices that lack a precision or cannot make an image of ordinary size.
    fn check(&self, config: &VaeConfig, entry: &DeviceEntry) -> Result<()> {
        /// 1024 pixels at base resolution.
        const ORDINARY: [usize; 2] = [128, 128];
        let limits = self.limits(entry.kind, &entry.properties()?);
        let demand = |precision: Precision| {
            check_precision(&entry.device, precision)?;
            Ok(Demand {
                cells: ORDINARY,
                clip: false,
                bytes: bytes_of(precision),
                limits,
            })
        };
        DecodePlan::new(config, &demand(self.precision)?)?;
        EncodePlan::new(config, &demand(self.encoder_precision)?)?;
        Ok(())
    }

    /// This model's part of what the user allows, or else of what there is.
    fn limits(&self, kind: DeviceKind, properties: &Properties) -> Limits {
        let limits = properties.limits(kind, available_bytes());
        let memory = self.memory.unwrap_or(limits.memory) / self.models.max(1);
        Limits { memory, ..limits }
    }

    /// An engine over the burn modules.
    pub(super) fn burn_engine(
        &self,
        weights: Arc<dyn Weights>,
        device: Device,
    ) -> Result<(Arc<dyn Engine>, Device)> {
        let (name, limits, on) = match device {
            Device::Gpu { api, index } => {
                let entry = api.device(index)?;
                let properties = entry.properties()?;
                self.note_what_is_assumed(&entry, &properties);
                let limits = self.limits(entry.kind, &properties);
                (shown(&entry, &properties), limits, entry.device)
            }
            _ => (
                "burn-flex".into(),
                self.limits(DeviceKind::Cpu, &Properties::default()),
                burn::tensor::Device::flex(),
            ),
        };
        let options = BurnOptions {
            name,
            decoder_precision: self.precision,
            encoder_precision: self.encoder_precision,
            limits,
            notify: self.notify.clone(),
        };
        Ok((Arc::new(BurnEngine::new(weights, options, on)?), device))
    }

    /// Prints, once in this process, that a GPU does not report its memory, if that matters.
    fn note_what_is_assumed(&self, entry: &DeviceEntry, properties: &Properties) {
        static ONCE: Once = Once::new();
        let is_told = self.memory.is_some() || properties.memory.is_some();
        if is_told || entry.kind == DeviceKind::Cpu {
            return;
        }
        ONCE.call_once(|| {
            let (name, gib) = (shown(entry, properties), UNKNOWN_MEMORY >> 30);
            self.notify(&format!(
                "{name} does not report its memory; at most {gib} GiB are used, or what --memory allows"
            ));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn gpu(api: Api, index: usize, kind: DeviceKind) -> DeviceEntry {
        DeviceEntry {
            api,
            index,
            kind,
            device: burn::tensor::Device::flex(),
        }
    }

    #[test]
    fn auto_is_the_first_gpu_that_can_be_used_and_never_a_software_driver() {
        let software = [
            gpu(Api::Vulkan, 0, DeviceKind::Cpu),
            gpu(Api::LibTorch, 0, DeviceKind::Cpu),
        ];
        let gpus = [
            gpu(Api::Vulkan, 1, DeviceKind::Gpu),
            gpu(Api::WebGpu, 0, DeviceKind::SharedGpu),
        ];
        let both = || software.iter().chain(&gpus).chain(&software).cloned();
        let on = |api: Api, index: usize| Device::Gpu {
            api,
            index: Some(index),
        };
        let refuse = || Err(Error::Memory("too small".into()));
        let shared_only = |entry: &DeviceEntry| match entry.kind {
            DeviceKind::SharedGpu => Ok(()),
            _ => refuse(),
        };
        let notes: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = notes.clone();
        let options = EngineOptions {
            notify: Some(Arc::new(move |text: &str| {
                heard.lock().unwrap().push(text.into());
            })),
            ..EngineOptions::default()
        };
        let noted = || std::mem::take(&mut *notes.lock().unwrap());
        assert_eq!(options.automatic(both(), |_| Ok(())), on(Api::Vulkan, 1));
        assert_eq!(options.automatic(software.clone(), |_| Ok(())), Device::Cpu);
        assert_eq!(options.automatic([], |_| Ok(())), Device::Cpu);
        assert!(noted().is_empty());
        assert_eq!(options.automatic(both(), shared_only), on(Api::WebGpu, 0));
        assert_eq!(noted(), ["vulkan:1 is skipped: too small"]);
        assert_eq!(options.automatic(both(), |_| refuse()), Device::Cpu);
        assert_eq!(noted().len(), gpus.len());
    }

    #[test]
    fn models_that_decode_side_by_side_share_the_memory() {
        const GIB: u64 = 1 << 30;
        let properties = Properties {
            memory: Some(16 * GIB),
            ..Properties::default()
        };
        let memory = |models: u64, memory: Option<u64>| {
            let options = EngineOptions {
                models,
                memory,
                ..EngineOptions::default()
            };
            options.limits(DeviceKind::Gpu, &properties).memory
        };
        assert_eq!([1, 2].map(|n| memory(n, None)), [14 * GIB, 7 * GIB]);
        assert_eq!([1, 2].map(|n| memory(n, Some(4 * GIB))), [4 * GIB, 2 * GIB]);
    }
}
