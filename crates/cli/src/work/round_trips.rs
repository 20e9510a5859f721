//! Images and clips that are encoded and decoded again and again, as extending a clip does; each round is measured while the next
//! one is computed.
//!
//! All frames of an input are in memory: a round begins with the frames that the one before it ends with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use vae2x::{Array, Extent, Finisher, Progress, Vae, in_turn, join_frames};
use vae2x_measure::metrics;
use vae2x_measure::numbers::{NUMBERS, Subject, mean};
use vae2x_media::frames::{Fitted, FrameSource, Spec};
use vae2x_media::picture::{PictureOptions, write_image};

use super::{Opening, plain};
use crate::run::{Need, Sink, Source, Stage, Work, Written};
use crate::ui;

/// Bytes per pixel that measuring a frame takes.
const MEASURING: usize = 80;
/// Sets of frames that are held besides those on their way: the original, and the round before.
const HELD: usize = 2;
/// From the width of [-1, 1] to that of 8 bits.
const TO_8_BIT: f64 = 127.5;

/// Round trips, ready to run.
pub struct RoundTrips {
    /// The model.
    pub vae: Vae,
    /// Brings decoded frames to base resolution.
    pub finisher: Finisher,
    /// Rounds of each input.
    pub rounds: usize,
    /// Whether a folder's images are the frames of a clip.
    pub clip: bool,
    /// The folder for images.
    pub folder: Option<PathBuf>,
    /// Whether the images of every round are written, not only those of the last.
    pub keep: bool,
    /// Bytes that may be used.
    pub allowed: Option<u64>,
    /// The inputs that are done, in order.
    pub trips: Mutex<Vec<Trip>>,
}

/// An image, an array file or a folder of frames.
pub struct TripInput {
    /// The input.
    pub path: PathBuf,
    /// The name of its images in a folder.
    pub name: String,
    /// The part of it that is used: whole cells and whole latent frames.
    pub spec: Spec,
}

/// An input and the measurements of its rounds.
#[derive(Clone, Debug)]
pub struct Trip {
    /// The input.
    pub path: PathBuf,
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// The number of frames.
    pub frames: usize,
    /// The original, then each round.
    pub rounds: Vec<Round>,
    /// The images that were written.
    pub files: Vec<PathBuf>,
}

/// The measurements of a round, means over the frames.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// By [`NUMBERS`], against the original.
    pub values: Vec<Option<f64>>,
    /// PSNR against the round before.
    pub step: Option<f64>,
    /// By how much the mean of red, green and blue has moved, in 8-bit steps.
    pub shift: Option<[f64; 3]>,
}

/// What the reader gives.
pub enum Turn {
    /// The frames of an input, each `[3, H, W]`, for the first round.
    First(Vec<Array>),
    /// One more round; the number of frames.
    Next(usize),
}

/// The frames after a round, or the original ones.
pub type Frames = Arc<Vec<Array>>;

impl RoundTrips {
    /// The part of an input that is used.
    ///
    /// # Errors
    /// If its head cannot be read, it is smaller than a latent cell, or it holds several clips or images.
    pub fn look(&self, path: &Path) -> Result<Spec> {
        let fitted = self.open(path)?;
        let spec = fitted.spec().clone();
        match spec.items {
            1 => Ok(spec),
            n => bail!("{}: expected one image or clip, found {n}", path.display()),
        }
    }

    fn open(&self, path: &Path) -> Result<Fitted> {
        let opening = Opening {
            clip: self.clip,
            ..Opening::default()
        };
        opening.open(path, self.vae.config())
    }

    fn extent(&self, spec: &Spec) -> Extent {
        let config = self.vae.config();
        Extent {
            frames: config.latent_frames(spec.frames),
            cells: spec.size.map(|n| n / config.spatial()),
        }
    }

