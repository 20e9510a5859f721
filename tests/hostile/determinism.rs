//! The same input gives the same bytes, whatever the threads, the locale, the home.

use std::ffi::OsString;

use libtest_mimic::Trial;

use crate::case::trial;
use crate::make::png::photo;
use crate::make::tensors::{latent, plain_latent};
use crate::room::{Room, Setting};

/// How a run differs from the one before: further arguments, environment variables.
type Variant = (Vec<String>, Vec<(String, OsString)>);

fn threads(counts: &[usize]) -> Vec<Variant> {
    counts
        .iter()
        .map(|n| (vec!["--threads".into(), n.to_string()], Vec::new()))
        .collect()
}

fn environments(all: &[&[(&str, &str)]]) -> Vec<Variant> {
    let owned = |pairs: &&[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| (k.to_string(), OsString::from(v)))
            .collect()
    };
    all.iter().map(|pairs| (Vec::new(), owned(pairs))).collect()
}

/// A command whose output `o` plus an ending, or folder `o`, is compared.
struct Same {
    name: &'static str,
    args: &'static [&'static str],
    output: &'static str,
    variants: Vec<Variant>,
}

fn same(
    name: &'static str,
    args: &'static [&'static str],
    output: &'static str,
    variants: Vec<Variant>,
) -> Same {
    Same {
        name,
        args,
        output,
        variants,
    }
}

pub fn cases() -> Vec<Trial> {
    let all = threads(&[1, 1, 2, 3, 16]);
    let twice = environments(&[&[], &[]]);
    let places = environments(&[
        &[],
        &[("LC_ALL", "C"), ("TZ", "Asia/Tokyo")],
        &[("HOME", "/nonexistent")],
    ]);
    let mut cases = vec![
        same(
            "decode to PNG",
            &["decode", "l.latent", "--vae", "demo:2x", "-o", "o.png"],
            "o.png",
            all.clone(),
        ),
        same(
            "decode to npy",
            &["decode", "l.latent", "--vae", "demo:2x", "-o", "o.npy"],
            "o.npy",
            all.clone(),
        ),
        same(
            "decode as bf16",
            &[
                "decode", "l.latent", "--vae", "demo:2x", "-o", "o.npy", "--dtype", "bf16",
            ],
            "o.npy",
            all.clone(),
        ),
        same(
            "decode a clip",
            &["decode", "c.latent", "--vae", "demo:2x", "-o", "o.npy"],
            "o.npy",
            all.clone(),
        ),
        same(
            "decode a batch",
            &["decode", "b.safetensors", "--vae", "demo:base", "-o", "o/"],
            "o",
            all.clone(),
        ),
        same(
            "encode",
            &["encode", "p.png", "--vae", "demo:base", "-o", "o.latent"],
            "o.latent",
            all.clone(),
        ),
        same(
            "upscale",
            &["upscale", "p.png", "--vae", "demo:2x", "-o", "o.png"],
            "o.png",
            all.clone(),
        ),
        same(
            "hires",
            &["hires", "l.latent", "--vae", "demo:2x", "-o", "o.latent"],
            "o.latent",
            threads(&[1, 2]),
        ),
        same(
            "finishing",
            &[
                "decode",
                "l.latent",
                "--vae",
                "demo:2x",
                "--match-color",
                "base:demo:base",
                "--scale",
                "1",
                "--sharpen",
                "1",
                "-o",
                "o.png",
            ],
            "o.png",
            threads(&[1, 2, 3]),
        ),
        same(
            "decode to EXR",
            &["decode", "l.latent", "--vae", "demo:2x", "-o", "o.exr"],
            "o.exr",
            threads(&[1, 2]),
        ),
        same(
            "decode to WebP",
            &["decode", "l.latent", "--vae", "demo:2x", "-o", "o.webp"],
            "o.webp",
            threads(&[1, 2]),
        ),
        same(
            "decode to JPEG",
            &["decode", "l.latent", "--vae", "demo:2x", "-o", "o.jpg"],
            "o.jpg",
            threads(&[1, 2]),
        ),
        same(
            "convert",
            &[
                "convert",
                "demo:2x",
                "-o",
                "o.safetensors",
                "--layout",
                "original",
            ],
            "o.safetensors",
            twice.clone(),
        ),
        same(
            "compare",
            &["compare", "a=p.png", "b=p.png", "-o", "o.html"],
            "o.html",
            twice,
        ),
        same(
            "decode elsewhere",
            &["decode", "l.latent", "--vae", "demo:2x", "-o", "o.png"],
            "o.png",
            places,
        ),
    ];
    if cfg!(feature = "burn") {
        let args: &[&str] = &[
            "decode",
            "b.safetensors",
            "--vae",
            "demo:base",
            "-o",
            "o/",
            "--device",
            "burn",
        ];
        cases.push(same("decode on burn", args, "o", threads(&[1, 2, 3])));
    }
    if cfg!(feature = "train") {
        let counts = environments(&[
            &[("RAYON_NUM_THREADS", "1")],
            &[("RAYON_NUM_THREADS", "2")],
            &[("RAYON_NUM_THREADS", "8")],
        ]);
        cases.push(same(
            "scan",
            &["dataset", "scan", "dup", "-o", "o.jsonl"],
            "o.jsonl",
            counts,
        ));
    }
    let mut trials: Vec<Trial> = cases
        .into_iter()
        .map(|case| {
            trial(format!("determinism {}", case.name), move |room| {
                case.run(room)
            })
        })
        .collect();
    trials.push(trial(
        "determinism instruction sets agree",
        instruction_sets,
    ));
    trials
}

