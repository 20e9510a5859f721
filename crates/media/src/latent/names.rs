//! Names of tensors and metadata in latent files.

/// The tensor of ComfyUI's SaveLatent.
pub(super) const COMFY_TENSOR: &str = "latent_tensor";
/// An empty tensor whose presence says that [`COMFY_TENSOR`] is as the VAE made it.
pub(super) const COMFY_VERSION: &str = "latent_format_version_0";
/// The tensor's name in files of diffusers users, and in those written here.
pub(super) const LATENTS: &str = "latents";
/// The encoded frames in DiffSynth-Studio's caches.
pub(super) const INPUT_LATENTS: &str = "input_latents";
/// The metadata entry of files written here that names the space: `raw` or `normalized`.
pub(super) const SPACE_MARKER: &str = "latent_space";

/// A tensor's own name in a nested dictionary.
pub(super) fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The extents in the names of cached latents, `[H, W]` or `[F, H, W]`: `latents_24x32` of sd-scripts,
/// `latents_16x24x32_bfloat16` of musubi-tuner.
fn cache_extents(name: &str) -> Option<Vec<usize>> {
    let mut parts = last_part(name).strip_prefix("latents_")?.splitn(2, '_');
    let numbers = parts.next()?.split('x').map(|n| n.parse().ok());
    let numbers: Vec<usize> = numbers.collect::<Option<_>>()?;
    matches!(numbers.len(), 2 | 3).then_some(numbers)
}

/// Whether a tensor is named as training scripts name cached latents.
pub(super) fn is_cache_name(name: &str) -> bool {
    cache_extents(name).is_some()
}

/// The latent frames and the sides in the name of a cached latent.
pub(super) fn frames_and_sides(name: &str) -> Option<[usize; 3]> {
    cache_extents(name)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_caches_are_told_from_those_beside_them() {
        assert_eq!(
            frames_and_sides("latents_16x24x32_bfloat16"),
            Some([16, 24, 32])
        );
        assert_eq!(frames_and_sides("latents_1x24x32"), Some([1, 24, 32]));
        for name in ["latents_24x32", "0.latents_24x32_float8_e4m3fn"] {
            assert!(
                is_cache_name(name) && frames_and_sides(name).is_none(),
                "{name}"
            );
        }
        for name in [
            "latents",
            "latents_",
            "latents_24",
            "latents_flipped_24x32",
            "latents_image_3x24x32_bfloat16",
            "latents_control_0_1x24x32_bfloat16",
            "original_size_24x32",
            "latents_1x2x3x4",
        ] {
            assert!(!is_cache_name(name), "{name}");
        }
    }
}
