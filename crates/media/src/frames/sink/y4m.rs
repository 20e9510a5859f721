//! Plain frames in a `.y4m` file, or on standard output for another program to read.

use std::io::{Stdout, Write};
use std::path::{Path, PathBuf};

use vae2x_core::temp::TempFile;
use vae2x_core::{Array, Error, Result};

use super::count::Count;
use crate::frames::contract::{FrameSink, partial};
use crate::video::y4m::{self, Header};
use crate::video::yuv::{Matrix, Range, Yuv};
use crate::video::{PixelFormat, Rate};

/// Writes frames as a YUV4MPEG2 stream.
#[derive(Debug)]
pub struct Y4mSink {
    path: PathBuf,
    out: Out,
    yuv: Yuv,
    rate: Rate,
    count: Count,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Out {
    /// A file, which appears when it is complete.
    File(TempFile),
    Standard(Stdout),
}

impl Y4mSink {
    /// The path that stands for standard output.
    pub const STANDARD_OUTPUT: &str = "-";

    /// Will write `frames` frames to `path`, where `-` is standard output.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be created.
    pub fn create(path: &Path, format: PixelFormat, rate: Rate, frames: usize) -> Result<Self> {
        let out = match path == Path::new(Self::STANDARD_OUTPUT) {
            true => Out::Standard(std::io::stdout()),
            false => Out::File(TempFile::create(path)?),
        };
        Ok(Self {
            path: path.to_path_buf(),
            out,
            yuv: Yuv {
                chroma: format.chroma,
                bits: format.bits,
                matrix: Matrix::Bt709,
                range: Range::Limited,
            },
            rate,
            count: Count::new(1, frames),
            bytes: Vec::new(),
        })
    }

    fn write(&mut self) -> Result<()> {
        let written = match &mut self.out {
            Out::File(temp) => temp.file()?.write_all(&self.bytes),
            Out::Standard(out) => out.write_all(&self.bytes).and_then(|()| out.flush()),
        };
        self.bytes.clear();
        written.map_err(|e| match self.out {
            Out::File(_) => Error::io(&self.path, e),
            Out::Standard(_) => Error::io("standard output", e),
        })
    }
}

impl FrameSink for Y4mSink {
    fn push(&mut self, frame: &Array) -> Result<()> {
        let (index, size) = self.count.next_alike(frame)?;
        let fail = |e| Error::io(&self.path, e);
        if index == 0 {
            let header = Header {
                size,
                rate: Some(self.rate),
                yuv: self.yuv,
                is_interlaced: false,
                pixel_aspect: None,
            };
            header.write(&mut self.bytes).map_err(fail)?;
        }
        y4m::begin_frame(&mut self.bytes).map_err(fail)?;
        self.yuv.write(frame, &mut self.bytes)?;
        self.write()?;
        self.count.add();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.count.finish()?;
        match self.out {
            Out::File(temp) => {
                temp.persist()?;
                Ok(vec![self.path])
            }
            Out::Standard(_) => Ok(Vec::new()),
        }
    }

    fn keep_part(self: Box<Self>) -> Result<Vec<PathBuf>> {
        match self.out {
            Out::File(temp) => {
                let path = partial(&self.path);
                temp.persist_as(path.clone())?;
                Ok(vec![path])
            }
            Out::Standard(_) => Ok(Vec::new()),
        }
    }
}
