//! Whole models of odd shapes and widths: other threads and other cuts of the work give the same bits, and instruction
//! sets agree with each other.

use std::sync::Arc;

use proptest::prelude::*;
use vae2x_core::engine::Engine;
use vae2x_core::weights::Weights;
use vae2x_core::weights::formula::{self, FormulaWeights};
use vae2x_core::{Array, Error, VaeConfig};
use vae2x_cpu::{CpuEngine, CpuOptions, Isa, Precision, decode_memory};
use vae2x_testkit::compare::{assert_close, assert_same};
use vae2x_testkit::{tolerance, vae};

fn array(shape: &[usize]) -> Array {
    Array::new(
        shape,
        formula::unit("input", shape.iter().product()).collect(),
    )
    .unwrap()
}

fn engine(config: &VaeConfig, isa: Isa, threads: usize) -> CpuEngine {
    let weights: Arc<dyn Weights> = Arc::new(FormulaWeights::new(config.clone()));
    CpuEngine::new(
        weights,
        CpuOptions {
            threads,
            isa: Some(isa),
            ..CpuOptions::default()
        },
    )
    .unwrap()
}

/// Decodes and encodes with `a` and `b`.
fn both(
    a: &CpuEngine,
    b: &CpuEngine,
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
            let one = engine(&config, isa, 1);
            // The number of threads also sets how many rows wait before a layer runs, and how tiles are grouped.
            for threads in [2, 3, 7] {
                both(&one, &engine(&config, isa, threads), &latent, &pixels, assert_same);
            }
        }
    }

    #[test]
    fn instruction_sets_agree(h in 1usize..5, w in 1usize..6, t in 1usize..3, dim in prop::sample::select(vec![8usize, 12])) {
        // Norms over fewer channels would blow rounding up without bound.
        let config = VaeConfig::with_widths(2 * dim, 3);
        let (latent, pixels) = (array(&[16, t, h, w]), array(&[3, 4 * t - 3, 8 * h, 8 * w]));
        let scalar = engine(&config, Isa::named("scalar").unwrap(), 2);
        for isa in Isa::available() {
            let check = |what: &str, a: &Array, b: &Array| assert_close(what, a, b, tolerance::CPU_F32);
            both(&engine(&config, isa, 2), &scalar, &latent, &pixels, check);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let config = VaeConfig::with_widths(2, 3);
    let engine = engine(&config, Isa::detect(), 1);
    let mut decoder = engine.decoder();
    let mut decode = |shape: &[usize]| decoder.step(&array(shape), &mut |_| ());
    assert!(
        decode(&[4, 1, 2, 2])
            .unwrap_err()
            .to_string()
            .contains("[4, 1, 2, 2]")
    );
    assert!(decode(&[16, 0, 2, 2]).is_err());
    assert!(decode(&[16, 2, 2]).is_err());
    assert!(decode(&[16, 1, 2, 2]).is_ok());
    let message = decode(&[16, 1, 2, 3]).unwrap_err().to_string();
    assert!(
        message.contains("2 x 2") && message.contains("2 x 3"),
        "{message}"
    );
    let mut encoder = engine.encoder();
    let mut encode = |shape: &[usize]| encoder.step(&array(shape), &mut |_| ());
    assert!(encode(&[3, 2, 8, 8]).is_err());
    assert!(encode(&[3, 1, 8, 12]).is_err());
    assert!(encode(&[3, 1, 8, 8]).is_ok());
    assert!(encode(&[3, 5, 8, 8]).is_err());
    assert!(encode(&[3, 4, 8, 8]).is_ok());
}

/// Weights of a file without temporal taps.
struct SingleFrames(FormulaWeights);

impl Weights for SingleFrames {
    fn config(&self) -> &VaeConfig {
        self.0.config()
    }
    fn tensor(&self, spec: &vae2x_core::arch::TensorSpec) -> vae2x_core::Result<Array> {
        match spec.name.contains("time_conv") {
            true => Err(Error::Unsupported(format!("there is no {}", spec.name))),
            false => self.0.tensor(spec),
        }
    }
    fn has_time(&self) -> bool {
        false
    }
}

#[test]
fn weights_for_single_frames_run_single_frames_only() {
    let weights = Arc::new(SingleFrames(FormulaWeights::new(VaeConfig::with_widths(
        2, 3,
    ))));
    let engine = CpuEngine::new(weights, CpuOptions::default()).unwrap();
    let mut decoder = engine.decoder();
    assert!(decoder.step(&array(&[16, 1, 2, 2]), &mut |_| ()).is_ok());
    assert!(matches!(
        decoder.step(&array(&[16, 1, 2, 2]), &mut |_| ()),
        Err(Error::Unsupported(_))
    ));
    assert!(
        engine
            .decoder()
            .step(&array(&[16, 2, 2, 2]), &mut |_| ())
            .is_err()
    );
}

#[test]
fn progress_rises_to_one() {
    let engine = engine(&VaeConfig::with_widths(2, 3), Isa::detect(), 2);
    for frames in [1, 3] {
        let mut last = 0.0;
        let mut rising = true;
        let mut note = |fraction: f32| {
            rising &= fraction >= last;
            last = fraction;
        };
        engine
            .decoder()
            .step(&array(&[16, frames, 5, 6]), &mut note)
            .unwrap();
        assert!(
            rising && (last - 1.0).abs() < 1e-4,
            "{frames} frames: {last}"
        );
    }
}

#[test]
fn the_memory_estimate_counts_what_grows() {
    let config = VaeConfig::with_widths(96, 12);
    let total = |size: [usize; 3]| decode_memory(&config, size, CpuOptions::default()).unwrap();
    let (low, high) = (total([1, 64, 64]), total([1, 128, 64]));
    assert_eq!(high.output, 2 * low.output);
    assert_eq!(high.weights, low.weights);
    assert!(
        high.working > low.working && high.working < 2 * low.working,
        "{low:?} {high:?}"
    );
    // A clip needs four sets where a single frame needs one, but of large convolutions it keeps the taps.
    let clip = total([2, 64, 64]);
    assert!(
        clip.weights > low.weights && clip.weights < 3 * low.weights,
        "{low:?} {clip:?}"
    );
    let half = decode_memory(
        &config,
        [1, 64, 64],
        CpuOptions {
            precision: Precision::Bf16,
            ..CpuOptions::default()
        },
    );
    assert!(half.unwrap().total() < low.total() * 3 / 4);
}
