//! A decoder's last convolution for another output scale: a base decoder's repeated, so that it decodes at 2x, and that of a
//! decoder of a higher scale averaged, so that it decodes at base resolution.
//!
//! Rows are output channels, and rows `r^2 c` to `r^2 c + r^2 - 1` are the pixels of one block of colour `c`
//! ([`crate::engine::pixel_shuffle`]). A convolution is linear in its weights, so the mean of these rows gives the mean of
//! the block: the `r x r` box mean of the larger output, before it is clamped. Other filters reach beyond a block, and
//! their kernels would not fit the three taps of the convolution; `docs/using.md` has the numbers.

use half::{bf16, f16};

use super::dtype::DType;
use crate::arch::TensorSpec;
use crate::config::VaeConfig;

/// The convolution that is widened or narrowed.
const LAST_CONVOLUTION: &str = "decoder.head.2.";
/// Output channels of a 2x decoder per output channel of a base decoder.
const CHANNELS_PER_PIXEL: usize = 4;

/// The output scale of the model that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputScale {
    /// The decoder's own.
    #[default]
    Keep,
    /// Turns a base decoder into a 2x decoder that repeats each pixel four times.
    Repeated2x,
    /// Turns a decoder of a higher scale into a base decoder that gives the mean of each block of pixels.
    Mean1x,
}

/// What becomes of the rows of the last convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Keep,
    /// Each stands this many times.
    Repeat(usize),
    /// The mean of each group of this many.
    Mean(usize),
}

impl Rows {
    /// What a scale asks of a model, or why it cannot be had.
    pub(super) fn new(scale: OutputScale, config: &VaeConfig) -> Result<Self, String> {
        let own = config.scale().map_err(|e| e.to_string())?;
        let base = config.out_channels / (own * own);
        let channels = config.out_channels;
        match (scale, own) {
            (OutputScale::Keep, _) => Ok(Self::Keep),
            (OutputScale::Repeated2x, 1) => Ok(Self::Repeat(CHANNELS_PER_PIXEL)),
            (OutputScale::Repeated2x, _) => Err(format!(
                "the decoder has {channels} output channels; only a base decoder, with {base}, can be made 2x"
            )),
            (OutputScale::Mean1x, 1) => Err(format!(
                "the decoder has {channels} output channels: it is a base decoder already, and --to-1x needs a 2x decoder, with {}",
                CHANNELS_PER_PIXEL * base
            )),
            (OutputScale::Mean1x, own) => Ok(Self::Mean(own * own)),
        }
    }

    /// The rows of the last convolution that come of `count`.
    pub(super) fn count(self, count: usize) -> usize {
        match self {
            Self::Keep => count,
            Self::Repeat(times) => count * times,
            Self::Mean(group) => count / group,
        }
    }

    /// Whether a tensor is changed.
    pub(super) fn change(self, spec: &TensorSpec) -> bool {
        self != Self::Keep && spec.name.starts_with(LAST_CONVOLUTION)
    }
}

/// Repeats each of `rows` equal parts: row `c` becomes rows `c times` to `c times + times - 1`.
pub(super) fn repeat_rows(bytes: &[u8], rows: usize, times: usize) -> Vec<u8> {
    let row = (bytes.len() / rows.max(1)).max(1);
    bytes
        .chunks_exact(row)
        .flat_map(|r| std::iter::repeat_n(r, times))
        .flatten()
        .copied()
        .collect()
}

/// The means of each `group` of `rows` equal parts, summed in `f64` and rounded once; `None` if a mean overflows or one of
/// the types is not floating point.
pub(super) fn mean_rows(
    bytes: &[u8],
    [from, to]: [DType; 2],
    rows: usize,
    group: usize,
) -> Option<Vec<u8>> {
    let values = wide(bytes, from)?;
    let row = (values.len() / rows.max(1)).max(1);
    let mean = |block: &[f64]| -> Vec<f64> {
        let sum = |i: usize| block.iter().skip(i).step_by(row).sum::<f64>();
        (0..row).map(|i| sum(i) / group as f64).collect()
    };
    let means: Vec<f64> = values.chunks_exact(row * group).flat_map(mean).collect();
    let out = narrow(&means, to)?;
    let overflows = |(mean, out): (&f64, f64)| mean.is_finite() && !out.is_finite();
    let has_overflow = means.iter().zip(wide(&out, to)?).any(overflows);
    (!has_overflow).then_some(out)
}

