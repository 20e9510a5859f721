//! Hostile input to training and what goes with it: special files, manifests and values that ask for too much, checkpoints and pairs that
//! are not what they were. Each ends soon, in an error that names what is wrong, or goes on without it.

use std::collections::BTreeMap;
use std::path::Path;

use vae2x_core::Array;
use vae2x_core::latent::Space;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::weights::{TensorFile, formula};
use vae2x_media::latent::write_latent;

use crate::support::{entries, fixture, run_soon as run, text};
use crate::train::tiny_run;

/// What is said of a command line that fails, which has all of the words in it.
#[track_caller]
fn fails(args: &[&str], says: &[&str]) -> String {
    let said = run(args).fails(1);
    for words in says {
        assert!(said.contains(words), "'{words}' is not in: {said}");
    }
    said
}

/// The tensors and the metadata of a file.
type Contents = (BTreeMap<String, Array>, BTreeMap<String, String>);

/// Writes a file again with changes.
fn edit(path: &Path, change: impl FnOnce(&mut Contents)) {
    let file = TensorFile::open(path).unwrap();
    let names = file.tensors().keys();
    let tensors = names.map(|name| (name.clone(), file.read(name).unwrap()));
    let mut contents = (tensors.collect(), file.metadata().clone());
    change(&mut contents);
    let arrays: Vec<(&str, &Array)> = contents.0.iter().map(|(n, a)| (n.as_str(), a)).collect();
    write_arrays(path, &arrays, &contents.1).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in entries(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(from, to).unwrap()),
        }
    }
}

