//! Weights as the kernels read them: sets of `[panel of 16 outputs][element][input][16]`, one per temporal tap.
//!
//! An image only needs the last temporal tap, so the others are packed for the first clip.
//! Winograd's elements are four times their taps in number: of large convolutions the taps may be kept instead, as they
//! are or in bf16, and [`ConvWeights::sets`] expands them into memory that all steps share ([`ConvSpec::keeps_taps`]
//! decides). Both ways give the same bits.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use half::bf16;
use vae2x_core::Result;
use vae2x_core::weights::Weights;

use crate::buffers::pages::Pages;
use crate::machine::{Machine, at_least};
use crate::options::Storage;
use crate::plan::steps::{ConvSpec, Method, NormSpec, Use};
use vae2x_kernels::{self as kernels, BLOCK, Expand, Kept, TAPS, TIME_TAPS, padded};

/// Sets of weights by temporal tap; empty where not asked for. A convolution that sees one frame has one.
pub(crate) type Sets<'a> = [&'a [f32]; TIME_TAPS];

/// The packed weights of one convolution.
pub(crate) struct ConvWeights {
    pub spec: ConvSpec,
    /// One value per output channel, zeros in the padding.
    pub bias: Vec<f32>,
    /// Sets of weights, by temporal tap.
    sets: Vec<OnceLock<Pages>>,
    /// `[panel][input][frame][tap][16]`, in `storage`: of all temporal taps, for clips.
    taps: OnceLock<Pages>,
    /// The same of the last temporal tap alone, for images.
    last_taps: OnceLock<Pages>,
    storage: Storage,
    source: Arc<dyn Weights>,
}

impl ConvWeights {
    /// Reads the bias; the weights are for [`Self::prepare`].
    pub fn load(spec: &ConvSpec, source: &Arc<dyn Weights>, storage: Storage) -> Result<Self> {
        let mut bias = source.tensor(&spec.conv.bias())?.into_data()[spec.outputs.clone()].to_vec();
        bias.resize(spec.padded_outputs(), 0.0);
        let sets = (0..TIME_TAPS).map(|_| OnceLock::new()).collect();
        let (taps, last_taps) = (OnceLock::new(), OnceLock::new());
        Ok(Self {
            spec: spec.clone(),
            bias,
            sets,
            taps,
            last_taps,
            storage,
            source: source.clone(),
        })
    }

    /// Packs what `usage` needs and is not packed yet.
    pub fn prepare(&self, machine: &Machine, usage: Use) -> Result<()> {
        if self.spec.keeps_taps(usage, self.storage) {
            let frames = self.spec.taps(usage).len();
            let kept = if frames == 1 {
                &self.last_taps
            } else {
                &self.taps
            };
            if kept.get().is_none() {
                let taps = self.read_taps(frames, self.storage, &self.read()?)?;
                kept.get_or_init(|| taps);
            }
            return Ok(());
        }
        let missing: Vec<usize> = self
            .spec
            .taps(usage)
            .filter(|&set| self.sets[set].get().is_none())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let tensor = self.read()?;
        for set in missing {
            let packed = self.pack(machine, &tensor, set)?;
            self.sets[set].get_or_init(|| packed);
        }
        Ok(())
    }

    fn read(&self) -> Result<Pages> {
        let weight = self.spec.conv.weight();
        // Pages, not a vector: tensors of this size would stay with the allocator.
        let mut tensor = Pages::zeros(weight.shape.iter().product())?;
        self.source.read(&weight, &mut tensor)?;
        Ok(tensor)
    }

    /// A set that is packed, which must have been prepared.
    pub fn packed(&self, set: usize) -> &[f32] {
        self.sets[set]
            .get()
            .expect("sessions prepare what they run")
    }

