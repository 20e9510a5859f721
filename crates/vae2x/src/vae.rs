//! [`Vae`]: a model on a device, its operations on whole values, and its sessions.

use std::sync::Arc;

use vae2x_core::engine::{self, Engine, Notify, Progress};
use vae2x_core::latent::Raw;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, Cancel, Estimate, Extent, Precision, Result, VaeConfig};
use vae2x_hub::OnEvent;
use vae2x_media::picture::comfy_text;

use crate::device::{Device, EngineOptions};
use crate::latent::Latent;
use crate::open::open_weights;
use crate::pixels::Pixels;
use crate::session::{DecodeSession, EncodeSession, join_frames};

/// A VAE on a device: one engine with both halves. Weights are read when a half is first used. Cheap to clone.
#[derive(Clone)]
pub struct Vae {
    engine: Arc<dyn Engine>,
    device: Device,
    name: String,
    notify: Option<Notify>,
    cancel: Cancel,
}

/// How a [`Vae`] is to run, before its engine is built.
#[must_use]
pub struct VaeBuilder {
    weights: Arc<dyn Weights>,
    name: String,
    /// What is passed to the callback when the engine is built.
    notes: Vec<String>,
    options: EngineOptions,
}

impl Vae {
    /// Opens a file, a diffusers folder, a hub id `owner/name[:subfolder-or-file]`, or a bundled demo model (`demo:2x`,
    /// `demo:base`). Only headers are read; a model of the hub is fetched into the shared Hugging Face cache first.
    ///
    /// # Errors
    /// If there is no such file or model, the hub cannot be reached, or the weights are not of this model.
    pub fn open(name: &str) -> Result<VaeBuilder> {
        Self::open_with(name, &mut |_| ())
    }

    /// As [`Self::open`]; `on_event` is called with what happens while a model is fetched.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(name: &str, on_event: &mut OnEvent<'_>) -> Result<VaeBuilder> {
        Ok(Self::from_file(open_weights(name, on_event)?))
    }

    /// Takes weights that are open.
    pub fn from_file(weights: VaeWeights) -> VaeBuilder {
        let (name, notes) = (weights.path().display().to_string(), weights.notes());
        VaeBuilder {
            notes,
            ..Self::from_weights(Arc::new(weights), name)
        }
    }

    /// Takes any source of weights; `name` stands for them in messages.
    pub fn from_weights(weights: Arc<dyn Weights>, name: impl Into<String>) -> VaeBuilder {
        VaeBuilder {
            weights,
            name: name.into(),
            notes: Vec::new(),
            options: EngineOptions::default(),
        }
    }

    /// The same model for work that `cancel` can stop: its operations and sessions end with
    /// [`vae2x_core::Error::Cancelled`] soon after the flag is set, and the model can be used again.
    pub fn with_cancel(&self, cancel: &Cancel) -> Self {
        Self {
            cancel: cancel.clone(),
            ..self.clone()
        }
    }

    /// The name of the weights, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine's name, such as `cpu-avx512`.
    pub fn engine(&self) -> String {
        self.engine.name()
    }

    /// The device, never [`Device::Auto`].
    pub fn device(&self) -> Device {
        self.device
    }

    /// The number of threads of this process that compute.
    pub fn threads(&self) -> usize {
        self.engine.threads()
    }

    /// Bytes that a device with its own memory holds now for this process; `None` on the CPU, and where that is unknown.
    pub fn device_memory(&self) -> Option<u64> {
        self.engine.device_memory()
    }

    /// The model's configuration.
    pub fn config(&self) -> &VaeConfig {
        self.engine.config()
    }

    /// Whether the weights can run clips; those of the 2-D layout take images only.
    pub fn has_time(&self) -> bool {
        self.engine.has_time()
    }

    /// The decoder's output in multiples of the base resolution: 1, 2 or 4.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Config`] if the output channels fit none of these.
    pub fn scale(&self) -> Result<usize> {
        self.config().scale()
    }

    /// The peak memory of decoding a clip of this extent; `None` on devices that cut frames to what they can hold.
    pub fn decode_memory(&self, clip: Extent) -> Option<Estimate> {
        self.engine.decode_memory(clip)
    }

    /// The peak memory of encoding to a clip of this extent; `None` on devices that cut frames to what they can hold.
    pub fn encode_memory(&self, clip: Extent) -> Option<Estimate> {
        self.engine.encode_memory(clip)
    }

    /// Starts decoding a clip or an image, one latent frame per step.
    ///
    /// # Errors
    /// [`vae2x_core::Error::ImagesOnly`] for a clip through weights of the 2-D layout; if weights cannot be read.
    pub fn decoder(&self, clip: Extent) -> Result<DecodeSession> {
        let door = engine::Decoder::with_cancel(self.engine.clone(), clip, &self.cancel);
        door.map(DecodeSession::new)
    }

    /// Starts encoding to a clip or an image of this extent.
    ///
    /// # Errors
    /// As [`Self::decoder`].
    pub fn encoder(&self, clip: Extent) -> Result<EncodeSession> {
        let door = engine::Encoder::with_cancel(self.engine.clone(), clip, &self.cancel);
        door.map(EncodeSession::new)
    }

    /// Decodes a latent: `[B, z, T, h, w]` -> `[B, 3, 1 + 4 (T - 1), r 8h, r 8w]` in [-1, 1].
    ///
    /// A model with opacity takes latent frames as the layers of an image: `[B, z, L, h, w]` -> `[B L, 4, 1, r 8h, r 8w]`.
    ///
    /// A file's latent is settled as raw or normalized first; where that is doubtful, the callback of
    /// [`VaeBuilder::notify`] is called. For long clips, [`Self::decoder`] holds one latent frame's pixels at a time.
    ///
    /// # Errors
    /// If the latent is not of this model, or as [`DecodeSession::step`].
    pub fn decode(&self, latent: &Latent) -> Result<Pixels> {
        let raw = self.settle(latent)?;
        let [batch, _, frames, _, _] = raw.array().dims("latent")?;
        let mut items = Vec::with_capacity(batch);
        for item in 0..batch {
            let mut session = self.decoder(Extent::of(raw.array())?)?;
            let mut planes = Vec::with_capacity(self.config().frames(frames));
            for t in 0..frames {
                planes.extend(session.step(&raw.frame(item, t))?);
            }
            items.push(join_frames(planes)?);
        }
        Ok(Pixels::new(Array::stack(&items)?)?.with_text(latent.text().to_vec()))
    }

    /// Encodes pixels to the mean of their latent: `[B, 3, 1 + 4 (T - 1), 8h, 8w]` -> `[B, z, T, h, w]`. A model with opacity
    /// takes four channels, and three as opaque, and images only.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] if sides are not whole cells or frames do not fill latent frames; see
    /// [`Pixels::fitted`].
    pub fn encode(&self, pixels: &Pixels) -> Result<Latent> {
        self.encode_with(pixels, &mut |_| ())
    }

    /// As [`Self::encode`]; `progress` is called with the completed fraction.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_with(&self, pixels: &Pixels, progress: Progress<'_>) -> Result<Latent> {
        let config = self.config();
        let pixels = pixels.with_channels(config.image_channels)?;
        let [batch, _, frames, h, w] = pixels.array().dims("pixels")?;
        let clip = Extent {
            frames: config.latent_frames(frames),
            cells: [h, w].map(|n| n / config.spatial()),
        };
        let mut items = Vec::with_capacity(batch);
        for item in 0..batch {
            let values = pixels.array().item(item);
            let mut session = self.encoder(clip)?;
            let mut latents = Vec::with_capacity(clip.frames);
            let mut start = 0;
            while start < frames {
                let end = (start + session.next_frames()).min(frames);
                let (done, all) = ((item * frames + start) as f32, (batch * frames) as f32);
                let taken = (end - start) as f32;
                let part = &mut |part: f32| progress((done + taken * part) / all);
                latents.push(session.step_with(&values.narrow1(start..end), part)?);
                start = end;
            }
            items.push(Array::concat1(&latents)?);
        }
        let raw = Raw::new(Array::stack(&items)?)?;
        let (text, _) = comfy_text(pixels.text().to_vec());
        Ok(Latent::encoded(raw, config).with_text(text))
    }

    /// The raw latent for this model; a doubtful decision about a file is passed to the callback.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] if the channels are not the model's.
    pub fn settle(&self, latent: &Latent) -> Result<Raw> {
        let (raw, decision) = latent.clone().settle(self.config())?;
        let raw = match self.config().has_opacity() {
            true => raw.frames_as_items(),
            false => raw,
        };
        if let (Some(notify), Some(warning)) = (&self.notify, decision.and_then(|d| d.warning())) {
            notify(&warning);
        }
        Ok(raw)
    }
}

