//! What the shape of a tensor leaves open: the order of its axes where two extents are 16, by its name and its values, and
//! whether the height and width that are given for packed tokens are exchanged.

use vae2x_core::{Array, Result};

use super::alike::{likeness, token_difference};
use super::layout::{Found, Layout, Ordered, Tensor};
use super::names::frames_and_sides;

/// A layout, and why it is this one where the shape does not say.
pub(super) struct Settled {
    pub layout: Layout,
    pub note: Option<String>,
}

/// Chooses among the layouts that a shape can have; `values` are the tensor's.
pub(super) fn settle(
    tensor: &Tensor<'_>,
    found: Found,
    values: impl FnOnce() -> Result<Array>,
) -> Result<Settled> {
    let one = |layout| Settled { layout, note: None };
    let (usual, other) = match found {
        Found::One(layout) => return Ok(one(layout)),
        Found::Either(usual, other) => (usual, other),
    };
    let taken = |ordered: Ordered, why: &str| Settled {
        note: Some(format!(
            "{} is read as {}, {why}",
            tensor.named(),
            ordered.axes
        )),
        layout: Layout::Ordered(ordered),
    };
    if let Some(sides) = frames_and_sides(tensor.key) {
        for ordered in [&usual, &other] {
            if ordered.frames_and_sides() == sides {
                return Ok(taken(ordered.clone(), "as its name says"));
            }
        }
    }
    const ALIKE: &str = "as its slices along T are as alike as the frames of a clip";
    const DIFFERENT: &str = "as its slices along C differ as channels do";
    let open = || {
        tensor.error(
            &format!("{} or {}", other.asked_for(), usual.asked_for()),
            "a shape and values that leave both open",
        )
    };
    let [first, second] = likeness(&values()?);
    match usual.axes.count() {
        5 if first.is_frames_beside(second) => Ok(taken(other, ALIKE)),
        5 if first.leads(second) => Err(open()),
        5 if second.is_frames_beside(first) || first.is_channels_beside(second) => {
            Ok(one(Layout::Ordered(usual)))
        }
        5 if second.is_channels_beside(first) || first.exceeds(second) => Err(open()),
        5 => Ok(taken(
            usual,
            &format!(
                "as most are: its values show no order ({})",
                other.asked_for()
            ),
        )),
        4 if second.is_frames_beside(first) => Ok(taken(other, ALIKE)),
        4 if second.is_channels_beside(first) => Ok(taken(usual, DIFFERENT)),
        _ => Err(open()),
    }
}

/// Refuses packed tokens whose rows fit together clearly better with height and width exchanged.
pub(super) fn check_sides(tensor: &Tensor<'_>, layout: &Layout, array: &Array) -> Result<()> {
    /// So many rows and columns make an image whose rows can be compared.
    const ENOUGH: usize = 8;
    /// Rows that are not below each other differ by more than this, compared to those that are.
    const WORSE: f64 = 1.2;
    let Layout::Packed {
        space,
        rows,
        columns,
        ..
    } = *layout
    else {
        return Ok(());
    };
    if rows == columns || rows.min(columns) < ENOUGH {
        return Ok(());
    }
    let (given, exchanged) = (
        token_difference(array, columns),
        token_difference(array, rows),
    );
    match given > WORSE * exchanged {
        false => Ok(()),
        true => {
            let [height, width] = [rows, columns].map(|n| n * space.token_pixels());
            Err(tensor.error(
                &format!(
                    "--size {width}x{height} (height first), with which its rows fit together"
                ),
                &format!("--size {height}x{width}, with which they do not"),
            ))
        }
    }
}
