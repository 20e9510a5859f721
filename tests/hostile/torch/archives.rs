//! Archives whose directory or sizes are wrong.

use super::{DECODE, INFO, file, pickled};
use crate::case::{Case, Either, Error, Expect};
use crate::make::patched;
use crate::make::tensors::*;
use crate::make::zip::{directory, end, torch, zip};

fn good() -> Vec<u8> {
    pickled(&pickle_of("x", &CELL))
}

/// Archives whose directory or sizes are wrong.
pub fn archives() -> Vec<Case> {
    let pickle = || pickle_of("x", &CELL);
    let mut cases = Vec::new();
    // Fields of the first entry of the directory.
    for (name, at, value) in [
        ("size 2 GB", 24, &0x7fff_ffffu32.to_le_bytes()[..]),
        ("packed size 2 GB", 20, &0x7fff_ffffu32.to_le_bytes()),
        ("place beyond the end", 42, &0x7fff_fff0u32.to_le_bytes()),
        ("encrypted", 8, &[1, 0]),
        ("method 99", 10, &[99, 0]),
        ("name of 65,535 bytes", 28, &[0xff, 0xff]),
        ("extra of 65,535 bytes", 30, &[0xff, 0xff]),
    ] {
        let bytes = patched(good(), directory(&good()) + at, value);
        cases.push(file(name, Error, INFO, move || bytes));
    }
    let wrong = patched(
        good(),
        directory(&good()) + 16,
        &0xdead_beefu32.to_le_bytes(),
    );
    cases.push(file(
        "wrong checksum of the pickle",
        Either,
        INFO,
        move || wrong,
    ));
    let counts = patched(good(), end(&good()) + 8, &[0xff; 4]);
    cases.push(file(
        "65,535 members in the end record",
        Error,
        INFO,
        move || counts,
    ));
    let start = patched(good(), end(&good()) + 16, &0xffff_fff0u32.to_le_bytes());
    cases.push(file("directory beyond the end", Error, INFO, move || start));
    cases.push(file(
        "one bit flipped in the data",
        Error,
        DECODE,
        move || {
            let values = noise(16, 1, 1.0);
            let bytes = torch(&pickle(), &[("0", &values)]);
            let at = crate::make::position(&bytes, &values) + 3;
            let flipped = bytes[at] ^ 0x40;
            patched(bytes, at, &[flipped])
        },
    ));
    let zip64 = || {
        let mut bytes = [b"PK\x03\x04", &[0; 26][..], b"PK\x06\x06"].concat();
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(
            [1u64 << 60, 1 << 60, 1 << 60, 0]
                .map(u64::to_le_bytes)
                .concat(),
        );
        bytes.extend(b"PK\x06\x07\0\0\0\0\x1e\0\0\0\0\0\0\0\x01\0\0\0PK\x05\x06");
        bytes.extend([0xff; 16]);
        bytes.extend([0; 2]);
        bytes
    };
    let of = |members: &[(&str, &[u8])]| zip(members, false);
    let (p, zeros) = (pickle(), [0; 64]);
    let random = noise(16, 1, 1.0);
    let archives: Vec<(&str, Expect, Vec<u8>)> = vec![
        ("2^60 members", Error, zip64()),
        (
            "deflated",
            Error,
            zip(
                &[("archive/data.pkl", &p), ("archive/data/0", &zeros)],
                true,
            ),
        ),
        ("no pickle", Error, of(&[("archive/x", b"")])),
        (
            "two pickles",
            Error,
            of(&[
                ("a/data.pkl", &p),
                ("a/sub/data.pkl", &p),
                ("a/data/0", &zeros),
            ]),
        ),
        (
            "a member twice",
            Either,
            of(&[
                ("a/data.pkl", &p),
                ("a/data/0", &zeros),
                ("a/data/0", &random),
            ]),
        ),
        (
            "a member that climbs out",
            Either,
            of(&[("data.pkl", &p), ("data/0", &zeros), ("../../slip", b"x")]),
        ),
        (
            "no folder",
            Either,
            of(&[("data.pkl", &p), ("data/0", &zeros)]),
        ),
        (
            "big endian",
            Error,
            of(&[
                ("a/data.pkl", &p),
                ("a/byteorder", b"big"),
                ("a/data/0", &zeros),
            ]),
        ),
        (
            "escapes in the byte order",
            Error,
            of(&[
                ("a/data.pkl", &p),
                ("a/byteorder", b"\x1b[31mred\x07"),
                ("a/data/0", &zeros),
            ]),
        ),
        (
            "escapes in a member's name",
            Error,
            zip(&[("a/data.pkl", &p), ("a/\x1b[31mred", &zeros)], true),
        ),
        (
            "end record alone",
            Error,
            [&b"PK\x05\x06"[..], &[0; 18]].concat(),
        ),
        (
            "PK and zeros",
            Error,
            [&b"PK\x03\x04"[..], &[0; 100]].concat(),
        ),
        (
            "comment of 65,535 bytes",
            Either,
            [&good()[..good().len() - 2], b"\xff\xff", &[b'A'; 65535]].concat(),
        ),
    ];
    cases.extend(
        archives
            .into_iter()
            .map(|(name, expect, bytes)| file(name, expect, INFO, move || bytes)),
    );
    cases.push(file("100 MB of zeros, deflated", Error, INFO, || {
        zip(
            &[
                ("a/data.pkl", &pickle_of("x", &CELL)),
                ("a/data/0", &vec![0; 100 << 20]),
            ],
            true,
        )
    }));
    cases.push(
        file("200,000 members", Error, INFO, || {
            let names: Vec<String> = (0..200_000).map(|i| format!("a/{i:x}")).collect();
            zip(
                &names
                    .iter()
                    .map(|n| (n.as_str(), &b""[..]))
                    .collect::<Vec<_>>(),
                false,
            )
        })
        .peak(500),
    );
    cases
}
