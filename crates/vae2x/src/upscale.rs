//! Images at a multiple of their size, by encoding them and decoding with a 2x or 4x decoder; and the highres fix.
//!
//! Sides that are not multiples of a latent cell are extended by their mirror image and cropped again, so that an image of any
//! size comes out at exactly twice that. Opacity is resized separately; the colours of clear pixels are first filled from nearby
//! ones, since the model would draw them into the edges.

use vae2x_core::engine::Progress;
use vae2x_core::latent::Raw;
use vae2x_core::{Array, Error, Estimate, Extent, Result};
use vae2x_media::fit::{corner, mirror};
use vae2x_media::match_color::{Matching, match_color};
use vae2x_media::opacity::{fill_clear, join, split};
use vae2x_media::pixels::Overshoot;
use vae2x_media::resample::{Filter, resize_planes};

use crate::finish::{Detail, low_matching};
use crate::image::Image;
use crate::latent::Latent;
use crate::session::{DecodeSession, EncodeSession, join_frames};
use crate::vae::Vae;

/// The share of the time that encoding takes: decoding to twice the size takes about as long.
const ENCODING: f32 = 0.5;

/// How an image is enlarged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upscale {
    /// Gives the result the input's colours, place by place, without touching detail.
    pub match_color: bool,
    /// The change of detail, last of all.
    pub detail: Detail,
}

impl Vae {
    /// Refuses decoders at base resolution.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a decoder at base resolution.
    pub fn require_enlarging(&self) -> Result<()> {
        match self.scale()? {
            1 => Err(Error::BadRequest(format!(
                "{} has {} output channels and decodes at 1x; this command needs a 2x decoder (12 channels), such as demo:2x or \
                 spacepxl/Wan2.1-VAE-upscale2x",
                self.name(),
                self.config().out_channels
            ))),
            _ => Ok(()),
        }
    }

    /// An image at the decoder's multiple of its size, opacity and texts included.
    ///
    /// # Errors
    /// As [`Self::require_enlarging`], and as encoding and decoding.
    pub fn upscale(&self, image: &Image, how: &Upscale) -> Result<Image> {
        self.upscale_with(image, how, &mut |_| ())
    }

    /// As [`Self::upscale`]; `progress` is called with the completed fraction.
    ///
    /// # Errors
    /// As [`Self::upscale`].
    pub fn upscale_with(
        &self,
        image: &Image,
        how: &Upscale,
        progress: Progress<'_>,
    ) -> Result<Image> {
        self.require_enlarging()?;
        let [_, h, w] = image.pixels().dims("image")?;
        let filled;
        let colours = match image.opacity() {
            Some(opacity) => {
                filled = fill_clear(image.pixels(), opacity)?;
                &filled
            }
            None => image.pixels(),
        };
        let whole = mirror(colours, self.whole_cells([h, w]))?;
        let mut large = self.round_trip(&whole, progress)?;
        if how.match_color {
            large = match_color(&large, &whole, low_matching(self.config())?)?;
        }
        let scale = self.scale()?;
        let size = [h, w].map(|n| n * scale);
        let pixels = Overshoot::Clamp.limit(how.detail.apply(corner(&large, size)?)?);
        let opacity = match image.opacity() {
            Some(opacity) => Some(resize_planes(opacity, size, Filter::CatmullRom)?),
            None => None,
        };
        Ok(image.with_pixels(pixels, opacity))
    }

    /// The peak memory of enlarging an image of `size`; `None` on devices that cut frames to what they can hold.
    pub fn upscale_memory(&self, size: [usize; 2]) -> Option<Estimate> {
        let clip = Extent::image(self.whole_cells(size).map(|n| n / self.config().spatial()));
        Some(in_turn(
            self.encode_memory(clip)?,
            self.decode_memory(clip)?,
        ))
    }

    /// Starts enlarging a clip of `frames` frames of `size` pixels, in memory that does not grow with it.
    ///
    /// # Errors
    /// As [`Self::require_enlarging`] and [`Self::decoder`]; [`Error::BadRequest`] for a clip without frames.
    pub fn enlarger(
        &self,
        frames: usize,
        size: [usize; 2],
        how: &Upscale,
    ) -> Result<EnlargeSession> {
        self.require_enlarging()?;
        if self.config().has_opacity() {
            return Err(Error::BadRequest(format!(
                "{} has a channel for opacity; it takes images, not clips",
                self.name()
            )));
        }
        let clip = self.enlarged_from(frames, size)?;
        Ok(EnlargeSession {
            encoder: self.encoder(clip)?,
            decoder: self.decoder(clip)?,
            whole: self.whole_cells(size),
            scale: self.scale()?,
            matching: how
                .match_color
                .then(|| low_matching(self.config()))
                .transpose()?,
            detail: how.detail,
            size,
            left: frames,
        })
    }

