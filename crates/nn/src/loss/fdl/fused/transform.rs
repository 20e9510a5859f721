//! Magnitudes of the Fourier transform of real values, and their gradient, by fast transforms of one channel at a time.
//!
//! Of a spectrum only half is kept, `width / 2 + 1` columns; the rest is its mirror image. Columns lie one after the other,
//! `[F, W / 2 + 1, H]`.

use std::sync::Arc;

use rayon::prelude::*;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner};

use crate::loss::fdl::SMALLEST;

/// The transforms of a size.
pub(super) struct Transform {
    /// Frames, height, width.
    size: [usize; 3],
    scale: f32,
    rows: Arc<dyn RealToComplex<f32>>,
    rows_back: Arc<dyn ComplexToReal<f32>>,
    /// Along frames and height.
    along: [Arc<dyn Fft<f32>>; 2],
    along_back: [Arc<dyn Fft<f32>>; 2],
}

impl Transform {
    /// Magnitudes are multiplied by `scale`.
    pub(super) fn new(size: [usize; 3], scale: f64) -> Self {
        let (mut real, mut complex) = (RealFftPlanner::new(), FftPlanner::new());
        Self {
            size,
            scale: scale as f32,
            rows: real.plan_fft_forward(size[2]),
            rows_back: real.plan_fft_inverse(size[2]),
            along: [0, 1].map(|axis| complex.plan_fft_forward(size[axis])),
            along_back: [0, 1].map(|axis| complex.plan_fft_inverse(size[axis])),
        }
    }

    fn values(&self) -> usize {
        self.size.iter().product()
    }

    fn columns(&self) -> usize {
        self.size[2] / 2 + 1
    }

    /// Bins of the half that is kept.
    fn bins(&self) -> usize {
        self.size[0] * self.size[1] * self.columns()
    }

    /// Half spectra of all channels.
    ///
    /// # Shapes
    /// `[C, F, H, W]` -> `[C, F, W / 2 + 1, H]`
    pub(super) fn spectra(&self, features: &[f32]) -> Vec<Complex<f32>> {
        let channels = features.len() / self.values();
        let mut spectra = vec![Complex::default(); channels * self.bins()];
        spectra
            .par_chunks_exact_mut(self.bins())
            .zip(features.par_chunks_exact(self.values()))
            .for_each(|(bins, values)| self.spectrum(values, bins));
        spectra
    }

    fn spectrum(&self, values: &[f32], bins: &mut [Complex<f32>]) {
        let ([_, height, width], columns) = (self.size, self.columns());
        let mut row = vec![0.0; width];
        let mut line = vec![Complex::default(); columns];
        let frames = bins.chunks_exact_mut(height * columns);
        for (frame, bins) in values.chunks_exact(height * width).zip(frames) {
            for (y, values) in frame.chunks_exact(width).enumerate() {
                row.copy_from_slice(values);
                // Buffers have the lengths of the plan.
                let _ = self.rows.process(&mut row, &mut line);
                for (bin, value) in bins[y..].iter_mut().step_by(height).zip(&line) {
                    *bin = *value;
                }
            }
        }
        self.columns_and_frames(&self.along, bins);
    }

    /// Transforms along frames and height, in place.
    fn columns_and_frames(&self, plans: &[Arc<dyn Fft<f32>>; 2], bins: &mut [Complex<f32>]) {
        plans[1].process(bins);
        let (frames, plane) = (self.size[0], self.size[1] * self.columns());
        if frames == 1 {
            return;
        }
        let mut line = vec![Complex::default(); frames];
        for i in 0..plane {
            for (value, bin) in line.iter_mut().zip(bins[i..].iter().step_by(plane)) {
                *value = *bin;
            }
            plans[0].process(&mut line);
            for (value, bin) in line.iter().zip(bins[i..].iter_mut().step_by(plane)) {
                *bin = *value;
            }
        }
    }

    /// Magnitudes of all bins.
    ///
    /// # Shapes
    /// `[C, F, W / 2 + 1, H]` -> `[C, F, H, W]`
    pub(super) fn magnitudes(&self, spectra: &[Complex<f32>]) -> Vec<f32> {
        let channels = spectra.len() / self.bins();
        let mut magnitudes = vec![0.0; channels * self.values()];
        magnitudes
            .par_chunks_exact_mut(self.values())
            .zip(spectra.par_chunks_exact(self.bins()))
            .for_each(|(magnitudes, bins)| {
                for (i, bin) in bins.iter().enumerate() {
                    let magnitude = self.scale * (bin.norm_sqr() + SMALLEST).sqrt();
                    let [place, opposite] = self.places(i);
                    magnitudes[place] = magnitude;
                    magnitudes[opposite] = magnitude;
                }
            });
        magnitudes
    }

    /// Where a bin of the half lies in the whole, and where its mirror image does.
    fn places(&self, bin: usize) -> [usize; 2] {
        let ([frames, height, width], columns) = (self.size, self.columns());
        let (frame, x, y) = (
            bin / (columns * height),
            bin / height % columns,
            bin % height,
        );
        let turned = |i: usize, n: usize| (n - i) % n;
        let opposite = (turned(frame, frames) * height + turned(y, height)) * width;
        [
            (frame * height + y) * width + x,
            opposite + turned(x, width),
        ]
    }

    /// The gradient of features, given that of their magnitudes; consumes their spectra.
    ///
    /// # Shapes
    /// `[C, F, H, W]`, `[C, F, W / 2 + 1, H]` -> `[C, F, H, W]`
    pub(super) fn backward(
        &self,
        slopes: &[f32],
        mut spectra: Vec<Complex<f32>>,
        features: &mut [f32],
    ) {
        features
            .par_chunks_exact_mut(self.values())
            .zip(spectra.par_chunks_exact_mut(self.bins()))
            .zip(slopes.par_chunks_exact(self.values()))
            .for_each(|((features, bins), slopes)| self.channel_backward(slopes, bins, features));
    }

    fn channel_backward(&self, slopes: &[f32], bins: &mut [Complex<f32>], features: &mut [f32]) {
        for (i, bin) in bins.iter_mut().enumerate() {
            let [place, opposite] = self.places(i);
            let slope = 0.5 * self.scale * (slopes[place] + slopes[opposite]);
            *bin *= slope / (bin.norm_sqr() + SMALLEST).sqrt();
        }
        self.columns_and_frames(&self.along_back, bins);
        let ([_, height, width], columns) = (self.size, self.columns());
        let mut line = vec![Complex::default(); columns];
        let frames = bins.chunks_exact(height * columns);
        for (frame, bins) in features.chunks_exact_mut(height * width).zip(frames) {
            for (y, row) in frame.chunks_exact_mut(width).enumerate() {
                for (value, bin) in line.iter_mut().zip(bins[y..].iter().step_by(height)) {
                    *value = *bin;
                }
                // Sums of mirror images are real but for rounding.
                line[0].im = 0.0;
                if width.is_multiple_of(2) {
                    line[columns - 1].im = 0.0;
                }
                // Buffers have the lengths of the plan.
                let _ = self.rows_back.process(&mut line, row);
            }
        }
    }
}
