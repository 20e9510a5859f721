//! PatchGAN with spectral norm: one logit per overlapping patch of 70 pixels, for five layers.
//!
//! Convolutions of 4x4, padding 1, strides 2 2 2 1 1, LeakyReLU 0.2 between them; no other norm. Source: Isola et al.,
//! "Image-to-image translation with conditional adversarial networks", 2017. Each weight is divided by its largest singular
//! value, which one step of power iteration per training step follows: Miyato et al., "Spectral normalization for generative
//! adversarial networks", 2018. The vectors of that iteration ([`Spectral`]) are state beside the parameters: [`Discriminator::iterate`] is
//! called once per training step, and forwards do not change it, so that both losses of a step see one and the same network.

use burn::module::{Module, Param};
use burn::tensor::activation::leaky_relu;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use vae2x_core::weights::formula;
use vae2x_core::{Array, Result};

use crate::array::to_tensor;
use crate::conv::conv2d;

const KERNEL: usize = 4;
const PADDING: usize = 1;
const STRIDES: [usize; 5] = [2, 2, 2, 1, 1];
/// The slope of LeakyReLU below 0.
const SLOPE: f64 = 0.2;
/// Keeps vectors of length 0 from becoming NaN; torch's `normalize` has the same.
const EPSILON: f32 = 1e-12;
/// Keeps the variance of activations through the leaky ReLUs.
const GAIN: f32 = std::f32::consts::SQRT_2;

/// A convolution of 4x4.
#[derive(Module, Debug)]
pub struct PatchConv {
    /// `[O, I, 4, 4]`
    pub weight: Param<Tensor<4>>,
    /// `[O]`
    pub bias: Param<Tensor<1>>,
}

/// The five convolutions.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// In the order of the data.
    pub convs: Vec<PatchConv>,
}

/// Left and right singular vectors of each weight `[O, I 4 4]`, as far as power iteration has found them.
#[derive(Clone, Debug)]
pub struct Spectral {
    /// `[O]` each.
    pub u: Vec<Tensor<1>>,
    /// `[I 4 4]` each.
    pub v: Vec<Tensor<1>>,
}

/// Name and shape of each tensor, state included, for a first width: `0.weight`, `0.bias`, `0.u`, `0.v`, ...
pub fn tensors(width: usize) -> Vec<(String, Vec<usize>)> {
    let channels = [3, width, 2 * width, 4 * width, 8 * width, 1];
    let layer = |i: usize| {
        let (inputs, outputs) = (channels[i], channels[i + 1]);
        [
            (format!("{i}.weight"), vec![outputs, inputs, KERNEL, KERNEL]),
            (format!("{i}.bias"), vec![outputs]),
            (format!("{i}.u"), vec![outputs]),
            (format!("{i}.v"), vec![inputs * KERNEL * KERNEL]),
        ]
    };
    (0..STRIDES.len()).flat_map(layer).collect()
}

/// Start values by formula: weights of gain sqrt 2, vectors of unit length. `name` tells runs apart.
///
/// # Errors
/// None for the names of [`tensors`].
pub fn formula_tensor(name: &str, shape: &[usize]) -> Result<Array> {
    let values = match name.ends_with(".u") || name.ends_with(".v") {
        false => formula::tensor(name, shape, GAIN),
        true => {
            let values: Vec<f32> = formula::unit(name, shape.iter().product()).collect();
            let length = values
                .iter()
                .map(|v| v * v)
                .sum::<f32>()
                .sqrt()
                .max(EPSILON);
            values.into_iter().map(|v| v / length).collect()
        }
    };
    Array::new(shape, values)
}

impl Discriminator {
    /// Builds the network and its state from `tensor`, which is asked for every name and shape of [`tensors`].
    ///
    /// # Errors
    /// What `tensor` returns.
    pub fn load(
        width: usize,
        tensor: &dyn Fn(&str, &[usize]) -> Result<Array>,
        device: &Device,
    ) -> Result<(Self, Spectral)> {
        let plain = device.clone().without_autodiff();
        let mut convs = Vec::new();
        let mut spectral = Spectral {
            u: Vec::new(),
            v: Vec::new(),
        };
        for layer in tensors(width).chunks_exact(4) {
            let read = |i: usize| tensor(&layer[i].0, &layer[i].1);
            convs.push(PatchConv {
                weight: Param::from_tensor(to_tensor(&read(0)?, &layer[0].0, device)?),
                bias: Param::from_tensor(to_tensor(&read(1)?, &layer[1].0, device)?),
            });
            spectral.u.push(to_tensor(&read(2)?, &layer[2].0, &plain)?);
            spectral.v.push(to_tensor(&read(3)?, &layer[3].0, &plain)?);
        }
        Ok((Self { convs }, spectral))
    }

    /// One step of power iteration on the present weights: `v = W^T u / |W^T u|`, `u = W v / |W v|`.
    pub fn iterate(&self, spectral: &mut Spectral) {
        for ((conv, u), v) in self.convs.iter().zip(&mut spectral.u).zip(&mut spectral.v) {
            let [outputs, ..] = conv.weight.dims();
            let matrix = conv
                .weight
                .val()
                .without_autodiff()
                .reshape([outputs, v.dims()[0]]);
            *v = normalized(
                matrix
                    .clone()
                    .transpose()
                    .matmul(u.clone().unsqueeze_dim::<2>(1)),
            );
            *u = normalized(matrix.matmul(v.clone().unsqueeze_dim::<2>(1)));
        }
    }

    /// Logits, weights being divided by `u^T W v`. Gradients reach the weights through that factor too.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` in [-1, 1] -> `[B, 1, H / 8 - 2, W / 8 - 2]`, H and W at least 24
    pub fn forward(&self, pictures: Tensor<4>, spectral: &Spectral) -> Tensor<4> {
        let last = self.convs.len() - 1;
        let layers = self
            .convs
            .iter()
            .zip(spectral.u.iter().zip(&spectral.v))
            .enumerate();
        layers.fold(pictures, |x, (i, (conv, (u, v)))| {
            let weight = conv.weight.val();
            let [outputs, ..] = weight.dims();
            let column = |t: &Tensor<1>| t.clone().unsqueeze_dim::<2>(1);
            let matrix = weight.clone().reshape([outputs, v.dims()[0]]);
            let sigma = (matrix.matmul(column(v)) * column(u)).sum();
            let options = ConvOptions::new([STRIDES[i]; 2], [PADDING; 2], [1, 1], 1);
            let x = conv2d(
                x,
                weight / sigma.reshape([1, 1, 1, 1]),
                Some(conv.bias.val()),
                options,
            );
            if i == last { x } else { leaky_relu(x, SLOPE) }
        })
    }
}

/// A column divided by its length.
///
/// # Shapes
/// `[n, 1]` -> `[n]`
fn normalized(column: Tensor<2>) -> Tensor<1> {
    let column = column.squeeze_dim::<1>(1);
    let length = column.clone().square().sum().sqrt().clamp_min(EPSILON);
    column / length
}
