//! Shards, manifests and networks that training reads.

use serde_json::{Value, json};

use super::{CONFIG, PEAK, photos, train};
use vae2x_testkit::special;

use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::Random;
use crate::make::png::photo;
use crate::make::tar::{KIND, Member, SIZE, edited, pax, plain, special as entry, tar};
use crate::make::tensors::{cell, file, latent8, pickle, tensor};

pub fn cases() -> Vec<Case> {
    let mut cases = shards();
    cases.extend(manifests());
    cases.extend(networks());
    cases
}

/// A configuration whose photos are at `place`.
fn at(place: &str) -> String {
    CONFIG.replace("\"ph\"", &format!("\"{place}\""))
}

/// Scans a shard and trains on it.
fn shard(name: &str, expect: Expect, bytes: Vec<u8>) -> [Case; 2] {
    let scan = case(
        format!("train-data scan tar {name}"),
        expect,
        &["dataset", "scan", "s.tar", "-o", "o.jsonl"],
    )
    .peak(PEAK);
    let train = train(
        &format!("train-data train tar {name}"),
        expect,
        at("s.tar"),
        &[],
    );
    [
        scan.bytes("s.tar", bytes.clone()),
        train.bytes("s.tar", bytes),
    ]
}

fn shards() -> Vec<Case> {
    let good = photo(96, 96, 1);
    let of = |name: &str| tar(&[plain(name, &good)]);
    let with = |member: Member| tar(&[plain("a.png", &good), member]);
    let (a, x) = (of("a.png"), of("x.png"));
    let sized = |size: &[u8]| edited(&a, SIZE, size);
    let long = edited(&x, KIND, b"L");
    let behind = |header: Vec<u8>| [header, x.clone()].concat();
    let sum = [&a[..148], b"000000\0 ", &a[156..]].concat();
    let names: Vec<String> = (0..20_000).map(|i| format!("e{i}.png")).collect();
    let many: Vec<Member> = names.iter().map(|name| plain(name, b"")).collect();
    let lie = String::from_utf8_lossy(&pax("path", "x"))
        .replace("path=x", "9999 a")
        .into_bytes();
    let all = vec![
        ("good", Success, a.clone()),
        ("climbs out", Success, of("../../../../tmp/slip.png")),
        ("absolute", Success, of("/tmp/slip.png")),
        ("a link", Success, with(entry("l.png", b'2', "/etc/passwd"))),
        (
            "a hard link",
            Success,
            with(entry("h.png", b'1', "/etc/passwd")),
        ),
        ("a fifo", Success, with(entry("f.png", b'6', ""))),
        ("a device", Success, with(entry("c.png", b'3', ""))),
        ("size of 8 GB", Either, sized(b"77777777777\0")),
        (
            "size of 2^63",
            Either,
            sized(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ),
        ("size of all bits", Either, sized(&[0xff; 12])),
        ("size of letters", Either, sized(b"zzzzzzzzzzz\0")),
        ("size of -1", Either, sized(b"-0000000001\0")),
        ("wrong checksum", Either, sum),
        ("cut", Either, a[..700].to_vec()),
        ("cut header", Either, a[..300].to_vec()),
        ("empty", Either, vec![]),
        ("zeros", Either, vec![0; 10240]),
        ("junk", Either, Random::new(11).bytes(2048)),
        ("GNU sparse", Either, edited(&a, KIND, b"S")),
        ("long name", Either, long.clone()),
        (
            "long name of 8 GB",
            Either,
            edited(&long, SIZE, b"77777777777\0"),
        ),
        (
            "pax path that climbs out",
            Either,
            behind(pax("path", "../../tmp/slip.png")),
        ),
        (
            "pax size of 2^63",
            Either,
            behind(pax("size", "9223372036854775807")),
        ),
        ("pax size of -5", Either, behind(pax("size", "-5"))),
        ("pax length that lies", Either, behind(lie)),
        (
            "pax sparse",
            Either,
            behind(pax("GNU.sparse.realsize", "9999999999")),
        ),
        (
            "pax name of escapes",
            Either,
            behind(pax("path", "\x1b[31mred.png")),
        ),
        ("20,000 members", Either, tar(&many)),
        ("no image", Either, tar(&[plain("a.txt", b"x")])),
        (
            "escapes in a name",
            Either,
            tar(&[
                plain("t\x1b[31mRED\x07.png", b"broken"),
                plain("a.png", &good),
            ]),
        ),
    ];
    all.into_iter()
        .flat_map(|(name, expect, bytes)| shard(name, expect, bytes))
        .map(|case| case.never("root:"))
        .collect()
}

/// A line of a manifest with some fields changed.
fn line(change: Value) -> String {
    let mut line = json!({"path": "ph/p0.png", "width": 96, "height": 96, "sharpness": 99.0, "hash": "0000000000000000"});
    let object = line.as_object_mut().expect("an object");
    object.extend(change.as_object().expect("an object").clone());
    line.to_string()
}

fn manifests() -> Vec<Case> {
    let with = |change: Value| line(change).into_bytes();
    let good = || line(json!({}));
    let path = |path: &str| with(json!({"path": path}));
    let many: String = (0..200_000)
        .map(|i| line(json!({"path": format!("/no/{i}")})) + "\n")
        .collect();
    let all = vec![
        ("good", Success, good().into()),
        ("empty", Error, vec![]),
        ("blank lines", Either, format!("\n{}\n\n  ", good()).into()),
        ("no JSON", Error, b"x".to_vec()),
        ("a list", Error, b"[1]".into()),
        ("an extra key", Error, with(json!({"x": 1}))),
        ("a key of escapes", Error, br#"{"\u001b[31mRED":1}"#.into()),
        ("no keys", Error, b"{}".into()),
        ("nested", Error, "[".repeat(10_000).into()),
        ("a zero", Error, (good() + "\0").into()),
        ("not UTF-8", Error, b"\xff\xfe\n".into()),
        (
            "byte order mark",
            Either,
            [b"\xef\xbb\xbf", good().as_bytes()].concat(),
        ),
        ("CRLF", Success, (good() + "\r\n").into()),
        ("path /etc/passwd", Error, path("/etc/passwd")),
        ("path /dev/zero", Error, path("/dev/zero")),
        ("path of a fifo", Error, path("fifo")),
        ("path of a folder", Error, path("/tmp")),
        ("path empty", Error, path("")),
        ("path with a zero", Error, path("a\0b")),
        ("path of escapes", Error, path("/no/\x1b[31mRED")),
        ("path of 10 MB", Error, path(&"a".repeat(10_000_000))),
        ("path that climbs out", Error, path("../../../etc/hostname")),
        (
            "width 2^64",
            Error,
            good()
                .replace("\"width\":96", "\"width\":18446744073709551616")
                .into(),
        ),
        (
            "sharpness 1e999",
            Error,
            good().replace("99.0", "1e999").into(),
        ),
        (
            "member at 2^64",
            Error,
            with(json!({"path": "s.tar", "member": ["x", u64::MAX, 10]})),
        ),
        (
            "member of 2^64 bytes",
            Either,
            with(json!({"path": "s.tar", "member": ["x", 512, u64::MAX]})),
        ),
        (
            "member of /dev/zero",
            Error,
            with(json!({"path": "/dev/zero", "member": ["x", 0, u64::MAX]})),
        ),
        ("all dropped", Error, with(json!({"drop": ["x"]}))),
        ("200,000 lines", Error, many.into()),
    ];
    all.into_iter()
        .map(|(name, expect, bytes)| {
            let case = photos(train(
                &format!("train-data manifest {name}"),
                expect,
                at("m.jsonl"),
                &[],
            ));
            let case = case
                .bytes("m.jsonl", bytes)
                .bytes("s.tar", tar(&[plain("a.png", &photo(96, 96, 1))]));
            case.make(|room| special::fifo(&room.path("fifo")))
                .never("root:")
        })
        .collect()
}

/// Files in the place of VGG's weights.
fn networks() -> Vec<Case> {
    let layer = |dtype, shape: &[usize], size: usize| {
        file(&[
            tensor("features.0.weight", dtype, shape, vec![0; size]),
            tensor("features.0.bias", "F32", &shape[..1], vec![0; 4 * shape[0]]),
        ])
    };
    let (inner, count) = ([64, 3, 3, 3], 64 * 27);
    [
        ("empty", vec![]),
        ("no tensors", file(&[])),
        ("a wrong shape", layer("F32", &[1, 1, 1, 1], 4)),
        ("one layer", layer("F32", &inner, 4 * count)),
        ("integers", layer("I8", &inner, count)),
        (
            "a tensor of escapes",
            cell("\x1b[31mfeatures", "F32", vec![0; 64]),
        ),
        (
            "a pickle that runs code",
            pickle(b"cos\nsystem\n(X\x01\0\0\0xtR"),
        ),
        ("a latent", latent8()),
    ]
    .into_iter()
    .flat_map(|(name, bytes)| {
        let more = [
            "--set",
            "loss.lpips=1.0",
            "--set",
            "loss.vgg16=\"v.safetensors\"",
        ];
        let metrics = [
            "metrics",
            "a=ph/p0.png",
            "b=ph/p0.png",
            "--reference",
            "a",
            "--lpips",
            "v.safetensors",
        ];
        [
            train(&format!("train-data VGG {name}"), Error, CONFIG, &more),
            case(format!("train-data LPIPS {name}"), Error, &metrics).peak(PEAK),
        ]
        .map(|case| {
            photos(case)
                .bytes("v.safetensors", bytes.clone())
                .says("v.safetensors")
        })
    })
    .collect()
}
