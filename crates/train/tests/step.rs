//! A step in other ways that must come to the same: a batch in parts, activations computed again.

use std::collections::BTreeMap;
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
log = { every = 1 }
"#;

fn learner(change: &str) -> Learner {
    learner_with(&[change])
}

fn learner_with(changes: &[&str]) -> Learner {
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let config = Config::parse(CONFIG, &changes).unwrap();
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
        assert_eq!(one.len(), two.len());
        for name in ["d_loss", "feature_l1_random", "pull_feature_l1", "pull_gan"] {
            // The critic learns alone at first.
            assert_eq!(
                one.contains_key(name),
                step > 0 || name != "pull_gan",
                "{name}"
            );
        }
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

/// The numbers of the first step's generator.
fn values(changes: &[&str]) -> BTreeMap<&'static str, f64> {
    let learner = learner_with(changes);
    let mut work = learner.begin(0, vec![batch(0, 0..2)]);
    learner.generator_gradients(&mut work).unwrap();
    work.values
}

#[test]
fn a_pull_is_the_gradient_of_a_loss_alone() {
    const FDL: &str = "loss.fdl_options={patch=3, projections=4, layer_weights=[1.0, 0.5]}";
    let [l1, features, fdl] = ["loss.l1=2", "loss.feature_l1=0.3", "loss.fdl=0.2"];
    let with = |losses: &[&str]| values(&[&["gan.weight=0", FDL], losses].concat());
    let all = with(&[l1, features, fdl]);
    for (losses, name) in [
        ([l1, "loss.feature_l1=0", "loss.fdl=0"], "pull_l1"),
        (["loss.l1=0", features, "loss.fdl=0"], "pull_feature_l1"),
        (["loss.l1=0", "loss.feature_l1=0", fdl], "pull_fdl"),
    ] {
        let alone = with(&losses);
        let pulls = alone.keys().filter(|name| name.starts_with("pull_"));
        assert!(pulls.eq([&name]), "{alone:?}");
        let error = (all[name] / alone[name] - 1.0).abs();
        assert!(error < 1e-3, "{name}: {} {}", all[name], alone[name]);
    }
    // Whatever the crop: the gradient is 2 or -2 in every value of the mean.
    assert!((all["pull_l1"] - 2.0).abs() < 1e-3, "{all:?}");
    let twice = with(&[l1, "loss.feature_l1=0.6", fdl]);
    let ratio = twice["pull_feature_l1"] / all["pull_feature_l1"];
    assert!((ratio - 2.0).abs() < 1e-3, "{ratio}");
}

#[test]
fn what_is_reported_changes_no_gradient() {
    let more = ["loss.fdl=0.1", "loss.fdl_options.patch=3"];
    let reported = |every: &'static str| [&more[..], &[every]].concat();
    let (often, seldom) = (reported("log.every=1"), reported("log.every=7"));
    let gradient = |changes: &[&str]| gradient(&learner_with(changes), vec![batch(0, 0..1)]);
    assert_eq!(gradient(&often), gradient(&seldom));
    assert!(values(&often).contains_key("pull_fdl"));
    assert!(!values(&seldom).keys().any(|name| name.starts_with("pull_")));
}

#[test]
fn a_bad_batch_is_skipped_and_leaves_no_trace() {
    let broken = || {
        let mut broken = batch(0, 0..1);
        broken.target = broken.target.mul_scalar(f32::NAN);
        vec![broken]
    };
    let mut skipping = learner("train.skip_bad=2");
    let skips = |learner: &Learner| (learner.skips.total, learner.skips.in_a_row);
    for step in 0..2 {
        let work = skipping.advance(step, broken()).unwrap();
        let problem = work.problem.unwrap();
        assert!(problem.contains("d_loss is NaN"), "{problem}");
    }
    assert_eq!(skips(&skipping), (2, 2));
    let mut spared = learner("train.skip_bad=0");
    for step in 2..4 {
        let step = |learner: &mut Learner| learner.advance(step, vec![batch(step, 0..1)]).unwrap();
        let (a, b) = (step(&mut skipping), step(&mut spared));
        assert!(a.problem.is_none() && a.values["d_loss"].is_finite());
        assert_eq!(a.values, b.values);
    }
    assert_eq!(skips(&skipping), (2, 0));
    for step in 4..6 {
        skipping.advance(step, broken()).unwrap();
    }
    let error = skipping.advance(6, broken()).err().unwrap().to_string();
    assert!(
        error.contains("step 6") && error.contains("train.skip_bad"),
        "{error}"
    );
    assert!(spared.advance(4, broken()).is_err());
}
