//! Ten training steps against PyTorch in float64: the first step's gradients, then every loss of every step.

use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use vae2x_core::Array;
use vae2x_core::weights::formula::unit;
use vae2x_core::weights::{TensorFile, VaeWeights};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_testkit::compare::{assert_close, relative_l2};
use vae2x_testkit::{fixture, open, tolerance};
use vae2x_train::decoder::batch::Batch;
use vae2x_train::decoder::learner::Learner;
use vae2x_train::decoder::losses::VggChoices;
use vae2x_train::decoder::{Inputs, build};
use vae2x_train::run::optim;
use vae2x_train::{Config, VggChoice};

const STEPS: usize = 10;
const BATCH: usize = 2;
const CROP: usize = 64;

/// What `tools/reference/train_parity.py` has as constants.
const CONFIG: &str = r#"
model = { base = "vae_tiny_base", start = "repeat" }
data = { photos = ["none"], crop = 64 }
train = { steps = 10, batch = 2, lr = 1e-3, lr_min = 1e-5, schedule = "cosine", warmup = 3, clip = 1.0, weight_decay = 0.01 }
gan = { weight = 0.3, start = 2, warmup = 1, ramp = 3, width = 8, lr = 2e-4, betas = [0.5, 0.9] }
[loss]
l1 = 1.0
lpips = 0.1
feature_l1 = 0.05
fdl = 0.5
vgg16 = "formula"
vgg19 = "formula"
fdl_options = { patch = 3, projections = 4, phase_weight = 0.01, resample = true }
"#;

fn learner() -> Learner {
    learner_with(&[])
}

fn learner_with(overrides: &[String]) -> Learner {
    let config = Config::parse(CONFIG, overrides).unwrap();
    let base = VaeWeights::open(&fixture("vae_tiny_base/original.safetensors")).unwrap();
    let choices = VggChoices {
        vgg16: Some(VggChoice::Formula),
        vgg19: Some(VggChoice::Formula),
    };
    build(
        &config,
        &Inputs {
            base: Arc::new(base),
            choices,
        },
        None,
        &Device::flex(),
    )
    .unwrap()
}

/// Noise at two scales.
fn picture(kind: &str, step: usize, side: usize) -> Tensor<4> {
    let noise = |scale: &str, n: usize| {
        unit(&format!("parity.{kind}.{scale}.{step}"), n).collect::<Vec<f32>>()
    };
    let small = side / 8;
    let (coarse, fine) = (
        noise("coarse", BATCH * 3 * small * small),
        noise("fine", BATCH * 3 * side * side),
    );
    let value = |i: usize| {
        let (plane, y, x) = (i / (side * side), i / side % side, i % side);
        0.7 * coarse[(plane * small + y / 8) * small + x / 8] + 0.2 * fine[i]
    };
    let array = Array::new([BATCH, 3, side, side], (0..fine.len()).map(value).collect()).unwrap();
    to_tensor(&array, kind, &Device::flex()).unwrap()
}

fn batch(step: usize) -> Batch {
    let names = vec!["a".into(); BATCH];
    Batch {
        names,
        target: picture("target", step, CROP),
        input: picture("input", step, CROP / 2),
    }
}

/// Gradients in the order of the parameters; of causal kernels the last temporal tap.
struct Gradients<'a>(&'a GradientsParams, Vec<Option<Array>>);

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.0.get::<D>(param.id).map(|gradient| {
            let taps = gradient.dims().get(2).copied().filter(|_| D == 5);
            let last = match taps {
                Some(taps) => gradient.narrow(2, taps - 1, 1),
                None => gradient,
            };
            to_array(last).unwrap()
        });
        self.1.push(gradient);
    }
}

fn reference() -> TensorFile {
    open("train_parity.safetensors")
}

