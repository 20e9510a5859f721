//! Devices by the names of the command line, and what all measurements share.

use std::time::Instant;

use anyhow::bail;
use burn::tensor::Device as BurnDevice;
use vae2x::Device;
use vae2x_nn::device::Devices;

/// burn's handle of a device; `burn` is its CPU backend.
pub fn on_burn(device: Device) -> anyhow::Result<BurnDevice> {
    match device {
        Device::Burn => Ok(BurnDevice::flex()),
        Device::Gpu { api, index } => Ok(api.device(index)?.device),
        Device::Auto | Device::Cpu => bail!("'{device}' is not one of burn's devices"),
    }
}

/// Seconds of `work` and of all that it left queued on the device.
pub fn timed<T>(
    device: &BurnDevice,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, f64)> {
    let start = Instant::now();
    let value = work()?;
    sync(device)?;
    Ok((value, start.elapsed().as_secs_f64()))
}

/// Waits for all that is queued.
pub fn sync(device: &BurnDevice) -> anyhow::Result<()> {
    device.sync().map_err(|e| anyhow::anyhow!("{e}"))
}

/// What the device's allocator holds, in MB, where it tells.
pub fn reserved_mb(device: &BurnDevice) -> Option<u64> {
    Some(device.memory_pool_usage()?.bytes_reserved / 1_000_000)
}

/// Peak memory of this process in MB; `None` where the system does not report it.
pub fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024 / 1_000_000)
}
