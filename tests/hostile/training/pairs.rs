//! Pairs of clean and degraded latents, what is trained on them, and what is drawn of them.

use std::path::Path;

use super::PEAK;
use vae2x_testkit::special;

use super::Prepare;
use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::tensors::{
    Tensor, cell, file, latent8, noise, pickle, plain_latent, same, tensor, with_metadata,
};

/// A proxy of a few parameters.
const CONFIG: &str = "width = 4\nblocks = 1\nsteps = 2\nbatch = 1\ncrop = 8\nlr = 1e-3\nloss = \"l2\"\nheld_out = 0.5\n";
const FLOW: &str = "layers = 1\ndim = 24\nheads = 2\nffn_dim = 16\nsteps = 3\nbatch = 1\ncrop = 4\nlr = 1e-3\nheld_out = 0.5\n";
const PROXY: &[&str] = &[
    "train",
    "degradation",
    "--pairs",
    "p",
    "--config",
    "c.toml",
    "--out",
    "run",
    "--threads",
    "1",
];
const LATENTS: &[&str] = &[
    "train",
    "flow",
    "--latents",
    "l",
    "--config",
    "c.toml",
    "--out",
    "run",
    "--latent-space",
    "normalized",
    "--threads",
    "1",
];

/// A pair with parts other than noise, where they are given.
struct Pair<'a> {
    name: &'a str,
    shape: &'a [usize],
    dtype: &'static str,
    clean: Option<Vec<u8>>,
    degraded: Option<Vec<u8>>,
    time: f32,
}

const SQUARE: &[usize] = &[16, 8, 8];
const CELLS: usize = 16 * 64;

const fn pair(name: &str) -> Pair<'_> {
    Pair {
        name,
        shape: SQUARE,
        dtype: "F32",
        clean: None,
        degraded: None,
        time: 0.2,
    }
}

impl Pair<'_> {
    fn tensors(self) -> Vec<Tensor> {
        let count = self.shape.iter().product();
        let part = |part: &str, given: Option<Vec<u8>>, seed| {
            let bytes = given.unwrap_or_else(|| noise(count, seed, 1.0));
            tensor(
                &format!("{}.{part}", self.name),
                self.dtype,
                self.shape,
                bytes,
            )
        };
        vec![
            part("clean", self.clean, 1),
            part("degraded", self.degraded, 2),
            tensor(
                &format!("{}.t", self.name),
                "F32",
                &[1],
                self.time.to_le_bytes().to_vec(),
            ),
        ]
    }
}

/// A file of these pairs and of some good ones.
fn beside(pair: Pair, good: &[&str]) -> Vec<u8> {
    let mut tensors = pair.tensors();
    tensors.extend(good.iter().flat_map(|name| self::pair(name).tensors()));
    file(&tensors)
}

fn good() -> Vec<u8> {
    beside(pair("a"), &["b", "c", "d"])
}

/// Pairs are trained on as expected, and their spectrum is drawn in good order.
fn both(name: &str, expect: Expect, make: impl Fn(&Path) + Clone + Send + 'static) -> [Case; 2] {
    let drawn = ["spectrum", "a=p:clean", "b=p:degraded", "-o", "s.html"];
    [
        case(format!("pairs train on {name}"), expect, PROXY)
            .bytes("c.toml", CONFIG)
            .goes_on(),
        case(format!("pairs spectrum of {name}"), Either, &drawn),
    ]
    .map(|case| {
        let make = make.clone();
        case.peak(PEAK).make(move |room| {
            std::fs::create_dir(room.path("p")).expect("a folder");
            make(&room.path("p"));
        })
    })
}

