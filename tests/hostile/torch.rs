//! Torch files: pickles that run code, that take memory, that lie; archives that do.

use libtest_mimic::Trial;
use vae2x_testkit::files::{Pickle, View};

use crate::case::{Case, Either, Error, Expect, Success, case, trial};
use crate::make::tar::{plain, tar};
use crate::make::tensors::*;
use crate::make::zip::{directory, end, torch, zip};
use crate::make::{Random, patched};

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
    let mut cases = code();
    cases.extend(machine());
    cases.extend(memory());
    cases.extend(views());
    cases.extend(names());
    cases.extend(archives());
    cases.extend(other_formats());
    let mut trials: Vec<Trial> = cases.into_iter().map(Trial::from).collect();
    trials.extend(damaged());
    trials
}

/// `os.system("touch PWNED")` as pickle writes it in a protocol.
fn os_system(protocol: u8) -> Vec<u8> {
    let touch = "touch PWNED";
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let call = match protocol {
        0 => format!("cposix\nsystem\np0\n(V{touch}\np1\ntp2\nRp3\n").into_bytes(),
        1 => [
            b"cposix\nsystem\nq\0(X\x0b\0\0\0",
            touch.as_bytes(),
            b"q\x01tq\x02Rq\x03",
        ]
        .concat(),
        2 | 3 => [
            b"cposix\nsystem\nq\0X\x0b\0\0\0",
            touch.as_bytes(),
            b"q\x01\x85q\x02Rq\x03",
        ]
        .concat(),
        _ => [
            short("posix"),
            short("system"),
            b"\x93".to_vec(),
            short(touch),
            b"\x85R".to_vec(),
        ]
        .concat(),
    };
    let start: &[u8] = if protocol < 2 { &[] } else { &[0x80, protocol] };
    let named: &[u8] = if protocol == 0 {
        b"(dp9\nVx\n"
    } else {
        b"}X\x01\0\0\0x"
    };
    [start, named, &call, b"s."].concat()
}

/// Pickles that name something to run.
fn code() -> Vec<Case> {
    let global = |module: &str, name: &str| Pickle::new().name(module, name);
    let call = |module: &str, name: &str| global(module, name).op(b"(").text("1").op(b"tR").stop();
    let no_shell = |room: &crate::room::Room| {
        if room.path("PWNED").exists() {
            Err("code ran".into())
        } else {
            Ok(())
        }
    };
    let mut cases: Vec<Case> = (0..6)
        .map(|protocol| {
            refused(
                &format!("os.system, protocol {protocol}"),
                os_system(protocol),
            )
            .check(move |room, _| no_shell(room))
        })
        .collect();
    let refusing = |name: &str, pickle: Vec<u8>| refused(name, pickle).says("refusing to run code");
    cases.extend([
        refused("os.system", os_system(2)).says("refusing to run code"),
        refusing("eval", call("builtins", "eval")),
        refusing("getattr", global("builtins", "getattr").stop()),
        refused("torch.load", call("torch", "load")),
        refused("torch.hub.load", call("torch.hub", "load")),
        refused(
            "dots in a name",
            global("torch", "_utils._rebuild_tensor_v2").stop(),
        ),
        refusing(
            "escapes in names",
            global("\x1b[31mos\x1b]0;owned\x07", "sys\x1b[2Jtem").stop(),
        ),
        refusing(
            "C1 and right to left in names",
            global("\u{9b}31mos", "sys\u{202e}tem").stop(),
        ),
        refusing(
            "long names",
            global(&"a".repeat(100_000), &"b".repeat(100_000)).stop(),
        ),
        refused("INST", b"(S'x'\nios\nsystem\n.".to_vec()),
        refused("OBJ", pickle(b"(cos\nsystem\nS'x'\no")),
        refused("EXT", pickle(b"\x82\x01")),
        refused(
            "NEWOBJ",
            global("collections", "OrderedDict").op(b")\x81").stop(),
        ),
        refused(
            "NEWOBJ_EX",
            global("collections", "OrderedDict").op(b")}\x92").stop(),
        ),
        refused(
            "STACK_GLOBAL",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.".to_vec(),
        ),
        refused("REDUCE of an integer", pickle(b"K\x01)R")),
        refused("BUILD of an integer", pickle(b"K\x01}b")),
    ]);
    cases
}

