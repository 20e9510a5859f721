//! npy files, as latents and as pixels.

use libtest_mimic::Trial;
use vae2x_testkit::files::floats;

use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::tensors::*;
use crate::make::zip::{directory, zip};
use crate::make::{patched, position};

const FILE: &str = "x.npy";

fn latent(name: &str, expect: Expect, bytes: Vec<u8>) -> Case {
    let args = [
        "decode",
        FILE,
        "--vae",
        "demo:base",
        "-o",
        "o.png",
        "--latent-space",
        "raw",
    ];
    file(format!("npy latent {name}"), expect, &args, bytes)
}

fn pixels(name: &str, expect: Expect, bytes: Vec<u8>) -> Case {
    let args = ["encode", FILE, "--vae", "demo:base", "-o", "o.latent"];
    file(format!("npy pixels {name}"), expect, &args, bytes)
}

fn file(name: String, expect: Expect, args: &[&str], bytes: Vec<u8>) -> Case {
    let case = case(name, expect, args).bytes(FILE, bytes);
    if expect == Error {
        case.says(FILE)
    } else {
        case
    }
}

pub fn cases() -> Vec<Trial> {
    let mut cases = types();
    cases.extend(shapes());
    cases.extend(headers());
    cases.extend(archives());
    cases.extend(pictures());
    cases.into_iter().map(Trial::from).collect()
}

fn types() -> Vec<Case> {
    let of = |descr: &'static str, bytes: usize| Npy { descr, ..NPY }.with(&vec![0; bytes]);
    let mut cases = vec![
        latent("good", Success, NPY.with(&[0; 64])),
        latent(
            "Fortran order",
            Success,
            Npy {
                order: "True",
                ..NPY
            }
            .with(&[0; 64]),
        ),
    ];
    for (descr, bytes, expect) in [
        ("'|O'", 64, Error),
        ("[('a','<f4')]", 64, Error),
        ("'>f4'", 64, Error),
        ("'=f4'", 64, Error),
        ("'<U16'", 64, Error),
        ("'<c8'", 128, Error),
        ("'<f16'", 256, Error),
        ("'<f2'", 32, Success),
        ("'<f8'", 128, Success),
        ("'<i8'", 128, Error),
        ("'|b1'", 16, Error),
    ] {
        cases.push(latent(descr, expect, of(descr, bytes)));
    }
    cases.push(latent("NaN", Error, NPY.with(&same(f32::NAN, 16))));
    cases
}

fn shapes() -> Vec<Case> {
    let of = |shape: &'static str, bytes: usize| Npy { shape, ..NPY }.with(&vec![0; bytes]);
    let axes = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}",
        "1,".repeat(65)
    );
    vec![
        latent(
            "huge axes",
            Error,
            of("(1, 16, 1, 99999999999, 99999999999)", 64),
        ),
        latent("axis of 2^64", Error, of("(18446744073709551616,)", 64)),
        latent("negative axis", Error, of("(-1, 16)", 64)),
        latent("axis with a point", Error, of("(1.0, 16)", 64)),
        latent("axis 1_6", Error, of("(1, 1_6, 1, 1, 1)", 64)),
        latent("axis +16", Either, of("(1, +16, 1, 1, 1)", 64)),
        latent(
            "65 axes",
            Error,
            Npy {
                header: Some(axes),
                ..NPY
            }
            .with(&[0; 4]),
        ),
        latent("no cells", Error, of("(1, 16, 1, 0, 5)", 0)),
        latent("scalar", Error, of("()", 4)),
        latent("a byte short", Error, of("(1, 16, 1, 1, 1)", 63)),
        latent("a byte long", Error, of("(1, 16, 1, 1, 1)", 65)),
    ]
}

