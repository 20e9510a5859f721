//! Finds the encoder in the tensors of a file or folder: transformers' names, which are canonical here, or Wan's own.

use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::{FileNames, ModelTensors, ModelWeights};
use vae2x_core::{Array, Error, Result};

use super::config::{self, Telling, Umt5Config};

/// How a folder names the files of a text encoder.
pub const FILES: FileNames = FileNames {
    stem: "model",
    subfolder: "text_encoder",
};

/// Without transformers' `encoder.`.
const EMBEDDING: &str = "shared.weight";

const TRANSFORMERS: Telling = Telling {
    embedding: EMBEDDING,
    query: "encoder.block.0.layer.0.SelfAttention.q.weight",
    bias: "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    ffn: "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
    layers: "encoder.block.",
};

const WAN: Telling = Telling {
    embedding: "token_embedding.weight",
    query: "blocks.0.attn.q.weight",
    bias: "blocks.0.pos_embedding.embedding.weight",
    ffn: "blocks.0.ffn.gate.0.weight",
    layers: "blocks.",
};

/// Parts of a layer: canonical, Wan's.
const PARTS: [(&str, &str); 10] = [
    (
        "layer.0.SelfAttention.relative_attention_bias",
        "pos_embedding.embedding",
    ),
    ("layer.0.SelfAttention.q", "attn.q"),
    ("layer.0.SelfAttention.k", "attn.k"),
    ("layer.0.SelfAttention.v", "attn.v"),
    ("layer.0.SelfAttention.o", "attn.o"),
    ("layer.0.layer_norm", "norm1"),
    ("layer.1.DenseReluDense.wi_0", "ffn.gate.0"),
    ("layer.1.DenseReluDense.wi_1", "ffn.fc1"),
    ("layer.1.DenseReluDense.wo", "ffn.fc2"),
    ("layer.1.layer_norm", "norm2"),
];

/// An encoder's weights and sizes.
#[derive(Debug)]
pub struct Umt5Weights {
    config: Umt5Config,
    weights: ModelWeights,
}

impl Umt5Weights {
    /// Finds the encoder in what was opened. A copy of the embedding under its second name, and the tokenizer that ComfyUI's
    /// files carry, may be there.
    ///
    /// # Errors
    /// [`Error::NotThisModel`] for other models; [`Error::TensorSet`] for missing or unknown tensors; [`Error::Tensor`],
    /// [`Error::Config`].
    pub fn find(tensors: ModelTensors) -> Result<Self> {
        let telling = [&TRANSFORMERS, &WAN]
            .into_iter()
            .find(|t| tensors.info(t.query).is_some());
        let Some(telling) = telling else {
            return Err(unknown(&tensors, "not a UMT5 encoder"));
        };
        if tensors.names().any(|name| name.starts_with("decoder.")) {
            return Err(unknown(
                &tensors,
                "a decoder besides the encoder: a whole model; expected the encoder alone",
            ));
        }
        let in_second = |name: &str| tensors.info(&name.replacen('0', "1", 1)).is_some();
        if in_second(telling.query) && !in_second(telling.bias) {
            return Err(unknown(
                &tensors,
                "position biases in the first layer only: T5 or mT5, not UMT5",
            ));
        }
        let config = config::read(&tensors, telling)?;
        let wanted = specs(&config).into_iter().map(|spec| {
            let name = if telling.embedding == EMBEDDING {
                file_name(&spec.name)
            } else {
                wan_name(&spec.name)
            };
            (spec, name)
        });
        let is_foreign =
            |name: &str| matches!(name, "encoder.embed_tokens.weight" | "spiece_model");
        Ok(Self {
            weights: tensors.assign(wanted, is_foreign)?,
            config,
        })
    }

    /// The model's sizes.
    pub fn config(&self) -> &Umt5Config {
        &self.config
    }

    /// A tensor by its canonical name.
    ///
    /// # Errors
    /// As [`ModelWeights::tensor`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Array> {
        self.weights.tensor(name, shape)
    }

    /// The embeddings of some tokens `[tokens, width]`.
    ///
    /// # Errors
    /// As [`ModelWeights::rows`].
    pub fn embeddings(&self, tokens: &[usize]) -> Result<Array> {
        self.weights.rows(EMBEDDING, tokens)
    }
}

/// All tensors, named as transformers does, without its `encoder.`.
fn specs(config: &Umt5Config) -> Vec<TensorSpec> {
    let Umt5Config {
        dim,
        heads,
        ffn_dim,
        ..
    } = *config;
    let inner = heads * config.head_dim;
    let spec = |name: String, shape: &[usize]| TensorSpec {
        name: format!("{name}.weight"),
        shape: shape.into(),
    };
    let shape = |part: &str| match part.rsplit('.').next() {
        Some("relative_attention_bias") => vec![config.buckets, heads],
        Some("q" | "k" | "v") => vec![inner, dim],
        Some("o") => vec![dim, inner],
        Some("wi_0" | "wi_1") => vec![ffn_dim, dim],
        Some("wo") => vec![dim, ffn_dim],
        _ => vec![dim],
    };
    let layer = |i: usize| PARTS.map(|(part, _)| spec(format!("block.{i}.{part}"), &shape(part)));
    let outer = [
        spec("shared".into(), &[config.vocabulary, dim]),
        spec("final_layer_norm".into(), &[dim]),
    ];
    (0..config.layers).flat_map(layer).chain(outer).collect()
}

fn file_name(canonical: &str) -> String {
    if canonical == EMBEDDING {
        canonical.into()
    } else {
        format!("encoder.{canonical}")
    }
}

fn wan_name(canonical: &str) -> String {
    match canonical {
        EMBEDDING => WAN.embedding.into(),
        "final_layer_norm.weight" => "norm.weight".into(),
        layer => {
            let renamed = PARTS.iter().fold(layer.to_string(), |name, (ours, wans)| {
                name.replace(ours, wans)
            });
            renamed.replacen("block.", "blocks.", 1)
        }
    }
}

fn unknown(tensors: &ModelTensors, what: &str) -> Error {
    let first = tensors.names().next().unwrap_or_default();
    Error::NotThisModel {
        path: tensors.path().to_path_buf(),
        found: format!("{what} (the first tensor is '{first}')"),
    }
}
