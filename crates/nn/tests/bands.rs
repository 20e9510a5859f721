//! Images in bands equal whole images, for every way to cut them, and so do whole engines with little memory, on
//! burn-flex or the device that `VAE2X_TEST_DEVICE` names.

mod common;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use std::sync::Arc;

use common::{device, is_flex};
use proptest::prelude::*;
use vae2x_core::engine::{self, Engine};
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, Error, Extent, Precision, VaeConfig};
use vae2x_nn::device::{Limits, float_dtype};
use vae2x_nn::wan_vae::{
    BurnEngine, BurnOptions, DecodePlan, Decoder, DecoderState, Demand, EncodePlan, Encoder,
    EncoderState, Rows, TailState, TrunkState,
};
use vae2x_testkit::compare::assert_close;
use vae2x_testkit::{fixture, open, tolerance, vae};

const MODELS: [&str; 2] = ["vae_tiny_up2x", "vae_tiny_base"];

fn weights(model: &str) -> Arc<VaeWeights> {
    Arc::new(VaeWeights::open(&fixture(&format!("{model}/original.safetensors"))).unwrap())
}

fn engine(
    weights: &Arc<VaeWeights>,
    options: BurnOptions,
    device: Device,
) -> vae2x_core::Result<Arc<dyn Engine>> {
    Ok(Arc::new(BurnEngine::new(weights.clone(), options, device)?))
}

/// An engine that plans for no more than `limits`.
fn limited(weights: &Arc<VaeWeights>, limits: Limits) -> Arc<dyn Engine> {
    let options = BurnOptions {
        limits,
        ..BurnOptions::default()
    };
    engine(weights, options, device()).unwrap()
}

/// The frames of latent frame `t`.
fn frames(clip: &Array, t: usize) -> Array {
    let config = VaeConfig::default();
    clip.narrow1(config.frames(t)..config.frames(t + 1))
}

/// Numbers without a pattern that a convolution could meet twice, in [-1, 1].
fn noise(shape: [usize; 4]) -> Array {
    let value = |i: usize| ((i as f64 * 12.9898).sin() * 43758.5453).fract() as f32;
    Array::new(shape, (0..shape.iter().product()).map(value).collect()).unwrap()
}

fn upload(array: &Array, device: &Device) -> Tensor<5> {
    let dims: [usize; 4] = array.dims("input").unwrap();
    Tensor::<4>::from_data(TensorData::new(array.data().to_vec(), dims), device)
        .cast(finest(device).0)
        .unsqueeze()
}

/// The precision to compare in, and how near bands come to the whole in it. Devices are meant for `f32`; what they make of
/// `f64` is another matter.
fn finest(device: &Device) -> (FloatDType, f64) {
    match is_flex(device) {
        true => (FloatDType::F64, tolerance::BANDS_F64),
        false => (FloatDType::F32, tolerance::BANDS_F32),
    }
}

/// Casts a module's parameters.
struct To(FloatDType);

