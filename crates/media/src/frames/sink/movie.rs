//! A video file, through FFmpeg.

use std::path::PathBuf;

use vae2x_core::{Array, Result};

use super::count::Count;
use crate::fit::pad;
use crate::frames::contract::{FrameSink, partial};
use crate::video::Ffmpeg;
use crate::video::ffmpeg::{Encoder, Movie};
use crate::video::yuv::Chroma;

/// Writes frames as a video, which appears when it is complete.
#[derive(Debug)]
pub struct MovieSink {
    ffmpeg: Ffmpeg,
    movie: Movie,
    /// From the first frame on, which tells the size: FFmpeg, and the size that is stored.
    encoder: Option<(Encoder, [usize; 2])>,
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

    fn begin(&mut self, size: [usize; 2]) -> Result<&mut (Encoder, [usize; 2])> {
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
        let encoder = self.ffmpeg.encode(&self.movie, stored)?;
        Ok(self.encoder.insert((encoder, stored)))
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
        let (_, size) = self.count.next_alike(frame)?;
        let (encoder, stored) = match &mut self.encoder {
            Some(begun) => begun,
            None => self.begin(size)?,
        };
        match *stored == size {
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
        if let Some((encoder, _)) = self.encoder {
            encoder.finish()?;
        }
        Ok(vec![self.movie.path])
    }

    /// The sound goes on to the end that the whole would have had.
    fn keep_part(self: Box<Self>) -> Result<Vec<PathBuf>> {
        let Some((encoder, _)) = self.encoder else {
            return Ok(Vec::new());
        };
        let path = partial(&self.movie.path);
        encoder.finish_early(self.count.pushed(), path.clone())?;
        Ok(vec![path])
    }
}
