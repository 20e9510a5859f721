//! The sort of a device against burn-flex's, with its gradient, on burn-flex or the device that `VAE2X_TEST_DEVICE` names.

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::device;
use proptest::prelude::*;
use vae2x_nn::sort::sort_last;

/// How many values differ if none occurs twice.
const ALL: usize = 1 << 23;

/// Numbers in no order, of which `different` differ at most. An odd factor permutes the numbers below a power of two.
fn values(count: usize, different: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (i * 2_654_435_761 % ALL * different / ALL) as f32 - different as f32 / 2.0)
        .collect()
}

fn tensor(values: &[f32], shape: [usize; 3], device: &Device) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn download(tensor: Tensor<3>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// Rows in ascending order, and the gradient of their product with `weights`.
fn sorted(
    values: &[f32],
    weights: &[f32],
    shape: [usize; 3],
    device: &Device,
) -> (Vec<f32>, Vec<f32>) {
    let device = device.clone().autodiff();
    let x = tensor(values, shape, &device).require_grad();
    let y = sort_last(x.clone());
    let gradients = (y.clone() * tensor(weights, shape, &device))
        .sum()
        .backward();
    (download(y), download(x.grad(&gradients).unwrap()))
}

/// Values, and gradients where no value occurs twice, must be those of burn-flex to the bit.
fn check(shape: [usize; 3], different: usize) {
    let count = shape.iter().product();
    let (values, weights) = (
        values(count, different),
        (0..count).map(|i| i as f32).collect::<Vec<_>>(),
    );
    let (want, want_gradient) = sorted(&values, &weights, shape, &Device::flex());
    let (got, got_gradient) = sorted(&values, &weights, shape, &device());
    assert!(
        want.chunks(shape[2]).all(|row| row.is_sorted()),
        "the reference is sorted"
    );
    assert!(got == want, "{shape:?}: values differ");
    let sums = |gradient: &[f32]| {
        gradient
            .chunks(shape[2])
            .map(|row| row.iter().map(|&x| f64::from(x)).sum::<f64>())
            .collect::<Vec<_>>()
    };
    assert_eq!(sums(&got_gradient), sums(&want_gradient), "{shape:?}");
    assert!(
        different < ALL || got_gradient == want_gradient,
        "{shape:?}: gradients differ"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..Default::default() })]

    #[test]
    fn rows_of_any_length_are_sorted(a in 1..4usize, b in 1..5usize, n in 1..3000usize, few in any::<bool>()) {
        check([a, b, n], if few { 9 } else { ALL });
    }
}

#[test]
fn lengths_around_a_block_and_powers_of_two_are_sorted() {
    for n in [1, 2, 3, 1023, 1024, 1025, 2048, 4097, 40_000] {
        check([1, 2, n], ALL);
    }
}

#[test]
fn nans_and_infinities_go_to_the_ends() {
    let values = [
        f32::NAN,
        1.0,
        f32::INFINITY,
        -0.0,
        f32::NEG_INFINITY,
        f32::NAN,
        0.5,
    ];
    let sorted = download(sort_last(tensor(&values, [1, 1, 7], &device())));
    assert_eq!(
        sorted[..5],
        [f32::NEG_INFINITY, -0.0, 0.5, 1.0, f32::INFINITY]
    );
    assert!(sorted[5..].iter().all(|x| x.is_nan()), "{sorted:?}");
}
