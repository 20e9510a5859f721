//! The shapes in which latents are saved, and how they become `[B, C, T, h, w]`.
//!
//! | saved as | by |
//! |---|---|
//! | `[B, 16, T, h, w]` | ComfyUI, diffusers' Wan |
//! | `[B, T, 16, h, w]` | diffusers' Qwen-Image before packing; recognized where the second extent is not 16 |
//! | `[B, 16, h, w]` | images without the axis of time |
//! | `[16, T, h, w]` | WanVideoWrapper's clips without the batch; recognized where `T` is not 16 |
//! | `[16, h, w]` | a single image |
//! | `[B, h/2 * w/2, 64]` | diffusers' Qwen-Image: each token is `[16, 2, 2]`; the size must be given |

use std::path::Path;

use vae2x_core::{Array, Error, Result};

use super::known::{KnownSpace, foreign, is_foreign_clip, known_spaces, space_of};

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

/// How a tensor becomes `[B, C, T, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The elements are in order; only the shape changes.
    Reshape([usize; 5]),
    /// `[B, T, C, h, w]`.
    FramesFirst([usize; 5]),
    /// `[B, rows * columns, C * patch * patch]`.
    Packed {
        space: KnownSpace,
        batch: usize,
        rows: usize,
        columns: usize,
    },
}

/// Finds the layout from the shape; `size` is the height and width in pixels of packed latents.
pub(super) fn recognize(
    tensor: &Tensor<'_>,
    shape: &[usize],
    size: Option<[usize; 2]>,
) -> Result<Layout> {
    if shape.contains(&0) {
        return Err(tensor.error("a latent that is not empty", &format!("shape {shape:?}")));
    }
    known_spaces()
        .into_iter()
        .find_map(|space| recognize_as(space, tensor, shape, size))
        .unwrap_or_else(|| Err(refusal(tensor, shape)))
}

/// The layout of a tensor as a latent of one space; `None` if its shape is not one of that space.
fn recognize_as(
    space: KnownSpace,
    tensor: &Tensor<'_>,
    shape: &[usize],
    size: Option<[usize; 2]>,
) -> Option<Result<Layout>> {
    let is = |n: usize| n == space.channels;
    Some(Ok(match *shape {
        [b, c, t, h, w] if is(c) => Layout::Reshape([b, c, t, h, w]),
        [b, t, c, h, w] if is(c) && !is_foreign_clip(t) => Layout::FramesFirst([b, t, c, h, w]),
        [c, t, h, w] if is(c) && !is(t) => Layout::Reshape([1, c, t, h, w]),
        [b, c, h, w] if is(c) => Layout::Reshape([b, c, 1, h, w]),
        [batch, tokens, n] if n == space.token() && (size.is_some() || !is(batch)) => {
            return Some(packed(space, tensor, [batch, tokens], size));
        }
        [c, h, w] if is(c) => Layout::Reshape([1, c, 1, h, w]),
        _ => return None,
    }))
}

/// The error for a shape of no known space.
fn refusal(tensor: &Tensor<'_>, shape: &[usize]) -> Error {
    let spaces = known_spaces();
    let [KnownSpace { channels, .. }, ..] = spaces;
    let expected = format!("{channels} channels");
    let could_be = match *shape {
        [b, c, _, _, _] | [b, c, _, _] => [Some(c), Some(b).filter(|_| shape.len() == 4)],
        [c, _, _] => [Some(c), None],
        _ => [None, None],
    };
    let named = could_be
        .into_iter()
        .flatten()
        .find_map(|n| Some((n, foreign(n)?)));
    match (named, could_be[0]) {
        (Some((n, words)), _) => tensor.error(
            &expected,
            &format!("shape {shape:?}: this latent has {n} channels: {words}"),
        ),
        (None, Some(n)) => tensor.error(&expected, &format!("{n}, in shape {shape:?}")),
        (None, None) => tensor.error(
            &format!(
                "a latent: [B, {channels}, T, h, w], [B, {channels}, h, w], [{channels}, T, h, w], [{channels}, h, w] or \
                 packed [B, tokens, {}]",
                spaces[0].token()
            ),
            &format!("shape {shape:?}"),
        ),
    }
}

fn packed(
    space: KnownSpace,
    tensor: &Tensor<'_>,
    [batch, tokens]: [usize; 2],
    size: Option<[usize; 2]>,
) -> Result<Layout> {
    let side = space.token_pixels();
    let Some([height, width]) = size else {
        return Err(tensor.error(
            "--size HxW, the image's height and width in pixels at base resolution, since the latent is packed",
            &format!("shape {:?} and no size", [batch, tokens, space.token()]),
        ));
    };
    let (rows, columns) = (height / side, width / side);
    if rows.checked_mul(columns) != Some(tokens) {
        return Err(tensor.error(
            &format!(
                "{rows} x {columns} tokens of {side}x{side} pixels, for --size {height}x{width}"
            ),
            &format!("{tokens} tokens"),
        ));
    }
    Ok(Layout::Packed {
        space,
        batch,
        rows,
        columns,
    })
}

