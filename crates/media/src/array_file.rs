//! Whole clips as one array of 32-bit floats, written frame by frame: `[B, 3, F, H, W]` as npy or safetensors.
//!
//! Frames arrive one at a time, while in the file each colour's frames lie together; each plane is therefore written at its
//! own place, and memory stays at one frame. The file appears when it is complete.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use vae2x_core::temp::TempFile;
use vae2x_core::{Array, Error, Result, array};

use crate::pixels::{picture_size, require_finite};

/// A format that holds whole arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayFormat {
    /// `numpy.save`: one array.
    Npy,
    /// One tensor, named `pixels` for clips.
    Safetensors,
}

impl ArrayFormat {
    /// The format that an extension in lower case names.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "npy" => Some(Self::Npy),
            "safetensors" => Some(Self::Safetensors),
            _ => None,
        }
    }

    /// What precedes the little-endian `f32` elements of a file with one array; `name` is the tensor's.
    pub(crate) fn header(self, name: &str, shape: &[usize]) -> Result<Vec<u8>> {
        let bytes = array::element_count(shape).and_then(|n| n.checked_mul(size_of::<f32>()));
        let bytes = bytes.ok_or_else(|| Error::Shape {
            what: "array to be written".into(),
            expected: "a size that fits in memory addresses".into(),
            got: format!("shape {shape:?}"),
        })?;
        Ok(match self {
            Self::Npy => npy_header(shape),
            Self::Safetensors => safetensors_header(name, shape, bytes),
        })
    }
}

/// Version 1.0: magic, `u16` length, a Python dictionary padded so that data starts at a multiple of 64
/// (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).
fn npy_header(shape: &[usize]) -> Vec<u8> {
    const PREFIX: usize = 10;
    let extents: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut text = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}",
        extents.trim_end()
    );
    let padded = (PREFIX + text.len() + 1).next_multiple_of(64) - PREFIX;
    text.extend(std::iter::repeat_n(' ', padded - text.len() - 1));
    text.push('\n');
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, text.as_bytes()].concat()
}

fn safetensors_header(name: &str, shape: &[usize], bytes: usize) -> Vec<u8> {
    let mut text =
        json!({ name: { "dtype": "F32", "shape": shape, "data_offsets": [0, bytes] } }).to_string();
    text.extend(std::iter::repeat_n(
        ' ',
        text.len().next_multiple_of(8) - text.len(),
    ));
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// An array file that grows frame by frame. Dropped before [`Self::finish`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct ArraySink {
    path: PathBuf,
    format: ArrayFormat,
    items: usize,
    frames: usize,
    temp: TempFile,
    /// Known from the first frame on: length of the header, height and width.
    layout: Option<(u64, [usize; 2])>,
    pushed: usize,
}

impl ArraySink {
    /// Opens the file of `items` clips of `frames` frames.
    pub fn create(path: &Path, format: ArrayFormat, items: usize, frames: usize) -> Result<Self> {
        let temp = TempFile::create(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            format,
            items,
            frames,
            temp,
            layout: None,
            pushed: 0,
        })
    }

    /// Writes the next frame, `[3, H, W]`, clamped to [-1, 1].
    pub fn push(&mut self, frame: &Array) -> Result<()> {
        require_finite(&format!("frame {}", self.pushed), frame)?;
        let size = picture_size(frame)?;
        let (header, first) = match self.layout {
            Some(layout) => layout,
            None => self.begin(size)?,
        };
        if size != first {
            return Err(Error::Shape {
                what: format!("frame {}", self.pushed),
                expected: format!("{}x{} pixels, as the first", first[1], first[0]),
                got: format!("{}x{}", size[1], size[0]),
            });
        }
        let plane = size[0] * size[1];
        let (item, index) = (self.pushed / self.frames, self.pushed % self.frames);
        for (colour, values) in frame.data().chunks_exact(plane).enumerate() {
            let at = ((item * 3 + colour) * self.frames + index) * plane * size_of::<f32>();
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|v| v.clamp(-1.0, 1.0).to_le_bytes())
                .collect();
            self.write_at(header + at as u64, &bytes)?;
        }
        self.pushed += 1;
        Ok(())
    }

    /// Gives the file its name.
    pub fn finish(self) -> Result<()> {
        self.temp.persist()
    }

    /// Writes the header, now that the size is known.
    fn begin(&mut self, size: [usize; 2]) -> Result<(u64, [usize; 2])> {
        let header = self
            .format
            .header("pixels", &[self.items, 3, self.frames, size[0], size[1]])?;
        self.write_at(0, &header)?;
        Ok(*self.layout.insert((header.len() as u64, size)))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = self.temp.file()?;
        let written = file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.write_all(bytes));
        written.map_err(|e| Error::io(&self.path, e))
    }
}
