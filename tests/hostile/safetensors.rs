//! Headers that lie, and latents that are none.

use libtest_mimic::Trial;

use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::nested;
use crate::make::tensors::*;

/// What a file is given to the program as.
#[derive(Clone, Copy)]
enum As {
    Info,
    Latent,
    Weights,
}
use As::{Info, Latent, Weights};

fn read(
    name: &str,
    expect: Expect,
    role: As,
    bytes: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Case {
    let file = "x.safetensors";
    let (word, args): (_, &[&str]) = match role {
        Info => ("info", &["info", file]),
        Latent => (
            "decode",
            &[
                "decode",
                file,
                "--vae",
                "demo:base",
                "-o",
                "o.png",
                "--latent-space",
                "raw",
            ],
        ),
        Weights => (
            "vae",
            &["decode", "latent8.latent", "--vae", file, "-o", "o.png"],
        ),
    };
    let case = case(format!("safetensors {word} {name}"), expect, args)
        .file(file, bytes)
        .bytes("latent8.latent", latent8());
    if expect == Error {
        case.says(file)
    } else {
        case
    }
}

pub fn cases() -> Vec<Trial> {
    let mut cases = lies();
    cases.extend(texts());
    cases.extend(shapes());
    cases.extend(elements());
    cases.extend(large());
    cases.into_iter().map(Trial::from).collect()
}

/// Headers that are cut, or whose length is wrong.
fn lies() -> Vec<Case> {
    let small = |name, bytes: Vec<u8>| read(name, Error, Info, move || bytes);
    let length = |n: u64, rest: &[u8]| [&n.to_le_bytes()[..], rest].concat();
    let whole = latent8();
    vec![
        read("good", Success, Info, latent8),
        read("good", Success, Latent, latent8),
        small("empty", vec![]),
        small("length only", length(8, b"")),
        small("length zero", length(0, b"{}")),
        small("length 2^40", length(1 << 40, br#"{"a":1}"#)),
        small("length 2^64-1", length(u64::MAX, b"{}")),
        small(
            "length 100 MB, short",
            length(99_999_999, &[b"{", &[b' '; 50][..]].concat()),
        ),
        small("truncated", whole[..whole.len() - 7].to_vec()),
        small("trailing byte", [&whole[..], b"x"].concat()),
    ]
}

/// Headers that are not the JSON they should be.
fn texts() -> Vec<Case> {
    let mut cases = Vec::new();
    let x = r#""x":{"dtype":"F32","shape":[1,16,1,1,1],"data_offsets":[0,64]}"#;
    let texts = [
        ("no JSON", "{nonsense".to_owned(), 0),
        ("a list", "[1,2]".into(), 0),
        ("null", "null".into(), 0),
        ("nested lists", format!(r#"{{"a":{}}}"#, nested(100_000)), 0),
        (
            "nested objects",
            format!("{}1{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000)),
            0,
        ),
        ("no tensors", "{}".into(), 0),
        (
            "a tensor twice",
            format!("{{{x},{}}}", x.replace("0,64", "64,128")),
            128,
        ),
        (
            "a field twice",
            format!(
                "{{{}}}",
                x.replace(r#""dtype":"F32""#, r#""dtype":"F32","dtype":"F16""#)
            ),
            64,
        ),
        (
            "an unknown type",
            format!("{{{}}}", x.replace("F32", "Q4")),
            64,
        ),
        (
            "metadata of numbers",
            format!(r#"{{"__metadata__":{{"a":1}},{x}}}"#),
            64,
        ),
    ];
    for (name, text, zeros) in texts {
        cases.push(read(name, Error, Info, move || header(&text, zeros)));
    }
    let twice = format!(r#"{{"__metadata__":{{"a":"b"}},"__metadata__":{{"a":"c"}},{x}}}"#);
    cases.push(read("metadata twice", Either, Info, move || {
        header(&twice, 64)
    }));
    for key in ["vae2x.latent_space", "latent_space"] {
        let marked = with_metadata(
            &[tensor("latents", "F32", &[1, 16, 1, 1, 1], same(0.1, 16))],
            &[(key, "sideways")],
        );
        cases.push(read(
            &format!("{key} = sideways"),
            Either,
            Info,
            move || marked,
        ));
    }
    cases
}

/// Shapes and offsets that do not fit each other or anything.
fn shapes() -> Vec<Case> {
    let two = |a: &str, b: &str, zeros| {
        let entry = |name, offsets: &str| {
            format!(r#""{name}":{{"dtype":"F32","shape":[16,1,1],"data_offsets":[{offsets}]}}"#)
        };
        header(&format!("{{{},{}}}", entry("a", a), entry("b", b)), zeros)
    };
    let files = [
        ("overlap", two("0,64", "32,96", 96)),
        ("the same place twice", two("0,64", "0,64", 64)),
        ("a gap", entry("F32", "16,1,1", "16,80", 80)),
        ("reversed offsets", entry("F32", "16,1,1", "64,0", 64)),
        ("negative offsets", entry("F32", "16,1,1", "-64,0", 64)),
        (
            "offsets with points",
            entry("F32", "16,1,1", "0.0,64.0", 64),
        ),
        (
            "offsets near 2^64",
            entry(
                "F32",
                "16,1,1",
                "18446744073709551552,18446744073709551615",
                64,
            ),
        ),
        (
            "shape that overflows",
            entry("F32", "4294967296,4294967296,4", "0,64", 64),
        ),
        (
            "shape that overflows to zero",
            entry("F32", "18446744073709551615,16,0", "0,0", 0),
        ),
        (
            "axis of 2^64-1",
            entry("F32", "18446744073709551615", "0,0", 0),
        ),
        (
            "shape that wraps",
            entry("F32", "4611686018427387904,4", "0,0", 0),
        ),
        (
            "bytes that wrap",
            entry("F64", "2305843009213693953,1", "0,8", 8),
        ),
        ("no cells", entry("F32", "1,16,1,0,0", "0,0", 0)),
        ("a scalar", entry("F32", "", "0,4", 4)),
        (
            "100 axes",
            entry("F32", &vec!["1"; 100].join(","), "0,4", 4),
        ),
    ];
    let mut cases: Vec<Case> = files
        .into_iter()
        .map(|(name, bytes)| read(name, Error, Info, move || bytes))
        .collect();
    cases.push(read("no cells", Error, Latent, || {
        entry("F32", "1,16,1,0,0", "0,0", 0)
    }));
    cases.push(read("no frames", Error, Latent, || {
        entry("F32", "1,16,0,4,4", "0,0", 0)
    }));
    cases.push(read("a million axes", Error, Info, || {
        entry("F32", &vec!["1"; 1_000_000].join(","), "0,4", 4)
    }));
    cases
}

/// Elements of types and values that no latent has.
fn elements() -> Vec<Case> {
    let mut cases = Vec::new();
    for (dtype, bytes) in [
        ("F4", 8),
        ("C64", 128),
        ("I64", 128),
        ("BOOL", 16),
        ("F8_E8M0", 16),
    ] {
        let file = cell("x", dtype, vec![0; bytes]);
        cases.push(read(dtype, Error, Latent, move || file));
    }
    for (name, byte, expect) in [("fp8", 0x38, Success), ("fp8 NaN", 0x7F, Error)] {
        let file = cell("x", "F8_E4M3", vec![byte; 16]);
        cases.push(read(name, expect, Latent, move || file));
    }
    let files = [
        ("NaN", cell("x", "F32", same(f32::NAN, 16))),
        ("infinity", cell("x", "F32", same(f32::INFINITY, 16))),
        ("1e300", cell("x", "F64", 1e300f64.to_le_bytes().repeat(16))),
        (
            "3.4e38",
            file(&[tensor("x", "F32", &[1, 16, 1, 2, 2], same(3.4e38, 64))]),
        ),
    ];
    for (name, file) in files {
        cases.push(read(name, Error, Latent, move || file));
    }
    cases.push(read("one cell", Success, Latent, || {
        cell("x", "F32", same(0.1, 16))
    }));
    cases.push(
        read("1x700 cells", Success, Latent, || {
            plain_latent([1, 1, 1, 700], 1)
        })
        .peak(700),
    );
    cases.push(
        read("700x1 cells", Success, Latent, || {
            plain_latent([1, 1, 700, 1], 1)
        })
        .peak(700),
    );
    cases
}

/// Headers near the limit, of very many tensors or very long text.
fn large() -> Vec<Case> {
    let mut cases = vec![
        read("100,000 named tensors", Error, Info, || {
            let empty = |i| tensor(&format!("t{i:06}"), "F32", &[0], Vec::new());
            file(&(0..100_000).map(empty).collect::<Vec<_>>())
        })
        .peak(500),
        read("1.7 million tensors", Error, Info, || many(1_700_000)).peak(1024),
        read("prompt of 95 MB", Either, Latent, || {
            let tensors =
                r#""latent_tensor":{"dtype":"F32","shape":[1,16,1,1,1],"data_offsets":[0,64]}"#;
            header(
                &format!(
                    r#"{{"__metadata__":{{"prompt":"{}"}},{tensors}}}"#,
                    "A".repeat(95_000_000)
                ),
                64,
            )
        })
        .peak(1024),
    ];
    for count in [25_000, 50_000, 100_000, 200_000] {
        for role in [Info, Latent, Weights] {
            cases.push(read(
                &format!("{count} empty tensors"),
                Error,
                role,
                move || many(count),
            ));
        }
    }
    cases
}
