//! A sheet of pictures side by side, each with a caption above: what people look at when they compare.

use font8x8::UnicodeFonts;
use vae2x_core::{Array, Result};

/// Pixels between pictures and around the sheet.
const GAP: usize = 8;
/// Side of a letter's cell in the font.
const LETTER: usize = 8;
/// Pixels per dot of a letter.
const DOT: usize = 2;
const PAPER: f32 = 1.0;
const INK: f32 = -1.0;

/// A picture with a caption.
pub struct Panel<'a> {
    /// Latin letters, digits and signs.
    pub caption: &'a str,
    /// `[3, H, W]` in [-1, 1]
    pub picture: &'a Array,
}

/// Rows of panels on white.
///
/// # Shapes
/// `[3, H, W]` each -> `[3, H', W']`
///
/// # Errors
/// [`vae2x_core::Error::Shape`] if a picture is none.
pub fn sheet(rows: &[Vec<Panel<'_>>]) -> Result<Array> {
    let caption_height = LETTER * DOT + GAP;
    let mut places = Vec::new();
    let (mut top, mut width) = (GAP, 0);
    for row in rows {
        let (mut left, mut bottom) = (GAP, top);
        for panel in row {
            let [_, h, w] = panel.picture.dims("panel")?;
            places.push((panel, top, left));
            left += w + GAP;
            bottom = bottom.max(top + caption_height + h);
        }
        top = bottom + GAP;
        width = width.max(left);
    }
    let mut canvas = Canvas { height: top, width, data: vec![PAPER; 3 * top * width] };
    for (panel, top, left) in places {
        canvas.write(panel.caption, top, left, panel.picture.shape()[2]);
        canvas.paste(panel.picture, top + caption_height, left);
    }
    Array::new([3, canvas.height, canvas.width], canvas.data)
}

struct Canvas {
    height: usize,
    width: usize,
    data: Vec<f32>,
}

impl Canvas {
    fn paste(&mut self, picture: &Array, top: usize, left: usize) {
        let (h, w) = (picture.shape()[1], picture.shape()[2]);
        for (i, row) in picture.data().chunks_exact(w).enumerate() {
            let start = (i / h * self.height + top + i % h) * self.width + left;
            self.data[start..start + w].copy_from_slice(row);
        }
    }

    /// As many letters as fit into `room` pixels.
    fn write(&mut self, text: &str, top: usize, left: usize, room: usize) {
        for (i, letter) in text.chars().take(room / (LETTER * DOT)).enumerate() {
            let glyph = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
            for y in 0..LETTER * DOT {
                for x in (0..LETTER * DOT).filter(|x| glyph[y / DOT] >> (x / DOT) & 1 == 1) {
                    self.ink(top + y, left + i * LETTER * DOT + x);
                }
            }
        }
    }

    fn ink(&mut self, y: usize, x: usize) {
        for c in 0..3 {
            self.data[(c * self.height + y) * self.width + x] = INK;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_lie_where_the_layout_says() {
        let grey = Array::new([3, 4, 40], vec![0.25; 480]).unwrap();
        let panel = |caption| Panel { caption, picture: &grey };
        let sheet = sheet(&[vec![panel("a"), panel("b")], vec![panel("longer than the panel")]]).unwrap();
        let caption = LETTER * DOT + GAP;
        let [_, h, w] = sheet.dims("sheet").unwrap();
        assert_eq!([h, w], [3 * GAP + 2 * (caption + 4), 3 * GAP + 80]);
        let at = |y: usize, x: usize| sheet.data()[y * w + x];
        assert_eq!(at(GAP + caption, GAP), 0.25);
        assert_eq!(at(GAP + caption, 2 * GAP + 40), 0.25);
        assert_eq!(at(GAP + caption, GAP + 40), PAPER);
        let inked = sheet.data().iter().filter(|&&v| v == INK).count();
        assert!(inked > 0, "captions leave ink");
    }
}