#[cfg(unix)]
#[test]
fn special_files_among_photos_are_named_and_left_out() {
    use std::os::unix::fs::symlink;
    use vae2x_testkit::special::fifo as make_pipe;
    let folder = tempfile::tempdir().unwrap();
    let (config, at) = (tiny_run(folder.path()), |name: &str| {
        folder.path().join(name)
    });
    let photos = at("photos");
    make_pipe(&photos.join("pipe.png"));
    make_pipe(&photos.join("pipe.tar"));
    make_pipe(&photos.join("0.png.license"));
    symlink("/dev/zero", photos.join("endless.png")).unwrap();
    symlink("/dev/zero", photos.join("1.png.license")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(photos.join("socket.png")).unwrap();
    let manifest = text(&at("scan.jsonl"));
    let scan = [
        "dataset",
        "scan",
        &text(&photos),
        "-o",
        &manifest,
        "--min-side",
        "32",
    ];
    let said = run(&[&scan[..], &["--min-sharpness", "0"]].concat()).ok();
    // Three photos, a broken one, a pipe, a device, a socket; the shard.
    assert!(said.contains("8 photos, 3 to keep, 5 broken"), "{said}");
    let lines = std::fs::read_to_string(&manifest).unwrap();
    for (name, kind) in [
        ("pipe.png", "a named pipe"),
        ("pipe.tar", "a named pipe"),
        ("endless.png", "a device"),
        ("socket.png", "a socket"),
    ] {
        let line = lines.lines().find(|line| line.contains(name));
        assert!(
            line.is_some_and(|line| line.contains(kind)),
            "{name}: {line:?}"
        );
    }
    let said = run(&[
        "train",
        "decoder",
        "--config",
        &config,
        "--out",
        &text(&at("run")),
    ])
    .ok_stderr();
    for name in ["pipe.tar", "pipe.png", "endless.png", "socket.png"] {
        assert!(said.contains(name), "{name} is not in: {said}");
    }

    // As a place, as a configuration, in a manifest.
    let pipe = at("pipe");
    make_pipe(&pipe);
    let pipe = text(&pipe);
    let out = text(&at("other"));
    fails(
        &["dataset", "scan", "/dev/zero", "-o", &manifest],
        &["/dev/zero", "a device"],
    );
    fails(
        &["dataset", "scan", &pipe, "-o", &manifest],
        &[&pipe, "a named pipe"],
    );
    for config in [pipe.as_str(), "/dev/zero"] {
        fails(
            &["train", "decoder", "--config", config, "--out", &out],
            &[config, "regular"],
        );
    }
    for (member, said) in [
        ("", "a device"),
        (",\"member\":[\"x\",0,18446744073709551615]", "a device"),
    ] {
        let line = format!(
            "{{\"path\":\"/dev/zero\",\"width\":96,\"height\":96,\"sharpness\":9.0,\"hash\":\"\"{member}}}\n"
        );
        std::fs::write(&manifest, line).unwrap();
        let places = format!("data.photos=[\"{manifest}\"]");
        let args = [
            "train", "decoder", "--config", &config, "--out", &out, "--set", &places,
        ];
        fails(&args, &["/dev/zero", said]);
        let _ = std::fs::remove_dir_all(&out);
    }
}

#[cfg(unix)]
#[test]
fn special_files_in_the_folder_of_a_run_are_named() {
    use vae2x_testkit::special::fifo as make_pipe;
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (tiny_run(folder.path()), folder.path().join("run"));
    let one = ["--set", "train.steps=1"];
    let args = [
        "train",
        "decoder",
        "--config",
        &config,
        "--out",
        &text(&out),
    ];
    run(&[&args[..], &one].concat()).ok();
    for name in ["config.toml", "log.jsonl", ".lock"] {
        let broken = folder.path().join(name.trim_matches('.'));
        copy(&out, &broken);
        make_pipe(&broken.join(name));
        let args = [
            "train",
            "decoder",
            "--resume",
            &text(&broken),
            "--set",
            "train.steps=2",
        ];
        fails(&args, &[name, "a named pipe"]);
    }
    // A newer checkpoint that is a pipe is passed over as a damaged one is.
    make_pipe(&out.join("checkpoints/step-00000009.safetensors"));
    let args = [
        "train",
        "decoder",
        "--resume",
        &text(&out),
        "--set",
        "train.steps=2",
    ];
    let said = run(&args).ok_stderr();
    assert!(
        said.contains("step-00000009") && said.contains("damaged"),
        "{said}"
    );
}

#[test]
fn values_that_ask_for_too_much_are_named_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (tiny_run(folder.path()), folder.path().join("run"));
    for (set, says) in [
        ("data.prefetch=1000000000000", "data.prefetch"),
        ("data.workers=100000", "data.workers"),
        ("train.batch=1000000000", "train.batch"),
        ("gan.width=100000", "gan.width"),
        ("degradation.blur=1e30", "degradation.blur"),
        ("loss.fdl_options.projections=1000000000", "projections"),
        ("train.batch=60000", "train.batch = 60000"),
    ] {
        let more = ["--set", "data.crop=1024", "--set", set];
        let args = [
            "train",
            "decoder",
            "--config",
            &config,
            "--out",
            &text(&out),
        ];
        fails(&[&args[..], &more].concat(), &[says]);
        assert!(!out.exists(), "{set}");
    }
    let (pairs, small) = (
        folder.path().join("pairs"),
        folder.path().join("small.toml"),
    );
    std::fs::create_dir(&pairs).unwrap();
    for (kind, values, says) in [
        ("degradation", "width = 1000000000", "width is 1000000000"),
        ("degradation", "blocks = 1000000000", "blocks is 1000000000"),
        (
            "degradation",
            "width = 8192\nblocks = 1024",
            "width = 8192, blocks = 1024",
        ),
        ("flow", "layers = 1000000000", "layers is 1000000000"),
        (
            "flow",
            "dim = 65536\nlayers = 1024",
            "layers = 1024, dim = 65536",
        ),
    ] {
        std::fs::write(&small, values).unwrap();
        let input = if kind == "flow" {
            "--latents"
        } else {
            "--pairs"
        };
        let args = [
            "train",
            kind,
            input,
            &text(&pairs),
            "--config",
            &text(&small),
        ];
        fails(&[&args[..], &["--out", &text(&out)]].concat(), &[says]);
        assert!(!out.exists(), "{values}");
    }
}

