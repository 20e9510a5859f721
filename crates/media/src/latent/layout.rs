//! The shapes in which latents are saved, and how they become `[B, C, T, h, w]`.
//!
//! | saved as | by |
//! |---|---|
//! | `[B, 16, T, h, w]` | ComfyUI, diffusers' Wan |
//! | `[B, T, 16, h, w]` | diffusers' Qwen-Image before packing |
//! | `[B, 16, h, w]` | images without the axis of time |
//! | `[16, T, h, w]` | clips without the batch: WanVideoWrapper, musubi-tuner, sd-scripts |
//! | `[16, h, w]` | a single image |
//! | `[B, h/2 * w/2, 64]` | diffusers' Qwen-Image: each token is `[16, 2, 2]`; the size must be given |
//!
//! Where two extents are 16, the shape leaves two of these open: [`super::settle`] asks the tensor's name, then its values, and
//! refuses what stays doubtful. `--axes` says it instead, in any order.

use std::path::Path;

use vae2x_core::{Array, Error, Result};

use super::axes::Axes;
use super::known::{KnownSpace, foreign, is_foreign_clip, known_spaces, space_of};

/// A tensor, for errors.
pub(super) struct Tensor<'a> {
    pub path: &'a Path,
    pub key: &'a str,
}

impl Tensor<'_> {
    /// The tensor in a sentence; one that is alone in its file may have no name.
    pub fn named(&self) -> String {
        match self.key {
            "" => "the tensor".into(),
            key => format!("tensor '{key}'"),
        }
    }

    pub fn error(&self, expected: &str, got: &str) -> Error {
        Error::Tensor {
            path: self.path.into(),
            tensor: self.key.into(),
            expected: expected.into(),
            got: got.into(),
        }
    }
}

/// What the user says about a shape.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given<'a> {
    pub axes: Option<&'a Axes>,
    /// Height and width in pixels of a packed latent.
    pub size: Option<[usize; 2]>,
}

/// How a tensor becomes `[B, C, T, h, w]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Axes in some order.
    Ordered(Ordered),
    /// `[B, rows * columns, C * patch * patch]`.
    Packed {
        space: KnownSpace,
        batch: usize,
        rows: usize,
        columns: usize,
    },
}

/// Axes in an order, and the extents `[B, C, T, h, w]` that they make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    pub axes: Axes,
    pub extents: [usize; 5],
}

/// The layouts that a shape can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    One(Layout),
    /// The usual one, and another.
    Either(Ordered, Ordered),
}

/// Finds the layouts that a shape can have.
pub(super) fn recognize(tensor: &Tensor<'_>, shape: &[usize], given: Given<'_>) -> Result<Found> {
    if shape.contains(&0) {
        return Err(tensor.error("a latent that is not empty", &format!("shape {shape:?}")));
    }
    if let Some(axes) = given.axes {
        return ordered(axes, tensor, shape).map(|one| Found::One(Layout::Ordered(one)));
    }
    known_spaces()
        .into_iter()
        .find_map(|space| recognize_as(space, tensor, shape, given.size))
        .unwrap_or_else(|| Err(refusal(tensor, shape)))
}

/// Whether a shape is that of a latent.
pub(super) fn is_plausible(shape: &[usize]) -> bool {
    let nowhere = Tensor {
        path: Path::new(""),
        key: "",
    };
    let is_of = |space| recognize_as(space, &nowhere, shape, None).is_some();
    !shape.contains(&0) && known_spaces().into_iter().any(is_of)
}

/// The layouts of a tensor as a latent of one space; `None` if its shape is not one of that space.
fn recognize_as(
    space: KnownSpace,
    tensor: &Tensor<'_>,
    shape: &[usize],
    size: Option<[usize; 2]>,
) -> Option<Result<Found>> {
    let is = |n: usize| n == space.channels;
    let (usual, other) = match *shape {
        [_, c, t, _, _] if is(c) && is(t) => ("BCTHW", Some("BTCHW")),
        [_, c, _, _, _] if is(c) => ("BCTHW", None),
        [_, t, c, _, _] if is(c) && !is_foreign_clip(t) => ("BTCHW", None),
        [c, t, _, _] if is(c) && is(t) => ("BCHW", Some("CTHW")),
        [c, _, _, _] if is(c) => ("CTHW", None),
        [_, c, _, _] if is(c) => ("BCHW", None),
        [batch, tokens, n] if n == space.token() && (size.is_some() || !is(batch)) => {
            return Some(packed(space, tensor, [batch, tokens], size).map(Found::One));
        }
        [c, _, _] if is(c) => ("CHW", None),
        _ => return None,
    };
    let of = |order: &str| ordered(&order.parse()?, tensor, shape);
    Some(match other {
        None => of(usual).map(|one| Found::One(Layout::Ordered(one))),
        Some(other) => of(usual).and_then(|usual| Ok(Found::Either(usual, of(other)?))),
    })
}

