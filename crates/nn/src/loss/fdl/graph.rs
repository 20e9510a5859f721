//! One stage of the loss in operations of burn's graph, on any device and in any precision: the definition.

use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;

use super::spectrum::Spectrum;
use super::{FdlConfig, Terms};
use crate::conv::conv2d;
use crate::sort::sort_last;

/// # Shapes
/// kernels `[P, C, kt, k, k]`, features `[B, C, F, H, W]`
pub(super) fn stage(
    config: &FdlConfig,
    kernels: &Tensor<5>,
    x: &Tensor<5>,
    y: &Tensor<5>,
) -> Terms {
    let (x, y) = (Spectrum::new(x, config), Spectrum::new(y, config));
    Terms {
        magnitude: sliced_wasserstein(x.magnitude(), y.magnitude(), kernels),
        angle: (config.phase_weight != 0.0)
            .then(|| sliced_wasserstein(x.angle(), y.angle(), kernels)),
    }
}

/// `mean |sort(kernels * x) - sort(kernels * y)|`, per image.
fn sliced_wasserstein(x: Tensor<5>, y: Tensor<5>, kernels: &Tensor<5>) -> Tensor<1> {
    let sorted = |map: Tensor<5>| {
        let responses = convolve(&map, kernels);
        let [b, p, f, h, w] = responses.dims();
        sort_last(responses.reshape([b, p, f * h * w]))
    };
    let [batch, ..] = x.dims();
    (sorted(x) - sorted(y))
        .abs()
        .mean_dim(2)
        .mean_dim(1)
        .reshape([batch])
}

/// A convolution without padding in three dimensions: the frames under a kernel are channels of a plane.
///
/// # Shapes
/// `[B, C, F, H, W]`, `[P, C, kt, kh, kw]` -> `[B, P, F - kt + 1, H - kh + 1, W - kw + 1]`
fn convolve(map: &Tensor<5>, kernels: &Tensor<5>) -> Tensor<5> {
    let ([b, c, frames, h, w], [p, _, kt, kh, kw]) = (map.dims(), kernels.dims());
    let flat = kernels.clone().reshape([p, c * kt, kh, kw]);
    let frame = |start: usize| {
        let seen = map.clone().narrow(2, start, kt).reshape([b, c * kt, h, w]);
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        conv2d(seen, flat.clone(), None, options).unsqueeze_dim::<5>(2)
    };
    Tensor::cat((0..=frames - kt).map(frame).collect(), 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use burn::tensor::module::conv3d;
    use vae2x_core::weights::formula;
    use vae2x_testkit::compare::relative_l2;
    use vae2x_testkit::tolerance::CONV_F32;

    #[test]
    fn stacked_frames_are_a_convolution_in_three_dimensions() {
        let tensor = |name: &str, shape: [usize; 5]| -> Tensor<5> {
            let values: Vec<f32> = formula::unit(name, shape.iter().product()).collect();
            Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape(shape)
        };
        for (map, kernels) in [
            ([2, 3, 6, 7, 8], [4, 3, 5, 5, 5]),
            ([1, 2, 3, 5, 6], [3, 2, 3, 2, 4]),
            ([1, 2, 4, 5, 5], [3, 2, 1, 5, 3]),
        ] {
            let (map, kernels) = (tensor("map", map), tensor("kernels", kernels));
            let options = burn::tensor::ops::ConvOptions::new([1; 3], [0; 3], [1; 3], 1);
            let got = convolve(&map, &kernels);
            let want = conv3d(map, kernels, None, options);
            assert_eq!(got.dims(), want.dims());
            let [got, want] = [got, want].map(|t| t.try_into_vec_as::<f32>().unwrap());
            assert!(relative_l2(&got, &want) <= CONV_F32);
        }
    }
}
