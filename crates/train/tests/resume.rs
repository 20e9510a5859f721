//! A run that was stopped and resumed is, to the bit, the run that was not; what stops a run leaves it whole.

mod common;

use std::path::Path;

use burn::tensor::Device;
use vae2x_core::weights::{DType, Layout, TensorFile, VaeWeights, Weights};
use vae2x_core::{Array, Precision, arch};
use vae2x_testkit::compare::assert_same;
use vae2x_testkit::fixture;
use vae2x_train::Config;
use vae2x_train::decoder::checkpoint::{Checkpoint, Checkpoints};
use vae2x_train::decoder::config::{GanConfig, TrainConfig};
use vae2x_train::decoder::export::{ExportOptions, export};
use vae2x_train::decoder::images::{ImageWeights, with_last_tap};
use vae2x_train::run::checkpoint::find;

use common::{config, newest, photos, run_until};

/// Lines of the log without what depends on the clock.
fn log(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("images_per_second");
        value
    };
    text.lines().map(parse).collect()
}

fn same_tensors(a: &TensorFile, b: &TensorFile) {
    assert!(a.tensors().keys().eq(b.tensors().keys()));
    a.tensors()
        .keys()
        .for_each(|name| assert_same(name, &a.read(name).unwrap(), &b.read(name).unwrap()));
}

fn run(config: &Config, folder: &Path) -> vae2x_train::Result<()> {
    common::run(config, folder, &[Device::flex()])
}

#[test]
fn resumed_runs_are_whole_runs_to_the_bit_and_exports_hold_them() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let at = |name: &str| runs.path().join(name);
    let whole = config(photos.path(), 5);
    run(&whole, &at("whole")).unwrap();
    // Stopped where no checkpoint is due, and again with a discriminator.
    for step in [1, 3] {
        run_until(&whole, &at("cut"), &[Device::flex()], Some(step)).unwrap();
        assert_eq!(newest(&at("cut")).progress.step, step);
    }
    run(&whole, &at("cut")).unwrap();
    let [a, b] = ["whole", "cut"].map(|name| newest(&at(name)));
    assert_eq!((a.progress.step, &a.progress), (5, &b.progress));
    same_tensors(&a.file, &b.file);
    assert_eq!(log(&at("whole")), log(&at("cut")));
    assert!(
        log(&at("whole"))
            .iter()
            .any(|line| line["kind"] == "eval" && line["psnr"].is_number())
    );
    assert!(
        at("whole")
            .join("samples/step-00000003-photos.png")
            .exists()
    );

    exports(&a, &at("export"));
    damaged_checkpoints_are_passed_over(&whole, &at("cut"));
}

#[test]
fn half_precision_resumes_to_the_bit() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let at = |name: &str| runs.path().join(name);
    let config = config(photos.path(), 3);
    let train = TrainConfig {
        precision: Precision::Bf16,
        ..config.train.clone()
    };
    let config = Config { train, ..config };
    run(&config, &at("whole")).unwrap();
    run_until(&config, &at("cut"), &[Device::flex()], Some(2)).unwrap();
    run(&config, &at("cut")).unwrap();
    same_tensors(&newest(&at("whole")).file, &newest(&at("cut")).file);
}

#[test]
fn a_run_can_begin_to_have_a_discriminator() {
    let (photos, folder) = (photos(), tempfile::tempdir().unwrap());
    let folder = folder.path().join("run");
    let with = config(photos.path(), 3);
    let without = Config {
        gan: GanConfig {
            weight: 0.0,
            ..with.gan.clone()
        },
        ..with.clone()
    };
    run_until(&without, &folder, &[Device::flex()], Some(1)).unwrap();
    assert!(!newest(&folder).has_discriminator());
    run(&with, &folder).unwrap();
    assert!(newest(&folder).has_discriminator());
    let lines = log(&folder);
    let has = |name: &str| -> Vec<bool> {
        let lines = lines.iter().filter(|line| line["kind"] == "train");
        lines.map(|line| line[name].is_number()).collect()
    };
    assert_eq!(has("d_loss"), [false, true, true]);
    // It learns alone for a step, however late it comes.
    assert_eq!(has("gan"), [false, false, true]);
}

