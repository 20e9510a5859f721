//! Names other models that people take for the transformer: by their tensors' names, or by a shape where names do not tell.

use vae2x_core::weights::ModelTensors;

use super::config::DitConfig;

/// Parts of names, and the model that has them; the first match counts. A part that does not begin with a dot stands at the beginning of
/// a name, or after a dot.
const OTHERS: [(&[&str], &str); 14] = [
    (
        &["vace_blocks.", "vace_patch_embedding."],
        "Wan's VACE model, which takes conditions; expected the text-to-video one",
    ),
    (
        &["img_emb.", "image_embedder.", ".k_img."],
        "Wan's image-to-video transformer, which has tokens of an image; expected the text-to-video one",
    ),
    (
        &[
            "txt_in.individual_token_refiner.",
            "context_embedder.token_refiner.",
        ],
        "HunyuanVideo's transformer",
    ),
    (
        &["double_blocks.", "single_transformer_blocks."],
        "a transformer of Flux's kind",
    ),
    (
        &[
            "joint_blocks.",
            "joint_transformer_blocks.",
            "pos_embed.proj.",
        ],
        "Stable Diffusion 3's transformer",
    ),
    (
        &["transformer_blocks.0.img_mod.", "txt_norm."],
        "Qwen-Image's transformer, which shares Wan's latents but is not Wan's model; expected Wan2.1's text-to-video one",
    ),
    (&["patchify_proj."], "LTX-Video's transformer"),
    (
        &["caption_projection.", "adaln_single."],
        "a transformer of PixArt's kind",
    ),
    (
        &["cap_embedder.", "noise_refiner."],
        "a transformer of Lumina's kind, such as Z-Image's",
    ),
    (
        &["transformer_blocks."],
        "a transformer of another model or layout",
    ),
    (
        &[
            "input_blocks.",
            "down_blocks.0.attentions.",
            "down_blocks.1.attentions.",
        ],
        "a U-Net of Stable Diffusion's kind",
    ),
    (
        &["encoder.block.", "shared.weight", "token_embedding.weight"],
        "a text encoder",
    ),
    (
        &["text_model.", "model.layers."],
        "a language model or text encoder",
    ),
    (&["decoder."], "an autoencoder"),
];

/// Prefixes of the other parts of all-in-one files: autoencoder and text encoder.
const BESIDE: [&str; 4] = [
    "first_stage_model.",
    "cond_stage_model.",
    "text_encoders.",
    "vae.",
];

/// Cross-attention's keys in a U-Net: their width is that of the text encoder.
const UNET_KEYS: [&str; 4] = [
    "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
];

/// Widths of text encoders, and the U-Net that reads them.
const UNETS: [(usize, &str); 3] = [
    (
        768,
        "Stable Diffusion 1's U-Net, which has different latents",
    ),
    (
        1024,
        "Stable Diffusion 2's U-Net, which has different latents",
    ),
    (
        2048,
        "Stable Diffusion XL's U-Net, which has different latents",
    ),
];

/// The name of the model in a file, if that is a known other one.
pub(super) fn by_names(tensors: &ModelTensors) -> Option<&'static str> {
    unet(tensors).or_else(|| {
        let of_model = |name: &&str| !BESIDE.iter().any(|part| name.starts_with(part));
        let has = |part: &&str| {
            tensors
                .names()
                .filter(of_model)
                .any(|name| holds(name, part))
        };
        OTHERS
            .iter()
            .find(|(parts, _)| parts.iter().any(has))
            .map(|(_, model)| *model)
    })
}

fn unet(tensors: &ModelTensors) -> Option<&'static str> {
    let key = tensors
        .names()
        .find(|name| UNET_KEYS.iter().any(|key| name.ends_with(key)))?;
    let width = *tensors.info(key)?.shape.get(1)?;
    UNETS
        .iter()
        .find(|(of, _)| *of == width)
        .map(|(_, model)| *model)
}

fn holds(name: &str, part: &str) -> bool {
    name.match_indices(part)
        .any(|(at, _)| at == 0 || part.starts_with('.') || name.as_bytes()[at - 1] == b'.')
}

/// The kind of a transformer with Wan's names that is not the text-to-video one, by its latent channels.
pub(super) fn by_channels(config: &DitConfig) -> Option<String> {
    let what = match (config.in_channels, config.out_channels) {
        (48, 48) => "Wan2.2's 5B model, whose latents have 48 channels and are of another VAE",
        (36, 16) => {
            "Wan's image-to-video transformer (36 channels in: the latent, an image and its mask)"
        }
        (48, 16) => {
            "one of Wan's control models (48 channels in: the latent, a control and an image)"
        }
        (ins, outs) if ins != outs => "a transformer that takes conditions besides the latent",
        _ => return None,
    };
    let (ins, outs) = (config.in_channels, config.out_channels);
    Some(format!(
        "{what}; {ins} channels in and {outs} out; expected the text-to-video model, with 16 and 16"
    ))
}