fn inputs(room: &Room) {
    room.write("l.latent", latent([1, 1, 40, 56], 4));
    room.write("c.latent", latent([1, 3, 12, 12], 5));
    room.write("b.safetensors", plain_latent([3, 1, 16, 16], 6));
    room.write("p.png", photo(200, 136, 2));
    for (name, seed) in [("a", 3), ("b", 3), ("c", 0), ("d", 1), ("e", 2)] {
        room.write(&format!("dup/{name}.png"), photo(130, 130, seed));
    }
}

impl Same {
    fn run(&self, room: &Room) -> Result<(), String> {
        inputs(room);
        let mut first: Option<Vec<Vec<u8>>> = None;
        for (more, env) in &self.variants {
            let args: Vec<&str> = self
                .args
                .iter()
                .copied()
                .chain(more.iter().map(String::as_str))
                .collect();
            let setting = Setting {
                env: env.clone(),
                ..Setting::default()
            };
            let outcome = room.launch(&args, &setting);
            if outcome.code != Some(0) || !outcome.faults().is_empty() {
                return Err(format!(
                    "{}\n{}",
                    outcome.faults().join("; "),
                    outcome.describe()
                ));
            }
            let made = self.take(room);
            match &first {
                None => first = Some(made),
                Some(first) if *first != made => {
                    return Err(format!("other bytes with {more:?} {env:?}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The bytes of the output, which is removed.
    fn take(&self, room: &Room) -> Vec<Vec<u8>> {
        let path = room.path(self.output);
        let mut files: Vec<_> = match std::fs::read_dir(&path) {
            Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
            Err(_) => vec![path],
        };
        files.sort();
        files
            .iter()
            .map(|file| {
                let bytes = std::fs::read(file).expect("the output");
                std::fs::remove_file(file).expect("removed");
                bytes
            })
            .collect()
    }
}

/// Values differ by rounding between instruction sets, not by more.
fn instruction_sets(room: &Room) -> Result<(), String> {
    const LARGEST: f32 = 1e-3;
    inputs(room);
    let mut scalar: Option<Vec<f32>> = None;
    for isa in ["scalar", "avx2", "avx512", "neon"] {
        let setting = Setting {
            env: vec![("VAE2X_ISA".into(), isa.into())],
            ..Setting::default()
        };
        let outcome = room.launch(
            &["decode", "l.latent", "--vae", "demo:2x", "-o", "o.npy"],
            &setting,
        );
        if outcome.code != Some(0) {
            println!("skipped: {isa}");
            continue;
        }
        let bytes = room.read("o.npy").split_off(128);
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")))
            .collect();
        let Some(scalar) = &scalar else {
            scalar = Some(values);
            continue;
        };
        let wrong = scalar
            .iter()
            .zip(&values)
            .filter(|(a, b)| !((*a - *b).abs() <= LARGEST))
            .count();
        if wrong > 0 || scalar.len() != values.len() {
            return Err(format!("{isa}: {wrong} of {} values differ", scalar.len()));
        }
    }
    Ok(())
}
