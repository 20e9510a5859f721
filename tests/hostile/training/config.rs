//! Values of configurations that make no sense, or ask for too much.

use super::{CONFIG, photos, train};
use vae2x_testkit::special;

use crate::case::{Case, Either, Error, Expect, Success};
use crate::make::nested;

/// Values that are refused.
const REFUSED: &[&str] = &[
    "train.steps=0",
    "train.steps=-1",
    "train.steps=\"x\"",
    "train.steps=nan",
    "train.steps=9223372036854775808",
    "train.lr=nan",
    "train.lr=inf",
    "train.lr=-1.0",
    "train.lr=0.0",
    "train.lr=1e-400",
    "train.batch=0",
    "train.batch=-1",
    "train.accumulate=0",
    "data.crop=0",
    "data.crop=31",
    "data.crop=9223372036854775792",
    "data.crop=1000000000",
    "data.scale=[0.0,1.0]",
    "data.scale=[nan,nan]",
    "data.scale=[1.0,0.5]",
    "data.scale=[1.0]",
    "data.workers=0",
    "data.prefetch=0",
    "data.min_jpeg_quality=300",
    "data.min_sharpness=nan",
    "data.min_sharpness=inf",
    "eval.size=0",
    "eval.size=15",
    "log.every=0",
    "log.keep=0",
    "log.eval_every=0",
    "train.betas=[1.0,1.0]",
    "train.betas=[nan,0.5]",
    "train.ema=1.0",
    "train.ema=nan",
    "train.clip=-1.0",
    "train.clip=nan",
    "train.precision=\"f64\"",
    "train.parts=[]",
    "train.parts=[\"x\"]",
    "train.parts=[\"decoder\",\"all\"]",
    "train.seed=-1",
    "train.explode=nan",
    "train.explode=-inf",
    "loss.l1=nan",
    "loss.charbonnier=nan",
    "loss.lpips=1.0",
    "loss.fdl=1.0",
    "loss.vgg16=\"random:x\"",
    "loss.vgg16=\"random:18446744073709551616\"",
    "gan.weight=nan",
    "gan.kind=\"x\"",
    "degradation.kind=\"x\"",
    "degradation.kind=\"proxy\"",
    "degradation.t_max=2.0",
    "degradation.blur=nan",
    "model.base=\"/nonexistent\"",
    "model.base=\"\"",
    "model.base=\"demo:x\"",
    "model.start=\"x\"",
    "x=1",
    "train.x=1",
    "a",
    "=",
    "train.steps=",
    "train.steps=[",
    "..=1",
    "train=1",
    "train.steps.x=1",
    "data.photos=[]",
    "data.photos=[\"/nonexistent\"]",
    "data.photos=[\"[\"]",
    "data.photos=[\"\"]",
    "data.photos=\"x\"",
    "train.schedule=\"x\"",
    "train.warmup=-1",
];
/// Values that are odd, and may be taken.
const ODD: &[&str] = &[
    // A photo is never made smaller than a crop.
    "data.scale=[1e-320,1.0]",
    "train.warmup=9223372036854775807",
    "log.keep=9223372036854775807",
    "data.cache=9223372036854775807",
    "eval.short_side=1000000000",
    "train.lr=1e300",
    "train.lr=1e-300",
    "train.weight_decay=1e30",
    "loss.l1=1e300",
    "train.explode=1e-300",
    "data.min_side=9223372036854775807",
    "train.parts=[\"all\"]",
    "train.parts=[\"base\"]",
    "loss.l1=0.0",
    "train.precision=\"bf16\"",
];
/// Sizes that would take more memory or time than there is.
const LARGE: &[(Expect, &[&str])] = &[
    (
        Either,
        &["degradation.kind=\"blur\"", "degradation.blur=1e30"],
    ),
    (
        Either,
        &["degradation.kind=\"blur\"", "degradation.blur=1e5"],
    ),
    (Either, &["gan.weight=0.1", "gan.width=1"]),
    (Error, &["gan.weight=0.1", "gan.width=100000"]),
    (
        Error,
        &[
            "loss.fdl=1.0",
            "loss.vgg19=\"random:0\"",
            "loss.fdl_options.patch=33",
        ],
    ),
    (
        Error,
        &[
            "loss.fdl=1.0",
            "loss.vgg19=\"random:0\"",
            "loss.fdl_options.projections=1000000000",
        ],
    ),
    (Error, &["data.prefetch=1000000000000"]),
    (Either, &["data.prefetch=10000000"]),
    (Either, &["data.workers=3000"]),
    (Error, &["train.batch=1000000000"]),
    (Error, &["data.crop=4096"]),
];

