//! Weights by formula: any tensor from its name and shape, the same in every language. For tests and benchmarks at full
//! size without a file.
//!
//! Element `i` is `splitmix64(fnv1a64(name) + i) >> 40`, scaled to `[-1, 1)` and then by the kind of tensor.

use crate::arch::TensorSpec;
use crate::array::Array;
use crate::config::VaeConfig;
use crate::error::Result;
use crate::weights::Weights;

/// Formula weights for a configuration.
#[derive(Clone, Debug)]
pub struct FormulaWeights {
    config: VaeConfig,
    gain: f32,
}

impl FormulaWeights {
    /// Weights of unit gain, which keep activations near 1 through the depth of the VAE.
    pub fn new(config: VaeConfig) -> Self {
        Self { config, gain: 1.0 }
    }
}

impl Weights for FormulaWeights {
    fn config(&self) -> &VaeConfig {
        &self.config
    }

    fn tensor(&self, spec: &TensorSpec) -> Result<Array> {
        Array::new(
            spec.shape.clone(),
            tensor(&spec.name, &spec.shape, self.gain),
        )
    }
}

/// `gamma`: `1 + 0.1 u`; `bias`: `0.05 u`; else `gain sqrt(3 / fan_in) u`, fan_in being the product of all axes but the first.
pub fn tensor(name: &str, shape: &[usize], gain: f32) -> Vec<f32> {
    let count = shape.iter().product();
    let scale = match name {
        n if n.ends_with("gamma") => return unit(name, count).map(|u| 1.0 + 0.1 * u).collect(),
        n if n.ends_with("bias") => 0.05,
        _ => {
            let fan_in = shape[1..].iter().product::<usize>() as f64;
            (f64::from(gain) * (3.0 / fan_in).sqrt()) as f32
        }
    };
    unit(name, count).map(|u| scale * u).collect()
}

/// The first `count` elements of the tensor called `name`, in `[-1, 1)`.
pub fn unit(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = fnv1a64(name);
    (0..count as u64).map(move |i| {
        let bits = splitmix64(seed.wrapping_add(i)) >> 40;
        (bits as f64 / f64::from(1 << 23) - 1.0) as f32
    })
}

/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
