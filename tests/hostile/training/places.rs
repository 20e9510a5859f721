//! Folders of photos with what is no photo: special files, links, loops, names. Scans and runs go on without it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{CONFIG, PEAK, Prepare, train};
use vae2x_testkit::special;

use crate::case::{Case, Either, Expect, Success, case};
use crate::make::png::photo;

/// Scans `ph` and trains on it, with a good photo beside what `make` puts there.
pub fn place(name: &str, expect: Expect, make: fn(&Path)) -> [Case; 2] {
    let scan = case(
        format!("train-data scan {name}"),
        expect,
        &["dataset", "scan", "ph", "-o", "o.jsonl"],
    )
    .peak(PEAK);
    [
        scan,
        train(&format!("train-data train {name}"), expect, CONFIG, &[]),
    ]
    .map(|case| {
        case.bytes("ph/good.png", photo(96, 96, 1))
            .make(move |room| make(&room.path("ph")))
            .never("root:")
    })
}

pub fn cases() -> Vec<Case> {
    let all: &[(&str, Expect, Prepare)] = &[
        ("good", Success, |_| {}),
        ("a fifo named .png", Success, |d| {
            special::fifo(&d.join("x.png"))
        }),
        ("a fifo named .tar", Success, |d| {
            special::fifo(&d.join("x.tar"))
        }),
        ("a link to /dev/zero", Success, |d| {
            special::link("/dev/zero", &d.join("x.png"))
        }),
        ("a link to /dev/tty", Success, |d| {
            special::link("/dev/tty", &d.join("x.png"))
        }),
        ("a socket", Success, |d| special::socket(&d.join("x.png"))),
        ("a licence that is a fifo", Success, |d| {
            special::fifo(&d.join("good.png.license"))
        }),
        ("a licence that is /dev/zero", Success, |d| {
            special::link("/dev/zero", &d.join("good.png.license"))
        }),
        ("a folder named .png", Success, |d| {
            fs::create_dir(d.join("x.png")).expect("a folder")
        }),
        ("a loop of links", Success, |d| {
            special::link(".", &d.join("loop"))
        }),
        ("a dangling link", Either, |d| {
            special::link("/nonexistent", &d.join("x.png"))
        }),
        ("a link to itself", Either, |d| {
            special::link("x.png", &d.join("x.png"))
        }),
        ("a link to /etc/passwd", Either, |d| {
            special::link("/etc/passwd", &d.join("x.png"))
        }),
        ("a name that is not UTF-8", Success, |d| {
            fs::write(
                d.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.png")),
                photo(96, 96, 2),
            )
            .expect("written");
        }),
        ("900 folders deep", Success, |d| {
            let deep = d.join("d/".repeat(900));
            fs::create_dir_all(&deep).expect("folders");
            fs::write(deep.join("deep.png"), photo(96, 96, 2)).expect("written");
        }),
    ];
    all.iter()
        .flat_map(|(name, expect, make)| place(name, *expect, *make))
        .collect()
}
