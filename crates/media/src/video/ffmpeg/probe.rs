//! What a video file holds, as FFmpeg says.
//!
//! The file is decoded once, to nothing: `showinfo` then prints the size (after turning), the colours and the time of each frame. So
//! frames are counted as they will come, whatever the file's index says, and a varying rate is noticed. Texts come as FFMETADATA.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use vae2x_core::{Error, Result, files};

use super::program::{Ffmpeg, summary};
use crate::video::stream::{Colours, Video};
use crate::video::yuv::{Matrix, Range};

/// Bytes of a file's texts that are read; workflows take less.
const MAX_TEXT: u64 = 16 << 20;
/// Bytes of a line that are looked at; one of another kind of facts may be longer.
const MAX_LINE: u64 = 4 << 10;
/// Lines that are kept to say what is wrong.
const LINES: usize = 40;

impl Ffmpeg {
    /// Looks at the first video stream of a file.
    ///
    /// # Errors
    /// [`Error::Format`] if FFmpeg cannot read it, or finds no frames.
    pub fn probe(&self, path: &Path) -> Result<Video> {
        files::open(path)?;
        let mut command = self.command(["-loglevel", "level+info", "-nostats"]);
        command.args(Self::input(path));
        command.args([
            "-map",
            "0:v:0",
            "-vf",
            "showinfo",
            self.pass_through(),
            "passthrough",
        ]);
        command.args(["-f", "null", "-"]).stderr(Stdio::piped());
        let failed = |e| Error::io(self.path(), e);
        let mut running = self.spawn(command)?;
        let mut found = Found::default();
        if let Some(stream) = running.errors.take() {
            for_each_line(stream, |line| found.take(line)).map_err(failed)?;
        }
        let status = running.wait().map_err(failed)?;
        let said = summary(&found.said.join("\n"));
        let mut video = found.settle();
        if !status.success() || video.frames == 0 || video.size.contains(&0) {
            let why = said.unwrap_or_else(|| match status.success() {
                true => "there is no video in it".into(),
                false => format!("it ended with {status}"),
            });
            let problem = format!("not a video that ffmpeg reads: {why}");
            return Err(Error::format(path, problem));
        }
        video.damage = said;
        video.text = self.texts(path)?;
        Ok(video)
    }

    /// ComfyUI's texts in a file; none in one that has none.
    fn texts(&self, path: &Path) -> Result<Vec<(String, String)>> {
        let mut command = self.command(Self::input(path));
        command
            .args(["-f", "ffmetadata", "-"])
            .stdout(Stdio::piped());
        let mut running = self.spawn(command)?;
        let mut text = Vec::new();
        if let Some(stream) = running.output.take() {
            let read = stream.take(MAX_TEXT).read_to_end(&mut text);
            read.map_err(|e| Error::io(self.path(), e))?;
        }
        Ok(super::metadata::comfy_texts(&String::from_utf8_lossy(
            &text,
        )))
    }

    /// How many frames a file has, without decoding them.
    pub(super) fn packets(&self, path: &Path) -> Result<usize> {
        let mut command = self.command(["-loglevel", "error"]);
        command.args(Self::input(path));
        command.args(["-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"]);
        let mut running = self.spawn({
            command.stdout(Stdio::piped());
            command
        })?;
        let mut count = 0;
        if let Some(stream) = running.output.take() {
            let lines = for_each_line(stream, |line| count += usize::from(!line.starts_with('#')));
            lines.map_err(|e| Error::io(self.path(), e))?;
        }
        running.wait().map_err(|e| Error::io(self.path(), e))?;
        Ok(count)
    }

    /// The codec of a file's first audio stream.
    ///
    /// # Errors
    /// [`Error::Format`] if it has none that FFmpeg reads.
    pub fn audio_codec(&self, path: &Path) -> Result<String> {
        files::open(path)?;
        let mut command = self.command(Self::input(path));
        command.stderr(Stdio::piped());
        let mut running = self.spawn(command)?;
        let mut codec = None;
        if let Some(stream) = running.errors.take() {
            let lines = for_each_line(stream, |line| {
                codec = codec.take().or_else(|| audio_codec(line))
            });
            lines.map_err(|e| Error::io(self.path(), e))?;
        }
        codec.ok_or_else(|| Error::format(path, "there is no audio in it that ffmpeg reads"))
    }
}