/// Pickles that break the machine that reads them.
fn machine() -> Vec<Case> {
    let a = |before: &[u8], after: &[u8]| Pickle::new().op(before).text("a").op(after).stop();
    let dictionaries = {
        let open = (0..20_000).fold(Pickle::new(), |p, _| p.op(b"}").text("a"));
        open.op(b"K\x01").op(&[b's'; 20_000]).stop()
    };
    let mut cases: Vec<Case> = [
        ("empty", vec![]),
        ("STOP alone", b".".to_vec()),
        ("POP of nothing", b"\x80\x020.".to_vec()),
        ("MARK alone", pickle(b"(")),
        ("TUPLE without a mark", pickle(b"t")),
        ("APPENDS to an integer", pickle(b"K\x01(K\x01e")),
        ("SETITEMS of one", pickle(b"}(K\x01u")),
        ("BINGET of nothing", pickle(b"h\x05")),
        ("LONG_BINGET of nothing", pickle(b"j\xff\xff\xff\xff")),
        ("dictionary in itself", a(b"}q\0", b"h\0s")),
        ("list in itself", pickle(b"]q\0h\0a")),
        ("LONG4 of 2 GB", pickle(b"\x8b\0\0\0\x80")),
        (
            "LONG1 of 255 bytes",
            pickle([&b"\x8a\xff"[..], &[0x7f; 255]].concat()),
        ),
        ("text of 4 GB", pickle(b"X\xff\xff\xff\xff")),
        (
            "text of 2^64 bytes",
            pickle([&[0x8d][..], &[0xff; 8]].concat()),
        ),
        ("bytes of 2^64", pickle([&[0x8e][..], &[0xff; 8]].concat())),
        ("protocol 255", b"\x80\xff.".to_vec()),
        ("protocol 0", b"(dp0\nVa\np1\nI1\ns.".to_vec()),
        ("text that is not UTF-8", pickle(b"X\x02\0\0\0\xff\xfe")),
        ("dictionaries 20,000 deep", dictionaries),
        (
            "tuples 150,000 deep",
            pickle([&b"N"[..], &[0x85; 150_000]].concat()),
        ),
        (
            "30,000 PUTs",
            pickle([b"N".to_vec(), puts(30_000)].concat()),
        ),
    ]
    .into_iter()
    .map(|(name, pickle)| refused(name, pickle))
    .collect();
    let frame = [b"\x80\x04\x95", &[0xff; 8][..], &pickle_of("x", &CELL)[2..]].concat();
    cases.push(file("frame of 2^64 bytes", Either, INFO, move || {
        pickled(&frame)
    }));
    cases
}

fn puts(count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|i| [&b"r"[..], &i.to_le_bytes()].concat())
        .collect()
}

/// Pickles just under the limit of their size, whose machine wants as much memory as it can.
fn memory() -> Vec<Case> {
    const LIMIT: usize = (16 << 20) - 64;
    let repeated = |start: &'static [u8], part: &'static [u8]| {
        move || [start, &part.repeat((LIMIT - start.len()) / part.len())].concat()
    };
    let case = |name: &str, body: Box<dyn FnOnce() -> Vec<u8> + Send>| {
        file(format!("16 MB of {name}"), Either, INFO, move || {
            pickled(&pickle(body()))
        })
        .peak(1024)
    };
    let mut cases = vec![
        case("lists", Box::new(repeated(b"", b"]"))),
        case("dictionaries", Box::new(repeated(b"", b"}"))),
        case("marks", Box::new(repeated(b"", b"("))),
        case("tuples of 1", Box::new(repeated(b"N", b"\x85"))),
        case("tuples of 2", Box::new(repeated(b"N", b"N\x86"))),
        case("MEMOIZE", Box::new(repeated(b"N", b"\x94"))),
        case(
            "PUTs",
            Box::new(|| [b"N".to_vec(), puts((LIMIT / 5) as u32)].concat()),
        ),
        case("short texts", Box::new(repeated(b"", b"\x8c\x01a"))),
        case("empty texts", Box::new(repeated(b"", b"\x8c\0"))),
        case(
            "tensors",
            Box::new(|| {
                let first = Pickle::new().tensor(&CELL).op(b"q\x010}(");
                let many = (0..(LIMIT - 400) / 12)
                    .fold(first, |p, i| p.text(&format!("{i:05x}")).op(b"h\x01"));
                many.op(b"u").stop()[2..].to_vec()
            }),
        ),
    ];
    cases.push(file("17 MB of lists", Error, INFO, || {
        pickled(&pickle(vec![b']'; 17 << 20]))
    }));
    cases
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

fn good() -> Vec<u8> {
    pickled(&pickle_of("x", &CELL))
}

/// Archives whose directory or sizes are wrong.
fn archives() -> Vec<Case> {
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
        file("60,000 members", Error, INFO, || {
            let names: Vec<String> = (0..60_000).map(|i| format!("a/{i:x}")).collect();
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
