//! The folder of a run, tampered with before it goes on, and checkpoints before they are exported.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libtest_mimic::Trial;
use serde_json::{Map, Value, json};

use super::{CONFIG, PEAK, TRAIN, photos};
use vae2x_testkit::special;

use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::png::photo;
use crate::make::tensors::{edited, split};
use crate::make::{Random, patched};
use crate::room::Room;

const LAST: &str = "checkpoints/step-00000004.safetensors";
const RESUME: &[&str] = &[
    "train",
    "decoder",
    "--resume",
    "run",
    "--no-tui",
    "--threads",
    "1",
    "--set",
    "train.steps=6",
];
const EXPORT: &[&str] = &[
    "export",
    "x.safetensors",
    "-o",
    "ex.safetensors",
    "--layout",
    "original",
];

/// A run that stopped after four of six steps, made once.
static RUN: LazyLock<Room> = LazyLock::new(|| {
    let room = Room::new();
    for i in 0..3 {
        room.write(&format!("ph/p{i}.png"), photo(96, 96, i));
    }
    let config = CONFIG.replace("steps = 2", "steps = 6");
    let config = config.replace(
        "every = 1",
        "every = 1\ncheckpoint_every = 2\neval_every = 2",
    );
    room.write(
        "c.toml",
        config.replace("crop = 32", "crop = 32\nheld_out = [\"ph/p2.png\"]"),
    );
    room.ok(&[TRAIN, &["--set", "train.steps=4"]].concat())
        .expect("a run");
    room
});

fn checkpoint() -> Vec<u8> {
    RUN.read(&format!("run/{LAST}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the run").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("a copy");
        }
    }
}

/// The run goes on after a change of its folder.
fn resume(name: &str, expect: Expect, change: impl FnOnce(&Path) + Send + 'static) -> Case {
    let case = case(format!("resume {name}"), expect, RESUME)
        .peak(PEAK)
        .goes_on()
        .ignores("run");
    photos(case).make(move |room| {
        copy(&RUN.path("run"), &room.path("run"));
        change(&room.path("run"));
    })
}

/// The run goes on from a changed checkpoint.
fn from(name: &str, expect: Expect, change: fn(Vec<u8>) -> Vec<u8>) -> Case {
    resume(name, expect, move |run| {
        fs::write(run.join(LAST), change(checkpoint())).expect("written")
    })
}

fn write(run: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(run.join(name), bytes).expect("written");
}

/// Puts something else where a file or folder of the run is.
fn instead(name: &'static str, make: fn(&Path)) -> impl FnOnce(&Path) + Send {
    move |run: &Path| {
        let path = run.join(name);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        make(&path);
    }
}

pub fn cases() -> Vec<Trial> {
    let mut cases = progress();
    cases.extend(tensors());
    cases.extend(folders());
    cases.extend(exports());
    cases.into_iter().map(Trial::from).collect()
}

fn metadata(bytes: &[u8], key: &str, value: &str) -> Vec<u8> {
    edited(bytes, |h| h["__metadata__"][key] = json!(value))
}