/// Calls `take` for each line, or for its first part if it is long.
fn for_each_line(stream: impl Read, mut take: impl FnMut(&str)) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    let mut is_continued = false;
    loop {
        line.clear();
        stream
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if !is_continued {
            take(&String::from_utf8_lossy(&line));
        }
        is_continued = line.last() != Some(&b'\n');
    }
}

/// `Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz` -> `aac`
fn audio_codec(line: &str) -> Option<String> {
    let (stream, rest) = line
        .trim_start()
        .strip_prefix("Stream #0:")?
        .split_once(": Audio: ")?;
    let codec = rest.split([',', ' ', '\n']).next().unwrap_or_default();
    (!stream.is_empty() && !codec.is_empty()).then(|| codec.to_owned())
}

/// What the lines have said so far.
#[derive(Default)]
struct Found {
    video: Video,
    has_colours: bool,
    /// Times of the first frame and of the last.
    ends: Option<[f64; 2]>,
    /// The least and the greatest distance of two frames.
    distances: Option<[f64; 2]>,
    /// Lines that may say what is wrong.
    said: Vec<String>,
}

impl Found {
    fn take(&mut self, line: &str) {
        let line = line.trim_end();
        let shown = line.strip_prefix("[Parsed_showinfo");
        let fact = shown.and_then(|rest| rest.split_once("] [info] "));
        let Some((_, fact)) = fact else {
            // What comes first tells of the file.
            if self.video.audio.is_none() && self.video.frames == 0 {
                let line = line.strip_prefix("[info] ").unwrap_or(line);
                self.video.audio = audio_codec(line);
            }
            let is_problem = ["[error] ", "[fatal] ", "[panic] "];
            let problem = is_problem
                .iter()
                .find_map(|mark| line.split_once(mark))
                .map(|(_, problem)| problem);
            if let Some(problem) = problem {
                if self.said.len() == LINES {
                    self.said.remove(0);
                }
                self.said.push(problem.into());
            }
            return;
        };
        if let Some((_, rate)) = fact
            .split_once("config in ")
            .and_then(|(_, rest)| rest.split_once("frame_rate: "))
        {
            self.video.rate = rate.parse().ok();
        } else if fact.starts_with("n:") {
            self.frame(fact);
        } else if fact.starts_with("color_range:") && !self.has_colours {
            self.has_colours = true;
            self.video.colours = colours(fact);
        }
    }

    /// `n:   0 pts:      0 pts_time:0 ... fmt:yuv420p sar:1/1 s:98x130 i:P iskey:1 type:I`
    fn frame(&mut self, fact: &str) {
        let value = |name: &str| {
            let rest = fact.split_once(name)?.1.trim_start();
            rest.split_whitespace().next()
        };
        self.video.frames += 1;
        let size = |text: &str| {
            let (w, h) = text.split_once('x')?;
            Some([h.parse().ok()?, w.parse().ok()?])
        };
        if self.video.frames == 1 {
            self.video.pixel_format = value(" fmt:").unwrap_or_default().into();
            self.video.size = value(" s:").and_then(size).unwrap_or_default();
            self.video.is_interlaced = matches!(value(" i:"), Some("T" | "B"));
            let aspect = value(" sar:").and_then(|text| text.split_once('/'));
            let aspect = aspect.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
            self.video.pixel_aspect = aspect.filter(|(w, h)| w != h && *w > 0 && *h > 0);
        }
        let Some(time) = value(" pts_time:").and_then(|text| text.parse::<f64>().ok()) else {
            return;
        };
        if let Some([_, last]) = self.ends {
            let distance = time - last;
            let [least, most] = self.distances.unwrap_or([distance; 2]);
            self.distances = Some([least.min(distance), most.max(distance)]);
        }
        self.ends = Some([self.ends.map_or(time, |[first, _]| first), time]);
    }

    /// The stream, with the rate that its times show.
    fn settle(self) -> Video {
        let mut video = self.video;
        if let (Some([first, last]), Some(distances)) = (self.ends, self.distances) {
            let mean = (last - first) / (video.frames - 1) as f64;
            video.pace(mean, distances);
        }
        video
    }
}

