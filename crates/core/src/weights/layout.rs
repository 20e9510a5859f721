//! The layouts in which VAE weights are published: which names, and which shapes.
//!
//! Canonical are the names and shapes of the original file ([`crate::arch`]). A 2-D file holds what a single frame needs:
//! of each causal kernel the last temporal tap, since the first frame has only zeros before it. The way back sets the
//! other taps to zero and makes the time convolutions copy: a clip then decodes frame by frame, each repeated.

use crate::arch::TensorSpec;

use super::dtype::DType;

/// A layout of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Wan2.1's own names, five-dimensional kernels; ComfyUI uses it too.
    Original,
    /// Diffusers' names, the same shapes; `config.json` beside the file.
    Diffusers,
    /// Original names, kernels `[O, I, k, k]`, gamma `[C, 1, 1]`, no time convolutions: for images.
    TwoD,
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Original => "original",
            Self::Diffusers => "diffusers",
            Self::TwoD => "2d",
        })
    }
}

impl std::str::FromStr for Layout {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Original, Self::Diffusers, Self::TwoD]
            .into_iter()
            .find(|l| l.to_string() == name)
            .ok_or_else(|| {
                crate::Error::BadRequest(format!(
                    "unknown layout '{name}'; expected original, diffusers or 2d"
                ))
            })
    }
}

impl Layout {
    /// The shape of a tensor in a file of this layout; `None` if such files lack it.
    pub fn file_shape(self, spec: &TensorSpec) -> Option<Vec<usize>> {
        if self != Self::TwoD {
            return Some(spec.shape.clone());
        }
        if is_time_conv(spec) {
            return None;
        }
        Some(match spec.shape[..] {
            [o, i, _, h, w] => vec![o, i, h, w],
            [c, 1, 1, 1] if spec.name.ends_with("gamma") => vec![c, 1, 1],
            _ => spec.shape.clone(),
        })
    }
}

/// Whether a tensor belongs to a convolution over time alone.
fn is_time_conv(spec: &TensorSpec) -> bool {
    spec.name.contains("time_conv.")
}

/// The last tap of each kernel of `taps` temporal taps: canonical bytes to those of a 2-D file.
pub(crate) fn last_taps(spec: &TensorSpec, dtype: DType, bytes: &[u8]) -> Vec<u8> {
    let [_, _, taps, h, w] = spec.shape[..] else {
        return bytes.to_vec();
    };
    let tap = h * w * dtype.size();
    bytes
        .chunks_exact(taps * tap)
        .flat_map(|kernel| &kernel[(taps - 1) * tap..])
        .copied()
        .collect()
}

/// The inverse of [`last_taps`], other taps being zero.
pub(crate) fn with_zero_taps(spec: &TensorSpec, dtype: DType, bytes: Vec<u8>) -> Vec<u8> {
    let [_, _, taps, h, w] = spec.shape[..] else {
        return bytes;
    };
    let tap = h * w * dtype.size();
    let mut out = Vec::with_capacity(bytes.len() * taps);
    for kernel in bytes.chunks_exact(tap) {
        // Zero is all zero bits in every float type.
        out.resize(out.len() + (taps - 1) * tap, 0);
        out.extend_from_slice(kernel);
    }
    out
}

/// A time convolution that copies: each output channel takes, at the present frame, the input channel of the same index
/// (modulo the inputs: the decoder's has twice as many outputs, for two frames). The bias is zero.
pub(crate) fn copying_time_conv(spec: &TensorSpec) -> Vec<f32> {
    let mut values = vec![0.0; spec.shape.iter().product()];
    if let [outputs, inputs, taps, 1, 1] = spec.shape[..] {
        for output in 0..outputs {
            values[(output * inputs + output % inputs) * taps + taps - 1] = 1.0;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, shape: &[usize]) -> TensorSpec {
        TensorSpec {
            name: name.into(),
            shape: shape.into(),
        }
    }

    #[test]
    fn names_are_parsed_again() {
        for layout in [Layout::Original, Layout::Diffusers, Layout::TwoD] {
            assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
        }
        assert!("3d".parse::<Layout>().is_err());
    }

    #[test]
    fn two_dimensional_shapes() {
        let shape = |s: &TensorSpec| Layout::TwoD.file_shape(s);
        assert_eq!(
            shape(&spec("a.weight", &[4, 2, 3, 3, 3])),
            Some(vec![4, 2, 3, 3])
        );
        assert_eq!(
            shape(&spec("a.weight", &[4, 2, 1, 1, 1])),
            Some(vec![4, 2, 1, 1])
        );
        assert_eq!(
            shape(&spec("a.weight", &[4, 2, 3, 3])),
            Some(vec![4, 2, 3, 3])
        );
        assert_eq!(shape(&spec("a.gamma", &[4, 1, 1, 1])), Some(vec![4, 1, 1]));
        assert_eq!(shape(&spec("norm.gamma", &[4, 1, 1])), Some(vec![4, 1, 1]));
        assert_eq!(shape(&spec("a.time_conv.weight", &[4, 2, 3, 1, 1])), None);
    }

    #[test]
    fn the_last_tap_is_kept_and_put_back() {
        let spec = spec("a.weight", &[1, 2, 3, 1, 2]);
        let bytes: Vec<u8> = (0..12).collect();
        let flat = last_taps(&spec, DType::U8, &bytes);
        assert_eq!(flat, [4, 5, 10, 11]);
        assert_eq!(
            with_zero_taps(&spec, DType::U8, flat),
            [0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 10, 11]
        );
    }

    #[test]
    fn a_copying_time_convolution_repeats_its_input() {
        let values = copying_time_conv(&spec("x.time_conv.weight", &[4, 2, 3, 1, 1]));
        let ones: Vec<_> = values
            .iter()
            .enumerate()
            .filter(|v| *v.1 == 1.0)
            .map(|v| v.0)
            .collect();
        assert_eq!(ones, [2, 11, 14, 23]);
        assert_eq!(copying_time_conv(&spec("x.time_conv.bias", &[4])), [0.0; 4]);
    }
}
