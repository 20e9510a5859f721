//! A step in other ways that must come to the same: a batch in parts, activations computed again.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Device;
use vae2x_core::Array;
use vae2x_core::weights::VaeWeights;
use vae2x_core::weights::formula::unit;
use vae2x_nn::array::to_tensor;
use vae2x_testkit::compare::relative_l2;
use vae2x_testkit::{fixture, tolerance};
use vae2x_train::decoder::batch::Batch;
use vae2x_train::decoder::learner::Learner;
use vae2x_train::decoder::losses::VggChoices;
use vae2x_train::decoder::{Inputs, build};
use vae2x_train::run::optim;
use vae2x_train::{Config, VggChoice};

const CROP: usize = 32;

/// Without what is drawn anew for each part of a batch: flow times, kernels, windows.
const CONFIG: &str = r#"
model = { base = "vae_tiny_base" }
data = { photos = ["none"], crop = 32 }
train = { steps = 10, lr = 1e-3, seed = 3 }
gan = { weight = 0.05, warmup = 1, width = 4, adaptive = false }
loss = { l1 = 1.0, feature_l1 = 0.1, vgg19 = "random:1", fdl_options = { layer_weights = [1.0, 1.0] } }
"#;

fn learner(change: &str) -> Learner {
    let config = Config::parse(CONFIG, &[change.into()]).unwrap();
    let base = VaeWeights::open(&fixture("vae_tiny_base/original.safetensors")).unwrap();
    let choices = VggChoices {
        vgg16: None,
        vgg19: Some(VggChoice::Random(1)),
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

/// Some of a step's samples.
fn batch(step: u64, samples: Range<usize>) -> Batch {
    let pictures = |kind: &str, side: usize| {
        let picture = |i| {
            Array::new(
                [3, side, side],
                unit(&format!("{kind}.{step}.{i}"), 3 * side * side).collect(),
            )
        };
        let pictures: Vec<Array> = samples.clone().map(|i| picture(i).unwrap()).collect();
        to_tensor(&Array::stack(&pictures).unwrap(), kind, &Device::flex()).unwrap()
    };
    let names = samples.clone().map(|i| i.to_string()).collect();
    Batch {
        names,
        target: pictures("target", CROP),
        input: pictures("input", CROP / 2),
    }
}

/// The gradient of the first step.
fn gradient(learner: &Learner, batches: Vec<Batch>) -> Vec<f32> {
    let gradients = learner
        .generator_gradients(&mut learner.begin(0, batches))
        .unwrap();
    optim::flatten(&learner.generator, &gradients).unwrap()
}

#[test]
fn accumulated_halves_are_the_whole_batch() {
    let (mut whole, mut halves) = (learner("train.batch=2"), learner("train.accumulate=2"));
    let parts = |step| vec![batch(step, 0..1), batch(step, 1..2)];
    let error = relative_l2(
        &gradient(&halves, parts(0)),
        &gradient(&whole, vec![batch(0, 0..2)]),
    );
    assert!(error <= tolerance::RANKS_GRADIENT, "{error:e}");
    for step in 0..3 {
        let [one, two] = [
            whole.advance(step, vec![batch(step, 0..2)]),
            halves.advance(step, parts(step)),
        ];
        let (one, two) = (one.unwrap().values, two.unwrap().values);
        assert!(
            one.len() == two.len()
                && one.contains_key("d_loss")
                && one.contains_key("feature_l1_random")
        );
        for (name, value) in one {
            let error = (two[name] - value).abs() / value.abs();
            assert!(
                error <= tolerance::RANKS_CHANGE,
                "{name} at step {step}: {value} {}",
                two[name]
            );
        }
    }
}

#[test]
fn activations_that_are_computed_again_give_the_same_gradient() {
    let gradient = |change: &str| gradient(&learner(change), vec![batch(0, 0..1)]);
    let kept = gradient("train.gradient_checkpointing=false");
    assert!(kept.iter().any(|&g| g != 0.0));
    assert_eq!(kept, gradient("train.gradient_checkpointing=true"));
}
