//! A video file, through FFmpeg.

use std::path::PathBuf;

use vae2x_core::{Array, Error, Result};

use super::count::Count;
use crate::fit::pad;
use crate::frames::contract::FrameSink;
use crate::pixels::{picture_size, require_finite};
use crate::video::Ffmpeg;
use crate::video::ffmpeg::{Encoder, Movie};
use crate::video::yuv::Chroma;

/// Writes frames as a video, which appears when it is complete.
#[derive(Debug)]
pub struct MovieSink {
    ffmpeg: Ffmpeg,
    movie: Movie,
    /// From the first frame on, which tells the size: FFmpeg, that size, and the size that is stored.
    encoder: Option<(Encoder, [usize; 2], [usize; 2])>,
    count: Count,
    notes: Vec<String>,
}

impl MovieSink {
    /// Will write `movie`.
    pub(crate) fn new(ffmpeg: Ffmpeg, movie: Movie) -> Self {
        Self {
            count: Count::new(1, movie.frames),
            ffmpeg,
            movie,
            encoder: None,
            notes: Vec::new(),
        }
    }

    fn begin(&mut self, size: [usize; 2]) -> Result<()> {
        let stored = even(size, self.movie.encoding.format.chroma);
        if stored != size {
            self.notes.push(format!(
                "{}: padded from {}x{} to {}x{} pixels, as {} has half as many colours",
                self.movie.path.display(),
                size[1],
                size[0],
                stored[1],
                stored[0],
                self.movie.encoding.format
            ));
        }
        self.encoder = Some((self.ffmpeg.encode(&self.movie, stored)?, size, stored));
        Ok(())
    }
}

/// The size that can be stored: even where colours are halved.
fn even([height, width]: [usize; 2], chroma: Chroma) -> [usize; 2] {
    match chroma {
        Chroma::Quarter(..) => [height.next_multiple_of(2), width.next_multiple_of(2)],
        Chroma::Half => [height, width.next_multiple_of(2)],
        Chroma::Full | Chroma::Grey => [height, width],
    }
}

impl FrameSink for MovieSink {
    fn push(&mut self, frame: &Array) -> Result<()> {
        self.count.next()?;
        let index = self.count.pushed();
        require_finite(&format!("frame {index}"), frame)?;
        let size = picture_size(frame)?;
        if self.encoder.is_none() {
            self.begin(size)?;
        }
        let Some((encoder, first, stored)) = &mut self.encoder else {
            return Ok(());
        };
        if size != *first {
            return Err(Error::Shape {
                what: format!("frame {index}"),
                expected: format!("{}x{} pixels, as the first", first[1], first[0]),
                got: format!("{}x{}", size[1], size[0]),
            });
        }
        match stored == first {
            true => encoder.push(frame)?,
            false => encoder.push(&pad(frame, *stored)?)?,
        }
        self.count.add();
        Ok(())
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.count.finish()?;
        if let Some((encoder, ..)) = self.encoder {
            encoder.finish()?;
        }
        Ok(vec![self.movie.path])
    }
}
