//! VGG16 and VGG19 without their classifiers: the feature extractors that perceptual losses are defined on.
//!
//! Convolutions are called `features.N`, N being the place in torchvision's sequence of convolutions, ReLUs and pools
//! (<https://github.com/pytorch/vision/blob/v0.20.0/torchvision/models/vgg.py>), which timm shares. Only what the deepest
//! wanted feature needs is built. Weights are constants: gradients pass through to the image, none is kept for them.
//!
//! Source: Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014.

mod weights;

pub use weights::{VggSource, formula, from_file, random};

use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;

use crate::array::to_tensor;
use crate::conv::conv2d;

/// Means of ImageNet's red, green and blue in [0, 1].
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their standard deviations.
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Which of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 13 convolutions, 2 2 3 3 3.
    Vgg16,
    /// 16 convolutions, 2 2 4 4 4.
    Vgg19,
}

impl Depth {
    /// Width and number of convolutions of each of the five stages.
    fn stages(self) -> [(usize, usize); 5] {
        let deep = if self == Self::Vgg16 { 3 } else { 4 };
        [(64, 2), (128, 2), (256, deep), (512, deep), (512, deep)]
    }

    /// Channels of each stage.
    pub fn widths(self) -> [usize; 5] {
        self.stages().map(|(width, _)| width)
    }

    /// Index in the sequence of each stage's last ReLU: 3, 8, 15, 22, 29 or 3, 8, 17, 26, 35.
    pub fn last_relus(self) -> [usize; 5] {
        let mut next = 0;
        self.stages().map(|(_, convolutions)| {
            // Two layers per convolution, then the pool.
            next += 2 * convolutions + 1;
            next - 2
        })
    }

    /// `vgg16` or `vgg19`.
    pub fn name(self) -> &'static str {
        if self == Self::Vgg16 {
            "vgg16"
        } else {
            "vgg19"
        }
    }
}

#[derive(Clone, Debug)]
struct Conv {
    /// `[O, I, 3, 3]`
    weight: Tensor<4>,
    /// `[O]`
    bias: Tensor<1>,
}

/// The first stages of a VGG.
#[derive(Clone, Debug)]
pub struct Vgg {
    stages: Vec<Vec<Conv>>,
}

impl Vgg {
    /// Builds the first `stages` of five stages.
    ///
    /// # Errors
    /// What `source` returns.
    pub fn load(
        depth: Depth,
        stages: usize,
        source: &VggSource<'_>,
        device: &Device,
    ) -> Result<Self> {
        let (mut inputs, mut index) = (MEAN.len(), 0);
        let mut built = Vec::new();
        for (width, convolutions) in depth.stages().into_iter().take(stages) {
            let mut stage = Vec::new();
            for _ in 0..convolutions {
                let name = |part: &str| format!("features.{index}.{part}");
                let weight = source(&name("weight"), &[width, inputs, 3, 3])?;
                let bias = source(&name("bias"), &[width])?;
                stage.push(Conv {
                    weight: to_tensor(&weight, &name("weight"), device)?,
                    bias: to_tensor(&bias, &name("bias"), device)?,
                });
                (inputs, index) = (width, index + 2);
            }
            index += 1;
            built.push(stage);
        }
        Ok(Self { stages: built })
    }

    /// The output of each stage's last ReLU, before its pool, in the precision of the images.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` in [-1, 1] -> `[B, 64, H, W]`, `[B, 128, H / 2, W / 2]`, ...
    pub fn features(&self, pictures: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = normalize(pictures);
        let mut features: Vec<Tensor<4>> = Vec::new();
        for stage in &self.stages {
            if !features.is_empty() {
                x = max_pool2d(x, MaxPoolOptions::new([2, 2]));
            }
            for conv in stage {
                let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
                x = relu(conv2d(
                    x,
                    conv.weight.clone(),
                    Some(conv.bias.clone()),
                    options,
                ));
            }
            features.push(x.clone());
        }
        features
    }
}

/// `((x + 1) / 2 - mean) / std`, per channel.
fn normalize(x: Tensor<4>) -> Tensor<4> {
    let (device, dtype) = (x.device(), x.dtype());
    let channels = |f: fn(f32, f32) -> f32| {
        let values: [f32; 3] = std::array::from_fn(|c| f(MEAN[c], STD[c]));
        Tensor::<1>::from_floats(values, &device)
            .cast(dtype)
            .reshape([1, 3, 1, 1])
    };
    x * channels(|_, std| 0.5 / std) + channels(|mean, std| (0.5 - mean) / std)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_stand_where_torchvision_has_them() {
        assert_eq!(Depth::Vgg16.last_relus(), [3, 8, 15, 22, 29]);
        assert_eq!(Depth::Vgg19.last_relus(), [3, 8, 17, 26, 35]);
    }

    #[test]
    fn shapes_halve_and_widen() {
        let vgg = Vgg::load(Depth::Vgg16, 3, &random(0), &Device::flex()).unwrap();
        let features = vgg.features(Tensor::zeros([1, 3, 12, 8], &Device::flex()));
        let shapes: Vec<_> = features.iter().map(Tensor::dims).collect();
        assert_eq!(shapes, [[1, 64, 12, 8], [1, 128, 6, 4], [1, 256, 3, 2]]);
    }
}
