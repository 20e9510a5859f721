//! Distances of VGG features that have been normalized to unit length per pixel.
//!
//! [`Lpips`] is the published metric, version 0.1, on VGG16: Zhang et al., "The unreasonable effectiveness of deep features as
//! a perceptual metric", 2018 (<https://github.com/richzhang/PerceptualSimilarity>, `lpips/lpips.py`). Its heads are in this
//! crate. [`feature_l1`] needs no heads and shares the VGG19 pass of the frequency distribution loss.

use burn::tensor::{Device, Tensor};
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, Error, Result};

use crate::array::to_tensor;
use crate::vgg::{Depth, Vgg, VggSource};

/// The published heads for VGG16, one weight per channel of each stage.
const HEADS: &[u8] = include_bytes!("../../assets/lpips_vgg_v0.1.safetensors");
const STAGES: usize = 5;
/// Pixels of the image per pixel of the coarsest stage.
const CELL: usize = 1 << (STAGES - 1);
/// Pixels of a tile's side, whole cells.
const TILE: usize = 32 * CELL;
/// Pixels around a tile that it depends on, in whole cells: convolutions reach 2 + 2 * 2 + 3 * 4 + 3 * 8 + 3 * 16 = 90 and pools 15.
const HALO: usize = 7 * CELL;
/// As in the published code; added to lengths.
const EPSILON: f32 = 1e-10;

/// VGG16 with the published heads.
#[derive(Clone, Debug)]
pub struct Lpips {
    vgg: Vgg,
    /// `[1, C, 1, 1]` each.
    heads: Vec<Tensor<4>>,
}

impl Lpips {
    /// Builds the metric from VGG16's weights.
    ///
    /// # Errors
    /// What `source` returns.
    pub fn load(source: &VggSource<'_>, device: &Device) -> Result<Self> {
        let file = TensorFile::from_bytes("LPIPS heads", HEADS)?;
        let head =
            |i: usize| to_tensor(&file.read(&format!("lin{i}.weight"))?, "LPIPS head", device);
        Ok(Self {
            vgg: Vgg::load(Depth::Vgg16, STAGES, source, device)?,
            heads: (0..STAGES).map(head).collect::<Result<_>>()?,
        })
    }

    /// `sum over stages of mean over pixels of sum over channels of head * (a/|a| - b/|b|)^2`
    ///
    /// # Shapes
    /// `[B, 3, H, W]` in [-1, 1], both; H and W at least 16 -> `[B]`
    pub fn distance(&self, x: Tensor<4>, y: Tensor<4>) -> Tensor<1> {
        let stages = self.maps(x, y).map(|map| {
            let [batch, ..] = map.dims();
            map.mean_dim(2).mean_dim(3).reshape([batch])
        });
        sum(stages)
    }

    /// [`Self::distance`] of two images of any size, in tiles that are computed with all that they see around them: memory does
    /// not grow with the image.
    ///
    /// # Shapes
    /// `[3, H, W]` in [-1, 1], both; H and W at least 16
    ///
    /// # Errors
    /// [`Error::Shape`] unless both are images of one size and large enough.
    pub fn distance_in_tiles(&self, x: &Array, y: &Array) -> Result<f64> {
        let (height, width) = match (x.dims("picture")?, y.dims("picture")?) {
            ([3, h, w], other) if other == [3, h, w] && h >= CELL && w >= CELL => (h, w),
            (got, other) => {
                return Err(Error::Shape {
                    what: "pictures for LPIPS".into(),
                    expected: format!("one size of at least {CELL}x{CELL} pixels"),
                    got: format!("{got:?} and {other:?}"),
                });
            }
        };
        let mut sums = [0.0; STAGES];
        for top in (0..height).step_by(TILE) {
            for left in (0..width).step_by(TILE) {
                let (rows, columns) = (Span::new(top, height), Span::new(left, width));
                let pictures = [x, y].map(|picture| self.cut(picture, &rows, &columns));
                let [x, y] = pictures;
                for (stage, (sum, map)) in sums.iter_mut().zip(self.maps(x?, y?)).enumerate() {
                    if rows.length(stage) == 0 || columns.length(stage) == 0 {
                        continue;
                    }
                    let inner = map.narrow(2, rows.start(stage), rows.length(stage));
                    let inner = inner.narrow(3, columns.start(stage), columns.length(stage));
                    *sum += f64::from(inner.sum().into_scalar::<f32>());
                }
            }
        }
        let mean = |(stage, sum): (usize, f64)| sum / ((height >> stage) * (width >> stage)) as f64;
        Ok(sums.into_iter().enumerate().map(mean).sum())
    }

