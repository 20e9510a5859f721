//! `train decoder`, `dataset scan` and `export`.

use std::path::Path;

use vae2x_core::Array;
use vae2x_core::weights::{VaeWeights, Weights};
use vae2x_media::picture::write_image;

use crate::support::{entries, finish, fixture, run, text, vae2x};

/// Three photos of 96x96 and a file that is none.
fn photos(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    for i in 0..3 {
        let value = |p: usize| {
            ((p % 96) as f32 * (0.2 + 0.1 * i as f32)).sin()
                * ((p / 96) as f32 * (0.05 + 0.06 * i as f32) + i as f32).cos()
        };
        let photo = Array::new([3, 96, 96], (0..3 * 96 * 96).map(value).collect()).unwrap();
        write_image(
            &folder.join(format!("{i}.png")),
            &photo,
            &Default::default(),
        )
        .unwrap();
    }
    std::fs::write(folder.join("broken.jpg"), b"\xFF\xD8\xFF").unwrap();
}

/// A configuration for a few steps, with `rest` after it.
fn config(folder: &Path, rest: &str) -> String {
    let path = folder.join("tiny.toml");
    let text_of = format!(
        "model.base = \"{}\"\ndata = {{ photos = [\"{}\"], crop = 32, min_sharpness = 0.0, crops_per_photo = 1, shuffle = 1 }}\n\
         train = {{ steps = 3, batch = 1 }}\ngan = {{ weight = 0.1, start = 1, warmup = 1, width = 4 }}\n\
         log = {{ every = 1, eval_every = 2, checkpoint_every = 2 }}\neval = {{ size = 48, short_side = 0 }}\n{rest}\n",
        fixture("vae_tiny_base/original.safetensors"),
        folder.join("photos").display()
    );
    std::fs::write(&path, text_of).unwrap();
    text(&path)
}

/// Photos, and the configuration of a run on them.
pub fn tiny_run(folder: &Path) -> String {
    photos(&folder.join("photos"));
    config(folder, "")
}

