//! Images: sizes that a few bytes claim, chunks, profiles, values, cut files.

mod chunks;
mod formats;
mod gif_tiff;

use std::fs::File;

use libtest_mimic::Trial;

use crate::case::{Case, Either, Error, Expect, case, trial};

use crate::make::images::*;

use crate::make::png::{Png, exif, noise, orientation, with_chunks};

use crate::make::{Random, zlib};

use crate::room::Room;

const ENCODE: &[&str] = &[
    "encode",
    "FILE",
    "--vae",
    "demo:base",
    "-o",
    "o.latent",
    "--pad",
];

const METRICS: &[&str] = &["metrics", "a=FILE", "b=FILE", "--reference", "a"];

const UPSCALE: &[&str] = &["upscale", "FILE", "--vae", "demo:2x", "-o", "o.png"];

const SPECKLE: &[&str] = &["speckle", "FILE"];

const COMPARE: &[&str] = &["compare", "a=FILE", "b=FILE", "-o", "o.html"];

#[cfg(feature = "train")]
const SCAN: &[&[&str]] = &[&["dataset", "scan", "FILE", "-o", "o.jsonl"]];

#[cfg(not(feature = "train"))]
const SCAN: &[&[&str]] = &[];

const BOTH: &[&[&str]] = &[ENCODE, METRICS];

