//! `metrics` against the reference implementations, and `speckle` on images and models.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vae2x_core::Array;
use vae2x_core::weights::formula::unit;
use vae2x_media::picture::{PictureOptions, read_image, write_image};
use vae2x_media::pixels::{from_u8, interleave, picture_size, planar, to_u8};
use vae2x_media::resample::halve;

use crate::support::{run, text};

/// Interleaved samples of 0 to 255, their height and width.
#[derive(Clone)]
struct Samples(Vec<i32>, [usize; 2]);

impl Samples {
    fn photo(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/photos/{name}.png"));
        let picture = read_image(&path).unwrap().pixels;
        let samples = interleave(&picture, to_u8)
            .unwrap()
            .into_iter()
            .map(i32::from)
            .collect();
        Self(samples, picture_size(&picture).unwrap())
    }

    fn constant(rgb: [i32; 3]) -> Self {
        Self(rgb.repeat(176 * 192), [176, 192])
    }

    /// `value(self, y, x, c)` at every sample, clamped.
    fn map(&self, value: impl Fn(&Self, usize, usize, usize) -> i32) -> Self {
        let [_, w] = self.1;
        let at = |i: usize| value(self, i / 3 / w, i / 3 % w, i % 3).clamp(0, 255);
        Self((0..self.0.len()).map(at).collect(), self.1)
    }

    /// The sample, that of the last row and column beyond them.
    fn at(&self, y: usize, x: usize, c: usize) -> i32 {
        let [h, w] = self.1;
        self.0[(y.min(h - 1) * w + x.min(w - 1)) * 3 + c]
    }

    fn picture(&self) -> Array {
        planar(&self.0, self.1, |v| from_u8(u8::try_from(v).unwrap())).unwrap()
    }
}

/// As in `tools/reference/metrics.py`.
fn distorted(photo: &Samples, how: &str) -> Samples {
    let [h, w] = photo.1;
    let noise: Vec<f32> = unit("metrics.noise", 3 * h * w).collect();
    match how {
        "blurred" => photo.map(|p, y, x, c| {
            (p.at(y, x, c) + p.at(y + 1, x, c) + p.at(y, x + 1, c) + p.at(y + 1, x + 1, c) + 2) / 4
        }),
        "noisy" => photo.map(|p, y, x, c| {
            p.at(y, x, c) + ((noise[(c * h + y) * w + x] + 1.0) * 8.0).floor() as i32 - 8
        }),
        _ => photo.map(|p, y, x, c| match c {
            0 => p.at(y, x, 0) * 15 / 16 + 12,
            1 => p.at(y, x, 1),
            _ => p.at(y, x, 2) * 17 / 16,
        }),
    }
}

fn write(folder: &Path, name: &str, picture: &Array) -> PathBuf {
    let path = folder.join(name);
    write_image(&path, picture, &PictureOptions::default()).unwrap();
    path
}

fn side(name: &str, path: &Path) -> String {
    format!("{name}={}", text(path))
}

fn json(args: &[String]) -> Value {
    serde_json::from_str(&run(args).ok()).unwrap()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// Values of scikit-image, pytorch-msssim, lpips, colour-science and scipy.
#[test]
fn every_metric_is_its_reference() {
    /// Relative above 1, absolute below.
    const TOLERANCE: f64 = 1e-4;
    let has_network = cfg!(feature = "train");
    let fixture = include_str!("../fixtures/metrics.json");
    let fixture: serde_json::Map<String, Value> = serde_json::from_str(fixture).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, cases) in &fixture {
        let mut args = words(&["metrics", "--reference", "original", "--json"]);
        // The one metric that needs a network, which comes with the feature.
        if has_network && cases.to_string().contains("lpips") {
            args.extend(words(&["--lpips", "formula"]));
        }
        let original = match name.as_str() {
            "constant" => Samples::constant([120, 130, 140]),
            photo => Samples::photo(photo),
        };
        args.push(side(
            "original",
            &write(folder.path(), "original.png", &original.picture()),
        ));
        let cases = cases.as_object().unwrap();
        for how in cases.keys() {
            let other = if how == "other" {
                Samples::constant([122, 127, 150])
            } else {
                distorted(&original, how)
            };
            args.push(side(
                how,
                &write(folder.path(), &format!("{how}.png"), &other.picture()),
            ));
        }
        let result = json(&args);
        for (how, metrics) in cases {
            let of = |entry: &&Value| entry["name"] == how.as_str();
            let got = result["pictures"]
                .as_array()
                .unwrap()
                .iter()
                .find(of)
                .unwrap();
            let metrics = metrics.as_object().unwrap().iter();
            for (metric, want) in metrics.filter(|(name, _)| has_network || *name != "lpips") {
                let (got, want) = (got[metric].as_f64().unwrap(), want.as_f64().unwrap());
                let error = (got - want).abs() / want.abs().max(1.0);
                assert!(
                    error <= TOLERANCE,
                    "{name} {how} {metric}: {got}, not {want}"
                );
            }
        }
    }
}

