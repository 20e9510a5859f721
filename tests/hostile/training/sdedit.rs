//! Jobs of SDEdit: transformers, captions, options, manifests of shards, jobs that go on.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::PEAK;
use vae2x_testkit::special;

use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::tensors::{file, noise, pickle, plain_latent, same, tensor};
use crate::room::Room;

const JOB: &[&str] = &[
    "sdedit",
    "--dit",
    "dit",
    "--context",
    "c.safetensors",
    "--latents",
    "lat",
    "-o",
    "j",
    "--latent-space",
    "normalized",
    "--threads",
    "1",
];
const MERGE: &[&str] = &["sdedit", "merge", "j", "-o", "m"];
const PAIRS: &str = "pairs-00000.safetensors";

/// A finished job, made once.
static DONE: LazyLock<Room> = LazyLock::new(|| {
    let room = Room::new();
    inputs(&room);
    room.ok(JOB).expect("a job");
    room
});

fn config() -> Value {
    let path = vae2x_testkit::fixture("dit_tiny/diffusers/config.json");
    serde_json::from_slice(&fs::read(path).expect("the fixture")).expect("JSON")
}

fn inputs(room: &Room) {
    let dit = vae2x_testkit::fixture("dit_tiny/diffusers/diffusion_pytorch_model.safetensors");
    room.write("dit/config.json", config().to_string());
    special::link(
        &dit.canonicalize().expect("a path").to_string_lossy(),
        &room.path("dit/diffusion_pytorch_model.safetensors"),
    );
    room.write("c.safetensors", context(&[3, 20], noise(60, 1, 1.0)));
    room.write("lat/x.safetensors", plain_latent([1, 1, 8, 8], 1));
}

fn context(shape: &[usize], bytes: Vec<u8>) -> Vec<u8> {
    file(&[tensor("context", "F32", shape, bytes)])
}

/// A job on changed inputs. Its folder stays when it fails.
fn job(
    name: &str,
    expect: Expect,
    more: &[&str],
    change: impl FnOnce(&Room) + Send + 'static,
) -> Case {
    let case = case(format!("sdedit {name}"), expect, &[JOB, more].concat())
        .peak(PEAK)
        .goes_on();
    case.make(move |room| {
        inputs(room);
        change(room);
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = transformers();
    cases.extend(captions());
    cases.extend(options());
    cases.extend(manifests());
    cases.extend(places());
    cases.extend(resumed());
    cases
}

fn transformers() -> Vec<Case> {
    let with = |name: &str, expect, text: String| {
        job(&format!("transformer {name}"), expect, &[], move |room| {
            room.write("dit/config.json", text)
        })
    };
    let mut cases = vec![with("good", Success, config().to_string())];
    for (key, value) in [
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(7)),
        ("num_attention_heads", json!(10u64.pow(18))),
        ("num_attention_heads", json!(-1)),
        ("eps", json!("x")),
        ("eps", json!(-1e9)),
        ("text_len", json!(0)),
        ("text_len", json!(65536)),
        ("text_len", json!(10u64.pow(12))),
        ("num_layers", json!(10u64.pow(12))),
        ("patch_size", json!([0, 0, 0])),
        ("_class_name", json!("UNet")),
    ] {
        let name = format!("{key}={value}");
        let mut config = config();
        config[key] = value;
        cases.push(with(&name, Either, config.to_string()));
    }
    let mut infinite = config();
    infinite["eps"] = json!("INF");
    cases.push(with(
        "eps=1e999",
        Either,
        infinite.to_string().replace("\"INF\"", "1e999"),
    ));
    cases.push(with("no JSON", Error, "{".into()));
    cases.push(with("nested", Error, "[".repeat(100_000)));
    cases
}

fn captions() -> Vec<Case> {
    [
        ("NaN", context(&[3, 20], same(f32::NAN, 60))),
        ("21 values", context(&[3, 21], noise(63, 1, 1.0))),
        ("no tokens", context(&[0, 20], vec![])),
        (
            "100,000 tokens",
            context(&[100_000, 20], vec![0; 8_000_000]),
        ),
        (
            "another name",
            file(&[tensor("x", "F32", &[3, 20], noise(60, 1, 1.0))]),
        ),
        ("one axis", context(&[60], noise(60, 1, 1.0))),
        (
            "a pickle that runs code",
            pickle(b"cos\nsystem\n(X\x01\0\0\0xtR"),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| {
        job(&format!("caption of {name}"), Error, &[], move |room| {
            room.write("c.safetensors", bytes)
        })
        .says("c.safetensors")
    })
    .collect()
}

fn options() -> Vec<Case> {
    let all: &[&[&str]] = &[
        &["--t", "0"],
        &["--t", "1"],
        &["--t-median", "nan"],
        &["--t-median", "0"],
        &["--t-sigma", "inf"],
        &["--t-sigma", "-1"],
        &["--shard", "1/1"],
        &["--shard", "0/1048577"],
        &["--shard", "0/0"],
        &["--shard", "-1/2"],
        &["--shard", "999999/1000000"],
        &["--heads", "0"],
        &["--heads", "65535"],
        &["--seed", "18446744073709551615"],
    ];
    all.iter()
        .map(|more| job(&more.join(" "), Either, more, |_| ()))
        .collect()
}

/// The finished job with its manifest and files changed.
fn merge(name: &str, expect: Expect, change: impl FnOnce(&Path) + Send + 'static) -> Case {
    case(format!("sdedit merge, {name}"), expect, MERGE)
        .peak(PEAK)
        .make(move |room| {
            copy(&DONE.path("j"), &room.path("j"));
            change(&room.path("j"));
        })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the job").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("a copy");
        }
    }
}

