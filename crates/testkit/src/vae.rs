//! One list of VAE cases for every engine.

use vae2x_core::engine::{DecodeSession, EncodeSession, Engine, pixel_shuffle};
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, time};

use crate::compare::{assert_close, assert_same};
use crate::open;

/// Whole clips and images against the goldens of `fixtures/FOLDER/cases.safetensors`: `.raw` of every `decode` case and
/// `.latent` of every `encode` case.
///
/// # Panics
/// If a case fails or the folder holds none.
pub fn check_fixtures(engine: &dyn Engine, folder: &str, tolerance: f64) {
    let cases = open(&format!("{folder}/cases.safetensors"));
    let (decode, encode) = (names(&cases, "decode"), names(&cases, "encode"));
    assert!(
        !decode.is_empty() && !encode.is_empty(),
        "{folder} holds no cases"
    );
    for name in decode {
        let latent = read(&cases, &format!("{name}.latent"));
        let raw = read(&cases, &format!("{name}.raw"));
        check_decode(
            engine,
            &format!("{folder} {name}"),
            &latent,
            &raw,
            tolerance,
        );
    }
    for name in encode {
        let pixels = read(&cases, &format!("{name}.pixels"));
        let latent = read(&cases, &format!("{name}.latent"));
        for b in 0..pixels.shape()[0] {
            let got = encode_whole(engine, &pixels.item(b));
            assert_close(
                &format!("{folder} {name}[{b}]"),
                &got,
                &latent.item(b),
                tolerance,
            );
        }
    }
}

/// Decodes each item of `latent` `[B, z, T, h, w]` and compares with `raw` `[B, 3 r^2, F, 8h, 8w]`.
fn check_decode(engine: &dyn Engine, what: &str, latent: &Array, raw: &Array, tolerance: f64) {
    let scale = engine.config().scale().unwrap();
    for b in 0..latent.shape()[0] {
        let got = decode_whole(engine, &latent.item(b));
        let want = pixel_shuffle(&raw.item(b), scale).unwrap();
        assert_close(&format!("{what}[{b}]"), &got, &want, tolerance);
    }
}

/// Every way to cut the clips of `fixtures/FOLDER` into steps gives the bits of the whole clip, also after a reset.
///
/// # Panics
/// If one differs.
pub fn check_streaming(engine: &dyn Engine, folder: &str) {
    let cases = open(&format!("{folder}/cases.safetensors"));
    for name in ["decode.clip", "decode.clip2"]
        .iter()
        .filter(|n| cases.tensors().contains_key(&format!("{n}.latent")))
    {
        let latent = read(&cases, &format!("{name}.latent")).item(0);
        let whole = decode_whole(engine, &latent);
        let mut session = engine.decoder();
        for steps in compositions(latent.shape()[1]) {
            session.reset();
            let got = decode_steps(session.as_mut(), &latent, &steps);
            assert_same(
                &format!("{folder} {name} in steps of {steps:?}"),
                &got,
                &whole,
            );
        }
    }
    for name in ["encode.clip5", "encode.clip9"]
        .iter()
        .filter(|n| cases.tensors().contains_key(&format!("{n}.pixels")))
    {
        let pixels = read(&cases, &format!("{name}.pixels")).item(0);
        let whole = encode_whole(engine, &pixels);
        let mut session = engine.encoder();
        for steps in compositions(time::latent_frames(pixels.shape()[1])) {
            session.reset();
            let got = encode_steps(session.as_mut(), &pixels, &steps);
            assert_same(
                &format!("{folder} {name} in steps of {steps:?}"),
                &got,
                &whole,
            );
        }
    }
}

/// Decodes a clip `[z, T, h, w]` in one step.
pub fn decode_whole(engine: &dyn Engine, latent: &Array) -> Array {
    engine
        .decoder()
        .step(latent, &mut |_| ())
        .unwrap_or_else(|e| panic!("{e}"))
}

/// Encodes a clip `[3, F, H, W]` in one step.
pub fn encode_whole(engine: &dyn Engine, pixels: &Array) -> Array {
    engine
        .encoder()
        .step(pixels, &mut |_| ())
        .unwrap_or_else(|e| panic!("{e}"))
}

fn decode_steps(session: &mut dyn DecodeSession, latent: &Array, steps: &[usize]) -> Array {
    let mut start = 0;
    let mut parts = Vec::new();
    for &n in steps {
        parts.push(
            session
                .step(&latent.narrow1(start..start + n), &mut |_| ())
                .unwrap(),
        );
        start += n;
    }
    Array::concat1(&parts).unwrap()
}

/// `steps` count latent frames.
fn encode_steps(session: &mut dyn EncodeSession, pixels: &Array, steps: &[usize]) -> Array {
    let (mut start, mut latents) = (0, 0);
    let mut parts = Vec::new();
    for &n in steps {
        latents += n;
        let end = time::frames(latents);
        parts.push(
            session
                .step(&pixels.narrow1(start..end), &mut |_| ())
                .unwrap(),
        );
        start = end;
    }
    Array::concat1(&parts).unwrap()
}

/// Every ordered way to write `n` as a sum of positive numbers.
fn compositions(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let with_first = |first: usize| {
        compositions(n - first)
            .into_iter()
            .map(move |rest| [vec![first], rest].concat())
    };
    (1..=n).flat_map(with_first).collect()
}

/// `decode.image`, `decode.odd`, ... for `decode`.
fn names(cases: &TensorFile, side: &str) -> Vec<String> {
    let input = if side == "decode" {
        ".latent"
    } else {
        ".pixels"
    };
    let prefix = format!("{side}.");
    let named = |key: &String| {
        key.starts_with(&prefix)
            .then(|| key.strip_suffix(input).map(String::from))
            .flatten()
    };
    cases.tensors().keys().filter_map(named).collect()
}

fn read(cases: &TensorFile, name: &str) -> Array {
    cases.read(name).unwrap_or_else(|e| panic!("{e}"))
}
