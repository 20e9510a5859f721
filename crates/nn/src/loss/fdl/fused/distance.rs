//! The distance of one image's magnitudes from another's, and its gradient.

use std::ops::Range;

use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorData};
use rayon::prelude::*;

use super::order::{key, sort, value};
use super::transform::Transform;
use super::windows::{Run, Windows, offsets};
use crate::loss::fdl::RESPONSES;

/// Channels whose gradients are made at a time.
const CHANNELS: usize = 4;

/// What the distances of a stage share.
pub(super) struct Distance {
    transform: Transform,
    windows: Windows,
    /// Values of a channel.
    map: usize,
    channels: usize,
    projections: usize,
    /// The elements of a window that come in opposite pairs, and the one in the middle, if there is one.
    pairs: Vec<[usize; 2]>,
    middle: Option<usize>,
    chunks: Vec<Chunk>,
}

/// Some of the random kernels.
struct Chunk {
    size: usize,
    /// For sums of opposite elements, then the middle one; for differences.
    halves: [Matrix; 2],
}

/// A matrix of kernels' elements, and its transpose.
struct Matrix {
    /// `[P, C n]`
    rows: FlexTensor,
    /// `[C n, P]`
    columns: Vec<f32>,
    /// Elements of one channel.
    elements: usize,
}

/// Responses of a band of windows to a chunk of kernels.
struct Tile {
    windows: usize,
    /// `[P, windows]`: even and odd halves.
    halves: [FlexTensor; 2],
}

