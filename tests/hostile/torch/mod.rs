//! Torch files: pickles that run code, that take memory, that lie; archives that do.

mod archives;
mod pickles;

use libtest_mimic::Trial;

use vae2x_testkit::files::{Pickle, View};

use crate::case::{Case, Either, Error, Expect, Success, case, trial};

use crate::make::tar::{plain, tar};

use crate::make::tensors::*;

use crate::make::zip::{directory, torch};

use crate::make::Random;

const FILE: &str = "x.pt";

const INFO: &[&str] = &["info", FILE];

const DECODE: &[&str] = &[
    "decode",
    FILE,
    "--vae",
    "demo:base",
    "-o",
    "o.png",
    "--latent-space",
    "raw",
];

fn file(
    name: impl Into<String>,
    expect: Expect,
    args: &[&str],
    bytes: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Case {
    let case = case(format!("torch {}", name.into()), expect, args).file(FILE, bytes);
    if expect == Error {
        case.says(FILE)
    } else {
        case
    }
}

/// A file with this pickle and a storage of 16 zeros.
fn pickled(pickle: &[u8]) -> Vec<u8> {
    torch(pickle, &[("0", &[0; 64])])
}

/// A refused pickle.
fn refused(name: &str, pickle: Vec<u8>) -> Case {
    file(name, Error, INFO, move || pickled(&pickle))
}

pub fn cases() -> Vec<Trial> {
    let mut cases = pickles::code();
    cases.extend(pickles::machine());
    cases.extend(pickles::memory());
    cases.extend(views());
    cases.extend(names());
    cases.extend(archives::archives());
    cases.extend(other_formats());
    let mut trials: Vec<Trial> = cases.into_iter().map(Trial::from).collect();
    trials.extend(damaged());
    trials
}

/// Tensors that are not in their storage.
fn views() -> Vec<Case> {
    const BIG: i64 = 1 << 62;
    let tensor = |view: View| move || pickled(&pickle_of("x", &view));
    let mut cases = vec![
        file("good", Success, DECODE, tensor(CELL)),
        file(
            "expanded with strides 0",
            Either,
            DECODE,
            tensor(View {
                strides: &[0; 5],
                ..CELL
            }),
        ),
        file(
            "no frames",
            Error,
            DECODE,
            tensor(View {
                shape: &[1, 16, 0, 1, 1],
                ..CELL
            }),
        ),
        file("strides of another order", Success, DECODE, || {
            let view = View {
                len: 64,
                shape: &[1, 16, 1, 2, 2],
                strides: &[64, 1, 1, 32, 16],
                ..CELL
            };
            torch(&pickle_of("x", &view), &[("0", &noise(64, 1, 1.0))])
        }),
    ];
    let refused = [
        ("storage longer than its file", View { len: 1000, ..CELL }),
        ("storage of -1", View { len: -1, ..CELL }),
        ("storage of 2^62", View { len: BIG, ..CELL }),
        (
            "negative axis",
            View {
                shape: &[1, -16, 1, 1, 1],
                ..CELL
            },
        ),
        (
            "axis of 2^62",
            View {
                shape: &[1, 16, BIG, 1, 1],
                ..CELL
            },
        ),
        (
            "expanded to millions",
            View {
                shape: &[1, 16, 1, 1000, 1000],
                strides: &[0; 5],
                ..CELL
            },
        ),
        (
            "strides of 2^62",
            View {
                strides: &[BIG; 5],
                ..CELL
            },
        ),
        (
            "negative stride",
            View {
                strides: &[16, -1, 1, 1, 1],
                ..CELL
            },
        ),
        (
            "offset of 2^62",
            View {
                offset: BIG,
                ..CELL
            },
        ),
        ("offset -1", View { offset: -1, ..CELL }),
        ("offset at the end", View { offset: 16, ..CELL }),
        (
            "fewer strides than axes",
            View {
                shape: &[1, 16, 1, 1],
                strides: &[1],
                ..CELL
            },
        ),
        (
            "nine axes",
            View {
                shape: &[1; 9],
                strides: &[1; 9],
                ..CELL
            },
        ),
        (
            "a storage that is not there",
            View {
                key: "nope",
                ..CELL
            },
        ),
        (
            "a storage that climbs out",
            View {
                key: "../data.pkl",
                ..CELL
            },
        ),
        (
            "a storage with a path",
            View {
                key: "/etc/passwd",
                ..CELL
            },
        ),
        (
            "quantized",
            View {
                class: "QInt8",
                ..CELL
            },
        ),
        (
            "complex",
            View {
                class: "ComplexFloat",
                ..CELL
            },
        ),
    ];
    cases.extend(refused.map(|(name, view)| file(name, Error, INFO, tensor(view)).never("root:")));
    cases
}

/// Tensors whose names are made for a terminal.
fn names() -> Vec<Case> {
    let two = Pickle::new()
        .op(b"}(")
        .text("\x1b[31m1")
        .tensor(&CELL)
        .text("\x1b[31m2")
        .tensor(&CELL)
        .op(b"u")
        .stop();
    let wrappers = {
        let open = (0..50).fold(Pickle::new(), |p, _| p.op(b"}").text("state_dict"));
        open.op(b"}(")
            .text("x")
            .tensor(&CELL)
            .op(b"u")
            .op(&[b's'; 50])
            .stop()
    };
    vec![
        file("escapes in a tensor's name", Either, INFO, || {
            pickled(&pickle_of("\x1b[31mred\x1b]0;x\x07", &CELL))
        }),
        file("newline in a tensor's name", Either, INFO, || {
            pickled(&pickle_of("a\nerror: fake\nb", &CELL))
        })
        .never("\nerror: fake"),
        file("escapes in two names", Error, INFO, move || pickled(&two)),
        file("50 state_dicts", Error, INFO, move || pickled(&wrappers)),
    ]
}

/// What is called .pt and is something else.
fn other_formats() -> Vec<Case> {
    let files: [(&str, Vec<u8>, &str); 6] = [
        (
            "old pickle",
            b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec(),
            "old format",
        ),
        ("old tar", tar(&[plain("storages", b"abcd")]), FILE),
        ("gzip", [&b"\x1f\x8b\x08\0"[..], &[0; 50]].concat(), FILE),
        ("GGUF", [&b"GGUF"[..], &[0; 60]].concat(), "GGUF"),
        (
            "Git LFS",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n".to_vec(),
            "LFS",
        ),
        ("web page", b"<!doctype html>\x1b[31m".to_vec(), "web page"),
    ];
    files
        .into_iter()
        .map(|(name, bytes, says)| file(name, Error, INFO, move || bytes).says(says))
        .collect()
}

/// A real file, cut and damaged.
fn damaged() -> Vec<Trial> {
    let real = || {
        std::fs::read(vae2x_testkit::fixture("vae_tiny_up2x/original_bf16.pth"))
            .expect("the fixture")
    };
    let mut trials = vec![Trial::from(file("real", Success, INFO, real))];
    for (name, part) in [
        ("100 bytes", 100),
        ("1000 bytes", 1000),
        ("half", 0),
        ("all but 30 bytes", 1),
    ] {
        let length = move |whole: usize| match part {
            0 => whole / 2,
            1 => whole - 30,
            n => n,
        };
        trials.push(
            file(format!("real, {name} of it"), Error, INFO, move || {
                real()[..length(real().len())].to_vec()
            })
            .into(),
        );
    }
    trials.push(trial(
        "torch 60 random changes of a real file",
        move |room| {
            let mut random = Random::new(5);
            let whole = real();
            let start = directory(&whole);
            for i in 0..60 {
                let mut bytes = whole.clone();
                for _ in 0..1 + random.below(5) {
                    let at = if i % 2 == 1 {
                        start + random.below(whole.len() - start)
                    } else {
                        random.below(30_000)
                    };
                    bytes[at] = random.next() as u8;
                }
                room.write(FILE, &bytes);
                let outcome = room.run(INFO);
                if !outcome.faults().is_empty() || outcome.peak > 400 {
                    return Err(format!(
                        "change {i}: {}\n{}",
                        outcome.faults().join("; "),
                        outcome.describe()
                    ));
                }
            }
            Ok(())
        },
    ));
    trials
}
