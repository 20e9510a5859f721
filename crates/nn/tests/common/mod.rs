//! The device under test: burn-flex, or what the environment names.

use burn::tensor::Device;
use vae2x_core::device::Api;
use vae2x_nn::device::Devices;

/// Such as `vulkan`, or `cuda:1` for the second, in a build that has it.
const VARIABLE: &str = "VAE2X_TEST_DEVICE";

/// # Panics
/// If the environment names a device that this build or machine lacks.
pub fn device() -> Device {
    let Ok(name) = std::env::var(VARIABLE) else {
        return Device::flex();
    };
    let (api, index) = name
        .split_once(':')
        .map_or((&*name, None), |(api, index)| (api, Some(index)));
    let api = Api::ALL.into_iter().find(|known| known.name() == api);
    let index = index.map(str::parse).transpose();
    let (Some(api), Ok(index)) = (api, index) else {
        panic!("{VARIABLE} is '{name}', an unknown device")
    };
    api.device(index).unwrap_or_else(|e| panic!("{e}")).device
}

/// Whether equal work gives equal bits: GPUs choose their kernels by measuring.
#[allow(dead_code)] // Not in every test program.
pub fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}
