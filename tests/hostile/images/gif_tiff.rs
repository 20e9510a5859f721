//! GIF and TIFF: sizes, strips and directories that lie.

use super::{ENCODE, image};
use crate::case::{Case, Either, Error};
use crate::make::zlib;

/// A GIF with a screen and a frame of these sizes, whose pixels are missing but for a few.
fn gif(screen: u16, frame: u16) -> Vec<u8> {
    let size = |side: u16| [side.to_le_bytes(), side.to_le_bytes()].concat();
    [
        b"GIF89a",
        &size(screen)[..],
        b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0",
        &size(frame),
        b"\0\x02\x02\x4c\x01\0;",
    ]
    .concat()
}

/// A grey TIFF of one strip, in which `changed` replaces or adds an entry: tag, type, count, value.
fn tiff(side: u32, compression: u32, data: &[u8], changed: &[[u32; 4]], next: u32) -> Vec<u8> {
    const LONG: u32 = 4;
    let mut entries = vec![
        [256, LONG, 1, side],
        [257, LONG, 1, side],
        [258, LONG, 1, 8],
        [259, LONG, 1, compression],
        [262, LONG, 1, 1],
        [273, LONG, 1, 8],
        [277, LONG, 1, 1],
        [278, LONG, 1, side],
        [279, LONG, 1, data.len() as u32],
    ];
    for entry in changed {
        entries.retain(|other| other[0] != entry[0]);
        entries.push(*entry);
    }
    entries.sort();
    let at = 8 + data.len() as u32;
    let mut file = [b"II*\0", &at.to_le_bytes()[..], data].concat();
    file.extend((entries.len() as u16).to_le_bytes());
    for [tag, kind, count, value] in entries {
        file.extend((tag as u16).to_le_bytes());
        file.extend((kind as u16).to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(next.to_le_bytes());
    file
}

pub fn cases() -> Vec<Case> {
    let raw = [0; 16];
    let long = |tag: u32, count: u32, value: u32| [[tag, 4, count, value]];
    [
        ("GIF of 65535x65535", Error, "x.gif", gif(65535, 65535)),
        (
            "GIF, a frame beyond its screen",
            Error,
            "x.gif",
            gif(10, 65535),
        ),
        (
            "GIF of 2000x2000 without pixels",
            Error,
            "x.gif",
            gif(2000, 2000),
        ),
        (
            "TIFF of 100000x100000",
            Error,
            "x.tif",
            tiff(100_000, 8, &zlib(&[0; 99]), &[], 0),
        ),
        (
            "TIFF of 2000x2000 without pixels",
            Error,
            "x.tif",
            tiff(2000, 8, &zlib(&[0; 99]), &[], 0),
        ),
        ("TIFF of no size", Error, "x.tif", tiff(0, 1, &raw, &[], 0)),
        (
            "TIFF, 2^30 strips",
            Error,
            "x.tif",
            tiff(4, 1, &raw, &long(273, 1 << 30, 8), 0),
        ),
        (
            "TIFF, strips of no rows",
            Either,
            "x.tif",
            tiff(4, 1, &raw, &long(278, 1, 0), 0),
        ),
        (
            "TIFF, tiles of 2^32",
            Either,
            "x.tif",
            tiff(
                4,
                1,
                &raw,
                &[
                    [322, 4, 1, u32::MAX],
                    [323, 4, 1, u32::MAX],
                    [324, 4, 1, 8],
                    [325, 4, 1, 16],
                ],
                0,
            ),
        ),
        (
            "TIFF, a text of 4 GB",
            Either,
            "x.tif",
            tiff(4, 1, &raw, &[[270, 2, u32::MAX, 8]], 0),
        ),
        (
            "TIFF, orientation as text",
            Either,
            "x.tif",
            tiff(4, 1, &raw, &[[274, 2, 5, 0x4141_4141]], 0),
        ),
        (
            "TIFF, a directory that leads to itself",
            Either,
            "x.tif",
            tiff(4, 1, &raw, &[], 24),
        ),
        (
            "TIFF, 65535 samples",
            Error,
            "x.tif",
            tiff(4, 1, &raw, &long(277, 1, 65535), 0),
        ),
    ]
    .into_iter()
    .flat_map(|(name, expect, file, bytes)| {
        image(name, expect, file, &[ENCODE], move || bytes.clone())
    })
    .map(|case| case.peak(500))
    .collect()
}
