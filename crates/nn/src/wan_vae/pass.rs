//! The two sides of the model as passes over one latent frame: upload, whole-frame layers, bands, download.
//!
//! A band's pixels are fetched after the next band has been queued, so that the device does not wait for the host.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{DType, Device, FloatDType, Tensor};
use vae2x_core::config::SPATIAL_FACTOR;
use vae2x_core::engine::Progress;
use vae2x_core::{Array, Result, VaeConfig};

use super::plan::{DecodePlan, EncodePlan, Job, Limits};
use super::stream::Pass;
use super::{
    Decoder, Encoder, EncoderRestState, EncoderStageState, Keep, Rows, TailState, TrunkState,
};
use crate::array::{to_array, to_tensor};
use crate::device::device_error;

/// Where and in what precision a side of the model runs.
#[derive(Debug)]
pub(super) struct Place {
    pub config: VaeConfig,
    pub device: Device,
    pub dtype: FloatDType,
    limits: Limits,
    /// What plans use of the memory at first; less after the device could not hold one.
    memory: AtomicU64,
}

impl Place {
    pub fn new(config: &VaeConfig, device: &Device, dtype: FloatDType, limits: Limits) -> Self {
        let (config, device) = (config.clone(), device.clone());
        Self {
            config,
            device,
            dtype,
            limits,
            memory: AtomicU64::new(limits.memory),
        }
    }

    /// With the memory that was learned.
    fn job(&self, cells: [usize; 2], clip: bool) -> Job {
        let bytes = DType::from(self.dtype).size();
        let limits = Limits {
            memory: self.memory.load(Ordering::Relaxed),
            ..self.limits
        };
        Job {
            cells,
            clip,
            bytes,
            limits,
        }
    }

    /// What `plan` makes of the memory that was learned, or of all of it: what is too large for the one may be tried in the other.
    fn planned<T>(&self, job: Job, plan: impl Fn(&Job) -> Result<T>) -> Result<T> {
        plan(&job).or_else(|_| {
            plan(&Job {
                limits: self.limits,
                ..job
            })
        })
    }

    /// Lowers the memory until `bands`, the number that a plan has, are no fewer than `enough`, or could not be planned in less.
    fn learn(&self, mut job: Job, enough: usize, bands: impl Fn(&Job) -> Result<usize>) {
        while let Ok(count) = bands(&job) {
            self.memory.fetch_min(job.limits.memory, Ordering::Relaxed);
            if count >= enough {
                return;
            }
            job.limits.memory = job.limits.memory / 8 * 7;
        }
    }

    /// `[C, T, H, W]` -> `[1, C, T, H, W]` on the device.
    fn upload(&self, array: &Array, what: &str) -> Result<Tensor<5>> {
        Ok(to_tensor::<4>(array, what, &self.device)?
            .cast(self.dtype)
            .unsqueeze())
    }

    /// Starts what has been queued, without waiting for it.
    fn flush(&self) -> Result<()> {
        self.device
            .flush()
            .map_err(|e| device_error(&e.to_string()))
    }
}

/// Where what is kept waits if there is no room for it on the device.
fn host() -> Device {
    Device::flex()
}

/// Latents to pixels.
pub(super) struct DecodePass<'a> {
    pub decoder: &'a Decoder,
    pub place: &'a Place,
}

/// What decoding keeps between frames.
pub(super) struct DecodeState {
    trunk: TrunkState,
    bands: Vec<TailState>,
}

impl DecodePass<'_> {
    fn job(&self, latent: &Array, clip: bool) -> Result<Job> {
        let [_, _, h, w] = latent.dims("latent")?;
        Ok(self.place.job([h, w], clip))
    }
}

impl Pass for DecodePass<'_> {
    type Plan = DecodePlan;
    type State = DecodeState;

    fn plan(&self, latent: &Array, clip: bool) -> Result<DecodePlan> {
        self.place.planned(self.job(latent, clip)?, |job| {
            DecodePlan::new(&self.place.config, job)
        })
    }

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

    fn learn(&self, plan: &DecodePlan, latent: &Array, clip: bool) -> Result<()> {
        let count = |job: &Job| Ok(DecodePlan::new(&self.place.config, job)?.bands.len());
        self.place
            .learn(self.job(latent, clip)?, plan.bands.len(), count);
        Ok(())
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
        let mut picture = Picture {
            scale: SPATIAL_FACTOR * scale,
            whole: None,
        };
        let mut queued = None;
        for (i, (&band, kept)) in plan.bands.iter().zip(&mut state.bands).enumerate() {
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
                picture.put(band, to_array(pixels)?)?;
                progress(i as f32 / plan.bands.len() as f32);
            }
        }
        if let Some((band, pixels)) = queued {
            picture.put(band, to_array(pixels)?)?;
        }
        Ok(picture.whole.unwrap_or_else(|| Array::zeros([0, 0, 0, 0])))
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

/// Frames whose bands come one by one.
struct Picture {
    /// Pixels per latent row.
    scale: usize,
    whole: Option<Array>,
}

impl Picture {
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
pub(super) struct EncodePass<'a> {
    pub encoder: &'a Encoder,
    pub place: &'a Place,
}

/// What encoding keeps between frames.
pub(super) struct EncodeState {
    stages: Vec<Vec<EncoderStageState>>,
    rest: EncoderRestState,
}

impl EncodePass<'_> {
    fn job(&self, pixels: &Array, clip: bool) -> Result<Job> {
        let [_, _, h, w] = pixels.dims("pixels")?;
        Ok(self
            .place
            .job([h / SPATIAL_FACTOR, w / SPATIAL_FACTOR], clip))
    }
}

impl Pass for EncodePass<'_> {
    type Plan = EncodePlan;
    type State = EncodeState;

    fn plan(&self, pixels: &Array, clip: bool) -> Result<EncodePlan> {
        self.place.planned(self.job(pixels, clip)?, |job| {
            EncodePlan::new(&self.place.config, job)
        })
    }

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

    fn learn(&self, plan: &EncodePlan, pixels: &Array, clip: bool) -> Result<()> {
        let count = |job: &Job| Ok(EncodePlan::new(&self.place.config, job)?.most_bands());
        self.place
            .learn(self.job(pixels, clip)?, plan.most_bands(), count);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_plans_as_small_as_it_has_learned_and_no_smaller_than_it_can() {
        let config = VaeConfig::with_widths(4, 3);
        let place = Place::new(&config, &host(), FloatDType::F32, Limits::default());
        let count = |job: &Job| Ok(DecodePlan::new(&config, job)?.bands.len());
        let (large, small, huge) = ([48, 40], [3, 4], [48, 40_000]);
        assert_eq!(count(&place.job(large, false)).unwrap(), 1);
        place.learn(place.job(large, false), 4, count);
        assert!((4..48).contains(&count(&place.job(large, false)).unwrap()));
        assert_eq!(count(&place.job(small, false)).unwrap(), 1);
        // What cannot be planned in what was learned is tried with what there may be.
        assert!(count(&place.job(huge, false)).is_err());
        assert!(place.planned(place.job(huge, false), count).is_ok());
        // There are no more bands than rows.
        place.learn(place.job(large, false), 49, count);
        assert!(count(&place.job(large, false)).is_ok());
    }
}
