//! The discrete Fourier transform as products with matrices of cosines and sines: exact for any size, differentiable on every
//! device.
//!
//! Sines at multiples of pi are exact zeros, so that the angle of bins that are real by symmetry does not depend on rounding. The
//! angle's gradient is unbounded at a zero magnitude and jumps at the angle's cut; [`SMALLEST`] bounds it.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{Axes, FdlConfig, SMALLEST};

/// A complex tensor `[B, C, F, H, W]`.
pub(super) struct Spectrum {
    re: Tensor<5>,
    im: Tensor<5>,
    /// What magnitudes are multiplied by.
    scale: f64,
}

impl Spectrum {
    /// # Shapes
    /// `[B, C, F, H, W]`
    pub(super) fn new(x: &Tensor<5>, config: &FdlConfig) -> Self {
        let shape = x.dims();
        let [b, c, f, h, w] = shape;
        let like = (&x.device(), x.dtype());
        let (cos, sin) = dft(w, like);
        let rows = x.clone().reshape([b * c * f, h, w]);
        let along_width = Planes {
            re: rows.clone().matmul(cos.unsqueeze()),
            im: rows.matmul(sin.unsqueeze()).neg(),
        };
        let mut planes = along_width.product(dft(h, like));
        if config.axes == Axes::Volume {
            planes = planes
                .reshape([b * c, f, h * w])
                .product(dft(f, like))
                .reshape([b * c * f, h, w]);
        }
        Self {
            re: planes.re.reshape(shape),
            im: planes.im.reshape(shape),
            scale: config.scale(shape),
        }
    }

    pub(super) fn magnitude(&self) -> Tensor<5> {
        let squares = self.re.clone().square() + self.im.clone().square();
        (squares + SMALLEST).sqrt().mul_scalar(self.scale)
    }

    /// In (-pi, pi]. Bins of no magnitude have the angle 0 and no gradient.
    pub(super) fn angle(&self) -> Tensor<5> {
        let empty = (self.re.clone().square() + self.im.clone().square()).lower_elem(SMALLEST);
        self.im.clone().atan2(self.re.clone().mask_fill(empty, 1.0))
    }
}

/// Complex matrices `[N, n, m]`.
struct Planes {
    re: Tensor<3>,
    im: Tensor<3>,
}

impl Planes {
    /// `(cos - i sin) (re + i im)`, along the rows' index.
    fn product(self, (cos, sin): (Tensor<2>, Tensor<2>)) -> Self {
        let times =
            |matrix: &Tensor<2>, t: &Tensor<3>| matrix.clone().unsqueeze::<3>().matmul(t.clone());
        Self {
            re: times(&cos, &self.re) + times(&sin, &self.im),
            im: times(&cos, &self.im) - times(&sin, &self.re),
        }
    }

    fn reshape(self, shape: [usize; 3]) -> Self {
        Self {
            re: self.re.reshape(shape),
            im: self.im.reshape(shape),
        }
    }
}

