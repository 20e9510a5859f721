//! JPEG, PNG, EXR and WebP that are cut, of rare kinds, or whose values are none.

use libtest_mimic::Trial;

use super::{UPSCALE, both, image};
use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::images::*;
use crate::make::png::{Png, noise};
use crate::make::tensors::latent;
use crate::make::{Random, patched, zlib};

pub fn jpegs() -> Vec<Case> {
    let twice = Jpeg::of(4000, 4000).frame_segment();
    [
        ("scan of a byte for 64 blocks", Error, Jpeg::of(64, 64)),
        (
            "scan of no bytes",
            Error,
            Jpeg {
                scan: b"",
                ..Jpeg::of(64, 64)
            },
        ),
        (
            "no end",
            Error,
            Jpeg {
                end: false,
                ..Jpeg::of(64, 64)
            },
        ),
        (
            "three components, a byte",
            Error,
            Jpeg {
                components: 3,
                ..Jpeg::of(256, 256)
            },
        ),
        (
            "12 bits",
            Error,
            Jpeg {
                precision: 12,
                ..Jpeg::of(16, 16)
            },
        ),
        (
            "arithmetic",
            Error,
            Jpeg {
                frame: 0xC9,
                ..Jpeg::of(16, 16)
            },
        ),
        (
            "lossless",
            Error,
            Jpeg {
                frame: 0xC3,
                ..Jpeg::of(16, 16)
            },
        ),
        (
            "two frames",
            Either,
            Jpeg {
                extra: twice,
                ..Jpeg::of(16, 16)
            },
        ),
    ]
    .into_iter()
    .flat_map(|(name, expect, jpeg)| both(&format!("JPEG, {name}"), expect, "x.jpg", jpeg.write()))
    .collect()
}

pub fn pngs() -> Vec<Case> {
    let good = noise(16, 16);
    let checksum = good.len() - 20;
    let flipped = good[checksum] ^ 1;
    let mut cases = both("good", Success, "x.png", good.clone());
    cases.extend(both("WebP of one colour", Success, "x.webp", webp(64, 64)));
    for (name, bytes) in [
        ("cut data", noise(64, 64)[..3000].to_vec()),
        ("short data", Png::of(64, 64, zlib(&[0; 100])).write()),
        ("wrong checksum", patched(good, checksum, &[flipped])),
        ("filter 9", Png::of(4, 4, zlib(&[9; 13 * 4])).write()),
        (
            "no palette",
            Png {
                colour: 3,
                ..Png::of(4, 4, zlib(&[0; 5 * 4]))
            }
            .write(),
        ),
        (
            "3 bits",
            Png {
                depth: 3,
                ..Png::of(4, 4, zlib(&[0; 99]))
            }
            .write(),
        ),
    ] {
        cases.extend(both(&format!("PNG, {name}"), Error, "x.png", bytes));
    }
    cases
}

pub fn exrs() -> Vec<Case> {
    let good = Exr::square().write();
    let table = good.len() - 16 * (8 + 192) - 16 * 8;
    let attribute = [&b"junk\0string\0"[..], &0x7fff_ffffu32.to_le_bytes()].concat();
    let mut cases: Vec<Case> = [
        ("good", Success, good.clone()),
        ("NaN", Error, Exr::filled(f32::NAN).write()),
        ("infinity", Error, Exr::filled(f32::INFINITY).write()),
        ("-5e30", Either, Exr::filled(-5e30).write()),
        ("3e38", Either, Exr::filled(3e38).write()),
        ("cut", Error, good[..600].to_vec()),
        ("a row at 2^64", Either, patched(good, table, &[0xff; 8])),
        (
            "100 million rows",
            Error,
            Exr {
                data: [0, 0, 0, 100_000_000],
                ..Exr::window(0, 0)
            }
            .write(),
        ),
        (
            "data outside of the display",
            Either,
            Exr {
                data: [100, 100, 115, 115],
                ..Exr::square()
            }
            .write(),
        ),
        (
            "attribute of 2 GB",
            Error,
            Exr {
                attributes: attribute,
                ..Exr::square()
            }
            .write(),
        ),
    ]
    .into_iter()
    .flat_map(|(name, expect, bytes)| both(&format!("EXR, {name}"), expect, "x.exr", bytes))
    .collect();
    let clear = Exr {
        channels: "ABGR",
        row: [vec![1e-30; 16], vec![3e38; 48]].concat(),
        ..Exr::square()
    }
    .write();
    cases.extend(image(
        "EXR, 3e38 behind no alpha",
        Either,
        "x.exr",
        &[UPSCALE],
        move || clear.clone(),
    ));
    cases
}

/// JPEG and WebP that the program wrote, cut with and without their end repaired.
pub fn decoded() -> Vec<Trial> {
    let half = |b: &[u8]| b[..b.len() / 2].to_vec();
    let ended = |b: &[u8]| [&b[..b.len() / 2], b"\xff\xd9"].concat();
    let zeroed = |b: &[u8]| patched(b.to_vec(), b.len() / 2, &[0; 2000]);
    let junk = |b: &[u8]| [b, &Random::new(3).bytes(1000)[..]].concat();
    let resized = |b: &[u8]| {
        let bytes = b[..b.len() / 2].to_vec();
        let size = |rest: usize| ((bytes.len() - rest) as u32).to_le_bytes();
        patched(patched(bytes.clone(), 4, &size(8)), 16, &size(20))
    };
    type Change = fn(&[u8]) -> Vec<u8>;
    let changes: [(&str, &'static str, Expect, Change); 8] = [
        ("whole JPEG", "r.jpg", Success, <[u8]>::to_vec),
        ("half a JPEG", "r.jpg", Error, half),
        ("half a JPEG with an end", "r.jpg", Error, ended),
        ("JPEG with zeros in the middle", "r.jpg", Either, zeroed),
        ("JPEG with junk behind it", "r.jpg", Either, junk),
        ("whole WebP", "r.webp", Success, <[u8]>::to_vec),
        ("half a WebP", "r.webp", Error, half),
        (
            "half a WebP with its sizes repaired",
            "r.webp",
            Error,
            resized,
        ),
    ];
    let mut trials: Vec<Trial> = changes
        .into_iter()
        .map(|(name, file, expect, change)| {
            let args = ["encode", file, "--vae", "demo:base", "-o", "o.latent"];
            let case = case(format!("images {name}"), expect, &args).make(move |room| {
                room.write("l.latent", latent([1, 1, 32, 32], 1));
                room.ok(&["decode", "l.latent", "--vae", "demo:2x", "-o", file])
                    .expect("an image");
                room.write(file, change(&room.read(file)));
            });
            if expect == Error {
                case.says(file).into()
            } else {
                case.into()
            }
        })
        .collect();
    // All black: the format allows runs to end at once.
    trials.extend(
        both(
            "runs that end at once",
            Either,
            "x.bmp",
            bmp_runs(64, 64, NO_RUNS),
        )
        .into_iter()
        .map(Trial::from),
    );
    trials
}