impl ModuleMapper for To {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

fn download(tensor: Tensor<5>) -> Array {
    Array::new(tensor.dims(), tensor.try_into_vec_as::<f32>().unwrap()).unwrap()
}

fn decode_in_bands(decoder: &Decoder, clip: &Array, most: usize, device: &Device) -> Vec<Array> {
    let bands = Rows::bands(clip.shape()[2], most);
    let mut trunk = TrunkState::default();
    let mut states = vec![TailState::default(); bands.len()];
    let step = |t: usize| {
        let x = decoder
            .trunk(upload(&clip.narrow1(t..t + 1), device), &mut trunk, most)
            .unwrap();
        let parts = bands
            .iter()
            .zip(&mut states)
            .map(|(&band, state)| decoder.tail(x.clone(), band, state))
            .collect();
        download(Tensor::cat(parts, 3))
    };
    (0..clip.shape()[1]).map(step).collect()
}

fn encode_in_bands(encoder: &Encoder, clip: &Array, most: usize, device: &Device) -> Vec<Array> {
    let mut states = vec![Vec::new(); encoder.stages.len()];
    let mut rest = Default::default();
    let step = |t: usize| {
        let mut x = upload(&frames(clip, t), device);
        for (i, states) in states.iter_mut().enumerate() {
            let bands = Rows::bands(encoder.output_height(i, x.dims()[3]), most);
            states.resize_with(bands.len(), Default::default);
            let parts = bands
                .iter()
                .zip(states)
                .map(|(&band, state)| encoder.stage(i, x.clone(), band, state));
            x = Tensor::cat(parts.collect(), 3);
        }
        download(encoder.rest(x, &mut rest, most))
    };
    (0..VaeConfig::default().latent_frames(clip.shape()[1]))
        .map(step)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..Default::default() })]

    #[test]
    fn a_decode_in_bands_is_the_whole(t in 1..4usize, h in 1..14usize, w in 1..6usize, most in 1..7usize) {
        let device = device();
        let (dtype, tolerance) = finest(&device);
        let decoder = Decoder::load(&*weights(MODELS[h % 2]), &device).unwrap().map(&mut To(dtype));
        let clip = noise([16, t, h, w]);
        let mut state = DecoderState::default();
        for (i, got) in decode_in_bands(&decoder, &clip, most, &device).into_iter().enumerate() {
            let whole = decoder.step(upload(&clip.narrow1(i..i + 1), &device), &mut state).unwrap();
            assert_close(&format!("{t}x{h}x{w} in bands of {most}, {i}"), &got, &download(whole), tolerance);
        }
    }

    #[test]
    fn an_encode_in_bands_is_the_whole(t in 1..4usize, h in 1..7usize, w in 1..4usize, most in 1..30usize) {
        let device = device();
        let (dtype, tolerance) = finest(&device);
        let encoder = Encoder::load(&*weights(MODELS[h % 2]), &device).unwrap().map(&mut To(dtype));
        let clip = noise([3, VaeConfig::default().frames(t), 8 * h, 8 * w]);
        let mut state = EncoderState::default();
        for (i, got) in encode_in_bands(&encoder, &clip, most, &device).into_iter().enumerate() {
            let whole = encoder.step(upload(&frames(&clip, i), &device), &mut state);
            assert_close(&format!("{t}x{h}x{w} in bands of {most}, {i}"), &got, &download(whole), tolerance);
        }
    }
}

#[test]
fn clips_of_a_single_cell_are_those_of_the_reference() {
    let weights = weights(MODELS[1]);
    let [got, want] = [device(), Device::flex()]
        .map(|device| engine(&weights, BurnOptions::default(), device).unwrap());
    let (latent, pixels) = (noise([16, 3, 1, 1]), noise([3, 9, 8, 8]));
    assert_close(
        "decode",
        &vae::decode_whole(&got, &latent),
        &vae::decode_whole(&want, &latent),
        tolerance::GPU_F32,
    );
    assert_close(
        "encode",
        &vae::encode_whole(&got, &pixels),
        &vae::encode_whole(&want, &pixels),
        tolerance::GPU_F32,
    );
}

#[test]
fn an_engine_in_bands_is_the_engine() {
    let (weights, latent) = (weights(MODELS[0]), noise([16, 2, 24, 20]));
    let demand = |limits: Limits| Demand {
        cells: [24, 20],
        clip: true,
        bytes: 4,
        limits,
    };
    let tight = least(|limits| DecodePlan::new(weights.config(), &demand(limits)));
    let whole = vae::decode_whole(&limited(&weights, Limits::default()), &latent);
    for eighths in [8, 9, 12] {
        let limits = Limits {
            memory: tight.memory * eighths / 8,
            ..tight
        };
        let plan = DecodePlan::new(weights.config(), &demand(limits)).unwrap();
        let got = vae::decode_whole(&limited(&weights, limits), &latent);
        assert_close(
            &format!("{} bands", plan.bands.len()),
            &got,
            &whole,
            tolerance::BANDS_F32,
        );
    }
}