#[test]
fn checkpoints_are_whole_finite_and_of_their_model() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (tiny_run(folder.path()), folder.path().join("run"));
    let more = ["--set", "train.steps=1"];
    let args = [
        "train",
        "decoder",
        "--config",
        &config,
        "--out",
        &text(&out),
    ];
    run(&[&args[..], &more].concat()).ok();
    let checkpoint = out.join("checkpoints/step-00000001.safetensors");
    let whole = std::fs::read(&checkpoint).unwrap();
    let exported = folder.path().join("m.safetensors");
    type Change = fn(&mut Contents);
    const NAME: &str = "generator.decoder.conv1.weight";
    let changes: [(Change, &str); 7] = [
        (|c| drop(c.0.remove(NAME)), NAME),
        (
            |c| {
                let tensor = c.0.remove(NAME).unwrap();
                c.0.insert(format!("{NAME}.x"), tensor);
            },
            NAME,
        ),
        (
            |c| {
                let tensor = c.0.remove(NAME).unwrap();
                let shape: Vec<usize> = tensor.shape().iter().rev().copied().collect();
                c.0.insert(NAME.into(), tensor.reshape(shape).unwrap());
            },
            NAME,
        ),
        (
            |c| c.0.get_mut(NAME).unwrap().data_mut()[7] = f32::NAN,
            "not finite",
        ),
        (
            |c| drop(c.0.remove("optimizer.generator.decoder.conv1.weight.v")),
            "decoder.conv1.weight.v",
        ),
        (
            |c| drop(c.0.remove("discriminator.0.weight")),
            "discriminator.0.weight",
        ),
        (
            |c| {
                let progress = r#"{"step":1,"samples":18446744073709551615,"best":null}"#;
                c.1.insert("vae2x.progress".into(), progress.into());
            },
            "vae2x.progress",
        ),
    ];
    for (change, says) in changes {
        std::fs::write(&checkpoint, &whole).unwrap();
        edit(&checkpoint, change);
        let set = ["--set", "train.steps=2"];
        let args = ["train", "decoder", "--resume", &text(&out)];
        fails(&[&args[..], &set].concat(), &["step-00000001", says]);
        let export = [
            "export",
            &text(&checkpoint),
            "-o",
            &text(&exported),
            "--layout",
            "original",
        ];
        fails(&export, &["step-00000001", says]);
        assert!(!exported.exists(), "{says}");
    }
    std::fs::write(&checkpoint, &whole).unwrap();
    run(&[
        "export",
        &text(&checkpoint),
        "-o",
        &text(&exported),
        "--layout",
        "original",
    ])
    .ok();
}

/// Marked latents of 8 cells, and the arguments of a job on them.
fn job(folder: &Path) -> Vec<String> {
    let latents = folder.join("latents");
    std::fs::create_dir_all(&latents).unwrap();
    for i in 0..2 {
        let values = formula::unit(&format!("latent.{i}"), 16 * 64).collect();
        let latent = Array::new([1, 16, 1, 8, 8], values).unwrap();
        let path = latents.join(format!("{i}.safetensors"));
        write_latent(&path, &latent, Space::Normalized, &[]).unwrap();
    }
    let context = folder.join("context.safetensors");
    let caption = Array::new([3, 20], formula::unit("caption", 60).collect()).unwrap();
    write_arrays(&context, &[("context", &caption)], &Default::default()).unwrap();
    let args = [
        "sdedit",
        "--dit",
        &fixture("dit_tiny/diffusers"),
        "--context",
        &text(&context),
        "--latents",
        &text(&latents),
        "-o",
        &text(&folder.join("job")),
    ];
    args.map(String::from).to_vec()
}

