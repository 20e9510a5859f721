//! The sort of a device against burn-flex's, with its gradient, on burn-flex or the device that `VAE2X_TEST_DEVICE` names.

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::device;
use proptest::prelude::*;
use vae2x_nn::sort::sort_last;

/// Numbers without a pattern; `ties` of them are different at most.
fn values(count: usize, ties: usize) -> Vec<f32> {
    let unit = |i: usize| (((i + 1) as f64 * 12.9898).sin() * 43758.5453).fract();
    (0..count).map(|i| ((unit(i) * ties as f64).round() / 8.0) as f32).collect()
}

fn tensor(values: &[f32], shape: [usize; 3], device: &Device) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn download(tensor: Tensor<3>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// Rows in ascending order, and the gradient of their product with `weights`.
fn sorted(values: &[f32], weights: &[f32], shape: [usize; 3], device: &Device) -> (Vec<f32>, Vec<f32>) {
    let device = device.clone().autodiff();
    let x = tensor(values, shape, &device).require_grad();
    let y = sort_last(x.clone());
    let gradients = (y.clone() * tensor(weights, shape, &device)).sum().backward();
    (download(y), download(x.grad(&gradients).unwrap()))
}

/// Values, and gradients where no value occurs twice, must be those of burn-flex to the bit.
fn check(shape: [usize; 3], ties: usize) {
    let count = shape.iter().product();
    let (values, weights) = (values(count, ties), (0..count).map(|i| i as f32).collect::<Vec<_>>());
    let (want, want_gradient) = sorted(&values, &weights, shape, &Device::flex());
    let (got, got_gradient) = sorted(&values, &weights, shape, &device());
    assert!(want.chunks(shape[2]).all(|row| row.is_sorted()), "the reference is sorted");
    assert_eq!(got, want, "{shape:?}");
    let sums = |gradient: &[f32]| {
        gradient.chunks(shape[2]).map(|row| row.iter().map(|&x| f64::from(x)).sum::<f64>()).collect::<Vec<_>>()
    };
    assert_eq!(sums(&got_gradient), sums(&want_gradient), "{shape:?}");
    if ties > 1 << 20 {
        assert_eq!(got_gradient, want_gradient, "{shape:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..Default::default() })]

    #[test]
    fn rows_of_any_length_are_sorted(a in 1..4usize, b in 1..5usize, n in 1..3000usize, few in any::<bool>()) {
        check([a, b, n], if few { 9 } else { 1 << 23 });
    }
}

#[test]
fn lengths_around_a_block_and_powers_of_two_are_sorted() {
    for n in [1, 2, 3, 1023, 1024, 1025, 2048, 4097, 40_000] {
        check([1, 2, n], 1 << 23);
    }
}

#[test]
fn nans_and_infinities_go_to_the_ends() {
    let values = [f32::NAN, 1.0, f32::INFINITY, -0.0, f32::NEG_INFINITY, f32::NAN, 0.5];
    let sorted = download(sort_last(tensor(&values, [1, 1, 7], &device())));
    assert_eq!(sorted[..5], [f32::NEG_INFINITY, -0.0, 0.5, 1.0, f32::INFINITY]);
    assert!(sorted[5..].iter().all(|x| x.is_nan()), "{sorted:?}");
}
