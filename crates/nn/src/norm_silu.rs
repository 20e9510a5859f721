//! RMS norm over the channels of each pixel, then SiLU: the input of the VAE's convolutions. On burn's CPU backend they are one
//! custom operation with its own gradient; burn's operations would take a dozen passes over memory, and twice that for the
//! gradient.
//!
//! Planes of an image are computed separately, and sums over all planes in between; sums have one order whatever the number
//! of threads.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorData, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Pixels whose channels are summed at a time.
const BLOCK: usize = 512;

/// `silu(x / max(|x|_2, epsilon) * sqrt(C) * gamma)`, on burn's CPU backend, in `f32`.
///
/// # Shapes
/// `[B, C, ...]`, `[C]` -> the same, none of the extents 0
pub(crate) fn norm_silu<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f32) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as NormSilu>::norm_silu(
        x.into_dispatch(),
        gamma.into_dispatch(),
        epsilon,
    ))
}

/// What the backend learns.
#[backend_extension(Autodiff, Flex)]
pub trait NormSilu: Backend {
    /// # Shapes
    /// `[B, C, ...]`, `[C]` -> the first
    fn norm_silu(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f32)
    -> FloatTensor<Self>;
}

impl NormSilu for Flex {
    fn norm_silu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        forward(&x, &gamma, epsilon)
    }
}

#[derive(Debug)]
struct NormSiluBackward;

impl Backward<Flex, 2> for NormSiluBackward {
    type State = (NodeId, NodeId, f32);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, gamma_node] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node);
        let (x, gamma, epsilon) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(x);
        let gamma = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(gamma);
        let (x, gamma) = backward(&gradient, &x, &gamma, epsilon);
        if let Some(node) = x_node {
            gradients.register::<Flex>(node.id, x);
        }
        if let Some(node) = gamma_node {
            gradients.register::<Flex>(node.id, gamma);
        }
    }
}

impl<C: CheckpointStrategy> NormSilu for Autodiff<Flex, C> {
    fn norm_silu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        match NormSiluBackward
            .prepare::<C>([x.node(), gamma.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut node) => {
                let state = (node.checkpoint(&x), node.checkpoint(&gamma), epsilon);
                node.finish(state, forward(x.primitive(), gamma.primitive(), epsilon))
            }
            OpsKind::UnTracked(node) => {
                node.finish(forward(x.primitive(), gamma.primitive(), epsilon))
            }
        }
    }
}

/// Images with the scales that follow from their pixels' lengths.
struct Pixels<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    /// Pixels of a plane.
    size: usize,
    /// `sqrt(C) / max(|x|_2, epsilon)` of each pixel of each image.
    scales: Vec<f32>,
    epsilon: f32,
}

impl<'a> Pixels<'a> {
    fn new(x: &'a FlexTensor, gamma: &'a FlexTensor, epsilon: f32) -> Self {
        let (shape, x, gamma) = (
            x.layout().shape(),
            x.storage::<f32>(),
            gamma.storage::<f32>(),
        );
        let size = x.len() / (shape[0] * gamma.len());
        let mut pixels = Self {
            x,
            gamma,
            size,
            scales: Vec::new(),
            epsilon,
        };
        let root = (gamma.len() as f32).sqrt();
        let mut scales = pixels.summed(|_, x, _| x * x, x);
        scales
            .par_iter_mut()
            .for_each(|sum| *sum = root / sum.sqrt().max(epsilon));
        pixels.scales = scales;
        pixels
    }

    /// `f(channel, x, other)` summed over the channels of each pixel.
    fn summed(&self, f: impl Fn(usize, f32, f32) -> f32 + Sync, other: &[f32]) -> Vec<f32> {
        let (size, channels) = (self.size, self.gamma.len());
        let mut sums = vec![0.0; self.x.len() / channels];
        let pictures = sums.par_chunks_exact_mut(size).enumerate();
        pictures.for_each(|(picture, sums)| {
            sums.par_chunks_mut(BLOCK)
                .enumerate()
                .for_each(|(block, sums)| {
                    for channel in 0..channels {
                        let start = (picture * channels + channel) * size + block * BLOCK;
                        let (x, other) = (
                            &self.x[start..][..sums.len()],
                            &other[start..][..sums.len()],
                        );
                        let values = x.iter().zip(other).map(|(x, other)| f(channel, *x, *other));
                        sums.iter_mut()
                            .zip(values)
                            .for_each(|(sum, value)| *sum += value);
                    }
                });
        });
        sums
    }

    /// Channel, values and scales of a plane.
    fn plane(&self, plane: usize) -> (f32, &[f32], &[f32]) {
        let channels = self.gamma.len();
        let scales = &self.scales[plane / channels * self.size..][..self.size];
        (
            self.gamma[plane % channels],
            &self.x[plane * self.size..][..self.size],
            scales,
        )
    }
}

/// Logistic function.
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn like(values: Vec<f32>, tensor: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, tensor.layout().shape().clone()))
}

fn forward(x: &FlexTensor, gamma: &FlexTensor, epsilon: f32) -> FlexTensor {
    let (x, gamma) = (x.to_contiguous(), gamma.to_contiguous());
    let pixels = Pixels::new(&x, &gamma, epsilon);
    let mut values = vec![0.0; pixels.x.len()];
    values
        .par_chunks_exact_mut(pixels.size)
        .enumerate()
        .for_each(|(plane, values)| {
            let (gamma, x, scales) = pixels.plane(plane);
            for ((value, x), scale) in values.iter_mut().zip(x).zip(scales) {
                let normed = x * scale * gamma;
                *value = normed * sigmoid(normed);
            }
        });
    like(values, &x)
}

