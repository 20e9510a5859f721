//! Whole models of odd shapes and widths: the number of threads does not change a bit, instruction sets agree with each
//! other, and weights and memory are those that a clip of the given extent needs.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use vae2x_core::arch::{self, TensorSpec};
use vae2x_core::engine::{Decoder, Encoder, Engine};
use vae2x_core::weights::Weights;
use vae2x_core::weights::formula::{self, FormulaWeights};
use vae2x_core::{Array, Cancel, Error, Estimate, Extent, Precision, VaeConfig};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa};
use vae2x_testkit::compare::{assert_close, assert_same};
use vae2x_testkit::{tolerance, vae};

fn array(shape: &[usize]) -> Array {
    Array::new(
        shape,
        formula::unit("input", shape.iter().product()).collect(),
    )
    .unwrap()
}

fn options(isa: Isa, threads: usize) -> CpuOptions {
    CpuOptions {
        threads,
        isa: Some(isa),
        ..CpuOptions::default()
    }
}

fn engine(config: &VaeConfig, options: CpuOptions) -> Arc<dyn Engine> {
    let weights: Arc<dyn Weights> = Arc::new(FormulaWeights::new(config.clone()));
    Arc::new(CpuEngine::new(weights, options).unwrap())
}

/// Decodes and encodes with `a` and `b`.
fn both(
    a: &Arc<dyn Engine>,
    b: &Arc<dyn Engine>,
    latent: &Array,
    pixels: &Array,
    check: impl Fn(&str, &Array, &Array),
) {
    check(
        "decoded",
        &vae::decode_whole(a, latent),
        &vae::decode_whole(b, latent),
    );
    check(
        "encoded",
        &vae::encode_whole(a, pixels),
        &vae::encode_whole(b, pixels),
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn threads_do_not_change_a_bit(h in 1usize..9, w in 1usize..40, t in 1usize..3, dim in prop::sample::select(vec![1usize, 3, 8, 20])) {
        let config = VaeConfig::with_widths(2 * dim, 12);
        let (latent, pixels) = (array(&[16, t, h, w]), array(&[3, 4 * t - 3, 8 * h, 8 * w]));
        for isa in Isa::available().into_iter().filter(|isa| isa.name() != "scalar") {
            let one = engine(&config, options(isa, 1));
            // The number of threads also sets how many rows wait before a layer runs, and how tiles are grouped.
            for threads in [2, 3, 7] {
                both(&one, &engine(&config, options(isa, threads)), &latent, &pixels, assert_same);
            }
        }
    }

    #[test]
    fn instruction_sets_agree(h in 1usize..5, w in 1usize..6, t in 1usize..3, dim in prop::sample::select(vec![8usize, 12])) {
        // Norms over fewer channels would blow rounding up without bound.
        let config = VaeConfig::with_widths(2 * dim, 3);
        let (latent, pixels) = (array(&[16, t, h, w]), array(&[3, 4 * t - 3, 8 * h, 8 * w]));
        let scalar = engine(&config, options(Isa::named("scalar").unwrap(), 2));
        for isa in Isa::available() {
            let check = |what: &str, a: &Array, b: &Array| assert_close(what, a, b, tolerance::CPU_F32);
            both(&engine(&config, options(isa, 2)), &scalar, &latent, &pixels, check);
        }
    }
}

/// Weights that note which tensors are read.
struct Noted {
    weights: FormulaWeights,
    has_time: bool,
    read: Mutex<Vec<String>>,
}

impl Noted {
    fn new(has_time: bool) -> Arc<Self> {
        let weights = FormulaWeights::new(VaeConfig::with_widths(2, 3));
        let read = Mutex::default();
        Arc::new(Self {
            weights,
            has_time,
            read,
        })
    }

    /// How many of the tensors read so far have `part` in their name.
    fn count(&self, part: &str) -> usize {
        let read = self.read.lock().unwrap();
        read.iter().filter(|name| name.contains(part)).count()
    }
}

impl Weights for Noted {
    fn config(&self) -> &VaeConfig {
        self.weights.config()
    }

    fn tensor(&self, spec: &TensorSpec) -> vae2x_core::Result<Array> {
        self.read.lock().unwrap().push(spec.name.clone());
        self.weights.tensor(spec)
    }

    fn has_time(&self) -> bool {
        self.has_time
    }
}

#[test]
fn weights_without_time_run_images_and_refuse_clips() {
    let weights = Noted::new(false);
    let engine: Arc<dyn Engine> =
        Arc::new(CpuEngine::new(weights.clone(), CpuOptions::default()).unwrap());
    vae::decode_whole(&engine, &array(&[16, 1, 2, 2]));
    let clip = Extent {
        frames: 2,
        cells: [2, 2],
    };
    let refused = Decoder::new(engine.clone(), clip).err();
    assert!(matches!(refused, Some(Error::ImagesOnly { frames: 2 })));
    let refused = Encoder::new(engine, clip).err();
    assert!(matches!(refused, Some(Error::ImagesOnly { frames: 2 })));
    assert_eq!(weights.count("time_conv"), 0);
}

#[test]
fn a_session_reads_the_weights_of_its_half_and_extent_once() {
    let weights = Noted::new(true);
    let engine: Arc<dyn Engine> =
        Arc::new(CpuEngine::new(weights.clone(), CpuOptions::default()).unwrap());
    assert_eq!(weights.count(""), 0, "nothing is read before a session");
    let cells = [2, 2];
    Decoder::new(engine.clone(), Extent::image(cells)).unwrap();
    let image = weights.count("decoder");
    assert!(image > 0 && weights.count("encoder") + weights.count("time_conv") == 0);
    Decoder::new(engine.clone(), Extent::image(cells)).unwrap();
    assert_eq!(weights.count("decoder"), image);
    Decoder::new(engine.clone(), Extent { frames: 2, cells }).unwrap();
    assert!(weights.count("time_conv") > 0);
    Encoder::new(engine, Extent::image(cells)).unwrap();
    assert!(weights.count("encoder") > 0);
}

#[test]
fn progress_rises_to_one_in_every_step() {
    let engine = engine(&VaeConfig::with_widths(2, 3), options(Isa::detect(), 2));
    for frames in [1, 3] {
        let latent = array(&[16, frames, 5, 6]);
        let mut session = vae::decoder(&engine, &latent);
        for t in 0..frames {
            let (mut last, mut is_rising) = (0.0, true);
            let mut note = |fraction: f32| {
                is_rising &= fraction >= last;
                last = fraction;
            };
            let frame = latent.narrow1(t..t + 1);
            session.step(&frame, &mut note).unwrap();
            let is_one = (last - 1.0).abs() < 1e-4;
            assert!(is_rising && is_one, "frame {t} of {frames}: {last}");
        }
    }
}

#[test]
fn a_step_stops_in_its_middle_when_it_is_cancelled() {
    let engine = engine(&VaeConfig::with_widths(2, 3), options(Isa::detect(), 2));
    for frames in [1, 2] {
        let latent = array(&[16, frames, 40, 8]);
        let clip = Extent::of(&latent.clone().reshape([1, 16, frames, 40, 8]).unwrap()).unwrap();
        let cancel = Cancel::new();
        let mut session = Decoder::with_cancel(engine.clone(), clip, &cancel).unwrap();
        // The second latent frame of a clip gives four frames, each of which is reported.
        let (first, last) = (latent.narrow1(0..1), latent.narrow1(frames - 1..frames));
        if frames > 1 {
            session.step(&first, &mut |_| ()).unwrap();
        }
        let mut heard = 0.0;
        let stopped = session.step(&last, &mut |fraction| {
            heard = fraction;
            cancel.cancel();
        });
        assert!(matches!(stopped, Err(Error::Cancelled)), "{frames} frames");
        assert!(heard < 0.9, "{frames} frames: {heard}");
        let refused = Decoder::with_cancel(engine.clone(), clip, &cancel).err();
        assert!(matches!(refused, Some(Error::Cancelled)));
        vae::decode_whole(&engine, &latent);
    }
}

#[test]
fn f16_is_refused() {
    let weights = Noted::new(true);
    let options = CpuOptions {
        precision: Precision::F16,
        ..CpuOptions::default()
    };
    let refused = CpuEngine::new(weights, options).err();
    assert!(matches!(refused, Some(Error::BadRequest(_))));
}

/// What decoding with the full model takes, at two threads.
fn memory(frames: usize, cells: [usize; 2], precision: Precision) -> Estimate {
    let options = CpuOptions {
        precision,
        ..options(Isa::detect(), 2)
    };
    let engine = engine(&VaeConfig::with_widths(96, 12), options);
    engine.decode_memory(Extent { frames, cells }).unwrap()
}

#[test]
fn the_memory_estimate_counts_what_grows() {
    let image = |cells| memory(1, cells, Precision::F32);
    let (low, high) = (image([64, 64]), image([128, 64]));
    assert_eq!(high.output, 2 * low.output);
    assert_eq!(high.weights, low.weights);
    assert!(
        high.working > low.working && high.working < 2 * low.working,
        "{low:?} {high:?}"
    );
    // A clip needs four sets where an image needs one, but of large convolutions it keeps the taps.
    let clip = memory(2, [64, 64], Precision::F32);
    assert!(
        clip.weights > low.weights && clip.weights < 3 * low.weights,
        "{low:?} {clip:?}"
    );
    assert_eq!(clip.output, 4 * low.output, "a step returns four frames");
    assert_eq!(clip, memory(9, [64, 64], Precision::F32));
    let half = memory(1, [64, 64], Precision::Bf16);
    assert!(half.total() < low.total() * 3 / 4);
}

#[test]
fn images_fit_the_promised_memory() {
    const MB: usize = 1_000_000;
    for (side, most) in [(128, 600 * MB), (256, 1500 * MB)] {
        let need = memory(1, [side, side], Precision::F32);
        assert!(need.total() < most, "{side}: {need:?}");
    }
}

#[test]
fn packed_weights_stay_below_one_and_a_half_times_the_file() {
    let layers = arch::decoder(&VaeConfig::with_widths(96, 12));
    let tensors = layers.iter().flat_map(|layer| layer.tensors());
    let values: usize = tensors
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum();
    let need = memory(1, [8, 8], Precision::F32);
    assert!(need.weights * 2 < values * size_of::<f32>() * 3);
}
