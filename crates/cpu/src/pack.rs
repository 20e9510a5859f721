//! Weights as the kernels read them: `[element][panel of 16 outputs][input][16]`, one set per frame that a convolution
//! sees and two more for pairs of frames.
//!
//! A single frame only ever meets the last temporal tap, so the others are packed when the first clip asks for them.
//! The sums behind a transformed weight are taken in double precision.

use std::sync::{Arc, OnceLock};

use vae2x_core::Result;
use vae2x_core::weights::Weights;

use crate::kernels::BLOCK;
use crate::pages::Pages;
use crate::plan::{ConvSpec, Method, NormSpec, padded};

/// The set of half the sum of the temporal taps, and of half the sum with the middle one subtracted: see `ops/pair.rs`.
pub(crate) const HALF_SUM: usize = 3;
pub(crate) const HALF_DIFFERENCE: usize = 4;
/// Sets of weights of a convolution that sees three frames: its temporal taps, the present one last, and the two above.
const SETS: usize = 5;

/// What the temporal taps are multiplied by in a set of weights.
fn combination(set: usize, frames: usize) -> Vec<f64> {
    match set {
        HALF_SUM => vec![0.5; frames],
        HALF_DIFFERENCE => vec![0.5, -0.5, 0.5],
        tap => (0..frames).map(|frame| if frame == tap { 1.0 } else { 0.0 }).collect(),
    }
}

/// The packed weights of one convolution.
pub(crate) struct ConvWeights {
    pub spec: ConvSpec,
    /// One value per output channel, zeros in the padding.
    pub bias: Vec<f32>,
    /// Sets of weights, by number: see [`combination`].
    taps: Vec<OnceLock<Pages>>,
    source: Arc<dyn Weights>,
}

impl ConvWeights {
    /// Reads the bias; the weights are for [`Self::prepare`].
    pub fn load(spec: &ConvSpec, source: &Arc<dyn Weights>) -> Result<Self> {
        let mut bias = source.tensor(&spec.conv.bias())?.into_data()[spec.outputs.clone()].to_vec();
        bias.resize(spec.padded_outputs(), 0.0);
        let taps = (0..SETS).map(|_| OnceLock::new()).collect();
        Ok(Self { spec: spec.clone(), bias, taps, source: source.clone() })
    }

    /// Packs those of `sets` that are not packed yet.
    pub fn prepare(&self, sets: &[usize]) -> Result<()> {
        let missing: Vec<usize> = sets.iter().copied().filter(|&set| self.taps[set].get().is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let weight = self.spec.conv.weight();
        // Pages, not a vector: tensors of this size would stay with the allocator.
        let mut tensor = Pages::zeros(weight.shape.iter().product());
        self.source.read(&weight, &mut tensor)?;
        for set in missing {
            self.taps[set].get_or_init(|| pack(&self.spec, &tensor, &combination(set, self.spec.frames())));
        }
        Ok(())
    }

    /// A set of weights, which must have been prepared.
    pub fn tap(&self, set: usize) -> &[f32] {
        self.taps[set].get().expect("sessions prepare what they run")
    }
}

/// The scale of each channel of a norm, times the root of the channel count; zeros in the padding.
pub(crate) struct NormWeights {
    pub gamma: Vec<f32>,
    pub silu: bool,
}

impl NormWeights {
    pub fn load(spec: &NormSpec, source: &dyn Weights) -> Result<Self> {
        let mut gamma = source.tensor(&spec.norm.gamma())?.into_data();
        let root = (spec.norm.channels as f64).sqrt();
        gamma.iter_mut().for_each(|g| *g = (f64::from(*g) * root) as f32);
        gamma.resize(padded(spec.norm.channels), 0.0);
        Ok(Self { gamma, silu: spec.silu })
    }
}

/// The 3x3 taps, row by row, of one output and one input; a point has one.
struct Kernels<'a> {
    data: &'a [f32],
    inputs: usize,
    area: usize,
    combination: &'a [f64],
}

