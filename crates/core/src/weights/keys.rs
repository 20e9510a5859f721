//! Names of tensors: the original ones, which are canonical here, and those of diffusers.
//!
//! Both count the same layers. Diffusers groups the decoder's by stage and names the parts of a residual block; the
//! encoder's list keeps its numbers. Source: diffusers, `scripts/convert_wan_to_diffusers.py`
//! (<https://github.com/huggingface/diffusers/blob/v0.35.0/scripts/convert_wan_to_diffusers.py>).

use std::collections::BTreeMap;

use crate::arch;
use crate::config::VaeConfig;

/// Parts of layers: original, diffusers.
const PARTS: [(&str, &str); 5] = [
    ("residual.0.", "norm1."),
    ("residual.2.", "conv1."),
    ("residual.3.", "norm2."),
    ("residual.6.", "conv2."),
    ("shortcut.", "conv_shortcut."),
];

/// Layers that occur once per side: original, diffusers.
const LAYERS: [(&str, &str); 6] = [
    ("conv1.", "conv_in."),
    ("head.0.", "norm_out."),
    ("head.2.", "conv_out."),
    ("middle.0.", "mid_block.resnets.0."),
    ("middle.1.", "mid_block.attentions.0."),
    ("middle.2.", "mid_block.resnets.1."),
];

/// The two names of every tensor of a model.
#[derive(Clone, Debug)]
pub struct KeyMap {
    to_diffusers: BTreeMap<String, String>,
    to_canonical: BTreeMap<String, String>,
}

impl KeyMap {
    /// The names of the tensors of [`arch::tensors`].
    pub fn new(config: &VaeConfig) -> Self {
        let names = arch::tensors(config).into_iter().map(|s| s.name);
        let to_diffusers: BTreeMap<_, _> = names
            .map(|n| (n.clone(), diffusers_name(&n, config.num_res_blocks)))
            .collect();
        let to_canonical = to_diffusers
            .iter()
            .map(|(c, d)| (d.clone(), c.clone()))
            .collect();
        Self {
            to_diffusers,
            to_canonical,
        }
    }

    /// Diffusers' name of a tensor.
    pub fn diffusers(&self, canonical: &str) -> Option<&str> {
        self.to_diffusers.get(canonical).map(String::as_str)
    }

    /// The canonical name of a tensor of diffusers.
    pub fn canonical(&self, diffusers: &str) -> Option<&str> {
        self.to_canonical.get(diffusers).map(String::as_str)
    }
}

/// Diffusers' name of a canonical one, for stages of `num_res_blocks` (encoder) and one more (decoder).
fn diffusers_name(canonical: &str, num_res_blocks: usize) -> String {
    if let Some(rest) = canonical.strip_prefix("conv1.") {
        return format!("quant_conv.{rest}");
    }
    if let Some(rest) = canonical.strip_prefix("conv2.") {
        return format!("post_quant_conv.{rest}");
    }
    let (side, rest) = canonical.split_once('.').unwrap_or((canonical, ""));
    let layer =
        numbered_layer(rest, num_res_blocks).unwrap_or_else(|| replace_prefix(rest, &LAYERS));
    let parts = PARTS.iter().fold(layer, |name, (original, diffusers)| {
        name.replace(original, diffusers)
    });
    format!("{side}.{parts}")
}

/// `downsamples.I.` -> `down_blocks.I.`; `upsamples.I.` -> `up_blocks.STAGE.resnets.J.` or `.upsamplers.0.`.
fn numbered_layer(rest: &str, num_res_blocks: usize) -> Option<String> {
    if let Some(rest) = rest.strip_prefix("downsamples.") {
        return Some(format!("down_blocks.{rest}"));
    }
    let (index, rest) = rest.strip_prefix("upsamples.")?.split_once('.')?;
    let index: usize = index.parse().ok()?;
    let per_stage = num_res_blocks + 2;
    let (stage, layer) = (index / per_stage, index % per_stage);
    Some(match layer {
        _ if layer <= num_res_blocks => format!("up_blocks.{stage}.resnets.{layer}.{rest}"),
        _ => format!("up_blocks.{stage}.upsamplers.0.{rest}"),
    })
}

fn replace_prefix(name: &str, table: &[(&str, &str)]) -> String {
    let renamed = table
        .iter()
        .find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")));
    renamed.unwrap_or_else(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_diffusers() {
        let map = KeyMap::new(&VaeConfig::default());
        for (canonical, diffusers) in [
            ("conv1.weight", "quant_conv.weight"),
            ("conv2.bias", "post_quant_conv.bias"),
            ("encoder.conv1.weight", "encoder.conv_in.weight"),
            ("decoder.head.0.gamma", "decoder.norm_out.gamma"),
            (
                "decoder.middle.1.to_qkv.weight",
                "decoder.mid_block.attentions.0.to_qkv.weight",
            ),
            (
                "encoder.downsamples.3.shortcut.bias",
                "encoder.down_blocks.3.conv_shortcut.bias",
            ),
            (
                "decoder.upsamples.3.time_conv.bias",
                "decoder.up_blocks.0.upsamplers.0.time_conv.bias",
            ),
            (
                "decoder.upsamples.14.residual.6.weight",
                "decoder.up_blocks.3.resnets.2.conv2.weight",
            ),
        ] {
            assert_eq!(map.diffusers(canonical), Some(diffusers));
            assert_eq!(map.canonical(diffusers), Some(canonical));
        }
        assert_eq!(map.diffusers("decoder.conv_in.weight"), None);
    }

    #[test]
    fn no_two_tensors_share_a_name() {
        for num_res_blocks in 1..5 {
            let config = VaeConfig {
                num_res_blocks,
                ..VaeConfig::default()
            };
            let map = KeyMap::new(&config);
            assert_eq!(map.to_canonical.len(), arch::tensors(&config).len());
        }
    }
}