/// `color_range:tv color_space:bt709 color_primaries:bt709 color_trc:bt709`
fn colours(fact: &str) -> Colours {
    let mut found = Colours::default();
    for (name, value) in fact
        .split_whitespace()
        .filter_map(|word| word.split_once(':'))
    {
        match name {
            "color_range" if value == "pc" => found.range = Range::Full,
            "color_space" => {
                found.matrix = match value {
                    "bt709" => Some(Matrix::Bt709),
                    "bt470bg" | "smpte170m" | "fcc" => Some(Matrix::Bt601),
                    "bt2020nc" | "bt2020c" => Some(Matrix::Bt2020),
                    _ => None,
                }
            }
            "color_trc" => found.transfer = value.into(),
            "color_primaries" => found.primaries = value.into(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What a file's texts make FFmpeg say is a stranger's.
        #[test]
        fn any_message_is_taken(words in prop::collection::vec("(\\[Parsed_showinfo_0 @ 0x1\\] \\[info\\] |n: +|pts_time:|s:|[0-9x/:.-]{1,9}|Stream #0:|: Audio: |fmt:|[ -~]{0,9}|\n)", 0..60)) {
            let said = words.concat();
            let video = found(&said);
            prop_assert!(video.frames <= said.matches("n:").count());
            prop_assert!(video.frames > 0 || video.size == [0, 0]);
        }
    }

    const SAID: &str = "[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:a.mp4':
[info]   Stream #0:0[0x1](und): Video: h264 (High), yuv420p(tv, bt709, progressive), 130x98, 29.97 fps (default)
[info]   Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, mono, fltp, 69 kb/s (default)
[Parsed_showinfo_0 @ 0x5565] [info] config in time_base: 1/30000, frame_rate: 30000/1001
[Parsed_showinfo_0 @ 0x5565] [info] config out time_base: 0/0, frame_rate: 0/0
[Parsed_showinfo_0 @ 0x5565] [info] n:   0 pts:      0 pts_time:0       \
         duration:   1001 fmt:yuv420p cl:left sar:1/1 s:98x130 i:P iskey:1 type:I
[Parsed_showinfo_0 @ 0x5565] [info] color_range:tv color_space:bt709 color_primaries:bt709 color_trc:bt709
[Parsed_showinfo_0 @ 0x5565] [info] n:   1 pts:   1001 pts_time:0.0333667 fmt:yuv420p sar:1/1 s:98x130 i:P iskey:0 type:B
[Parsed_showinfo_0 @ 0x5565] [info] color_range:tv color_space:bt709 color_primaries:bt709 color_trc:bt709
[Parsed_showinfo_0 @ 0x5565] [info] n:   2 pts:   LAST pts_time:TIME fmt:yuv420p sar:1/1 s:98x130 i:P iskey:0 type:B
";

    fn found(said: &str) -> Video {
        let mut found = Found::default();
        for_each_line(said.as_bytes(), |line| found.take(line)).unwrap();
        found.settle()
    }

    #[test]
    fn what_ffmpeg_says_is_understood() {
        let video = found(&SAID.replace("TIME", "0.0667333"));
        assert_eq!((video.frames, video.size), (3, [130, 98]));
        assert_eq!(video.pixel_format, "yuv420p");
        assert_eq!(video.rate.unwrap().to_string(), "30000/1001");
        assert!(!video.is_varying && !video.is_interlaced);
        assert_eq!(video.pixel_aspect, None);
        assert_eq!(video.audio.as_deref(), Some("aac"));
        assert_eq!(video.colours.matrix, Some(Matrix::Bt709));
        assert_eq!(video.colours.range, Range::Limited);
        assert_eq!(video.colours.transfer, "bt709");
    }

    #[test]
    fn uneven_times_give_their_mean() {
        let video = found(&SAID.replace("TIME", "0.5"));
        assert!(video.is_varying);
        assert_eq!(video.rate.unwrap().to_string(), "4");
    }

    #[test]
    fn long_lines_are_cut() {
        let mut lines = Vec::new();
        let text = format!("{}\nb\n", "a".repeat(3 * MAX_LINE as usize));
        for_each_line(text.as_bytes(), |line| lines.push(line.len())).unwrap();
        assert_eq!(lines, [MAX_LINE as usize, 2]);
    }
}
