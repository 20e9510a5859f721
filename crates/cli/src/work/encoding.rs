//! Images and clips to latents: frames are read one group ahead of what is encoded, the latent is written at the end.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use vae2x::{Array, EncodeSession, Extent, Progress, Space, Vae, VaeConfig, join_frames};
use vae2x_core::config::LAYERED;
use vae2x_core::latent::Raw;
use vae2x_media::frames::{Edges, Fit, Fitted, FrameSource, SourceOptions, Spec, open_source};
use vae2x_media::latent::{WriteOptions, write_raw};
use vae2x_media::opacity::join;
use vae2x_media::picture::comfy_text;

use super::Latents;
use crate::run::{Need, Sink, Source, Stage, Work, Written};
use crate::ui;

/// Encoding, ready to run.
pub struct Encoding {
    /// The model.
    pub vae: Vae,
    /// The space to write.
    pub space: Space,
    /// Whether ComfyUI's texts are kept.
    pub keeps_text: bool,
    /// Bytes that may be used.
    pub allowed: Option<u64>,
}

/// An image, an array file, a video or a folder of frames, and the file that its latent goes to.
pub struct PixelInput {
    /// The input, opened; taken when it is read.
    pub opened: Mutex<Option<Fitted>>,
    /// The input.
    pub path: PathBuf,
    /// The part of it that is encoded: whole cells and whole latent frames.
    pub spec: Spec,
    /// The latent's file.
    pub target: PathBuf,
}

/// The frames of one latent frame, `[3, f, H, W]`, or `[4, f, H, W]` for a model with opacity.
pub struct Group(Array);

/// How inputs are opened.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// Whether a folder's images are the frames of a clip.
    pub clip: bool,
    /// How sides that are not whole cells are fitted.
    pub edges: Edges,
    /// The FFmpeg program, for videos; else it is looked for.
    pub ffmpeg: Option<PathBuf>,
}

impl Opening {
    /// Opens an input as the encoder of `config` takes it.
    ///
    /// # Errors
    /// If its head cannot be read or it is smaller than a latent cell.
    pub fn open(&self, path: &Path, config: &VaeConfig) -> Result<Fitted> {
        let options = SourceOptions {
            clip: self.clip,
            opacity: config.has_opacity(),
            ffmpeg: self.ffmpeg.clone(),
        };
        Ok(Fitted::new(open_source(path, &options)?, self.fit(config))?)
    }

    /// What [`Self::open`] gives for `config`, of an input that was opened for a model without opacity.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reopen(&self, opened: Fitted, config: &VaeConfig) -> Result<Fitted> {
        match config.has_opacity() {
            true => self.open(opened.path(), config),
            // A video is not counted again.
            false => Ok(opened.refitted(self.fit(config))?),
        }
    }

    fn fit(&self, config: &VaeConfig) -> Fit {
        Fit::to(config, self.edges)
    }
}

impl Encoding {
    fn extent(&self, spec: &Spec) -> Extent {
        let config = self.vae.config();
        Extent {
            frames: config.latent_frames(spec.frames),
            cells: spec.size.map(|n| n / config.spatial()),
        }
    }
}

impl Work for Encoding {
    type Job = PixelInput;
    type Piece = Group;
    type Result = Raw;

    const LABEL: &'static str = "encoding";
    const UNIT: &'static str = "frames";

    fn name(&self, job: &PixelInput) -> String {
        job.path.display().to_string()
    }

    fn units(&self, job: &PixelInput) -> f64 {
        job.spec.all_frames() as f64
    }

    fn piece_units(&self, Group(frames): &Group) -> f64 {
        frames.shape()[1] as f64
    }

    fn need(&self, job: &PixelInput) -> Result<Option<Need>> {
        let Spec { frames, size, .. } = job.spec;
        let clip = self.extent(&job.spec);
        if clip.is_clip() && self.vae.config().has_opacity() {
            anyhow::bail!(
                "this is a clip of {frames} frames, but {} is {LAYERED}, which takes images",
                self.vae.name()
            );
        }
        if clip.is_clip() && !self.vae.has_time() {
            anyhow::bail!(
                "this is a clip of {frames} frames, but {} has the 2-D layout, which takes single frames only",
                self.vae.name()
            );
        }
        let frames_of_a_step = match clip.is_clip() {
            true => self.vae.config().temporal(),
            false => 1,
        };
        Ok(self.vae.encode_memory(clip).map(|engine| Need {
            what: format!("encoding {frames} frames of {}x{} pixels", size[1], size[0]),
            engine,
            piece: frames_of_a_step * job.spec.frame_bytes(),
            result: engine.output * clip.frames,
            is_finished: false,
            allowed: self.allowed,
        }))
    }

