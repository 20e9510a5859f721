//! A video file, through FFmpeg, or without it where it is an `.mp4` and the feature `mp4` is there.

use std::path::PathBuf;

use vae2x_core::{Array, Result};

use super::count::Count;
use crate::fit::pad;
use crate::frames::contract::{FrameSink, partial};
use crate::video::yuv::Chroma;
use crate::video::{Encode, Ffmpeg, Movie};

/// Writes frames as a video, which appears when it is complete.
#[derive(Debug)]
pub struct MovieSink {
    program: Program,
    movie: Movie,
    /// From the first frame on, which tells the size: the encoder, and the size that is stored.
    encoder: Option<(Box<dyn Encode>, [usize; 2])>,
    count: Count,
    notes: Vec<String>,
}

/// What compresses the frames.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// FFmpeg.
    Ffmpeg(Ffmpeg),
    /// OpenH264, which is part of this program.
    #[cfg(feature = "mp4")]
    OpenH264,
}

impl Program {
    fn encode(&self, movie: &Movie, size: [usize; 2]) -> Result<Box<dyn Encode>> {
        Ok(match self {
            Self::Ffmpeg(ffmpeg) => Box::new(ffmpeg.encode(movie, size)?),
            #[cfg(feature = "mp4")]
            Self::OpenH264 => Box::new(crate::video::mp4::Encoder::new(movie, size)?),
        })
    }
}

impl MovieSink {
    /// Will write `movie`.
    pub(crate) fn new(program: Program, movie: Movie) -> Self {
        Self {
            count: Count::new(1, movie.frames),
            program,
            movie,
            encoder: None,
            notes: Vec::new(),
        }
    }

    fn begin(&mut self, size: [usize; 2]) -> Result<&mut (Box<dyn Encode>, [usize; 2])> {
        #[cfg(feature = "mp4")]
        if matches!(self.program, Program::OpenH264) {
            self.notes.push(format!(
                "{}: written without FFmpeg, which is not installed; with it the file would be smaller, and could have sound and \
                 other codecs",
                self.movie.path.display()
            ));
        }
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
        let encoder = self.program.encode(&self.movie, stored)?;
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
            encoder.close(self.movie.frames)?.persist()?;
        }
        Ok(vec![self.movie.path])
    }

    /// The sound goes on to the end that the whole would have had.
    fn keep_part(self: Box<Self>) -> Result<Vec<PathBuf>> {
        let Some((encoder, _)) = self.encoder else {
            return Ok(Vec::new());
        };
        let path = partial(&self.movie.path);
        let file = encoder.close(self.count.pushed())?;
        file.persist_as(path.clone())?;
        Ok(vec![path])
    }
}

#[cfg(all(test, feature = "mp4"))]
mod tests {
    use super::*;
    use crate::video::mp4::Index;
    use crate::video::{Container, Encoding, Rate, Wishes};

    #[test]
    fn odd_sides_are_padded_without_ffmpeg_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        let movie = Movie {
            path: path.clone(),
            encoding: Encoding::new(Container::Mp4, Wishes::default()).unwrap(),
            rate: Rate::WAN,
            frames: 2,
            audio: None,
            text: Vec::new(),
        };
        let mut sink = Box::new(MovieSink::new(Program::OpenH264, movie.clone()));
        sink.push(&Array::zeros([3, 33, 47])).unwrap();
        let notes = sink.notes();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("without FFmpeg"), "{notes:?}");
        assert!(notes[1].contains("padded from 47x33 to 48x34"), "{notes:?}");
        // A frame is missing.
        assert!(sink.finish().is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut sink = Box::new(MovieSink::new(Program::OpenH264, movie));
        for _ in 0..2 {
            sink.push(&Array::zeros([3, 33, 47])).unwrap();
        }
        assert_eq!(sink.finish().unwrap(), std::slice::from_ref(&path));
        assert_eq!(Index::read(&path).unwrap().video.size, [34, 48]);
    }
}
