//! Sheets of evaluations, for looking at: whole images, and a detail of each, enlarged.

use vae2x_core::{Array, Result};
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};
use vae2x_media::sheet::{Panel, sheet};

use crate::data::crop::window_of;

/// How much a detail is enlarged; its sides are so much smaller than those of the image.
const ZOOM: usize = 4;
/// Images beside each other.
const COLUMNS: usize = 4;

/// Images with captions, in rows.
#[derive(Debug, Default)]
pub struct Rows(Vec<Vec<(String, Array)>>);

impl Rows {
    /// Adds images below the others, [`COLUMNS`] beside each other.
    pub fn add(&mut self, images: Vec<(String, Array)>) {
        let mut images = images.into_iter().peekable();
        while images.peek().is_some() {
            self.0.push(images.by_ref().take(COLUMNS).collect());
        }
    }

    /// All of them as one image; none if there are none.
    ///
    /// # Errors
    /// If one is not an image.
    pub fn sheet(&self) -> Result<Option<Array>> {
        let rows: Vec<Vec<Panel<'_>>> = self.0.iter().map(|row| panels(row)).collect();
        (!rows.is_empty()).then(|| sheet(&rows)).transpose()
    }
}

fn panels(row: &[(String, Array)]) -> Vec<Panel<'_>> {
    let panel = |(caption, image)| Panel { caption, image };
    row.iter()
        .map(|(caption, image)| (caption.as_str(), image))
        .map(panel)
        .collect()
}

/// A part of an image, `1 / ZOOM` of its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Row and column of its first pixel.
    place: [usize; 2],
    size: [usize; 2],
}

impl Detail {
    /// The part of an image that has most detail: where neighbouring pixels differ most.
    ///
    /// # Errors
    /// If it is not an image.
    pub fn busiest(image: &Array) -> Result<Self> {
        let whole = picture_size(image)?;
        let size = whole.map(|n| (n / ZOOM).max(1));
        let places = |axis: usize| {
            let last = whole[axis] - size[axis];
            (0..=last).step_by((size[axis] / 2).max(1))
        };
        let mut best = (f64::NEG_INFINITY, [0, 0]);
        for top in places(0) {
            for left in places(1) {
                let part = window_of(image, [top, left], size, false)?;
                let busyness = busyness(&part, size[1]);
                if busyness > best.0 {
                    best = (busyness, [top, left]);
                }
            }
        }
        Ok(Self {
            place: best.1,
            size,
        })
    }

    /// This part of an image, each pixel as a square.
    ///
    /// # Errors
    /// If it is not an image.
    pub fn of(self, image: &Array) -> Result<Array> {
        let part = window_of(image, self.place, self.size, false)?;
        resize(&part, self.size.map(|n| n * ZOOM), Filter::Area)
    }

    /// The caption of the part, by that of the image.
    pub fn caption(caption: &str) -> String {
        format!("{caption} {ZOOM}x")
    }
}

/// The sum of differences between neighbours in a row.
fn busyness(image: &Array, width: usize) -> f64 {
    let rows = image.data().chunks_exact(width);
    let differences = rows.flat_map(|row| row.windows(2).map(|pair| (pair[1] - pair[0]).abs()));
    differences.map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_part_is_found_and_enlarged_without_smoothing() {
        let (side, at) = (64, [32, 8]);
        let mut image = Array::zeros([3, side, side]);
        let inside = |y: usize, x: usize| {
            (at[0]..at[0] + 16).contains(&y) && (at[1]..at[1] + 16).contains(&x)
        };
        for (i, value) in image.data_mut().iter_mut().enumerate() {
            let (y, x) = (i / side % side, i % side);
            if inside(y, x) {
                *value = if (x + y) % 2 == 0 { 1.0 } else { -1.0 };
            }
        }
        let detail = Detail::busiest(&image).unwrap();
        assert_eq!((detail.place, detail.size), (at, [16, 16]));
        let shown = detail.of(&image).unwrap();
        assert_eq!(shown.shape(), [3, 64, 64]);
        for (i, value) in shown.data().iter().enumerate() {
            let (y, x) = (i / 64 % 64 / ZOOM, i % 64 / ZOOM);
            assert_eq!(*value, if (x + y) % 2 == 0 { 1.0 } else { -1.0 });
        }
    }

    #[test]
    fn long_rows_are_broken_and_none_give_no_sheet() {
        let mut rows = Rows::default();
        assert!(rows.sheet().unwrap().is_none());
        let image = |n: usize| (n.to_string(), Array::zeros([3, 8, 8]));
        rows.add((0..COLUMNS + 1).map(image).collect());
        let lengths: Vec<usize> = rows.0.iter().map(Vec::len).collect();
        assert_eq!(lengths, [COLUMNS, 1]);
        assert!(rows.sheet().unwrap().is_some());
    }
}