/// The manifest with a value replaced.
fn set(pointer: &'static str, value: Value) -> impl FnOnce(&Path) + Send {
    move |job: &Path| {
        let path = job.join("manifest.json");
        let mut manifest: Value =
            serde_json::from_slice(&fs::read(&path).expect("a manifest")).expect("JSON");
        match pointer {
            // Left out where the job is whole.
            "/shard" => manifest["shard"] = value,
            _ => *manifest.pointer_mut(pointer).expect("it is there") = value,
        }
        fs::write(path, manifest.to_string()).expect("written");
    }
}

fn text(bytes: Vec<u8>) -> impl FnOnce(&Path) + Send {
    move |job: &Path| fs::write(job.join("manifest.json"), bytes).expect("written")
}

/// Puts something else where a file of a job is.
fn instead(name: &'static str, make: fn(&Path)) -> impl FnOnce(&Path) + Send {
    move |job: &Path| {
        let _ = fs::remove_file(job.join(name));
        make(&job.join(name));
    }
}

fn manifests() -> Vec<Case> {
    let ghost = |job: &Path| {
        let path = job.join("manifest.json");
        let mut manifest: Value =
            serde_json::from_slice(&fs::read(&path).expect("a manifest")).expect("JSON");
        let pairs = manifest["files"][0]["pairs"].as_array_mut().expect("pairs");
        pairs.push(json!({"name": "ghost", "t": 0.5, "shape": [1]}));
        fs::write(path, manifest.to_string()).expect("written");
    };
    vec![
        merge("good", Success, |_| ()),
        merge(
            "2^40 pairs of a latent",
            Error,
            set("/plan/options/per_latent", json!(1u64 << 40)),
        ),
        merge(
            "2^64 pairs of a latent",
            Error,
            set("/plan/options/per_latent", json!(u64::MAX)),
        ),
        merge(
            "2^64 pairs in a file",
            Either,
            set("/plan/options/per_file", json!(u64::MAX)),
        ),
        merge(
            "shard 0 of 2^20",
            Error,
            set("/shard", json!({"index": 0, "of": 1u64 << 20})),
        ),
        merge(
            "shard 0 of 2^63",
            Error,
            set("/shard", json!({"index": 0, "of": 1u64 << 63})),
        ),
        merge(
            "shard 5 of 2",
            Error,
            set("/shard", json!({"index": 5, "of": 2})),
        ),
        merge("format 2", Error, set("/format", json!(2))),
        merge(
            "a name that climbs out",
            Error,
            set("/files/0/name", json!("../../../etc/passwd")),
        ),
        merge(
            "an absolute name",
            Error,
            set("/files/0/name", json!("/etc/passwd")),
        ),
        merge(
            "a wrong hash",
            Error,
            set("/files/0/sha256", json!("0".repeat(64))),
        ),
        merge(
            "a hash of escapes",
            Error,
            set("/files/0/sha256", json!("\x1b[31m")),
        ),
        merge(
            "a source of escapes",
            Either,
            set("/plan/sources/0", json!("\x1b[31mx")),
        ),
        merge("a pair that is not there", Either, ghost),
        merge("nested", Error, text("[".repeat(100_000).into())),
        merge("empty", Error, text(vec![])),
        merge("not UTF-8", Error, text(b"\xff\xfe".into())),
        merge("a file missing", Error, instead(PAIRS, |_| ())),
        merge(
            "a file that is a fifo",
            Error,
            instead(PAIRS, special::fifo),
        ),
        merge(
            "a file that is /dev/zero",
            Error,
            instead(PAIRS, |path| special::link("/dev/zero", path)),
        ),
    ]
    .into_iter()
    .map(|case| case.never("root:"))
    .collect()
}