#[test]
fn a_run_leaves_its_folder_and_exports_load() {
    let folder = tempfile::tempdir().unwrap();
    photos(&folder.path().join("photos"));
    let out = text(&folder.path().join("run"));
    let held = format!(
        "data.held_out=[\"{}/photos/2.png\"]",
        folder.path().display()
    );
    let config = config(folder.path(), "");
    let said = run(&[
        "train", "decoder", "--config", &config, "--out", &out, "--set", &held,
    ])
    .ok_stderr();
    assert!(
        said.contains("3 photos") && said.contains("1 held out") && said.contains("broken.jpg"),
        "{said}"
    );
    assert_eq!(
        entries(Path::new(&out)),
        [
            ".lock",
            "checkpoints",
            "config.toml",
            "log.jsonl",
            "milestones",
            "samples",
            "tensorboard"
        ]
    );
    let log = std::fs::read_to_string(Path::new(&out).join("log.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let trained = lines.iter().filter(|l| l["kind"] == "train");
    assert_eq!(
        trained
            .map(|l| l["step"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(
        lines
            .iter()
            .any(|l| l["kind"] == "eval" && l["base_psnr"].is_number())
    );

    let again = run(&["train", "decoder", "--config", &config, "--out", &out]).fails(1);
    assert!(again.contains(&out), "{again}");
    assert!(
        run(&["train", "decoder", "--resume", &out])
            .ok()
            .contains("step 3 of 3")
    );

    milestones_are_compared_and_exported(Path::new(&out), folder.path());

    let vae = folder.path().join("vae");
    let said = run(&[
        "export",
        &out,
        "-o",
        &text(&vae),
        "--layout",
        "diffusers",
        "--best",
    ])
    .ok();
    assert!(
        said.contains("moving average"),
        "the scores are the average's: {said}"
    );
    assert_eq!(VaeWeights::open(&vae).unwrap().config().out_channels, 12);
    let file = folder.path().join("m.safetensors");
    let said = run(&[
        "export",
        &out,
        "-o",
        &text(&file),
        "--layout",
        "original",
        "--dtype",
        "bf16",
    ])
    .ok();
    assert!(
        said.contains("step 3") && said.contains("own weights"),
        "{said}"
    );
    let picture = folder.path().join("p.png");
    let latent = fixture("data/wan_cheesecake_frame0.latent");
    run(&[
        "decode",
        &latent,
        "--vae",
        &text(&file),
        "-o",
        &text(&picture),
    ])
    .ok();
    assert!(picture.exists());
}

/// The size of what the export of a run of each scale decodes a latent of 64x40 cells to.
#[test]
fn decoders_of_every_scale_are_trained_and_decode() {
    let folder = tempfile::tempdir().unwrap();
    photos(&folder.path().join("photos"));
    let config = config(folder.path(), "");
    let held = format!(
        "data.held_out=[\"{}/photos/2.png\"]",
        folder.path().display()
    );
    let latent = fixture("data/wan_cheesecake_frame0.latent");
    for scale in [1, 4] {
        let at = |name: &str| text(&folder.path().join(format!("{scale}-{name}")));
        let (out, model, picture) = (at("run"), at("m.safetensors"), at("p.png"));
        let set = format!("model.scale={scale}");
        let train = ["train", "decoder", "--config", &config, "--out", &out];
        let set = [
            "--set",
            &set,
            "--set",
            &held,
            "--set",
            "eval.size=64",
            "--set",
            "data.crop=64",
        ];
        run(&[&train[..], &set].concat()).ok();
        let log = std::fs::read_to_string(Path::new(&out).join("log.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        let last = lines.iter().rfind(|l| l["kind"] == "train").unwrap();
        assert!(
            last["step"] == 3 && last["gan"].is_number() && last["l1"].is_number(),
            "{last}"
        );
        let measured = lines.iter().find(|l| l["kind"] == "eval").unwrap();
        assert!(
            measured["psnr"].is_number() && measured["base_psnr"].is_number(),
            "{measured}"
        );
        // Continues from its own checkpoint.
        let more = ["--set", "train.steps=4"];
        let said = run(&[&["train", "decoder", "--resume", &out][..], &more].concat()).ok();
        assert!(said.contains("step 4 of 4"), "{said}");
        run(&["export", &out, "-o", &model, "--layout", "original"]).ok();
        let vae = VaeWeights::open(Path::new(&model)).unwrap();
        assert_eq!(vae.config().out_channels, 3 * scale * scale);
        run(&["decode", &latent, "--vae", &model, "-o", &picture]).ok();
        let size = vae2x_media::picture::look_at_image(Path::new(&picture)).unwrap();
        assert_eq!(size, [40 * 8 * scale, 64 * 8 * scale]);
    }
}

/// Of a run of 3 steps with one held-out photo.
fn milestones_are_compared_and_exported(run_folder: &Path, folder: &Path) {
    let page = folder.join("run.html");
    let said = run(&["compare", &text(run_folder), "-o", &text(&page)]).ok();
    assert!(said.contains("1 row"), "{said}");
    let html = std::fs::read_to_string(&page).unwrap();
    for name in ["target", "base", "step 0", "step 3"] {
        assert!(html.contains(&format!(">{name}<")), "{name}");
    }
    let milestone = text(&run_folder.join("milestones/step-00000003.safetensors"));
    let export = |what: &str, name: &str, more: &[&str]| {
        let out = folder.join(name);
        let to = text(&out);
        let args = ["export", what, "--layout", "original", "-o", &to];
        let said = run(&[&args, more].concat()).ok();
        assert!(said.contains("moving average"), "{said}");
        std::fs::read(&out).unwrap()
    };
    let kept = export(&milestone, "milestone.safetensors", &[]);
    let average = export(&text(run_folder), "average.safetensors", &["--ema"]);
    assert!(kept == average);

    std::fs::remove_dir_all(run_folder.join("milestones/images")).unwrap();
    let said = run(&["compare", &text(run_folder), "-o", &text(&page)]).fails(1);
    assert!(said.contains("log.milestone_every"), "{said}");
}

#[test]
fn configurations_that_cannot_be_meant_name_the_key() {
    let folder = tempfile::tempdir().unwrap();
    photos(&folder.path().join("photos"));
    let out = text(&folder.path().join("run"));
    let fails = |rest: &str, set: &[&str]| {
        let config = config(folder.path(), rest);
        let mut args = vec!["train", "decoder", "--config", &config, "--out", &out];
        set.iter().for_each(|s| args.extend(["--set", s]));
        let said = run(&args).fails(1);
        let _ = std::fs::remove_dir_all(&out);
        said
    };
    assert!(fails("[loss]\nl2 = 1.0", &[]).contains("l2"));
    assert!(fails("", &["train.stepz=1"]).contains("stepz"));
    assert!(fails("", &["loss.fdl=1.0"]).contains("loss.vgg19"));
    assert!(fails("", &["data.photos=[\"nowhere\"]"]).contains("nowhere"));
    assert!(fails("", &["data.crop=64", "data.min_side=200"]).contains(".png"));
    let said = fails("", &["degradation.kind=proxy"]);
    assert!(
        said.contains("degradation.proxy") && said.contains("vae2x train degradation"),
        "{said}"
    );
    let missing = [
        "degradation.kind=proxy",
        "degradation.proxy=none.safetensors",
    ];
    let said = fails("", &missing);
    assert!(
        said.contains("none.safetensors") && said.contains("vae2x train degradation"),
        "{said}"
    );
    for (set, named) in [
        (&["model.scale=3"][..], "model.scale"),
        (&["gan.betas=[0.5, 1.0]"], "gan.betas"),
        (&["degradation.clean=1.5"], "degradation.clean"),
        (&["degradation.noise=-1"], "degradation.noise"),
        (&["data.crops_per_photo=0"], "crops_per_photo"),
        (&["model.scale=4", "data.crop=48"], "multiple of 32"),
        (&["model.scale=2", "train.parts=[\"base\"]"], "model.scale"),
        (
            &["model.scale=1", "model.base=demo:2x"],
            "12 output channels",
        ),
        (
            &["model.scale=4", "model.base=demo:2x", "eval.size=64"],
            "48",
        ),
    ] {
        let said = fails("", set);
        assert!(said.contains(named), "{set:?}: {said}");
    }
    assert!(
        fails("", &["loss.fdl=1.0", "loss.vgg19=missing.safetensors"])
            .contains("missing.safetensors")
    );
    assert!(
        run(&["train", "decoder", "--resume", "nowhere"])
            .fails(1)
            .contains("nowhere")
    );
    assert!(
        run(&[
            "export",
            "nowhere",
            "-o",
            "x.safetensors",
            "--layout",
            "original"
        ])
        .fails(1)
        .contains("nowhere")
    );
}

#[test]
fn a_folder_in_which_a_process_trains_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    photos(&folder.path().join("photos"));
    let out = folder.path().join("run");
    let config = config(folder.path(), "");
    run(&[
        "train",
        "decoder",
        "--config",
        &config,
        "--out",
        &text(&out),
        "--set",
        "train.steps=1",
    ])
    .ok();
    let file = std::fs::File::open(out.join(".lock")).unwrap();
    file.lock().unwrap();
    let said = run(&[
        "train",
        "decoder",
        "--resume",
        &text(&out),
        "--set",
        "train.steps=2",
    ])
    .fails(1);
    assert!(said.contains("another process"), "{said}");
    drop(file);
    run(&[
        "train",
        "decoder",
        "--resume",
        &text(&out),
        "--set",
        "train.steps=2",
    ])
    .ok();
}

#[test]
fn devices_are_ranks() {
    let folder = tempfile::tempdir().unwrap();
    photos(&folder.path().join("photos"));
    let (config, out) = (config(folder.path(), ""), text(&folder.path().join("run")));
    let args = [
        "train", "decoder", "--config", &config, "--out", &out, "--device", "cpu,cpu",
    ];
    let said = run(&[&args[..], &["--set", "train.steps=2"]].concat()).ok();
    assert!(said.contains("step 2 of 2"), "{said}");
    assert!(
        run(&[
            "train", "decoder", "--config", &config, "--device", "cpu,what"
        ])
        .fails(2)
        .contains("what")
    );
}

/// Copies that know nothing of each other would all train in the same folder.
#[test]
fn processes_of_a_launcher_are_refused_where_they_cannot_be_joined() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny_run(folder.path());
    let out = text(&folder.path().join("run"));
    let launched = |arguments: &[&str], count: &str| {
        finish(vae2x().args(arguments).env("OMPI_COMM_WORLD_SIZE", count))
    };
    if cfg!(not(feature = "mpi")) {
        let arguments = ["train", "decoder", "--config", &config, "--out", &out];
        let told = launched(&arguments, "2").fails(2);
        assert!(
            told.contains("2 processes (OMPI_COMM_WORLD_SIZE)")
                && told.contains("--features train,mpi"),
            "{told}"
        );
        assert!(!Path::new(&out).exists());
        launched(&arguments, "1").ok();
    }
    for network in ["degradation", "flow"] {
        let told = launched(&["train", network, "--config", &config], "3").fails(2);
        assert!(told.contains("one process") && told.contains('3'), "{told}");
    }
}

#[test]
fn a_learning_rate_that_explodes_stops_the_run_and_names_step_photos_and_losses() {
    let folder = tempfile::tempdir().unwrap();
    photos(&folder.path().join("photos"));
    let out = text(&folder.path().join("run"));
    let config = config(folder.path(), "");
    let args = [
        "train",
        "decoder",
        "--config",
        &config,
        "--out",
        &out,
        "--set",
        "train.lr=1e30",
        "--set",
        "train.steps=9",
    ];
    let said = run(&args).fails(1);
    assert!(
        said.contains("step ") && said.contains(".png") && said.contains("l1 "),
        "{said}"
    );
    let out = text(&folder.path().join("other"));
    let said = run(&[
        "train",
        "decoder",
        "--config",
        &config,
        "--out",
        &out,
        "--set",
        "train.explode_loss=1e-6",
    ])
    .fails(1);
    assert!(
        said.contains("step 0: ") && said.contains("train.explode_loss = 1e-6"),
        "{said}"
    );
}

/// Ctrl-C in a run whose messages nobody reads any more.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_a_checkpoint_and_its_exit_code() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (tiny_run(folder.path()), folder.path().join("run"));
    let endless = [
        "--set",
        "train.steps=100000",
        "--set",
        "log.checkpoint_every=100000",
    ];
    let args = [
        "train",
        "decoder",
        "--config",
        &config,
        "--out",
        &text(&out),
    ];
    let mut command = crate::support::vae2x();
    command
        .args(args)
        .args(endless)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    let started = Instant::now();
    while !std::fs::read_to_string(out.join("log.jsonl")).is_ok_and(|log| log.lines().count() >= 2)
    {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "no step was done"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let checkpoints = entries(&out.join("checkpoints"));
    let [name] = &checkpoints[..] else {
        panic!("{checkpoints:?}")
    };
    let step: u64 = name
        .trim_start_matches("step-")
        .trim_end_matches(".safetensors")
        .parse()
        .unwrap();
    let more = format!("train.steps={}", step + 1);
    let said = run(&["train", "decoder", "--resume", &text(&out), "--set", &more]).ok();
    assert!(
        said.contains(&format!("step {0} of {0}", step + 1)),
        "{said}"
    );
}

#[test]
fn a_scan_says_what_to_drop_and_training_takes_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let photos_at = folder.path().join("photos");
    photos(&photos_at);
    std::fs::copy(photos_at.join("0.png"), photos_at.join("copy.png")).unwrap();
    let manifest = text(&folder.path().join("photos.jsonl"));
    let args = [
        "dataset",
        "scan",
        &text(&photos_at),
        "-o",
        &manifest,
        "--min-side",
        "64",
        "--min-sharpness",
        "0",
    ];
    let said = run(&args).ok();
    assert!(
        said.contains("5 photos, 3 to keep")
            && said.contains("1 broken")
            && said.contains("1 near-duplicate"),
        "{said}"
    );
    let (config, out) = (config(folder.path(), ""), text(&folder.path().join("run")));
    let set = format!("data.photos=[\"{manifest}\"]");
    let args = [
        "train",
        "decoder",
        "--config",
        &config,
        "--out",
        &out,
        "--set",
        &set,
        "--set",
        "train.steps=1",
    ];
    assert!(run(&args).ok_stderr().contains("3 photos"));
}
