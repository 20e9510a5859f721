//! One list of VAE cases for every engine.

use std::sync::Arc;
use std::thread;

use vae2x_core::engine::{Decoder, Encoder, Engine, pixel_shuffle};
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, Extent};

use crate::compare::{assert_close, assert_same, relative_l2};
use crate::{Fixtures, open};

/// Clips and images against the goldens of `tests/fixtures/FOLDER/cases.safetensors`, both ways.
///
/// # Panics
/// If a case fails or the folder holds none.
pub fn check_fixtures(engine: &Arc<dyn Engine>, folder: &str, tolerance: f64) {
    check_decode_fixtures(engine, folder, tolerance);
    check_encode_fixtures(engine, folder, tolerance);
}

/// As [`check_fixtures`], decoding alone: `.raw` of every `decode` case.
///
/// # Panics
/// As [`check_fixtures`].
pub fn check_decode_fixtures(engine: &Arc<dyn Engine>, folder: &str, tolerance: f64) {
    for case in decode_cases(engine, &Fixtures::default(), folder) {
        assert_close(&case.name, &case.got, &case.want, tolerance);
    }
}

/// As [`check_fixtures`], encoding alone: `.latent` of every `encode` case.
///
/// # Panics
/// As [`check_fixtures`].
pub fn check_encode_fixtures(engine: &Arc<dyn Engine>, folder: &str, tolerance: f64) {
    for case in encode_cases(engine, &Fixtures::default(), folder) {
        assert_close(&case.name, &case.got, &case.want, tolerance);
    }
}

/// The name of every case of [`check_fixtures`] and its relative L2 error.
///
/// # Panics
/// If a case cannot be run or the folder holds none.
pub fn fixture_errors(
    engine: &Arc<dyn Engine>,
    fixtures: &Fixtures,
    folder: &str,
) -> Vec<(String, f64)> {
    let (decode, encode) = (
        decode_cases(engine, fixtures, folder),
        encode_cases(engine, fixtures, folder),
    );
    decode
        .chain(encode)
        .map(|case| (case.name, relative_l2(case.got.data(), case.want.data())))
        .collect()
}

/// What an engine made of a golden's input.
struct Case {
    name: String,
    got: Array,
    want: Array,
}

/// Decodes each item of each latent `[B, z, T, h, w]`; wanted is `raw` `[B, 3 r^2, F, 8h, 8w]`, shuffled.
fn decode_cases(
    engine: &Arc<dyn Engine>,
    fixtures: &Fixtures,
    folder: &str,
) -> impl Iterator<Item = Case> {
    let scale = engine.config().scale().unwrap();
    cases(
        fixtures,
        folder,
        "decode",
        ["latent", "raw"],
        move |name, latent, raw| Case {
            name,
            got: decode_whole(engine, &latent),
            want: pixel_shuffle(&raw, scale).unwrap(),
        },
    )
}

fn encode_cases(
    engine: &Arc<dyn Engine>,
    fixtures: &Fixtures,
    folder: &str,
) -> impl Iterator<Item = Case> {
    cases(
        fixtures,
        folder,
        "encode",
        ["pixels", "latent"],
        move |name, pixels, want| Case {
            name,
            got: encode_whole(engine, &pixels),
            want,
        },
    )
}

