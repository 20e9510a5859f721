//! Whole batches through an engine: latents to pixels and back.

use std::sync::Arc;

use vae2x_core::config::{SPATIAL_FACTOR, TEMPORAL_FACTOR};
use vae2x_core::engine::{DecodeSession, EncodeSession, Engine};
use vae2x_core::latent::Raw;
use vae2x_core::weights::Weights;
use vae2x_core::{Array, Error, Result, VaeConfig, time};
use vae2x_nn::wan_vae::Parts;

use crate::device::{self, EngineOptions};

/// A decoded frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Index of the batch item.
    pub item: usize,
    /// Index of the frame in its clip.
    pub index: usize,
    /// `[3, H, W]` in [-1, 1].
    pub pixels: Array,
}

/// Decodes latents to pixels.
pub struct Decoder {
    engine: Box<dyn Engine>,
}

impl Decoder {
    /// Loads the decoder of a model.
    ///
    /// # Errors
    /// If the weights cannot be read or their configuration is impossible.
    pub fn load(weights: Arc<dyn Weights>, options: &EngineOptions) -> Result<Self> {
        Ok(Self {
            engine: device::load(weights, Parts::Decoder, options)?,
        })
    }

    /// The engine's name, for logs.
    pub fn engine(&self) -> String {
        self.engine.name()
    }

    /// Bytes that the device's allocator holds now for all of this process; about the peak, as allocators keep what they have, but
    /// less after bands were made smaller, which gives memory back. `None` on the processor and through PyTorch.
    pub fn device_memory(&self) -> Option<u64> {
        self.engine.device_memory()
    }

    /// The model's configuration.
    pub fn config(&self) -> &VaeConfig {
        self.engine.config()
    }

    /// Decodes a whole batch.
    ///
    /// # Shapes
    /// `[B, z_dim, T, h, w]` -> `[B, 3, 1 + 4 (T - 1), r 8h, r 8w]` in [-1, 1]
    ///
    /// # Errors
    /// If the latent does not fit the model.
    pub fn decode(&self, latent: &Raw) -> Result<Array> {
        let [batch, _, t, h, w] = latent.array().dims("latent")?;
        let side = self.config().pixels_per_cell()?;
        let mut out = Array::zeros([batch, 3, time::frames(t), side * h, side * w]);
        self.decode_frames(latent, &mut |_| (), |frame| {
            put_frame(&mut out, &frame);
            Ok::<_, Error>(())
        })?;
        Ok(out)
    }

    /// Decodes a batch frame by frame, holding one latent frame's pixels at a time; `progress` hears the number of latent
    /// frames done.
    ///
    /// # Errors
    /// If the latent does not fit the model, or as `each` fails.
    pub fn decode_frames<E: From<Error>>(
        &self,
        latent: &Raw,
        progress: &mut (dyn FnMut(f64) + Send),
        mut each: impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        let [batch, _, latent_frames, _, _] = latent.array().dims("latent")?;
        for item in 0..batch {
            let mut clip = self.clip(latent, item);
            let mut done = item * latent_frames;
            let mut index = 0;
            while let Some(frames) =
                clip.step(&mut |part| progress(done as f64 + f64::from(part)))?
            {
                for pixels in frames {
                    each(Frame {
                        item,
                        index,
                        pixels,
                    })?;
                    index += 1;
                }
                done += 1;
            }
        }
        Ok(())
    }

    /// Starts decoding item `item` of a batch.
    ///
    /// # Panics
    /// If the batch has no such item.
    pub fn clip(&self, latent: &Raw, item: usize) -> DecodedClip<'_> {
        DecodedClip {
            session: self.engine.decoder(),
            latent: latent.array().item(item),
            next: 0,
        }
    }
}

/// The decoding of one batch item, a latent frame at a time.
pub struct DecodedClip<'a> {
    session: Box<dyn DecodeSession + 'a>,
    /// `[z_dim, T, h, w]`
    latent: Array,
    next: usize,
}

impl DecodedClip<'_> {
    /// The frames of the next latent frame, `[3, H, W]` in [-1, 1] each: one of the first, four of later ones; `None` after
    /// the last. `progress` hears the share of this step that is done.
    ///
    /// # Errors
    /// If the latent does not fit the model.
    pub fn step(&mut self, progress: &mut (dyn FnMut(f32) + Send)) -> Result<Option<Vec<Array>>> {
        if self.next == self.latent.shape()[1] {
            return Ok(None);
        }
        let pixels = self
            .session
            .step(&self.latent.narrow1(self.next..self.next + 1), progress)?;
        self.next += 1;
        frames(pixels)?
            .into_iter()
            .map(clamped)
            .collect::<Result<_>>()
            .map(Some)
    }
}

/// `[3, F, H, W]` as F times `[3, H, W]`; a single one is not copied.
fn frames(pixels: Array) -> Result<Vec<Array>> {
    let [c, f, h, w] = pixels.dims("pixels")?;
    match f {
        1 => Ok(vec![pixels.reshape([c, h, w])?]),
        _ => (0..f)
            .map(|i| pixels.narrow1(i..i + 1).reshape([c, h, w]))
            .collect(),
    }
}