fn headers() -> Vec<Case> {
    let of = |text: &str| {
        Npy {
            header: Some(text.into()),
            ..NPY
        }
        .with(&[0; 64])
    };
    let version = |version, length| {
        Npy {
            version,
            length,
            ..NPY
        }
        .with(&[0; 64])
    };
    let right = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,16,1,1,1)}";
    let code = "__import__('os').system('touch PWNED')";
    vec![
        latent("version 2", Success, version(2, None)),
        latent("version 3", Success, version(3, None)),
        latent("version 9", Error, version(9, None)),
        latent("header of 4 GB", Error, version(2, Some(u32::MAX))),
        latent("header of 5 bytes", Error, version(1, Some(5))),
        latent("header of 65,535 bytes", Error, version(1, Some(65535))),
        latent("magic alone", Error, b"\x93NUMPY".to_vec()),
        latent("not ASCII", Error, of("{'descr': '<f4\u{e9}'}")),
        latent("code", Error, of(code)).check(|room, _| {
            if room.path("PWNED").exists() {
                Err("code ran".into())
            } else {
                Ok(())
            }
        }),
        latent(
            "a key twice",
            Either,
            of("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1,16,1,1,1)}"),
        ),
        latent(
            "escapes",
            Error,
            of("{'descr': '\x1b[31m\x07', 'fortran_order': False, 'shape': (1,)}"),
        ),
        latent("no shape", Error, of("{'descr': '<f4'}")),
        latent(
            "60 KB of blanks",
            Success,
            Npy {
                version: 2,
                header: Some(right.to_owned() + &" ".repeat(60_000)),
                ..NPY
            }
            .with(&[0; 64]),
        ),
        latent(
            "60 KB of junk",
            Error,
            Npy {
                version: 2,
                header: Some("{".to_owned() + &"x".repeat(60_000)),
                ..NPY
            }
            .with(&[]),
        ),
    ]
}

/// Archives of npy files.
fn archives() -> Vec<Case> {
    let array = NPY.with(&[0; 64]);
    let of = |compress| zip(&[("arr_0.npy", &array)], compress);
    // A gigabyte, by the array's header and the archive's directory.
    let huge = Npy {
        shape: "(1, 16, 1, 4096, 4096)",
        ..NPY
    }
    .with(&[0; 1 << 16]);
    let size = (huge.len() - (1 << 16) + (1 << 30)) as u32;
    let huge = zip(&[("arr_0.npy", &huge)], true);
    let place = directory(&huge) + 24;
    let huge = patched(huge, place, &size.to_le_bytes());
    let mut damaged = of(true);
    let place = position(&damaged, b"arr_0.npy") + 9;
    damaged[place..place + 8].fill(0xFF);
    vec![
        latent("npz", Success, of(false)),
        latent("deflated npz", Success, of(true)),
        latent("damaged npz", Error, damaged),
        latent("npz that unpacks to a gigabyte", Error, huge),
        latent(
            "npz with escapes in a name",
            Error,
            zip(&[("\x1b[31mred.npy", &array[..100])], false),
        ),
        latent(
            "npz of texts",
            Error,
            zip(
                &[(
                    "a.npy",
                    &Npy {
                        descr: "'<U16'",
                        ..NPY
                    }
                    .with(&[0; 64]),
                )],
                false,
            ),
        ),
    ]
}

fn pictures() -> Vec<Case> {
    let of = |shape: &'static str, data: &[u8]| Npy { shape, ..NPY }.with(data);
    let bytes = Npy {
        descr: "'|u1'",
        shape: "(3, 16, 16)",
        ..NPY
    }
    .with(&[0; 768]);
    vec![
        pixels("good", Success, of("(3, 16, 16)", &noise(768, 1, 0.2))),
        pixels(
            "beyond the range",
            Error,
            of("(3, 16, 16)", &floats(&[5.0; 768])),
        ),
        pixels("NaN", Error, of("(3, 16, 16)", &same(f32::NAN, 768))),
        pixels("of bytes", Either, bytes),
        pixels(
            "channels last",
            Error,
            of("(16, 16, 3)", &noise(768, 1, 0.2)),
        ),
        pixels("7x7", Error, of("(3, 7, 7)", &noise(147, 1, 0.2))),
        pixels(
            "two frames",
            Either,
            of("(1, 3, 2, 8, 8)", &noise(384, 1, 0.2)),
        ),
        pixels("no frames", Error, of("(1, 3, 0, 8, 8)", &[])),
    ]
}
