//! The shape of a transformer: read from its tensors, and from `config.json` for what shapes do not determine.

use serde::Deserialize;
use vae2x_core::weights::{ModelTensors, TensorInfo};
use vae2x_core::{Error, Result};

/// Channels per head of all published sizes; shapes do not determine it.
const HEAD_DIM: usize = 128;
/// Caption length of all published sizes; diffusers' `config.json` lacks it.
const TEXT_LEN: usize = 512;
/// Captions are filled up to their length, which no file may make boundless.
const LONGEST_TEXT: usize = 1 << 16;
/// Epsilon of all published sizes.
const EPSILON: f64 = 1e-6;

/// Sizes of a transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct DitConfig {
    /// Blocks.
    pub layers: usize,
    /// Width of a token.
    pub dim: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Width inside the feed-forward layers.
    pub ffn_dim: usize,
    /// Sines and cosines of the time embedding.
    pub freq_dim: usize,
    /// Width of the caption's tokens.
    pub text_dim: usize,
    /// Tokens that captions are padded to, with zeros.
    pub text_len: usize,
    /// Latent channels in.
    pub in_channels: usize,
    /// Latent channels out.
    pub out_channels: usize,
    /// Latent frames, rows and columns of a token.
    pub patch: [usize; 3],
    /// Added to variances and mean squares.
    pub epsilon: f64,
}

/// Settings that neither shapes nor a `config.json` determine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DitOptions {
    /// Heads of each attention; if not given, as `config.json` says, else one per 128 channels.
    pub heads: Option<usize>,
}

impl DitConfig {
    /// Wan2.1's 1.3B model.
    pub fn wan_1_3b() -> Self {
        Self {
            layers: 30,
            dim: 1536,
            heads: 12,
            ffn_dim: 8960,
            freq_dim: 256,
            text_dim: 4096,
            text_len: TEXT_LEN,
            in_channels: 16,
            out_channels: 16,
            patch: [1, 2, 2],
            epsilon: EPSILON,
        }
    }

    /// Wan2.1's 14B model.
    pub fn wan_14b() -> Self {
        Self {
            layers: 40,
            dim: 5120,
            heads: 40,
            ffn_dim: 13824,
            ..Self::wan_1_3b()
        }
    }

    /// Channels per head.
    pub fn head_dim(&self) -> usize {
        self.dim / self.heads
    }

    /// Bytes that a pass over a latent of `[T, h, w]` cells takes besides the weights, all in 32-bit floats: about the most that exists at
    /// a time.
    ///
    /// That is, for each token, the tokens themselves, their norm, queries, keys, values and what turning them takes, ten times the
    /// width in all; or the tokens, their norm, and three times the width inside the feed-forward layers. To this come the scores of
    /// attention before, in and after the softmax, of as many queries at a time as have 2^24 of them.
    pub fn activation_bytes(&self, [t, h, w]: [usize; 3]) -> u64 {
        /// As many as `attention` lets exist at a time.
        const SCORES: usize = 1 << 24;
        let [pt, ph, pw] = self.patch;
        let tokens = (t / pt) * (h / ph) * (w / pw);
        let per_token = (10 * self.dim).max(2 * self.dim + 3 * self.ffn_dim);
        let scores = self
            .heads
            .saturating_mul(tokens)
            .saturating_mul(tokens)
            .min(SCORES);
        ((tokens * per_token + 3 * scores) * size_of::<f32>()) as u64
    }

    /// Values of a token's patch in the output.
    pub fn patch_values(&self) -> usize {
        self.out_channels * self.patch.iter().product::<usize>()
    }

    /// The text of Wan2.1's own `config.json`.
    pub fn to_json(&self) -> String {
        let json = serde_json::json!({
            "_class_name": "WanModel",
            "model_type": "t2v",
            "num_layers": self.layers,
            "dim": self.dim,
            "num_heads": self.heads,
            "ffn_dim": self.ffn_dim,
            "freq_dim": self.freq_dim,
            "text_dim": self.text_dim,
            "text_len": self.text_len,
            "in_dim": self.in_channels,
            "out_dim": self.out_channels,
            "eps": self.epsilon,
        });
        format!("{json:#}\n")
    }