impl VaeBuilder {
    /// The device; [`Device::Auto`] if not given.
    pub fn device(mut self, device: Device) -> Self {
        self.options.device = device;
        self
    }

    /// The precision of the decoder's weights and arithmetic; the CPU computes in `f32` and keeps weights in `f32` or bf16.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.options.precision = precision;
        self
    }

    /// The encoder's precision, `f32` if not given; the CPU keeps it in `f32` whatever it is.
    pub fn encoder_precision(mut self, precision: Precision) -> Self {
        self.options.encoder_precision = precision;
        self
    }

    /// Bytes that a device may use, to which frames are cut into bands; all that the device has if `None`.
    pub fn memory(mut self, bytes: Option<u64>) -> Self {
        self.options.memory = bytes;
        self
    }

    /// Models that hold the state of a clip on the same device at the same time, this one included: each may use an equal
    /// part of its memory. 1 if not given.
    pub fn models(mut self, count: u64) -> Self {
        self.options.models = count;
        self
    }

    /// The number of CPU threads; all cores if `None`.
    pub fn threads(mut self, threads: Option<usize>) -> Self {
        self.options.threads = threads.unwrap_or(0);
        self
    }

    /// A callback for notes and warnings: a doubtful latent, tensors that are ignored, GPUs that are skipped, retries with
    /// smaller bands.
    pub fn notify(mut self, notify: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.options.notify = Some(Arc::new(notify));
        self
    }

    /// The model's configuration.
    pub fn config(&self) -> &VaeConfig {
        self.weights.config()
    }

    /// Builds the engine. Weights are not read yet.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Missing`] if the device is not in this build, [`vae2x_core::Error::NoDevice`] if it is not
    /// there or cannot compute in the precision, [`vae2x_core::Error::Config`] if the configuration is impossible.
    pub fn build(self) -> Result<Vae> {
        if let Some(notify) = &self.options.notify {
            self.notes.iter().for_each(|note| notify(note));
        }
        let (engine, device) = self.options.engine(self.weights)?;
        Ok(Vae {
            engine,
            device,
            name: self.name,
            notify: self.options.notify,
            cancel: Cancel::new(),
        })
    }
}