/// An image that each of the `commands` reads.
fn image(
    name: &str,
    expect: Expect,
    file: &str,
    commands: &[&[&str]],
    bytes: impl Fn() -> Vec<u8> + Clone + Send + 'static,
) -> Vec<Case> {
    let read = |command: &&[&str]| {
        let args: Vec<String> = command.iter().map(|a| a.replace("FILE", file)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // A scan goes on after a photo that cannot be read.
        let expect = if args[0] == "dataset" { Either } else { expect };
        let case =
            case(format!("images {} {name}", args[0]), expect, &args).file(file, bytes.clone());
        if expect == Error {
            case.says(file)
        } else {
            case
        }
    };
    commands.iter().map(read).collect()
}

/// A small image that `encode` and `metrics` read.
fn both(name: &str, expect: Expect, file: &str, bytes: Vec<u8>) -> Vec<Case> {
    image(name, expect, file, BOTH, move || bytes.clone())
}

pub fn cases() -> Vec<Trial> {
    let mut cases = claims();
    cases.extend(bombs());
    cases.extend(formats::jpegs());
    cases.extend(formats::pngs());
    cases.extend(chunks::chunks());
    cases.extend(chunks::exifs());
    cases.extend(formats::exrs());
    cases.extend(gif_tiff::cases());
    cases.extend(tiny());
    cases.extend(others());
    cases.extend(sparse());
    let mut trials: Vec<Trial> = cases.into_iter().map(Trial::from).collect();
    trials.extend(formats::decoded());
    trials.push(trial("images 150 random changes of five formats", changes));
    trials
}

/// Sizes that no one wants, in files of a few bytes.
fn claims() -> Vec<Case> {
    let empty = || zlib(b"");
    [
        (
            "65535x65535",
            "x.png",
            Png::of(65535, 65535, empty()).write(),
        ),
        ("65535x65535", "x.bmp", bmp_raw(65535, 65535, b"")),
        (
            "65535x65535 in runs",
            "x.bmp",
            bmp_runs(65535, 65535, NO_RUNS),
        ),
        ("65535x65535", "x.jpg", Jpeg::of(65535, 65535).write()),
        ("16384x16384", "x.webp", webp(16384, 16384)),
        ("65535x65535", "x.exr", Exr::window(65534, 65534).write()),
        (
            "2^31 square",
            "x.png",
            Png::of(i32::MAX as u32, i32::MAX as u32, Vec::new()).write(),
        ),
        ("0x0", "x.png", Png::of(0, 0, empty()).write()),
        ("5x0", "x.png", Png::of(5, 0, empty()).write()),
        ("width -5", "x.bmp", bmp_raw(-5, 5, b"")),
        ("height -2^31", "x.bmp", bmp_raw(5, i32::MIN, b"")),
        ("width 2^31", "x.bmp", bmp_raw(i32::MAX, 1, b"")),
        (
            "window of all numbers",
            "x.exr",
            Exr {
                data: [i32::MIN, i32::MIN, i32::MAX, i32::MAX],
                ..Exr::window(3, 3)
            }
            .write(),
        ),
        (
            "window inside out",
            "x.exr",
            Exr {
                data: [3, 3, 0, 0],
                display: [3, 3, 0, 0],
                row: vec![],
                ..Exr::square()
            }
            .write(),
        ),
    ]
    .into_iter()
    .flat_map(|(name, file, bytes)| both(&format!("{name} {file}"), Error, file, bytes))
    .collect()
}

/// Sizes that a format allows and a few bytes fill. They may be read or refused, but not for gigabytes or minutes.
fn bombs() -> Vec<Case> {
    let all: Vec<&[&str]> = [&[ENCODE, METRICS, SPECKLE][..], SCAN].concat();
    let one_bit = || {
        let data = zlib(&vec![0; 2049 * 8192]);
        Png {
            colour: 0,
            depth: 1,
            ..Png::of(16384, 8192, data)
        }
        .write()
    };
    let mut cases: Vec<Case> = [
        image("38-byte WebP of 16383x8192", Either, "x.webp", &all, || {
            webp(16383, 8192)
        }),
        image("one-bit PNG of 16384x8192", Either, "x.png", &all, one_bit),
        image("runs of a BMP of 16384x8192", Either, "x.bmp", &all, || {
            bmp_runs(16384, 8192, NO_RUNS)
        }),
        image(
            "EXR of one pixel in 16384x8192",
            Either,
            "x.exr",
            &all,
            || Exr::window(16383, 8191).write(),
        ),
        image("141-byte JPEG of 16384x8192", Either, "x.jpg", &all, || {
            Jpeg::of(16384, 8192).write()
        }),
        image("38-byte WebP of 4000x2000", Either, "x.webp", &all, || {
            webp(4000, 2000)
        }),
    ]
    .into_iter()
    .flatten()
    .map(|case| case.peak(1024))
    .collect();
    let encode = |limit: &[&str]| {
        let args: Vec<&str> = [
            &["encode", "x.webp", "--vae", "demo:base", "-o", "o.latent"],
            limit,
        ]
        .concat();
        case(
            format!("images encode 8 megapixels {}", limit.join(" ")),
            Error,
            &args,
        )
        .file("x.webp", || webp(4000, 2000))
        .peak(1024)
    };
    cases.push(encode(&["--memory", "100MiB"]));
    let under_limit = encode(&[]).setting(|s| s.address_space = Some(700 << 10));
    if cfg!(target_os = "linux") {
        cases.push(under_limit);
    }
    cases
}

/// Small and narrow images through everything that reads images.
fn tiny() -> Vec<Case> {
    let all: Vec<&[&str]> = [&[ENCODE, METRICS, UPSCALE, SPECKLE, COMPARE][..], SCAN].concat();
    [
        (1, 1),
        (1, 2),
        (2, 1),
        (7, 7),
        (8, 1),
        (1, 3000),
        (3000, 1),
        (17, 33),
    ]
    .into_iter()
    .flat_map(|(w, h)| {
        image(&format!("{w}x{h}"), Either, "x.png", &all, move || {
            noise(w, h)
        })
    })
    .map(|case| case.peak(500))
    .collect()
}

/// What is called .png and is something else.
fn others() -> Vec<Case> {
    let zeros = |start: &[u8], count: usize| [start, &vec![0; count]].concat();
    [
        ("GIF", zeros(b"GIF89a", 30)),
        ("TIFF", zeros(b"II*\0", 30)),
        (
            "SVG",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec(),
        ),
        ("text", b"\x1b[31mhello".to_vec()),
        ("nothing", Vec::new()),
        ("PNM", b"P6 1 1 255\n123".to_vec()),
        ("farbfeld", zeros(b"farbfeld", 16)),
        ("ICO", zeros(b"\0\0\x01\0\x01\0", 30)),
        ("AVIF", [&[0; 4], &zeros(b"ftypavif", 20)[..]].concat()),
        (
            "BMP of half its rows",
            bmp_raw(64, 64, &[0; 64 * 64 * 3 / 2]),
        ),
    ]
    .into_iter()
    .flat_map(|(name, bytes)| {
        image(
            &format!("{name} named .png"),
            Error,
            "x.png",
            &[ENCODE],
            move || bytes.clone(),
        )
    })
    .collect()
}

/// Files of a gigabyte that take no space.
fn sparse() -> Vec<Case> {
    let commands: Vec<&[&str]> = [BOTH, SCAN].concat();
    let mut cases = Vec::new();
    for (name, start) in [
        ("a good image and a gigabyte", noise(16, 16)),
        ("a gigabyte of zeros", Vec::new()),
    ] {
        for case in image(name, Either, "x.png", &commands, move || start.clone()) {
            cases.push(
                case.make(|room| {
                    let file = File::options()
                        .append(true)
                        .open(room.path("x.png"))
                        .expect("the file");
                    file.set_len(1 << 30).expect("a longer file");
                })
                .peak(700),
            );
        }
    }
    cases
}

/// Random changes of small images.
fn changes(room: &Room) -> Result<(), String> {
    let mut random = Random::new(7);
    let oriented = with_chunks(24, 24, exif(&[&orientation(3, 1, 6)[..], &[0; 4]].concat()));
    let runs = [b"\x18\x05".repeat(24), NO_RUNS.to_vec()].concat();
    let seeds = [
        ("x.png", oriented),
        ("x.webp", webp(24, 24)),
        (
            "x.jpg",
            Jpeg {
                scan: &[0; 40],
                ..Jpeg::of(24, 24)
            }
            .write(),
        ),
        ("x.bmp", bmp_runs(24, 24, &runs)),
        ("x.exr", Exr::square().write()),
    ];
    for i in 0..150 {
        let (file, seed) = &seeds[i % seeds.len()];
        let mut bytes = seed.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = [0, 255, 127, 128, random.next() as u8][random.below(5)];
        }
        room.write(file, &bytes);
        let (a, b) = (format!("a={file}"), format!("b={file}"));
        let outcome = room.run(&["metrics", &a, &b, "--reference", "a"]);
        if !outcome.faults().is_empty() || outcome.peak > 1024 {
            let kept = bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
            return Err(format!(
                "change {i}: {}\n{}\n{kept}",
                outcome.faults().join("; "),
                outcome.describe()
            ));
        }
    }
    Ok(())
}