    /// The part of an image that a tile depends on.
    fn cut(&self, picture: &Array, rows: &Span, columns: &Span) -> Result<Tensor<4>> {
        let [_, height, width] = picture.dims("picture")?;
        let row =
            |c: usize, y: usize| &picture.data()[(c * height + y) * width..][columns.seen.clone()];
        let data = (0..3)
            .flat_map(|c| rows.seen.clone().flat_map(move |y| row(c, y)))
            .copied()
            .collect();
        let part = Array::new([1, 3, rows.seen.len(), columns.seen.len()], data)?;
        to_tensor(&part, "picture", &self.heads[0].device())
    }

    /// Each stage's distances, pixel by pixel.
    ///
    /// # Shapes
    /// `[B, 3, H, W]`, both -> `[B, 1, H, W]`, `[B, 1, H / 2, W / 2]`, ...
    fn maps(&self, x: Tensor<4>, y: Tensor<4>) -> impl Iterator<Item = Tensor<4>> {
        let pairs = self.vgg.features(x).into_iter().zip(self.vgg.features(y));
        pairs
            .zip(&self.heads)
            .map(|((a, b), head)| ((unit(a) - unit(b)).square() * head.clone()).sum_dim(1))
    }
}

/// A tile along one axis.
struct Span {
    /// Pixels that are measured.
    inner: std::ops::Range<usize>,
    /// Pixels that those depend on.
    seen: std::ops::Range<usize>,
}

impl Span {
    fn new(start: usize, size: usize) -> Self {
        let end = (start + TILE).min(size);
        Self {
            inner: start..end,
            seen: start.saturating_sub(HALO)..(end + HALO).min(size),
        }
    }

    /// Where the tile starts in a stage's map of what it sees.
    fn start(&self, stage: usize) -> usize {
        (self.inner.start - self.seen.start) >> stage
    }

    /// Its extent there. The pixels that a stage's pools leave over belong to no tile.
    fn length(&self, stage: usize) -> usize {
        (self.inner.end >> stage) - (self.inner.start >> stage)
    }
}

/// `sum over stages of mean |a/|a| - b/|b||`, of each image.
///
/// # Shapes
/// lists of `[B, C, H, W]` -> `[B]`
pub fn feature_l1(x: &[Tensor<4>], y: &[Tensor<4>]) -> Tensor<1> {
    let stages = x.iter().zip(y).map(|(a, b)| {
        let [batch, ..] = a.dims();
        (unit(a.clone()) - unit(b.clone()))
            .abs()
            .mean_dim(1)
            .mean_dim(2)
            .mean_dim(3)
            .reshape([batch])
    });
    sum(stages)
}

/// Each pixel's channels divided by their length. The square under the root keeps the gradient at 0 finite.
fn unit(x: Tensor<4>) -> Tensor<4> {
    let length = (x.clone().square().sum_dim(1) + EPSILON * EPSILON).sqrt() + EPSILON;
    x / length
}

/// # Panics
/// If there is no term.
pub(super) fn sum<const D: usize>(terms: impl Iterator<Item = Tensor<D>>) -> Tensor<D> {
    terms
        .reduce(|a, b| a + b)
        .expect("a loss has at least one stage")
}
