//! Rows of clips: each frame is read, measured, kept for the page and let go.

use std::sync::Arc;

use vae2x_core::{Array, Error, Result};
use vae2x_media::frames::Spec;
use vae2x_media::picture::BitDepth;
use vae2x_media::pixels::picture_size;
use vae2x_media::video::Rate;

use super::input::{self, Crop, Loaded, Source};
use super::row::{Embedded, Measure, Measured, Row, RowOptions, Shown, own_crops, smallest};
use super::spool::Spool;
use crate::clips::{Clip, Clips, Step, name_of};
use vae2x_measure::clip::{Worst, summary};
use vae2x_measure::numbers::NUMBERS;

/// Sentences of one clip that the page shows.
const NOTES: usize = 5;

/// When the frames of a row's clips are shown.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Numbers of the frames in their clips, from 0.
    pub numbers: Vec<usize>,
    /// Frames per second of the clips.
    pub rate: f64,
}

/// What a clip has beyond an image.
#[derive(Clone, Debug)]
pub struct ClipFacts {
    /// Frames in the file or folder.
    pub frames: usize,
    /// Its own frame rate.
    pub rate: Option<f64>,
    /// One per entry of [`NUMBERS`]: the worst frame, by its place among those shown.
    pub worst: Vec<Option<Worst>>,
    /// For each frame shown, one per entry of [`NUMBERS`].
    pub by_frame: Vec<Vec<Option<f64>>>,
}

/// Reads and measures the clips of a row, frame by frame; `tick` is called after each step of all clips. Frames that are made for the
/// page go to `spool`.
///
/// # Errors
/// If a frame cannot be read, naming its file; [`Error::Shape`] for a part that lies outside or between the pixels of one, or for
/// frames that take more bytes than the page may.
pub fn clip_row(
    mut clips: Clips,
    options: &RowOptions,
    spool: &Arc<Spool>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let sizes: Vec<_> = clips
        .clips()
        .iter()
        .map(|clip| clip.as_ref().map(|clip| clip.spec().size))
        .collect();
    let crops = match options.crop {
        Some(crop) => own_crops(clips.name(), &sizes, crop)?,
        None => vec![None; sizes.len()],
    };
    let job = Job {
        options,
        spool,
        base: smallest(&sizes, &crops),
        crops,
        before: spool.counted(),
    };
    let mut made: Vec<Option<Made>> = clips
        .clips()
        .iter()
        .map(|clip| clip.as_ref().map(Made::new))
        .collect();
    let mut done = 0;
    while let Some(step) = clips.step()? {
        job.take(step, &mut made)?;
        done += 1;
        job.check_room(clips.name(), done, clips.numbers())?;
        tick();
    }
    let rate = options.rate.or(clips.rate()).unwrap_or(Rate::WAN);
    Ok(Row {
        name: clips.name().into(),
        pictures: made.into_iter().map(|made| made.map(Made::shown)).collect(),
        timeline: Some(Timeline {
            numbers: clips.numbers().to_vec(),
            rate: rate.per_second(),
        }),
    })
}

struct Job<'a> {
    options: &'a RowOptions,
    spool: &'a Arc<Spool>,
    base: [usize; 2],
    crops: Vec<Option<Crop>>,
    /// Bytes of the page when the row was begun.
    before: u64,
}

impl Job<'_> {
    fn take(&self, mut step: Step, made: &mut [Option<Made>]) -> Result<()> {
        let load = |(i, frame): (usize, &Option<input::Input>)| {
            let frame = frame.as_ref();
            frame
                .map(|frame| input::load(frame, self.crops[i]))
                .transpose()
        };
        let mut frames = step
            .frames
            .iter()
            .enumerate()
            .map(load)
            .collect::<Result<Vec<_>>>()?;
        step.frames.clear();
        let reference: Option<Array> = match self.options.skip_numbers {
            true => None,
            false => frames[self.options.reference]
                .as_ref()
                .map(|loaded| loaded.pixels.clone()),
        };
        for (i, (loaded, made)) in frames.iter_mut().zip(made).enumerate() {
            let (Some(loaded), Some(made)) = (loaded.take(), made) else {
                continue;
            };
            let measured = match self.options.skip_numbers {
                true => Measured::nothing(),
                false => Measure {
                    base: self.base,
                    reference: reference.as_ref().filter(|_| i != self.options.reference),
                }
                .of(&loaded.pixels)?,
            };
            made.add(loaded, measured, self.spool)?;
            made.add_notes(&step.notes);
        }
        Ok(())
    }

    /// Refuses clips that do not fit into the page, as soon as that is plain.
    fn check_room(&self, name: &str, done: usize, numbers: &[usize]) -> Result<()> {
        let (limit, counted) = (self.spool.limit(), self.spool.counted());
        let own = counted - self.before;
        let expected = self.before + own / done as u64 * numbers.len() as u64;
        // Frames differ in size, so one that is only expected to be too large is not refused unless it is by far.
        if counted <= limit && (expected / 2 <= limit || done < 3.min(numbers.len())) {
            return Ok(());
        }
        let expected = expected.max(counted);
        let room = limit.saturating_sub(self.before);
        let every = (expected - self.before).div_ceil(room.max(1)).max(2);
        let fits = (numbers.len() as u64 * room / (expected - self.before).max(1)).max(1);
        let megabytes = |bytes: u64| format!("{} MB", bytes.div_ceil(1_000_000));
        let fewer = match numbers {
            [first, ..] if room > 0 => format!(
                "--range {first}..{} takes a part of the clip, --every {every} one of {every} frames",
                numbers.get(fits as usize - 1).unwrap_or(first)
            ),
            _ => "give fewer clips".into(),
        };
        Err(Error::Shape {
            what: format!("'{name}': its frames in the page"),
            expected: format!("at most {} (--page-limit)", megabytes(limit)),
            got: format!(
                "about {}; {fewer}, --crop a part of the image",
                megabytes(expected)
            ),
        })
    }
}

