//! The shapes in which latents are saved, and their way into `[B, 16, T, h, w]`.
//!
//! | saved as | by |
//! |---|---|
//! | `[B, 16, T, h, w]` | ComfyUI, diffusers' Wan |
//! | `[B, T, 16, h, w]` | diffusers' Qwen-Image before packing; recognized where the second extent is not 16 |
//! | `[B, 16, h, w]` | pictures without the axis of time |
//! | `[16, T, h, w]` | WanVideoWrapper's clips without the batch; recognized where `T` is not 16 |
//! | `[16, h, w]` | a single picture |
//! | `[B, h/2 * w/2, 64]` | diffusers' Qwen-Image: each token is `[16, 2, 2]`; the size must be told |

use std::path::Path;

use vae2x_core::{Array, Error, Result};

/// Latent channels of Wan2.1 and Qwen-Image.
const CHANNELS: usize = 16;
/// Latent cells per token, along each axis.
const PATCH: usize = 2;
/// Values of a packed token.
const TOKEN: usize = CHANNELS * PATCH * PATCH;
/// Pixels per token at base resolution, along each axis.
const TOKEN_PIXELS: usize = PATCH * vae2x_core::config::SPATIAL_FACTOR;

/// A tensor, for errors.
pub(super) struct Tensor<'a> {
    pub path: &'a Path,
    pub key: &'a str,
}

impl Tensor<'_> {
    pub fn error(&self, expected: &str, got: &str) -> Error {
        Error::Tensor {
            path: self.path.into(),
            tensor: self.key.into(),
            expected: expected.into(),
            got: got.into(),
        }
    }
}

/// How a tensor becomes `[B, 16, T, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The elements lie right; only the shape changes.
    Reshape([usize; 5]),
    /// `[B, T, 16, h, w]`.
    FramesFirst([usize; 5]),
    /// `[B, rows * columns, 64]`.
    Packed {
        batch: usize,
        rows: usize,
        columns: usize,
    },
}

/// Tells the layout from the shape; `size` is the height and width in pixels of packed latents.
pub(super) fn recognize(
    tensor: &Tensor<'_>,
    shape: &[usize],
    size: Option<[usize; 2]>,
) -> Result<Layout> {
    if shape.contains(&0) {
        return Err(tensor.error("a latent that is not empty", &format!("shape {shape:?}")));
    }
    match *shape {
        [b, CHANNELS, t, h, w] => Ok(Layout::Reshape([b, CHANNELS, t, h, w])),
        [b, t, CHANNELS, h, w] if t != WAN22_5B_CHANNELS => {
            Ok(Layout::FramesFirst([b, t, CHANNELS, h, w]))
        }
        [CHANNELS, t, h, w] if t != CHANNELS => Ok(Layout::Reshape([1, CHANNELS, t, h, w])),
        [b, CHANNELS, h, w] => Ok(Layout::Reshape([b, CHANNELS, 1, h, w])),
        [batch, tokens, TOKEN] if size.is_some() || batch != CHANNELS => {
            packed(tensor, [batch, tokens], size)
        }
        [CHANNELS, h, w] => Ok(Layout::Reshape([1, CHANNELS, 1, h, w])),
        _ => Err(foreign(tensor, shape)),
    }
}

/// Latent channels of Wan2.2's 5B model.
const WAN22_5B_CHANNELS: usize = 48;

fn foreign(tensor: &Tensor<'_>, shape: &[usize]) -> Error {
    let channels = match *shape {
        [_, c, _, _, _] | [_, c, _, _] if c == WAN22_5B_CHANNELS => Some(c),
        [c, _, _, _] | [c, _, _] if c == WAN22_5B_CHANNELS => Some(c),
        [_, c, _, _, _] | [_, c, _, _] | [c, _, _] => Some(c),
        _ => None,
    };
    match channels {
        Some(WAN22_5B_CHANNELS) => tensor.error(
            "16 channels",
            &format!("shape {shape:?}: this latent has 48 channels: it is Wan2.2-5B's (its VAE is another model)"),
        ),
        Some(c) => tensor.error("16 channels", &format!("{c}, in shape {shape:?}")),
        None => tensor.error(
            "a latent: [B, 16, T, h, w], [B, 16, h, w], [16, T, h, w], [16, h, w] or packed [B, tokens, 64]",
            &format!("shape {shape:?}"),
        ),
    }
}

