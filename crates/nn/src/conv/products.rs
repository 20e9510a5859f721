//! A convolution and its gradients on the CPU, as matrix products over unfolded patches.

use std::ops::Range;

use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorData};
use rayon::prelude::*;

use super::window::Window;
use super::winograd::{self, Taps};

/// Bands whose contributions to a weight's gradient are in memory at once.
const GROUP: usize = 16;

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Every band of every image of a batch.
fn tasks(window: &Window, batch: usize) -> Vec<(usize, Range<usize>)> {
    let bands = window.bands();
    (0..batch)
        .flat_map(|image| bands.iter().map(move |rows| (image, rows.clone())))
        .collect()
}

/// # Shapes
/// `[B, I, H, W]`, `[O, I, kh, kw]`, `[O]` -> `[B, O, H', W']`
pub fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: &FlexTensor,
    window: &Window,
) -> FlexTensor {
    let batch = x.layout().shape()[0];
    let (x, bias) = (x.to_contiguous(), bias.to_contiguous());
    let (images, bias) = (x.storage::<f32>(), bias.storage::<f32>());
    if winograd::serves(window) {
        let weight = weight.to_contiguous();
        let taps = Taps::forward(weight.storage(), window.inputs, window.outputs);
        return images_of(
            winograd::convolve(images, &taps, bias, window),
            batch,
            window,
        );
    }
    let matrix = Flex::float_reshape(weight, [window.outputs, window.patch()].into());
    let width = window.size_out[1];
    let tasks = tasks(window, batch);
    let tile = |(image, rows): &(usize, Range<usize>)| {
        let image = &images[image * window.image_in()..][..window.image_in()];
        let columns = tensor(
            window.columns(image, rows.clone()),
            [window.patch(), rows.len() * width],
        );
        Flex::float_matmul(matrix.clone(), columns)
    };
    let tiles: Vec<FlexTensor> = tasks.par_iter().map(tile).collect();
    // A plane of the output has one row of each tile of its image.
    let bands = tasks.len() / batch.max(1);
    let mut values = vec![0.0; batch * window.outputs * window.pixels_out()];
    values
        .par_chunks_exact_mut(window.pixels_out())
        .enumerate()
        .for_each(|(plane, mut pixels)| {
            let (image, output) = (plane / window.outputs, plane % window.outputs);
            for tile in &tiles[image * bands..][..bands] {
                let length = tile.layout().shape()[1];
                let (first, rest) = pixels.split_at_mut(length);
                let row = &tile.storage::<f32>()[output * length..][..length];
                first
                    .iter_mut()
                    .zip(row)
                    .for_each(|(to, from)| *to = from + bias[output]);
                pixels = rest;
            }
        });
    images_of(values, batch, window)
}

fn images_of(values: Vec<f32>, batch: usize, window: &Window) -> FlexTensor {
    let [height, width] = window.size_out;
    tensor(values, [batch, window.outputs, height, width])
}

/// The gradient of the input, where [`Window::backward`] gave `backward`.
///
/// # Shapes
/// gradient `[B, O, H', W']`, weight `[O, I, kh, kw]` -> `[B, I, H, W]`
pub fn input_gradient(gradient: FlexTensor, weight: FlexTensor, backward: &Window) -> FlexTensor {
    let batch = gradient.layout().shape()[0];
    let bias = vec![0.0; backward.outputs];
    if winograd::serves(backward) {
        let (gradient, weight) = (gradient.to_contiguous(), weight.to_contiguous());
        let taps = Taps::backward(weight.storage(), backward.outputs, backward.inputs);
        let values = winograd::convolve(gradient.storage(), &taps, &bias, backward);
        return images_of(values, batch, backward);
    }
    let turned = Flex::float_flip(Flex::float_swap_dims(weight, 0, 1), &[2, 3]).to_contiguous();
    let bias = tensor(bias, [backward.outputs]);
    forward(gradient, turned, &bias, backward)
}

/// The gradients of weight and bias.
///
/// # Shapes
/// gradient `[B, O, H', W']`, input `[B, I, H, W]` -> `[O, I, kh, kw]`, `[O]`
pub fn parameter_gradients(
    gradient: FlexTensor,
    x: FlexTensor,
    window: &Window,
) -> (FlexTensor, FlexTensor) {
    let (outputs, patch) = (window.outputs, window.patch());
    let (gradient, x) = (gradient.to_contiguous(), x.to_contiguous());
    let (gradients, images) = (gradient.storage::<f32>(), x.storage::<f32>());
    if winograd::serves(window) {
        let weight = winograd::weight_gradient(gradients, images, window);
        return (
            tensor(
                weight,
                [outputs, window.inputs, window.kernel[0], window.kernel[1]],
            ),
            tensor(winograd::bias_gradient(gradients, window), [outputs]),
        );
    }
    let part = |(image, rows): &(usize, Range<usize>)| {
        let columns = rows.start * window.size_out[1]..rows.end * window.size_out[1];
        let planes = gradients
            .chunks_exact(window.pixels_out())
            .skip(image * outputs)
            .take(outputs);
        let slopes = planes
            .map(|plane| &plane[columns.clone()])
            .collect::<Vec<_>>()
            .concat();
        let sums: Vec<f32> = slopes
            .chunks_exact(columns.len())
            .map(|row| row.iter().sum())
            .collect();
        let image = &images[image * window.image_in()..][..window.image_in()];
        let patches = tensor(window.patches(image, rows.clone()), [columns.len(), patch]);
        (
            Flex::float_matmul(tensor(slopes, [outputs, columns.len()]), patches),
            sums,
        )
    };
    let mut weight = vec![0.0; outputs * patch];
    let mut bias = vec![0.0; outputs];
    for group in tasks(window, x.layout().shape()[0]).chunks(GROUP) {
        for (product, sums) in group.par_iter().map(part).collect::<Vec<_>>() {
            add(&mut weight, product.storage());
            add(&mut bias, &sums);
        }
    }
    let [kh, kw] = window.kernel;
    let weight = Flex::float_permute(
        tensor(weight, [outputs, kh, kw, window.inputs]),
        &[0, 3, 1, 2],
    );
    (weight.to_contiguous(), tensor(bias, [outputs]))
}

fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}
