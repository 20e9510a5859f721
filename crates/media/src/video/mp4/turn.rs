//! Frames that a player turns or mirrors.

use mp4_atom::Matrix;
use vae2x_core::{Array, Result};

/// Where the axes of a stored frame point when it is shown: quarter turns and mirror images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The direction of the stored rows, right and down.
    across: [i8; 2],
    /// The direction of the stored columns.
    down: [i8; 2],
}

impl Turn {
    /// A track's matrix; `None` for what is neither a quarter turn nor a mirror image.
    pub fn of(matrix: &Matrix) -> Option<Self> {
        const ONE: i32 = 1 << 16;
        let sign = |value: i32| match value {
            0 => Some(0),
            ONE => Some(1),
            v if v == -ONE => Some(-1),
            _ => None,
        };
        let turn = Self {
            across: [sign(matrix.a)?, sign(matrix.b)?],
            down: [sign(matrix.c)?, sign(matrix.d)?],
        };
        let [[a, b], [c, d]] = [turn.across, turn.down];
        (a.abs() + b.abs() == 1 && a.abs() == d.abs() && b.abs() == c.abs()).then_some(turn)
    }

    /// The size as it is shown.
    pub fn size(self, [height, width]: [usize; 2]) -> [usize; 2] {
        match self.across[0] {
            0 => [width, height],
            _ => [height, width],
        }
    }

    /// The frame as it is shown.
    pub fn apply(self, frame: Array) -> Result<Array> {
        if (self.across, self.down) == ([1, 0], [0, 1]) {
            return Ok(frame);
        }
        let [planes, height, width] = frame.dims("frame")?;
        let shown = self.size([height, width]);
        // What lies to the left of the origin or above it is moved into the frame.
        let place = |x: usize, y: usize, axis: usize| {
            let (a, c) = (self.across[axis], self.down[axis]);
            let along = |sign: i8, at: usize, length: usize| match sign {
                0 => 0,
                1 => at,
                _ => length - 1 - at,
            };
            along(a, x, width) + along(c, y, height)
        };
        let mut turned = vec![0.0; frame.data().len()];
        let area = height * width;
        for y in 0..height {
            for x in 0..width {
                let to = place(x, y, 1) * shown[1] + place(x, y, 0);
                for plane in 0..planes {
                    turned[plane * area + to] = frame.data()[plane * area + y * width + x];
                }
            }
        }
        Array::new([planes, shown[0], shown[1]], turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned([a, b, c, d]: [i32; 4]) -> Option<(Vec<usize>, Vec<f32>)> {
        let [a, b, c, d] = [a, b, c, d].map(|v| v << 16);
        let matrix = Matrix {
            a,
            b,
            c,
            d,
            ..Matrix::default()
        };
        let frame = Array::new([1, 2, 3], (1u8..7).map(f32::from).collect()).unwrap();
        let shown = Turn::of(&matrix)?.apply(frame).unwrap();
        Some((shown.shape()[1..].to_vec(), shown.data().to_vec()))
    }

    #[test]
    fn frames_are_turned_as_players_turn_them() {
        let is = |matrix, size: [usize; 2], values: [u8; 6]| {
            let values = values.map(f32::from).to_vec();
            assert_eq!(turned(matrix), Some((size.to_vec(), values)), "{matrix:?}");
        };
        is([1, 0, 0, 1], [2, 3], [1, 2, 3, 4, 5, 6]);
        is([0, 1, -1, 0], [3, 2], [4, 1, 5, 2, 6, 3]);
        is([-1, 0, 0, -1], [2, 3], [6, 5, 4, 3, 2, 1]);
        is([0, -1, 1, 0], [3, 2], [3, 6, 2, 5, 1, 4]);
        is([-1, 0, 0, 1], [2, 3], [3, 2, 1, 6, 5, 4]);
        for other in [[2, 0, 0, 2], [1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]] {
            assert_eq!(turned(other), None, "{other:?}");
        }
    }
}
