//! Frames in sizes that an encoder takes: whole latent cells, and as many frames as fill latent
//! frames.

use std::path::Path;

use vae2x_core::{Array, Error, Result, VaeConfig};

use super::contract::{Frame, FrameSource, Spec};
use crate::fit::{crop, pad};

/// How to treat a size that is not a multiple of a latent cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edges {
    /// The middle is kept.
    #[default]
    Crop,
    /// The last row and column are repeated.
    Pad,
}

/// The sizes and frame counts that an encoder takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Pixels per latent cell, along each axis.
    pub cell: usize,
    /// Frames per latent frame, the first excepted.
    pub temporal: usize,
    /// How sizes between are treated.
    pub edges: Edges,
}

impl Fit {
    /// The fit for the encoder of `config`.
    pub fn to(config: &VaeConfig, edges: Edges) -> Self {
        Self {
            cell: config.spatial(),
            temporal: config.temporal(),
            edges,
        }
    }

    /// The size after cropping or padding; 0 where not even a cell is left.
    pub fn size(&self, size: [usize; 2]) -> [usize; 2] {
        match self.edges {
            Edges::Crop => size.map(|n| n / self.cell * self.cell),
            Edges::Pad => size.map(|n| n.next_multiple_of(self.cell)),
        }
    }

    /// The largest number of frames not above `frames` that fills latent frames.
    pub fn frames(&self, frames: usize) -> usize {
        match frames {
            0 => 0,
            n => 1 + (n - 1) / self.temporal * self.temporal,
        }
    }
}

/// A source whose frames are cropped or padded, and whose clips end with a whole latent frame.
pub struct Fitted {
    source: Box<dyn FrameSource>,
    fit: Fit,
    spec: Spec,
    /// For the first frame.
    notes: Vec<String>,
    /// Frames given so far.
    given: usize,
}

impl Fitted {
    /// Fits the frames of `source`. What is left out or added is noted with the first frame.
    ///
    /// # Errors
    /// [`Error::Format`] if the frames are smaller than a latent cell and not padded.
    pub fn new(source: Box<dyn FrameSource>, fit: Fit) -> Result<Self> {
        let found = source.spec();
        let spec = Spec {
            size: fit.size(found.size),
            frames: fit.frames(found.frames),
            ..found.clone()
        };
        let ([h, w], cell) = (found.size, fit.cell);
        if spec.size.contains(&0) {
            return Err(Error::format(
                source.path(),
                format!(
                    "{w}x{h} pixels are smaller than a latent cell of {cell}x{cell}; `encode --pad` pads them"
                ),
            ));
        }
        Ok(Self {
            notes: notes(source.path(), found, &spec, fit),
            source,
            fit,
            spec,
            given: 0,
        })
    }

    /// The same source from its start, fitted in another way.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn refitted(self, fit: Fit) -> Result<Self> {
        Self::new(self.source, fit)
    }

    fn fit(&self, planes: Array) -> Result<Array> {
        match self.fit.edges {
            _ if self.spec.size == self.source.spec().size => Ok(planes),
            Edges::Crop => crop(&planes, self.spec.size),
            Edges::Pad => pad(&planes, self.spec.size),
        }
    }
}

impl FrameSource for Fitted {
    fn path(&self) -> &Path {
        self.source.path()
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        while self.given < self.spec.all_frames() {
            let Some(mut frame) = self.source.next()? else {
                return Ok(None);
            };
            if frame.index >= self.spec.frames {
                continue;
            }
            self.given += 1;
            frame.notes.append(&mut self.notes);
            frame.pixels = self.fit(frame.pixels)?;
            frame.opacity = frame.opacity.map(|planes| self.fit(planes)).transpose()?;
            return Ok(Some(frame));
        }
        Ok(None)
    }
}

/// Sentences on what is left out or added.
fn notes(path: &Path, found: &Spec, fitted: &Spec, fit: Fit) -> Vec<String> {
    let mut notes = Vec::new();
    if fitted.frames != found.frames {
        notes.push(format!(
            "{}: the last {} of {} frames do not fill a latent frame and are dropped",
            path.display(),
            found.frames - fitted.frames,
            found.frames
        ));
    }
    if fitted.size != found.size {
        let verb = match fit.edges {
            Edges::Crop => "cropped",
            Edges::Pad => "padded",
        };
        notes.push(format!(
            "{}: {verb} from {}x{} to {}x{} pixels, multiples of {}",
            path.display(),
            found.size[1],
            found.size[0],
            fitted.size[1],
            fitted.size[0],
            fit.cell
        ));
    }
    notes
}