/// Gradients of `x` and `gamma`.
fn backward(
    gradient: &FlexTensor,
    x: &FlexTensor,
    gamma: &FlexTensor,
    epsilon: f32,
) -> (FlexTensor, FlexTensor) {
    let (gradient, x, gamma) = (
        gradient.to_contiguous(),
        x.to_contiguous(),
        gamma.to_contiguous(),
    );
    let pixels = Pixels::new(&x, &gamma, epsilon);
    let channels = pixels.gamma.len();
    // First the gradient of what SiLU sees, then, in its place, that of x.
    let mut slopes = gradient.storage::<f32>().to_vec();
    let of_gamma = |(plane, slopes): (usize, &mut [f32])| {
        let (gamma, x, scales) = pixels.plane(plane);
        for ((slope, x), scale) in slopes.iter_mut().zip(x).zip(scales) {
            let normed = x * scale * gamma;
            let gate = sigmoid(normed);
            *slope *= gate * (1.0 + normed * (1.0 - gate));
        }
        slopes
            .iter()
            .zip(x)
            .zip(scales)
            .map(|((slope, x), scale)| slope * x * scale)
            .sum::<f32>()
    };
    let planes: Vec<f32> = slopes
        .par_chunks_exact_mut(pixels.size)
        .enumerate()
        .map(of_gamma)
        .collect();
    let mut gammas = vec![0.0; channels];
    planes.chunks_exact(channels).for_each(|picture| {
        gammas
            .iter_mut()
            .zip(picture)
            .for_each(|(sum, value)| *sum += value);
    });
    // A pixel's length depends on all its channels, unless it is held at epsilon.
    let mut pulls = pixels.summed(
        |channel, x, slope| x * slope * pixels.gamma[channel],
        &slopes,
    );
    let (root, held) = (
        (channels as f32).sqrt(),
        (channels as f32).sqrt() / pixels.epsilon,
    );
    pulls
        .iter_mut()
        .zip(&pixels.scales)
        .for_each(|(pull, scale)| {
            *pull *= if *scale >= held {
                0.0
            } else {
                (scale / root).powi(2)
            };
        });
    slopes
        .par_chunks_exact_mut(pixels.size)
        .enumerate()
        .for_each(|(plane, slopes)| {
            let (gamma, x, scales) = pixels.plane(plane);
            let pulls = &pulls[plane / channels * pixels.size..][..pixels.size];
            for (((slope, x), scale), pull) in slopes.iter_mut().zip(x).zip(scales).zip(pulls) {
                *slope = scale * (*slope * gamma - x * pull);
            }
        });
    (like(slopes, &x), like(gammas, &gamma))
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::Device;
    use burn::tensor::activation::silu;
    use proptest::prelude::*;
    use vae2x_core::weights::formula;
    use vae2x_testkit::compare::relative_l2;
    use vae2x_testkit::tolerance::CONV_F32;

    use super::*;
    use crate::wan_vae::RmsNorm;

    fn tensor<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
        let values: Vec<f32> = formula::unit(name, shape.iter().product()).collect();
        Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
    }

    fn results(run: fn(&RmsNorm, Tensor<4>) -> Tensor<4>, shape: [usize; 4]) -> [Vec<f32>; 3] {
        let device = Device::flex().autodiff();
        let x = tensor("x", shape, &device).require_grad();
        let norm = RmsNorm {
            gamma: Param::from_tensor(tensor("gamma", [shape[1]], &device)),
        };
        let y = run(&norm, x.clone());
        let gradients = (y.clone() * tensor("slope", shape, &device))
            .sum()
            .backward();
        let values = |tensor: Tensor<4>| tensor.try_into_vec_as().unwrap();
        let gamma = norm
            .gamma
            .val()
            .grad(&gradients)
            .unwrap()
            .try_into_vec_as()
            .unwrap();
        [
            values(y.inner()),
            values(x.grad(&gradients).unwrap()),
            gamma,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]

        #[test]
        fn values_and_gradients_are_those_of_the_parts(b in 1..4usize, c in 2..40usize, h in 1..30usize, w in 1..50usize) {
            let got = results(|norm, x| norm.forward_silu(x), [b, c, h, w]);
            let want = results(|norm, x| silu(norm.forward(x)), [b, c, h, w]);
            for ((got, want), what) in got.iter().zip(&want).zip(["values", "x", "gamma"]) {
                let error = relative_l2(got, want);
                prop_assert!(error <= CONV_F32, "{}: {:e}", what, error);
            }
        }
    }

    #[test]
    fn black_pixels_stay_black_and_have_finite_gradients() {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::zeros([1, 3, 2, 2], &device).require_grad();
        let y = norm_silu(x.clone(), tensor("gamma", [3], &device), 1e-12);
        let gradient: Vec<f32> = x
            .grad(&y.clone().sum().backward())
            .unwrap()
            .try_into_vec_as()
            .unwrap();
        assert!(gradient.iter().all(|v| v.is_finite()));
        assert_eq!(y.inner().try_into_vec_as::<f32>().unwrap(), vec![0.0; 12]);
    }
}
