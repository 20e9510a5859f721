//! Rows of pixels between steps: the last few of a frame, or whole frames, or the last few beside the two frames before.
//!
//! A row is `[pixel][channel]`, channels padded to whole blocks with zeros, with a pixel of zeros on the left and zeros
//! on the right up to a whole number of tiles and one pixel more: windows need no care at the edges. Row `y` of a frame
//! lies at place `y mod capacity`; frame `n` in slot `n mod slots`.
//!
//! Where a past is kept ([`Extent::past`]), rows of the frames that pass are exchanged for rows of the past as soon as
//! these have been used: two frames are held whole, whatever number passes at a time, and nothing is copied.

use std::ops::Range;

use vae2x_core::Result;

use crate::buffers::pages::Pages;
use vae2x_kernels::{STEP4, padded};

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
    /// Frames held, of so many rows.
    pub slots: usize,
    /// Frames before those that are held whole beside them.
    pub past: usize,
}

impl Extent {
    pub fn new(channels: usize, width: usize, height: usize) -> Self {
        Self {
            channels: padded(channels),
            width,
            height,
            capacity: height,
            slots: 1,
            past: 0,
        }
    }

    /// Values of a row with its margins.
    pub fn stride(&self) -> usize {
        (self.width.next_multiple_of(STEP4) + 2) * self.channels
    }

    /// Values of all frames.
    pub fn values(&self) -> usize {
        self.stride() * (self.capacity * self.slots + self.height * self.past)
    }

    /// The pixels of the rows at `places` of `memory`.
    fn pick<'a>(
        &self,
        memory: &'a mut Pages,
        places: impl Iterator<Item = usize>,
    ) -> Vec<&'a mut [f32]> {
        let mut rows: Vec<_> = memory.chunks_exact_mut(self.stride()).map(Some).collect();
        let pixels = self.channels..self.channels * (self.width + 1);
        let taken = places.map(|place| rows[place].take().map(|row| &mut row[pixels.clone()]));
        taken.flatten().collect()
    }
}

/// A buffer of rows. Frames without memory get it when they are first written.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub extent: Extent,
    frames: Frames,
    zeros: Pages,
}

#[derive(Debug)]
enum Frames {
    /// Frame `n` is in slot `n mod slots`.
    Slots(Vec<Pages>),
    /// The frames that pass, and those before.
    Ring(Ring),
}

impl Default for Frames {
    fn default() -> Self {
        Self::Slots(Vec::new())
    }
}

/// The frames that pass and the two before, whose rows change places.
#[derive(Debug)]
struct Ring {
    memory: Pages,
    /// Where the rows lie: those of each slot, then those of each frame of the past.
    places: Vec<usize>,
    /// The first frame that passes.
    first: usize,
    /// Its rows, and those of the frames with it, that are in the past already.
    used: usize,
}

impl Ring {
    fn new(extent: &Extent) -> Result<Self> {
        let rows = extent.capacity * extent.slots + extent.height * extent.past;
        Ok(Self {
            memory: Pages::large(rows * extent.stride())?,
            places: (0..rows).collect(),
            first: 0,
            used: 0,
        })
    }

    /// The number of row `y` of a frame that passes.
    fn passing(&self, extent: &Extent, frame: usize, y: usize) -> usize {
        (frame - self.first) * extent.capacity + y % extent.capacity
    }

    /// The number of row `y` of a frame of the past.
    fn past(&self, extent: &Extent, frame: usize, y: usize) -> usize {
        extent.slots * extent.capacity + frame % extent.past * extent.height + y
    }

    fn place(&self, extent: &Extent, frame: usize, y: usize) -> usize {
        self.places[match frame < self.first {
            true => self.past(extent, frame, y),
            false => self.passing(extent, frame, y),
        }]
    }
}

impl Rows {
    pub fn new(extent: Extent) -> Result<Self> {
        let frames = match extent.past {
            0 => Frames::Slots((0..extent.slots).map(|_| Pages::default()).collect()),
            _ => Frames::Ring(Ring::new(&extent)?),
        };
        Ok(Self {
            extent,
            frames,
            zeros: Pages::zeros(extent.stride())?,
        })
    }