    /// The sets `wanted`, which must have been prepared. What is not packed is expanded into `memory`.
    pub fn sets<'a>(
        &'a self,
        machine: &Machine,
        wanted: Range<usize>,
        memory: &'a mut Pages,
    ) -> Result<Sets<'a>> {
        let mut sets: Sets<'a> = [&[]; TIME_TAPS];
        let missing: Vec<usize> = wanted
            .clone()
            .filter(|&set| self.sets[set].get().is_none())
            .collect();
        if !missing.is_empty() {
            self.expand(machine, &missing, memory)?;
        }
        let packed = wanted.filter_map(|set| Some((set, &**self.sets[set].get()?)));
        packed.for_each(|(set, values)| sets[set] = values);
        missing
            .iter()
            .zip(memory.chunks_exact(self.spec.packed_len()))
            .for_each(|(&set, values)| sets[set] = values);
        Ok(sets)
    }

    /// Expands the kept taps into one run of `memory` per set, panel by panel on all threads.
    fn expand(&self, machine: &Machine, sets: &[usize], memory: &mut Pages) -> Result<()> {
        let all = self.spec.frames();
        // The last set of taps is all that images need.
        let (taps, frames) = match self.last_taps.get() {
            Some(last) if sets == [all - 1] => (last, 1),
            _ => (
                self.taps.get().expect("sessions prepare what they run"),
                all,
            ),
        };
        let (length, panels) = (self.spec.packed_len(), self.spec.padded_outputs() / BLOCK);
        let memory = at_least(memory, sets.len() * length)?;
        let parts = memory
            .chunks_exact_mut(length)
            .zip(sets)
            .flat_map(|(set, &number)| {
                set.chunks_exact_mut(length / panels)
                    .enumerate()
                    .map(move |(panel, elements)| (number, panel, elements))
            });
        machine.run(parts.collect(), |(set, panel, elements), _| {
            let count = taps_len(&self.spec, frames);
            let taps = match self.storage {
                Storage::F32 => Kept::F32(&taps[panel * count..][..count]),
                Storage::Bf16 => Kept::Bf16(&bytemuck::cast_slice(taps)[panel * count..][..count]),
            };
            kernels::expand(
                machine.isa,
                Expand {
                    side: 3,
                    taps,
                    frames,
                    frame: set + frames - all,
                    elements,
                },
            );
            Ok(())
        })
    }

    /// The taps of the last `frames` temporal ones, laid out by panels.
    fn read_taps(&self, frames: usize, storage: Storage, tensor: &[f32]) -> Result<Pages> {
        let (spec, count) = (&self.spec, taps_len(&self.spec, frames));
        let all = spec.frames();
        let values = spec.padded_outputs() / BLOCK * count;
        let mut taps = Pages::zeros(match storage {
            Storage::F32 => values,
            Storage::Bf16 => values.div_ceil(2),
        })?;
        let mut put: Box<dyn FnMut(usize, f32)> = match storage {
            Storage::F32 => Box::new(|at, value| taps[at] = value),
            Storage::Bf16 => {
                let halves: &mut [u16] = bytemuck::cast_slice_mut(&mut taps);
                Box::new(|at, value| halves[at] = bf16::from_f32(value).to_bits())
            }
        };
        for (o, output) in spec.outputs.clone().enumerate() {
            let kernels = tensor[output * spec.k() * all * TAPS..]
                .chunks_exact(all * TAPS)
                .take(spec.k());
            for (input, kernel) in kernels.enumerate() {
                for (tap, value) in kernel[(all - frames) * TAPS..].iter().enumerate() {
                    put(
                        o / BLOCK * count + (input * frames * TAPS + tap) * BLOCK + o % BLOCK,
                        *value,
                    );
                }
            }
        }
        drop(put);
        Ok(taps)
    }

    fn pack(&self, machine: &Machine, tensor: &[f32], set: usize) -> Result<Pages> {
        match self.spec.method {
            Method::Winograd => {
                // The last tap, which single frames meet, needs no others.
                let all = self.spec.frames();
                let frames = if set + 1 == all { 1 } else { all };
                let taps = self.read_taps(frames, Storage::F32, tensor)?;
                let mut packed = Pages::zeros(self.spec.packed_len())?;
                let (count, panels) = (
                    taps_len(&self.spec, frames),
                    self.spec.padded_outputs() / BLOCK,
                );
                let elements = packed.chunks_exact_mut(self.spec.packed_len() / panels);
                for (taps, elements) in taps.chunks_exact(count).zip(elements) {
                    kernels::expand(
                        machine.isa,
                        Expand {
                            side: 3,
                            taps: Kept::F32(taps),
                            frames,
                            frame: set + frames - all,
                            elements,
                        },
                    );
                }
                Ok(packed)
            }
            _ => pack_others(&self.spec, tensor, set),
        }
    }
}

