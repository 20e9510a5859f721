//! The two halves of the model as passes over one latent frame: upload, whole-frame layers, bands, download.
//!
//! A band's pixels are fetched after the next band has been queued, so that the device does not wait for the host.

use std::sync::Arc;

use burn::tensor::{Device, FloatDType, Tensor};
use vae2x_core::engine::Progress;
use vae2x_core::{Array, Cancel, Extent, Result};

use super::place::Place;
use super::plan::decode::DecodePlan;
use super::plan::demand::Demand;
use super::plan::encode::EncodePlan;
use super::stream::Pass;
use crate::array::to_array;
use crate::wan_vae::conv::Keep;
use crate::wan_vae::decoder::{Decoder, TailState, TrunkState};
use crate::wan_vae::encoder::{Encoder, EncoderRestState, EncoderStageState};
use crate::wan_vae::rows::Rows;

/// Where the past waits if the device has no room for it.
fn host() -> Device {
    Device::flex()
}

/// Latents to pixels.
pub(super) struct DecodePass {
    pub decoder: Arc<Decoder>,
    pub place: Arc<Place>,
    pub clip: Extent,
    /// Looked at before each band.
    pub cancel: Cancel,
}

/// What decoding keeps between frames.
pub(super) struct DecodeState {
    trunk: TrunkState,
    bands: Vec<TailState>,
}

impl Pass for DecodePass {
    type Plan = DecodePlan;
    type State = DecodeState;

    fn begin(&self, plan: &DecodePlan, keep: Keep) -> DecodeState {
        let bands = plan.bands.iter().map(|_| TailState::new(keep));
        DecodeState {
            trunk: TrunkState::new(keep),
            bands: bands.collect(),
        }
    }

    fn make_room(&self) {
        self.place.device.memory_cleanup();
    }

    fn smaller(&self, plan: &DecodePlan) -> Option<DecodePlan> {
        plan.smaller()
    }

    fn learn(&self, plan: &DecodePlan) {
        let count = |demand: &Demand| Ok(DecodePlan::new(&self.place.config, demand)?.bands.len());
        self.place.learn(self.clip, plan.bands.len(), count);
    }

    fn describe(&self, plan: &DecodePlan) -> String {
        format!("{} bands", plan.bands.len())
    }

    fn run(
        &self,
        plan: &DecodePlan,
        latent: &Array,
        state: &mut DecodeState,
        progress: Progress<'_>,
    ) -> Result<Array> {
        let scale = self.place.config.scale()?;
        let x = self.decoder.trunk(
            self.place.upload(latent, "latent")?,
            &mut state.trunk,
            plan.queries,
        )?;
        let mut frames = Frames {
            scale: self.place.config.spatial() * scale,
            whole: None,
        };
        let mut queued = None;
        for (i, (&band, kept)) in plan.bands.iter().zip(&mut state.bands).enumerate() {
            self.cancel.check()?;
            if plan.parked {
                kept.move_to(&self.place.device);
            }
            let pixels = shuffled(
                self.decoder
                    .tail(x.clone(), band, kept)
                    .cast(FloatDType::F32),
                scale,
            );
            self.place.flush()?;
            if plan.parked {
                kept.move_to(&host());
            }
            if let Some((band, pixels)) = queued.replace((band, pixels)) {
                frames.put(band, to_array(pixels)?)?;
                progress(i as f32 / plan.bands.len() as f32);
            }
        }
        if let Some((band, pixels)) = queued {
            frames.put(band, to_array(pixels)?)?;
        }
        Ok(frames.whole.unwrap_or_else(|| Array::zeros([0, 0, 0, 0])))
    }
}

/// As `core`'s `pixel_shuffle`, on the device.
///
/// # Shapes
/// `[1, 3 r^2, F, H, W]` -> `[3, F, r H, r W]`
fn shuffled(raw: Tensor<5>, r: usize) -> Tensor<4> {
    let [_, channels, f, h, w] = raw.dims();
    let c = channels / (r * r);
    raw.reshape([c, r, r, f, h, w])
        .permute([0, 3, 4, 1, 5, 2])
        .reshape([c, f, r * h, r * w])
}

