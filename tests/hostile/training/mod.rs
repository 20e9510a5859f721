//! Training and what goes with it: configurations, photos, checkpoints, pairs, captions.

mod config;
mod data;
mod pairs;
mod places;
mod resume;
mod sdedit;
#[cfg(feature = "text")]
mod tokens;

use libtest_mimic::Trial;

use crate::case::{Case, Expect, case};
use crate::make::png::photo;

/// Puts into a folder what a case is about.
type Prepare = fn(&std::path::Path);

/// MiB that a run on small photos may take.
const PEAK: u64 = 700;
/// A run of two steps on the photos in `ph`.
const CONFIG: &str = r#"[model]
base = "demo:base"
[data]
photos = ["ph"]
crop = 32
min_sharpness = 0.0
min_side = 32
workers = 1
prefetch = 1
scale = [1.0, 1.0]
[train]
steps = 2
batch = 1
[eval]
size = 16
short_side = 0
[log]
every = 1
"#;
const TRAIN: &[&str] = &[
    "train",
    "decoder",
    "--config",
    "c.toml",
    "--out",
    "run",
    "--no-tui",
    "--threads",
    "1",
];

/// A run with this configuration. Its folder stays when it fails.
fn train(name: &str, expect: Expect, config: impl Into<Vec<u8>>, more: &[&str]) -> Case {
    case(name, expect, &[TRAIN, more].concat())
        .bytes("c.toml", config)
        .peak(PEAK)
        .goes_on()
}

/// Three photos in `ph`.
fn photos(mut case: Case) -> Case {
    for i in 0..3 {
        case = case.bytes(format!("ph/p{i}.png"), photo(96, 96, i));
    }
    case
}

pub fn cases() -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    let cases = [
        config::cases(),
        data::cases(),
        places::cases(),
        pairs::cases(),
        sdedit::cases(),
    ];
    trials.extend(cases.into_iter().flatten().map(Trial::from));
    trials.extend(resume::cases());
    #[cfg(feature = "text")]
    trials.extend(tokens::cases().into_iter().map(Trial::from));
    trials
}