fn trained(name: &str, expect: Expect, bytes: Vec<u8>) -> [Case; 2] {
    both(name, expect, move |folder| {
        std::fs::write(folder.join("x.safetensors"), &bytes).expect("written")
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = files();
    cases.extend(configurations());
    cases.extend(proxies());
    cases.extend(flows());
    cases.extend(spectra());
    cases
}

fn files() -> Vec<Case> {
    let nan = || Some(same(f32::NAN, CELLS));
    let infinite = || Some(same(f32::INFINITY, CELLS));
    let others = ["b", "c", "d"];
    let all = |change: &dyn Fn(Pair<'static>) -> Pair<'static>| {
        file(
            &["a", "b", "c", "d"]
                .into_iter()
                .flat_map(|n| change(pair(n)).tensors())
                .collect::<Vec<_>>(),
        )
    };
    let shaped = |shape: &'static [usize]| {
        let pair = |name| Pair {
            shape,
            ..pair(name)
        };
        file(
            &["a", "b", "c"]
                .into_iter()
                .flat_map(|n| pair(n).tensors())
                .collect::<Vec<_>>(),
        )
    };
    let typed = |dtype| {
        beside(
            Pair {
                dtype,
                clean: Some(vec![0; CELLS]),
                degraded: Some(vec![0; CELLS]),
                ..pair("a")
            },
            &[],
        )
    };
    let empty = Pair {
        shape: &[16, 0, 8, 8],
        clean: Some(vec![]),
        degraded: Some(vec![]),
        ..pair("a")
    };
    let mut two_times = pair("a").tensors();
    two_times[2] = tensor("a.t", "F32", &[2], vec![0; 8]);
    let escapes = Pair {
        time: 7.0,
        ..pair("\x1b[31mRED\x07")
    };
    let mut cases: Vec<Case> = [
        ("good pairs", Success, good()),
        (
            "time NaN",
            Error,
            beside(
                Pair {
                    time: f32::NAN,
                    ..pair("a")
                },
                &["b"],
            ),
        ),
        (
            "time 2",
            Error,
            beside(
                Pair {
                    time: 2.0,
                    ..pair("a")
                },
                &["b"],
            ),
        ),
        (
            "time -0",
            Either,
            beside(
                Pair {
                    time: -0.0,
                    ..pair("a")
                },
                &["b", "c"],
            ),
        ),
        (
            "a clean latent of NaN",
            Error,
            beside(
                Pair {
                    clean: nan(),
                    ..pair("a")
                },
                &others,
            ),
        ),
        (
            "a degraded latent of infinity",
            Error,
            beside(
                Pair {
                    degraded: infinite(),
                    ..pair("a")
                },
                &others,
            ),
        ),
        (
            "clean latents of NaN",
            Error,
            all(&|p| Pair { clean: nan(), ..p }),
        ),
        (
            "degraded latents of NaN",
            Error,
            all(&|p| Pair {
                degraded: nan(),
                ..p
            }),
        ),
        (
            "degraded latents of infinity",
            Error,
            all(&|p| Pair {
                degraded: infinite(),
                ..p
            }),
        ),
        (
            "latents of 1e30",
            Either,
            all(&|p| Pair {
                clean: Some(same(1e30, CELLS)),
                degraded: Some(same(1e30, CELLS)),
                ..p
            }),
        ),
        (
            "latents of zeros",
            Either,
            all(&|p| Pair {
                clean: Some(vec![0; 4 * CELLS]),
                degraded: Some(vec![0; 4 * CELLS]),
                ..p
            }),
        ),
        ("one cell", Either, shaped(&[16, 1, 1])),
        ("1x500 cells", Either, shaped(&[16, 1, 500])),
        ("3 channels", Either, shaped(&[3, 8, 8])),
        ("2 axes", Error, shaped(&[16, 64])),
        (
            "a clip",
            Either,
            beside(
                Pair {
                    shape: &[16, 3, 8, 8],
                    ..pair("a")
                },
                &["b"],
            ),
        ),
        (
            "3 and 16 channels",
            Either,
            beside(
                Pair {
                    shape: &[3, 8, 8],
                    ..pair("a")
                },
                &["b", "c"],
            ),
        ),
        ("no frames", Error, file(&empty.tensors())),
        ("no time", Error, file(&pair("a").tensors()[..2])),
        ("no clean latent", Error, file(&pair("a").tensors()[1..])),
        ("two times", Error, file(&two_times)),
        ("integers", Either, typed("I8")),
        ("8-bit floats", Either, typed("F8_E4M3")),
        ("one pair", Either, file(&pair("a").tensors())),
        ("a pair without a name", Either, file(&pair("").tensors())),
        ("a pair named by escapes", Error, file(&escapes.tensors())),
    ]
    .into_iter()
    .flat_map(|(name, expect, bytes)| trained(name, expect, bytes))
    .collect();
    let specials: [(&str, Prepare); 4] = [
        ("an empty folder", |_| ()),
        ("a fifo", |folder| {
            special::fifo(&folder.join("x.safetensors"))
        }),
        ("/dev/zero", |folder| {
            special::link("/dev/zero", &folder.join("x.safetensors"))
        }),
        ("a folder named .safetensors", |folder| {
            std::fs::create_dir(folder.join("x.safetensors")).expect("a folder")
        }),
    ];
    cases.extend(
        specials
            .into_iter()
            .flat_map(|(name, make)| both(name, Error, make)),
    );
    cases
}

fn configurations() -> Vec<Case> {
    [
        "width = 0",
        "width = 1000000000",
        "blocks = 1000000000",
        "steps = 0",
        "batch = 0",
        "crop = 0",
        "crop = 1000000000",
        "lr = nan",
        "lr = -1",
        "loss = \"x\"",
        "held_out = nan",
        "held_out = 1.5",
        "held_out = 1.0",
        "held_out = -1",
        "x = 1",
        "blocks = 0",
    ]
    .into_iter()
    .map(|value| {
        let key = value.split('=').next().expect("a key");
        let rest: String = CONFIG
            .lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect();
        let expect = if value == "blocks = 0" { Either } else { Error };
        let case = case(format!("pairs configuration {value}"), expect, PROXY)
            .bytes("c.toml", format!("{rest}{value}\n"));
        case.bytes("p/x.safetensors", good()).peak(PEAK).goes_on()
    })
    .collect()
}

/// Files in the place of a proxy.
fn proxies() -> Vec<Case> {
    let args = |time: &str| {
        [
            "degrade",
            "latent8.latent",
            "--proxy",
            "x.safetensors",
            time,
            "-o",
            "o.latent",
        ]
        .map(str::to_owned)
    };
    let degrade = |name: &str, time: &str, bytes: Vec<u8>| {
        let args = args(time);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        case(format!("pairs degrade {name}"), Error, &args)
            .bytes("latent8.latent", latent8())
            .bytes("x.safetensors", bytes)
            .peak(PEAK)
    };
    let one = || tensor("x", "F32", &[1], vec![0; 4]);
    let nested = "[".repeat(10_000);
    let mut cases: Vec<Case> = [
        ("junk", "x"),
        (
            "2^64 blocks",
            r#"{"channels":16,"width":65536,"blocks":18446744073709551615}"#,
        ),
        (
            "10^9 blocks",
            r#"{"channels":16,"width":65536,"blocks":1000000000}"#,
        ),
        ("nothing of all", r#"{"channels":0,"width":0,"blocks":0}"#),
        ("nested", &nested),
        ("escapes", "\"\x1b[31m\""),
        ("-1 channels", r#"{"channels":-1,"width":1,"blocks":1}"#),
        ("3 channels", r#"{"channels":3,"width":8,"blocks":1}"#),
    ]
    .into_iter()
    .map(|(name, text)| {
        degrade(
            &format!("proxy of {name}"),
            "--t=0.1",
            with_metadata(&[one()], &[("vae2x.degradation", text)]),
        )
    })
    .collect();
    cases.push(degrade(
        "proxy without a description",
        "--t=0.1",
        file(&[one()]),
    ));
    let times = ["nan", "inf", "-1", "2", "1e-400", "x", ""];
    cases.extend(times.map(|t| degrade(&format!("time {t}"), &format!("--t={t}"), file(&[one()]))));
    cases
}

/// Latents that a flow model is trained on.
fn flows() -> Vec<Case> {
    let good = |i| (format!("l{i}.safetensors"), plain_latent([1, 1, 8, 8], i));
    let with = |count, more: &[(&str, Vec<u8>)]| {
        let more = more
            .iter()
            .map(|(name, bytes)| (name.to_string(), bytes.clone()));
        (1..=count).map(good).chain(more).collect::<Vec<_>>()
    };
    let nan = file(&[tensor(
        "latents",
        "F32",
        &[1, 16, 1, 8, 8],
        same(f32::NAN, CELLS),
    )]);
    let cell = |i| {
        (
            ["a.safetensors", "b.safetensors", "c.safetensors"][i],
            cell("latents", "F32", noise(16, i as u64, 1.0)),
        )
    };
    [
        ("good", Success, with(3, &[])),
        (
            "one broken",
            Either,
            with(3, &[("b.safetensors", b"x".into())]),
        ),
        (
            "all broken",
            Error,
            with(0, &[("b.safetensors", b"x".into())]),
        ),
        ("one of NaN", Either, with(2, &[("n.safetensors", nan)])),
        (
            "one cell each",
            Either,
            with(0, &[cell(0), cell(1), cell(2)]),
        ),
        ("one file", Either, with(1, &[])),
        (
            "a pickle that runs code",
            Error,
            with(0, &[("p.pt", pickle(b"cos\nsystem\n(X\x01\0\0\0xtR"))]),
        ),
        ("no files", Error, with(0, &[])),
    ]
    .into_iter()
    .map(|(name, expect, files)| {
        let case = case(format!("pairs flow, {name}"), expect, LATENTS)
            .bytes("c.toml", FLOW)
            .peak(PEAK)
            .goes_on();
        let case = case.make(|room| std::fs::create_dir(room.path("l")).expect("a folder"));
        files.into_iter().fold(case, |case, (file, bytes)| {
            case.bytes(format!("l/{file}"), bytes)
        })
    })
    .collect()
}

fn spectra() -> Vec<Case> {
    let of = |name: &str, args: &[&str], latent: Vec<u8>| {
        let args = [&["spectrum"], args, &["--latent-space", "normalized"]].concat();
        let case = case(format!("pairs spectrum, {name}"), Either, &args).peak(PEAK);
        case.bytes("a/x.safetensors", latent)
            .bytes("b/x.safetensors", plain_latent([1, 1, 8, 8], 2))
    };
    let square = || plain_latent([1, 1, 8, 8], 1);
    let zeros = file(&[tensor(
        "latents",
        "F32",
        &[1, 16, 1, 8, 8],
        vec![0; 4 * CELLS],
    )]);
    vec![
        of(
            "256 bands",
            &["a=a", "-o", "s.html", "--bands", "256"],
            square(),
        ),
        of(
            "256 bands to PNG",
            &["a=a", "b=b", "-o", "s.png", "--bands", "256"],
            square(),
        ),
        of(
            "one cell",
            &["a=a", "b=a", "-o", "s.html"],
            cell("latents", "F32", noise(16, 1, 1.0)),
        ),
        of(
            "1x2000 beside 8x8",
            &["a=a", "b=b", "-o", "s.html"],
            plain_latent([1, 1, 1, 2000], 1),
        ),
        of("zeros", &["a=a", "b=b", "-o", "s.html"], zeros),
    ]
}