#[test]
fn sizes_are_brought_together_and_means_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let dirs = ["photo", "same", "half"].map(|name| folder.path().join(name));
    dirs.iter()
        .for_each(|dir| std::fs::create_dir(dir).unwrap());
    for name in ["chelsea", "coffee"] {
        let photo = Samples::photo(name).picture();
        let [h, w] = picture_size(&photo).unwrap().map(|n| n / 2 * 2);
        let photo = crop(&photo, [h, w]);
        write(&dirs[0], &format!("{name}.png"), &photo);
        write(&dirs[1], &format!("{name}.webp"), &photo);
        write(&dirs[2], &format!("{name}.png"), &halve(&photo).unwrap());
    }
    write(&dirs[2], "alone.png", &Array::zeros([3, 200, 200]));
    let sides = [
        side("photo", &dirs[0]),
        side("same", &dirs[1]),
        side("half", &dirs[2]),
    ];
    let args = [words(&["metrics", "--reference", "photo"]), sides.to_vec()].concat();
    let said = run(&args).ok_stderr();
    assert!(
        said.contains("300x200") && said.contains("600x400") && said.contains("alone: "),
        "{said}"
    );
    let table = run(&args).ok();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 1 + 2 * 3 + 3, "{table}");
    assert_eq!(lines[1][..3], ["chelsea", "photo", "-"], "{table}");
    assert_eq!(
        lines[2][..4],
        ["chelsea", "same", "inf", "1.0000"],
        "{table}"
    );
    assert_eq!(lines[9][..2], ["mean", "half"], "{table}");
    let result = json(&[args, words(&["--json"])].concat());
    let half = &result["pictures"][5];
    assert_eq!(
        (half["scale"].as_u64(), half["resampled_to"].clone()),
        (Some(1), serde_json::json!([400, 600]))
    );
    assert_eq!(result["pictures"][3]["scale"], 2);
    assert_eq!(
        (
            result["pictures"][1]["psnr"].as_str(),
            result["means"][0]["psnr"].is_null()
        ),
        (Some("inf"), true)
    );
    let psnr = |entry: &Value| entry["psnr"].as_f64().unwrap();
    let mean = (psnr(&result["pictures"][2]) + psnr(half)) / 2.0;
    assert!(
        (psnr(&result["means"][2]) - mean).abs() < 1e-9 && mean > 20.0,
        "{result}"
    );
    assert!(
        result["pictures"][0].get("lpips").is_none(),
        "no weights were given"
    );
}

fn crop(picture: &Array, [height, width]: [usize; 2]) -> Array {
    let [h, w] = picture_size(picture).unwrap();
    let at =
        |i: usize| picture.data()[(i / (height * width) * h + i / width % height) * w + i % width];
    Array::new(
        [3, height, width],
        (0..3 * height * width).map(at).collect(),
    )
    .unwrap()
}

