//! `core`'s engine over the burn modules: arrays in and out, each half of the model loaded on first use.

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use vae2x_core::engine::{Decode, Encode, Engine, Notify, Progress};
use vae2x_core::weights::Weights;
use vae2x_core::{Array, Cancel, Error, Estimate, Extent, Precision, Result, VaeConfig};

use super::pass::{DecodePass, EncodePass};
use super::place::Place;
use super::plan::decode::DecodePlan;
use super::plan::encode::EncodePlan;
use super::stream::Stream;
use crate::device::{Limits, check_precision, device_error, float_dtype, guarded, threads};
use crate::wan_vae::conv::Keep;
use crate::wan_vae::decoder::Decoder;
use crate::wan_vae::encoder::Encoder;

/// How to set up an engine.
#[derive(Clone)]
pub struct BurnOptions {
    /// The device's name for logs and errors.
    pub name: String,
    /// What the decoder's weights are kept and computed in. Norms are computed in `f32` always.
    pub decoder_precision: Precision,
    /// What the encoder's weights are kept and computed in.
    pub encoder_precision: Precision,
    /// What the device can hold, weights of both halves included.
    pub limits: Limits,
    /// Called when the work goes on with smaller bands.
    pub notify: Option<Notify>,
}

impl Default for BurnOptions {
    /// Both halves in `f32`, without limits.
    fn default() -> Self {
        Self {
            name: "burn".into(),
            decoder_precision: Precision::F32,
            encoder_precision: Precision::F32,
            limits: Limits::default(),
            notify: None,
        }
    }
}

/// The VAE on a burn device.
pub struct BurnEngine {
    name: String,
    weights: Arc<dyn Weights>,
    notify: Option<Notify>,
    device: Device,
    decoder: Half<Decoder>,
    encoder: Half<Encoder>,
}

/// The decoder or the encoder, loaded or not.
struct Half<M> {
    place: Arc<Place>,
    module: Mutex<Option<Arc<M>>>,
}

impl BurnEngine {
    /// An engine over `weights`, which are read when a session first needs them.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is impossible, [`Error::NoDevice`] if the device lacks a precision,
    /// [`Error::Device`] if it fails.
    pub fn new(weights: Arc<dyn Weights>, options: BurnOptions, device: Device) -> Result<Self> {
        let config = weights.config();
        config.validate()?;
        let precisions = [options.decoder_precision, options.encoder_precision];
        for precision in precisions {
            check_precision(&device, precision).map_err(|e| named(&options.name, e))?;
        }
        let dtypes = precisions.map(float_dtype);
        let [decoder, encoder] = Place::pair(config, &device, options.limits, dtypes);
        Ok(Self {
            name: options.name,
            notify: options.notify,
            device,
            decoder: Half::new(decoder),
            encoder: Half::new(encoder),
            weights,
        })
    }
}

/// Puts the device's name before what it lacks.
fn named(name: &str, error: Error) -> Error {
    match error {
        Error::NoDevice(problem) => Error::NoDevice(format!("{name}: {problem}")),
        other => other,
    }
}

impl<M: Module> Half<M> {
    fn new(place: Place) -> Self {
        Self {
            place: Arc::new(place),
            module: Mutex::default(),
        }
    }

    /// The module, which `read` reads if it is not loaded yet.
    fn load(&self, read: impl FnOnce(&Device) -> Result<M>) -> Result<Arc<M>> {
        let mut module = self.module.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*module {
            return Ok(loaded.clone());
        }
        let device = &self.place.device;
        let loaded = guarded(|| {
            let loaded = read(device)?.map(&mut To(self.place.dtype));
            // Copies and casts are queued; whether they succeeded is known when they are waited for.
            device.sync().map_err(|e| device_error(&e.to_string()))?;
            Ok(Arc::new(loaded))
        })?;
        self.place.note_loaded();
        *module = Some(loaded.clone());
        Ok(loaded)
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
        self.weights.config()
    }

    fn has_time(&self) -> bool {
        self.weights.has_time()
    }

    fn threads(&self) -> usize {
        threads(&self.device)
    }

    fn device_memory(&self) -> Option<u64> {
        let usage = self.device.memory_pool_usage()?;
        Some(usage.bytes_reserved)
    }

    fn decode_memory(&self, _: Extent) -> Option<Estimate> {
        None
    }

    fn encode_memory(&self, _: Extent) -> Option<Estimate> {
        None
    }

    fn decoder(self: Arc<Self>, clip: Extent, cancel: &Cancel) -> Result<Box<dyn Decode>> {
        let place = self.decoder.place.clone();
        // What cannot be planned is refused before its weights are read.
        let plan = place.planned(clip, |demand| DecodePlan::new(&place.config, demand))?;
        let read = |device: &Device| Decoder::load(&*self.weights, device);
        let pass = DecodePass {
            decoder: self.decoder.load(read)?,
            place,
            clip,
            cancel: cancel.clone(),
        };
        let stream = Stream::new(pass, plan, keep(clip), self.notify.clone());
        Ok(Box::new(Decoding(stream)))
    }

    fn encoder(self: Arc<Self>, clip: Extent, cancel: &Cancel) -> Result<Box<dyn Encode>> {
        let place = self.encoder.place.clone();
        let plan = place.planned(clip, |demand| EncodePlan::new(&place.config, demand))?;
        let read = |device: &Device| Encoder::load(&*self.weights, device);
        let pass = EncodePass {
            encoder: self.encoder.load(read)?,
            place,
            clip,
            cancel: cancel.clone(),
        };
        let stream = Stream::new(pass, plan, keep(clip), self.notify.clone());
        Ok(Box::new(Encoding(stream)))
    }
}

/// What layers keep after a frame.
fn keep(clip: Extent) -> Keep {
    if clip.is_clip() {
        Keep::Past
    } else {
        Keep::Nothing
    }
}

struct Decoding(Stream<DecodePass>);

impl Decode for Decoding {
    fn step(&mut self, latent: &Array, progress: Progress<'_>) -> Result<Array> {
        let pixels = self.0.step(latent, progress)?;
        progress(1.0);
        Ok(pixels)
    }
}

struct Encoding(Stream<EncodePass>);

impl Encode for Encoding {
    fn step(&mut self, pixels: &Array, progress: Progress<'_>) -> Result<Array> {
        let latent = self.0.step(pixels, progress)?;
        progress(1.0);
        Ok(latent)
    }
}
