//! Clips in step: the same frames of several clips, one after another, of which none is held.
//!
//! A clip is a video, a folder of frames, or an image as a clip of one frame.

use std::path::{Path, PathBuf};

use vae2x_core::{Error, Result};
use vae2x_media::frames::{FolderOfFrames, FrameSource, SourceOptions, Spec, open_source};
use vae2x_media::video::Rate;

use crate::page::Input;
use crate::sides::Row;

/// Which frames are compared, and how videos are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipOptions {
    /// The first frame, from 0.
    pub first: usize,
    /// The last frame; that of the clip if not given.
    pub last: Option<usize>,
    /// Every how many frames one is taken; at least 1.
    pub every: usize,
    /// The FFmpeg program, for videos; else it is looked for.
    pub ffmpeg: Option<PathBuf>,
}

impl Default for ClipOptions {
    fn default() -> Self {
        Self {
            first: 0,
            last: None,
            every: 1,
            ffmpeg: None,
        }
    }
}

/// One clip of a row.
pub struct Clip {
    path: PathBuf,
    spec: Spec,
    frames: Frames,
    /// The frame that comes next.
    next: usize,
}

enum Frames {
    Files(Vec<PathBuf>),
    Stream(Box<dyn FrameSource>),
}

impl Clip {
    fn open(path: &Path, ffmpeg: Option<&Path>) -> Result<Self> {
        let (spec, frames) = if path.is_dir() {
            let folder = FolderOfFrames::open(path, false)?;
            let files = folder.files().to_vec();
            (folder.spec().clone(), Frames::Files(files))
        } else {
            let options = SourceOptions {
                ffmpeg: ffmpeg.map(Path::to_path_buf),
                ..SourceOptions::default()
            };
            let source = open_source(path, &options)?;
            (source.spec().clone(), Frames::Stream(source))
        };
        Ok(Self {
            path: path.to_path_buf(),
            spec,
            frames,
            next: 0,
        })
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Frame `number`, which is none before the last one taken, and sentences on how it was read, each naming a file.
    fn frame(&mut self, number: usize) -> Result<(Input, Vec<String>)> {
        let ends = || Error::format(&self.path, format!("the file ends before frame {number}"));
        match &mut self.frames {
            Frames::Files(files) => {
                let file = files.get(number).cloned().ok_or_else(ends)?;
                Ok((Input::File(file), Vec::new()))
            }
            Frames::Stream(source) => {
                let mut notes = Vec::new();
                loop {
                    let frame = source.next()?.ok_or_else(ends)?;
                    notes.extend(frame.notes);
                    self.next += 1;
                    if self.next > number {
                        let input = Input::Pixels {
                            file: name_of(&self.path),
                            pixels: frame.pixels,
                        };
                        return Ok((input, notes));
                    }
                }
            }
        }
    }
}

/// The same frame of every clip of a row.
pub struct Step {
    /// Its number in the clips, from 0.
    pub number: usize,
    /// One per side; none where a side has no clip.
    pub frames: Vec<Option<Input>>,
    /// Sentences on how they were read, each naming a file.
    pub notes: Vec<String>,
}

/// The clips of a row.
pub struct Clips {
    name: String,
    clips: Vec<Option<Clip>>,
    numbers: Vec<usize>,
    next: usize,
}

impl Clips {
    /// Opens the clips of a row, which must have the same number of frames in the part that is compared.
    ///
    /// # Errors
    /// As [`open_source`]; [`Error::Shape`] for other numbers of frames, or a part that is not in the clips.
    pub fn open(row: &Row, options: &ClipOptions) -> Result<Self> {
        let open = |path: &Option<PathBuf>| -> Result<Option<Clip>> {
            let ffmpeg = options.ffmpeg.as_deref();
            path.as_ref()
                .map(|path| Clip::open(path, ffmpeg))
                .transpose()
        };
        let clips = row.pictures.iter().map(open).collect::<Result<Vec<_>>>()?;
        let numbers = numbers(&row.stem, &clips, options)?;
        Ok(Self {
            name: row.stem.clone(),
            clips,
            numbers,
            next: 0,
        })
    }

    /// The name of the row.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One per side; none where a side has none.
    pub fn clips(&self) -> &[Option<Clip>] {
        &self.clips
    }

    /// Numbers of the frames that are compared, from 0.
    pub fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// The frame rate of the first clip that has one.
    pub fn rate(&self) -> Option<Rate> {
        let mut clips = self.clips.iter().flatten();
        clips.find_map(|clip| clip.spec.rate)
    }

