//! Chunks of PNGs: texts and profiles that grow, directories that lie.

use super::{BOTH, ENCODE, SCAN, both, image};
use crate::case::{Case, Either, Success};
use crate::make::png::{chunk, exif, orientation, with_chunks};
use crate::make::{zlib, zlib_repeated};

/// Chunks of text and profiles that are long, or become so.
pub fn chunks() -> Vec<Case> {
    let compressed = |size: usize| zlib_repeated(b'A', size);
    let mut cases = Vec::new();
    let encode_scan: Vec<&[&str]> = [&[ENCODE][..], SCAN].concat();
    cases.extend(image("PNG, text of 30 MB", Either, "x.png", BOTH, || {
        with_chunks(
            16,
            16,
            chunk(b"tEXt", &[b"prompt\0", &[b'A'; 30_000_000][..]].concat()),
        )
    }));
    for count in [3, 24] {
        cases.extend(image(
            &format!("PNG, {count} texts that become 64 MB"),
            Either,
            "x.png",
            &encode_scan,
            move || {
                let text = compressed((1 << 26) - 100);
                let texts = (0..count).flat_map(|i| {
                    chunk(b"zTXt", &[format!("k{i}\0\0").as_bytes(), &text].concat())
                });
                with_chunks(16, 16, texts.collect())
            },
        ));
    }
    cases.extend(image(
        "PNG, text that becomes 256 MB",
        Either,
        "x.png",
        &[ENCODE],
        move || {
            with_chunks(
                16,
                16,
                chunk(b"zTXt", &[b"prompt\0\0", &compressed(1 << 28)[..]].concat()),
            )
        },
    ));
    for mib in [200, 1024] {
        cases.extend(image(
            &format!("PNG, profile that becomes {mib} MB"),
            Either,
            "x.png",
            BOTH,
            move || {
                with_chunks(
                    16,
                    16,
                    chunk(
                        b"iCCP",
                        &[b"x\0\0", &zlib_repeated(0, mib << 20)[..]].concat(),
                    ),
                )
            },
        ));
    }
    for (name, expect, chunks) in [
        (
            "profile of junk",
            Either,
            chunk(
                b"iCCP",
                &[b"x\0\0", &zlib(&b"junk".repeat(100))[..]].concat(),
            ),
        ),
        (
            "profile that is not compressed",
            Either,
            chunk(b"iCCP", b"x\0\0zzzz"),
        ),
        (
            "50,000 texts",
            Either,
            chunk(b"tEXt", b"prompt\0x").repeat(50_000),
        ),
        (
            "escapes in a text",
            Success,
            chunk(b"tEXt", b"prompt\0\x1b]0;owned\x07\x1b[31mred"),
        ),
    ] {
        cases.extend(both(
            &format!("PNG, {name}"),
            expect,
            "x.png",
            with_chunks(16, 16, chunks),
        ));
    }
    cases
}

pub fn exifs() -> Vec<Case> {
    let ended = |entry: Vec<u8>| exif(&[&entry[..], &[0; 4]].concat());
    let looped = exif(&[&orientation(3, 1, 6)[..], &8u32.to_le_bytes()].concat());
    [
        ("orientation 0", Success, ended(orientation(3, 1, 0))),
        ("orientation 9", Success, ended(orientation(3, 1, 9))),
        ("orientation 6", Success, ended(orientation(3, 1, 6))),
        ("65,535 entries", Success, exif(&[0xff, 0xff])),
        ("a directory that leads to itself", Success, looped),
        (
            "2^32 values",
            Success,
            ended(orientation(3, u32::MAX, u32::MAX)),
        ),
        ("orientation as text", Success, ended(orientation(2, 1, 6))),
        ("empty", Success, exif(b"")),
        (
            "no byte order",
            Either,
            chunk(b"eXIf", b"XX*\0\xff\xff\xff\xff"),
        ),
    ]
    .into_iter()
    .flat_map(|(name, expect, extra)| {
        let bytes = with_chunks(16, 16, extra);
        image(
            &format!("Exif, {name}"),
            expect,
            "x.png",
            &[ENCODE],
            move || bytes.clone(),
        )
    })
    .collect()
}
