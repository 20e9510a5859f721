//! A layer: attention under a position bias of its own, then gated feed-forward layers.

use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use vae2x_core::Result;

use super::config::Umt5Config;
use vae2x_nn::layers::{Linear, RmsNorm, TensorSource, gelu_tanh, parameter};

/// One of the layers.
#[derive(Module, Debug)]
pub struct Layer {
    /// Before the attention.
    pub attention_norm: RmsNorm,
    /// Queries.
    pub q: Linear,
    /// Keys.
    pub k: Linear,
    /// Values.
    pub v: Linear,
    /// After the attention.
    pub o: Linear,
    /// `[buckets, heads]`: added to scores by relative position.
    pub bias: Param<Tensor<2>>,
    /// Before the feed-forward layers.
    pub ffn_norm: RmsNorm,
    /// The gate.
    pub wi_0: Linear,
    /// The gated half.
    pub wi_1: Linear,
    /// Down.
    pub wo: Linear,
    /// Farther tokens share a bucket.
    pub max_distance: usize,
}

impl Layer {
    /// Reads the tensors of layer `index`.
    ///
    /// # Errors
    /// Errors of `source`.
    pub fn load(
        index: usize,
        config: &Umt5Config,
        source: &TensorSource<'_>,
        device: &Device,
    ) -> Result<Self> {
        let Umt5Config {
            dim,
            heads,
            ffn_dim,
            buckets,
            max_distance,
            epsilon,
            ..
        } = *config;
        let inner = heads * config.head_dim;
        let name = |part: &str| format!("block.{index}.layer.{part}");
        let attention = |part: &str, shape| {
            Linear::load_plain(
                &name(&format!("0.SelfAttention.{part}")),
                shape,
                source,
                device,
            )
        };
        let ffn = |part: &str, shape| {
            Linear::load_plain(
                &name(&format!("1.DenseReluDense.{part}")),
                shape,
                source,
                device,
            )
        };
        let norm = |part: &str| RmsNorm::load(&name(part), dim, epsilon, source, device);
        let bias = name("0.SelfAttention.relative_attention_bias.weight");
        Ok(Self {
            attention_norm: norm("0.layer_norm")?,
            q: attention("q", [inner, dim])?,
            k: attention("k", [inner, dim])?,
            v: attention("v", [inner, dim])?,
            o: attention("o", [dim, inner])?,
            bias: parameter(&bias, [buckets, heads], source, device)?,
            ffn_norm: norm("1.layer_norm")?,
            wi_0: ffn("wi_0", [ffn_dim, dim])?,
            wi_1: ffn("wi_1", [ffn_dim, dim])?,
            wo: ffn("wo", [dim, ffn_dim])?,
            max_distance,
        })
    }

    /// `mask` is added to the scores of each key.
    ///
    /// # Shapes
    /// `[B, N, width]`, `[B, 1, 1, N]` -> `[B, N, width]`
    pub fn forward(&self, x: Tensor<3>, mask: Tensor<4>) -> Tensor<3> {
        let x = x.clone() + self.attention(self.attention_norm.forward(x), mask);
        let y = self.ffn_norm.forward(x.clone());
        x + self
            .wo
            .forward(gelu_tanh(self.wi_0.forward(y.clone())) * self.wi_1.forward(y))
    }

    fn attention(&self, x: Tensor<3>, mask: Tensor<4>) -> Tensor<3> {
        let [b, n, _] = x.dims();
        let heads = self.bias.dims()[1];
        let split = |linear: &Linear| {
            let y = linear.forward(x.clone());
            let inner = y.dims()[2];
            y.reshape([b, n, heads, inner / heads]).swap_dims(1, 2)
        };
        let (q, k, v) = (split(&self.q), split(&self.k), split(&self.v));
        let scores = q.matmul(k.swap_dims(2, 3)) + self.position_bias(n) + mask;
        let y = softmax(scores, 3).matmul(v).swap_dims(1, 2);
        let [_, _, _, d] = y.dims();
        self.o.forward(y.reshape([b, n, heads * d]))
    }

    /// # Shapes
    /// `[1, heads, N, N]` for `N` tokens: queries, then keys
    fn position_bias(&self, n: usize) -> Tensor<4> {
        let [buckets, heads] = self.bias.dims();
        let of =
            |i: usize| bucket((i % n) as i64 - (i / n) as i64, buckets, self.max_distance) as i32;
        let indices: Vec<i32> = (0..n * n).map(of).collect();
        let indices = Tensor::from_data(TensorData::new(indices, [n * n]), &self.bias.device());
        self.bias
            .val()
            .select(0, indices)
            .swap_dims(0, 1)
            .reshape([1, heads, n, n])
    }
}

/// The bucket of a key `distance` tokens after the query. Half of the buckets are for keys after it; of each half, the first half
/// has a distance each, the others grow with its logarithm up to `max_distance`. In `f32`, as the published code computes it.
fn bucket(distance: i64, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let side = if distance > 0 { half } else { 0 };
    let exact = half / 2;
    let distance = distance.unsigned_abs() as usize;
    if distance < exact {
        return side + distance;
    }
    let reach = (max_distance as f64 / exact as f64).ln() as f32;
    let step = (distance as f32 / exact as f32).ln() / reach * (half - exact) as f32;
    side + (exact + step as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_positions_have_a_bucket_each_and_far_ones_share_the_last() {
        let of = |d| bucket(d, 32, 128);
        assert_eq!([-3, 0, 1, 7].map(of), [3, 0, 17, 23]);
        assert_eq!(
            [-8, -11, -12, -16, -32, -64, -127, -128, -5000].map(of),
            [8, 8, 9, 10, 12, 14, 15, 15, 15]
        );
        assert_eq!([8, 16, 127, 128, 5000].map(of), [24, 26, 31, 31, 31]);
    }
}
