//! Attention of one head over all cells of a frame.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;
use vae2x_core::arch;
use vae2x_core::weights::Weights;

use super::{PointConv, RmsNorm, from_frames, to_frames};
use crate::layers::attend;

/// `x + proj(attention(to_qkv(norm(x))))`.
#[derive(Module, Debug)]
pub struct Attention {
    /// Before the attention.
    pub norm: RmsNorm,
    /// Queries, keys, values.
    pub to_qkv: PointConv,
    /// After the attention.
    pub proj: PointConv,
}

impl Attention {
    /// Builds the block that `spec` names.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(spec: &arch::Attention, weights: &dyn Weights, device: &Device) -> Result<Self> {
        Ok(Self {
            norm: RmsNorm::load(&spec.norm, weights, device)?,
            to_qkv: PointConv::load(&spec.to_qkv, weights, device)?,
            proj: PointConv::load(&spec.proj, weights, device)?,
        })
    }

    /// Scores are computed for at most `queries >= 1` cells at a time, which bounds memory and changes nothing else.
    ///
    /// # Shapes
    /// `[B, C, T, H, W]` -> the same
    pub fn forward(&self, x: Tensor<5>, queries: usize) -> Tensor<5> {
        let t = x.dims()[2];
        let frames = to_frames(x.clone());
        let [n, c, h, w] = frames.dims();
        let cells = h * w;
        // [N, 3C, H, W] -> three of [N, 1 head, H W, C]
        let qkv = self
            .to_qkv
            .forward(self.norm.forward(frames))
            .reshape([n, 3, c, cells])
            .swap_dims(2, 3);
        let part = |i: usize| qkv.clone().narrow(1, i, 1);
        let (q, k, v) = (part(0), part(1), part(2));
        let some = |start: usize| {
            let q = q.clone().narrow(2, start, queries.min(cells - start));
            attend(q, k.clone(), v.clone())
        };
        let y = match queries {
            all if all >= cells => attend(q, k, v),
            few => Tensor::cat((0..cells).step_by(few).map(some).collect(), 2),
        };
        let y = y.swap_dims(2, 3).reshape([n, c, h, w]);
        x + from_frames(self.proj.forward(y), t)
    }
}
