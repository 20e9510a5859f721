//! A video file, as FFmpeg writes it from frames that are converted here.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};

use vae2x_core::temp::TempFile;
use vae2x_core::{Array, Error, Result};

use super::metadata;
use super::program::{Ffmpeg, Running};
use crate::video::y4m::{self, Header};
use crate::video::yuv::{Matrix, Range, Yuv};
use crate::video::{Container, Encode, Encoding, Movie};

/// FFmpeg writing a file, which appears when it is complete.
#[derive(Debug)]
pub(crate) struct Encoder {
    ffmpeg: Ffmpeg,
    path: PathBuf,
    temp: TempFile,
    /// The texts' file, which FFmpeg reads.
    _texts: Option<TempFile>,
    running: Running,
    stream: Option<BufWriter<ChildStdin>>,
    yuv: Yuv,
    bytes: Vec<u8>,
}

impl Ffmpeg {
    /// Starts writing frames of `size`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be created or FFmpeg not started.
    pub(crate) fn encode(&self, movie: &Movie, size: [usize; 2]) -> Result<Encoder> {
        let temp = TempFile::create(&movie.path)?;
        let texts = texts_file(movie)?;
        let mut command = self.command(["-loglevel", "error", "-y"]);
        command.args(["-f", "yuv4mpegpipe", "-i", "pipe:0"]);
        if let Some(audio) = &movie.audio {
            if audio.from > 0.0 {
                command.args(["-ss", &format!("{:.6}", audio.from)]);
            }
            command.args(Self::input(&audio.path));
        }
        if let Some(texts) = &texts {
            command
                .args(["-f", "ffmetadata", "-i"])
                .arg(file_url(texts));
        }
        command
            .args(arguments(movie))
            .arg(file_url(&temp))
            .stdin(Stdio::piped());
        let mut running = self.start(command)?;
        let stream = running
            .input
            .take()
            .ok_or_else(|| Error::io(self.path(), std::io::Error::other("no input")))?;
        let yuv = Yuv {
            chroma: movie.encoding.format.chroma,
            bits: movie.encoding.format.bits,
            matrix: Matrix::Bt709,
            range: Range::Limited,
        };
        let mut encoder = Encoder {
            ffmpeg: self.clone(),
            path: movie.path.clone(),
            temp,
            _texts: texts,
            running,
            stream: Some(BufWriter::new(stream)),
            yuv,
            bytes: Vec::new(),
        };
        let header = Header {
            size,
            rate: Some(movie.rate),
            yuv,
            is_interlaced: false,
            pixel_aspect: None,
        };
        encoder.send(|stream| header.write(stream))?;
        Ok(encoder)
    }
}

fn file_url(file: &TempFile) -> OsString {
    let mut url = OsString::from("file:");
    url.push(file.path());
    url
}

/// The texts, as a command line has no room for a workflow. FFmpeg reads the file beside the output, where it is left for nobody.
fn texts_file(movie: &Movie) -> Result<Option<TempFile>> {
    if movie.text.is_empty() {
        return Ok(None);
    }
    let mut name = movie.path.file_name().unwrap_or_default().to_owned();
    name.push(".texts");
    let mut file = TempFile::create(&movie.path.with_file_name(name))?;
    let written = file.file()?.write_all(metadata::of(&movie.text).as_bytes());
    written.map_err(|e| Error::io(&movie.path, e))?;
    Ok(Some(file))
}

/// The arguments behind the inputs.
fn arguments(movie: &Movie) -> Vec<String> {
    let Encoding { container, .. } = movie.encoding;
    let mut arguments: Vec<String> = ["-map", "0:v:0"].map(String::from).into();
    let mut add = |more: &[&str]| arguments.extend(more.iter().map(|&a| String::from(a)));
    if let Some(audio) = &movie.audio {
        let (copied, encoder) = container.audio();
        let codec = if copied.contains(&audio.codec.as_str()) {
            "copy"
        } else {
            encoder
        };
        add(&["-map", "1:a:0", "-c:a", codec]);
    }
    let texts = 1 + usize::from(movie.audio.is_some());
    match movie.text.is_empty() {
        true => add(&["-map_metadata", "-1"]),
        false => add(&["-map_metadata", &texts.to_string()]),
    }
    add(&["-map_chapters", "-1"]);
    // The stream says nothing of its colours; the filter tells later ones, the options the file.
    add(&[
        "-vf",
        "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
    ]);
    add(&[
        "-color_range",
        "tv",
        "-colorspace",
        "bt709",
        "-color_primaries",
        "bt709",
        "-color_trc",
        "bt709",
    ]);
    let codec = movie.encoding.arguments();
    add(&codec.iter().map(String::as_str).collect::<Vec<_>>());
    match container {
        Container::Mp4 | Container::Mov => {
            add(&["-movflags", "+faststart+use_metadata_tags+write_colr"])
        }
        Container::Mkv | Container::Webm | Container::Y4m => {}
    }
    // The sound ends with the frames; half of one more keeps the last.
    let seconds = (movie.frames as f64 + 0.5) / movie.rate.per_second();
    add(&["-t", &format!("{seconds:.6}"), "-f", container.muxer()]);
    arguments
}

impl Encoder {
    fn send(
        &mut self,
        write: impl FnOnce(&mut BufWriter<ChildStdin>) -> std::io::Result<()>,
    ) -> Result<()> {
        let sent = match &mut self.stream {
            Some(stream) => write(stream),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|e| self.failure(e.to_string()))
    }

    /// What FFmpeg says, or why the pipe to it does not work.
    fn failure(&mut self, pipe: String) -> Error {
        // What is buffered has nowhere to go.
        if let Some(stream) = self.stream.take() {
            drop(stream.into_parts());
        }
        let said = self.running.finish().err().unwrap_or(pipe);
        Error::format(&self.path, format!("ffmpeg cannot write it: {said}"))
    }
}

impl Encode for Encoder {
    fn push(&mut self, frame: &Array) -> Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.yuv.write(frame, &mut bytes)?;
        let sent = self.send(|stream| {
            y4m::begin_frame(stream)?;
            stream.write_all(&bytes)
        });
        self.bytes = bytes;
        sent
    }

    fn close(mut self: Box<Self>, expected: usize) -> Result<TempFile> {
        self.send(BufWriter::flush)?;
        self.stream = None;
        if let Err(said) = self.running.finish() {
            return Err(Error::format(
                &self.path,
                format!("ffmpeg cannot write it: {said}"),
            ));
        }
        // Version 5.1 ends well even if it could not write the last part.
        let frames = self.ffmpeg.packets(self.temp.path())?;
        if frames != expected {
            let problem =
                format!("ffmpeg has written {frames} of {expected} frames; is the disk full?");
            return Err(Error::format(&self.path, problem));
        }
        Ok(self.temp)
    }
}
