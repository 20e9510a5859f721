//! Between `core`'s arrays and burn's tensors.

use burn::tensor::{Device, Tensor, TensorData};
use vae2x_core::{Array, Result};

use crate::device::device_error;

/// Copies an array to a device.
///
/// # Errors
/// [`vae2x_core::Error::Shape`] naming `what` unless the array has `D` axes.
pub fn to_tensor<const D: usize>(array: &Array, what: &str, device: &Device) -> Result<Tensor<D>> {
    let dims: [usize; D] = array.dims(what)?;
    Ok(Tensor::from_data(
        TensorData::new(array.data().to_vec(), dims),
        device,
    ))
}

/// Copies a tensor back from its device.
///
/// # Errors
/// [`vae2x_core::Error::OutOfMemory`] or [`vae2x_core::Error::Device`] with the device's words if it failed.
pub fn to_array<const D: usize>(tensor: Tensor<D>) -> Result<Array> {
    let dims = tensor.dims();
    let data = tensor
        .try_into_vec_as::<f32>()
        .map_err(|e| device_error(&e.to_string()))?;
    Array::new(dims, data)
}