    /// Row `y` of a frame with its margins; zeros outside of the image.
    pub fn row(&self, frame: usize, y: isize) -> &[f32] {
        let (extent, stride) = (&self.extent, self.extent.stride());
        match usize::try_from(y) {
            Ok(y) if y < extent.height => match &self.frames {
                Frames::Slots(slots) => {
                    &slots[frame % slots.len()][y % extent.capacity * stride..][..stride]
                }
                Frames::Ring(ring) => {
                    &ring.memory[ring.place(extent, frame, y) * stride..][..stride]
                }
            },
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
        let extent = self.extent;
        debug_assert!(ys.len() <= extent.capacity && count <= extent.slots);
        match &mut self.frames {
            Frames::Slots(slots) => {
                let n = slots.len();
                let mut picked: Vec<Option<&mut Pages>> = slots.iter_mut().map(Some).collect();
                let frames = (frame..frame + count).filter_map(|frame| picked[frame % n].take());
                let rows = frames.map(|slot| {
                    if slot.is_empty() {
                        *slot = Pages::large(extent.stride() * extent.capacity)?;
                    }
                    Ok(extent.pick(slot, ys.clone().map(|y| y % extent.capacity)))
                });
                rows.collect()
            }
            Frames::Ring(ring) => {
                let frames = frame..frame + count;
                let places: Vec<usize> = frames
                    .flat_map(|frame| ys.clone().map(move |y| (frame, y)))
                    .map(|(frame, y)| ring.place(&extent, frame, y))
                    .collect();
                let mut rows = extent
                    .pick(&mut ring.memory, places.into_iter())
                    .into_iter();
                Ok((0..count)
                    .map(|_| rows.by_ref().take(ys.len()).collect())
                    .collect())
            }
        }
    }

    /// Begins with the frames from `first` on; those before are the past.
    pub fn begin(&mut self, first: usize) {
        if let Frames::Ring(ring) = &mut self.frames {
            (ring.first, ring.used) = (first, 0);
        }
    }

    /// Puts the first `used` rows of the frames up to `end`, the last of those that pass, into the past, where the rows of
    /// the frames before must not be needed any more.
    pub fn pass(&mut self, end: usize, used: usize) {
        let extent = self.extent;
        let Frames::Ring(ring) = &mut self.frames else {
            return;
        };
        for frame in ring.first.max(end.saturating_sub(extent.past))..end {
            for y in ring.used..used {
                let (passing, past) = (
                    ring.passing(&extent, frame, y),
                    ring.past(&extent, frame, y),
                );
                ring.places.swap(passing, past);
            }
        }
        ring.used = ring.used.max(used);
    }

    /// Puts a whole frame in its slot.
    pub fn put(&mut self, frame: usize, values: Pages) {
        debug_assert_eq!(values.len(), self.extent.stride() * self.extent.capacity);
        *self.slot(frame) = values;
    }

    /// Takes a whole frame out of its slot.
    pub fn take(&mut self, frame: usize) -> Pages {
        std::mem::take(self.slot(frame))
    }

    /// The slot of a whole frame.
    fn slot(&mut self, frame: usize) -> &mut Pages {
        match &mut self.frames {
            Frames::Slots(slots) => {
                let count = slots.len();
                &mut slots[frame % count]
            }
            Frames::Ring(_) => unreachable!("what comes in or leaves whole has slots"),
        }
    }

    /// Gives the memory back.
    pub fn release(&mut self) {
        if let Frames::Slots(slots) = &mut self.frames {
            slots.iter_mut().for_each(|s| *s = Pages::default());
        }
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
    #[test]
    fn rows_that_were_used_become_the_past() {
        let (height, together) = (10, 4);
        let mut rows = Rows::new(Extent {
            capacity: 3,
            slots: together,
            past: 2,
            ..Extent::new(5, 6, height)
        })
        .unwrap();
        let value = |frame: usize, y: usize| (100 * frame + y) as f32;
        let is = |rows: &Rows, frame: usize, y: usize| {
            let row = rows.row(frame, y as isize);
            let margins = row[..16].iter().chain(&row[7 * 16..]);
            rows.pixels(frame, y).iter().all(|x| *x == value(frame, y))
                && margins.into_iter().all(|x| *x == 0.0)
        };
        let mut first = 0;
        for count in [1, together, together] {
            rows.begin(first);
            for y in 0..height {
                let new = rows.pixels_mut(first, count, y..y + 1).unwrap();
                for (i, mut row) in new.into_iter().enumerate() {
                    row.remove(0).fill(value(first + i, y));
                }
                // One row is needed still when the next is there.
                let Some(last) = y.checked_sub(1) else {
                    continue;
                };
                for y in last..=y {
                    let seen = first.saturating_sub(2)..first + count;
                    assert!(seen.into_iter().all(|frame| is(&rows, frame, y)));
                }
                rows.pass(first + count, y);
                // What has passed is not exchanged again.
                rows.pass(first + count, y);
            }
            rows.pass(first + count, height);
            first += count;
        }
    }
}