    /// Refuses sizes that no model can have.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let check = |holds: bool, what: String| {
            if holds {
                Ok(())
            } else {
                Err(Error::Config(what))
            }
        };
        let text = [self.text_dim, self.text_len];
        let sizes = [
            self.layers,
            self.dim,
            self.heads,
            self.ffn_dim,
            self.freq_dim,
            self.in_channels,
        ];
        check(
            !sizes.contains(&0) && !text.contains(&0) && self.out_channels > 0,
            format!("a size of the transformer is 0: {self:?}"),
        )?;
        check(
            self.patch[0] == 1 && !self.patch.contains(&0),
            format!("patch {:?}; expected [1, p, q]", self.patch),
        )?;
        let (dim, heads) = (self.dim, self.heads);
        check(
            dim.is_multiple_of(heads),
            format!("{heads} heads do not divide a width of {dim}"),
        )?;
        let head = self.head_dim();
        check(
            head.is_multiple_of(2) && head >= 6,
            format!("heads of {head} channels; expected an even number from 6 on"),
        )?;
        check(
            self.text_len <= LONGEST_TEXT,
            format!(
                "text_len is {}; expected at most {LONGEST_TEXT}",
                self.text_len
            ),
        )?;
        check(
            self.freq_dim.is_multiple_of(2),
            format!("freq_dim is {}; expected an even number", self.freq_dim),
        )
    }
}

/// The part of `config.json` that is read, under Wan's names or those of diffusers.
#[derive(Default, Deserialize)]
struct Json {
    #[serde(alias = "num_attention_heads")]
    num_heads: Option<usize>,
    eps: Option<f64>,
    text_len: Option<usize>,
}

/// Names of the tensors whose shapes determine the sizes.
pub(super) struct Telling {
    pub patch: &'static str,
    pub text: &'static str,
    pub time: &'static str,
    pub head: &'static str,
    pub ffn: &'static str,
}

/// Reads the sizes of a model whose names begin with `prefix`.
///
/// # Errors
/// [`Error::Tensor`] if a telling tensor is missing or of another rank; [`Error::Config`].
pub(super) fn read(
    tensors: &ModelTensors,
    prefix: &str,
    telling: &Telling,
    options: DitOptions,
) -> Result<DitConfig> {
    let [dim, in_channels, pt, ph, pw] = shape(tensors, prefix, telling.patch)?;
    let [_, text_dim] = shape(tensors, prefix, telling.text)?;
    let [_, freq_dim] = shape(tensors, prefix, telling.time)?;
    let [values, _] = shape(tensors, prefix, telling.head)?;
    let [ffn_dim, _] = shape(tensors, prefix, telling.ffn)?;
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
    let config = DitConfig {
        layers: layers(tensors, prefix),
        heads: options.heads.or(json.num_heads).unwrap_or(dim / HEAD_DIM),
        out_channels: values / [pt, ph, pw].iter().product::<usize>().max(1),
        epsilon: json.eps.unwrap_or(EPSILON),
        text_len: json.text_len.unwrap_or(TEXT_LEN),
        patch: [pt, ph, pw],
        dim,
        ffn_dim,
        freq_dim,
        text_dim,
        in_channels,
    };
    match config.validate() {
        Err(Error::Config(problem)) => Err(Error::format(tensors.path(), problem)),
        result => result.map(|()| config),
    }
}

fn shape<const N: usize>(tensors: &ModelTensors, prefix: &str, name: &str) -> Result<[usize; N]> {
    let name = format!("{prefix}{name}");
    let error = |got: String| Error::Tensor {
        path: tensors.path().to_path_buf(),
        tensor: name.clone(),
        expected: format!("a shape of {N} axes"),
        got,
    };
    let TensorInfo { shape, .. } = tensors
        .info(&name)
        .ok_or_else(|| error("no such tensor".into()))?;
    shape
        .as_slice()
        .try_into()
        .map_err(|_| error(format!("{shape:?}")))
}

/// Blocks are counted from 0; there cannot be more than tensors.
fn layers(tensors: &ModelTensors, prefix: &str) -> usize {
    let blocks = format!("{prefix}blocks.");
    let index = |name: &str| {
        name.strip_prefix(&blocks)?
            .split('.')
            .next()?
            .parse::<usize>()
            .ok()
    };
    tensors
        .names()
        .filter_map(index)
        .max()
        .map_or(0, |last| last.saturating_add(1))
        .min(tensors.names().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_grows_with_the_tokens_and_its_scores_are_bounded() {
        let config = DitConfig::wan_1_3b();
        let [token, score] = [4 * (2 * 1536 + 3 * 8960), 4 * 3];
        // 32 x 32 tokens, all of whose scores exist at a time; then a clip of 480 x 832 pixels and 81 frames.
        assert_eq!(
            config.activation_bytes([1, 64, 64]),
            1024 * token + 12 * 1024 * 1024 * score
        );
        assert_eq!(
            config.activation_bytes([21, 60, 104]),
            32760 * token + (1 << 24) * score
        );
        // A cell is less than a patch.
        assert_eq!(config.activation_bytes([1, 1, 1]), 0);
    }
}