    /// Encodes and decodes frames, at base resolution again.
    fn round(
        &self,
        frames: &[Array],
        extent: Extent,
        progress: Progress<'_>,
    ) -> Result<Vec<Array>> {
        let mut encoder = self.vae.encoder(extent)?;
        let mut decoder = self.vae.decoder(extent)?;
        let mut result = Vec::with_capacity(frames.len());
        let steps = extent.frames as f32;
        for step in 0..extent.frames {
            let mut at = |part: f32| progress((step as f32 + part) / steps);
            let taken = &frames[result.len()..][..encoder.next_frames()];
            let encoding = &mut |part: f32| at(0.5 * part);
            let latent = encoder.step_with(&join_frames(taken.to_vec())?, encoding)?;
            let decoding = &mut |part: f32| at(0.5 + 0.5 * part);
            for frame in decoder.step_with(&latent, decoding)? {
                let mut frame = self.finisher.apply(frame, None)?;
                // As it would be saved.
                let values = frame.data_mut();
                values.iter_mut().for_each(|v| *v = v.clamp(-1.0, 1.0));
                result.push(frame);
            }
        }
        Ok(result)
    }
}

impl Work for RoundTrips {
    type Job = TripInput;
    type Piece = Turn;
    type Result = Frames;

    const LABEL: &'static str = "round trips";
    const UNIT: &'static str = "frames";

    fn name(&self, job: &TripInput) -> String {
        job.path.display().to_string()
    }

    fn units(&self, job: &TripInput) -> f64 {
        (job.spec.frames * self.rounds) as f64
    }

    fn piece_units(&self, piece: &Turn) -> f64 {
        match piece {
            Turn::First(frames) => frames.len() as f64,
            Turn::Next(frames) => *frames as f64,
        }
    }

    fn need(&self, job: &TripInput) -> Result<Option<Need>> {
        let Spec { frames, size, .. } = job.spec;
        let extent = self.extent(&job.spec);
        if extent.is_clip() && !self.vae.has_time() {
            bail!(
                "this is a clip of {frames} frames, but {} has the 2-D layout, which takes single frames only",
                self.vae.name()
            );
        }
        let halves = (
            self.vae.encode_memory(extent),
            self.vae.decode_memory(extent),
        );
        let (Some(encoder), Some(decoder)) = halves else {
            return Ok(None);
        };
        let mut engine = in_turn(encoder, decoder);
        let all = frames * job.spec.frame_bytes();
        engine.working += HELD * all + MEASURING * size[0] * size[1];
        Ok(Some(Need {
            what: format!(
                "round trips of {frames} frames of {}x{} pixels",
                size[1], size[0]
            ),
            engine,
            piece: all,
            result: all,
            is_finished: false,
            allowed: self.allowed,
        }))
    }

    fn source(&self, job: &TripInput) -> Result<Source<Turn>> {
        let mut source = self.open(&job.path)?;
        let frames = job.spec.frames;
        let first = std::iter::once_with(move || {
            let mut frames = Vec::new();
            while let Some(frame) = source.next()? {
                frame.notes.iter().for_each(ui::warn);
                frames.push(frame.pixels);
            }
            Ok(Turn::First(frames))
        });
        let others = (1..self.rounds).map(move |_| Ok(Turn::Next(frames)));
        Ok(Box::new(first.chain(others)))
    }

    fn stage<'a>(&'a self, job: &'a TripInput) -> Result<Box<dyn Stage<Turn, Frames> + 'a>> {
        Ok(Box::new(Rounds {
            work: self,
            extent: self.extent(&job.spec),
            frames: Frames::default(),
        }))
    }

    fn sink<'a>(&'a self, job: &'a TripInput) -> Result<Box<dyn Sink<Frames> + 'a>> {
        let trip = Trip {
            path: job.path.clone(),
            size: job.spec.size,
            frames: job.spec.frames,
            rounds: Vec::new(),
            files: Vec::new(),
        };
        Ok(Box::new(Measuring {
            work: self,
            job,
            original: Frames::default(),
            before: Frames::default(),
            trip,
        }))
    }

    fn pixels(&self, frames: &Frames) -> u64 {
        let all = frames.iter().map(|frame| frame.data().len() as u64 / 3);
        all.sum()
    }

