//! The operation against its definition.

use burn::tensor::Device;
use proptest::prelude::*;
use vae2x_core::weights::formula;
use vae2x_testkit::compare::relative_l2;
use vae2x_testkit::tolerance::{LOSS_GRADIENT, LOSS_VALUE};

use super::*;
use crate::loss::fdl::{Axes, FdlConfig, Norm, graph, unit_kernels};

/// Rounding may turn a few signs, each some hundredths of the gradient; a value in a wrong place changes all of it.
const TURNED: f64 = 0.2;

#[derive(Clone, Copy, Debug)]
struct Case {
    /// `[B, C, F, H, W]`
    features: [usize; 5],
    /// Frames, height and width of kernels.
    kernel: [usize; 3],
    projections: usize,
    norm: Norm,
}

fn tensor(name: &str, shape: [usize; 5], device: &Device) -> Tensor<5> {
    let values: Vec<f32> = formula::unit(name, shape.iter().product()).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
}

impl Case {
    fn config(&self) -> FdlConfig {
        FdlConfig {
            axes: match self.features[2] {
                1 => Axes::Plane,
                _ => Axes::Volume,
            },
            norm: self.norm,
            ..FdlConfig::default()
        }
    }

    fn kernels(&self, device: &Device) -> Tensor<5> {
        let [kt, kh, kw] = self.kernel;
        let shape = [self.projections, self.features[1], kt, kh, kw];
        unit_kernels(tensor("kernels", shape, device))
    }

    /// Values, and the gradient of their weighted sum.
    fn results(&self, is_fused: bool) -> [Vec<f32>; 2] {
        let device = Device::flex().autodiff();
        let x = tensor("x", self.features, &device).require_grad();
        let y = tensor("y", self.features, &device).mul_scalar(0.5);
        let (config, kernels) = (self.config(), self.kernels(&device));
        let values = match is_fused {
            true => magnitudes(&x, &y, &kernels, config.scale(self.features)),
            false => graph::magnitude(&config, &kernels, &x, &y),
        };
        let weights = Tensor::<1>::from_floats([1.0, -0.5, 2.0], &device);
        let sum = values.clone() * weights.narrow(0, 0, self.features[0]);
        let gradient = x.grad(&sum.sum().backward()).unwrap();
        [
            values.inner().try_into_vec_as().unwrap(),
            gradient.try_into_vec_as().unwrap(),
        ]
    }

    /// Relative errors of values and gradient.
    fn errors(&self) -> [f64; 2] {
        let (got, want) = (self.results(true), self.results(false));
        [0, 1].map(|i| relative_l2(&got[i], &want[i]))
    }
}

/// Sides that are even and odd, kernels as large as the map and of one element, bands of several rows and rows of several bands.
const CASES: [Case; 8] = [
    Case::image([2, 5, 1, 20, 24], [1, 5, 5], 6),
    Case::image([1, 6, 1, 17, 19], [1, 5, 5], 4),
    Case::image([1, 2, 1, 9, 300], [1, 3, 3], 3),
    Case::image([1, 3, 1, 8, 8], [1, 4, 2], 3),
    Case::image([3, 2, 1, 5, 5], [1, 5, 5], 40),
    Case::image([1, 3, 1, 12, 10], [1, 1, 1], 3),
    Case::image([1, 3, 7, 11, 12], [5, 5, 5], 4),
    Case::image([2, 2, 6, 8, 9], [3, 2, 5], 4),
];

impl Case {
    const fn image(features: [usize; 5], kernel: [usize; 3], projections: usize) -> Self {
        Self {
            features,
            kernel,
            projections,
            norm: Norm::Backward,
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_the_graph() {
    for case in CASES {
        for norm in [Norm::Backward, Norm::Ortho] {
            let case = Case { norm, ..case };
            let [value, gradient] = case.errors();
            assert!(value <= LOSS_VALUE, "{case:?}: values {value:e}");
            assert!(
                gradient <= LOSS_GRADIENT,
                "{case:?}: gradients {gradient:e}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..Default::default() })]

    #[test]
    fn so_they_are_for_any_shape(
        batch in 1..3usize, channels in 1..9usize, frames in 1..6usize, more in prop::array::uniform2(8..28usize),
        kernel in prop::array::uniform3(1..6usize), projections in 12..20usize,
    ) {
        let kernel = [kernel[0].min(frames), kernel[1], kernel[2]];
        let features = [batch, channels, frames, more[0] + kernel[1], more[1] + kernel[2]];
        let case = Case { features, kernel, projections, norm: Norm::Backward };
        let [value, gradient] = case.errors();
        prop_assert!(value <= LOSS_VALUE, "values {:e}", value);
        prop_assert!(gradient <= TURNED, "gradients {:e}", gradient);
    }
}

#[test]
fn chunks_of_kernels_are_all_kernels_at_once() {
    let case = CASES[0];
    let device = Device::flex();
    let kernels = FlexTensor::from_data(case.kernels(&device).into_data());
    let values = |name: &str| -> Vec<f32> {
        formula::unit(name, case.features[1..].iter().product()).collect()
    };
    let (x, y) = (values("x"), values("y"));
    let run = |responses: usize| {
        let distance = Distance::in_chunks(&case.features[1..], &kernels, 1.0, responses);
        let mut gradient = vec![0.0; x.len()];
        let value = distance.of_image(&x, &y, Some(&mut gradient));
        (value, gradient)
    };
    let whole = run(usize::MAX);
    // One, and four and two.
    for responses in [1, 16 * 20 * 4] {
        let (value, gradient) = run(responses);
        assert!((value / whole.0 - 1.0).abs() < 1e-6);
        assert!(relative_l2(&gradient, &whole.1) <= LOSS_GRADIENT);
    }
}

#[test]
fn threads_change_no_bit() {
    let results = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| CASES.map(|case| case.results(true)))
    };
    let bits = |results: [[Vec<f32>; 2]; 8]| {
        let values = results.into_iter().flatten().flatten();
        values.map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(bits(results(1)), bits(results(3)));
}

#[test]
fn channels_that_are_zero_have_finite_gradients() {
    let device = Device::flex().autodiff();
    let x = Tensor::<5>::zeros([1, 2, 1, 8, 8], &device).require_grad();
    let y = tensor("y", [1, 2, 1, 8, 8], &device);
    let kernels = unit_kernels(tensor("kernels", [3, 2, 1, 3, 3], &device));
    let value = magnitudes(&x, &y, &kernels, 1.0);
    let gradient: Vec<f32> = x
        .grad(&value.backward())
        .unwrap()
        .try_into_vec_as()
        .unwrap();
    assert!(gradient.iter().all(|v| v.is_finite()), "{gradient:?}");
}
