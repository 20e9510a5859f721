//! What a run shows and keeps: evaluations from step 0 on, softened photos and given latents, milestones, the best checkpoint.

mod common;

use std::path::Path;

use burn::tensor::Device;
use vae2x_core::weights::formula::unit;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::weights::{DType, Layout, VaeWeights, Weights};
use vae2x_core::{Array, arch};
use vae2x_media::picture::{read_image, write_image};
use vae2x_media::pixels::picture_size;
use vae2x_testkit::compare::assert_same;
use vae2x_testkit::fixture;
use vae2x_train::Config;
use vae2x_train::data::crop::window_of;
use vae2x_train::decoder::checkpoint::{Checkpoint, Checkpoints};
use vae2x_train::decoder::config::{EvalConfig, GanConfig, LogConfig, TrainConfig};
use vae2x_train::decoder::export::{ExportOptions, export};
use vae2x_train::decoder::images::ImageWeights;

use common::{config, newest, photos, run, run_until};

const LATENT: &str = "data/wan_cheesecake_frame0.latent";

/// Large enough for the speckle score, at twice the resolution.
const SIDE: usize = 256;

fn lines(folder: &Path, kind: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &serde_json::Value| line["kind"] == kind)
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn image(path: &Path) -> Array {
    read_image(path).unwrap().pixels
}

#[test]
fn evaluations_show_softened_photos_and_latents_beside_the_base() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let value = |p: usize| ((p % SIDE) as f32 * 0.3).sin() * ((p / SIDE) as f32 * 0.17).cos();
    let large = Array::new([3, SIDE, SIDE], (0..3 * SIDE * SIDE).map(value).collect()).unwrap();
    write_image(&photos.path().join("held.png"), &large, &Default::default()).unwrap();
    let latents = runs.path().join("latents");
    std::fs::create_dir(&latents).unwrap();
    std::fs::copy(fixture(LATENT), latents.join("cake.latent")).unwrap();
    // As `sdedit` writes pairs: the degraded side is decoded.
    let side = |name: &str| Array::new([16, 16, 16], unit(name, 16 * 16 * 16).collect()).unwrap();
    let [clean, degraded] = ["clean", "degraded"].map(side);
    let time = Array::new([1], vec![0.1]).unwrap();
    let pair = [
        ("p.clean", &clean),
        ("p.degraded", &degraded),
        ("p.t", &time),
    ];
    write_arrays(
        &latents.join("pairs.safetensors"),
        &pair,
        &Default::default(),
    )
    .unwrap();
    let config = config(photos.path(), 2);
    let config = Config {
        eval: EvalConfig {
            size: SIDE,
            times: vec![0.06, 0.12],
            latents: vec![latents.display().to_string()],
            ..config.eval
        },
        log: LogConfig {
            eval_every: 1,
            milestone_every: 0,
            ..config.log
        },
        ..config
    };
    let folder = runs.path().join("run");
    run(&config, &folder, &[Device::flex()]).unwrap();

    let lines = lines(&folder, "eval");
    let steps: Vec<_> = lines.iter().map(|line| line["step"].as_u64()).collect();
    assert_eq!(steps, [Some(0), Some(1), Some(2)]);
    for line in &lines {
        for start in ["", "base_"] {
            for time in ["", "t0.06_", "t0.12_"] {
                for name in [
                    "psnr",
                    "ssim",
                    "sharpness",
                    "speckle_db",
                    "lattice_energy_db",
                ] {
                    let name = format!("{start}{time}{name}");
                    assert!(line[&name].is_number(), "{name}: {line}");
                }
            }
            let name = format!("{start}latents_lattice_energy_db");
            assert!(line[&name].is_number(), "{name}: {line}");
            assert!(line[format!("{start}latents_psnr")].is_null());
        }
        // A softer latent is another image.
        assert_ne!(line["base_psnr"], line["base_t0.12_psnr"]);
        assert_ne!(line["t0.06_psnr"], line["t0.12_psnr"]);
        // The base does not change.
        assert_eq!(line["base_t0.12_psnr"], lines[0]["base_t0.12_psnr"]);
    }
    assert_ne!(lines[0]["psnr"], lines[2]["psnr"]);
    let sheets = names(&folder.join("samples"));
    assert_eq!(sheets.len(), 3 * 2, "{sheets:?}");
    // Four images beside each other; below them, details.
    let size = |name: &str| picture_size(&image(&folder.join("samples").join(name))).unwrap();
    let [height, width] = size("step-00000002-photos.png");
    assert!((4 * SIDE..5 * SIDE).contains(&width) && height > 3 * SIDE);
    let [height, width] = size("step-00000002-latents.png");
    assert!((4 * SIDE..5 * SIDE).contains(&width) && (2 * SIDE + 1..3 * SIDE).contains(&height));
    assert!(!folder.join("milestones").exists());
}