fn set(expect: Expect, values: &[&str], config: &str) -> Case {
    let more: Vec<&str> = values.iter().flat_map(|v| ["--set", v]).collect();
    photos(train(
        &format!("train-config {}", values.join(" ")),
        expect,
        config,
        &more,
    ))
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![photos(train("train-config plain", Success, CONFIG, &[]))];
    cases.extend(REFUSED.iter().map(|value| set(Error, &[value], CONFIG)));
    cases.extend(ODD.iter().map(|value| set(Either, &[value], CONFIG)));
    cases.push(set(Success, &["train.seed=9223372036854775807"], CONFIG));
    cases.extend(
        LARGE
            .iter()
            .map(|(expect, values)| set(*expect, values, CONFIG)),
    );
    let new = CONFIG.replace("base = \"demo:base\"\n", "");
    for width in ["0", "4096", "1000000000"] {
        let width = format!("model.base_dim={width}");
        cases.push(set(Error, &["train.parts=[\"base\"]", &width], &new));
    }
    cases.extend(texts());
    cases.extend(specials());
    cases
}

/// Configurations that are not the TOML they should be.
fn texts() -> Vec<Case> {
    let keys: String = (0..200_000).map(|i| format!("k{i}=1\n")).collect();
    let texts: Vec<(&str, Expect, Vec<u8>)> = vec![
        ("empty", Error, vec![]),
        ("not UTF-8", Error, b"\xff\xfe".into()),
        ("zeros", Error, vec![0; 100]),
        (
            "byte order mark",
            Either,
            [b"\xef\xbb\xbf", CONFIG.as_bytes()].concat(),
        ),
        ("CRLF", Success, CONFIG.replace('\n', "\r\n").into()),
        (
            "nested lists",
            Error,
            format!("a={}", nested(50_000)).into(),
        ),
        (
            "nested tables",
            Error,
            format!("a={}1{}", "{b=".repeat(5000), "}".repeat(5000)).into(),
        ),
        (
            "a key twice",
            Error,
            format!("{CONFIG}[log]\nevery=2\n").into(),
        ),
        (
            "comment of 10 MB",
            Either,
            format!("#{}\n{CONFIG}", "x".repeat(10_000_000)).into(),
        ),
        (
            "a date",
            Error,
            CONFIG
                .replace("steps = 2", "steps = 1979-05-27T07:32:00Z")
                .into(),
        ),
        (
            "hexadecimal",
            Success,
            CONFIG.replace("steps = 2", "steps = 0x2").into(),
        ),
        ("200,000 keys", Error, format!("{CONFIG}{keys}").into()),
        (
            "escapes in an error",
            Error,
            "[model]\nbase = \"\x1b[31mRED\x07\" oops\n".into(),
        ),
        (
            "escapes in a key",
            Error,
            "[model]\n\"\\u001b[31mRED\" = 1\n".into(),
        ),
        (
            "escapes in a place",
            Error,
            CONFIG.replace("\"ph\"", "\"\\u001b[31mRED\"").into(),
        ),
    ];
    texts
        .into_iter()
        .map(|(name, expect, text)| {
            photos(train(&format!("train-config {name}"), expect, text, &[]))
        })
        .collect()
}

/// Configurations that are no files.
fn specials() -> Vec<Case> {
    let special = |name: &str, make: fn(&std::path::Path)| {
        photos(train(
            &format!("train-config is {name}"),
            Error,
            CONFIG,
            &[],
        ))
        .says("c.toml")
        .make(move |room| {
            std::fs::remove_file(room.path("c.toml")).expect("removed");
            make(&room.path("c.toml"));
        })
    };
    vec![
        special("a folder", |path| {
            std::fs::create_dir(path).expect("a folder")
        }),
        special("a fifo", special::fifo),
        special("/dev/zero", |path| special::link("/dev/zero", path)),
        special("/dev/null", |path| special::link("/dev/null", path)),
        special("a dangling link", |path| {
            special::link("/nonexistent", path)
        }),
    ]
}