/// Elements in double precision.
fn wide(bytes: &[u8], from: DType) -> Option<Vec<f64>> {
    match from {
        DType::F64 => Some(
            bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b))
                .collect(),
        ),
        _ => Some(from.widen(bytes)?.into_iter().map(f64::from).collect()),
    }
}

/// Elements in this type, rounded to nearest.
fn narrow(values: &[f64], to: DType) -> Option<Vec<u8>> {
    let values = values.iter();
    Some(match to {
        DType::F64 => values.flat_map(|v| v.to_le_bytes()).collect(),
        DType::F32 => values.flat_map(|&v| (v as f32).to_le_bytes()).collect(),
        DType::F16 => values
            .flat_map(|&v| f16::from_f64(v).to_le_bytes())
            .collect(),
        DType::BF16 => values
            .flat_map(|&v| bf16::from_f64(v).to_le_bytes())
            .collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_rounded_once() {
        let rows = [1.0f32, 2.0, 1.0, 4.0, 1.0, 6.0, 1.0 + f32::EPSILON, 8.0];
        let bytes = DType::F32.narrow(&rows).unwrap();
        let mean = |to| mean_rows(&bytes, [DType::F32, to], 4, 4).unwrap();
        assert_eq!(DType::F64.widen(&mean(DType::F64)).unwrap()[1], 5.0);
        let first = f64::from_le_bytes(mean(DType::F64)[..8].try_into().unwrap());
        assert_eq!(first, 1.0 + f64::from(f32::EPSILON) / 4.0);
        assert_eq!(DType::F32.widen(&mean(DType::F32)).unwrap(), [1.0, 5.0]);
        assert_eq!(DType::BF16.widen(&mean(DType::BF16)).unwrap(), [1.0, 5.0]);
        let large = DType::F64.narrow(&[3e38, 1e30]).unwrap();
        assert_eq!(mean_rows(&large, [DType::F64, DType::F16], 2, 2), None);
        assert_eq!(mean_rows(&bytes, [DType::F32, DType::I8], 4, 4), None);
    }

    #[test]
    fn a_group_is_a_block_of_one_colour() {
        let rows: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let bytes = DType::F32.narrow(&rows).unwrap();
        let means = mean_rows(&bytes, [DType::F32; 2], 8, 4).unwrap();
        assert_eq!(DType::F32.widen(&means).unwrap(), [1.5, 5.5]);
        let twice = repeat_rows(&bytes[..8], 2, 2);
        assert_eq!(DType::F32.widen(&twice).unwrap(), [0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn only_what_has_a_meaning_is_changed() {
        let rows = |scale, channels| Rows::new(scale, &VaeConfig::with_widths(8, channels));
        assert_eq!(rows(OutputScale::Mean1x, 12), Ok(Rows::Mean(4)));
        assert_eq!(rows(OutputScale::Mean1x, 48), Ok(Rows::Mean(16)));
        assert_eq!(rows(OutputScale::Repeated2x, 3), Ok(Rows::Repeat(4)));
        assert_eq!(rows(OutputScale::Keep, 12), Ok(Rows::Keep));
        let error = rows(OutputScale::Mean1x, 3).unwrap_err();
        assert!(error.contains("base decoder already"), "{error}");
        let error = rows(OutputScale::Repeated2x, 12).unwrap_err();
        assert!(error.contains("with 3, can be made 2x"), "{error}");
        assert_eq!(Rows::Mean(4).count(12), 3);
    }
}
