//! What the values of a tensor say about its axes, where the shape leaves it open.
//!
//! Frames that follow each other in a clip are alike; channels and other images are not. Likeness is the correlation of
//! neighbouring slices over their `h x w` cells, each without its own mean: of a clip's frames it is nearly 1, and over a
//! few cells still above one half; of channels it is anything between -1 and 1, but the same for a pair of channels in every
//! frame and image, and near 0 when averaged over all pairs.

use vae2x_core::Array;

/// How alike neighbours along an axis are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Likeness {
    /// The mean correlation.
    mean: f64,
    /// The root mean square, over pairs of neighbours, of a pair's mean correlation along the other axis.
    steady: f64,
    /// Whether there are neighbours that are not flat.
    is_known: bool,
}

/// Frames of a clip are at least so alike.
const FRAMES: f64 = 0.5;
/// Channels, over all of their pairs, are at most so alike.
const CHANNELS: f64 = 0.4;
/// By so much the one must be more alike than the other.
const MARGIN: f64 = 0.2;
/// What is more alike by so much is not so by chance.
const TREND: f64 = 0.05;
/// Pairs of channels are at least so steady: the part of it that different images never reach.
const STEADY: f64 = 0.25;
/// What is steady in images beside each other is at most this share of what is steady in channels.
const SHARE: f64 = 0.6;

/// Likeness of neighbours along the two axes before the last two, in order.
///
/// # Shapes
/// `[.., M, N, h, w]`
pub(super) fn likeness(array: &Array) -> [Likeness; 2] {
    let [.., m, n, h, w] = *array.shape() else {
        return [Likeness::default(); 2];
    };
    let planes: Vec<_> = array
        .data()
        .chunks_exact((h * w).max(1))
        .map(unit)
        .collect();
    let at = |outer: usize, i: usize, j: usize| planes[(outer * m + i) * n + j].as_deref();
    let outer = planes.len() / (m * n).max(1);
    let along_first =
        |pair: usize, other: usize, o: usize| (at(o, pair, other), at(o, pair + 1, other));
    let along_second =
        |pair: usize, other: usize, o: usize| (at(o, other, pair), at(o, other, pair + 1));
    [
        average([m, n, outer], along_first),
        average([n, m, outer], along_second),
    ]
}

type Pair<'a> = (Option<&'a [f32]>, Option<&'a [f32]>);

/// The likeness of `extent` neighbours, over `others` indices of the other axis and `outer` items.
fn average<'a>(
    [extent, others, outer]: [usize; 3],
    pair: impl Fn(usize, usize, usize) -> Pair<'a>,
) -> Likeness {
    let mut means = Vec::new();
    for place in 0..extent.saturating_sub(1) {
        let (mut sum, mut count) = (0.0, 0.0);
        for item in 0..others * outer {
            if let (Some(a), Some(b)) = pair(place, item % others, item / others) {
                let products = a.iter().zip(b).map(|(x, y)| f64::from(x * y));
                sum += products.sum::<f64>();
                count += 1.0;
            }
        }
        if count > 0.0 {
            means.push(sum / count);
        }
    }
    let count = means.len().max(1) as f64;
    Likeness {
        mean: means.iter().sum::<f64>() / count,
        steady: (means.iter().map(|m| m * m).sum::<f64>() / count).sqrt(),
        is_known: !means.is_empty(),
    }
}

/// A slice without its mean, of length 1; `None` if it is flat.
fn unit(plane: &[f32]) -> Option<Vec<f32>> {
    let mean = plane.iter().map(|&x| f64::from(x)).sum::<f64>() / plane.len() as f64;
    let length = plane
        .iter()
        .map(|&x| (f64::from(x) - mean).powi(2))
        .sum::<f64>()
        .sqrt();
    let scale = plane.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    // What rounding leaves of a flat slice.
    let is_flat = length <= 1e-6 * scale * (plane.len() as f64).sqrt();
    let shifted = plane
        .iter()
        .map(|&x| ((f64::from(x) - mean) / length) as f32);
    (!is_flat).then(|| shifted.collect())
}

impl Likeness {
    /// Whether neighbours along this axis are clearly more alike than along `other`.
    pub fn leads(self, other: Self) -> bool {
        self.is_known && other.is_known && self.mean >= other.mean + MARGIN
    }

    /// Whether neighbours along this axis are more alike than along `other`, if only a little.
    pub fn exceeds(self, other: Self) -> bool {
        self.is_known && other.is_known && self.mean >= other.mean + TREND
    }

    /// Whether this is the axis of a clip's frames, and `other` that of its channels.
    pub fn is_frames_beside(self, other: Self) -> bool {
        self.mean >= FRAMES && self.leads(other)
    }

    /// Whether this is the axis of channels, and `other` that of images, alike or not.
    pub fn is_channels_beside(self, other: Self) -> bool {
        let both = self.is_known && other.is_known;
        let is_steady = self.steady >= STEADY && other.steady <= SHARE * self.steady;
        both && self.mean < CHANNELS && (other.leads(self) || is_steady)
    }
}

/// Mean absolute difference of tokens `lag` apart.
///
/// # Shapes
/// `[B, tokens, n]`
pub(super) fn token_difference(array: &Array, lag: usize) -> f64 {
    let [_, tokens, n] = *array.shape() else {
        return 0.0;
    };
    let items = array.data().chunks_exact((tokens * n).max(1));
    let (mut sum, mut count) = (0.0, 0usize);
    for item in items {
        let pairs = item.iter().zip(item.get(lag * n..).unwrap_or_default());
        sum += pairs
            .clone()
            .map(|(a, b)| f64::from((a - b).abs()))
            .sum::<f64>();
        count += pairs.len();
    }
    sum / count.max(1) as f64
}
