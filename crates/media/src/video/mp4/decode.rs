//! Frames of an MP4 file, as OpenH264 decodes them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, DecoderConfig, Flush};
use openh264::formats::YUVSource;
use vae2x_core::{Array, Error, Result, files};

use super::order::Order;
use super::parameters::Slice;
use super::read::Index;
use super::{INSTALL, foreign};
use crate::video::Decode;
use crate::video::yuv::{Chroma, Matrix, Yuv};

/// Bytes of a frame that OpenH264 takes, those of level 5.2.
const MAX_PACKET: u32 = 7_000_000;
/// Slices of a frame, far more than any encoder makes.
const MAX_SLICES: usize = 512;
/// Frames that may wait for others that are shown before them: those that a decoder must be able to hold.
const MAX_WAITING: usize = 16;

/// A file that is decoded.
pub(crate) struct Decoder {
    path: PathBuf,
    file: File,
    index: Arc<Index>,
    codec: openh264::decoder::Decoder,
    yuv: Yuv,
    /// Which frame the decoder gives when; `None` where it gives them as they are stored.
    order: Option<Order>,
    /// Frames that were stored, and that the decoder has given.
    taken: usize,
    given: usize,
    /// Frames that are not shown yet, by their place in the order of display.
    waiting: BTreeMap<u32, Vec<u8>>,
    packet: Vec<u8>,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Opens the file again to decode it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if the decoder does not start.
    pub fn new(path: &Path, index: &Arc<Index>) -> Result<Self> {
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let codec = openh264::decoder::Decoder::with_api_config(OpenH264API::from_source(), config);
        let video = &index.video;
        let is_in_order = index.ranks.windows(2).all(|pair| pair[0] < pair[1]);
        Ok(Self {
            path: path.to_path_buf(),
            file: files::open(path)?,
            codec: codec.map_err(|e| Error::format(path, format!("OpenH264: {e}")))?,
            yuv: Yuv {
                chroma: Chroma::MPEG2,
                bits: 8,
                matrix: video
                    .colours
                    .matrix
                    .unwrap_or_else(|| Matrix::usual(video.size)),
                range: video.colours.range,
            },
            order: (!is_in_order).then(Order::default),
            taken: 0,
            given: 0,
            waiting: BTreeMap::new(),
            packet: Vec::new(),
            index: Arc::clone(index),
        })
    }

    /// Decodes one more stored frame, or those that are left.
    fn step(&mut self) -> Result<(), String> {
        if self.taken == self.index.places.len() {
            return self.rest();
        }
        let index = self.taken;
        let slice = self.fill(index)?;
        self.taken += 1;
        let expected = match &mut self.order {
            Some(order) => {
                let given = order.push(index, slice, &self.index.stream.sequence);
                given.map_err(|()| foreign("an unusual order of frames"))?
            }
            None => None,
        };
        let damaged = || format!("it is damaged, or OpenH264 does not decode it; {INSTALL}");
        let decoded = self.codec.decode(&self.packet).map_err(|_| damaged())?;
        let Some(frame) = decoded else {
            return match expected {
                Some(_) => Err(foreign("an unusual order of frames")),
                None => Ok(()),
            };
        };
        let index = match (&self.order, expected) {
            (None, _) => self.given,
            (Some(_), Some(index)) => index,
            (Some(_), None) => return Err(foreign("an unusual order of frames")),
        };
        let bytes = planes(&frame, self.index.stream.sequence.size)?;
        self.keep(index, bytes)
    }

    /// What the decoder still has.
    fn rest(&mut self) -> Result<(), String> {
        let frames = self.codec.flush_remaining().map_err(|e| e.to_string())?;
        let size = self.index.stream.sequence.size;
        let bytes: Vec<_> = frames
            .iter()
            .map(|frame| planes(frame, size))
            .collect::<Result<_, _>>()?;
        let indices = match &mut self.order {
            Some(order) => order.rest(),
            None => (self.given..self.taken).collect(),
        };
        if indices.len() != bytes.len() || bytes.is_empty() {
            return Err(format!(
                "OpenH264 has decoded {} of {} frames",
                self.given, self.taken
            ));
        }
        for (index, bytes) in indices.into_iter().zip(bytes) {
            self.keep(index, bytes)?;
        }
        Ok(())
    }