#[test]
fn latents_that_are_none_are_named_before_the_run_begins() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let config = config(photos.path(), 2);
    let fails = |path: &Path| {
        let config = Config {
            eval: EvalConfig {
                latents: vec![path.display().to_string()],
                ..config.eval.clone()
            },
            ..config.clone()
        };
        let folder = runs.path().join("run");
        let error = run(&config, &folder, &[Device::flex()]).unwrap_err();
        assert!(!folder.exists());
        error.to_string()
    };
    assert!(fails(Path::new("nowhere")).contains("nowhere"));
    let held = photos.path().join("held.png");
    assert!(fails(&held).contains("held.png"));
    let model = fixture("vae_tiny_base/original.safetensors");
    assert!(fails(&model).contains("original.safetensors"));
    let many = runs.path().join("many");
    std::fs::create_dir(&many).unwrap();
    for i in 0..17 {
        std::fs::copy(fixture(LATENT), many.join(format!("{i}.latent"))).unwrap();
    }
    assert!(fails(&many).contains("at most 16"));
}

#[test]
fn milestones_stay_and_can_be_exported() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let config = config(photos.path(), 5);
    let config = Config {
        log: LogConfig {
            keep: 1,
            milestone_every: 2,
            ..config.log
        },
        ..config
    };
    let folder = runs.path().join("run");
    run_until(&config, &folder, &[Device::flex()], Some(3)).unwrap();
    run(&config, &folder, &[Device::flex()]).unwrap();
    let milestones = folder.join("milestones");
    let [two, four, five] = [2, 4, 5].map(|step| format!("step-{step:08}.safetensors"));
    assert_eq!(names(&milestones), ["images", &two, &four, &five]);
    assert_eq!(
        names(&milestones.join("images")),
        [
            "base",
            "step-00000000",
            "step-00000002",
            "step-00000004",
            "step-00000005",
            "target"
        ]
    );
    let held = ["held-t0.06.png", "held-t0.12.png", "held.png"];
    for side in ["base", "step-00000000", "step-00000005", "target"] {
        assert_eq!(names(&milestones.join("images").join(side)), held);
    }
    let shown = |side: &str| image(&milestones.join("images").join(side).join("held.png"));
    let photo = image(&photos.path().join("held.png"));
    let centre = window_of(&photo, [8, 8], [48, 48], false).unwrap();
    assert_same("target", &shown("target"), &centre);
    assert_ne!(shown("step-00000000").data(), shown("step-00000005").data());

    // The average of that step.
    let (last, kept) = (
        newest(&folder),
        Checkpoint::open(&milestones.join(&five)).unwrap(),
    );
    assert_eq!(last.progress, kept.progress);
    for name in kept.file.tensors().keys() {
        assert!(name.starts_with("average."), "{name}");
        assert_same(
            name,
            &kept.file.read(name).unwrap(),
            &last.file.read(name).unwrap(),
        );
    }
    let base = VaeWeights::open(&fixture("vae_tiny_base/original.safetensors")).unwrap();
    let out = runs.path().join("model.safetensors");
    let options = ExportOptions {
        layout: Layout::Original,
        dtype: DType::F32,
        average: false,
    };
    export(&kept, Some(&base), &options, &out).unwrap();
    let written = VaeWeights::open(&out).unwrap();
    for spec in arch::tensors(written.config()) {
        if spec.name.starts_with("decoder.") && !spec.name.contains("time_conv") {
            let average = last.file.read(&format!("average.{}", spec.name)).unwrap();
            let last = ImageWeights(&written).tensor(&spec).unwrap();
            assert_same(&spec.name, &last, &average);
        }
    }
    // No run goes on from it.
    std::fs::copy(milestones.join(&five), Checkpoints::of(&folder).path(9)).unwrap();
    let error = run(&config, &folder, &[Device::flex()]).unwrap_err();
    assert!(error.to_string().contains("step-00000009"), "{error}");
}