#[test]
fn comparisons_that_cannot_be_meant() {
    let folder = tempfile::tempdir().unwrap();
    let square = write(folder.path(), "square.png", &Array::zeros([3, 64, 64]));
    let wide = write(folder.path(), "wide.png", &Array::zeros([3, 32, 64]));
    let sides = [side("a", &square), side("b", &wide)];
    let refused = |more: &[&str], code: i32| {
        run(&[words(&["metrics"]), words(more), sides.to_vec()].concat()).fails(code)
    };
    let message = refused(&["--reference", "c"], 2);
    assert!(message.contains("a, b"), "{message}");
    let message = refused(&["--reference", "a"], 1);
    assert!(
        message.contains("wide.png") && message.contains("64x32") && message.contains("64x64"),
        "{message}"
    );
    if cfg!(feature = "train") {
        let message = refused(&["--reference", "a", "--lpips", &text(&square)], 1);
        assert!(
            message.contains("--lpips") && message.contains("square.png"),
            "{message}"
        );
    } else {
        let message = refused(&["--reference", "a", "--lpips", "vgg16"], 2);
        assert!(message.contains("--features train"), "{message}");
    }
    run(&["metrics", "a.png", "--reference", "a"]).fails(2);
    run(&["metrics", &sides[0], "--reference", "a"]).fails(1);
}

#[test]
fn speckle_of_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let grey = |amplitude: f64| {
        let value = |i: usize| {
            (amplitude * (std::f64::consts::TAU * (i % 256) as f64 / 8.0).cos() / 127.5) as f32
        };
        Array::new([3, 256, 256], (0..3 * 256 * 256).map(value).collect()).unwrap()
    };
    write(folder.path(), "grid.png", &grey(3.0));
    write(folder.path(), "none.png", &grey(0.0));
    let result = json(&words(&["speckle", &text(folder.path()), "--json"]));
    let [grid, none] = [0, 1].map(|i| &result[i]);
    assert!(grid["file"].as_str().unwrap().ends_with("grid.png"));
    assert!(
        grid["speckle_db"].as_f64().unwrap() > 10.0 && grid["period"] == 8,
        "{grid}"
    );
    // Rounded to 8 bits, without noise to carry what is between.
    assert!(
        (grid["amplitude"].as_f64().unwrap() - 3.0).abs() < 0.3,
        "{grid}"
    );
    assert!(
        none["speckle_db"].as_f64().unwrap() < 0.01
            && none["flat_share"] == 1.0
            && none["lattice_energy_db"] == 0.0,
        "{none}"
    );
    let twice = json(&words(&[
        "speckle",
        &text(folder.path()),
        "--json",
        "--scale",
        "2",
    ]));
    assert_eq!(twice[0]["periods"].as_array().unwrap().len(), 5);
    let table = run(&["speckle", &text(folder.path())]).ok();
    assert!(
        table.lines().next().unwrap().contains("16 px") && table.lines().count() == 3,
        "{table}"
    );
    let small = write(folder.path(), "small.png", &Array::zeros([3, 100, 300]));
    let message = run(&["speckle", &text(&small)]).fails(1);
    assert!(
        message.contains("small.png") && message.contains("128x128"),
        "{message}"
    );
    run(&["speckle"]).fails(2);
    run(&["speckle", &text(&small), "--vae", "demo:base"]).fails(2);
}

#[test]
fn speckle_of_models_is_that_of_their_probe_latents() {
    let result = json(&words(&["speckle", "--vae", "demo:base", "--json"]));
    let probes = result["probes"].as_array().unwrap();
    let names: Vec<&str> = probes
        .iter()
        .map(|p| p["probe"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "noise 0.05",
            "noise 0.1",
            "noise 0.2",
            "noise 0.3",
            "slope",
            "slope, noise 0.1",
            "softened 0.5",
            "softened 1"
        ]
    );
    for key in ["speckle_db", "lattice_energy_db"] {
        let values: Vec<f64> = probes.iter().map(|p| p[key].as_f64().unwrap()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let highest = values.iter().copied().fold(0.0, f64::max);
        assert!(
            (result["mean"][key].as_f64().unwrap() - mean).abs() < 1e-9,
            "{result}"
        );
        assert_eq!(result["highest"][key], highest, "{result}");
        // The demo's models have no visible grid.
        assert!((0.0..5.0).contains(&highest), "{key}: {values:?}");
    }
    // What the first score does not see: where noise is decoded, detail is not the same all over a cell.
    assert!(
        probes[3]["lattice_energy_db"].as_f64().unwrap() > 1.0,
        "{result}"
    );
    let table = run(&["speckle", "--vae", "demo:base"]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines.len() == 11 && lines[9].contains("mean") && lines[10].contains("highest"),
        "{table}"
    );
    assert!(
        lines[0].contains("lattice dB") && lines[0].contains("lattice 16 px"),
        "{table}"
    );
}