    /// The peak memory of enlarging a clip; `None` on devices that cut frames to what they can hold.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a clip without frames.
    pub fn enlarge_memory(&self, frames: usize, size: [usize; 2]) -> Result<Option<Estimate>> {
        let clip = self.enlarged_from(frames, size)?;
        let both = self.encode_memory(clip).zip(self.decode_memory(clip));
        // Both keep the past of their layers for the whole clip.
        Ok(both.map(|(encoding, decoding)| Estimate {
            weights: encoding.weights + decoding.weights,
            working: encoding.working + decoding.working,
            output: encoding.output + decoding.output,
        }))
    }

    /// The extent of the latent between the halves; its last latent frame may stand for frames that are not there.
    fn enlarged_from(&self, frames: usize, size: [usize; 2]) -> Result<Extent> {
        let Some(later) = frames.checked_sub(1) else {
            return Err(Error::BadRequest("a clip without frames".into()));
        };
        Ok(Extent {
            frames: 1 + later.div_ceil(self.config().temporal()),
            cells: self.whole_cells(size).map(|n| n / self.config().spatial()),
        })
    }

    /// The smallest whole cells, in pixels, that hold `size`.
    fn whole_cells(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|n| n.next_multiple_of(self.config().spatial()))
    }

    /// Encodes and decodes `[3, 8h, 8w]`. A model with opacity takes it as opaque.
    fn round_trip(&self, pixels: &Array, progress: Progress<'_>) -> Result<Array> {
        let pixels = match self.config().has_opacity() {
            true => join(pixels, None)?,
            false => pixels.clone(),
        };
        let [c, h, w] = pixels.dims("pixels")?;
        let clip = Extent::image([h, w].map(|n| n / self.config().spatial()));
        let frame = pixels.reshape([c, 1, h, w])?;
        let latent = self
            .encoder(clip)?
            .step_with(&frame, &mut |part| progress(ENCODING * part))?;
        let decoded = self.decoder(clip)?.step_with(&latent, &mut |part| {
            progress(ENCODING + (1.0 - ENCODING) * part)
        })?;
        let [h, w] = [h, w].map(|n| n * self.config().scale().unwrap_or(1));
        let decoded = join_frames(decoded)?.reshape([c, h, w])?;
        Ok(split(decoded)?.0)
    }

    /// The highres fix: a latent for a second pass of the diffusion model, decoded at the decoder's multiple of its size and
    /// encoded again. For long clips, [`Self::refiner`] holds one latent frame at a time.
    ///
    /// # Shapes
    /// `[B, z, T, h, w]` -> `[B, z, T, r h, r w]`
    ///
    /// # Errors
    /// As [`Self::upscale`].
    pub fn refine(&self, latent: &Latent) -> Result<Latent> {
        self.refine_with(latent, &mut |_| ())
    }

    /// As [`Self::refine`]; `progress` is called with the completed fraction.
    ///
    /// # Errors
    /// As [`Self::refine`].
    pub fn refine_with(&self, latent: &Latent, progress: Progress<'_>) -> Result<Latent> {
        let raw = self.settle(latent)?;
        let [batch, _, frames, _, _] = raw.array().dims("latent")?;
        let mut items = Vec::with_capacity(batch);
        for item in 0..batch {
            let mut session = self.refiner(Extent::of(raw.array())?)?;
            let steps = (0..frames).map(|t| {
                let (done, all) = ((item * frames + t) as f32, (batch * frames) as f32);
                let part = &mut |part: f32| progress((done + part) / all);
                session.step_with(&raw.frame(item, t), part)
            });
            items.push(Array::concat1(&steps.collect::<Result<Vec<_>>>()?)?);
        }
        let raw = Raw::new(Array::stack(&items)?)?;
        Ok(Latent::encoded(raw, self.config()).with_text(latent.text().to_vec()))
    }

    /// Starts refining a clip or an image of this extent.
    ///
    /// # Errors
    /// As [`Self::require_enlarging`] and [`Self::decoder`].
    pub fn refiner(&self, clip: Extent) -> Result<RefineSession> {
        self.require_enlarging()?;
        Ok(RefineSession {
            decoder: self.decoder(clip)?,
            encoder: self.encoder(self.refined(clip)?)?,
        })
    }

    /// The peak memory of refining a clip of this extent; `None` on devices that cut frames to what they can hold.
    ///
    /// # Errors
    /// [`Error::Config`] if the decoder has no scale.
    pub fn refine_memory(&self, clip: Extent) -> Result<Option<Estimate>> {
        let encoding = self.encode_memory(self.refined(clip)?);
        let both = self.decode_memory(clip).zip(encoding);
        Ok(both.map(|(decoding, encoding)| in_turn(decoding, encoding)))
    }

    /// The extent of a refined clip.
    fn refined(&self, clip: Extent) -> Result<Extent> {
        let scale = self.scale()?;
        Ok(Extent {
            cells: clip.cells.map(|n| n * scale),
            ..clip
        })
    }
}