#[test]
fn psnr_finds_the_best_until_a_discriminator_acts() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let best = |name: &str, start: u64, keep: usize| {
        let config = config(photos.path(), 6);
        let config = Config {
            gan: GanConfig {
                start,
                warmup: 0,
                ..config.gan
            },
            log: LogConfig {
                eval_every: 1,
                checkpoint_every: 1,
                keep,
                ..config.log
            },
            ..config
        };
        let folder = runs.path().join(name);
        run(&config, &folder, &[Device::flex()]).unwrap();
        let eval = lines(&folder, "eval");
        let psnr = |line: &serde_json::Value| (line["step"].as_u64(), line["psnr"].as_f64());
        let all: Vec<_> = eval.iter().map(psnr).collect();
        let judged = all
            .iter()
            .filter(|(step, _)| (1..=start).contains(&step.unwrap()));
        let wanted = judged.max_by(|a, b| a.1.unwrap().total_cmp(&b.1.unwrap()));
        let best = newest(&folder).progress.best;
        assert_eq!(
            best.map(|(step, psnr)| (Some(step), Some(psnr))),
            wanted.copied()
        );
        (Checkpoints::of(&folder), best)
    };
    assert_eq!(best("adversarial", 0, 2).1, None);
    let (checkpoints, best) = best("later", 3, 2);
    let (step, _) = best.unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [step, 5, 6]);
    assert_eq!(
        checkpoints.find(step).unwrap(),
        Some(checkpoints.best_path(step))
    );
    assert_eq!(
        Checkpoint::open(&checkpoints.best_path(step))
            .unwrap()
            .progress
            .step,
        step
    );
}

/// Photos whose losses are small but for one, of noise.
fn photos_with_a_bad_one() -> tempfile::TempDir {
    let folder = photos();
    let noise = |i: u32| {
        if (i.wrapping_mul(2654435761) >> 13) & 1 == 0 {
            1.0
        } else {
            -1.0
        }
    };
    let bad = Array::new([3, 64, 64], (0..3 * 64 * 64).map(noise).collect()).unwrap();
    write_image(&folder.path().join("bad.png"), &bad, &Default::default()).unwrap();
    folder
}

#[test]
fn bad_batches_are_skipped_named_and_counted_by_all_ranks() {
    let (photos, runs) = (photos_with_a_bad_one(), tempfile::tempdir().unwrap());
    let at = |name: &str| runs.path().join(name);
    let config = config(photos.path(), 12);
    let with = |skip_bad: usize, ranks: usize, explode_loss: f64| Config {
        train: TrainConfig {
            batch: 2 / ranks,
            accumulate: 1,
            lr: 1e-5,
            skip_bad,
            explode_loss,
            ..config.train.clone()
        },
        gan: GanConfig {
            weight: 0.0,
            ..config.gan.clone()
        },
        ..config.clone()
    };
    run(&with(0, 1, 1e3), &at("all"), &[Device::flex()]).unwrap();
    let losses: Vec<f64> = lines(&at("all"), "train")
        .iter()
        .map(|line| line["loss"].as_f64().unwrap())
        .collect();
    let (least, most) = losses
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(a, b), &loss| {
            (a.min(loss), b.max(loss))
        });
    assert!(most > 1.2 * least, "{losses:?}");
    let limit = (least + most) / 2.0;

    run(&with(12, 1, limit), &at("one"), &[Device::flex()]).unwrap();
    let skips = lines(&at("one"), "skip");
    assert!(!skips.is_empty() && skips.len() < 12);
    for (i, line) in skips.iter().enumerate() {
        let note = line["note"].as_str().unwrap();
        assert!(
            note.contains("bad.png") && note.contains("train.explode_loss"),
            "{note}"
        );
        assert_eq!(line["skipped"].as_f64(), Some(i as f64 + 1.0));
    }
    let last = newest(&at("one"));
    assert_eq!(last.progress.skips.total, skips.len() as u64);
    assert_eq!(last.progress.samples, newest(&at("all")).progress.samples);

    // Stopped after the first skip.
    let first = skips[0]["step"].as_u64().unwrap();
    run_until(
        &with(12, 1, limit),
        &at("cut"),
        &[Device::flex()],
        Some(first),
    )
    .unwrap();
    run(&with(12, 1, limit), &at("cut"), &[Device::flex()]).unwrap();
    let cut = newest(&at("cut"));
    assert_eq!(last.progress, cut.progress);
    for name in last.file.tensors().keys() {
        assert_same(
            name,
            &last.file.read(name).unwrap(),
            &cut.file.read(name).unwrap(),
        );
    }
    assert_eq!(lines(&at("cut"), "skip"), skips);

    run(
        &with(12, 2, limit),
        &at("two"),
        &[Device::flex(), Device::flex()],
    )
    .unwrap();
    let steps = |lines: &[serde_json::Value]| -> Vec<_> {
        lines.iter().map(|line| line["step"].as_u64()).collect()
    };
    let two = lines(&at("two"), "skip");
    assert_eq!(steps(&two), steps(&skips));
    // The photos of both.
    let names = |line: &serde_json::Value| {
        let note = line["note"].as_str().unwrap().to_string();
        note.split("the samples were").last().unwrap().to_string()
    };
    assert_eq!(names(&two[0]), names(&skips[0]));

    let error = run(&with(0, 1, limit), &at("none"), &[Device::flex()]).unwrap_err();
    assert!(error.to_string().contains("bad.png"), "{error}");
}
