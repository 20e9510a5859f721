//! A `.y4m` file: plain frames, one after another.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use vae2x_core::{Error, Result, files};

use super::movie::shape_notes;
use crate::frames::contract::{Frame, FrameSource, Spec};
use crate::picture::BitDepth;
use crate::video::y4m::{self, Header, Problem};

/// Frames of a YUV4MPEG2 file, read one at a time.
#[derive(Debug)]
pub struct Y4mFile {
    path: PathBuf,
    header: Header,
    spec: Spec,
    /// Open from the first frame to the last only, so that any number of inputs can wait.
    stream: Option<BufReader<File>>,
    next: usize,
}

impl Y4mFile {
    /// Reads the head of a file and counts its frames.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if it is not such a file, holds no frame, or ends within one.
    pub fn open(path: &Path) -> Result<Self> {
        let mut stream = BufReader::new(files::open(path)?);
        let fail = |problem| failed(path, problem);
        let header = Header::read(&mut stream).map_err(fail)?;
        let frames = count(&mut stream, &header).map_err(fail)?;
        let depth = match header.yuv.bits {
            8 => BitDepth::Eight,
            _ => BitDepth::Sixteen,
        };
        Ok(Self {
            path: path.to_path_buf(),
            spec: Spec {
                items: 1,
                frames,
                size: header.size,
                depth,
                text: Vec::new(),
                rate: header.rate,
                has_audio: false,
            },
            header,
            stream: None,
            next: 0,
        })
    }

    fn read(&mut self) -> std::result::Result<Frame, Problem> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let file = files::open(&self.path).map_err(|e| Problem::Format(e.to_string()))?;
                let mut stream = BufReader::new(file);
                if Header::read(&mut stream)? != self.header {
                    return Err(Problem::Format("the file has changed meanwhile".into()));
                }
                self.stream.insert(stream)
            }
        };
        if !y4m::begins_frame(stream)? {
            return Err(Problem::Format("the file has changed meanwhile".into()));
        }
        let mut bytes = vec![0; frame_bytes(&self.header)?];
        stream.read_exact(&mut bytes)?;
        let pixels = self.header.yuv.read(&bytes, self.header.size);
        let notes = match self.next {
            0 => shape_notes(
                &self.path,
                self.header.is_interlaced,
                self.header.pixel_aspect,
            ),
            _ => Vec::new(),
        };
        Ok(Frame {
            item: 0,
            index: self.next,
            pixels: pixels.map_err(|e| Problem::Format(e.to_string()))?,
            opacity: None,
            notes,
        })
    }
}

impl FrameSource for Y4mFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        if self.next == self.spec.frames {
            self.stream = None;
            return Ok(None);
        }
        let frame = self.read().map_err(|problem| failed(&self.path, problem))?;
        self.next += 1;
        Ok(Some(frame))
    }
}

/// Bytes of a frame, which fit into the memory of any machine that can compute it.
fn frame_bytes(header: &Header) -> std::result::Result<usize, Problem> {
    /// 32768 x 32768 in 4:4:4 of 16 bits.
    const MOST: usize = 6 << 30;
    let bytes = header.yuv.frame_bytes(header.size).filter(|&n| n <= MOST);
    bytes.ok_or_else(|| {
        let [height, width] = header.size;
        Problem::Format(format!(
            "frames of {width}x{height} pixels; at most {MOST} bytes are read"
        ))
    })
}

/// The frames from here to the end, which are skipped.
fn count(stream: &mut BufReader<File>, header: &Header) -> std::result::Result<usize, Problem> {
    let length = stream.get_ref().metadata()?.len();
    let bytes = frame_bytes(header)? as u64;
    let mut frames = 0;
    while y4m::begins_frame(stream)? {
        if stream.stream_position()? + bytes > length {
            return Err(Problem::Format(format!(
                "the file ends within frame {frames}"
            )));
        }
        stream.seek_relative(bytes as i64)?;
        frames += 1;
    }
    match frames {
        0 => Err(Problem::Format("the stream holds no frames".into())),
        n => Ok(n),
    }
}

fn failed(path: &Path, problem: Problem) -> Error {
    match problem {
        Problem::Io(e) => Error::io(path, e),
        Problem::Format(problem) => Error::format(path, problem),
    }
}
