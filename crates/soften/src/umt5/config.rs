//! The shape of an encoder.

use serde::Deserialize;
use vae2x_core::weights::ModelTensors;
use vae2x_core::{Error, Result};

/// Sizes of an encoder. All but the farthest distance follow from tensors' shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Umt5Config {
    /// Layers.
    pub layers: usize,
    /// Width of a token.
    pub dim: usize,
    /// Heads.
    pub heads: usize,
    /// Channels per head; all heads together need not be as wide as a token.
    pub head_dim: usize,
    /// Width inside the feed-forward layers.
    pub ffn_dim: usize,
    /// Tokens that have an embedding.
    pub vocabulary: usize,
    /// Buckets of relative positions, both directions together.
    pub buckets: usize,
    /// Tokens farther apart share a bucket.
    pub max_distance: usize,
    /// Added to mean squares.
    pub epsilon: f64,
}

impl Default for Umt5Config {
    /// UMT5-XXL, which Wan2.1 uses.
    fn default() -> Self {
        Self {
            layers: 24,
            dim: 4096,
            heads: 64,
            head_dim: 64,
            ffn_dim: 10240,
            vocabulary: 256_384,
            buckets: 32,
            max_distance: 128,
            epsilon: 1e-6,
        }
    }
}

/// The part of transformers' `config.json` that shapes do not determine.
#[derive(Default, Deserialize)]
struct Json {
    relative_attention_max_distance: Option<usize>,
    layer_norm_epsilon: Option<f64>,
    feed_forward_proj: Option<String>,
}

/// Names of the tensors whose shapes determine the sizes.
pub(super) struct Telling {
    pub embedding: &'static str,
    pub query: &'static str,
    pub bias: &'static str,
    pub ffn: &'static str,
    /// Prefix of a layer's index.
    pub layers: &'static str,
}

pub(super) fn read(tensors: &ModelTensors, telling: &Telling) -> Result<Umt5Config> {
    let shape = |name: &str| -> Result<[usize; 2]> {
        let error = |got: String| Error::Tensor {
            path: tensors.path().to_path_buf(),
            tensor: name.into(),
            expected: "a shape of 2 axes".into(),
            got,
        };
        let info = tensors
            .info(name)
            .ok_or_else(|| error("no such tensor".into()))?;
        info.shape
            .as_slice()
            .try_into()
            .map_err(|_| error(format!("{:?}", info.shape)))
    };
    let [vocabulary, dim] = shape(telling.embedding)?;
    let [inner, _] = shape(telling.query)?;
    let [buckets, heads] = shape(telling.bias)?;
    let [ffn_dim, _] = shape(telling.ffn)?;
    let json: Json = match tensors.config_json().map(serde_json::from_str) {
        Some(Ok(json)) => json,
        Some(Err(e)) => {
            return Err(Error::format(
                tensors.path(),
                format!("its config.json: {e}"),
            ));
        }
        None => Json::default(),
    };
    if json
        .feed_forward_proj
        .as_deref()
        .is_some_and(|kind| kind != "gated-gelu")
    {
        return Err(Error::NotThisModel {
            path: tensors.path().to_path_buf(),
            found: "an encoder whose feed-forward layers are not gated-gelu".into(),
        });
    }
    let index = |name: &str| {
        name.strip_prefix(telling.layers)?
            .split('.')
            .next()?
            .parse::<usize>()
            .ok()
    };
    let usual = Umt5Config::default();
    let config = Umt5Config {
        layers: tensors
            .names()
            .filter_map(index)
            .max()
            .map_or(0, |last| last.saturating_add(1))
            .min(tensors.names().count()),
        head_dim: inner.checked_div(heads).unwrap_or(0),
        max_distance: json
            .relative_attention_max_distance
            .unwrap_or(usual.max_distance),
        epsilon: json.layer_norm_epsilon.unwrap_or(usual.epsilon),
        dim,
        heads,
        ffn_dim,
        vocabulary,
        buckets,
    };
    let sizes = [
        config.layers,
        dim,
        heads,
        config.head_dim,
        ffn_dim,
        vocabulary,
    ];
    let fits = !sizes.contains(&0)
        && buckets >= 4
        && buckets.is_multiple_of(2)
        && config.max_distance > buckets / 4;
    match fits && config.head_dim * heads == inner {
        true => Ok(config),
        false => Err(Error::format(
            tensors.path(),
            format!("impossible sizes of an encoder: {config:?}"),
        )),
    }
}
