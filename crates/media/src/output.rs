//! Where decoded images go: one image, one array file, or a folder of numbered frames.
//!
//! [`Output::plan`] decides from the path and the counts alone, before any work starts, and checks
//! that it can be written. [`Output::open`] then gives a [`FrameSink`] per input that takes frames
//! as they come and keeps none:
//!
//! | path | holds |
//! |---|---|
//! | `.png .jpg .jpeg .webp .exr` | one image |
//! | `.mp4 .mov .mkv .webm` | the frames of one clip as a video, through FFmpeg; `.mp4` also without it, by the feature `mp4` |
//! | `.y4m`, or `-` for standard output | the frames of one clip as plain video |
//! | `.apng .gif`, or `.webp` for more than one frame | the frames of one clip as an animated image |
//! | `.npy .safetensors` | the frames of one input, `[B, 3, F, H, W]` in [-1, 1], named `pixels` |
//! | no extension, a trailing slash, or an existing folder | `NAME_00000.png` and so on, NAME being the input's |
//!
//! Frames are numbered from 0 over a clip, or over the items of a batch of images; a batch of clips
//! gives `NAME_0_00000.png`, the item first.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use vae2x_core::temp::TempFile;
use vae2x_core::{Error, Result};

pub use crate::array_format::ArrayFormat;
use crate::frames::{
    AnimationSink, ArraySink, FolderSink, FrameSink, ImageSink, MovieSink, Program, Series, Y4mSink,
};
use crate::picture::{BitDepth, PictureFormat, PictureOptions, keeps_no_overshoot};
use crate::pixels::Overshoot;
use crate::video::{Animation, Audio, Container, Encoding, Ffmpeg, Movie, Rate, Wishes};

/// An input, as far as the plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The file that the frames come from.
    pub path: PathBuf,
    /// The name of its frames in a folder, as by [`distinct_names`](crate::names::distinct_names).
    pub name: String,
    /// Batch items.
    pub items: usize,
    /// Frames of each item.
    pub frames: usize,
}

/// How frames are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// Bits per channel of images; arrays are always 32-bit floats.
    pub depth: BitDepth,
    /// The format of frames in a folder.
    pub folder_format: PictureFormat,
    /// What becomes of values beyond [-1, 1]; only EXR and arrays can keep them.
    pub overshoot: Overshoot,
    /// How a video is written.
    pub video: VideoOptions,
}

/// How a video is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VideoOptions {
    /// Frames per second; Wan's 16 if not given.
    pub rate: Option<Rate>,
    /// Codec, pixel format and quality.
    pub wishes: Wishes,
    /// The file whose first audio stream goes with it.
    pub audio: Option<PathBuf>,
    /// The frame that the sound's beginning is cut to.
    pub audio_from: usize,
    /// The FFmpeg program; else it is looked for.
    pub ffmpeg: Option<PathBuf>,
}

impl VideoOptions {
    /// The first of the options that are for videos alone.
    pub fn asked(&self) -> Option<&'static str> {
        let Wishes { codec, format, crf } = self.wishes;
        let asked = [
            ("--fps", self.rate.is_some()),
            ("--codec", codec.is_some()),
            ("--pixel-format", format.is_some()),
            ("--crf", crf.is_some()),
            ("--audio", self.audio.is_some()),
        ];
        let asked = asked.into_iter().find(|(_, is_asked)| *is_asked);
        asked.map(|(name, _)| name)
    }

    fn without_rate(self) -> Self {
        Self { rate: None, ..self }
    }
}

/// What writes a video.
#[derive(Clone, Debug)]
struct Video {
    encoding: Encoding,
    rate: Rate,
    /// What writes it; `.y4m` files need nothing.
    program: Option<Program>,
    audio: Option<Audio>,
}

/// The kind of output that a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One image.
    Picture(PathBuf),
    /// All frames of one input as one array.
    Array(PathBuf, ArrayFormat),
    /// The frames of one clip as a video; the path `-` is standard output.
    Video(PathBuf, Container),
    /// The frames of one clip as an animated image.
    Animation(PathBuf, Animation),
    /// A folder of images.
    Folder(PathBuf),
}

/// A checked plan of where frames go.
#[derive(Clone, Debug)]
pub struct Output {
    target: Target,
    options: OutputOptions,
    /// Of a [`Target::Video`].
    video: Option<Video>,
    inputs: Vec<Planned>,
}

