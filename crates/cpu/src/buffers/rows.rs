//! Rows of pixels between steps: the last few of a frame, or whole frames with the two before.
//!
//! A row is `[pixel][channel]`, channels padded to whole blocks with zeros, with a pixel of zeros on the left and zeros
//! on the right up to a whole number of tiles and one pixel more: windows need no care at the edges. Row `y` of a frame
//! lies at place `y mod capacity`; frame `n` in slot `n mod slots`.

use std::ops::Range;

use vae2x_core::Result;

use crate::buffers::pages::Pages;
use crate::kernels::{STEP4, padded};

/// The extents of a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Channels with padding.
    pub channels: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Rows of a frame.
    pub height: usize,
    /// Rows held of a frame.
    pub capacity: usize,
    /// Frames held.
    pub slots: usize,
}

impl Extent {
    pub fn new(channels: usize, width: usize, height: usize) -> Self {
        Self {
            channels: padded(channels),
            width,
            height,
            capacity: height,
            slots: 1,
        }
    }

    /// Values of a row with its margins.
    pub fn stride(&self) -> usize {
        (self.width.next_multiple_of(STEP4) + 2) * self.channels
    }

    /// The pixels of some rows of a slot, which is allocated if it is not yet.
    fn pixels_mut<'a>(&self, slot: &'a mut Pages, ys: Range<usize>) -> Result<Vec<&'a mut [f32]>> {
        if slot.is_empty() {
            *slot = Pages::large(self.stride() * self.capacity)?;
        }
        let mut rows: Vec<Option<&mut [f32]>> =
            slot.chunks_exact_mut(self.stride()).map(Some).collect();
        let pixels = self.channels..self.channels * (self.width + 1);
        let taken = ys.map(|y| {
            rows[y % self.capacity]
                .take()
                .map(|row| &mut row[pixels.clone()])
        });
        Ok(taken.flatten().collect())
    }

    /// Values of all slots.
    pub fn values(&self) -> usize {
        self.stride() * self.capacity * self.slots
    }
}

/// A buffer of rows. Slots without memory are allocated when first written.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub extent: Extent,
    slots: Vec<Pages>,
    zeros: Pages,
}

impl Rows {
    pub fn new(extent: Extent) -> Result<Self> {
        let slots = (0..extent.slots).map(|_| Pages::default()).collect();
        Ok(Self {
            extent,
            slots,
            zeros: Pages::zeros(extent.stride())?,
        })
    }

    fn place(&self, y: usize) -> usize {
        y % self.extent.capacity * self.extent.stride()
    }

    /// Row `y` of a frame with its margins; zeros outside of the image.
    pub fn row(&self, frame: usize, y: isize) -> &[f32] {
        match usize::try_from(y) {
            Ok(y) if y < self.extent.height => {
                &self.slots[frame % self.slots.len()][self.place(y)..][..self.extent.stride()]
            }
            _ => &self.zeros,
        }
    }

    /// A row of zeros.
    pub fn zeros(&self) -> &[f32] {
        &self.zeros
    }

    /// The pixels of row `y` of a frame, without margins.
    pub fn pixels(&self, frame: usize, y: usize) -> &[f32] {
        let c = self.extent.channels;
        &self.row(frame, y as isize)[c..][..self.extent.width * c]
    }

    /// The pixels of some rows of `count` frames from `frame` on, in order, for writing. There must be as many slots.
    pub fn pixels_mut(
        &mut self,
        frame: usize,
        count: usize,
        ys: Range<usize>,
    ) -> Result<Vec<Vec<&mut [f32]>>> {
        let (extent, slots) = (self.extent, self.slots.len());
        debug_assert!(ys.len() <= extent.capacity && count <= slots);
        let mut picked: Vec<Option<&mut Pages>> = self.slots.iter_mut().map(Some).collect();
        let frames = (frame..frame + count).filter_map(|n| picked[n % slots].take());
        frames
            .map(|slot| extent.pixels_mut(slot, ys.clone()))
            .collect()
    }

    /// Puts a whole frame in its slot.
    pub fn put(&mut self, frame: usize, values: Pages) {
        debug_assert_eq!(values.len(), self.extent.stride() * self.extent.capacity);
        let count = self.slots.len();
        self.slots[frame % count] = values;
    }

    /// Takes a whole frame out of its slot.
    pub fn take(&mut self, frame: usize) -> Pages {
        let count = self.slots.len();
        std::mem::take(&mut self.slots[frame % count])
    }

    /// Gives the memory back.
    pub fn release(&mut self) {
        self.slots.iter_mut().for_each(|s| *s = Pages::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_wrap_around_and_margins_stay_zero() {
        let mut rows = Rows::new(Extent {
            capacity: 3,
            ..Extent::new(5, 6, 10)
        })
        .unwrap();
        for (y, row) in (4..7).zip(rows.pixels_mut(0, 1, 4..7).unwrap().remove(0)) {
            row.fill(y as f32);
        }
        for y in 4..7 {
            let row = rows.row(0, y);
            assert_eq!(row.len(), 10 * 16);
            assert!(row[..16].iter().chain(&row[7 * 16..]).all(|x| *x == 0.0));
            assert!(rows.pixels(0, y as usize).iter().all(|x| *x == y as f32));
        }
        assert!(
            rows.row(0, -1)
                .iter()
                .chain(rows.row(0, 10))
                .all(|x| *x == 0.0)
        );
    }
}
