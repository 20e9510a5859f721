//! The engine: weights and options in, sessions out.

use std::sync::Arc;

use vae2x_core::engine::{Decode, Encode, Engine};
use vae2x_core::weights::Weights;
use vae2x_core::{Cancel, Estimate, Extent, Result, VaeConfig, arch};

use crate::machine::Machine;
use crate::options::{CpuOptions, Storage};
use crate::run::memory::estimate;
use crate::run::session::{Decoding, Encoding};
use crate::weights::model::Model;
use vae2x_kernels::Isa;

/// A model on this CPU, in `f32`.
///
/// Weights are read and packed by the first session that needs them and kept for later ones: those of the decoder or the
/// encoder, for images or for clips. The results of a session do not depend on the number of threads, to the last bit.
pub struct CpuEngine {
    config: VaeConfig,
    scale: usize,
    pub(crate) machine: Machine,
    pub(crate) decoder: Arc<Model>,
    encoder: Arc<Model>,
    has_time: bool,
}

impl CpuEngine {
    /// An engine over `weights`, which are read as they are needed.
    ///
    /// # Errors
    /// [`Config`](vae2x_core::Error::Config) if the configuration is impossible,
    /// [`BadRequest`](vae2x_core::Error::BadRequest) for `f16`, [`Device`](vae2x_core::Error::Device) if threads cannot
    /// be started.
    pub fn new(weights: Arc<dyn Weights>, options: CpuOptions) -> Result<Self> {
        let config = weights.config().clone();
        config.validate()?;
        let storage = options.storage()?;
        let machine = options.machine()?;
        let has_time = weights.has_time();
        let model = |layers: &[arch::Layer], storage| {
            Arc::new(Model::new(layers, weights.clone(), storage))
        };
        Ok(Self {
            scale: config.scale()?,
            machine,
            decoder: model(&arch::decoder(&config), storage),
            encoder: model(&arch::encoder(&config), Storage::F32),
            has_time,
            config,
        })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.machine.isa
    }

    /// Frames of the largest step of a clip.
    fn most_frames(&self, clip: Extent) -> usize {
        if clip.is_clip() {
            self.config.temporal()
        } else {
            1
        }
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> String {
        format!("cpu-{}", self.machine.isa)
    }

    fn config(&self) -> &VaeConfig {
        &self.config
    }

    fn has_time(&self) -> bool {
        self.has_time
    }

    fn threads(&self) -> usize {
        self.machine.threads
    }

    fn decode_memory(&self, clip: Extent) -> Option<Estimate> {
        let side = self.scale * self.config.spatial();
        let [h, w] = clip.cells;
        let output = self.config.image_channels * self.most_frames(clip) * side * h * side * w;
        let (plans, threads) = (&self.decoder.plans, self.machine.threads);
        Some(estimate(plans, clip.is_clip(), clip.cells, threads, output))
    }

    fn encode_memory(&self, clip: Extent) -> Option<Estimate> {
        let size = clip.cells.map(|n| n * self.config.spatial());
        let output = self.config.z_dim * clip.cells[0] * clip.cells[1];
        let (plans, threads) = (&self.encoder.plans, self.machine.threads);
        Some(estimate(plans, clip.is_clip(), size, threads, output))
    }

    fn decoder(self: Arc<Self>, clip: Extent, cancel: &Cancel) -> Result<Box<dyn Decode>> {
        let machine = self.machine.with_cancel(cancel);
        let session = Decoding::new(&self.config, &machine, &self.decoder, clip)?;
        Ok(Box::new(session))
    }

    fn encoder(self: Arc<Self>, clip: Extent, cancel: &Cancel) -> Result<Box<dyn Encode>> {
        let machine = self.machine.with_cancel(cancel);
        let session = Encoding::new(&self.config, &machine, &self.encoder, clip)?;
        Ok(Box::new(session))
    }
}
