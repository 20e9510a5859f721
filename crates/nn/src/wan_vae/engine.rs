//! `core`'s engine over the burn modules: arrays in and out, state checked at the door.

use burn::tensor::Device;
use vae2x_core::config::{SPATIAL_FACTOR, TEMPORAL_FACTOR};
use vae2x_core::engine::{DecodeSession, EncodeSession, Engine, Progress, pixel_shuffle};
use vae2x_core::weights::Weights;
use vae2x_core::{Array, Error, Result, VaeConfig};

use super::{Decoder, DecoderState, Encoder, EncoderState};
use crate::array::{to_array, to_tensor};

/// Which halves of the model to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Decoding only.
    Decoder,
    /// Encoding only.
    Encoder,
    /// Both.
    Both,
}

/// The VAE on a burn device.
#[derive(Debug)]
pub struct BurnEngine {
    name: String,
    config: VaeConfig,
    has_time: bool,
    device: Device,
    decoder: Option<Decoder>,
    encoder: Option<Encoder>,
}

impl BurnEngine {
    /// Loads `parts` of a model onto `device`; `name` is for logs.
    ///
    /// # Errors
    /// If the configuration is impossible or `weights` lack a tensor.
    pub fn load(name: &str, weights: &dyn Weights, parts: Parts, device: &Device) -> Result<Self> {
        let decoder = matches!(parts, Parts::Decoder | Parts::Both).then(|| Decoder::load(weights, device));
        let encoder = matches!(parts, Parts::Encoder | Parts::Both).then(|| Encoder::load(weights, device));
        Ok(Self {
            name: name.into(),
            config: weights.config().clone(),
            has_time: weights.has_time(),
            device: device.clone(),
            decoder: decoder.transpose()?,
            encoder: encoder.transpose()?,
        })
    }
}

impl Engine for BurnEngine {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn config(&self) -> &VaeConfig {
        &self.config
    }

    fn decoder(&self) -> Box<dyn DecodeSession + '_> {
        Box::new(Decoding { engine: self, state: DecoderState::default(), clip: Clip::default() })
    }

    fn encoder(&self) -> Box<dyn EncodeSession + '_> {
        Box::new(Encoding { engine: self, state: EncoderState::default(), clip: Clip::default() })
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
                    expected: format!("{}x{} as in the clip's earlier frames", before[1], before[0]),
                    got: format!("{}x{}", size[1], size[0]),
                })
            }
        }
    }
}

struct Decoding<'a> {
    engine: &'a BurnEngine,
    state: DecoderState,
    clip: Clip,
}

impl DecodeSession for Decoding<'_> {
    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array> {
        let decoder = self.engine.decoder.as_ref().ok_or_else(|| not_loaded("decoder"))?;
        let [channels, t, h, w] = latent.dims("latent")?;
        check(channels == self.engine.config.z_dim && t > 0 && h > 0 && w > 0, "latent", || {
            (format!("[{}, t, h, w], none of them 0", self.engine.config.z_dim), format!("{:?}", latent.shape()))
        })?;
        let first = self.clip.enter("latent frame", [h, w])?;
        if !self.engine.has_time && (t > 1 || !first) {
            return Err(no_time());
        }
        let scale = self.engine.config.scale()?;
        let mut frames = Vec::with_capacity(t);
        for i in 0..t {
            progress(i as f32 / t as f32);
            let frame = to_tensor::<4>(&latent.narrow1(i..i + 1), "latent", &self.engine.device)?.unsqueeze::<5>();
            let raw = to_array(decoder.step(frame, &mut self.state)?.squeeze_dim::<4>(0))?;
            frames.push(pixel_shuffle(&raw, scale)?);
        }
        progress(1.0);
        Array::concat1(&frames)
    }

    fn reset(&mut self) {
        self.state = DecoderState::default();
        self.clip = Clip::default();
    }
}

struct Encoding<'a> {
    engine: &'a BurnEngine,
    state: EncoderState,
    clip: Clip,
}

impl EncodeSession for Encoding<'_> {
    fn step(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array> {
        let encoder = self.engine.encoder.as_ref().ok_or_else(|| not_loaded("encoder"))?;
        let [channels, f, h, w] = pixels.dims("pixels")?;
        let whole = |n: usize| n > 0 && n.is_multiple_of(SPATIAL_FACTOR);
        check(channels == 3 && f > 0 && whole(h) && whole(w), "pixels", || {
            (format!("[3, frames, H, W], H and W multiples of {SPATIAL_FACTOR}"), format!("{:?}", pixels.shape()))
        })?;
        let first = self.clip.enter("frame", [h, w])?;
        let head = usize::from(first);
        check((f - head).is_multiple_of(TEMPORAL_FACTOR), "frames", || {
            let expected = if first { "1 + 4 k in a clip's first step" } else { "4 k in a clip's later steps" };
            (expected.into(), format!("{f}"))
        })?;
        if !self.engine.has_time && (f > 1 || !first) {
            return Err(no_time());
        }
        let starts = (0..head).chain((head..f).step_by(TEMPORAL_FACTOR));
        let mut latents = Vec::new();
        for start in starts {
            progress(start as f32 / f as f32);
            let end = if start < head { head } else { start + TEMPORAL_FACTOR };
            let chunk = to_tensor::<4>(&pixels.narrow1(start..end), "pixels", &self.engine.device)?.unsqueeze::<5>();
            let moments = encoder.step(chunk, &mut self.state);
            let mean = moments.narrow(1, 0, self.engine.config.z_dim);
            latents.push(to_array(mean.squeeze_dim::<4>(0))?);
        }
        progress(1.0);
        Array::concat1(&latents)
    }

    fn reset(&mut self) {
        self.state = EncoderState::default();
        self.clip = Clip::default();
    }
}

fn check(holds: bool, what: &str, words: impl FnOnce() -> (String, String)) -> Result<()> {
    if holds {
        return Ok(());
    }
    let (expected, got) = words();
    Err(Error::Shape { what: what.into(), expected, got })
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