#[derive(Clone, Debug)]
struct Planned {
    items: usize,
    frames: usize,
    /// Names of the numbered series in a folder: one, or one for each item of a batch of clips.
    series: Vec<String>,
}

impl Output {
    /// Decides where the frames of `inputs` go, checks that it can be written, and creates the
    /// folder of a [`Target::Folder`].
    ///
    /// # Errors
    /// [`Error::BadRequest`] if the path's extension is unknown, does not fit the counts or the bit
    /// depth, or names an input; [`Error::Io`] if it cannot be written.
    pub fn plan(path: &Path, inputs: &[Input], options: OutputOptions) -> Result<Self> {
        let target = target(path, inputs)?;
        check_counts(&target, inputs)?;
        check_values(&target, &options)?;
        let video = match target {
            Target::Video(_, container) => Some(video(container, &options.video)?),
            // Animations have a rate as well.
            Target::Animation(..) => {
                no_video(path, &options.video.clone().without_rate()).map(|()| None)?
            }
            _ => no_video(path, &options.video).map(|()| None)?,
        };
        check_writable(&target)?;
        let output = Self {
            inputs: name_series(inputs),
            target,
            options,
            video,
        };
        output.keep(inputs.iter().map(|input| input.path.as_path()))?;
        Ok(output)
    }

