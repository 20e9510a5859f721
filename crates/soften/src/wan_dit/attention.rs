//! Attention over tokens, with RMS-normed queries and keys, on a part of the queries at a time.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;

use super::config::DitConfig;
use super::rotary::Rotary;
use vae2x_nn::layers::{Linear, RmsNorm, TensorSource, attend};

/// Scores that exist at a time, over batch and heads: 64 MiB of 32-bit floats.
const SCORES: usize = 1 << 24;

/// Queries from one sequence, keys and values from the same or another one.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries.
    pub q: Linear,
    /// Keys.
    pub k: Linear,
    /// Values.
    pub v: Linear,
    /// After the attention.
    pub o: Linear,
    /// Norm of queries, over all heads together.
    pub norm_q: RmsNorm,
    /// Norm of keys.
    pub norm_k: RmsNorm,
    /// Heads.
    pub heads: usize,
}

impl Attention {
    /// Reads the tensors under `name`.
    ///
    /// # Errors
    /// Errors of `source`.
    pub fn load(
        name: &str,
        config: &DitConfig,
        source: &TensorSource<'_>,
        device: &Device,
    ) -> Result<Self> {
        let dim = config.dim;
        let linear =
            |part: &str| Linear::load(&format!("{name}.{part}"), [dim, dim], source, device);
        let norm = |part: &str| {
            RmsNorm::load(
                &format!("{name}.{part}"),
                dim,
                config.epsilon,
                source,
                device,
            )
        };
        Ok(Self {
            q: linear("q")?,
            k: linear("k")?,
            v: linear("v")?,
            o: linear("o")?,
            norm_q: norm("norm_q")?,
            norm_k: norm("norm_k")?,
            heads: config.heads,
        })
    }

    /// `rotary` turns queries and keys, where both are the latent's tokens.
    ///
    /// # Shapes
    /// queries from `[B, N, C]`, keys and values from `[B, M, C]` -> `[B, N, C]`
    pub fn forward(&self, x: Tensor<3>, context: Tensor<3>, rotary: Option<&Rotary>) -> Tensor<3> {
        let heads = |x: Tensor<3>| {
            let [b, n, c] = x.dims();
            x.reshape([b, n, self.heads, c / self.heads])
        };
        let turn = |x: Tensor<4>| rotary.map_or(x.clone(), |rotary| rotary.apply(x));
        let q = turn(heads(self.norm_q.forward(self.q.forward(x))));
        let k = turn(heads(self.norm_k.forward(self.k.forward(context.clone()))));
        let v = heads(self.v.forward(context));
        let [b, n, h, d] = q.dims();
        let y = by_parts(
            q.swap_dims(1, 2),
            k.swap_dims(1, 2),
            v.swap_dims(1, 2),
            SCORES,
        );
        self.o.forward(y.swap_dims(1, 2).reshape([b, n, h * d]))
    }
}

/// Attention of as many queries at a time as have `scores` scores together, one at least: of all heads if they fit, else of one head after
/// another, so that a head's keys and values are gone through few times. Every row of scores is whole, so parts change nothing but the
/// order of sums.
///
/// # Shapes
/// `[B, heads, N, d]`, twice `[B, heads, M, d]` -> `[B, heads, N, d]`
fn by_parts(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, scores: usize) -> Tensor<4> {
    let ([b, heads, n, _], m) = (q.dims(), k.dims()[2]);
    if b * heads * n * m <= scores {
        return attend(q, k, v);
    }
    let part = (scores / (b * m).max(1)).clamp(1, n);
    let head = |h: usize| {
        let [q, k, v] = [&q, &k, &v].map(|x| x.clone().narrow(1, h, 1));
        let of = |start: usize| {
            attend(
                q.clone().narrow(2, start, part.min(n - start)),
                k.clone(),
                v.clone(),
            )
        };
        Tensor::cat((0..n).step_by(part).map(of).collect(), 2)
    };
    Tensor::cat((0..heads).map(head).collect(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_nn::array::to_array;
    use vae2x_testkit::compare::assert_close;

    #[test]
    fn parts_are_the_whole() {
        let random = |name: &str, n: usize| {
            let values: Vec<f32> =
                vae2x_core::weights::formula::unit(name, 2 * 3 * n * 4).collect();
            Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([2, 3, n, 4])
        };
        let (q, k, v) = (random("q", 11), random("k", 7), random("v", 7));
        let of = |scores| to_array(by_parts(q.clone(), k.clone(), v.clone(), scores)).unwrap();
        for scores in [1, 2 * 7 * 4, 2 * 7 * 11, 2 * 3 * 7 * 11 - 1] {
            assert_close(&format!("{scores} scores"), &of(scores), &of(SCORES), 1e-6);
        }
    }
}