/// The least memory that `plan` accepts, within a hundredth.
fn least<T>(plan: impl Fn(Limits) -> vae2x_core::Result<T>) -> Limits {
    let limits = |memory: u64| Limits {
        memory,
        ..Limits::default()
    };
    let (mut refused, mut accepted) = (0, 1 << 40);
    while accepted - refused > accepted / 100 {
        let middle = (refused + accepted) / 2;
        if plan(limits(middle)).is_ok() {
            accepted = middle
        } else {
            refused = middle
        }
    }
    limits(accepted)
}

#[test]
fn an_engine_with_little_memory_passes_the_fixtures() {
    let tolerance = if is_flex(&device()) {
        tolerance::BURN_F32
    } else {
        tolerance::GPU_F32
    };
    for model in MODELS {
        let weights = weights(model);
        let cases = open(&format!("{model}/cases.safetensors"));
        let sizes = cases
            .tensors()
            .iter()
            .filter(|(name, _)| name.starts_with("decode") && name.ends_with(".latent"));
        let largest = sizes
            .map(|(_, tensor)| [tensor.shape[3], tensor.shape[4]])
            .max_by_key(|[h, w]| h * w)
            .unwrap();
        let demand = |limits: Limits| Demand {
            cells: largest,
            clip: true,
            bytes: 4,
            limits,
        };
        let decode = |limits: Limits| DecodePlan::new(weights.config(), &demand(limits));
        let encode = |limits: Limits| EncodePlan::new(weights.config(), &demand(limits));
        let tight = least(|limits| decode(limits).and(encode(limits)));
        let parked = decode(tight).unwrap();
        assert!(parked.bands.len() > 1, "{parked:?}");
        for memory in [tight.memory, tight.memory * 5 / 4] {
            // Each half by itself: what the other one holds is not in this memory.
            let limits = Limits { memory, ..tight };
            let halves = [(); 2].map(|()| limited(&weights, limits));
            vae::check_decode_fixtures(&halves[0], model, tolerance);
            vae::check_encode_fixtures(&halves[1], model, tolerance);
        }
    }
}

#[test]
fn half_precision_is_near_full_precision() {
    let device = device();
    let weights = weights("vae_tiny_up2x");
    let latent = open("vae_tiny_up2x/cases.safetensors")
        .read("decode.clip.latent")
        .unwrap()
        .item(0);
    let load = |precision: Precision| {
        let options = BurnOptions {
            decoder_precision: precision,
            ..BurnOptions::default()
        };
        engine(&weights, options, device.clone())
    };
    let decode = |precision| vae::decode_whole(&load(precision).unwrap(), &latent);
    let full = decode(Precision::F32);
    let f16 = if is_flex(&device) {
        tolerance::F16
    } else {
        tolerance::F16_SUMS
    };
    for (precision, tolerance) in [(Precision::F16, f16), (Precision::Bf16, tolerance::BF16)] {
        if !device.supports_dtype(float_dtype(precision)) {
            let refused = load(precision).err();
            assert!(matches!(refused, Some(Error::NoDevice(_))), "{refused:?}");
            println!("skipped: the device cannot compute in {precision}");
            continue;
        }
        let half = decode(precision);
        assert_close(&format!("{precision}"), &half, &full, tolerance);
        assert_ne!(half.data(), full.data(), "{precision} changes something");
    }
}

#[test]
fn what_cannot_fit_is_refused_before_the_weights_are_read() {
    let limits = Limits {
        memory: 1 << 20,
        ..Limits::default()
    };
    let engine = limited(&weights("vae_tiny_base"), limits);
    let refused = engine::Decoder::new(engine, Extent::image([64, 64])).err();
    let message = match refused {
        Some(Error::Memory(message)) => message,
        other => panic!("{other:?}"),
    };
    assert!(message.contains("64x64"), "{message}");
}
