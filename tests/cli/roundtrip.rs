//! `roundtrip`: its first round is what `encode` and `decode` give, and the next ones go on from there.

use std::path::Path;

use serde_json::Value;
use vae2x_media::picture::{PictureOptions, read_image, write_image};

use crate::finish::asset;
use crate::support::{entries, fixture, run, text, vae2x};

/// Writes part of a photo, from column `x` on.
fn photo(path: &Path, x: usize, size: [usize; 2]) {
    let whole = read_image(Path::new(&asset("photos/chelsea.png")))
        .unwrap()
        .pixels;
    let rows = whole.narrow1(100..100 + size[0]);
    let [c, h, w] = rows.dims("photo").unwrap();
    let values = rows
        .data()
        .chunks_exact(w)
        .flat_map(|row| &row[x..x + size[1]]);
    let part = vae2x_core::Array::new([c, h, size[1]], values.copied().collect()).unwrap();
    write_image(path, &part, &PictureOptions::default()).unwrap();
}

fn report(arguments: &[&str]) -> Value {
    serde_json::from_str(&run(arguments).ok()).unwrap()
}

fn values(rounds: &Value, key: &str) -> Vec<Option<f64>> {
    let rounds = rounds.as_array().unwrap().iter();
    rounds.map(|round| round[key].as_f64()).collect()
}

#[test]
fn the_first_round_is_encode_and_decode() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    // Cropped to 64x96.
    photo(Path::new(&at("a.png")), 120, [67, 97]);
    let (a, rounds) = (at("a.png"), at("rounds"));
    let trip = ["roundtrip", &a, "--vae", "demo:2x", "--rounds", "3"];
    let more = ["-o", &rounds, "--keep", "--json"];
    let said = report(&[&trip[..], &more].concat());
    let image = &said["images"][0];
    assert_eq!(image["size"], serde_json::json!([64, 96]));
    assert_eq!(
        entries(Path::new(&rounds)),
        [1, 2, 3].map(|n| format!("a_round{n}.png"))
    );

    run(&["encode", &a, "--vae", "demo:2x", "-o", &at("a.npy")]).ok();
    run(&[
        "decode",
        &at("a.npy"),
        "--vae",
        "demo:2x",
        "--scale",
        "1",
        "-o",
        &at("b.png"),
    ])
    .ok();
    let pixels = |path: String| read_image(Path::new(&path)).unwrap().pixels;
    let once = pixels(at("b.png"));
    assert_eq!(pixels(at("rounds/a_round1.png")), once);

    let psnr = values(&image["rounds"], "psnr");
    assert_eq!((psnr.len(), psnr[0]), (4, None));
    photo(Path::new(&at("cropped.png")), 120, [67, 97]);
    let metrics = |of: &str| {
        let (original, of) = (format!("o={}", at("original.png")), format!("r={}", at(of)));
        let said = report(&["metrics", &original, &of, "--reference", "o", "--json"]);
        said["means"][1]["psnr"].as_f64().unwrap()
    };
    let cropped = vae2x_media::fit::crop(&pixels(at("cropped.png")), [64, 96]).unwrap();
    write_image(
        Path::new(&at("original.png")),
        &cropped,
        &PictureOptions::default(),
    )
    .unwrap();
    for round in 1..=3 {
        let saved = metrics(&format!("rounds/a_round{round}.png"));
        // Images are rounded to 8 bits, rounds are not.
        assert!(
            (psnr[round].unwrap() - saved).abs() < 0.05,
            "{round}: {psnr:?} {saved}"
        );
    }
    // Images drift, less in each round.
    let step = values(&image["rounds"], "step_psnr");
    assert!(psnr[1] > psnr[2] && psnr[2] > psnr[3], "{psnr:?}");
    assert!(step[1] == psnr[1] && step[3] > step[1], "{step:?}");
    let mean = |pixels: &vae2x_core::Array, c: usize| {
        let plane = pixels.data().len() / 3;
        let values = &pixels.data()[c * plane..][..plane];
        127.5 * values.iter().map(|&v| f64::from(v)).sum::<f64>() / plane as f64
    };
    for c in 0..3 {
        let shift = image["rounds"][1]["shift"][c].as_f64().unwrap();
        let saved = mean(&once, c) - mean(&cropped, c);
        assert!((shift - saved).abs() < 0.1, "{c}: {shift} {saved}");
    }
}

#[test]
fn clips_are_means_over_their_frames() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("frames")).unwrap();
    for frame in 0..6 {
        photo(&at(&format!("frames/{frame}.png")), 120 + frame, [32, 48]);
    }
    let (frames, out) = (text(&at("frames")), text(&at("out")));
    let weights = fixture("vae_tiny_up2x/original.safetensors");
    let trip = [
        "roundtrip",
        &frames,
        "--clip",
        "--vae",
        &weights,
        "--rounds",
        "2",
        "-o",
        &out,
    ];
    let said = report(&[&trip[..], &["--json"]].concat());
    let image = &said["images"][0];
    // The sixth frame does not fill a latent frame.
    assert_eq!(image["frames"], 5);
    assert_eq!(image["written"].as_array().unwrap().len(), 5);
    let names: Vec<String> = (0..5)
        .map(|i| format!("frames_round2_{i:05}.png"))
        .collect();
    assert_eq!(entries(&at("out")), names);
    let psnr = values(&image["rounds"], "psnr");
    let of_frames = (0..5).map(|i| {
        let (a, b) = (at(&format!("frames/{i}.png")), at("out").join(&names[i]));
        let sides = [format!("a={}", text(&a)), format!("b={}", text(&b))];
        let said = report(&[
            "metrics",
            &sides[0],
            &sides[1],
            "--reference",
            "a",
            "--json",
        ]);
        said["means"][1]["psnr"].as_f64().unwrap()
    });
    let mean = of_frames.sum::<f64>() / 5.0;
    assert!((psnr[2].unwrap() - mean).abs() < 0.05, "{psnr:?} {mean}");
}

#[test]
fn the_table_has_a_line_for_each_round_and_what_fails_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (i, name) in ["a.png", "b.png"].iter().enumerate() {
        photo(&at(name), 120 + i, [32, 32]);
    }
    std::fs::write(at("c.png"), "broken").unwrap();
    let weights = fixture("vae_tiny_up2x/original.safetensors");
    let inputs = text(folder.path());
    let arguments = ["roundtrip", &inputs, "--vae", &weights, "--rounds", "2"];
    let output = vae2x().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let last = errors.lines().last().unwrap();
    assert!(
        last.starts_with("error: 1 of 3 inputs failed: ") && last.ends_with("c.png"),
        "{errors}"
    );
    let table = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][..3], ["image", "round", "step"], "{table}");
    let rounds: Vec<&str> = lines[1..].iter().map(|line| line[1]).collect();
    assert_eq!(rounds, ["0", "1", "2"].repeat(3), "{table}");
    assert!(
        lines[1][0].ends_with("a.png") && lines[9][0] == "mean",
        "{table}"
    );
    assert_eq!(lines[1][2], "-", "{table}");
    run(&["roundtrip", &inputs, "--vae", &weights, "-o", "x.png"]).fails(2);
}