/// Values of a panel's taps.
fn taps_len(spec: &ConvSpec, frames: usize) -> usize {
    spec.k() * frames * TAPS * BLOCK
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
        gamma
            .iter_mut()
            .for_each(|g| *g = (f64::from(*g) * root) as f32);
        gamma.resize(padded(spec.norm.channels), 0.0);
        Ok(Self {
            gamma,
            silu: spec.silu,
        })
    }
}

/// A convolution's weights at one temporal tap.
struct Kernels<'a> {
    data: &'a [f32],
    inputs: usize,
    frames: usize,
    frame: usize,
    /// 9 or 1.
    area: usize,
}

impl Kernels<'_> {
    /// The 3x3 taps, row by row, of one output and one input; a point has one.
    fn taps(&self, output: usize, input: usize) -> [f64; TAPS] {
        let mut taps = [0.0; TAPS];
        let start = ((output * self.inputs + input) * self.frames + self.frame) * self.area;
        for (tap, value) in taps.iter_mut().zip(&self.data[start..start + self.area]) {
            *tap = f64::from(*value);
        }
        taps
    }
}

/// Weights of every method but Winograd's. The sums behind an enlargement's elements are taken in double precision.
fn pack_others(spec: &ConvSpec, tensor: &[f32], frame: usize) -> Result<Pages> {
    let (inputs, frames) = (spec.conv.inputs, spec.frames());
    let area = tensor.len() / (spec.conv.outputs * inputs * frames);
    let kernels = Kernels {
        data: tensor,
        inputs,
        frames,
        frame,
        area,
    };
    let panel = spec.method.elements() * spec.k() * BLOCK;
    let mut packed = Pages::zeros(spec.packed_len())?;
    for (o, output) in spec.outputs.clone().enumerate() {
        for input in 0..inputs {
            let taps = kernels.taps(output, input);
            let mut put = |element: usize, row: usize, value: f64| {
                packed[o / BLOCK * panel + (element * spec.k() + row) * BLOCK + o % BLOCK] =
                    value as f32;
            };
            match spec.method {
                Method::Enlarge => transform(&ENLARGE, &taps, |e, v| put(e, input, v)),
                Method::Strided => {
                    (0..area).for_each(|tap| put(0, tap * padded(inputs) + input, taps[tap]))
                }
                Method::Winograd | Method::Point => put(0, input, taps[0]),
            }
        }
    }
    Ok(packed)
}