#[test]
fn a_finished_job_knows_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let args = job(folder.path());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let resume = [&args[..], &["--resume"]].concat();
    run(&args).ok();
    let at = |name: &str| folder.path().join("job").join(name);
    let pairs = at("pairs-00000.safetensors");
    let [whole, manifest] = [&pairs, &at("manifest.json")].map(|path| std::fs::read(path).unwrap());
    type Change = fn(&mut Contents);
    let changes: [(Change, &str); 4] = [
        (
            |c| c.0.get_mut("0.safetensors#0.degraded").unwrap().data_mut()[0] = 0.5,
            "changed since the job was done",
        ),
        (
            |c| {
                for part in ["clean", "degraded", "t"] {
                    let tensor = c.0.remove(&format!("0.safetensors#0.{part}")).unwrap();
                    c.0.insert(format!("x#0.{part}"), tensor);
                }
            },
            "'x#0'",
        ),
        (
            |c| {
                for part in ["clean", "degraded", "t"] {
                    c.0.remove(&format!("0.safetensors#0.{part}"));
                }
            },
            "'0.safetensors#0' is missing",
        ),
        (
            |c| c.0.get_mut("0.safetensors#0.t").unwrap().data_mut()[0] = f32::NAN,
            "0.safetensors#0.t",
        ),
    ];
    for (change, says) in changes {
        std::fs::write(&pairs, &whole).unwrap();
        edit(&pairs, change);
        fails(&resume, &["pairs-00000.safetensors", says]);
        assert_eq!(
            std::fs::read(at("manifest.json")).unwrap(),
            manifest,
            "{says}"
        );
    }
    std::fs::remove_file(&pairs).unwrap();
    run(&resume).ok();
    assert_eq!(std::fs::read(&pairs).unwrap(), whole);
}

#[test]
fn manifests_that_ask_for_too_much_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let args = job(folder.path());
    run(&args).ok();
    let (job, out) = (folder.path().join("job"), folder.path().join("joined"));
    let manifest = job.join("manifest.json");
    let whole: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let merge = ["sdedit", "merge", &text(&job), "-o", &text(&out)];
    let edited = |place: &str, value: serde_json::Value| {
        let mut json = whole.clone();
        *json.pointer_mut(place).unwrap() = value;
        std::fs::write(&manifest, json.to_string()).unwrap();
    };
    let most = serde_json::json!(u64::MAX);
    let mut pairs = whole["files"][0]["pairs"].clone();
    let mut ghost = pairs[0].clone();
    ghost["name"] = "ghost#0".into();
    pairs.as_array_mut().unwrap().push(ghost);
    for (place, value, says) in [
        (
            "/plan/options/per_latent",
            (1u64 << 40).into(),
            "per-latent",
        ),
        ("/plan/options/per_latent", most.clone(), "per-latent"),
        ("/plan/options/per_file", most, "per-file"),
        ("/plan/options/per_latent", 60_000.into(), "not finished"),
        (
            "/files/0/name",
            "../../../etc/passwd".into(),
            "not finished",
        ),
        ("/files/0/pairs", pairs, "ghost#0"),
        (
            "/plan/sources/0",
            "other.safetensors".into(),
            "0.safetensors#0",
        ),
    ] {
        edited(place, value);
        fails(&merge, &[&text(&job), says]);
        assert!(!out.exists(), "{place}");
    }
    let mut json = whole.clone();
    json["shard"] = serde_json::json!({"index": 0, "of": 1 << 20});
    std::fs::write(&manifest, json.to_string()).unwrap();
    fails(&merge, &["1/1048576", "more"]);
    std::fs::write(&manifest, whole.to_string()).unwrap();
    // What a merge has not left there is not removed.
    let filling = folder.path().join(".joined.merging");
    std::fs::create_dir(&filling).unwrap();
    std::fs::write(filling.join("keep"), "precious").unwrap();
    fails(&merge, &[".joined.merging", "keep"]);
    assert_eq!(entries(&filling), ["keep"]);
    std::fs::rename(
        filling.join("keep"),
        filling.join("pairs-00000.safetensors"),
    )
    .unwrap();
    run(&merge).ok();
    assert!(!filling.exists());
}