/// A checkpoint whose progress cannot be read is set aside, and the run goes on from the one before.
fn progress() -> Vec<Case> {
    let mut cases = vec![from("untouched", Success, |c| c)];
    for (name, expect, text) in [
        (
            "step 2^64-1",
            Success,
            r#"{"step":18446744073709551615,"samples":4,"best":null}"#,
        ),
        (
            "step 2^53",
            Either,
            r#"{"step":9007199254740992,"samples":4,"best":null}"#,
        ),
        (
            "samples 2^64-1",
            Success,
            r#"{"step":4,"samples":18446744073709551615,"best":null}"#,
        ),
        (
            "samples 2^63",
            Either,
            r#"{"step":4,"samples":9223372036854775808,"best":null}"#,
        ),
        ("step -1", Success, r#"{"step":-1,"samples":4}"#),
        ("step 4.5", Success, r#"{"step":4.5,"samples":4}"#),
        (
            "best NaN",
            Success,
            r#"{"step":4,"samples":4,"best":[4,NaN]}"#,
        ),
        (
            "best of a step that is not there",
            Either,
            r#"{"step":4,"samples":4,"best":[999,99.0]}"#,
        ),
        (
            "best 1e308",
            Either,
            r#"{"step":4,"samples":4,"best":[4,1e308]}"#,
        ),
        (
            "an extra key",
            Either,
            r#"{"step":4,"samples":4,"best":null,"x":1}"#,
        ),
        ("step 0", Either, r#"{"step":0,"samples":0,"best":null}"#),
        (
            "skips 2^64-1",
            Success,
            r#"{"step":4,"samples":4,"best":null,"skips":{"total":18446744073709551615,"in_a_row":0}}"#,
        ),
    ] {
        cases.push(resume(&format!("progress {name}"), expect, move |run| {
            write(run, LAST, metadata(&checkpoint(), "vae2x.progress", text));
        }));
    }
    cases.extend([
        from("no progress", Success, |c| {
            edited(&c, |h| {
                drop(
                    h["__metadata__"]
                        .as_object_mut()
                        .expect("metadata")
                        .remove("vae2x.progress"),
                )
            })
        }),
        from("no metadata", Success, |c| {
            edited(&c, |h| drop(h.remove("__metadata__")))
        }),
        from("junk for the configuration", Either, |c| {
            metadata(&c, "vae2x.config", "x")
        }),
        from("escapes in the configuration", Either, |c| {
            metadata(&c, "vae2x.config", "\"\x1b[31m\" = 1")
        }),
    ]);
    cases
}

/// A name of a tensor with this prefix, and of more than two axes if it is to be reshaped.
fn find(header: &Map<String, Value>, prefix: &str, axes: usize) -> String {
    let fits = |(name, info): &(&String, &Value)| {
        name.starts_with(prefix) && info["shape"].as_array().is_some_and(|s| s.len() >= axes)
    };
    header.iter().find(fits).expect("a tensor").0.clone()
}

/// With NaN for all elements of the tensors with this prefix.
fn not_finite(mut bytes: Vec<u8>, prefix: &str) -> Vec<u8> {
    let (header, start) = split(&bytes);
    for (name, info) in header.as_object().expect("an object") {
        if name.starts_with(prefix) {
            let at =
                |i: usize| start + info["data_offsets"][i].as_u64().expect("an offset") as usize;
            let count = (at(1) - at(0)) / 4;
            bytes = patched(bytes, at(0), &f32::NAN.to_le_bytes().repeat(count));
        }
    }
    bytes
}

fn renamed(bytes: &[u8], prefix: &str) -> Vec<u8> {
    edited(bytes, |h| {
        let name = find(h, prefix, 0);
        let info = h.remove(&name).expect("it is there");
        h.insert(format!("gone.{name}"), info);
    })
}

fn reversed(bytes: &[u8], prefix: &str) -> Vec<u8> {
    edited(bytes, |h| {
        let name = find(h, prefix, 3);
        h[&name]["shape"].as_array_mut().expect("a shape").reverse();
    })
}

fn tensors() -> Vec<Case> {
    vec![
        from("generator of NaN", Error, |c| not_finite(c, "generator")),
        from("average of NaN", Error, |c| not_finite(c, "average")),
        from("optimizer of NaN", Error, |c| not_finite(c, "optimizer")),
        from("a tensor of the generator renamed", Error, |c| {
            renamed(&c, "generator")
        }),
        from("a tensor of the optimizer renamed", Error, |c| {
            renamed(&c, "optimizer")
        }),
        from("a shape reversed", Error, |c| reversed(&c, "generator")),
        // The one before is taken.
        from("checkpoint cut", Success, |c| c[..c.len() / 2].to_vec()),
        from("checkpoint empty", Success, |_| Vec::new()),
        resume("all checkpoints cut", Error, |run| {
            for entry in fs::read_dir(run.join("checkpoints"))
                .expect("checkpoints")
                .flatten()
            {
                fs::write(entry.path(), &checkpoint()[..1000]).expect("written");
            }
        }),
    ]
}

fn folders() -> Vec<Case> {
    const NEWER: &str = "checkpoints/step-00000099.safetensors";
    let folder = |path: &Path| fs::create_dir(path).expect("a folder");
    let file = |path: &Path| fs::write(path, "x").expect("written");
    vec![
        resume(
            "a newer checkpoint that is a fifo",
            Either,
            instead(NEWER, special::fifo),
        ),
        resume(
            "a newer checkpoint that is a folder",
            Either,
            instead(NEWER, folder),
        ),
        resume(
            "a newer checkpoint that is /dev/zero",
            Either,
            instead(NEWER, |path| special::link("/dev/zero", path)),
        ),
        resume(
            "a checkpoint of 23 digits",
            Either,
            instead("checkpoints/step-99999999999999999999999.safetensors", file),
        ),
        resume(
            "a checkpoint named by escapes",
            Either,
            instead("checkpoints/step-\x1b[31m.safetensors", file),
        ),
        resume(
            "checkpoints that are a file",
            Error,
            instead("checkpoints", file),
        ),
        resume("no checkpoints", Either, instead("checkpoints", |_| ())),
        resume(
            "a lock that is a fifo",
            Error,
            instead(".lock", special::fifo),
        ),
        resume("a lock that is a folder", Error, instead(".lock", folder)),
        resume(
            "a log that is a folder",
            Error,
            instead("log.jsonl", folder),
        ),
        resume(
            "a log that is a fifo",
            Error,
            instead("log.jsonl", special::fifo),
        ),
        resume("a log of 50 MB of junk", Success, |run| {
            write(run, "log.jsonl", Random::new(1).bytes(50 << 20))
        }),
        resume("a log with lines of the future", Either, |run| {
            let log = fs::read(run.join("log.jsonl")).expect("a log");
            write(
                run,
                "log.jsonl",
                [&log[..], b"{\"step\":99,\"kind\":\"train\"}\n"].concat(),
            );
        }),
        resume("no configuration", Error, instead("config.toml", |_| ())),
        resume("an empty configuration", Error, |run| {
            write(run, "config.toml", "")
        }),
        resume("a configuration of another model", Error, |run| {
            let config = fs::read_to_string(run.join("config.toml")).expect("a configuration");
            let other = vae2x_testkit::fixture("vae_tiny_base/original.safetensors");
            write(
                run,
                "config.toml",
                config.replace("demo:base", &other.to_string_lossy()),
            );
        }),
        resume(
            "a configuration that is a fifo",
            Error,
            instead("config.toml", special::fifo),
        ),
        resume("samples that are a file", Error, instead("samples", file)),
        resume(
            "milestones that are a file",
            Error,
            instead("milestones", file),
        ),
        resume(
            "tensorboard that is a file",
            Error,
            instead("tensorboard", file),
        ),
        resume("a folder that is no run", Error, |run| {
            fs::remove_dir_all(run)
                .and_then(|()| fs::create_dir(run))
                .expect("an empty folder");
        }),
        case(
            "resume nowhere",
            Error,
            &["train", "decoder", "--resume", "nowhere"],
        ),
    ]
}

fn exports() -> Vec<Case> {
    let named = |c: Vec<u8>, base: &str| {
        edited(&c, |h| {
            let config = h["__metadata__"]["vae2x.config"]
                .as_str()
                .expect("a configuration")
                .replace("demo:base", base);
            h["__metadata__"]["vae2x.config"] = json!(config);
        })
    };
    type Change = Box<dyn FnOnce(Vec<u8>) -> Vec<u8> + Send>;
    let changes: Vec<(&str, Expect, Change)> = vec![
        ("untouched", Success, Box::new(|c| c)),
        ("of NaN", Error, Box::new(|c| not_finite(c, "generator"))),
        ("cut", Error, Box::new(|c| c[..5000].to_vec())),
        (
            "with a shape reversed",
            Error,
            Box::new(|c| reversed(&c, "generator")),
        ),
        (
            "with a tensor renamed",
            Error,
            Box::new(|c| renamed(&c, "generator")),
        ),
        (
            "that names a hub id",
            Error,
            Box::new(move |c| named(c, "evil/repo")),
        ),
        (
            "that names /etc/passwd",
            Error,
            Box::new(move |c| named(c, "/etc/passwd")),
        ),
    ];
    changes
        .into_iter()
        .map(|(name, expect, change)| {
            let case = case(format!("resume export {name}"), expect, EXPORT)
                .peak(PEAK)
                .never("root:");
            case.file("x.safetensors", move || change(checkpoint()))
        })
        .collect()
}