/// Frames whose bands arrive one by one.
struct Frames {
    /// Pixels per latent row.
    scale: usize,
    whole: Option<Array>,
}

impl Frames {
    /// Takes the pixels `[C, F, rows, W]` of `band`.
    fn put(&mut self, band: Rows, pixels: Array) -> Result<()> {
        if band == Rows::whole(band.height) {
            self.whole = Some(pixels);
            return Ok(());
        }
        let [c, f, rows, width] = pixels.dims("pixels")?;
        let height = band.height * self.scale;
        let whole = self
            .whole
            .get_or_insert_with(|| Array::zeros([c, f, height, width]));
        for (plane, part) in pixels.data().chunks_exact(rows * width).enumerate() {
            let start = (plane * height + band.start * self.scale) * width;
            whole.data_mut()[start..start + part.len()].copy_from_slice(part);
        }
        Ok(())
    }
}

/// Pixels to latents.
pub(super) struct EncodePass {
    pub encoder: Arc<Encoder>,
    pub place: Arc<Place>,
    pub clip: Extent,
    /// Looked at before each band.
    pub cancel: Cancel,
}

/// What encoding keeps between frames.
pub(super) struct EncodeState {
    stages: Vec<Vec<EncoderStageState>>,
    rest: EncoderRestState,
}

impl Pass for EncodePass {
    type Plan = EncodePlan;
    type State = EncodeState;

    fn begin(&self, plan: &EncodePlan, keep: Keep) -> EncodeState {
        let stage =
            |bands: &Vec<Rows>| bands.iter().map(|_| EncoderStageState::new(keep)).collect();
        EncodeState {
            stages: plan.stages.iter().map(stage).collect(),
            rest: EncoderRestState::new(keep),
        }
    }

    fn make_room(&self) {
        self.place.device.memory_cleanup();
    }

    fn smaller(&self, plan: &EncodePlan) -> Option<EncodePlan> {
        plan.smaller()
    }

    fn learn(&self, plan: &EncodePlan) {
        let count = |demand: &Demand| Ok(EncodePlan::new(&self.place.config, demand)?.most_bands());
        self.place.learn(self.clip, plan.most_bands(), count);
    }

    fn describe(&self, plan: &EncodePlan) -> String {
        let counts: Vec<_> = plan
            .stages
            .iter()
            .map(|bands| bands.len().to_string())
            .collect();
        format!("{} bands in the stages", counts.join(", "))
    }

    fn run(
        &self,
        plan: &EncodePlan,
        pixels: &Array,
        state: &mut EncodeState,
        progress: Progress<'_>,
    ) -> Result<Array> {
        let mut x = self.place.upload(pixels, "pixels")?;
        for (i, (bands, kept)) in plan.stages.iter().zip(&mut state.stages).enumerate() {
            let band = |(&band, kept): (&Rows, &mut EncoderStageState)| {
                self.cancel.check()?;
                if plan.parked {
                    kept.move_to(&self.place.device);
                }
                let part = self.encoder.stage(i, x.clone(), band, kept);
                self.place.flush()?;
                if plan.parked {
                    kept.move_to(&host());
                }
                Ok(part)
            };
            let mut parts = bands
                .iter()
                .zip(kept)
                .map(band)
                .collect::<Result<Vec<_>>>()?;
            x = if parts.len() == 1 {
                parts.remove(0)
            } else {
                Tensor::cat(parts, 3)
            };
            progress((i + 1) as f32 / (plan.stages.len() + 1) as f32);
        }
        let moments = self.encoder.rest(x, &mut state.rest, plan.queries);
        let mean = moments
            .narrow(1, 0, self.place.config.z_dim)
            .cast(FloatDType::F32);
        to_array(mean.squeeze_dim::<4>(0))
    }
}
