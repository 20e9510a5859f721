//! The magnitudes' term of one stage as one operation on burn's CPU backend, in `f32`: value and gradient without a graph.
//!
//! The value is a number per image, so its gradient is known but for a factor when the value is: both are computed together,
//! image by image and, where maps are large, in chunks of random kernels. What stays for the backward pass is the gradient of
//! the features. [`super::graph`] is the definition.
//!
//! Magnitudes of the spectrum of real values are the same at opposite frequencies, so of two opposite windows one is the other
//! turned. [`windows`] has one of each such pair; [`distance`] takes kernels apart into even and odd halves, with which the sums
//! and differences of opposite magnitudes under one window give the responses of both, in half the products.
//!
//! The order of all sums follows from shapes: the number of threads changes no bit.

mod distance;
mod order;
mod transform;
mod windows;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorData, backend_extension};
use burn::tensor::Tensor;

use crate::device::is_flex_f32;
use distance::Distance;

/// Whether the operation runs where `x` is.
pub(super) fn serves(x: &Tensor<5>) -> bool {
    is_flex_f32(x) && x.shape().num_elements() > 0
}

/// The mean absolute difference of sorted responses to the magnitudes of `x` and of `y`, a constant, times `scale`.
///
/// # Shapes
/// features `[B, C, F, H, W]`, one frame if kernels `[P, C, kt, kh, kw]` have one -> `[B]`
pub(super) fn magnitudes(
    x: &Tensor<5>,
    y: &Tensor<5>,
    kernels: &Tensor<5>,
    scale: f64,
) -> Tensor<1> {
    let [x, y, kernels] = [x, y, kernels].map(|tensor| tensor.clone().into_dispatch());
    Tensor::from_dispatch(<Dispatch as SpectralDistance>::spectral_distance(
        x, y, kernels, scale,
    ))
}

/// What the backend learns.
#[backend_extension(Autodiff, Flex)]
pub trait SpectralDistance: Backend {
    /// # Shapes
    /// `[B, C, F, H, W]`, the same, `[P, C, kt, kh, kw]` -> `[B]`
    fn spectral_distance(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        kernels: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self>;
}

impl SpectralDistance for Flex {
    fn spectral_distance(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        kernels: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        compute(&x, &y, &kernels, scale, false).0
    }
}

#[derive(Debug)]
struct SpectralDistanceBackward;

impl Backward<Flex, 1> for SpectralDistanceBackward {
    /// The gradient of each image's value.
    type State = FlexTensor;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let factors = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let mut gradient = ops.state;
        let factors: &[f32] = factors.storage();
        let length = gradient.layout().num_elements() / factors.len();
        let images = gradient.storage_mut::<f32>().chunks_exact_mut(length);
        for (image, factor) in images.zip(factors) {
            image.iter_mut().for_each(|value| *value *= factor);
        }
        if let Some(node) = node {
            gradients.register::<Flex>(node.id, gradient);
        }
    }
}

impl<C: CheckpointStrategy> SpectralDistance for Autodiff<Flex, C> {
    fn spectral_distance(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        kernels: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        let (y, kernels) = (y.into_primitive(), kernels.into_primitive());
        match SpectralDistanceBackward
            .prepare::<C>([x.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(node) => {
                let (value, gradient) = compute(x.primitive(), &y, &kernels, scale, true);
                node.finish(gradient, value)
            }
            OpsKind::UnTracked(node) => {
                node.finish(compute(x.primitive(), &y, &kernels, scale, false).0)
            }
        }
    }
}

/// Values, and the gradient of their sum if it is asked for, else an empty tensor.
fn compute(
    x: &FlexTensor,
    y: &FlexTensor,
    kernels: &FlexTensor,
    scale: f64,
    with_gradient: bool,
) -> (FlexTensor, FlexTensor) {
    let [x, y, kernels] = [x, y, kernels].map(FlexTensor::to_contiguous);
    let shape = x.layout().shape().clone();
    let distance = Distance::new(&shape[1..], &kernels, scale);
    let length: usize = shape[1..].iter().product();
    let (x, y): (&[f32], &[f32]) = (x.storage(), y.storage());
    let mut gradient = vec![0.0; if with_gradient { x.len() } else { 0 }];
    let mut slopes = gradient.chunks_exact_mut(length);
    let pairs = x.chunks_exact(length).zip(y.chunks_exact(length));
    let values: Vec<f32> = pairs
        .map(|(x, y)| distance.of_image(x, y, slopes.next()))
        .collect();
    let shape = match with_gradient {
        true => shape.to_vec(),
        false => vec![0],
    };
    let batch = values.len();
    (
        FlexTensor::from_data(TensorData::new(values, [batch])),
        FlexTensor::from_data(TensorData::new(gradient, shape)),
    )
}

#[cfg(test)]
mod tests;