    fn source(&self, job: &PixelInput) -> Result<Source<Group>> {
        let config = self.vae.config();
        let mut opened = job.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let source = opened.take();
        Ok(Box::new(Groups {
            source: source.ok_or_else(|| anyhow::anyhow!("it was read before"))?,
            temporal: config.temporal(),
            has_opacity: config.has_opacity(),
        }))
    }

    fn stage<'a>(&'a self, job: &'a PixelInput) -> Result<Box<dyn Stage<Group, Raw> + 'a>> {
        let extent = self.extent(&job.spec);
        Ok(Box::new(Clips {
            vae: &self.vae,
            extent,
            session: self.vae.encoder(extent)?,
            latents: Latents::default(),
        }))
    }

    fn sink<'a>(&'a self, job: &'a PixelInput) -> Result<Box<dyn Sink<Raw> + 'a>> {
        Ok(Box::new(LatentSink { work: self, job }))
    }

    fn pixels(&self, raw: &Raw) -> u64 {
        let config = self.vae.config();
        let [b, _, t, h, w] = raw.array().dims("latent").unwrap_or_default();
        let frame = h * w * config.spatial() * config.spatial();
        (b * config.frames(t) * frame) as u64
    }
}

/// Frames in groups as the encoder takes them: the first of each item by itself, then four by four.
struct Groups {
    source: Fitted,
    temporal: usize,
    has_opacity: bool,
}

impl Iterator for Groups {
    type Item = Result<Group>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut frames = Vec::new();
        loop {
            let frame = match self.source.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(e) => return Some(Err(e.into())),
            };
            frame.notes.iter().for_each(ui::warn);
            let is_first = frame.index == 0;
            frames.push(match self.has_opacity {
                true => match join(&frame.pixels, frame.opacity.as_ref()) {
                    Ok(joined) => joined,
                    Err(e) => return Some(Err(e.into())),
                },
                false => frame.pixels,
            });
            if is_first || frames.len() == self.temporal {
                return Some(join_frames(frames).map(Group).map_err(Into::into));
            }
        }
    }
}

/// The items of a batch on their way.
struct Clips<'a> {
    vae: &'a Vae,
    extent: Extent,
    session: EncodeSession,
    latents: Latents,
}

impl Stage<Group, Raw> for Clips<'_> {
    fn step(&mut self, Group(frames): Group, progress: Progress<'_>) -> Result<Vec<Raw>> {
        if self.session.is_done() {
            self.session = self.vae.encoder(self.extent)?;
        }
        let latent = self.session.step_with(&frames, progress)?;
        self.latents.push(latent, self.session.is_done())?;
        Ok(Vec::new())
    }

    fn finish(&mut self) -> Result<Vec<Raw>> {
        Ok(vec![self.latents.finish()?])
    }
}

struct LatentSink<'a> {
    work: &'a Encoding,
    job: &'a PixelInput,
}

impl Sink<Raw> for LatentSink<'_> {
    fn push(&mut self, raw: Raw) -> Result<()> {
        let text = match self.work.keeps_text {
            true => {
                let (text, left_out) = comfy_text(self.job.spec.text.clone());
                let path = self.job.target.display();
                left_out
                    .iter()
                    .for_each(|note| ui::note(format!("{path}: {note}")));
                text
            }
            false => Vec::new(),
        };
        let options = WriteOptions {
            space: Some(self.work.space),
            text,
            ..WriteOptions::default()
        };
        write_raw(&self.job.target, &raw, self.work.vae.config(), &options)?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        Ok(vec![Written {
            path: self.job.target.clone(),
            note: Some(self.work.space.to_string()),
        }])
    }
}
