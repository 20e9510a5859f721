//! Separable convolution of planes with short symmetric kernels, mirrored at the edges.
//!
//! Edges mirror with the last sample repeated (`c b a | a b c`), which keeps every mean. Each pass
//! adds one tap of the kernel to a whole row at a time, which compilers vectorize.

use vae2x_core::{Array, Result};

use crate::pixels::picture_size;

/// How far Gaussians reach, in standard deviations: the weight beyond is below 1e-4.
const REACH: f64 = 4.0;

/// Symmetric taps whose sum is 1.
#[derive(Clone, Debug)]
pub(crate) struct Kernel(Vec<f64>);

impl Kernel {
    /// Samples of `shape` around its centre, scaled to the sum 1: at whole numbers if `length` is
    /// odd, else at halves.
    pub fn sampled(length: usize, shape: impl Fn(f64) -> f64) -> Self {
        let centre = (length as f64 - 1.0) / 2.0;
        let taps: Vec<f64> = (0..length).map(|i| shape(i as f64 - centre)).collect();
        let sum: f64 = taps.iter().sum();
        Self(taps.iter().map(|tap| tap / sum).collect())
    }

    /// A Gaussian of standard deviation `sigma` samples.
    pub fn gaussian(sigma: f64) -> Self {
        let radius = (REACH * sigma).ceil() as usize;
        Self::sampled(2 * radius + 1, |x| (-0.5 * (x / sigma).powi(2)).exp())
    }

    /// The convolution of both kernels.
    pub fn then(&self, other: &Self) -> Self {
        let mut taps = vec![0.0; self.0.len() + other.0.len() - 1];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate() {
                taps[i + j] += a * b;
            }
        }
        Self(taps)
    }

    /// The gain for a sine of `frequency` cycles per sample.
    #[cfg(test)]
    pub fn response(&self, frequency: f64) -> f64 {
        let centre = (self.0.len() as f64 - 1.0) / 2.0;
        let turn = std::f64::consts::TAU * frequency;
        self.0
            .iter()
            .enumerate()
            .map(|(i, tap)| tap * (turn * (i as f64 - centre)).cos())
            .sum()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn taps(&self) -> impl Iterator<Item = (usize, f32)> {
        self.0.iter().map(|&tap| tap as f32).enumerate()
    }
}

/// Convolves each plane along both axes and keeps one of `stride` results: output `i` is centred on
/// samples `stride i` to `stride i + stride - 1`, so the kernel's length is even where the stride
/// is.
///
/// # Shapes
/// `[3, H, W]` -> `[3, H / stride, W / stride]`, both whole numbers
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless the array is an image.
pub(crate) fn convolve(image: &Array, kernel: &Kernel, stride: usize) -> Result<Array> {
    debug_assert_eq!(kernel.len() % 2, stride % 2);
    let [height, width] = picture_size(image)?;
    let mut data = Vec::with_capacity(image.data().len() / (stride * stride));
    for plane in image.data().chunks_exact(height * width) {
        let narrow = along_rows(plane, width, kernel, stride);
        data.extend(along_columns(&narrow, width / stride, kernel, stride));
    }
    Array::new([3, height / stride, width / stride], data)
}

/// `[H, width]` -> `[H, width / stride]`
fn along_rows(plane: &[f32], width: usize, kernel: &Kernel, stride: usize) -> Vec<f32> {
    let before = (kernel.len() - stride) / 2;
    let mut padded = vec![0.0; width + 2 * before];
    let mut out = vec![0.0; plane.len() / width * (width / stride)];
    for (row, sums) in plane
        .chunks_exact(width)
        .zip(out.chunks_exact_mut(width / stride))
    {
        padded[before..before + width].copy_from_slice(row);
        for i in (0..before).chain(before + width..padded.len()) {
            padded[i] = row[mirrored(i as isize - before as isize, width)];
        }
        for (k, tap) in kernel.taps() {
            sums.iter_mut()
                .zip(padded[k..].iter().step_by(stride))
                .for_each(|(sum, v)| *sum += tap * v);
        }
    }
    out
}

