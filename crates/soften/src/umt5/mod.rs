//! The encoder of UMT5, which reads Wan2.1's captions: 24 layers of width 4096 in the published XXL size, or any size.
//!
//! Pre-norm layers of attention without scaling, under a bias per head and relative position that every layer has for itself, and
//! gated feed-forward layers. A layer's weights are read when it runs and dropped behind it, and of the embedding only the rows
//! of the caption's tokens are read: a model of 11 GB runs in the memory of two layers.
//!
//! Sources: Xue et al., "mT5", 2021; Chung et al., "UniMax", 2023; transformers, `models/umt5/modeling_umt5.py`.

pub mod config;
mod layer;
pub mod weights;

pub use config::Umt5Config;
pub use layer::Layer;
pub use weights::Umt5Weights;

use burn::tensor::{Device, Tensor, TensorData};
use vae2x_core::{Error, Result};

use vae2x_nn::array::to_tensor;
use vae2x_nn::layers::RmsNorm;

/// The encoder over weights that stay in their files.
#[derive(Debug)]
pub struct Umt5 {
    weights: Umt5Weights,
    device: Device,
}

impl Umt5 {
    /// Takes weights; nothing is read yet.
    pub fn new(weights: Umt5Weights, device: Device) -> Self {
        Self { weights, device }
    }

    /// The model's sizes.
    pub fn config(&self) -> &Umt5Config {
        self.weights.config()
    }

    /// Embeds captions: token numbers, and for each whether it counts. `progress` is called with the number of layers done.
    ///
    /// # Shapes
    /// `B` captions of `N` tokens -> `[B, N, width]`, zero where a token does not count
    ///
    /// # Errors
    /// [`Error::Shape`] for captions of different lengths, or a caption without a token that counts; what reading weights returns.
    pub fn encode(
        &self,
        captions: &[Vec<u32>],
        counts: &[Vec<bool>],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Tensor<3>> {
        let tokens = check(captions, counts)?;
        let config = self.config();
        let (b, width) = (captions.len(), config.dim);
        let source = |name: &str, shape: &[usize]| self.weights.tensor(name, shape);
        let rows: Vec<usize> = captions
            .iter()
            .flatten()
            .map(|&token| token as usize)
            .collect();
        let embedded =
            to_tensor::<2>(&self.weights.embeddings(&rows)?, "embeddings", &self.device)?;
        let mut x = embedded.reshape([b, tokens, width]);
        let (mask, kept) = self.masks(counts, tokens);
        for index in 0..config.layers {
            x = Layer::load(index, config, &source, &self.device)?.forward(x, mask.clone());
            progress(index + 1);
        }
        let norm = RmsNorm::load(
            "final_layer_norm",
            width,
            config.epsilon,
            &source,
            &self.device,
        )?;
        Ok(norm.forward(x) * kept)
    }

    /// The bias of scores (very negative where a key does not count), and 1 or 0 for each token.
    ///
    /// # Shapes
    /// `[B, 1, 1, N]` and `[B, N, 1]`
    fn masks(&self, counts: &[Vec<bool>], tokens: usize) -> (Tensor<4>, Tensor<3>) {
        let values = |hidden: f32, seen: f32| -> Vec<f32> {
            counts
                .iter()
                .flatten()
                .map(|&counts| if counts { seen } else { hidden })
                .collect()
        };
        let b = counts.len();
        let mask = TensorData::new(values(f32::MIN, 0.0), [b, 1, 1, tokens]);
        let kept = TensorData::new(values(0.0, 1.0), [b, tokens, 1]);
        (
            Tensor::from_data(mask, &self.device),
            Tensor::from_data(kept, &self.device),
        )
    }
}

/// The captions' length.
fn check(captions: &[Vec<u32>], counts: &[Vec<bool>]) -> Result<usize> {
    let lengths: Vec<usize> = captions
        .iter()
        .map(Vec::len)
        .chain(counts.iter().map(Vec::len))
        .collect();
    let tokens = lengths.first().copied().unwrap_or(0);
    let equal = captions.len() == counts.len() && lengths.iter().all(|&n| n == tokens);
    if tokens == 0 || !equal || counts.iter().any(|c| !c.contains(&true)) {
        return Err(Error::Shape {
            what: "captions".into(),
            expected: "one or more of equal length, each with tokens that count".into(),
            got: format!("lengths {lengths:?}"),
        });
    }
    Ok(tokens)
}