fn tensor(values: Vec<f32>, shape: [usize; 2]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A product of `[n, k]` and `[k, m]`, zeros if `k` is 0.
fn product(a: &FlexTensor, b: FlexTensor) -> FlexTensor {
    let (rows, columns) = (a.layout().shape()[0], b.layout().shape()[1]);
    match a.layout().num_elements() {
        0 => tensor(vec![0.0; rows * columns], [rows, columns]),
        _ => Flex::float_matmul(a.clone(), b),
    }
}

impl Matrix {
    /// From kernels `[P, C, T]`, `half` of an element being made of it and its opposite.
    fn new(
        kernels: &[f32],
        [channels, taps]: [usize; 2],
        half: impl Fn(&[f32]) -> Vec<f32>,
    ) -> Self {
        let size = kernels.len() / (channels * taps);
        let rows: Vec<f32> = kernels.chunks_exact(taps).flat_map(half).collect();
        let length = rows.len() / size;
        let columns = (0..rows.len())
            .map(|i| rows[i % size * length + i / size])
            .collect();
        Self {
            rows: tensor(rows, [size, length]),
            columns,
            elements: length / channels,
        }
    }
}

impl Chunk {
    fn new(kernels: &[f32], [channels, taps]: [usize; 2]) -> Self {
        let even = |kernel: &[f32]| -> Vec<f32> {
            let pairs = kernel.iter().zip(kernel.iter().rev()).take(taps / 2);
            let middle = kernel.get(taps / 2).filter(|_| taps % 2 == 1);
            pairs
                .map(|(a, b)| 0.5 * (a + b))
                .chain(middle.copied())
                .collect()
        };
        let odd = |kernel: &[f32]| -> Vec<f32> {
            let pairs = kernel.iter().zip(kernel.iter().rev()).take(taps / 2);
            pairs.map(|(a, b)| 0.5 * (a - b)).collect()
        };
        Self {
            size: kernels.len() / (channels * taps),
            halves: [
                Matrix::new(kernels, [channels, taps], even),
                Matrix::new(kernels, [channels, taps], odd),
            ],
        }
    }
}

impl Distance {
    /// For features `[C, F, H, W]`, with kernels `[P, C, kt, kh, kw]`; magnitudes are multiplied by `scale`.
    pub(super) fn new(features: &[usize], kernels: &FlexTensor, scale: f64) -> Self {
        Self::in_chunks(features, kernels, scale, RESPONSES)
    }

    /// With so many responses at once, or those of one kernel.
    pub(super) fn in_chunks(
        features: &[usize],
        kernels: &FlexTensor,
        scale: f64,
        responses: usize,
    ) -> Self {
        let size = [features[1], features[2], features[3]];
        let shape = kernels.layout().shape();
        let kernel = [shape[2], shape[3], shape[4]];
        let (projections, channels) = (shape[0], shape[1]);
        let offsets = offsets(size, kernel);
        let taps = offsets.len();
        let outputs: usize = size.iter().zip(kernel).map(|(n, k)| n - k + 1).product();
        let chunk = (responses / outputs).clamp(1, projections);
        let chunks = kernels.storage::<f32>().chunks(chunk * channels * taps);
        Self {
            transform: Transform::new(size, scale),
            windows: Windows::new(size, kernel),
            map: size.iter().product(),
            channels,
            projections,
            pairs: (0..taps / 2)
                .map(|i| [offsets[i], offsets[taps - 1 - i]])
                .collect(),
            middle: (taps % 2 == 1).then(|| offsets[taps / 2]),
            chunks: chunks
                .map(|kernels| Chunk::new(kernels, [channels, taps]))
                .collect(),
        }
    }

    /// The distance; the gradient of `x` goes to `gradient`.
    ///
    /// # Shapes
    /// `[C, F, H, W]`, all
    pub(super) fn of_image(&self, x: &[f32], y: &[f32], gradient: Option<&mut [f32]>) -> f32 {
        let spectra = self.transform.spectra(x);
        let wanted = self.transform.magnitudes(&self.transform.spectra(y));
        let seen = self.transform.magnitudes(&spectra);
        let mut slopes = vec![0.0; if gradient.is_some() { seen.len() } else { 0 }];
        let mut sum = 0.0;
        for chunk in &self.chunks {
            let (seen, wanted) = (self.responses(chunk, &seen), self.responses(chunk, &wanted));
            let (sums, signs): (Vec<f64>, Vec<Signs>) = (0..chunk.size)
                .into_par_iter()
                .map(|kernel| self.compare(kernel, &seen, &wanted))
                .unzip();
            sum += sums.iter().sum::<f64>();
            drop((seen, wanted));
            if !slopes.is_empty() {
                self.add_gradient(chunk, &signs, &mut slopes);
            }
        }
        let count = (self.projections * self.count()) as f64;
        if let Some(gradient) = gradient {
            slopes
                .par_iter_mut()
                .for_each(|slope| *slope /= count as f32);
            self.transform.backward(&slopes, spectra, gradient);
        }
        (sum / count) as f32
    }

    /// Windows, with those that others stand for.
    fn count(&self) -> usize {
        let opposites = self.windows.has_opposite.iter().filter(|has| **has).count();
        self.windows.len() + opposites
    }

    fn responses(&self, chunk: &Chunk, magnitudes: &[f32]) -> Vec<Tile> {
        let bands = self.windows.bands.par_iter();
        bands
            .map(|band| {
                let windows = self.windows.in_band(band);
                let runs = &self.windows.runs[band.clone()];
                let [sums, differences] = self.patches(runs, windows, magnitudes);
                let [even, odd] = &chunk.halves;
                let rows = |half: &Matrix| half.elements * self.channels;
                Tile {
                    windows,
                    halves: [
                        product(&even.rows, tensor(sums, [rows(even), windows])),
                        product(&odd.rows, tensor(differences, [rows(odd), windows])),
                    ],
                }
            })
            .collect()
    }

    /// Sums of opposite elements, with the middle, and differences, under each window.
    ///
    /// # Shapes
    /// `[C, F, H, W]` -> `[C n, windows]`, both
    fn patches(&self, runs: &[Run], windows: usize, magnitudes: &[f32]) -> [Vec<f32>; 2] {
        let pairs = self.channels * self.pairs.len();
        let middles = self.channels * usize::from(self.middle.is_some());
        let mut sums = Vec::with_capacity((pairs + middles) * windows);
        let mut differences = Vec::with_capacity(pairs * windows);
        for map in magnitudes.chunks_exact(self.map) {
            for &[first, last] in &self.pairs {
                for run in runs {
                    let first = &map[run.start + first..][..run.length];
                    let last = &map[run.start + last..][..run.length];
                    sums.extend(first.iter().zip(last).map(|(a, b)| a + b));
                    differences.extend(first.iter().zip(last).map(|(a, b)| a - b));
                }
            }
            if let Some(middle) = self.middle {
                for run in runs {
                    sums.extend_from_slice(&map[run.start + middle..][..run.length]);
                }
            }
        }
        [sums, differences]
    }

    /// The responses to one kernel, of windows and then of the opposites that some of them stand for.
    fn each_response(&self, kernel: usize, tiles: &[Tile], mut f: impl FnMut(f32, usize)) {
        let mut place = 0;
        for tile in tiles {
            let [even, odd] = tile.halves.each_ref().map(|half| {
                let responses: &[f32] = half.storage();
                &responses[kernel * tile.windows..][..tile.windows]
            });
            for (even, odd) in even.iter().zip(odd) {
                f(even + odd, 2 * place);
                if self.windows.has_opposite[place] {
                    f(even - odd, 2 * place + 1);
                }
                place += 1;
            }
        }
    }

    /// The sum of absolute differences of sorted responses to one kernel, and the slopes of its halves.
    fn compare(&self, kernel: usize, seen: &[Tile], wanted: &[Tile]) -> (f64, Signs) {
        let count = self.count();
        let mut places = Vec::with_capacity(count);
        self.each_response(kernel, seen, |response, place| {
            places.push(u64::from(key(response)) << 32 | place as u64);
        });
        sort(&mut places, &mut vec![0; count]);
        let mut keys = Vec::with_capacity(count);
        self.each_response(kernel, wanted, |response, _| keys.push(key(response)));
        sort(&mut keys, &mut vec![0; count]);
        let mut signs = vec![0; 2 * self.windows.len()];
        let mut sum = 0.0;
        for (seen, wanted) in places.iter().zip(&keys) {
            let difference = value((seen >> 32) as u32) - value(*wanted);
            sum += f64::from(difference.abs());
            signs[*seen as u32 as usize] = i8::from(difference > 0.0) - i8::from(difference < 0.0);
        }
        (sum, Signs(signs))
    }

    /// Adds the gradient of magnitudes, before its factor.
    ///
    /// # Shapes
    /// `[C, F, H, W]`
    fn add_gradient(&self, chunk: &Chunk, signs: &[Signs], slopes: &mut [f32]) {
        let mut first = 0;
        let bands: Vec<_> = self
            .windows
            .bands
            .iter()
            .map(|band| {
                let windows = first..first + self.windows.in_band(band);
                first = windows.end;
                (band, windows)
            })
            .collect();
        let slopes_of = |windows: &Range<usize>, half: i8| {
            let of_kernels = signs.iter().flat_map(|signs| signs.half(windows, half));
            let values: Vec<f32> = of_kernels.collect();
            tensor(values, [chunk.size, windows.len()])
        };
        let halves: Vec<_> = bands
            .par_iter()
            .map(|(_, windows)| [slopes_of(windows, 1), slopes_of(windows, -1)])
            .collect();
        slopes
            .par_chunks_mut(CHANNELS * self.map)
            .enumerate()
            .for_each(|(block, maps)| {
                let channels = maps.len() / self.map;
                let [even, odd] = chunk.halves.each_ref().map(|half| {
                    let row = half.elements * chunk.size;
                    let rows = &half.columns[block * CHANNELS * row..][..channels * row];
                    tensor(rows.to_vec(), [channels * half.elements, chunk.size])
                });
                for ((band, windows), [of_even, of_odd]) in bands.iter().zip(&halves) {
                    let sums = product(&even, of_even.clone());
                    let differences = product(&odd, of_odd.clone());
                    let runs = &self.windows.runs[(*band).clone()];
                    let halves = [sums.storage(), differences.storage()];
                    self.scatter(runs, windows.len(), halves, maps);
                }
            });
    }

    /// Adds gradients of sums and differences to those of the magnitudes that they are made of.
    fn scatter(&self, runs: &[Run], windows: usize, halves: [&[f32]; 2], maps: &mut [f32]) {
        let [mut sums, mut differences] = halves.map(|half| half.chunks_exact(windows));
        for map in maps.chunks_exact_mut(self.map) {
            for &[first, last] in &self.pairs {
                let (Some(sums), Some(differences)) = (sums.next(), differences.next()) else {
                    return;
                };
                let mut place = 0;
                for run in runs {
                    let sums = &sums[place..][..run.length];
                    let differences = &differences[place..][..run.length];
                    let to = &mut map[run.start + first..][..run.length];
                    for ((to, sum), difference) in to.iter_mut().zip(sums).zip(differences) {
                        *to += sum + difference;
                    }
                    let to = &mut map[run.start + last..][..run.length];
                    for ((to, sum), difference) in to.iter_mut().zip(sums).zip(differences) {
                        *to += sum - difference;
                    }
                    place += run.length;
                }
            }
            if let Some(middle) = self.middle {
                let Some(mut sums) = sums.next() else { return };
                for run in runs {
                    let (here, rest) = sums.split_at(run.length);
                    let to = &mut map[run.start + middle..][..run.length];
                    to.iter_mut().zip(here).for_each(|(to, sum)| *to += sum);
                    sums = rest;
                }
            }
        }
    }
}

/// Signs of the differences that responses to one kernel have a part in: of each window and its opposite.
struct Signs(Vec<i8>);

impl Signs {
    /// The slopes of even halves of responses, or of odd ones, by the sign of the opposite's part.
    fn half(&self, windows: &Range<usize>, opposite: i8) -> impl Iterator<Item = f32> + use<'_> {
        let pairs = self.0[2 * windows.start..2 * windows.end]
            .as_chunks::<2>()
            .0;
        pairs
            .iter()
            .map(move |[here, there]| f32::from(here + opposite * there))
    }
}