/// A clip on its way into the page.
struct Made {
    shown: Shown,
    facts: ClipFacts,
    /// Notes on how frames were read.
    notes: Vec<String>,
    path: std::path::PathBuf,
}

impl Made {
    fn new(clip: &Clip) -> Self {
        let Spec {
            frames,
            rate,
            size,
            depth,
            ..
        } = *clip.spec();
        let path = clip.path().to_path_buf();
        let kind = path.extension().unwrap_or_default().to_string_lossy();
        let bits = match depth {
            BitDepth::Eight => 8,
            BitDepth::Sixteen => 16,
        };
        let length = match path.is_dir() {
            true => 0,
            false => path.metadata().map_or(0, |data| data.len()),
        };
        let mut notes = Vec::new();
        if depth == BitDepth::Sixteen && !path.is_dir() {
            notes.push("shown with 8 bits; numbers are of the file's own values".into());
        }
        Self {
            shown: Shown {
                file: name_of(&path),
                format: match path.is_dir() {
                    true => String::new(),
                    false => format!("{}, {bits} bit", kind.to_uppercase()),
                },
                length,
                size,
                notes,
                numbers: Vec::new(),
                is_resampled: false,
                clip: None,
                files: Vec::new(),
            },
            facts: ClipFacts {
                frames,
                rate: rate.map(Rate::per_second),
                worst: Vec::new(),
                by_frame: Vec::new(),
            },
            notes: Vec::new(),
            path,
        }
    }

    fn add(&mut self, loaded: Loaded, measured: Measured, spool: &Arc<Spool>) -> Result<()> {
        let shown = &mut self.shown;
        let source = match loaded.source {
            Source::Png(bytes) => {
                spool.count(bytes.len() as u64);
                Source::Spooled(spool.push(&bytes)?)
            }
            source => {
                spool.count(loaded.length);
                source
            }
        };
        if self.path.is_dir() {
            shown.length += loaded.length;
            if shown.files.is_empty() {
                shown.format = loaded.format;
            }
        }
        shown.size = picture_size(&loaded.pixels)?;
        shown.is_resampled |= measured.is_resampled;
        shown.files.push(Embedded {
            media_type: loaded.media_type,
            length: loaded.length,
            source,
        });
        self.facts.by_frame.push(measured.numbers);
        self.notes.extend(loaded.notes);
        self.notes.extend(measured.note);
        Ok(())
    }

    /// Notes of a step that are of this clip.
    fn add_notes(&mut self, notes: &[String]) {
        let start = format!("{}: ", self.path.display());
        let own = notes.iter().filter_map(|note| note.strip_prefix(&start));
        self.notes.extend(own.map(String::from));
    }

    fn shown(mut self) -> Shown {
        let summaries: Vec<_> = NUMBERS
            .iter()
            .enumerate()
            .map(|(n, number)| summary(number, self.facts.by_frame.iter().map(|frame| frame[n])))
            .collect();
        self.shown.numbers = summaries.iter().map(|summary| summary.mean).collect();
        self.facts.worst = summaries.iter().map(|summary| summary.worst).collect();
        for note in self.notes {
            if self.shown.notes.len() < NOTES && !self.shown.notes.contains(&note) {
                self.shown.notes.push(note);
            }
        }
        self.shown.clip = Some(self.facts);
        self.shown
    }
}