    /// Nothing: the command prints the rounds and the files together.
    fn report(&self, _: &[Written]) -> Vec<String> {
        Vec::new()
    }
}

/// An input on its way.
struct Rounds<'a> {
    work: &'a RoundTrips,
    extent: Extent,
    frames: Frames,
}

impl Stage<Turn, Frames> for Rounds<'_> {
    fn step(&mut self, turn: Turn, progress: Progress<'_>) -> Result<Vec<Frames>> {
        let mut results = Vec::new();
        if let Turn::First(frames) = turn {
            self.frames = Arc::new(frames);
            results.push(self.frames.clone());
        }
        let frames = self.work.round(&self.frames, self.extent, progress)?;
        self.frames = Arc::new(frames);
        results.push(self.frames.clone());
        Ok(results)
    }
}

/// Measures each round against the original and the round before it, and writes images.
struct Measuring<'a> {
    work: &'a RoundTrips,
    job: &'a TripInput,
    original: Frames,
    before: Frames,
    trip: Trip,
}

impl Measuring<'_> {
    fn write(&mut self, frames: &[Array], folder: &Path) -> Result<()> {
        let (name, round) = (&self.job.name, self.trip.rounds.len());
        for (index, frame) in frames.iter().enumerate() {
            let file = match frames.len() {
                1 => format!("{name}_round{round}.png"),
                _ => format!("{name}_round{round}_{index:05}.png"),
            };
            let path = folder.join(file);
            write_image(&path, frame, &PictureOptions::default())?;
            self.trip.files.push(path);
        }
        Ok(())
    }
}

impl Sink<Frames> for Measuring<'_> {
    fn push(&mut self, frames: Frames) -> Result<()> {
        let round = self.trip.rounds.len();
        if round == 0 {
            self.original = frames.clone();
            self.trip.rounds.push(measured(&frames, None)?);
        } else {
            if let Some(folder) = &self.work.folder
                && (self.work.keep || round == self.work.rounds)
            {
                self.write(&frames, folder)?;
            }
            let measured = measured(&frames, Some([&self.original, &self.before]))?;
            self.trip.rounds.push(measured);
        }
        self.before = frames;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        let files = plain(self.trip.files.clone());
        let trips = self.work.trips.lock();
        trips
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.trip);
        Ok(files)
    }
}

/// Measures frames, against the original ones and those of the round before if there are any.
fn measured(frames: &[Array], against: Option<[&Frames; 2]>) -> Result<Round> {
    let mut values = vec![Vec::new(); NUMBERS.len()];
    for (i, frame) in frames.iter().enumerate() {
        let subject = Subject {
            picture: frame,
            scale: 1,
            pair: against.map(|[original, _]| (frame, &original[i])),
            lpips: None,
        };
        for (values, number) in values.iter_mut().zip(NUMBERS) {
            values.extend(number.measure(&subject)?);
        }
    }
    let values = values.into_iter().map(|of| mean(of.into_iter()));
    let mut round = Round {
        values: values.collect(),
        ..Round::default()
    };
    if let Some([original, before]) = against {
        let steps = frames.iter().zip(before.iter());
        let steps = steps.map(|(frame, before)| metrics::psnr(frame, before));
        round.step = mean(steps.collect::<Result<Vec<_>, _>>()?.into_iter());
        let [now, then] = [frames, original].map(mean_colour);
        round.shift = Some([0, 1, 2].map(|c| TO_8_BIT * (now[c] - then[c])));
    }
    Ok(round)
}

/// The mean of each channel over all frames.
fn mean_colour(frames: &[Array]) -> [f64; 3] {
    let channel = |c: usize| {
        let means = frames.iter().map(|frame| {
            let plane = frame.data().len() / 3;
            let values = &frame.data()[c * plane..][..plane];
            values.iter().map(|&v| f64::from(v)).sum::<f64>() / plane as f64
        });
        mean(means).unwrap_or_default()
    };
    [0, 1, 2].map(channel)
}