/// The matrices `cos(2 pi j k / n)` and `sin(2 pi j k / n)`, symmetric, exact at multiples of a quarter turn.
///
/// # Shapes
/// `[n, n]`, both
fn dft(n: usize, like: (&Device, DType)) -> (Tensor<2>, Tensor<2>) {
    let quarter = |turn: usize| match (4 * turn).is_multiple_of(n) {
        true => [0.0, 1.0, 0.0, -1.0][4 * turn / n],
        false => (std::f64::consts::TAU * turn as f64 / n as f64).sin(),
    };
    // cos(a) = sin(a + pi / 2), computed apart where a quarter turn is not a whole step.
    let cosine = |turn: usize| match (4 * turn).is_multiple_of(n) {
        true => [1.0, 0.0, -1.0, 0.0][4 * turn / n],
        false => (std::f64::consts::TAU * turn as f64 / n as f64).cos(),
    };
    let matrix = |f: &dyn Fn(usize) -> f64| {
        let values: Vec<f64> = (0..n * n).map(|i| f((i / n) * (i % n) % n)).collect();
        Tensor::from_data(TensorData::new(values, [n, n]), like)
    };
    (matrix(&cosine), matrix(&quarter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::fdl::Norm;
    use vae2x_core::weights::formula;

    fn clip(shape: [usize; 5]) -> Tensor<5> {
        let values: Vec<f32> = formula::unit("spectrum", shape.iter().product()).collect();
        Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape(shape)
    }

    fn config(axes: Axes, norm: Norm) -> FdlConfig {
        FdlConfig {
            axes,
            norm,
            ..FdlConfig::default()
        }
    }

    /// The definition of the plane's or volume's transform, in double precision.
    fn slow(values: &[f32], [f, h, w]: [usize; 3]) -> Vec<(f64, f64)> {
        let at = |i: usize| (i / (h * w), i / w % h, i % w);
        let turn = |a: usize, b: usize, n: usize| (a * b % n) as f64 / n as f64;
        let bin = |k: usize| {
            let (kf, kh, kw) = at(k);
            let terms = values.iter().enumerate().map(|(i, &v)| {
                let (xf, xh, xw) = at(i);
                let turns = turn(xf, kf, f) + turn(xh, kh, h) + turn(xw, kw, w);
                let phase = std::f64::consts::TAU * turns;
                (f64::from(v) * phase.cos(), -f64::from(v) * phase.sin())
            });
            terms.fold((0.0, 0.0), |sum, term| (sum.0 + term.0, sum.1 + term.1))
        };
        (0..f * h * w).map(bin).collect()
    }

    #[test]
    fn the_transform_is_its_definition_at_any_size() {
        for (shape, axes) in [
            ([1, 2, 1, 4, 6], Axes::Plane),
            ([1, 2, 3, 5, 7], Axes::Volume),
            ([2, 1, 4, 3, 8], Axes::Volume),
        ] {
            let x = clip(shape);
            let values: Vec<f32> = x.clone().try_into_vec_as().unwrap();
            let spectrum = Spectrum::new(&x, &config(axes, Norm::Backward));
            let re: Vec<f32> = spectrum.re.try_into_vec_as().unwrap();
            let im: Vec<f32> = spectrum.im.try_into_vec_as().unwrap();
            let [_, _, f, h, w] = shape;
            let size = f * h * w;
            for (channel, values) in values.chunks_exact(size).enumerate() {
                let bins = re.iter().zip(&im).skip(channel * size);
                for (got, want) in bins.zip(slow(values, [f, h, w])) {
                    let error =
                        (f64::from(*got.0) - want.0).abs() + (f64::from(*got.1) - want.1).abs();
                    assert!(error < 1e-5, "{shape:?} {axes:?}: {got:?} {want:?}");
                }
            }
        }
    }

    #[test]
    fn an_orthonormal_transform_keeps_the_power() {
        let power = |t: Tensor<5>| t.square().sum().into_scalar::<f32>();
        for (shape, axes) in [
            ([1, 2, 1, 6, 10], Axes::Plane),
            ([1, 2, 5, 6, 7], Axes::Volume),
        ] {
            let x = clip(shape);
            let spectrum = Spectrum::new(&x, &config(axes, Norm::Ortho));
            let ratio = power(spectrum.magnitude()) / power(x);
            assert!((ratio - 1.0).abs() < 1e-5, "{axes:?}: {ratio}");
        }
    }

    #[test]
    fn real_bins_are_real_exactly() {
        let spectrum = Spectrum::new(&clip([1, 1, 1, 6, 4]), &config(Axes::Plane, Norm::Backward));
        let im: Vec<f32> = spectrum.im.try_into_vec_as().unwrap();
        for (h, w) in [(0, 0), (0, 2), (3, 0), (3, 2)] {
            assert_eq!(im[h * 4 + w], 0.0);
        }
    }
}