#[cfg(unix)]
#[test]
fn special_files_in_the_folder_of_a_job_are_named() {
    use std::os::unix::fs::symlink;
    use vae2x_testkit::special::fifo as make_pipe;
    let folder = tempfile::tempdir().unwrap();
    let args = job(folder.path());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let resume = [&args[..], &["--resume"]].concat();
    run(&args).ok();
    let (job, out) = (
        folder.path().join("job"),
        text(&folder.path().join("joined")),
    );
    let whole = folder.path().join("whole");
    copy(&job, &whole);
    for name in ["manifest.json", "pairs-00000.safetensors"] {
        for device in [false, true] {
            std::fs::remove_dir_all(&job).unwrap();
            copy(&whole, &job);
            make_pipe(&job.join(name));
            if device {
                std::fs::remove_file(job.join(name)).unwrap();
                symlink("/dev/zero", job.join(name)).unwrap();
            }
            fails(&resume, &[name, "regular"]);
            fails(
                &["sdedit", "merge", &text(&job), "-o", &out],
                &[name, "regular"],
            );
        }
    }
    std::fs::remove_dir_all(&job).unwrap();
    copy(&whole, &job);
    std::fs::create_dir(job.join("parts")).unwrap();
    make_pipe(&job.join("parts/.lock"));
    fails(&resume, &[".lock", "a named pipe"]);
    let pairs = folder.path().join("pipes");
    std::fs::create_dir(&pairs).unwrap();
    make_pipe(&pairs.join("x.safetensors"));
    let config = folder.path().join("small.toml");
    std::fs::write(&config, "width = 4\nblocks = 1\n").unwrap();
    let args = [
        "train",
        "degradation",
        "--pairs",
        &text(&pairs),
        "--config",
        &text(&config),
    ];
    fails(
        &[&args[..], &["--out", &out]].concat(),
        &["x.safetensors", "a named pipe"],
    );
}

#[test]
fn pairs_and_proxies_that_are_not_finite_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (pairs, out) = (folder.path().join("pairs"), folder.path().join("run"));
    std::fs::create_dir(&pairs).unwrap();
    let time = Array::new([1], vec![0.1]).unwrap();
    let path = |i: usize| pairs.join(format!("{i}.safetensors"));
    for i in 0..3 {
        let latent = Array::new([4, 8, 8], formula::unit(&format!("{i}"), 256).collect()).unwrap();
        let arrays = [
            ("a.clean", &latent),
            ("a.degraded", &latent),
            ("a.t", &time),
        ];
        write_arrays(&path(i), &arrays, &Default::default()).unwrap();
    }
    let config = folder.path().join("small.toml");
    let values = "width = 4\nblocks = 1\nsteps = 2\nbatch = 16\ncrop = 8\nlog_every = 1\ncheckpoint_every = 1\n";
    std::fs::write(&config, values).unwrap();
    let start = [
        "train",
        "degradation",
        "--pairs",
        &text(&pairs),
        "--config",
        &text(&config),
    ];
    let into = text(&out);
    let train = [&start[..], &["--out", &into]].concat();
    for (part, value) in [("clean", f32::NAN), ("degraded", f32::INFINITY)] {
        let name = format!("a.{part}");
        let whole = std::fs::read(path(1)).unwrap();
        edit(&path(1), |c| {
            c.0.get_mut(&name).unwrap().data_mut()[9] = value
        });
        fails(
            &train,
            &["1.safetensors", &name, "1 of 256 values are not finite"],
        );
        std::fs::write(path(1), whole).unwrap();
        let _ = std::fs::remove_dir_all(&out);
    }
    run(&train).ok();
    let (proxy, checkpoint) = (
        out.join("proxy.safetensors"),
        out.join("checkpoint.safetensors"),
    );
    let soft = text(&folder.path().join("soft"));
    edit(&proxy, |c| {
        c.0.get_mut("conv_in.weight").unwrap().data_mut()[0] = f32::NAN
    });
    let degrade = [
        "degrade",
        &text(&pairs),
        "--proxy",
        &text(&proxy),
        "-o",
        &soft,
    ];
    fails(
        &degrade,
        &["proxy.safetensors", "conv_in.weight", "not finite"],
    );
    edit(&checkpoint, |c| drop(c.0.remove("model.conv_in.bias")));
    fails(
        &["train", "degradation", "--resume", &text(&out)],
        &["model.conv_in.bias"],
    );
}