/// `run` on the items of `NAME.INPUT` and `NAME.OUTPUT` of every case of a side.
fn cases(
    fixtures: &Fixtures,
    folder: &str,
    side: &str,
    [input, output]: [&'static str; 2],
    run: impl Fn(String, Array, Array) -> Case,
) -> impl Iterator<Item = Case> {
    let (file, folder) = (
        fixtures.open(&format!("{folder}/cases.safetensors")),
        folder.to_owned(),
    );
    names(&file, side).into_iter().flat_map(move |name| {
        let input = read(&file, &format!("{name}.{input}"));
        let output = read(&file, &format!("{name}.{output}"));
        let case = |b: usize| {
            run(
                format!("{folder} {name}[{b}]"),
                input.item(b),
                output.item(b),
            )
        };
        (0..input.shape()[0]).map(case).collect::<Vec<_>>()
    })
}

/// The first frame of each clip of `tests/fixtures/FOLDER` is the image that its first latent frame is, and a session that
/// moves to another thread midway gives the bits of one that stays.
///
/// # Panics
/// If one differs. `first` is the tolerance of the first frame; `None` asks for equal bits.
pub fn check_clips(engine: &Arc<dyn Engine>, folder: &str, first: Option<f64>) {
    let cases = open(&format!("{folder}/cases.safetensors"));
    let clips = |side: &str, input: &str| -> Vec<(String, Array)> {
        let clip = |name: String| {
            let array = read(&cases, &format!("{name}.{input}")).item(0);
            (format!("{folder} {name}"), array)
        };
        let all = names(&cases, side).into_iter().map(clip);
        all.filter(|(_, array)| array.shape()[1] > 1).collect()
    };
    let (decode, encode) = (clips("decode", "latent"), clips("encode", "pixels"));
    assert!(decode.len() + encode.len() > 0, "{folder} holds no clips");
    let check = |what: &str, clip: &Array, moved: &Array, image: &Array| {
        assert_same(&format!("{what}, moved"), moved, clip);
        let what = format!("{what}, first frame");
        let got = clip.narrow1(0..1);
        match first {
            None => assert_same(&what, &got, image),
            Some(tolerance) => assert_close(&what, &got, image, tolerance),
        }
    };
    for (what, latent) in decode {
        let image = decode_whole(engine, &latent.narrow1(0..1));
        let moved = decode_moved(engine, &latent);
        check(&what, &decode_whole(engine, &latent), &moved, &image);
    }
    for (what, pixels) in encode {
        let image = encode_whole(engine, &pixels.narrow1(0..1));
        let moved = encode_moved(engine, &pixels);
        check(&what, &encode_whole(engine, &pixels), &moved, &image);
    }
}

/// A session for the latent `[z, T, h, w]`.
///
/// # Panics
/// If it cannot be started.
pub fn decoder(engine: &Arc<dyn Engine>, latent: &Array) -> Decoder {
    let [_, frames, h, w] = latent.dims("latent").unwrap();
    let clip = Extent {
        frames,
        cells: [h, w],
    };
    Decoder::new(engine.clone(), clip).unwrap_or_else(|e| panic!("{e}"))
}

/// A session for the pixels `[3, F, H, W]`.
///
/// # Panics
/// If it cannot be started.
pub fn encoder(engine: &Arc<dyn Engine>, pixels: &Array) -> Encoder {
    let [_, frames, h, w] = pixels.dims("pixels").unwrap();
    let config = engine.config();
    let clip = Extent {
        frames: config.latent_frames(frames),
        cells: [h, w].map(|n| n / config.spatial()),
    };
    Encoder::new(engine.clone(), clip).unwrap_or_else(|e| panic!("{e}"))
}

/// Decodes a clip or an image `[z, T, h, w]` to `[3, F, H, W]`.
///
/// # Panics
/// If a step fails.
pub fn decode_whole(engine: &Arc<dyn Engine>, latent: &Array) -> Array {
    let mut session = decoder(engine, latent);
    let frames = (0..latent.shape()[1]).map(|t| decode_step(&mut session, latent, t));
    Array::concat1(&frames.collect::<Vec<_>>()).unwrap()
}

/// Encodes a clip or an image `[3, F, H, W]` to `[z, T, h, w]`.
///
/// # Panics
/// If a step fails.
pub fn encode_whole(engine: &Arc<dyn Engine>, pixels: &Array) -> Array {
    let mut session = encoder(engine, pixels);
    let latents =
        (0..session.extent().frames).map(|t| encode_step(&mut session, engine, pixels, t));
    Array::concat1(&latents.collect::<Vec<_>>()).unwrap()
}

fn decode_step(session: &mut Decoder, latent: &Array, t: usize) -> Array {
    session
        .step(&latent.narrow1(t..t + 1), &mut |_| ())
        .unwrap_or_else(|e| panic!("{e}"))
}

fn encode_step(session: &mut Encoder, engine: &Arc<dyn Engine>, pixels: &Array, t: usize) -> Array {
    let config = engine.config();
    let frames = config.frames(t)..config.frames(t + 1);
    session
        .step(&pixels.narrow1(frames), &mut |_| ())
        .unwrap_or_else(|e| panic!("{e}"))
}

/// [`decode_whole`] with every step on a thread of its own.
fn decode_moved(engine: &Arc<dyn Engine>, latent: &Array) -> Array {
    let mut session = decoder(engine, latent);
    let mut step = |t| {
        let session = &mut session;
        let run = move || decode_step(session, latent, t);
        thread::scope(|scope| scope.spawn(run).join().unwrap())
    };
    let frames: Vec<_> = (0..latent.shape()[1]).map(&mut step).collect();
    Array::concat1(&frames).unwrap()
}

/// [`encode_whole`] with every step on a thread of its own.
fn encode_moved(engine: &Arc<dyn Engine>, pixels: &Array) -> Array {
    let mut session = encoder(engine, pixels);
    let latents = session.extent().frames;
    let mut step = |t| {
        let session = &mut session;
        let run = move || encode_step(session, engine, pixels, t);
        thread::scope(|scope| scope.spawn(run).join().unwrap())
    };
    let latents: Vec<_> = (0..latents).map(&mut step).collect();
    Array::concat1(&latents).unwrap()
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
    let names: Vec<String> = cases.tensors().keys().filter_map(named).collect();
    assert!(!names.is_empty(), "there are no {side} cases");
    names
}

fn read(cases: &TensorFile, name: &str) -> Array {
    cases.read(name).unwrap_or_else(|e| panic!("{e}"))
}
