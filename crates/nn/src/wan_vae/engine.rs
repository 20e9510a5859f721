//! `core`'s engine over the burn modules: arrays in and out, sizes checked at the door.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use vae2x_core::config::{SPATIAL_FACTOR, TEMPORAL_FACTOR};
use vae2x_core::engine::{DecodeSession, EncodeSession, Engine, Progress};
use vae2x_core::weights::Weights;
use vae2x_core::{Array, Error, Result, VaeConfig};

use super::pass::{DecodePass, EncodePass, Place};
use super::plan::Limits;
use super::stream::Stream;
use super::{Decoder, Encoder};
use crate::device::{check_dtype, device_error, guarded};

/// Which halves of the model to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// Decoding only.
    Decoder,
    /// Encoding only.
    Encoder,
    /// Both.
    #[default]
    Both,
}

/// How an engine is to be set up.
#[derive(Clone, Debug)]
pub struct BurnOptions {
    /// For logs and errors.
    pub name: String,
    /// What to load.
    pub parts: Parts,
    /// Of the decoder's weights and arithmetic. Norms are in `f32` whatever it is.
    pub decoder_dtype: FloatDType,
    /// Of the encoder's.
    pub encoder_dtype: FloatDType,
    /// What the device can hold.
    pub limits: Limits,
    /// Hears of retries with smaller bands.
    pub notify: Option<fn(&str)>,
}

impl Default for BurnOptions {
    /// Both halves in `f32`, without limits.
    fn default() -> Self {
        Self {
            name: "burn".into(),
            parts: Parts::Both,
            decoder_dtype: FloatDType::F32,
            encoder_dtype: FloatDType::F32,
            limits: Limits::default(),
            notify: None,
        }
    }
}

/// The VAE on a burn device.
#[derive(Debug)]
pub struct BurnEngine {
    name: String,
    config: VaeConfig,
    has_time: bool,
    notify: Option<fn(&str)>,
    decoder: Option<(Decoder, Place)>,
    encoder: Option<(Encoder, Place)>,
}

impl BurnEngine {
    /// Loads a model onto `device`.
    ///
    /// # Errors
    /// If the configuration is impossible, `weights` lack a tensor, or the device lacks the precision;
    /// [`Error::OutOfMemory`] or [`Error::Device`] if the device fails.
    pub fn load(weights: &dyn Weights, options: &BurnOptions, device: &Device) -> Result<Self> {
        guarded(|| {
            let engine = Self::queue(weights, options, device)?;
            // Devices are told to copy and to cast; whether they could, they say when they are waited for.
            device.sync().map_err(|e| device_error(&e.to_string()))?;
            Ok(engine)
        })
    }

    fn queue(weights: &dyn Weights, options: &BurnOptions, device: &Device) -> Result<Self> {
        let place = |dtype: FloatDType| {
            check_dtype(device, dtype)
                .map_err(|e| Error::Unsupported(format!("{}: {e}", options.name)))?;
            Ok(Place::new(weights.config(), device, dtype, options.limits))
        };
        let decoder = matches!(options.parts, Parts::Decoder | Parts::Both).then(|| {
            let place = place(options.decoder_dtype)?;
            Ok((
                Decoder::load(weights, device)?.map(&mut To(place.dtype)),
                place,
            ))
        });
        let encoder = matches!(options.parts, Parts::Encoder | Parts::Both).then(|| {
            let place = place(options.encoder_dtype)?;
            Ok((
                Encoder::load(weights, device)?.map(&mut To(place.dtype)),
                place,
            ))
        });
        Ok(Self {
            name: options.name.clone(),
            config: weights.config().clone(),
            has_time: weights.has_time(),
            notify: options.notify,
            decoder: decoder.transpose()?,
            encoder: encoder.transpose()?,
        })
    }
}

/// Casts a module's parameters.
struct To(FloatDType);

impl ModuleMapper for To {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

impl Engine for BurnEngine {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn config(&self) -> &VaeConfig {
        &self.config
    }

    fn device_memory(&self) -> Option<u64> {
        let place = self.decoder.as_ref().map(|(_, place)| place);
        let place = place.or(self.encoder.as_ref().map(|(_, place)| place))?;
        place
            .device
            .memory_pool_usage()
            .map(|usage| usage.bytes_reserved)
    }

    fn decoder(&self) -> Box<dyn DecodeSession + '_> {
        let pass = self
            .decoder
            .as_ref()
            .map(|(decoder, place)| DecodePass { decoder, place });
        Box::new(Decoding {
            engine: self,
            stream: pass.map(|pass| Stream::new(pass, self.notify)),
            clip: Clip::default(),
        })
    }

    fn encoder(&self) -> Box<dyn EncodeSession + '_> {
        let pass = self
            .encoder
            .as_ref()
            .map(|(encoder, place)| EncodePass { encoder, place });
        Box::new(Encoding {
            engine: self,
            stream: pass.map(|pass| Stream::new(pass, self.notify)),
            clip: Clip::default(),
        })
    }
}