impl Kernels<'_> {
    /// The combination of the temporal taps.
    fn taps(&self, output: usize, input: usize) -> [f64; 9] {
        let mut taps = [0.0; 9];
        let start = (output * self.inputs + input) * self.combination.len() * self.area;
        for (values, factor) in self.data[start..].chunks_exact(self.area).zip(self.combination) {
            if *factor != 0.0 {
                taps.iter_mut().zip(values).for_each(|(tap, value)| *tap += factor * f64::from(*value));
            }
        }
        taps
    }
}

fn pack(spec: &ConvSpec, tensor: &[f32], combination: &[f64]) -> Pages {
    let inputs = spec.conv.inputs;
    let area = tensor.len() / (spec.conv.outputs * inputs * combination.len());
    let kernels = Kernels { data: tensor, inputs, area, combination };
    let stride = spec.k() * spec.padded_outputs();
    let mut packed = Pages::zeros(spec.packed_len());
    for (o, output) in spec.outputs.clone().enumerate() {
        for input in 0..inputs {
            let taps = kernels.taps(output, input);
            let mut put = |element: usize, row: usize, value: f32| {
                packed[element * stride + (o / BLOCK * spec.k() + row) * BLOCK + o % BLOCK] = value;
            };
            match spec.method {
                Method::Winograd => transform(&WINOGRAD, &taps, |e, v| put(e, input, v)),
                Method::Enlarge => transform(&ENLARGE, &taps, |e, v| put(e, input, v)),
                Method::Strided => (0..area).for_each(|tap| put(0, tap * padded(inputs) + input, taps[tap] as f32)),
                Method::Point => put(0, input, taps[0] as f32),
            }
        }
    }
    packed
}

/// `G` of F(4, 3) at the points 0, a, -a, b, -b, infinity of `kernels/winograd.rs`: powers of the point over the
/// product of its distances to the others, which is 1 for 0, `2 a^2 (a^2 - b^2) = -3/2` and `2 b^2 (b^2 - a^2) = 6`.
const WINOGRAD: [[f64; 3]; 6] = {
    let (a, b) = (std::f64::consts::FRAC_1_SQRT_2, std::f64::consts::SQRT_2);
    [
        [1.0, 0.0, 0.0],
        [-1.0 / 1.5, -a / 1.5, -0.5 / 1.5],
        [-1.0 / 1.5, a / 1.5, -0.5 / 1.5],
        [1.0 / 6.0, b / 6.0, 2.0 / 6.0],
        [1.0 / 6.0, -b / 6.0, 2.0 / 6.0],
        [0.0, 0.0, 1.0],
    ]
};

/// What a pixel and its differences from its neighbours are multiplied by; see `kernels/winograd.rs`.
const ENLARGE: [[f64; 3]; 3] = [[1.0, 1.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];

/// `G g G^T`, element by element.
fn transform<const N: usize>(matrix: &[[f64; 3]; N], taps: &[f64; 9], mut put: impl FnMut(usize, f32)) {
    for (y, row) in matrix.iter().enumerate() {
        let column = |x: usize| (0..3).map(|i| row[i] * taps[3 * i + x]).sum::<f64>();
        let columns = [column(0), column(1), column(2)];
        for (x, row) in matrix.iter().enumerate() {
            put(N * y + x, (0..3).map(|i| row[i] * columns[i]).sum::<f64>() as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::VaeConfig;
    use vae2x_core::arch::{Conv, Taps};
    use vae2x_core::weights::formula::FormulaWeights;

    #[test]
    fn panels_hold_each_weight_once_and_zeros_elsewhere() {
        let conv = Conv { name: "shortcut".into(), inputs: 3, outputs: 20, taps: Taps::Point };
        let spec = ConvSpec { conv: conv.clone(), outputs: 0..20, method: Method::Point };
        let source: Arc<dyn Weights> = Arc::new(FormulaWeights::new(VaeConfig::default()));
        let packed = ConvWeights::load(&spec, &source).unwrap();
        packed.prepare(&[0]).unwrap();
        let tensor = source.tensor(&conv.weight()).unwrap();
        for o in 0..32 {
            for i in 0..3 {
                let want = if o < 20 { tensor.data()[o * 3 + i] } else { 0.0 };
                assert_eq!(packed.tap(0)[(o / 16 * 3 + i) * 16 + o % 16], want, "{o} {i}");
            }
        }
        assert!(packed.bias[20..].iter().all(|b| *b == 0.0));
    }
}