/// `[H, width]` -> `[H / stride, width]`
fn along_columns(plane: &[f32], width: usize, kernel: &Kernel, stride: usize) -> Vec<f32> {
    let before = ((kernel.len() - stride) / 2) as isize;
    let height = plane.len() / width;
    let mut out = vec![0.0; height / stride * width];
    for (y, sums) in out.chunks_exact_mut(width).enumerate() {
        for (k, tap) in kernel.taps() {
            let row = mirrored((y * stride + k) as isize - before, height);
            sums.iter_mut()
                .zip(&plane[row * width..][..width])
                .for_each(|(sum, v)| *sum += tap * v);
        }
    }
    out
}

/// The sample that stands at `index` of a line of `length` samples and its mirror images.
fn mirrored(index: isize, length: usize) -> usize {
    let place = index.rem_euclid(2 * length as isize) as usize;
    place.min(2 * length - 1 - place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vae2x_core::weights::formula::unit;
    use vae2x_testkit::compare::assert_close;

    /// Four nested loops, in `f64`.
    fn obvious(image: &Array, kernel: &Kernel, stride: usize) -> Array {
        let [h, w] = picture_size(image).unwrap();
        let before = ((kernel.len() - stride) / 2) as isize;
        let mut out = Array::zeros([3, h / stride, w / stride]);
        let (oh, ow) = (h / stride, w / stride);
        for (i, value) in out.data_mut().iter_mut().enumerate() {
            let (c, y, x) = (i / (oh * ow), i / ow % oh, i % ow);
            let at = |ky: usize, kx: usize| {
                let y = mirrored((y * stride + ky) as isize - before, h);
                let x = mirrored((x * stride + kx) as isize - before, w);
                f64::from(image.data()[(c * h + y) * w + x])
            };
            let pairs = (0..kernel.len()).flat_map(|ky| (0..kernel.len()).map(move |kx| (ky, kx)));
            *value = pairs
                .map(|(ky, kx)| kernel.0[ky] * kernel.0[kx] * at(ky, kx))
                .sum::<f64>() as f32;
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rows_then_columns_are_the_obvious_sum(
            h in 1usize..7, w in 1usize..7, stride in 1usize..4, longer in 0usize..6, seed in 0u32..1000,
        ) {
            let image = Array::new(
                [3, stride * h, stride * w],
                unit(&format!("{seed}"), 3 * stride * h * stride * w).collect(),
            ).unwrap();
            let kernel = Kernel::sampled(stride + 2 * longer, |x| 1.0 / (1.0 + x * x));
            let got = convolve(&image, &kernel, stride).unwrap();
            // Some twenty additions in f32.
            assert_close("convolved", &got, &obvious(&image, &kernel, stride), 1e-5);
        }
    }

    #[test]
    fn gaussians_have_their_deviation() {
        for sigma in [0.6, 1.0, 3.5] {
            let frequency = 0.1 / sigma;
            let expected = (-2.0 * (std::f64::consts::PI * sigma * frequency).powi(2)).exp();
            let got = Kernel::gaussian(sigma).response(frequency);
            // Sampling narrow ones moves it a little.
            assert!((got - expected).abs() < 0.01, "{sigma}: {got} {expected}");
        }
    }

    #[test]
    fn joined_kernels_multiply_their_responses() {
        let (a, b) = (
            Kernel::gaussian(0.7),
            Kernel::sampled(4, |x| 1.0 / (1.0 + x * x)),
        );
        for frequency in [0.0, 0.1, 0.37, 0.5] {
            let (got, want) = (
                a.then(&b).response(frequency),
                a.response(frequency) * b.response(frequency),
            );
            assert!((got - want).abs() < 1e-12, "{frequency}: {got} {want}");
        }
    }
}