    fn keep(&mut self, index: usize, bytes: Vec<u8>) -> Result<(), String> {
        let rank = *self.index.ranks.get(index).ok_or("a frame too many")?;
        self.given += 1;
        self.waiting.insert(rank, bytes);
        match self.waiting.len() > MAX_WAITING + 1 {
            true => Err(foreign("frames that are stored long before they are shown")),
            false => Ok(()),
        }
    }

    /// Reads a stored frame as the decoder takes it: its slices behind marks, the first frame behind the parameter sets. The head of
    /// its first slice is given.
    fn fill(&mut self, index: usize) -> Result<Slice, String> {
        let place = self.index.places[index];
        if place.length > MAX_PACKET {
            return Err(foreign(format!("{} bytes for a frame", place.length)));
        }
        let mut stored = vec![0; place.length as usize];
        let read = self
            .file
            .seek(SeekFrom::Start(place.start))
            .and_then(|_| self.file.read_exact(&mut stored));
        read.map_err(|e| e.to_string())?;
        self.packet.clear();
        let stream = &self.index.stream;
        let mut add = |unit: &[u8]| {
            self.packet.extend([0, 0, 0, 1]);
            self.packet.extend(unit);
        };
        if index == 0 {
            stream.sets.iter().for_each(|set| add(set));
        }
        let (mut first, mut slices) = (None, 0);
        let mut rest = &stored[..];
        while !rest.is_empty() {
            let (unit, behind) =
                unit(rest, stream.length_bytes).ok_or("its parts do not fit into it")?;
            rest = behind;
            match unit.first().map(|head| head & 31) {
                Some(1 | 5) => {
                    let slice = Slice::read(unit, &stream.sequence, &stream.pictures);
                    first = first.or(Some(slice.ok_or("the head of a slice is damaged")?));
                    slices += 1;
                    add(unit);
                }
                Some(2..=4) => return Err(foreign("H.264 in data partitions")),
                Some(7 | 8) if !stream.sets.iter().any(|set| set == unit) => {
                    return Err(foreign("H.264 whose parameters change"));
                }
                // What tells more of the frame, or belongs to other views of it.
                _ => {}
            }
        }
        if slices > MAX_SLICES {
            return Err(foreign(format!("{slices} slices for a frame")));
        }
        first.ok_or_else(|| "there is no picture in it".into())
    }
}

/// The first part of a stored frame, and what follows it.
fn unit(bytes: &[u8], length_bytes: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(length_bytes)?;
    let length = length
        .iter()
        .fold(0, |length, &byte| length << 8 | usize::from(byte));
    rest.split_at_checked(length)
}

/// The bytes of a decoded frame, without what the decoder has beside them.
fn planes(frame: &DecodedYUV<'_>, size: [usize; 2]) -> Result<Vec<u8>, String> {
    let [height, width] = size;
    if frame.dimensions() != (width, height) {
        let (w, h) = frame.dimensions();
        return Err(format!("it has {w}x{h} pixels; expected {width}x{height}"));
    }
    let (y, u, v) = frame.strides();
    let small = [height / 2, width / 2];
    let mut bytes = Vec::with_capacity(height * width + 2 * small[0] * small[1]);
    for (plane, stride, [height, width]) in [
        (frame.y(), y, size),
        (frame.u(), u, small),
        (frame.v(), v, small),
    ] {
        for row in 0..height {
            let row = plane.get(row * stride..).and_then(|rest| rest.get(..width));
            bytes.extend(row.ok_or("its planes are too small")?);
        }
    }
    Ok(bytes)
}

impl Decode for Decoder {
    fn next(&mut self, index: usize) -> Result<Array> {
        let rank = index as u32;
        loop {
            if let Some(bytes) = self.waiting.remove(&rank) {
                let frame = self.yuv.read(&bytes, self.index.stream.sequence.size)?;
                return self.index.turn.apply(frame);
            }
            let before = self.taken;
            self.step().map_err(|problem| {
                let at = before.min(self.index.places.len() - 1);
                Error::format(&self.path, format!("frame {at} cannot be read: {problem}"))
            })?;
        }
    }
}