impl Layout {
    pub fn is_packed(self) -> bool {
        matches!(self, Self::Packed { .. })
    }

    /// `[B, C, T, h, w]`
    pub fn shape(self) -> [usize; 5] {
        match self {
            Self::Reshape(shape) => shape,
            Self::FramesFirst([b, t, c, h, w]) => [b, c, t, h, w],
            Self::Packed {
                space: KnownSpace {
                    channels, patch, ..
                },
                batch,
                rows,
                columns,
            } => [batch, channels, 1, patch * rows, patch * columns],
        }
    }

    /// Brings the tensor into `[B, C, T, h, w]`.
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
                space,
                batch,
                rows,
                columns,
            } => unpack(space, &array, [batch, rows, columns]),
        }
    }
}

/// `[B, rows * columns, C * p * p]` -> `[B, C, 1, p rows, p columns]`
fn unpack(space: KnownSpace, array: &Array, [batch, rows, columns]: [usize; 3]) -> Result<Array> {
    let KnownSpace {
        channels, patch, ..
    } = space;
    let (height, width) = (patch * rows, patch * columns);
    let mut out = Array::zeros([batch, channels, 1, height, width]);
    for (i, value) in out.data_mut().iter_mut().enumerate() {
        let (x, y) = (i % width, i / width % height);
        let channel = i / (width * height) % channels;
        let item = i / (width * height * channels);
        let token = (item * rows + y / patch) * columns + x / patch;
        let place = (channel * patch + y % patch) * patch + x % patch;
        *value = array.data()[token * space.token() + place];
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
    let fits = |space: &KnownSpace| {
        frames == 1 && height.is_multiple_of(space.patch) && width.is_multiple_of(space.patch)
    };
    let Some(space) = space_of(channels).filter(fits) else {
        return Err(Error::Shape {
            what: "latent to be packed".into(),
            expected: "[B, 16, 1, h, w] with even sides".into(),
            got: format!("shape {:?}", array.shape()),
        });
    };
    let (patch, token) = (space.patch, space.token());
    let (rows, columns) = (height / patch, width / patch);
    let mut out = Array::zeros([batch, rows * columns, token]);
    for (i, value) in out.data_mut().iter_mut().enumerate() {
        let (x, y) = (i % patch, i / patch % patch);
        let (channel, column) = (i / (patch * patch) % channels, i / token % columns);
        let (row, item) = (i / (token * columns) % rows, i / (token * columns * rows));
        let line = (item * channels + channel) * height + patch * row + y;
        *value = array.data()[line * width + patch * column + x];
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
        let refused = |shape: &[usize], size| match of(shape, size) {
            Err(Error::Tensor {
                path,
                tensor,
                expected,
                got,
            }) if path == Path::new("a.pt") && tensor == "x" => (expected, got),
            other => panic!("{shape:?}: {other:?}"),
        };
        let (expected, _) = refused(&[1, 4096, 64], None);
        assert!(expected.contains("--size"), "{expected}");
        let (expected, got) = refused(&[1, 4096, 64], Some([1024, 512]));
        assert!(
            expected.contains("64 x 32") && got.contains("4096"),
            "{expected}, {got}"
        );
        for shape in [
            &[1, 48, 16, 4, 4][..],
            &[1, 48, 4, 4],
            &[48, 3, 4, 4],
            &[48, 4, 4],
        ] {
            let (_, got) = refused(shape, None);
            assert!(got.contains("Wan2.2-5B"), "{got}");
        }
        let (expected, got) = refused(&[1, 4, 64, 64], None);
        assert!(
            expected.contains("16") && got.starts_with("4,"),
            "{expected}, {got}"
        );
        let (_, got) = refused(&[1, 16, 0, 4, 4], None);
        assert!(got.contains("[1, 16, 0, 4, 4]"), "{got}");
        let (expected, got) = refused(&[5, 7], None);
        assert!(
            expected.contains("[B, tokens, 64]") && got.contains("[5, 7]"),
            "{expected}, {got}"
        );
        let (_, got) = refused(&[1, usize::MAX, 64], Some([usize::MAX, usize::MAX]));
        assert!(got.contains(&usize::MAX.to_string()), "{got}");
    }
}