fn packed(
    tensor: &Tensor<'_>,
    [batch, tokens]: [usize; 2],
    size: Option<[usize; 2]>,
) -> Result<Layout> {
    let Some([height, width]) = size else {
        return Err(tensor.error(
            "--size HxW, the picture's height and width in pixels at base resolution, since the latent is packed",
            &format!("shape {:?} and no size", [batch, tokens, TOKEN]),
        ));
    };
    let (rows, columns) = (height / TOKEN_PIXELS, width / TOKEN_PIXELS);
    if rows.checked_mul(columns) != Some(tokens) {
        return Err(tensor.error(
            &format!("{rows} x {columns} tokens of {TOKEN_PIXELS}x{TOKEN_PIXELS} pixels, for --size {height}x{width}"),
            &format!("{tokens} tokens"),
        ));
    }
    Ok(Layout::Packed {
        batch,
        rows,
        columns,
    })
}

impl Layout {
    pub fn is_packed(self) -> bool {
        matches!(self, Self::Packed { .. })
    }

    /// `[B, 16, T, h, w]`
    pub fn shape(self) -> [usize; 5] {
        match self {
            Self::Reshape(shape) => shape,
            Self::FramesFirst([b, t, c, h, w]) => [b, c, t, h, w],
            Self::Packed {
                batch,
                rows,
                columns,
            } => [batch, CHANNELS, 1, PATCH * rows, PATCH * columns],
        }
    }

    /// Brings the tensor into `[B, 16, T, h, w]`.
    pub fn apply(self, array: Array) -> Result<Array> {
        match self {
            Self::Reshape(shape) => array.reshape(shape),
            Self::FramesFirst([b, t, c, h, w]) => {
                let plane = h * w;
                let moved = (0..b * c * t).flat_map(|i| {
                    let (item, channel, frame) = (i / (c * t), i / t % c, i % t);
                    &array.data()[((item * t + frame) * c + channel) * plane..][..plane]
                });
                Array::new([b, c, t, h, w], moved.copied().collect())
            }
            Self::Packed {
                batch,
                rows,
                columns,
            } => unpack(&array, [batch, rows, columns]),
        }
    }
}

/// `[B, rows * columns, 16 * 2 * 2]` -> `[B, 16, 1, 2 rows, 2 columns]`.
fn unpack(array: &Array, [batch, rows, columns]: [usize; 3]) -> Result<Array> {
    let (height, width) = (PATCH * rows, PATCH * columns);
    let mut out = Array::zeros([batch, CHANNELS, 1, height, width]);
    for (i, value) in out.data_mut().iter_mut().enumerate() {
        let (x, y) = (i % width, i / width % height);
        let (channel, item) = (
            i / (width * height) % CHANNELS,
            i / (width * height * CHANNELS),
        );
        let token = (item * rows + y / PATCH) * columns + x / PATCH;
        *value = array.data()[token * TOKEN + (channel * PATCH + y % PATCH) * PATCH + x % PATCH];
    }
    Ok(out)
}