#[test]
fn an_average_begins_with_the_weights_of_its_run() {
    let (photos, folder) = (photos(), tempfile::tempdir().unwrap());
    let folder = folder.path().join("run");
    let whole = config(photos.path(), 4);
    let at = |steps, ema| Config {
        train: TrainConfig {
            steps,
            ema,
            ..whole.train.clone()
        },
        ..whole.clone()
    };
    let weights = |prefix: &str| {
        let checkpoint = newest(&folder);
        find(&checkpoint.file, &format!("{prefix}.decoder.head.2.weight"))
            .unwrap()
            .map(Array::into_data)
    };
    run(&at(3, 0.0), &folder).unwrap();
    assert_eq!(weights("average"), None);
    let before = weights("generator").unwrap();
    run(&at(4, 0.9), &folder).unwrap();
    let (after, average) = (weights("generator").unwrap(), weights("average").unwrap());
    // On the line from the weights before the step to those after it.
    let minus = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(a - b))
            .collect::<Vec<_>>()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (step, way) = (minus(&after, &before), minus(&average, &before));
    let share = dot(&way, &step) / dot(&step, &step);
    let off: Vec<f64> = way
        .iter()
        .zip(&step)
        .map(|(way, step)| way - share * step)
        .collect();
    assert!(share > 0.0 && share < 1.0, "{share}");
    assert!(
        dot(&off, &off) < 1e-6 * dot(&way, &way),
        "{share}: {} of {}",
        dot(&off, &off),
        dot(&way, &way)
    );
}

fn damaged_checkpoints_are_passed_over(whole: &Config, folder: &Path) {
    let last = folder.join("checkpoints/step-00000005.safetensors");
    let bytes = std::fs::read(&last).unwrap();
    std::fs::write(&last, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(newest(folder).progress.step, 4);
    let notes = run_until(whole, folder, &[Device::flex()], None).unwrap();
    assert!(notes[0].contains("step-00000005"), "{notes:?}");
    // What is damaged has not taken the place of one that is kept, the best at step 3 apart.
    let kept = Checkpoints::of(folder).steps().unwrap();
    assert!(
        kept.ends_with(&[4, 5]) && last.with_added_extension("damaged").exists(),
        "{kept:?}"
    );
    assert_eq!(std::fs::read(&last).unwrap().len(), bytes.len());
}

fn exports(checkpoint: &Checkpoint, folder: &Path) {
    let base = VaeWeights::open(&fixture("vae_tiny_base/original.safetensors")).unwrap();
    std::fs::create_dir(folder).unwrap();
    for (layout, name) in [
        (Layout::Original, "a.safetensors"),
        (Layout::Diffusers, "vae"),
    ] {
        for average in [false, true] {
            let out = folder.join(format!("{average}-{name}"));
            export(
                checkpoint,
                Some(&base),
                &ExportOptions {
                    layout,
                    dtype: DType::F32,
                    average,
                },
                &out,
            )
            .unwrap();
            let written = VaeWeights::open(&out).unwrap();
            assert_eq!(written.config().out_channels, 12);
            let prefix = if average { "average" } else { "generator" };
            for spec in arch::tensors(written.config()) {
                let got = written.tensor(&spec).unwrap();
                // Images meet no convolution over time.
                let is_kept = ["encoder.", "conv1."]
                    .iter()
                    .any(|kept| spec.name.starts_with(kept))
                    || spec.name.contains("time_conv");
                if is_kept {
                    assert_eq!(
                        written.tensor_bytes(&spec).unwrap(),
                        base.tensor_bytes(&spec).unwrap(),
                        "{}",
                        spec.name
                    );
                } else {
                    let trained = checkpoint
                        .file
                        .read(&format!("{prefix}.{}", spec.name))
                        .unwrap();
                    let last = ImageWeights(&written).tensor(&spec).unwrap();
                    assert_same(&spec.name, &last, &trained);
                    // The taps that images do not meet are the base's.
                    if spec.shape.len() == 5 && !spec.name.contains("head") {
                        let before = base.tensor(&spec).unwrap();
                        let same = with_last_tap(before, &last, &spec).unwrap();
                        assert_same(&spec.name, &got, &same);
                    }
                }
            }
        }
    }
}
