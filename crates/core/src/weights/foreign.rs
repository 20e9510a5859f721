//! Names other models that people mistake for this VAE, by their tensors' names.

/// The model in a file, if it is a known one that is not this VAE. Names may carry a prefix.
pub(crate) fn recognise<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|(parts, _)| {
            parts
                .iter()
                .any(|part| names.clone().any(|n| contains(n, part)))
        })
        .map(|k| k.1)
}

/// Ends the sentence that names a VAE of other latents.
macro_rules! other_latents {
    ($model:literal) => {
        concat!(
            $model,
            "; this program is for the 16-channel VAE of Wan2.1, Wan2.2 14B, Qwen-Image, Krea 2 and Anima"
        )
    };
}

/// Latent channels of Wan2.2-5B's VAE.
pub(crate) const WAN22_5B_CHANNELS: usize = 48;
/// Wan2.2-5B's VAE, which shares names with Wan2.1's.
pub(crate) const WAN22_5B: &str = other_latents!("the VAE of Wan2.2 5B (48 latent channels)");
/// Latent channels of Qwen-Image 2.1's VAE.
pub(crate) const QWEN_IMAGE_21_CHANNELS: usize = 64;
/// Qwen-Image 2.1's VAE, which shares names with Wan2.2-5B's.
pub(crate) const QWEN_IMAGE_21: &str =
    other_latents!("the VAE of Qwen-Image 2.1 (64 latent channels)");

/// The VAE with names like these that has so many latent channels, if it is not this one.
pub(crate) fn by_channels(latent: usize) -> Option<&'static str> {
    match latent {
        WAN22_5B_CHANNELS => Some(WAN22_5B),
        QWEN_IMAGE_21_CHANNELS => Some(QWEN_IMAGE_21),
        _ => None,
    }
}

/// What a file of ComfyUI's SaveLatent holds.
pub(crate) const LATENT: &str = "a latent, not a model";

/// The model without what is said about it.
pub(crate) fn noun(model: &'static str) -> &'static str {
    let said = [", not ", ", which ", "; "].iter();
    let end = said.filter_map(|part| model.find(part)).min();
    end.map_or(model, |end| &model[..end])
}

/// Parts of names, starting at the beginning or after a dot, and the model that has them; the first match counts.
const KNOWN: [(&[&str], &str); 9] = [
    (&["latent_tensor"], LATENT),
    (
        &["lora_A.", "lora_down.", "lora_unet_", "lora_te_"],
        "a LoRA, not a VAE",
    ),
    (
        &[
            "decoder.upsamples.0.upsamples.",
            "decoder.up_blocks.0.upsampler.",
            "encoder.downsamples.0.downsamples.",
        ],
        WAN22_5B,
    ),
    (
        &[
            "decoder.up_blocks.0.res_blocks.0.conv1.conv.",
            "decoder.conv_in_x_t.",
            "decoder.up_blocks.0.resnets.0.conv1.conv.",
        ],
        "a video VAE of the LTX, HunyuanVideo or CogVideoX kind, which has different latents",
    ),
    (
        &["bn.running_mean"],
        "the VAE of Flux.2, which has different latents",
    ),
    (
        &[
            "decoder.up.0.block.",
            "decoder.mid.block_1.",
            "decoder.conv_norm_out.",
            "decoder.up_blocks.0.resnets.0.norm1.weight",
        ],
        "an image VAE of the Stable Diffusion or Flux kind, which has different latents",
    ),
    (
        &[
            "blocks.0.self_attn.",
            "transformer_blocks.0.",
            "blocks.0.attn1.",
            "double_blocks.0.",
            "patch_embedding.weight",
        ],
        "a diffusion transformer, not a VAE",
    ),
    (
        &[
            "encoder.block.0.layer.0.",
            "blocks.0.attn.q.weight",
            "model.layers.0.",
            "text_model.",
        ],
        "a text encoder, not a VAE",
    ),
    (
        &[
            "decoder.1.weight",
            "decoder.layers.1.weight",
            "decoder.0.conv.0.weight",
            "taesd",
        ],
        "a tiny autoencoder (TAE, taehv, LightTAE), not the full VAE",
    ),
];

fn contains(name: &str, part: &str) -> bool {
    name.match_indices(part)
        .any(|(at, _)| at == 0 || name.as_bytes()[at - 1] == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{VaeConfig, arch};

    #[test]
    fn known_models_are_named_and_ours_is_not() {
        let said = |name: &'static str| recognise([name].into_iter()).unwrap_or_default();
        assert!(said("decoder.upsamples.0.upsamples.1.residual.0.gamma").contains("Wan2.2 5B"));
        assert!(
            said("first_stage_model.decoder.up.0.block.0.conv1.weight")
                .contains("Stable Diffusion")
        );
        assert!(said("model.diffusion_model.blocks.0.self_attn.q.weight").contains("transformer"));
        assert!(said("decoder.1.weight").contains("tiny"));
        assert!(said("vae.decoder.up_blocks.0.resnets.0.conv1.conv.weight").contains("Hunyuan"));
        assert!(said("bn.running_mean").contains("Flux.2"));
        assert_eq!(
            said("blocks.0.self_attn.q.lora_A.weight"),
            "a LoRA, not a VAE"
        );
        assert_eq!(noun(WAN22_5B), "the VAE of Wan2.2 5B (48 latent channels)");
        assert_eq!(noun(said("bn.running_mean")), "the VAE of Flux.2");
        let specs = arch::tensors(&VaeConfig::default());
        assert_eq!(recognise(specs.iter().map(|s| s.name.as_str())), None);
        let map = super::super::keys::KeyMap::new(&VaeConfig::default());
        assert_eq!(
            recognise(specs.iter().filter_map(|s| map.diffusers(&s.name))),
            None
        );
    }
}
