//! The convolution as a custom operation of burn's CPU backend, with its node in the graph of gradients.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};
use burn::tensor::ops::ConvOptions;

use super::products;
use super::window::Window;

/// What the backend learns.
#[backend_extension(Autodiff, Flex)]
pub trait ConvBackend: Backend {
    /// # Shapes
    /// `[B, I, H, W]`, `[O, I, kh, kw]`, `[O]` -> `[B, O, H', W']`
    fn unfolded_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
    ) -> FloatTensor<Self>;
}

impl ConvBackend for Flex {
    fn unfolded_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
    ) -> FloatTensor<Self> {
        products::forward(x, weight, &bias, &window)
    }
}

#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 3> for ConvBackward {
    type State = (NodeId, NodeId, Window);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node);
        let (x, weight, window) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(weight);
        if let Some(node) = x_node {
            let value = match window.backward() {
                Some(backward) => products::input_gradient(gradient.clone(), weight, &backward),
                None => {
                    Flex::conv2d_x_backward(x.clone(), weight, gradient.clone(), options(&window))
                }
            };
            gradients.register::<Flex>(node.id, value);
        }
        if weight_node.is_none() && bias_node.is_none() {
            return;
        }
        let (weight, bias) = products::parameter_gradients(gradient, x, &window);
        if let Some(node) = weight_node {
            gradients.register::<Flex>(node.id, weight);
        }
        if let Some(node) = bias_node {
            gradients.register::<Flex>(node.id, bias);
        }
    }
}

/// A window's options, with the padding that its sizes need after the image.
fn options(window: &Window) -> ConvOptions<2> {
    let padding = [0, 1].map(|axis| {
        let seen = (window.size_out[axis] - 1) * window.stride[axis] + window.kernel[axis];
        (
            window.padding[axis],
            seen.saturating_sub(window.padding[axis] + window.size_in[axis]),
        )
    });
    ConvOptions::new_with_padding(window.stride, padding, [1, 1], 1)
}

impl<C: CheckpointStrategy> ConvBackend for Autodiff<Flex, C> {
    fn unfolded_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
    ) -> FloatTensor<Self> {
        let node = ConvBackward
            .prepare::<C>([x.node(), weight.node(), bias.node()])
            .compute_bound()
            .stateful();
        match node {
            OpsKind::Tracked(mut node) => {
                let state = (
                    node.checkpoint(&x),
                    node.checkpoint(&weight),
                    window.clone(),
                );
                let (x, weight) = (x.into_primitive(), weight.into_primitive());
                node.finish(
                    state,
                    products::forward(x, weight, bias.primitive(), &window),
                )
            }
            OpsKind::UnTracked(node) => {
                let (x, weight) = (x.into_primitive(), weight.into_primitive());
                node.finish(products::forward(x, weight, bias.primitive(), &window))
            }
        }
    }
}