/// Packs a single frame as diffusers packs Qwen-Image's latents.
///
/// # Shapes
/// `[B, 16, 1, 2 rows, 2 columns]` -> `[B, rows * columns, 64]`
///
/// # Errors
/// [`Error::Shape`] for other shapes.
pub fn pack(array: &Array) -> Result<Array> {
    let [batch, channels, frames, height, width] = array.dims("latent to be packed")?;
    if channels != CHANNELS || frames != 1 || height % PATCH != 0 || width % PATCH != 0 {
        return Err(Error::Shape {
            what: "latent to be packed".into(),
            expected: "[B, 16, 1, h, w] with even sides".into(),
            got: format!("shape {:?}", array.shape()),
        });
    }
    let (rows, columns) = (height / PATCH, width / PATCH);
    let mut out = Array::zeros([batch, rows * columns, TOKEN]);
    for (i, value) in out.data_mut().iter_mut().enumerate() {
        let (x, y) = (i % PATCH, i / PATCH % PATCH);
        let (channel, column) = (i / (PATCH * PATCH) % CHANNELS, i / TOKEN % columns);
        let (row, item) = (i / (TOKEN * columns) % rows, i / (TOKEN * columns * rows));
        *value = array.data()
            [((item * CHANNELS + channel) * height + PATCH * row + y) * width + PATCH * column + x];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: &[usize], size: Option<[usize; 2]>) -> Result<Layout> {
        recognize(
            &Tensor {
                path: Path::new("a.pt"),
                key: "x",
            },
            shape,
            size,
        )
    }

    fn ramp(shape: &[usize]) -> Array {
        Array::new(
            shape,
            (0..shape.iter().product()).map(|i| i as f32).collect(),
        )
        .unwrap()
    }

    #[test]
    fn shapes_are_told_apart() {
        let reshaped = [
            (&[2, 16, 3, 4, 5][..], [2, 16, 3, 4, 5]),
            (&[2, 16, 4, 5], [2, 16, 1, 4, 5]),
            (&[16, 3, 4, 5], [1, 16, 3, 4, 5]),
            (&[16, 16, 4, 5], [16, 16, 1, 4, 5]),
            (&[16, 4, 64], [1, 16, 1, 4, 64]),
            (&[1, 16, 16, 4, 5], [1, 16, 16, 4, 5]),
        ];
        for (shape, want) in reshaped {
            assert_eq!(of(shape, None).unwrap(), Layout::Reshape(want), "{shape:?}");
        }
        assert_eq!(
            of(&[1, 3, 16, 4, 5], None).unwrap(),
            Layout::FramesFirst([1, 3, 16, 4, 5])
        );
    }

    #[test]
    fn frames_first_are_transposed() {
        let array = ramp(&[2, 3, 16, 1, 2]);
        let out = of(array.shape(), None)
            .unwrap()
            .apply(array.clone())
            .unwrap();
        assert_eq!(out.shape(), [2, 16, 3, 1, 2]);
        for (b, t, c, x) in [(0, 0, 0, 0), (1, 2, 15, 1), (0, 1, 7, 0), (1, 0, 3, 1)] {
            assert_eq!(
                out.data()[((b * 16 + c) * 3 + t) * 2 + x],
                array.data()[((b * 3 + t) * 16 + c) * 2 + x]
            );
        }
    }

    #[test]
    fn packed_tokens_are_two_by_two_cells_of_all_channels() {
        // 32x48 pixels: 2 x 3 tokens, 4 x 6 cells.
        let array = ramp(&[1, 6, 64]);
        let layout = of(array.shape(), Some([32, 48])).unwrap();
        assert!(layout.is_packed());
        let out = layout.apply(array).unwrap();
        assert_eq!(out.shape(), [1, 16, 1, 4, 6]);
        let at = |c: usize, y: usize, x: usize| out.data()[(c * 4 + y) * 6 + x];
        assert_eq!(
            [at(0, 0, 0), at(0, 0, 1), at(0, 1, 0), at(0, 1, 1)],
            [0.0, 1.0, 2.0, 3.0]
        );
        assert_eq!([at(1, 0, 0), at(15, 1, 1)], [4.0, 63.0]);
        assert_eq!(
            [at(0, 0, 2), at(0, 2, 0), at(15, 3, 5)],
            [64.0, 3.0 * 64.0, 6.0 * 64.0 - 1.0]
        );
    }

    #[test]
    fn packing_undoes_unpacking() {
        let array = ramp(&[2, 6, 64]);
        let unpacked = of(array.shape(), Some([32, 48]))
            .unwrap()
            .apply(array.clone())
            .unwrap();
        assert_eq!(pack(&unpacked).unwrap(), array);
        assert!(pack(&Array::zeros([1, 16, 1, 3, 4])).is_err());
        assert!(pack(&Array::zeros([1, 16, 2, 4, 4])).is_err());
    }

    #[test]
    fn errors_say_what_would_fit() {
        let message = |shape: &[usize], size| of(shape, size).unwrap_err().to_string();
        assert!(message(&[1, 4096, 64], None).contains("--size HxW"));
        let wrong = message(&[1, 4096, 64], Some([1024, 512]));
        assert!(
            wrong.contains("64 x 32 tokens") && wrong.contains("4096 tokens"),
            "{wrong}"
        );
        for shape in [
            &[1, 48, 16, 4, 4][..],
            &[1, 48, 4, 4],
            &[48, 3, 4, 4],
            &[48, 4, 4],
        ] {
            assert!(
                message(shape, None).contains("it is Wan2.2-5B's (its VAE is another model)"),
                "{shape:?}"
            );
        }
        assert!(message(&[1, 4, 64, 64], None).contains("expected 16 channels, found 4"));
        assert!(message(&[1, 16, 0, 4, 4], None).contains("not empty"));
        assert!(message(&[5, 7], None).contains("packed [B, tokens, 64]"));
        assert!(message(&[1, usize::MAX, 64], Some([usize::MAX, usize::MAX])).contains("tokens"));
    }
}
