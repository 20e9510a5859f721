//! Distances of VGG features that have been normalized to unit length per pixel.
//!
//! [`Lpips`] is the published metric, version 0.1, on VGG16: Zhang et al., "The unreasonable effectiveness of deep features as
//! a perceptual metric", 2018 (<https://github.com/richzhang/PerceptualSimilarity>, `lpips/lpips.py`). Its heads are in this
//! crate. [`feature_l1`] needs no heads and shares the VGG19 pass of the frequency distribution loss.

use burn::tensor::{Device, Tensor};
use vae2x_core::Result;
use vae2x_core::weights::TensorFile;

use crate::array::to_tensor;
use crate::vgg::{Depth, Vgg, VggSource};

/// The published heads for VGG16, one weight per channel of each stage.
const HEADS: &[u8] = include_bytes!("../../../../assets/models/lpips_vgg_v0.1.safetensors");
const STAGES: usize = 5;
/// As in the published code; added to lengths.
const EPSILON: f32 = 1e-10;

/// VGG16 with the published heads.
#[derive(Clone, Debug)]
pub struct Lpips {
    vgg: Vgg,
    /// `[1, C, 1, 1]` each.
    heads: Vec<Tensor<4>>,
}

impl Lpips {
    /// Builds the metric from VGG16's weights.
    ///
    /// # Errors
    /// What `source` returns.
    pub fn load(source: &VggSource<'_>, device: &Device) -> Result<Self> {
        let file = TensorFile::from_bytes("LPIPS heads", HEADS)?;
        let head = |i: usize| to_tensor(&file.read(&format!("lin{i}.weight"))?, "LPIPS head", device);
        Ok(Self {
            vgg: Vgg::load(Depth::Vgg16, STAGES, source, device)?,
            heads: (0..STAGES).map(head).collect::<Result<_>>()?,
        })
    }

    /// `sum over stages of mean over pixels of sum over channels of head * (a/|a| - b/|b|)^2`
    ///
    /// # Shapes
    /// `[B, 3, H, W]` in [-1, 1], both; H and W at least 16 -> `[B]`
    pub fn distance(&self, x: Tensor<4>, y: Tensor<4>) -> Tensor<1> {
        let pairs = self.vgg.features(x).into_iter().zip(self.vgg.features(y));
        let stages = pairs.zip(&self.heads).map(|((a, b), head)| {
            let [batch, ..] = a.dims();
            let difference = (unit(a) - unit(b)).square() * head.clone();
            difference.sum_dim(1).mean_dim(2).mean_dim(3).reshape([batch])
        });
        sum(stages)
    }
}

/// `sum over stages of mean |a/|a| - b/|b||`, of each picture.
///
/// # Shapes
/// lists of `[B, C, H, W]` -> `[B]`
pub fn feature_l1(x: &[Tensor<4>], y: &[Tensor<4>]) -> Tensor<1> {
    let stages = x.iter().zip(y).map(|(a, b)| {
        let [batch, ..] = a.dims();
        (unit(a.clone()) - unit(b.clone())).abs().mean_dim(1).mean_dim(2).mean_dim(3).reshape([batch])
    });
    sum(stages)
}

/// Each pixel's channels divided by their length. The square under the root keeps the gradient at 0 finite.
fn unit(x: Tensor<4>) -> Tensor<4> {
    let length = (x.clone().square().sum_dim(1) + EPSILON * EPSILON).sqrt() + EPSILON;
    x / length
}

/// # Panics
/// If there is no term.
pub(super) fn sum<const D: usize>(terms: impl Iterator<Item = Tensor<D>>) -> Tensor<D> {
    terms.reduce(|a, b| a + b).expect("a loss has at least one stage")
}