/// The size of a clip's frames, fixed by its first step.
#[derive(Clone, Copy, Debug, Default)]
struct Clip {
    size: Option<[usize; 2]>,
}

impl Clip {
    /// Whether this is the clip's first step.
    fn enter(&mut self, what: &str, size: [usize; 2]) -> Result<bool> {
        match self.size.replace(size) {
            None => Ok(true),
            Some(before) if before == size => Ok(false),
            Some(before) => {
                self.size = Some(before);
                Err(Error::Shape {
                    what: what.into(),
                    expected: format!(
                        "{}x{} as in the clip's earlier frames",
                        before[1], before[0]
                    ),
                    got: format!("{}x{}", size[1], size[0]),
                })
            }
        }
    }
}

struct Decoding<'a> {
    engine: &'a BurnEngine,
    stream: Option<Stream<DecodePass<'a>>>,
    clip: Clip,
}

impl DecodeSession for Decoding<'_> {
    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array> {
        let stream = self.stream.as_mut().ok_or_else(|| not_loaded("decoder"))?;
        let [channels, t, h, w] = latent.dims("latent")?;
        check(
            channels == self.engine.config.z_dim && t > 0 && h > 0 && w > 0,
            "latent",
            || {
                (
                    format!("[{}, t, h, w], none of them 0", self.engine.config.z_dim),
                    format!("{:?}", latent.shape()),
                )
            },
        )?;
        let first = self.clip.enter("latent frame", [h, w])?;
        if !self.engine.has_time && (t > 1 || !first) {
            return Err(no_time());
        }
        if first && t > 1 {
            stream.expect_more();
        }
        let mut frames = Vec::with_capacity(t);
        for i in 0..t {
            let part = &mut |part: f32| progress((i as f32 + part) / t as f32);
            frames.push(stream.step(latent.narrow1(i..i + 1), part)?);
        }
        progress(1.0);
        joined(frames)
    }

    fn reset(&mut self) {
        self.stream.iter_mut().for_each(Stream::reset);
        self.clip = Clip::default();
    }
}

struct Encoding<'a> {
    engine: &'a BurnEngine,
    stream: Option<Stream<EncodePass<'a>>>,
    clip: Clip,
}

impl EncodeSession for Encoding<'_> {
    fn step(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array> {
        let stream = self.stream.as_mut().ok_or_else(|| not_loaded("encoder"))?;
        let [channels, f, h, w] = pixels.dims("pixels")?;
        let whole = |n: usize| n > 0 && n.is_multiple_of(SPATIAL_FACTOR);
        check(
            channels == 3 && f > 0 && whole(h) && whole(w),
            "pixels",
            || {
                (
                    format!("[3, frames, H, W], H and W multiples of {SPATIAL_FACTOR}"),
                    format!("{:?}", pixels.shape()),
                )
            },
        )?;
        let first = self.clip.enter("frame", [h, w])?;
        let head = usize::from(first);
        check((f - head).is_multiple_of(TEMPORAL_FACTOR), "frames", || {
            let expected = if first {
                "1 + 4 k in a clip's first step"
            } else {
                "4 k in a clip's later steps"
            };
            (expected.into(), format!("{f}"))
        })?;
        if !self.engine.has_time && (f > 1 || !first) {
            return Err(no_time());
        }
        if first && f > 1 {
            stream.expect_more();
        }
        let starts = (0..head).chain((head..f).step_by(TEMPORAL_FACTOR));
        let mut latents = Vec::new();
        for start in starts {
            let end = if start < head {
                head
            } else {
                start + TEMPORAL_FACTOR
            };
            let part =
                &mut |part: f32| progress((start as f32 + part * (end - start) as f32) / f as f32);
            latents.push(stream.step(pixels.narrow1(start..end), part)?);
        }
        progress(1.0);
        joined(latents)
    }

    fn reset(&mut self) {
        self.stream.iter_mut().for_each(Stream::reset);
        self.clip = Clip::default();
    }
}

/// Parts joined along axis 1; a single one is not copied.
fn joined(mut parts: Vec<Array>) -> Result<Array> {
    if parts.len() == 1 {
        Ok(parts.remove(0))
    } else {
        Array::concat1(&parts)
    }
}

fn check(holds: bool, what: &str, words: impl FnOnce() -> (String, String)) -> Result<()> {
    if holds {
        return Ok(());
    }
    let (expected, got) = words();
    Err(Error::Shape {
        what: what.into(),
        expected,
        got,
    })
}

fn not_loaded(part: &str) -> Error {
    Error::Unsupported(format!("the {part} was not loaded"))
}

fn no_time() -> Error {
    Error::Unsupported(
        "these weights are of the 2-D layout, which has no temporal taps: they take single frames only, not clips"
            .into(),
    )
}
