//! Whole clips as one array of 32-bit floats, written frame by frame: `[B, 3, F, H, W]`, or
//! `[B, 4, F, H, W]` with opacity, as npy or safetensors.
//!
//! Frames arrive one at a time, while in the file each colour's frames lie together; each plane is
//! therefore written at its own place, and memory stays at one frame. The file appears when it is
//! complete.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use vae2x_core::temp::TempFile;
use vae2x_core::{Array, Error, Result};

use super::count::Count;
use crate::array_format::ArrayFormat;
use crate::frames::contract::FrameSink;
use crate::pixels::{Overshoot, picture_size, require_finite};

/// What the first frame fixes.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Bytes of the file's header.
    header: u64,
    /// Channels, height and width.
    shape: [usize; 3],
}

/// An array file that grows frame by frame. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub struct ArraySink {
    path: PathBuf,
    format: ArrayFormat,
    items: usize,
    frames: usize,
    temp: TempFile,
    /// Known from the first frame on.
    layout: Option<Layout>,
    overshoot: Overshoot,
    count: Count,
}

impl ArraySink {
    /// Opens the file of `items` clips of `frames` frames.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn create(path: &Path, format: ArrayFormat, items: usize, frames: usize) -> Result<Self> {
        let temp = TempFile::create(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            format,
            items,
            frames,
            temp,
            layout: None,
            overshoot: Overshoot::Clamp,
            count: Count::new(items, frames),
        })
    }

    /// Keeps values beyond [-1, 1], or does not.
    #[must_use]
    pub fn with_overshoot(self, overshoot: Overshoot) -> Self {
        Self { overshoot, ..self }
    }

    /// Writes the header, now that the size is known.
    fn begin(&mut self, shape: [usize; 3]) -> Result<Layout> {
        let [channels, height, width] = shape;
        let header = self.format.header(
            "pixels",
            &[self.items, channels, self.frames, height, width],
        )?;
        self.write_at(0, &header)?;
        Ok(*self.layout.insert(Layout {
            header: header.len() as u64,
            shape,
        }))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = self.temp.file()?;
        let written = file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.write_all(bytes));
        written.map_err(|e| Error::io(&self.path, e))
    }
}

impl FrameSink for ArraySink {
    fn push(&mut self, frame: &Array) -> Result<()> {
        let [item, index] = self.count.next()?;
        require_finite(&format!("frame {}", self.count.pushed()), frame)?;
        let shape = shape(frame)?;
        let layout = match self.layout {
            Some(layout) => layout,
            None => self.begin(shape)?,
        };
        if shape != layout.shape {
            let shown = |[c, h, w]: [usize; 3]| format!("{c} channels of {w}x{h} pixels");
            return Err(Error::Shape {
                what: format!("frame {}", self.count.pushed()),
                expected: format!("{}, as the first", shown(layout.shape)),
                got: shown(shape),
            });
        }
        let [channels, height, width] = shape;
        let plane = height * width;
        for (channel, values) in frame.data().chunks_exact(plane).enumerate() {
            let at = ((item * channels + channel) * self.frames + index) * plane * size_of::<f32>();
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|&v| self.overshoot.apply(v).to_le_bytes())
                .collect();
            self.write_at(layout.header + at as u64, &bytes)?;
        }
        self.count.add();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.count.finish()?;
        self.temp.persist()?;
        Ok(vec![self.path])
    }
}

/// Channels, height and width of an image, with or without opacity.
fn shape(frame: &Array) -> Result<[usize; 3]> {
    match *frame.shape() {
        [4, height, width] if height > 0 && width > 0 => Ok([4, height, width]),
        _ => picture_size(frame).map(|[height, width]| [3, height, width]),
    }
}