    /// The next frame of all clips; none after the last.
    ///
    /// # Errors
    /// If a frame cannot be read, naming its file.
    pub fn step(&mut self) -> Result<Option<Step>> {
        let Some(&number) = self.numbers.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let mut step = Step {
            number,
            frames: Vec::with_capacity(self.clips.len()),
            notes: Vec::new(),
        };
        for clip in &mut self.clips {
            let frame = clip.as_mut().map(|clip| clip.frame(number)).transpose()?;
            step.frames.push(frame.map(|(frame, notes)| {
                step.notes.extend(notes);
                frame
            }));
        }
        Ok(Some(step))
    }
}

/// The last part of a path.
pub(crate) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Numbers of the frames to compare.
fn numbers(row: &str, clips: &[Option<Clip>], options: &ClipOptions) -> Result<Vec<usize>> {
    let counts: Vec<(&Path, usize)> = clips
        .iter()
        .flatten()
        .map(|clip| (clip.path(), clip.spec.frames))
        .collect();
    let each = || {
        let each = counts
            .iter()
            .map(|(path, n)| format!("{n} in {}", path.display()));
        each.collect::<Vec<_>>().join(", ")
    };
    let refuse = |expected: String, got: String| Error::Shape {
        what: format!("'{row}': clips"),
        expected,
        got,
    };
    let shortest = counts.iter().map(|(_, n)| *n).min().unwrap_or_default();
    let longest = counts.iter().map(|(_, n)| *n).max().unwrap_or_default();
    let last = match options.last {
        Some(last) => last,
        None if shortest == longest => shortest.saturating_sub(1),
        None => {
            return Err(refuse(
                "the same number of frames".into(),
                format!(
                    "{}; --range 0..{} compares those that all have",
                    each(),
                    shortest.saturating_sub(1)
                ),
            ));
        }
    };
    if options.first > last || last >= shortest {
        let expected = format!("frames {} to {last}, counted from 0", options.first);
        return Err(refuse(expected, each()));
    }
    Ok((options.first..=last)
        .step_by(options.every.max(1))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clip of `frames` frames of 2 x 2 pixels, each as bright as its number.
    fn write_y4m(path: &Path, frames: u8) {
        let mut bytes = b"YUV4MPEG2 W2 H2 F12:1 C444\n".to_vec();
        for t in 0..frames {
            bytes.extend(b"FRAME\n");
            bytes.extend([[16 + 10 * t; 4], [128; 4], [128; 4]].concat());
        }
        std::fs::write(path, bytes).unwrap();
    }

    fn row(paths: &[Option<PathBuf>]) -> Row {
        Row {
            stem: "r".into(),
            pictures: paths.to_vec(),
        }
    }

    fn brightness(input: &Option<Input>) -> Option<i32> {
        match input {
            Some(Input::Pixels { pixels, .. }) => {
                Some(((pixels.data()[0] + 1.0) / 2.0 * 219.0 / 10.0).round() as i32)
            }
            Some(Input::File(_)) => panic!("no file"),
            None => None,
        }
    }

    #[test]
    fn all_sides_are_at_the_same_frame_in_any_part() {
        let folder = tempfile::tempdir().unwrap();
        let [long, short] = ["long.y4m", "short.y4m"].map(|name| folder.path().join(name));
        write_y4m(&long, 9);
        write_y4m(&short, 7);
        let row = row(&[Some(long), None, Some(short)]);
        let error = Clips::open(&row, &ClipOptions::default()).err().unwrap();
        let said = error.to_string();
        assert!(
            said.contains("9 in ") && said.contains("7 in ") && said.contains("--range 0..6"),
            "{said}"
        );
        let options = |first, last, every| ClipOptions {
            first,
            last,
            every,
            ..ClipOptions::default()
        };
        for bad in [options(0, Some(7), 1), options(4, Some(3), 1)] {
            let error = Clips::open(&row, &bad).err().unwrap();
            assert!(matches!(error, Error::Shape { .. }), "{error}");
        }
        let mut clips = Clips::open(&row, &options(1, Some(6), 2)).unwrap();
        assert_eq!(clips.numbers(), [1, 3, 5]);
        assert_eq!(clips.rate().unwrap().fraction(), (12, 1));
        let mut seen = Vec::new();
        while let Some(step) = clips.step().unwrap() {
            let frames: Vec<_> = step.frames.iter().map(brightness).collect();
            seen.push((step.number as i32, frames));
        }
        let expected = [1, 3, 5].map(|n| (n, vec![Some(n), None, Some(n)]));
        assert_eq!(seen, expected);
    }
}
