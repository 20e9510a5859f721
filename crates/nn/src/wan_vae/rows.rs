//! Rows of an image, and which rows of a layer's input some rows of its output depend on.
//!
//! Behind the attention the network is 3x3 convolutions and per-pixel norms. A band that is computed with enough rows
//! above and below it, and then cut, equals those rows of the whole image: what the zero padding at a cut edge spoils
//! is cut away, and at the image's own edges the padding is right. Only the height is cut; bands have the full width.

use burn::tensor::Tensor;

/// Consecutive rows of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The first one.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// How many the image has.
    pub height: usize,
}

impl Rows {
    /// All rows.
    pub fn whole(height: usize) -> Self {
        Self {
            start: 0,
            end: height,
            height,
        }
    }

    /// `height` rows in bands of at most `most >= 1`, as even as possible.
    pub fn bands(height: usize, most: usize) -> Vec<Self> {
        let count = height.div_ceil(most);
        (0..count)
            .map(|i| Self {
                start: i * height / count,
                end: (i + 1) * height / count,
                height,
            })
            .collect()
    }

    /// The number of rows.
    #[allow(clippy::len_without_is_empty)] // Never empty.
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// What `convs` 3x3 convolutions, one after another, read for these rows.
    pub(super) fn read_by_convs(self, convs: usize) -> Self {
        Self {
            start: self.start.saturating_sub(convs),
            end: (self.end + convs).min(self.height),
            ..self
        }
    }

    /// What nearest-neighbour enlargement to twice the height reads for these rows.
    pub(super) fn read_by_enlargement(self) -> Self {
        Self {
            start: self.start / 2,
            end: self.end.div_ceil(2),
            height: self.height / 2,
        }
    }

    /// What a 3x3 convolution of stride 2, padded below, reads for these rows.
    pub(super) fn read_by_halving(self) -> Self {
        let height = 2 * self.height;
        Self {
            start: 2 * self.start,
            end: (2 * self.end + 1).min(height),
            height,
        }
    }

    /// The same part of the image enlarged `factor` times.
    pub(super) fn enlarged(self, factor: usize) -> Self {
        Self {
            start: factor * self.start,
            end: factor * self.end,
            height: factor * self.height,
        }
    }

    /// `x` holds these rows; the result holds `wanted`, which must be among them.
    ///
    /// # Shapes
    /// `[..., H, W]` -> `[..., wanted.len(), W]`
    pub(super) fn cut<const D: usize>(self, x: Tensor<D>, wanted: Self) -> Tensor<D> {
        if self == wanted {
            return x;
        }
        x.narrow(D - 2, wanted.start - self.start, wanted.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_the_image_once() {
        for (height, most) in [(1, 1), (7, 3), (7, 7), (7, 100), (64, 5)] {
            let bands = Rows::bands(height, most);
            assert_eq!((bands[0].start, bands.last().unwrap().end), (0, height));
            assert!(bands.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(
                bands.iter().all(|band| (1..=most).contains(&band.len())),
                "{bands:?}"
            );
        }
    }

    #[test]
    fn reads_stop_at_the_edges() {
        let rows = Rows {
            start: 1,
            end: 3,
            height: 8,
        };
        assert_eq!(
            rows.read_by_convs(2),
            Rows {
                start: 0,
                end: 5,
                height: 8
            }
        );
        assert_eq!(
            rows.read_by_enlargement(),
            Rows {
                start: 0,
                end: 2,
                height: 4
            }
        );
        assert_eq!(
            rows.read_by_halving(),
            Rows {
                start: 2,
                end: 7,
                height: 16
            }
        );
        assert_eq!(Rows::whole(8).read_by_halving(), Rows::whole(16));
    }
}
