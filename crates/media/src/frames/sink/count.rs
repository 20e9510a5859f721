//! How many frames a sink was promised, and how many came.

use vae2x_core::{Array, Error, Result};

use crate::pixels::{picture_size, require_finite};

/// Frames of all items, counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    items: usize,
    frames: usize,
    pushed: usize,
    /// Height and width of the first frame, where all have one.
    size: Option<[usize; 2]>,
}

impl Count {
    /// Expects `items` times `frames` frames.
    pub fn new(items: usize, frames: usize) -> Self {
        Self {
            items,
            frames,
            pushed: 0,
            size: None,
        }
    }

    /// Item and number of the next frame.
    ///
    /// # Errors
    /// [`Error::Shape`] if all have come.
    pub fn next(&self) -> Result<[usize; 2]> {
        match self.pushed < self.items * self.frames {
            true => Ok([self.pushed / self.frames, self.pushed % self.frames]),
            false => Err(self.miscounted(self.pushed + 1)),
        }
    }

    /// Number, height and width of the next frame of a file whose frames are all of one size.
    ///
    /// # Errors
    /// [`Error::Shape`] if all have come, or it is not an image or of another size than the first;
    /// [`Error::NotFinite`].
    pub fn next_alike(&mut self, frame: &Array) -> Result<(usize, [usize; 2])> {
        self.next()?;
        let index = self.pushed;
        require_finite(&format!("frame {index}"), frame)?;
        let size = picture_size(frame)?;
        let first = *self.size.get_or_insert(size);
        match size == first {
            true => Ok((index, size)),
            false => Err(Error::Shape {
                what: format!("frame {index}"),
                expected: format!("{}x{} pixels, as the first", first[1], first[0]),
                got: format!("{}x{}", size[1], size[0]),
            }),
        }
    }

    /// Frames that have come.
    pub fn pushed(&self) -> usize {
        self.pushed
    }

    /// Counts a frame that was written.
    pub fn add(&mut self) {
        self.pushed += 1;
    }

    /// Checks that all have come.
    ///
    /// # Errors
    /// [`Error::Shape`] if some are missing.
    pub fn finish(&self) -> Result<()> {
        match self.pushed == self.items * self.frames {
            true => Ok(()),
            false => Err(self.miscounted(self.pushed)),
        }
    }

    /// The error for `got` frames.
    pub fn miscounted(&self, got: usize) -> Error {
        Error::Shape {
            what: "frames for the output".into(),
            expected: format!("{} x {}", self.items, self.frames),
            got: format!("{got}"),
        }
    }
}
