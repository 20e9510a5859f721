//! Where kernels see a map that is the same at opposite places: windows, one of each pair that mirrors itself.
//!
//! A window is named by its first corner `t`. It is opposite to the one at `-t - (k - 1)`, modulo the size of the map, along each
//! axis; where that would reach over the edge there is none. Windows come in runs along a row, and runs in bands, whose patches
//! stay in the cache.

use std::ops::Range;

/// Windows of a band at most.
const BAND: usize = 256;

/// Windows beside each other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// The first corner of the first window, as an index into the map.
    pub(super) start: usize,
    pub(super) length: usize,
}

/// All windows that are computed, in order.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    pub(super) runs: Vec<Run>,
    /// Runs of each band.
    pub(super) bands: Vec<Range<usize>>,
    /// Whether a window stands for its opposite too.
    pub(super) has_opposite: Vec<bool>,
}

impl Windows {
    /// Windows of `kernel` in a map of `size`: frames, height, width.
    pub(super) fn new(size: [usize; 3], kernel: [usize; 3]) -> Self {
        let outputs = [0, 1, 2].map(|axis| size[axis] - kernel[axis] + 1);
        let opposite = |axis: usize, t: usize| {
            let turned = (2 * size[axis] - t - (kernel[axis] - 1)) % size[axis];
            (turned < outputs[axis]).then_some(turned)
        };
        let mut windows = Self {
            runs: Vec::new(),
            bands: Vec::new(),
            has_opposite: Vec::new(),
        };
        for frame in 0..outputs[0] {
            for y in 0..outputs[1] {
                let turned = opposite(0, frame).zip(opposite(1, y));
                let row = (frame * size[1] + y) * size[2];
                let order = turned.map(|turned| turned.cmp(&(frame, y)));
                match order {
                    // Those of the opposite row stand for the others.
                    Some(std::cmp::Ordering::Less) => (0..outputs[2])
                        .filter(|x| opposite(2, *x).is_none())
                        .for_each(|x| windows.push(row + x, [false])),
                    Some(std::cmp::Ordering::Greater) => {
                        windows.push(row, (0..outputs[2]).map(|x| opposite(2, x).is_some()));
                    }
                    _ => windows.push(row, (0..outputs[2]).map(|_| false)),
                }
            }
        }
        windows.bands = windows.in_bands();
        windows
    }

    /// Adds windows beside each other, in runs that fit a band.
    fn push(&mut self, mut start: usize, has_opposite: impl IntoIterator<Item = bool>) {
        let before = self.has_opposite.len();
        self.has_opposite.extend(has_opposite);
        let mut left = self.has_opposite.len() - before;
        while left > 0 {
            let length = left.min(BAND);
            self.runs.push(Run { start, length });
            (start, left) = (start + length, left - length);
        }
    }

    fn in_bands(&self) -> Vec<Range<usize>> {
        let (mut bands, mut first, mut size) = (Vec::new(), 0, 0);
        for (i, run) in self.runs.iter().enumerate() {
            if size + run.length > BAND {
                bands.push(first..i);
                (first, size) = (i, 0);
            }
            size += run.length;
        }
        bands.push(first..self.runs.len());
        bands
    }

    /// How many are computed.
    pub(super) fn len(&self) -> usize {
        self.has_opposite.len()
    }

    /// Windows of a band.
    pub(super) fn in_band(&self, band: &Range<usize>) -> usize {
        self.runs[band.clone()].iter().map(|run| run.length).sum()
    }
}

/// The index, relative to a window's corner, of each of its elements.
pub(super) fn offsets(size: [usize; 3], kernel: [usize; 3]) -> Vec<usize> {
    let [kt, kh, kw] = kernel;
    let element = |i: usize| (i / (kh * kw), i / kw % kh, i % kw);
    (0..kt * kh * kw)
        .map(element)
        .map(|(t, y, x)| (t * size[1] + y) * size[2] + x)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_window_is_there_once(
            frames in 1..6usize, height in 1..40usize, width in 1..300usize,
            kernel in prop::array::uniform3(1..6usize),
        ) {
            let size = [frames, height, width];
            prop_assume!(size.iter().zip(kernel).all(|(side, k)| *side >= k));
            let windows = Windows::new(size, kernel);
            let at = |i: usize| [i / (height * width), i / width % height, i % width];
            let mut seen = vec![0; frames * height * width];
            let starts = windows.runs.iter().flat_map(|run| run.start..run.start + run.length);
            for (start, has_opposite) in starts.zip(&windows.has_opposite) {
                seen[start] += 1;
                if *has_opposite {
                    let place = at(start);
                    let turned = [0, 1, 2].map(|a| (2 * size[a] - place[a] - (kernel[a] - 1)) % size[a]);
                    seen[(turned[0] * height + turned[1]) * width + turned[2]] += 1;
                }
            }
            for (i, count) in seen.iter().enumerate() {
                let is_window = at(i).iter().zip(size).zip(kernel).all(|((t, n), k)| t + k <= n);
                prop_assert_eq!(*count, usize::from(is_window), "{:?}", at(i));
            }
            let windows_of: usize = windows.bands.iter().map(|band| windows.in_band(band)).sum();
            prop_assert_eq!(windows_of, windows.len());
            prop_assert!(windows.bands.iter().all(|band| windows.in_band(band) <= BAND));
        }
    }
}
