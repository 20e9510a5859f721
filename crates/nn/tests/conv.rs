//! The CPU's convolution against burn's own: values and all gradients, for random shapes.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, module};
use proptest::prelude::*;
use vae2x_core::weights::formula;
use vae2x_nn::conv::conv2d;
use vae2x_testkit::compare::relative_l2;
use vae2x_testkit::tolerance::CONV_F32;

type Convolution = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvOptions<2>) -> Tensor<4>;

fn tensor<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = formula::unit(name, shape.iter().product()).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

/// A convolution's values and the gradients of input, weight and bias.
fn results(
    convolve: Convolution,
    x: [usize; 4],
    weight: [usize; 4],
    options: &ConvOptions<2>,
) -> [Vec<f32>; 4] {
    let device = Device::flex().autodiff();
    let x = tensor("x", x, &device).require_grad();
    let bias = tensor("bias", [weight[0]], &device).require_grad();
    let weight = tensor("weight", weight, &device).require_grad();
    let y = convolve(
        x.clone(),
        weight.clone(),
        Some(bias.clone()),
        options.clone(),
    );
    let slope = tensor("slope", y.dims(), &device);
    let gradients = (y.clone() * slope).sum().backward();
    let [x, weight] = [x, weight].map(|t| values(t.grad(&gradients).unwrap()));
    [
        values(y.inner()),
        x,
        weight,
        values(bias.grad(&gradients).unwrap()),
    ]
}

fn check(x: [usize; 4], weight: [usize; 4], options: &ConvOptions<2>) {
    let got = results(conv2d, x, weight, options);
    let want = results(module::conv2d, x, weight, options);
    for ((got, want), what) in got
        .iter()
        .zip(&want)
        .zip(["values", "input", "weight", "bias"])
    {
        let error = relative_l2(got, want);
        assert!(
            error <= CONV_F32,
            "{what} of {x:?} * {weight:?}, {options:?}: {error:e}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..Default::default() })]

    #[test]
    fn values_and_gradients_are_burns(
        batch in 1..4usize, inputs in 1..20usize, outputs in 1..20usize,
        size in [1..40usize, 1..40usize], kernel in [1..5usize, 1..5usize],
        stride in [1..3usize, 1..3usize], padding in [(0..3usize, 0..3usize), (0..3usize, 0..3usize)],
    ) {
        prop_assume!((0..2).all(|i| size[i] + padding[i].0 + padding[i].1 >= kernel[i]));
        let options = ConvOptions::new_with_padding(stride, padding, [1, 1], 1);
        check([batch, inputs, size[0], size[1]], [outputs, inputs, kernel[0], kernel[1]], &options);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..Default::default() })]

    /// The shapes that go through Winograd's transforms: images of whole and of broken tiles, blocks of channels, units of tiles that span
    /// images, and several chunks.
    #[test]
    fn winograd_has_burns_values_and_gradients(
        batch in 1..6usize, inputs in 8..70usize, outputs in 8..70usize, size in [4..36usize, 4..36usize],
        side in 3..5usize, padding in [0..3usize, 0..3usize],
    ) {
        let options = ConvOptions::new([1, 1], padding, [1, 1], 1);
        check([batch, inputs, size[0], size[1]], [outputs, inputs, side, side], &options);
    }
}

#[test]
fn large_images_are_transformed_in_chunks() {
    let same = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    check([1, 96, 200, 131], [24, 96, 3, 3], &same);
    check([2, 40, 70, 290], [40, 40, 3, 3], &same);
    check([2, 40, 70, 290], [40, 40, 4, 4], &same);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let same = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| results(conv2d, [3, 40, 37, 50], [24, 40, 3, 3], &same))
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn several_bands_and_large_patches_are_joined() {
    let same = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    check([2, 16, 80, 64], [12, 16, 3, 3], &same);
    check([1, 300, 18, 20], [7, 300, 3, 3], &same);
    check(
        [3, 5, 50, 60],
        [9, 5, 4, 4],
        &ConvOptions::new([2, 2], [1, 1], [1, 1], 1),
    );
    check(
        [1, 24, 33, 31],
        [24, 24, 3, 3],
        &ConvOptions::new_with_padding([2, 2], [(0, 1), (0, 1)], [1, 1], 1),
    );
}

#[test]
fn constant_weights_and_missing_biases_pass_gradients_to_the_input() {
    let run = |convolve: Convolution| {
        let plain = Device::flex();
        let x = tensor("x", [2, 3, 9, 7], &plain.clone().autodiff()).require_grad();
        let y = convolve(
            x.clone(),
            tensor("w", [4, 3, 3, 3], &plain),
            None,
            ConvOptions::new([1, 1], [1, 1], [1, 1], 1),
        );
        values(x.grad(&y.square().sum().backward()).unwrap())
    };
    assert!(relative_l2(&run(conv2d), &run(module::conv2d)) <= CONV_F32);
}

#[test]
fn groups_dilation_and_double_precision_are_left_to_burn() {
    let device = Device::flex();
    let x = tensor("x", [1, 4, 9, 9], &device);
    for (weight, options) in [
        ([4, 2, 3, 3], ConvOptions::new([1, 1], [1, 1], [1, 1], 2)),
        ([4, 4, 3, 3], ConvOptions::new([1, 1], [2, 2], [2, 2], 1)),
    ] {
        let weight = tensor("w", weight, &device);
        let [got, want] = [conv2d as Convolution, module::conv2d]
            .map(|convolve| values(convolve(x.clone(), weight.clone(), None, options.clone())));
        assert_eq!(got, want);
    }
}
