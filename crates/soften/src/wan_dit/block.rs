//! A block: self-attention, cross-attention, feed-forward, each added to the tokens; time shifts, scales and gates the outer two.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;

use super::attention::Attention;
use super::config::DitConfig;
use super::rotary::Rotary;
use vae2x_nn::layers::{Linear, TensorSource, gelu_tanh, layer_norm, parameter};

/// One of the blocks.
#[derive(Module, Debug)]
pub struct Block {
    /// `[1, 6, C]`, added to the time: shift, scale, gate of the self-attention, then of the feed-forward layers.
    pub modulation: Param<Tensor<3>>,
    /// Attention of tokens to tokens.
    pub self_attn: Attention,
    /// Weight and bias of the norm before the cross-attention.
    pub norm3: [Param<Tensor<1>>; 2],
    /// Attention of tokens to the caption.
    pub cross_attn: Attention,
    /// Up.
    pub ffn_0: Linear,
    /// Down.
    pub ffn_2: Linear,
    /// Epsilon of layer norms.
    pub epsilon: f64,
}

impl Block {
    /// Reads the tensors of block `index`.
    ///
    /// # Errors
    /// Errors of `source`.
    pub fn load(
        index: usize,
        config: &DitConfig,
        source: &TensorSource<'_>,
        device: &Device,
    ) -> Result<Self> {
        let DitConfig { dim, ffn_dim, .. } = *config;
        let name = |part: &str| format!("blocks.{index}.{part}");
        let norm = |part: &str| parameter(&name(part), [dim], source, device);
        Ok(Self {
            modulation: parameter(&name("modulation"), [1, 6, dim], source, device)?,
            self_attn: Attention::load(&name("self_attn"), config, source, device)?,
            norm3: [norm("norm3.weight")?, norm("norm3.bias")?],
            cross_attn: Attention::load(&name("cross_attn"), config, source, device)?,
            ffn_0: Linear::load(&name("ffn.0"), [ffn_dim, dim], source, device)?,
            ffn_2: Linear::load(&name("ffn.2"), [dim, ffn_dim], source, device)?,
            epsilon: config.epsilon,
        })
    }

    /// # Shapes
    /// tokens `[B, N, C]`, time `[B, 6, C]`, caption `[B, M, C]` -> tokens
    pub fn forward(
        &self,
        x: Tensor<3>,
        time: Tensor<3>,
        caption: Tensor<3>,
        rotary: &Rotary,
    ) -> Tensor<3> {
        let time = time + self.modulation.val();
        let part = |i: usize| time.clone().narrow(1, i, 1);
        let norm = |x: &Tensor<3>| layer_norm(x.clone(), self.epsilon);

        let y = norm(&x) * (part(1) + 1.0) + part(0);
        let x = x + self.self_attn.forward(y.clone(), y, Some(rotary)) * part(2);
        let [weight, bias] = self.norm3.each_ref().map(|p| p.val().unsqueeze::<3>());
        let x = x.clone()
            + self
                .cross_attn
                .forward(norm(&x) * weight + bias, caption, None);
        let y = norm(&x) * (part(4) + 1.0) + part(3);
        x + self.ffn_2.forward(gelu_tanh(self.ffn_0.forward(y))) * part(5)
    }
}
