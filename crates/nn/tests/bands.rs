//! Pictures in bands equal whole pictures, for every way to cut them, and so do whole engines with little memory, on
//! burn-flex or the device that `VAE2X_TEST_DEVICE` names.

mod common;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use common::{bands_tolerance, device, is_flex};
use proptest::prelude::*;
use vae2x_core::engine::Engine;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_core::{Array, time};
use vae2x_nn::wan_vae::{
    BurnEngine, BurnOptions, DecodePlan, Decoder, DecoderState, EncodePlan, Encoder, EncoderState,
    Job, Limits, Rows, TailState, TrunkState,
};
use vae2x_testkit::compare::assert_close;
use vae2x_testkit::{fixture, open, tolerance, vae};

const MODELS: [&str; 2] = ["vae_tiny_up2x", "vae_tiny_base"];

fn weights(model: &str) -> VaeWeights {
    VaeWeights::open(&fixture(&format!("{model}/original.safetensors"))).unwrap()
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
        false => (FloatDType::F32, bands_tolerance()),
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
        let mut x = upload(&clip.narrow1(time::frames(t)..time::frames(t + 1)), device);
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
    (0..time::latent_frames(clip.shape()[1]))
        .map(step)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..Default::default() })]

    #[test]
    fn a_decode_in_bands_is_the_whole(t in 1..4usize, h in 1..14usize, w in 1..6usize, most in 1..7usize) {
        let device = device();
        let (dtype, tolerance) = finest(&device);
        let decoder = Decoder::load(&weights(MODELS[h % 2]), &device).unwrap().map(&mut To(dtype));
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
        let encoder = Encoder::load(&weights(MODELS[h % 2]), &device).unwrap().map(&mut To(dtype));
        let clip = noise([3, time::frames(t), 8 * h, 8 * w]);
        let mut state = EncoderState::default();
        for (i, got) in encode_in_bands(&encoder, &clip, most, &device).into_iter().enumerate() {
            let frames = clip.narrow1(time::frames(i)..time::frames(i + 1));
            let whole = encoder.step(upload(&frames, &device), &mut state);
            assert_close(&format!("{t}x{h}x{w} in bands of {most}, {i}"), &got, &download(whole), tolerance);
        }
    }
}

#[test]
fn clips_of_a_single_cell_are_those_of_the_reference() {
    let weights = weights(MODELS[1]);
    let engine =
        |device: &Device| BurnEngine::load(&weights, &BurnOptions::default(), device).unwrap();
    let (got, want) = (engine(&device()), engine(&Device::flex()));
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
    let engine = |limits: Limits| {
        BurnEngine::load(
            &weights,
            &BurnOptions {
                limits,
                ..BurnOptions::default()
            },
            &device(),
        )
        .unwrap()
    };
    let job = |limits: Limits| Job {
        cells: [24, 20],
        clip: true,
        bytes: 4,
        limits,
    };
    let tight = least(|limits| DecodePlan::new(weights.config(), &job(limits)));
    let whole = vae::decode_whole(&engine(Limits::default()), &latent);
    for eighths in [8, 9, 12] {
        let limits = Limits {
            memory: tight.memory * eighths / 8,
            ..tight
        };
        let plan = DecodePlan::new(weights.config(), &job(limits)).unwrap();
        let got = vae::decode_whole(&engine(limits), &latent);
        assert_close(
            &format!("{} bands", plan.bands.len()),
            &got,
            &whole,
            bands_tolerance(),
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
        let job = |limits: Limits| Job {
            cells: largest,
            clip: true,
            bytes: 4,
            limits,
        };
        let decode = |limits: Limits| DecodePlan::new(weights.config(), &job(limits));
        let encode = |limits: Limits| EncodePlan::new(weights.config(), &job(limits));
        let tight = least(|limits| decode(limits).and(encode(limits)));
        let parked = decode(tight).unwrap();
        assert!(parked.bands.len() > 1, "{parked:?}");
        for memory in [tight.memory, tight.memory * 5 / 4] {
            let options = BurnOptions {
                limits: Limits { memory, ..tight },
                ..BurnOptions::default()
            };
            let engine = BurnEngine::load(&weights, &options, &device()).unwrap();
            vae::check_fixtures(&engine, model, tolerance);
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
    let load = |dtype: FloatDType| {
        let options = BurnOptions {
            decoder_dtype: dtype,
            ..BurnOptions::default()
        };
        BurnEngine::load(&weights, &options, &device)
    };
    let decode = |dtype: FloatDType| vae::decode_whole(&load(dtype).unwrap(), &latent);
    let full = decode(FloatDType::F32);
    let f16 = if is_flex(&device) {
        tolerance::F16
    } else {
        tolerance::F16_SUMS
    };
    for (dtype, tolerance) in [(FloatDType::F16, f16), (FloatDType::BF16, tolerance::BF16)] {
        if !device.supports_dtype(dtype) {
            let refused = load(dtype).unwrap_err().to_string();
            assert!(refused.contains("cannot compute in"), "{refused}");
            println!("skipped: {refused}");
            continue;
        }
        let half = decode(dtype);
        assert_close(&format!("{dtype:?}"), &half, &full, tolerance);
        assert_ne!(half.data(), full.data(), "{dtype:?} changes something");
    }
}

#[test]
fn what_cannot_fit_is_refused_with_an_estimate() {
    let weights = weights("vae_tiny_base");
    let options = BurnOptions {
        limits: Limits {
            memory: 1 << 20,
            ..Limits::default()
        },
        ..BurnOptions::default()
    };
    let engine = BurnEngine::load(&weights, &options, &device()).unwrap();
    let message = engine
        .decoder()
        .step(&noise([16, 1, 64, 64]), &mut |_| ())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("64x64") && message.contains("MB"),
        "{message}"
    );
}