#[test]
fn the_first_steps_gradients() {
    let (learner, fixture) = (learner(), reference());
    let mut work = learner.begin(0, vec![batch(0)]);
    let found = learner.generator_gradients(&mut work).unwrap();
    let mut gradients = Gradients(&found, Vec::new());
    learner.generator.visit(&mut gradients);
    let specs = learner.generator.specs(&learner.vae, learner.has_time);
    let mut compared = 0;
    for (spec, gradient) in specs.iter().zip(gradients.1) {
        let name = format!("gradient.{}", spec.name);
        let known = fixture.tensors().contains_key(&name);
        assert_eq!(gradient.is_some(), known, "{name}");
        let Some(got) = gradient else { continue };
        let want = fixture.read(&name).unwrap();
        let got = got.reshape(want.shape()).unwrap();
        let mut parts = vec![(got.clone(), want.clone())];
        if spec.name.ends_with("to_qkv.bias") {
            // Attention is blind to the keys' bias: its gradient is zero but for rounding, and has no relative error.
            let third = |a: &Array, i: usize| {
                a.clone()
                    .reshape([1, a.data().len()])
                    .unwrap()
                    .narrow1(i..i + a.data().len() / 3)
            };
            parts = [0, 2 * got.data().len() / 3]
                .map(|i| (third(&got, i), third(&want, i)))
                .into();
        }
        parts
            .iter()
            .for_each(|(got, want)| assert_close(&name, got, want, tolerance::TRAINING));
        compared += 1;
    }
    assert!(compared > 70, "{compared}");
}

#[test]
fn ten_steps() {
    let (mut learner, fixture) = (learner(), reference());
    let names: Vec<String> = fixture
        .tensors()
        .keys()
        .filter(|n| n.starts_with("log."))
        .cloned()
        .collect();
    let log: Vec<(String, Vec<f32>)> = names
        .iter()
        .map(|n| {
            (
                n["log.".len()..].to_string(),
                fixture.read(n).unwrap().into_data(),
            )
        })
        .collect();
    assert_eq!(log.len(), 11);
    for step in 0..STEPS {
        let mut work = learner.begin(step as u64, vec![batch(step)]);
        learner.discriminator_step(&mut work).unwrap();
        learner.generator_step(&mut work).unwrap();
        for (name, wanted) in &log {
            let got = work
                .values
                .iter()
                .find(|(known, _)| known.strip_suffix("_formula").unwrap_or(known) == name);
            let got = got.map(|(_, value)| *value);
            let want = Some(f64::from(wanted[step])).filter(|w| !w.is_nan());
            assert_eq!(got.is_some(), want.is_some(), "{name} at step {step}");
            let (Some(got), Some(want)) = (got, want) else {
                continue;
            };
            let error = (got - want).abs() / want.abs();
            let tolerance = match name.as_str() {
                "grad_norm" => tolerance::TRAINING_NORM,
                // A ratio of two such norms.
                "gan_weight" => 2.0 * tolerance::TRAINING_NORM,
                _ => tolerance::TRAINING,
            };
            assert!(
                error <= tolerance,
                "{name} at step {step}: {got}, expected {want}"
            );
        }
    }
}

#[test]
fn half_precision_is_near_and_keeps_parameters_whole() {
    for parts in ["decoder", "all"] {
        let learner = |precision: &str| {
            learner_with(&[
                format!("train.parts=[\"{parts}\"]"),
                format!("train.precision=\"{precision}\""),
            ])
        };
        let gradient = |learner: &Learner| {
            let gradients = learner
                .generator_gradients(&mut learner.begin(0, vec![batch(0)]))
                .unwrap();
            optim::flatten(&learner.generator, &gradients).unwrap()
        };
        let mut half = learner("bf16");
        let error = relative_l2(&gradient(&half), &gradient(&learner("f32")));
        assert!(error <= tolerance::BF16_GRADIENT, "{parts}: {error}");
        // If it were zero, nothing would be computed in half precision.
        assert!(error >= tolerance::TRAINING, "{parts}: {error}");

        let mut losses = Vec::new();
        for step in 0..STEPS as u64 {
            losses.push(half.advance(step, vec![batch(0)]).unwrap().values["l1"]);
        }
        assert!(losses[STEPS - 1] < 0.9 * losses[0], "{parts}: {losses:?}");
        struct Whole(usize);
        impl ModuleVisitor for Whole {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                assert_eq!(param.val().dtype(), DType::F32);
                self.0 += 1;
            }
        }
        let mut whole = Whole(0);
        half.generator.visit(&mut whole);
        assert!(whole.0 > 70);
    }
}
