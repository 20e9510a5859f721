//! Images at a multiple of their size: one is enlarged while the next is read and the last written.

use std::path::PathBuf;

use anyhow::Result;
use vae2x::{Extent, Image, Progress, Upscale, Vae};
use vae2x_media::picture::BitDepth;

use crate::run::{Need, Sink, Source, Stage, Work, Written};
use crate::ui;

/// Upscaling, ready to run.
pub struct Upscaling {
    /// The model, whose decoder enlarges.
    pub vae: Vae,
    /// How images are enlarged.
    pub how: Upscale,
    /// Bits per channel; as in each input if not given.
    pub depth: Option<BitDepth>,
    /// Whether metadata is kept.
    pub keeps_metadata: bool,
    /// Bytes that may be used.
    pub allowed: Option<u64>,
}

/// An image and where its enlarged version goes.
pub struct EnlargedImage {
    /// The image.
    pub input: PathBuf,
    /// Its height and width.
    pub size: [usize; 2],
    /// The result.
    pub path: PathBuf,
}

impl Work for Upscaling {
    type Job = EnlargedImage;
    type Piece = Image;
    type Result = Image;

    const LABEL: &'static str = "upscaling";
    const UNIT: &'static str = "images";

    fn name(&self, job: &EnlargedImage) -> String {
        job.input.display().to_string()
    }

    fn units(&self, _: &EnlargedImage) -> f64 {
        1.0
    }

    fn need(&self, job: &EnlargedImage) -> Result<Option<Need>> {
        let [h, w] = job.size;
        let engine = self.vae.upscale_memory(job.size);
        Ok(engine.map(|engine| Need {
            what: format!("enlarging {w}x{h} pixels"),
            engine,
            piece: 3 * h * w * size_of::<f32>(),
            result: engine.output,
            is_finished: true,
            allowed: self.allowed,
        }))
    }

    fn source(&self, job: &EnlargedImage) -> Result<Source<Image>> {
        let path = job.input.clone();
        Ok(Box::new(std::iter::once_with(move || {
            let image = Image::open(&path)?;
            image.notes().iter().for_each(ui::warn);
            Ok(image)
        })))
    }

    fn stage<'a>(&'a self, _: &'a EnlargedImage) -> Result<Box<dyn Stage<Image, Image> + 'a>> {
        // Reads the weights of both halves for images; they stay for the images that follow.
        let image = Extent::image([1, 1]);
        self.vae.encoder(image)?;
        self.vae.decoder(image)?;
        Ok(Box::new(Enlarging(self)))
    }

    fn sink<'a>(&'a self, job: &'a EnlargedImage) -> Result<Box<dyn Sink<Image> + 'a>> {
        Ok(Box::new(ImageFile { work: self, job }))
    }

    fn pixels(&self, result: &Image) -> u64 {
        result.pixels().data().len() as u64 / 3
    }
}

struct Enlarging<'a>(&'a Upscaling);

impl Stage<Image, Image> for Enlarging<'_> {
    fn step(&mut self, image: Image, progress: Progress<'_>) -> Result<Vec<Image>> {
        let Upscaling { vae, how, .. } = self.0;
        Ok(vec![vae.upscale_with(&image, how, progress)?])
    }
}

struct ImageFile<'a> {
    work: &'a Upscaling,
    job: &'a EnlargedImage,
}

impl Sink<Image> for ImageFile<'_> {
    fn push(&mut self, image: Image) -> Result<()> {
        let image = match self.work.keeps_metadata {
            true => image,
            false => image.without_metadata(),
        };
        let notes = image.save_with(&self.job.path, self.work.depth)?;
        notes.iter().for_each(ui::warn);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        let path = self.job.path.clone();
        Ok(vec![Written { path, note: None }])
    }
}
