//! Where and in what precision a half of the model runs, and how much of the device's memory it may plan for.
//!
//! Both halves of an engine share the memory and never compute at once: what a plan may use is the limit less the weights
//! of the other half, if those have been loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{DType, Device, FloatDType, Tensor};
use vae2x_core::arch::{self, Layer};
use vae2x_core::{Array, Extent, Result, VaeConfig};

use super::plan::demand::Demand;
use super::plan::stages::weights;
use crate::array::to_tensor;
use crate::device::{Limits, device_error};

/// Where and in what precision a half of the model runs.
#[derive(Debug)]
pub(super) struct Place {
    pub config: VaeConfig,
    pub device: Device,
    pub dtype: FloatDType,
    limits: Limits,
    /// What both halves use of the memory in this half's plans; less after the device could not hold one.
    memory: AtomicU64,
    /// Bytes of this half's weights.
    size: u64,
    /// Bytes of this half's weights on the device.
    loaded: Arc<AtomicU64>,
    /// Bytes of the other half's weights on the device.
    other: Arc<AtomicU64>,
}

impl Place {
    /// The places of decoder and encoder, which compute in `dtypes`.
    pub fn pair(
        config: &VaeConfig,
        device: &Device,
        limits: Limits,
        dtypes: [FloatDType; 2],
    ) -> [Self; 2] {
        let loaded: [Arc<AtomicU64>; 2] = Default::default();
        let place = |half: usize, layers: &[Layer]| Self {
            config: config.clone(),
            device: device.clone(),
            dtype: dtypes[half],
            limits,
            memory: AtomicU64::new(limits.memory),
            size: (weights(layers) * DType::from(dtypes[half]).size()) as u64,
            loaded: loaded[half].clone(),
            other: loaded[1 - half].clone(),
        };
        [
            place(0, &arch::decoder(config)),
            place(1, &arch::encoder(config)),
        ]
    }

    /// Notes that this half's weights are on the device.
    pub fn note_loaded(&self) {
        self.loaded.store(self.size, Ordering::Relaxed);
    }

    /// A clip to plan for in `memory` bytes, in which the other half's weights lie too.
    fn demand(&self, clip: Extent, memory: u64) -> Demand {
        let other = self.other.load(Ordering::Relaxed);
        Demand {
            cells: clip.cells,
            clip: clip.is_clip(),
            bytes: DType::from(self.dtype).size(),
            limits: Limits {
                memory: memory.saturating_sub(other),
                ..self.limits
            },
        }
    }

    /// What `plan` makes of the memory that was learned, or of all of it: what is too large for the one may be tried in the
    /// other.
    pub fn planned<T>(&self, clip: Extent, plan: impl Fn(&Demand) -> Result<T>) -> Result<T> {
        let learned = self.memory.load(Ordering::Relaxed);
        plan(&self.demand(clip, learned)).or_else(|_| plan(&self.demand(clip, self.limits.memory)))
    }

    /// Lowers the memory until `bands`, the number that a plan has, are no fewer than `enough`, or could not be planned in
    /// less.
    pub fn learn(&self, clip: Extent, enough: usize, bands: impl Fn(&Demand) -> Result<usize>) {
        let mut memory = self.memory.load(Ordering::Relaxed);
        while let Ok(count) = bands(&self.demand(clip, memory)) {
            self.memory.fetch_min(memory, Ordering::Relaxed);
            if count >= enough {
                return;
            }
            memory = memory / 8 * 7;
        }
    }

    /// `[C, T, H, W]` -> `[1, C, T, H, W]` on the device.
    pub fn upload(&self, array: &Array, what: &str) -> Result<Tensor<5>> {
        Ok(to_tensor::<4>(array, what, &self.device)?
            .cast(self.dtype)
            .unsqueeze())
    }

    /// Starts what has been queued, without waiting for it.
    pub fn flush(&self) -> Result<()> {
        self.device
            .flush()
            .map_err(|e| device_error(&e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wan_vae::engine::plan::decode::DecodePlan;

    fn pair(limits: Limits) -> [Place; 2] {
        let config = VaeConfig::with_widths(4, 3);
        Place::pair(&config, &Device::flex(), limits, [FloatDType::F32; 2])
    }

    fn image(cells: [usize; 2]) -> Extent {
        Extent::image(cells)
    }

    #[test]
    fn a_place_plans_as_small_as_it_has_learned_and_no_smaller_than_it_can() {
        let [place, _] = pair(Limits::default());
        let count = |demand: &Demand| Ok(DecodePlan::new(&place.config, demand)?.bands.len());
        let learned = |cells| {
            let memory = place.memory.load(Ordering::Relaxed);
            count(&place.demand(image(cells), memory))
        };
        let (large, small, huge) = ([48, 40], [3, 4], [48, 40_000]);
        assert_eq!(learned(large).unwrap(), 1);
        place.learn(image(large), 4, count);
        assert!((4..48).contains(&learned(large).unwrap()));
        assert_eq!(learned(small).unwrap(), 1);
        // What cannot be planned in what was learned is tried with what there may be.
        assert!(learned(huge).is_err());
        assert!(place.planned(image(huge), count).is_ok());
        // There are no more bands than rows.
        place.learn(image(large), 49, count);
        assert!(learned(large).is_ok());
    }

    #[test]
    fn the_weights_of_the_other_half_are_no_room_for_plans() {
        let limits = Limits {
            memory: 1 << 30,
            ..Limits::default()
        };
        let [decoder, encoder] = pair(limits);
        let memory =
            |place: &Place| place.planned(image([2, 2]), |demand| Ok(demand.limits.memory));
        assert_eq!(memory(&encoder).unwrap(), 1 << 30);
        decoder.note_loaded();
        assert_eq!(memory(&encoder).unwrap(), (1 << 30) - decoder.size);
        assert_eq!(memory(&decoder).unwrap(), 1 << 30, "a plan counts its own");
        encoder.note_loaded();
        assert_eq!(memory(&decoder).unwrap(), (1 << 30) - encoder.size);
        assert!(decoder.size > 0 && encoder.size > 0);
    }
}
