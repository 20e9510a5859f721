//! `vae2x_core::latent`'s formula on tensors: raw latents to normalized ones and back, per channel.

use burn::tensor::{Device, Tensor};
use vae2x_core::VaeConfig;

/// `(raw - mean) / std`
///
/// # Shapes
/// `[B, z, h, w]` -> the same
pub fn normalize(raw: Tensor<4>, config: &VaeConfig) -> Tensor<4> {
    let device = raw.device();
    (raw - channels(&config.latents_mean, &device)) / channels(&config.latents_std, &device)
}

/// `normalized * std + mean`
///
/// # Shapes
/// `[B, z, h, w]` -> the same
pub fn denormalize(normalized: Tensor<4>, config: &VaeConfig) -> Tensor<4> {
    let device = normalized.device();
    normalized * channels(&config.latents_std, &device) + channels(&config.latents_mean, &device)
}

fn channels(values: &[f32], device: &Device) -> Tensor<4> {
    Tensor::<1>::from_floats(values, device).reshape([1, values.len(), 1, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::latent::Raw;

    use crate::array::{to_array, to_tensor};

    #[test]
    fn the_formula_is_cores() {
        let config = VaeConfig::default();
        let raw = vae2x_core::weights::formula::unit("latent", 16 * 6).collect();
        let raw = vae2x_core::Array::new([1, 16, 1, 2, 3], raw).unwrap();
        let want = Raw::new(raw.clone())
            .unwrap()
            .normalize(&config)
            .unwrap()
            .array()
            .clone();
        let tensor = to_tensor::<5>(&raw, "latent", &Device::flex())
            .unwrap()
            .squeeze_dim::<4>(2);
        let normalized = normalize(tensor.clone(), &config);
        assert_eq!(to_array(normalized.clone()).unwrap().data(), want.data());
        let back = (denormalize(normalized, &config) - tensor)
            .abs()
            .max()
            .into_scalar::<f32>();
        assert!(back < 1e-6);
    }
}