    /// Refuses the plan if one of its files would replace one of `files`, which the work reads.
    ///
    /// # Errors
    /// [`Error::BadRequest`] naming the file.
    pub fn keep<'a>(&self, files: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        // Links and other spellings of a path are followed; what does not exist cannot be replaced.
        let found = files
            .into_iter()
            .filter_map(|path| path.canonicalize().ok());
        let kept: HashSet<PathBuf> = found.collect();
        let replaced = |path: &PathBuf| path.canonicalize().is_ok_and(|path| kept.contains(&path));
        match self.files().find(replaced) {
            Some(path) => Err(Error::BadRequest(format!(
                "{}: the output would overwrite an input",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Whether all files of input `input` exist and are not empty. As files appear whole or not at
    /// all, they are finished then.
    pub fn is_written(&self, input: usize) -> bool {
        self.inputs.get(input).is_some() && self.files_of(input).all(|path| is_finished(&path))
    }

    /// All files of the plan.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.inputs.len()).flat_map(|input| self.files_of(input))
    }

    /// All files of input `input`.
    fn files_of(&self, input: usize) -> impl Iterator<Item = PathBuf> {
        let planned = self.inputs.get(input);
        let [items, frames] = planned.map_or([0, 0], |planned| [planned.items, planned.frames]);
        let places = (0..items).flat_map(move |item| (0..frames).map(move |frame| (item, frame)));
        places.filter_map(move |(item, frame)| self.file(input, item, frame))
    }

    /// The kind of output that the path stands for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The file of frame `frame` of item `item` of input `input`; `None` beyond the plan.
    pub fn file(&self, input: usize, item: usize, frame: usize) -> Option<PathBuf> {
        let planned = self.inputs.get(input)?;
        match &self.target {
            Target::Picture(path)
            | Target::Array(path, _)
            | Target::Video(path, _)
            | Target::Animation(path, _) => {
                let is_planned = item < planned.items && frame < planned.frames;
                is_planned.then(|| path.clone())
            }
            Target::Folder(folder) => self.series(folder, planned).file(item, frame),
        }
    }

    fn series(&self, folder: &Path, planned: &Planned) -> Series {
        Series {
            folder: folder.to_path_buf(),
            names: planned.series.clone(),
            items: planned.items,
            frames: planned.frames,
            format: self.options.folder_format,
        }
    }

    /// Begins the output of input `input`; `text` goes into the metadata of images.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such input; [`Error::Io`].
    pub fn open(&self, input: usize, text: Vec<(String, String)>) -> Result<Box<dyn FrameSink>> {
        let planned = self.inputs.get(input).ok_or_else(|| Error::Shape {
            what: "output".into(),
            expected: format!("one of {} inputs", self.inputs.len()),
            got: format!("input {input}"),
        })?;
        let depth = self.options.depth;
        let images = |text: Vec<(String, String)>| PictureOptions {
            depth,
            overshoot: self.options.overshoot,
            metadata: text.into(),
        };
        let (items, frames) = (planned.items, planned.frames);
        Ok(match (&self.target, &self.video) {
            (Target::Video(path, _), Some(video)) => video.open(path, frames, text)?,
            (Target::Animation(path, format), _) => {
                let rate = self.options.video.rate.unwrap_or_default();
                Box::new(AnimationSink::create(path, *format, rate, frames, text)?)
            }
            (Target::Picture(path), _) => Box::new(ImageSink::new(path.clone(), images(text))),
            (Target::Array(path, format), _) => {
                let array = ArraySink::create(path, *format, items, frames)?;
                Box::new(array.with_overshoot(self.options.overshoot))
            }
            (Target::Folder(folder) | Target::Video(folder, _), _) => {
                Box::new(FolderSink::new(self.series(folder, planned), images(text)))
            }
        })
    }
}

impl Video {
    fn open(
        &self,
        path: &Path,
        frames: usize,
        text: Vec<(String, String)>,
    ) -> Result<Box<dyn FrameSink>> {
        Ok(match &self.program {
            None => Box::new(Y4mSink::create(
                path,
                self.encoding.format,
                self.rate,
                frames,
            )?),
            Some(program) => {
                let movie = Movie {
                    path: path.to_path_buf(),
                    encoding: self.encoding,
                    rate: self.rate,
                    frames,
                    audio: self.audio.clone(),
                    text,
                };
                Box::new(MovieSink::new(program.clone(), movie))
            }
        })
    }
}

/// What writes a video of this kind, once it is known that it can be done.
fn video(container: Container, options: &VideoOptions) -> Result<Video> {
    let encoding = Encoding::new(container, options.wishes)?;
    let rate = options.rate.unwrap_or_default();
    let (program, audio) = match container {
        Container::Y4m if options.audio.is_some() => {
            return Err(Error::BadRequest(
                "--audio: a .y4m stream has no sound".into(),
            ));
        }
        Container::Y4m => (None, None),
        _ => match Ffmpeg::find(options.ffmpeg.as_deref()) {
            Ok(ffmpeg) => {
                let audio = |path: &PathBuf| {
                    let codec = ffmpeg.audio_codec(path)?;
                    Ok::<_, Error>(Audio {
                        path: path.clone(),
                        codec,
                        from: options.audio_from as f64 / rate.per_second(),
                    })
                };
                let audio = options.audio.as_ref().map(audio).transpose()?;
                (Some(Program::Ffmpeg(ffmpeg)), audio)
            }
            #[cfg(feature = "mp4")]
            Err(Error::NoProgram { .. }) => {
                crate::video::mp4::check(container, options.wishes, options.audio.is_some())?;
                (Some(Program::OpenH264), None)
            }
            Err(e) => return Err(e),
        },
    };
    Ok(Video {
        encoding,
        rate,
        program,
        audio,
    })
}

/// Refuses a video's options for another output.
fn no_video(path: &Path, options: &VideoOptions) -> Result<()> {
    match options.asked() {
        Some(name) => Err(Error::BadRequest(format!(
            "{name} is for videos; write to .mp4, .mov, .mkv, .webm or .y4m instead of {}",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Whether a file exists and has content.
pub fn is_finished(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.len() > 0)
}

/// The kind of output, from the form of the path and from what exists there.
fn target(path: &Path, inputs: &[Input]) -> Result<Target> {
    let ends_in_slash = path
        .as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|&b| std::path::is_separator(b.into()));
    if path == Path::new(Y4mSink::STANDARD_OUTPUT) {
        return Ok(Target::Video(path.to_path_buf(), Container::Y4m));
    }
    if ends_in_slash || path.is_dir() {
        return Ok(Target::Folder(path.to_path_buf()));
    }
    let Some(extension) = path.extension() else {
        return Ok(Target::Folder(path.to_path_buf()));
    };
    let extension = extension.to_string_lossy().to_ascii_lowercase();
    let frames = inputs.iter().map(|i| i.frames).max().unwrap_or(0);
    if let Some(animation) = Animation::from_path(path, frames) {
        return Ok(Target::Animation(path.to_path_buf(), animation));
    }
    if PictureFormat::from_extension(&extension).is_some() {
        return Ok(Target::Picture(path.to_path_buf()));
    }
    if let Some(container) = Container::from_path(path) {
        return Ok(Target::Video(path.to_path_buf(), container));
    }
    let array = ArrayFormat::from_extension(&extension)
        .map(|format| Target::Array(path.to_path_buf(), format));
    array.ok_or_else(|| {
        Error::BadRequest(format!(
            "{}: unknown output format '.{extension}'; expected .png, .jpg, .jpeg, .webp or .exr for one image, .mp4, .mov, \
             .mkv, .webm or .y4m for a video, .apng, .gif or .webp for an animation, .npy or .safetensors for an array, or a folder (end it with a slash)",
            path.display()
        ))
    })
}

/// Refuses values that the format of a target does not hold.
fn check_values(target: &Target, options: &OutputOptions) -> Result<()> {
    let image = |format: PictureFormat| {
        format.check_depth(options.depth)?;
        format.check_overshoot(options.overshoot)
    };
    match target {
        Target::Picture(file) => image(PictureFormat::from_path(file).unwrap_or_default()),
        Target::Folder(_) => image(options.folder_format),
        Target::Array(..) => Ok(()),
        Target::Video(..) | Target::Animation(..) if options.overshoot == Overshoot::Keep => {
            Err(keeps_no_overshoot("a video"))
        }
        Target::Animation(..) if options.depth != BitDepth::Eight => Err(Error::BadRequest(
            "animated images are written with 8 bits per channel".into(),
        )),
        Target::Video(..) | Target::Animation(..) => Ok(()),
    }
}

fn check_counts(target: &Target, inputs: &[Input]) -> Result<()> {
    let images: usize = inputs
        .iter()
        .map(|i| i.items.saturating_mul(i.frames))
        .sum();
    let (path, problem) = match target {
        _ if images == 0 => {
            return Err(Error::BadRequest(
                "there is nothing to write: no frames".into(),
            ));
        }
        Target::Picture(path) if images > 1 => {
            (path, format!("one image cannot hold {images} frames"))
        }
        Target::Array(path, _) if inputs.len() > 1 => (
            path,
            format!(
                "one array cannot hold {} inputs of different sizes",
                inputs.len()
            ),
        ),
        Target::Video(path, _) | Target::Animation(path, _)
            if inputs.iter().map(|i| i.items).sum::<usize>() > 1 =>
        {
            let clips: usize = inputs.iter().map(|i| i.items).sum();
            (path, format!("one file cannot hold {clips} clips"))
        }
        _ => return Ok(()),
    };
    let folder = path.with_extension("");
    let separator = std::path::MAIN_SEPARATOR;
    Err(Error::BadRequest(format!(
        "{}: {problem}; give a folder, such as {}{separator}",
        path.display(),
        folder.display()
    )))
}

/// Creates a target folder, then creates and drops a temporary file where the output goes.
fn check_writable(target: &Target) -> Result<()> {
    let probe = match target {
        Target::Video(path, _) if path == Path::new(Y4mSink::STANDARD_OUTPUT) => return Ok(()),
        Target::Picture(path)
        | Target::Array(path, _)
        | Target::Video(path, _)
        | Target::Animation(path, _) => path.clone(),
        Target::Folder(folder) => {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
            folder.join("probe")
        }
    };
    TempFile::create(&probe)
        .map(drop)
        .map_err(|e| match (target, e) {
            (Target::Folder(folder), Error::Io { source, .. }) => Error::io(folder, source),
            (_, e) => e,
        })
}

/// Names each series after its input, distinct from all others: the items of a batch can still have
/// the name of another input.
fn name_series(inputs: &[Input]) -> Vec<Planned> {
    let mut taken = HashSet::new();
    let plan = |input: &Input| {
        let is_batch_of_clips = input.items > 1 && input.frames > 1;
        let names = match is_batch_of_clips {
            true => (0..input.items)
                .map(|item| format!("{}_{item}", input.name))
                .collect(),
            false => vec![input.name.clone()],
        };
        let series = names
            .into_iter()
            .map(|name| unique(name, &mut taken))
            .collect();
        Planned {
            items: input.items,
            frames: input.frames,
            series,
        }
    };
    inputs.iter().map(plan).collect()
}

/// `name`, or `name-2`, `name-3` and so on if it is taken.
fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let candidates = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}-{n}")));
    candidates
        .into_iter()
        .find(|c| taken.insert(c.to_lowercase()))
        .unwrap_or(name)
}