/// What a pixel and its differences from its neighbours are multiplied by; see `kernels/winograd.rs`.
const ENLARGE: [[f64; 3]; 3] = [[1.0, 1.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];

/// `G g G^T`, element by element.
fn transform<const N: usize>(
    matrix: &[[f64; 3]; N],
    taps: &[f64; TAPS],
    mut put: impl FnMut(usize, f64),
) {
    for (y, row) in matrix.iter().enumerate() {
        let column = |x: usize| (0..3).map(|i| row[i] * taps[3 * i + x]).sum::<f64>();
        let columns = [column(0), column(1), column(2)];
        for (x, row) in matrix.iter().enumerate() {
            put(N * y + x, (0..3).map(|i| row[i] * columns[i]).sum::<f64>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::VaeConfig;
    use vae2x_core::arch::{Conv, Taps};
    use vae2x_core::weights::formula::FormulaWeights;
    use vae2x_kernels::Isa;
    use vae2x_testkit::compare::relative_l2;

    /// A residual convolution of a small model, with 20 outputs of 40 inputs.
    fn causal() -> ConvSpec {
        let conv = Conv {
            name: "decoder.middle.0.residual.2".into(),
            inputs: 40,
            outputs: 20,
            taps: Taps::Causal,
        };
        ConvSpec {
            conv,
            outputs: 0..20,
            method: Method::Winograd,
        }
    }

    fn weights(spec: &ConvSpec, storage: Storage) -> ConvWeights {
        let source: Arc<dyn Weights> = Arc::new(FormulaWeights::new(VaeConfig::default()));
        ConvWeights::load(spec, &source, storage).unwrap()
    }

    #[test]
    fn panels_hold_each_weight_once_and_zeros_elsewhere() {
        let conv = Conv {
            name: "shortcut".into(),
            inputs: 3,
            outputs: 20,
            taps: Taps::Point,
        };
        let spec = ConvSpec {
            conv: conv.clone(),
            outputs: 0..20,
            method: Method::Point,
        };
        let packed = weights(&spec, Storage::F32);
        let machine = Machine::new(Isa::detect(), 1).unwrap();
        packed.prepare(&machine, Use::Image).unwrap();
        let tensor = packed.source.tensor(&conv.weight()).unwrap();
        let mut memory = Pages::default();
        let sets = packed.sets(&machine, 0..1, &mut memory).unwrap();
        for o in 0..32 {
            for i in 0..3 {
                let want = if o < 20 {
                    tensor.data()[o * 3 + i]
                } else {
                    0.0
                };
                assert_eq!(sets[0][(o / 16 * 3 + i) * 16 + o % 16], want, "{o} {i}");
            }
        }
        assert!(packed.bias[20..].iter().all(|b| *b == 0.0));
    }

    #[test]
    fn kept_taps_expand_to_the_bits_of_packed_sets() {
        let spec = causal();
        let machine = Machine::new(Isa::detect(), 2).unwrap();
        let packed = weights(&spec, Storage::F32);
        packed.prepare(&machine, Use::Clip(2)).unwrap();
        let kept = weights(&spec, Storage::F32);
        let taps = kept
            .read_taps(3, Storage::F32, &kept.read().unwrap())
            .unwrap();
        kept.taps.get_or_init(|| taps);
        let (mut memory, mut unused) = (Pages::default(), Pages::default());
        let (kept, packed) = (
            kept.sets(&machine, 1..3, &mut memory).unwrap(),
            packed.sets(&machine, 1..3, &mut unused).unwrap(),
        );
        assert!((1..3).all(|set| kept[set].len() == spec.packed_len() && kept[set] == packed[set]));
        assert!(unused.is_empty() && kept[0].is_empty());
    }

    #[test]
    fn elements_are_those_of_the_formula() {
        /// See `kernels/expand.rs`.
        const G: [[f64; 3]; 6] = {
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
        let spec = causal();
        for isa in Isa::available() {
            let machine = Machine::new(isa, 1).unwrap();
            for (storage, tolerance) in [(Storage::F32, 2e-7), (Storage::Bf16, 4e-3)] {
                let weights = weights(&spec, storage);
                let tensor = weights.read().unwrap();
                let taps = weights.read_taps(3, storage, &tensor).unwrap();
                weights.taps.get_or_init(|| taps);
                for set in 0..TIME_TAPS {
                    let kernels = Kernels {
                        data: &tensor,
                        inputs: 40,
                        frames: TIME_TAPS,
                        frame: set,
                        area: TAPS,
                    };
                    let mut want = vec![0.0; spec.packed_len()];
                    for (o, i) in (0..20).flat_map(|o| (0..40).map(move |i| (o, i))) {
                        transform(&G, &kernels.taps(o, i), |e, v| {
                            want[((o / BLOCK * 36 + e) * 40 + i) * BLOCK + o % BLOCK] = v as f32;
                        });
                    }
                    let mut memory = Pages::default();
                    let got = weights.sets(&machine, set..set + 1, &mut memory).unwrap()[set];
                    let error = relative_l2(got, &want);
                    assert!(error <= tolerance, "{isa} {storage:?} set {set}: {error}");
                }
            }
        }
    }
}