fn places() -> Vec<Case> {
    let done = |case: Case| {
        case.peak(PEAK)
            .make(|room| copy(&DONE.path("j"), &room.path("j")))
    };
    vec![
        done(case(
            "sdedit merge a job with itself",
            Error,
            &["sdedit", "merge", "j", "j", "-o", "m"],
        )),
        done(case(
            "sdedit merge onto itself",
            Error,
            &["sdedit", "merge", "j", "-o", "j"],
        )),
        done(case(
            "sdedit merge to /",
            Error,
            &["sdedit", "merge", "j", "-o", "/"],
        )),
        merge("into a folder that is not empty", Error, |_| ()).make(|room| {
            fs::create_dir(room.path("m")).expect("a folder");
            special::link("/nonexistent", &room.path("m/x"));
        }),
        merge("beside a foreign folder of its name", Either, |_| ())
            .bytes(".m.merging/keep", "precious"),
    ]
}

/// The finished job goes on after a change of its folder.
fn resumed() -> Vec<Case> {
    let go_on = |name: &str, expect, change: Box<dyn FnOnce(&Path) + Send>| {
        job(
            &format!("go on, {name}"),
            expect,
            &["--resume"],
            move |room| {
                copy(&DONE.path("j"), &room.path("j"));
                change(&room.path("j"));
            },
        )
        .ignores("j")
    };
    let other = ["clean", "degraded"].map(|part| {
        tensor(
            &format!("a.{part}"),
            "F32",
            &[16, 8, 8],
            noise(1024, 3, 1.0),
        )
    });
    let other = file(&[&other[..], &[tensor("a.t", "F32", &[1], vec![0; 4])]].concat());
    vec![
        go_on("finished", Success, Box::new(|_| ())),
        go_on(
            "pairs cut",
            Either,
            Box::new(|job| {
                let pairs = fs::read(job.join(PAIRS)).expect("pairs");
                fs::write(job.join(PAIRS), &pairs[..200]).expect("written");
            }),
        ),
        go_on(
            "pairs swapped",
            Error,
            Box::new(move |job| fs::write(job.join(PAIRS), other).expect("written")),
        ),
        go_on("manifest of junk", Error, Box::new(text(b"{".into()))),
        go_on(
            "manifest gone",
            Error,
            Box::new(instead("manifest.json", |_| ())),
        ),
        go_on(
            "manifest that is a fifo",
            Error,
            Box::new(instead("manifest.json", special::fifo)),
        ),
        go_on(
            "lock that is a fifo",
            Error,
            Box::new(|job| {
                fs::create_dir_all(job.join("parts")).expect("a folder");
                instead("parts/.lock", special::fifo)(job);
            }),
        ),
    ]
}