/// The layout of axes in an order that is given.
fn ordered(axes: &Axes, tensor: &Tensor<'_>, shape: &[usize]) -> Result<Ordered> {
    let found = format!("shape {shape:?}");
    let Some(extents) = axes.extents(shape) else {
        let expected = format!("{} axes, for --axes {axes}", axes.count());
        return Err(tensor.error(&expected, &found));
    };
    match space_of(extents[1]) {
        Some(_) => Ok(Ordered {
            axes: axes.clone(),
            extents,
        }),
        None => {
            let [KnownSpace { channels, .. }, ..] = known_spaces();
            let place = axes.channels();
            let expected = format!("{channels} channels on axis {place}, for --axes {axes}");
            Err(tensor.error(&expected, &found))
        }
    }
}

impl Ordered {
    pub fn frames_and_sides(&self) -> [usize; 3] {
        let [_, _, frames, height, width] = self.extents;
        [frames, height, width]
    }

    /// "--axes CTHW for a clip of 16 latent frames"
    pub fn asked_for(&self) -> String {
        let axes = &self.axes;
        match self.extents {
            [1, _, 1, ..] => format!("--axes {axes} for an image"),
            [items, _, 1, ..] => format!("--axes {axes} for {items} images"),
            [1, _, frames, ..] => format!("--axes {axes} for a clip of {frames} latent frames"),
            [items, _, frames, ..] => {
                format!("--axes {axes} for {items} clips of {frames} latent frames")
            }
        }
    }
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
            &format!("{n}, in shape {shape:?}: {words}"),
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
    pub fn is_packed(&self) -> bool {
        matches!(self, Self::Packed { .. })
    }

    /// `[B, C, T, h, w]`
    pub fn shape(&self) -> [usize; 5] {
        match *self {
            Self::Ordered(Ordered { extents, .. }) => extents,
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
    pub fn apply(&self, array: Array) -> Result<Array> {
        match self {
            Self::Ordered(Ordered { axes, .. }) => axes.apply(array),
            &Self::Packed {
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

    fn tensor() -> Tensor<'static> {
        Tensor {
            path: Path::new("a.pt"),
            key: "x",
        }
    }

    fn found(shape: &[usize], size: Option<[usize; 2]>) -> Result<Found> {
        recognize(&tensor(), shape, Given { axes: None, size })
    }

    fn of(shape: &[usize], size: Option<[usize; 2]>) -> Result<Layout> {
        found(shape, size).map(|found| match found {
            Found::One(layout) => layout,
            Found::Either(..) => panic!("{shape:?} is open"),
        })
    }

    fn order(text: &str, extents: [usize; 5]) -> Ordered {
        Ordered {
            axes: text.parse().unwrap(),
            extents,
        }
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
        let told = [
            (&[2, 16, 3, 4, 5][..], "BCTHW", [2, 16, 3, 4, 5]),
            (&[1, 3, 16, 4, 5], "BTCHW", [1, 16, 3, 4, 5]),
            (&[2, 16, 4, 5], "BCHW", [2, 16, 1, 4, 5]),
            (&[16, 3, 4, 5], "CTHW", [1, 16, 3, 4, 5]),
            (&[16, 4, 64], "CHW", [1, 16, 1, 4, 64]),
        ];
        for (shape, axes, extents) in told {
            let want = Layout::Ordered(order(axes, extents));
            assert_eq!(of(shape, None).unwrap(), want, "{shape:?}");
        }
        let open = [
            (
                &[16, 16, 4, 5][..],
                order("BCHW", [16, 16, 1, 4, 5]),
                order("CTHW", [1, 16, 16, 4, 5]),
            ),
            (
                &[2, 16, 16, 4, 5],
                order("BCTHW", [2, 16, 16, 4, 5]),
                order("BTCHW", [2, 16, 16, 4, 5]),
            ),
        ];
        for (shape, usual, other) in open {
            assert_eq!(
                found(shape, None).unwrap(),
                Found::Either(usual, other),
                "{shape:?}"
            );
        }
    }

    #[test]
    fn axes_that_are_given_must_fit() {
        let given = |text: &str, shape: &[usize]| {
            let axes = text.parse().unwrap();
            let given = Given {
                axes: Some(&axes),
                size: None,
            };
            recognize(&tensor(), shape, given).map_err(|e| e.to_string())
        };
        let clip = Found::One(Layout::Ordered(order("TCHW", [1, 16, 5, 4, 6])));
        assert_eq!(given("TCHW", &[5, 16, 4, 6]).unwrap(), clip);
        let images = Found::One(Layout::Ordered(order("BHWC", [5, 16, 1, 4, 6])));
        assert_eq!(given("BHWC", &[5, 4, 6, 16]).unwrap(), images);
        let axes = given("BCTHW", &[5, 16, 4, 6]).unwrap_err();
        assert!(
            axes.contains("5 axes, for --axes BCTHW, found shape [5, 16, 4, 6]"),
            "{axes}"
        );
        let channels = given("CTHW", &[5, 16, 4, 6]).unwrap_err();
        assert!(channels.contains("16 channels on axis 0"), "{channels}");
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
