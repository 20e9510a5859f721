//! A sheet of images side by side, each with a caption above, for comparing by eye.

use vae2x_core::{Array, Result};

use crate::canvas::{Canvas, Pen};

/// Pixels between images and around the sheet.
const GAP: usize = 8;
const PAPER: f32 = 1.0;
const PEN: Pen = Pen {
    colour: [-1.0; 3],
    width: 2,
};

/// An image with a caption.
pub struct Panel<'a> {
    /// Latin letters, digits and signs.
    pub caption: &'a str,
    /// `[3, H, W]` in [-1, 1]
    pub image: &'a Array,
}

/// Rows of panels on white.
///
/// # Shapes
/// `[3, H, W]` each -> `[3, H', W']`
///
/// # Errors
/// [`vae2x_core::Error::Shape`] if one is not an image.
pub fn sheet(rows: &[Vec<Panel<'_>>]) -> Result<Array> {
    let caption_height = PEN.letter() + GAP;
    let mut places = Vec::new();
    let (mut top, mut width) = (GAP, 0);
    for row in rows {
        let (mut left, mut bottom) = (GAP, top);
        for panel in row {
            let [_, h, w] = panel.image.dims("panel")?;
            places.push((panel, top, left));
            left += w + GAP;
            bottom = bottom.max(top + caption_height + h);
        }
        top = bottom + GAP;
        width = width.max(left);
    }
    let mut canvas = Canvas::new([top, width], PAPER);
    for (panel, top, left) in places {
        // As many letters as fit above the image.
        let room = panel.image.shape()[2] / PEN.letter();
        let caption: String = panel.caption.chars().take(room).collect();
        canvas.write(&caption, [top as f64, left as f64], PEN);
        canvas.paste(panel.image, top + caption_height, left);
    }
    canvas.into_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_lie_where_the_layout_says() {
        let grey = Array::new([3, 4, 40], vec![0.25; 480]).unwrap();
        let panel = |caption| Panel {
            caption,
            image: &grey,
        };
        let sheet = sheet(&[
            vec![panel("a"), panel("b")],
            vec![panel("longer than the panel")],
        ])
        .unwrap();
        let caption = PEN.letter() + GAP;
        let [_, h, w] = sheet.dims("sheet").unwrap();
        assert_eq!([h, w], [3 * GAP + 2 * (caption + 4), 3 * GAP + 80]);
        let at = |y: usize, x: usize| sheet.data()[y * w + x];
        assert_eq!(at(GAP + caption, GAP), 0.25);
        assert_eq!(at(GAP + caption, 2 * GAP + 40), 0.25);
        assert_eq!(at(GAP + caption, GAP + 40), PAPER);
        let inked = sheet.data().iter().filter(|&&v| v == PEN.colour[0]).count();
        assert!(inked > 0, "captions leave ink");
    }
}
