//! Whether a device computes what it should. Some drivers return zeros or noise without an error.

use std::sync::Arc;
use std::time::Instant;

use vae2x_core::engine::{Decoder, Engine};
use vae2x_core::weights::formula;
use vae2x_core::{Array, Extent, Result};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa};

use super::{Device, EngineOptions};
use crate::demo::demo_model;

/// What a device made of a small clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// The peak signal-to-noise ratio against the CPU's scalar kernels, in decibels: infinite if every bit agrees, some 140 between
    /// the CPU's own kernels.
    pub decibels: f64,
    /// From the first use of the device to the last pixel; kernels are compiled, and perhaps measured, on the way.
    pub seconds: f64,
}

impl Check {
    /// Whether the device can be used. Wrong ones are far below.
    pub fn is_right(&self) -> bool {
        const RIGHT: f64 = 50.0;
        // Written so that NaN is wrong.
        self.decibels >= RIGHT
    }
}

/// Decodes a clip of two latent frames with a bundled model on `device`, in `f32`, and compares it with the CPU's scalar kernels. What
/// is found of a GPU is remembered for [`Device::Auto`].
///
/// # Errors
/// If the device is not there, is not in this build or fails.
pub fn check_device(device: Device) -> Result<Check> {
    let weights = Arc::new(demo_model("demo:2x").expect("it is bundled")?);
    let scalar = CpuOptions {
        isa: Some(Isa::named("scalar")?),
        ..CpuOptions::default()
    };
    let want = decode(Arc::new(CpuEngine::new(weights.clone(), scalar)?))?;
    let start = Instant::now();
    let options = EngineOptions {
        device,
        ..EngineOptions::default()
    };
    let (engine, _) = options.engine(weights)?;
    let got = decode(engine)?;
    let check = Check {
        decibels: decibels(&got, &want),
        seconds: start.elapsed().as_secs_f64(),
    };
    #[cfg(feature = "burn")]
    super::gpu::remember(device, &check);
    Ok(check)
}

fn decode(engine: Arc<dyn Engine>) -> Result<Array> {
    let clip = Extent {
        frames: if engine.has_time() { 2 } else { 1 },
        cells: [8, 8],
    };
    let z = engine.config().z_dim;
    let values = formula::unit("check", z * clip.frames * 64).collect();
    let latent = Array::new([z, clip.frames, 8, 8], values)?;
    let mut session = Decoder::new(engine, clip)?;
    let mut frames = Vec::new();
    for t in 0..clip.frames {
        frames.push(session.step(&latent.narrow1(t..t + 1), &mut |_| ())?);
    }
    Array::concat1(&frames)
}

/// Of pixels in [-1, 1].
fn decibels(got: &Array, want: &Array) -> f64 {
    const PEAK: f64 = 2.0;
    let squares = got.data().iter().zip(want.data());
    let squares = squares.map(|(&g, &w)| (f64::from(g) - f64::from(w)).powi(2));
    let mean = squares.sum::<f64>() / got.data().len() as f64;
    10.0 * (PEAK * PEAK / mean).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_right() {
        let check = check_device(Device::Cpu).unwrap();
        assert!(check.is_right() && check.decibels > 90.0, "{check:?}");
    }

    #[test]
    fn zeros_and_nan_are_wrong() {
        let image = Array::new([4], vec![0.9, -0.8, 0.1, 0.4]).unwrap();
        let check = |values: [f32; 4]| Check {
            decibels: decibels(&Array::new([4], values.to_vec()).unwrap(), &image),
            seconds: 0.0,
        };
        assert!(check([0.9, -0.8, 0.1, 0.4]).is_right());
        assert!(!check([0.0; 4]).is_right());
        assert!(!check([f32::NAN, -0.8, 0.1, 0.4]).is_right());
    }
}