/// A frame clamped to [-1, 1].
fn clamped(mut frame: Array) -> Result<Array> {
    check_finite("decoder", frame.data())?;
    frame
        .data_mut()
        .iter_mut()
        .for_each(|x| *x = x.clamp(-1.0, 1.0));
    Ok(frame)
}

/// Damaged weights must not become a picture or a latent that looks whole.
fn check_finite(part: &str, values: &[f32]) -> Result<()> {
    match values.iter().filter(|x| !x.is_finite()).count() {
        0 => Ok(()),
        n => Err(Error::Unsupported(format!(
            "the {part} made {n} of {} values that are not finite: its weights or what it was given are damaged",
            values.len()
        ))),
    }
}

/// Copies a frame to its place in `[B, 3, F, H, W]`.
fn put_frame(out: &mut Array, frame: &Frame) {
    let frames = out.shape()[2];
    let plane = frame.pixels.data().len() / 3;
    for (c, source) in frame.pixels.data().chunks_exact(plane).enumerate() {
        let start = ((frame.item * 3 + c) * frames + frame.index) * plane;
        out.data_mut()[start..start + plane].copy_from_slice(source);
    }
}

/// Encodes pixels to latents.
pub struct Encoder {
    engine: Box<dyn Engine>,
}

impl Encoder {
    /// Loads the encoder of a model.
    ///
    /// # Errors
    /// If the weights cannot be read or their configuration is impossible.
    pub fn load(weights: Arc<dyn Weights>, options: &EngineOptions) -> Result<Self> {
        Ok(Self {
            engine: device::load(weights, Parts::Encoder, options)?,
        })
    }

    /// The engine's name, for logs.
    pub fn engine(&self) -> String {
        self.engine.name()
    }

    /// Bytes that the device's allocator holds now for all of this process; about the peak, as allocators keep what they have, but
    /// less after bands were made smaller, which gives memory back. `None` on the processor and through PyTorch.
    pub fn device_memory(&self) -> Option<u64> {
        self.engine.device_memory()
    }

    /// The model's configuration.
    pub fn config(&self) -> &VaeConfig {
        self.engine.config()
    }

    /// Encodes a whole batch to the means of its raw latents; `progress` hears the number of frames done.
    ///
    /// # Shapes
    /// `[B, 3, 1 + 4 (T - 1), 8h, 8w]` in [-1, 1] -> `[B, z_dim, T, h, w]`
    ///
    /// # Errors
    /// If extents do not divide.
    pub fn encode(&self, pixels: &Array, progress: &mut (dyn FnMut(f64) + Send)) -> Result<Raw> {
        let [batch, _, frames, _, _] = pixels.dims("pixels")?;
        check_frames(frames)?;
        let mut items = Vec::with_capacity(batch);
        for item in 0..batch {
            let pixels = pixels.item(item);
            let mut clip = self.clip();
            let mut start = 0;
            while start < frames {
                let end = (start + if start == 0 { 1 } else { TEMPORAL_FACTOR }).min(frames);
                let done = (item * frames + start) as f64;
                let length = (end - start) as f64;
                clip.step(&pixels.narrow1(start..end), &mut |part| {
                    progress(done + length * f64::from(part))
                })?;
                start = end;
            }
            items.push(clip.finish()?);
        }
        Raw::new(Array::stack(&items)?)
    }

    /// Starts encoding a clip or a picture.
    pub fn clip(&self) -> EncodedClip<'_> {
        EncodedClip {
            session: self.engine.encoder(),
            latents: Vec::new(),
        }
    }
}

/// The encoding of one clip, a few frames at a time: the first by itself, then four by four.
pub struct EncodedClip<'a> {
    session: Box<dyn EncodeSession + 'a>,
    latents: Vec<Array>,
}

impl EncodedClip<'_> {
    /// Encodes the next frames; `progress` hears the share of this step that is done.
    ///
    /// # Shapes
    /// `[3, f, 8h, 8w]` in [-1, 1]; `f` is 1 at first, 4 later
    ///
    /// # Errors
    /// If extents do not divide or the size changes.
    pub fn step(&mut self, pixels: &Array, progress: &mut (dyn FnMut(f32) + Send)) -> Result<()> {
        let latent = self.session.step(pixels, progress)?;
        check_finite("encoder", latent.data())?;
        self.latents.push(latent);
        Ok(())
    }

    /// The raw latent `[z_dim, T, h, w]` of all frames.
    ///
    /// # Errors
    /// If there were none.
    pub fn finish(self) -> Result<Array> {
        Array::concat1(&self.latents)
    }
}

fn check_frames(frames: usize) -> Result<()> {
    if frames > 0 && time::whole_frames(frames) == frames {
        return Ok(());
    }
    Err(Error::Shape {
        what: "frames".into(),
        expected: "1 + 4 k".into(),
        got: format!("{frames}"),
    })
}

/// The largest sizes not above `height` and `width` that the encoder takes.
pub fn whole_cells([height, width]: [usize; 2]) -> [usize; 2] {
    [height, width].map(|n| n / SPATIAL_FACTOR * SPATIAL_FACTOR)
}