/// The highres fix of one clip or image: a latent frame's pixels are encoded as soon as they are decoded, so memory does not
/// grow with the clip.
pub struct RefineSession {
    decoder: DecodeSession,
    encoder: EncodeSession,
}

impl RefineSession {
    /// Whether all latent frames have been refined.
    pub fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Refines the next latent frame: `[z, 1, h, w]`, raw -> `[z, 1, r h, r w]`, raw.
    ///
    /// # Errors
    /// As [`DecodeSession::step`].
    pub fn step(&mut self, latent: &Array) -> Result<Array> {
        self.step_with(latent, &mut |_| ())
    }

    /// As [`Self::step`]; `progress` is called with the completed fraction of this step.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_with(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array> {
        // Pixels to encode are four times those at base resolution, where the decoder works.
        const DECODING: f32 = 0.2;
        let decoding = &mut |part: f32| progress(DECODING * part);
        let frames = join_frames(self.decoder.step_with(latent, decoding)?)?;
        let encoding = &mut |part: f32| progress(DECODING + (1.0 - DECODING) * part);
        self.encoder.step_with(&frames, encoding)
    }
}

/// The enlarging of one clip: each latent frame is decoded as soon as it is encoded. A clip that ends within a latent frame is
/// continued by its last frame, and cut again.
pub struct EnlargeSession {
    encoder: EncodeSession,
    decoder: DecodeSession,
    size: [usize; 2],
    /// The size in whole cells.
    whole: [usize; 2],
    scale: usize,
    matching: Option<Matching>,
    detail: Detail,
    /// Frames to come.
    left: usize,
}

impl EnlargeSession {
    /// Whether all frames have been enlarged.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The number of frames that the next step takes: 1 at first, 4 later, fewer at the end.
    pub fn next_frames(&self) -> usize {
        self.encoder.next_frames().min(self.left)
    }

    /// Enlarges the next frames, of which there are [`Self::next_frames`].
    ///
    /// # Shapes
    /// `[3, H, W]` in [-1, 1] -> `[3, r H, r W]`, as many
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of frames or another size; as encoding and decoding.
    pub fn step(&mut self, frames: &[Array]) -> Result<Vec<Array>> {
        self.step_with(frames, &mut |_| ())
    }

    /// As [`Self::step`]; `progress` is called with the completed fraction of this step.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_with(&mut self, frames: &[Array], progress: Progress<'_>) -> Result<Vec<Array>> {
        let (given, taken) = (frames.len(), self.next_frames());
        let Some(last) = frames.last().filter(|_| given == taken) else {
            return Err(Error::Shape {
                what: "frames of a step".into(),
                expected: taken.to_string(),
                got: given.to_string(),
            });
        };
        let added = self.encoder.next_frames() - given;
        let whole = frames
            .iter()
            .chain(std::iter::repeat_n(last, added))
            .map(|frame| self.whole(frame))
            .collect::<Result<Vec<_>>>()?;
        let joined = join_frames(whole.clone())?;
        let encoding = &mut |part: f32| progress(ENCODING * part);
        let latent = self.encoder.step_with(&joined, encoding)?;
        drop(joined);
        let decoding = &mut |part: f32| progress(ENCODING + (1.0 - ENCODING) * part);
        let decoded = self.decoder.step_with(&latent, decoding)?;
        self.left -= given;
        let pairs = decoded.into_iter().zip(&whole).take(given);
        pairs
            .map(|(large, whole)| self.finish(large, whole))
            .collect()
    }

    /// A frame continued to whole cells.
    fn whole(&self, frame: &Array) -> Result<Array> {
        let [_, h, w] = frame.dims("frame")?;
        match [h, w] == self.size {
            true => mirror(frame, self.whole),
            false => Err(Error::Shape {
                what: "frame".into(),
                expected: format!("{}x{} pixels", self.size[1], self.size[0]),
                got: format!("{w}x{h}"),
            }),
        }
    }

    fn finish(&self, mut large: Array, whole: &Array) -> Result<Array> {
        if let Some(matching) = self.matching {
            large = match_color(&large, whole, matching)?;
        }
        let size = self.size.map(|n| n * self.scale);
        let pixels = self.detail.apply(corner(&large, size)?)?;
        Ok(Overshoot::Clamp.limit(pixels))
    }
}

/// The memory of two halves or models that are loaded at once and compute in turn.
pub fn in_turn(a: Estimate, b: Estimate) -> Estimate {
    Estimate {
        weights: a.weights + b.weights,
        working: a.working.max(b.working),
        output: a.output + b.output,
    }
}
