//! How many frames a sink was promised, and how many came.

use vae2x_core::{Error, Result};

/// Frames of all items, counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    items: usize,
    frames: usize,
    pushed: usize,
}

impl Count {
    /// Expects `items` times `frames` frames.
    pub fn new(items: usize, frames: usize) -> Self {
        Self {
            items,
            frames,
            pushed: 0,
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
