//! Two ranks of batch 1 are one rank of batch 2: gradients of the first step, everything that three steps change, the log. Two
//! processes are two devices, to the bit.

mod common;

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use vae2x_testkit::compare::relative_l2;
use vae2x_testkit::tolerance::{RANKS_CHANGE, RANKS_GRADIENT};
use vae2x_train::Config;
use vae2x_train::decoder::checkpoint::Checkpoint;
use vae2x_train::decoder::config::TrainConfig;
use vae2x_train::decoder::meeting::Member;

use common::{config, newest, photos, run, run_among};

/// The checkpoint that a run ends with.
fn trained(config: &Config, folder: &Path, batch: usize, ranks: usize) -> Checkpoint {
    let config = Config {
        train: TrainConfig {
            batch,
            ..config.train.clone()
        },
        ..config.clone()
    };
    run(&config, folder, &vec![Device::flex(); ranks]).unwrap();
    newest(folder)
}

/// All tensors whose names begin and end so, less what `start` has for them.
fn changes(
    checkpoint: &Checkpoint,
    [prefix, suffix]: [&str; 2],
    start: Option<&Checkpoint>,
) -> Vec<f32> {
    let names = checkpoint
        .file
        .tensors()
        .keys()
        .filter(|name| name.starts_with(prefix) && name.ends_with(suffix));
    let change = |name: &String| {
        let mut values = checkpoint.file.read(name).unwrap().into_data();
        let start = start.map(|start| start.file.read(name).unwrap().into_data());
        values
            .iter_mut()
            .zip(start.iter().flatten())
            .for_each(|(value, start)| *value -= start);
        values
    };
    names.flat_map(change).collect()
}

#[test]
fn two_ranks_are_one_of_twice_the_batch() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let at = |steps: u64, ranks: usize| {
        trained(
            &config(photos.path(), steps),
            &runs.path().join(format!("{steps}-{ranks}")),
            2 / ranks,
            ranks,
        )
    };
    let (one, two) = (at(1, 1), at(1, 2));
    // After a step without history, the first moment is a part of the gradient.
    let [a, b] =
        [&one, &two].map(|checkpoint| changes(checkpoint, ["optimizer.generator.", ".m"], None));
    let error = relative_l2(&b, &a);
    assert!(error <= RANKS_GRADIENT, "gradient: {error:e}");
    let (later_one, later_two) = (at(3, 1), at(3, 2));
    assert_eq!(later_one.progress.samples, later_two.progress.samples);
    let parts = [
        "generator.",
        "average.",
        "discriminator.",
        "optimizer.discriminator.",
    ];
    for (part, has_start) in parts.into_iter().zip([true, true, true, false]) {
        let [a, b] = [(&later_one, &one), (&later_two, &two)]
            .map(|(later, start)| changes(later, [part, ""], has_start.then_some(start)));
        assert!(!a.is_empty(), "{part}");
        let error = relative_l2(&b, &a);
        assert!(error <= RANKS_CHANGE, "{part}: {error:e}");
    }
    logs_agree(&runs.path().join("3-1"), &runs.path().join("3-2"));
}

/// Every loss of every step.
fn logs_agree(one: &Path, two: &Path) {
    let lines = |folder: &Path| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let (one, two) = (lines(one), lines(two));
    assert_eq!(one.len(), two.len());
    for (one, two) in one
        .iter()
        .zip(&two)
        .filter(|(line, _)| line["kind"] == "train")
    {
        assert!(one["gan"].is_number() || one["step"] == 1, "{one}");
        for (name, value) in one
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "images_per_second")
        {
            let Some(value) = value.as_f64() else {
                continue;
            };
            let error = (two[name].as_f64().unwrap() - value).abs();
            assert!(
                error <= RANKS_CHANGE * value.abs().max(1e-3),
                "{name}: {one} {two}"
            );
        }
    }
}

/// Runs as two processes, here in threads, which share the folder; the second one is asked to stop after `stop_at`.
fn run_as_two(config: &Config, folder: &Path, stop_at: Option<u64>) {
    std::thread::scope(|scope| {
        for (rank, member) in Member::meet(2).into_iter().enumerate() {
            let asked = stop_at.filter(|_| rank == 1);
            scope.spawn(move || {
                let device = [Device::flex()];
                run_among(config, folder, &device, Some(Arc::new(member)), asked).unwrap()
            });
        }
    });
}

/// Every tensor of a checkpoint, by name.
fn tensors(checkpoint: &Checkpoint) -> Vec<(String, Vec<u32>)> {
    let names = checkpoint.file.tensors().keys();
    let bits = |name: &String| {
        let values = checkpoint.file.read(name).unwrap().into_data();
        values.into_iter().map(f32::to_bits).collect()
    };
    names.map(|name| (name.clone(), bits(name))).collect()
}

#[test]
fn two_processes_are_two_devices_and_stop_and_resume_together() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let config = config(photos.path(), 4);
    let [devices, processes] = ["devices", "processes"].map(|name| runs.path().join(name));
    run(&config, &devices, &[Device::flex(), Device::flex()]).unwrap();
    run_as_two(&config, &processes, Some(3));
    assert_eq!(
        newest(&processes).progress.step,
        3,
        "a checkpoint, though none was due"
    );
    run_as_two(&config, &processes, None);
    assert_eq!(newest(&processes).progress, newest(&devices).progress);
    assert_eq!(tensors(&newest(&processes)), tensors(&newest(&devices)));
    logs_agree(&devices, &processes);
}

#[test]
fn a_rank_that_fails_ends_the_run_with_its_error() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let config = config(photos.path(), 5);
    let config = Config {
        train: TrainConfig {
            lr: 1e30,
            ..config.train.clone()
        },
        ..config
    };
    let error = run(
        &config,
        &runs.path().join("run"),
        &[Device::flex(), Device::flex()],
    )
    .unwrap_err();
    // With the photos of both.
    assert!(
        matches!(&error, vae2x_train::Error::Diverged { names, .. } if names.len() == 2 * 2 * 2),
        "{error:?}"
    );
}
