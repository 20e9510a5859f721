//! Drawing: letters, lines and other images on an image.

use font8x8::UnicodeFonts;
use vae2x_core::{Array, Result};

/// Side of a letter's cell in the font.
const LETTER: usize = 8;

/// Pixels `[3, height, width]` in [-1, 1].
pub struct Canvas {
    height: usize,
    width: usize,
    data: Vec<f32>,
}

/// Colour and width of letters and lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pen {
    /// Red, green, blue in [-1, 1].
    pub colour: [f32; 3],
    /// Pixels per dot of a letter; the width of a line in pixels.
    pub width: usize,
}

impl Pen {
    /// Side of a letter's cell in pixels.
    pub fn letter(&self) -> usize {
        LETTER * self.width
    }
}

impl Canvas {
    /// A canvas of one grey.
    pub fn new([height, width]: [usize; 2], paper: f32) -> Self {
        Self {
            height,
            width,
            data: vec![paper; 3 * height * width],
        }
    }

    /// The finished image.
    ///
    /// # Errors
    /// Never: the array has the size it was made with.
    pub fn into_array(self) -> Result<Array> {
        Array::new([3, self.height, self.width], self.data)
    }

    /// Copies an image `[3, h, w]`, which must lie inside.
    pub fn paste(&mut self, image: &Array, top: usize, left: usize) {
        let (h, w) = (image.shape()[1], image.shape()[2]);
        for (i, row) in image.data().chunks_exact(w).enumerate() {
            let start = (i / h * self.height + top + i % h) * self.width + left;
            self.data[start..start + w].copy_from_slice(row);
        }
    }

    /// Writes Latin letters, digits and signs; what falls outside the canvas is skipped.
    pub fn write(&mut self, text: &str, [top, left]: [f64; 2], pen: Pen) {
        let dot = pen.width;
        for (i, letter) in text.chars().enumerate() {
            let glyph = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
            for y in 0..LETTER * dot {
                for x in (0..LETTER * dot).filter(|x| glyph[y / dot] >> (x / dot) & 1 == 1) {
                    self.cover(
                        [top + y as f64, left + (i * LETTER * dot + x) as f64],
                        pen.colour,
                        1.0,
                    );
                }
            }
        }
    }

    /// Draws a line between two points (y, x) with soft edges.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], pen: Pen) {
        let reach = pen.width as f64 / 2.0 + 0.5;
        let range = |axis: usize| {
            let (low, high) = (
                from[axis].min(to[axis]) - reach,
                from[axis].max(to[axis]) + reach,
            );
            low.floor().max(0.0) as usize..=high.ceil().max(0.0) as usize
        };
        for y in range(0) {
            for x in range(1) {
                let point = [y as f64, x as f64];
                self.cover(
                    point,
                    pen.colour,
                    (reach - distance(point, from, to)).clamp(0.0, 1.0),
                );
            }
        }
    }

    fn cover(&mut self, [y, x]: [f64; 2], colour: [f32; 3], share: f64) {
        if !(0.0..self.height as f64).contains(&y) || !(0.0..self.width as f64).contains(&x) {
            return;
        }
        for (c, ink) in colour.into_iter().enumerate() {
            let pixel = &mut self.data[(c * self.height + y as usize) * self.width + x as usize];
            *pixel += (ink - *pixel) * share as f32;
        }
    }
}

/// The distance of a point from the line between two others.
fn distance([y, x]: [f64; 2], [y0, x0]: [f64; 2], [y1, x1]: [f64; 2]) -> f64 {
    let (dy, dx) = (y1 - y0, x1 - x0);
    let along = ((y - y0) * dy + (x - x0) * dx) / (dy * dy + dx * dx).max(f64::MIN_POSITIVE);
    let along = along.clamp(0.0, 1.0);
    (y - y0 - along * dy).hypot(x - x0 - along * dx)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEN: Pen = Pen {
        colour: [-1.0, 0.0, 1.0],
        width: 2,
    };

    #[test]
    fn a_line_covers_what_lies_on_it_and_nothing_far_from_it() {
        let mut canvas = Canvas::new([20, 30], 1.0);
        canvas.line([10.0, 5.0], [10.0, 25.0], PEN);
        // Partly and wholly outside.
        canvas.line([-50.0, -50.0], [-10.0, 90.0], PEN);
        let image = canvas.into_array().unwrap();
        let at = |c: usize, y: usize, x: usize| image.data()[(c * 20 + y) * 30 + x];
        assert_eq!([at(0, 10, 15), at(1, 10, 15), at(2, 10, 15)], PEN.colour);
        assert_eq!((at(0, 14, 15), at(0, 10, 28)), (1.0, 1.0));
    }

    #[test]
    fn letters_leave_ink_inside_and_none_outside() {
        let mut canvas = Canvas::new([16, 20], 1.0);
        canvas.write("A long word", [0.0, 0.0], PEN);
        let image = canvas.into_array().unwrap();
        assert!(image.data().iter().filter(|&&v| v == -1.0).count() > 20);
    }
}
