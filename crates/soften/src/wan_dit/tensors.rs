//! A transformer's tensors: names of the original layout, which are canonical here, with shapes, and diffusers' names.

use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::formula;
use vae2x_core::{Array, Result};

use super::config::DitConfig;

/// Parts of names: original, diffusers. The first that occurs is replaced; the longer come first.
const BLOCK_PARTS: [(&str, &str); 13] = [
    ("self_attn.norm_", "attn1.norm_"),
    ("self_attn.q", "attn1.to_q"),
    ("self_attn.k", "attn1.to_k"),
    ("self_attn.v", "attn1.to_v"),
    ("self_attn.o", "attn1.to_out.0"),
    ("cross_attn.norm_", "attn2.norm_"),
    ("cross_attn.q", "attn2.to_q"),
    ("cross_attn.k", "attn2.to_k"),
    ("cross_attn.v", "attn2.to_v"),
    ("cross_attn.o", "attn2.to_out.0"),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    ("norm3", "norm2"),
];

/// Beginnings of names outside the blocks: original, diffusers.
const OUTER: [(&str, &str); 7] = [
    (
        "text_embedding.0",
        "condition_embedder.text_embedder.linear_1",
    ),
    (
        "text_embedding.2",
        "condition_embedder.text_embedder.linear_2",
    ),
    (
        "time_embedding.0",
        "condition_embedder.time_embedder.linear_1",
    ),
    (
        "time_embedding.2",
        "condition_embedder.time_embedder.linear_2",
    ),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("head.head", "proj_out"),
    ("head.modulation", "scale_shift_table"),
];

/// Keeps what time adds to shifts, scales and gates small at the start, so that a block begins near the identity.
const SMALL: f32 = 0.2;

/// All tensors of a model, in the order of the module's parameters.
pub fn specs(config: &DitConfig) -> Vec<TensorSpec> {
    let DitConfig {
        dim,
        text_dim,
        freq_dim,
        ..
    } = *config;
    let linear = |name: &str, outputs: usize, inputs: usize| {
        [
            spec(&format!("{name}.weight"), &[outputs, inputs]),
            spec(&format!("{name}.bias"), &[outputs]),
        ]
    };
    let [pt, ph, pw] = config.patch;
    let embeddings = [
        [
            spec(
                "patch_embedding.weight",
                &[dim, config.in_channels, pt, ph, pw],
            ),
            spec("patch_embedding.bias", &[dim]),
        ],
        linear("text_embedding.0", dim, text_dim),
        linear("text_embedding.2", dim, dim),
        linear("time_embedding.0", dim, freq_dim),
        linear("time_embedding.2", dim, dim),
        linear("time_projection.1", 6 * dim, dim),
    ];
    let head = linear("head.head", config.patch_values(), dim);
    let blocks = (0..config.layers).flat_map(|i| block(config, &format!("blocks.{i}")));
    let before = embeddings.into_iter().flatten().chain(blocks);
    before
        .chain([spec("head.modulation", &[1, 2, dim])])
        .chain(head)
        .collect()
}

fn block(config: &DitConfig, name: &str) -> Vec<TensorSpec> {
    let dim = config.dim;
    let part = |rest: &str, shape: &[usize]| spec(&format!("{name}.{rest}"), shape);
    let attention = |kind: &str| {
        let linear = ["q", "k", "v", "o"].into_iter().flat_map(move |l| {
            [
                part(&format!("{kind}.{l}.weight"), &[dim, dim]),
                part(&format!("{kind}.{l}.bias"), &[dim]),
            ]
        });
        let norms = ["norm_q", "norm_k"].map(|n| part(&format!("{kind}.{n}.weight"), &[dim]));
        linear.chain(norms).collect::<Vec<_>>()
    };
    let norm = ["weight", "bias"].map(|p| part(&format!("norm3.{p}"), &[dim]));
    let feed_forward = [
        part("ffn.0.weight", &[config.ffn_dim, dim]),
        part("ffn.0.bias", &[config.ffn_dim]),
        part("ffn.2.weight", &[dim, config.ffn_dim]),
        part("ffn.2.bias", &[dim]),
    ];
    let modulation = vec![part("modulation", &[1, 6, dim])];
    [
        modulation,
        attention("self_attn"),
        norm.to_vec(),
        attention("cross_attn"),
        feed_forward.to_vec(),
    ]
    .concat()
}

/// Start values that follow from a seed: norms are 1, and the last layer is 0, so that an untrained model predicts nothing.
///
/// # Errors
/// None for the names of [`specs`].
pub fn initial(seed: u64, name: &str, shape: &[usize]) -> Result<Array> {
    let is_norm = name.contains("norm") && name.ends_with("weight");
    let gain = if name.starts_with("time_projection") {
        SMALL
    } else {
        1.0
    };
    let values = match name {
        _ if is_norm => vec![1.0; shape.iter().product()],
        _ if name.starts_with("head.head") || name.ends_with("bias") => {
            vec![0.0; shape.iter().product()]
        }
        _ => formula::tensor(&format!("flow.{seed}.{name}"), shape, gain),
    };
    Array::new(shape, values)
}

fn spec(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        shape: shape.into(),
    }
}

/// Diffusers' name of a canonical one.
pub fn diffusers_name(canonical: &str) -> String {
    if let Some(renamed) = OUTER
        .iter()
        .find_map(|(from, to)| Some(format!("{to}{}", canonical.strip_prefix(from)?)))
    {
        return renamed;
    }
    if !canonical.starts_with("blocks.") {
        return canonical.into();
    }
    if let Some(block) = canonical.strip_suffix("modulation") {
        return format!("{block}scale_shift_table");
    }
    let part = BLOCK_PARTS
        .iter()
        .find(|(from, _)| canonical.contains(from));
    part.map_or_else(
        || canonical.into(),
        |(from, to)| canonical.replacen(from, to, 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sizes_have_their_parameters() {
        let count = |config| {
            specs(&config)
                .iter()
                .map(|s| s.shape.iter().product::<usize>())
                .sum::<usize>()
        };
        assert_eq!(count(DitConfig::wan_1_3b()), 1_418_996_800);
        assert_eq!(count(DitConfig::wan_14b()), 14_288_491_584);
    }
}
