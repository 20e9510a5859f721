//! Which devices were checked before, so that [`Device::Auto`](super::Device::Auto) checks each once.
//!
//! A small file of the user's cache, `vae2x/devices.json`, holds what a check found under a key that changes with whatever could
//! change the result: this version, the interface, the device, the system's kernel, NVIDIA's driver. Other drivers do not tell their
//! version, so what is known is forgotten after a month. A file that cannot be read or written is as good as none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use vae2x_nn::device::DeviceEntry;

/// After this much time a device is checked anew.
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// More than a machine's devices; a larger file is not ours.
const LARGEST: u64 = 1 << 20;

/// What was found and when.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    decibels: f64,
    /// Seconds since 1970.
    at: u64,
}

type File = BTreeMap<String, Found>;

/// Decibels of a check that still holds.
pub(super) fn recall(entry: &DeviceEntry) -> Option<f64> {
    let found = read()?.remove(&key(entry))?;
    let age = now().checked_sub(found.at)?;
    (age < MONTH.as_secs()).then_some(found.decibels)
}

/// Remembers a check.
pub(super) fn remember(entry: &DeviceEntry, decibels: f64) {
    // JSON has neither infinity nor NaN.
    let decibels = match decibels.is_nan() {
        true => 0.0,
        false => decibels.clamp(0.0, 1000.0),
    };
    let mut file = read().unwrap_or_default();
    let found = Found {
        decibels,
        at: now(),
    };
    file.insert(key(entry), found);
    let (Some(path), Ok(text)) = (path(), serde_json::to_string_pretty(&file)) else {
        return;
    };
    let folder = path.parent().unwrap_or(&path);
    // Without it the next run checks again.
    let _ = std::fs::create_dir_all(folder)
        .map_err(|e| vae2x_core::Error::io(folder, e))
        .and_then(|()| vae2x_core::temp::write_bytes(&path, text.as_bytes()));
}

fn read() -> Option<File> {
    let bytes = vae2x_core::files::read(&path()?, LARGEST).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn path() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else {
        let home = || Some(folder("HOME")?.join(".cache"));
        folder("XDG_CACHE_HOME").or_else(home)
    };
    Some(cache?.join("vae2x").join("devices.json"))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn key(entry: &DeviceEntry) -> String {
    let properties = entry.properties().unwrap_or_default();
    let device = properties.name.unwrap_or_default();
    let nvidia = std::fs::read_to_string("/sys/module/nvidia/version").unwrap_or_default();
    let kernel = sysinfo::System::kernel_version().unwrap_or_default();
    format!(
        "vae2x {} {} {device} kernel {kernel} nvidia {}",
        env!("CARGO_PKG_VERSION"),
        entry.name(),
        nvidia.trim()
    )
}
