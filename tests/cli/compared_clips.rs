//! Clips in `compare` and `metrics`: videos and folders of frames, in step. How they play is tested in `crates/compare`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vae2x_core::Array;
use vae2x_media::picture::{PictureOptions, write_image};

use crate::support::{entries, finish, run, text, without_ffmpeg};

/// Writes `values.len()` grey frames as plain video in 4:4:4, full of `values`.
fn write_y4m(path: &Path, values: &[u8], [h, w]: [usize; 2]) {
    let mut bytes = format!("YUV4MPEG2 W{w} H{h} F12:1 C444\n").into_bytes();
    for value in values {
        bytes.extend(b"FRAME\n");
        for plane in [*value, 128, 128] {
            bytes.resize(bytes.len() + h * w, plane);
        }
    }
    std::fs::write(path, bytes).unwrap();
}

/// Writes grey frames into a folder.
fn write_frames(folder: &Path, values: &[u8], size: [usize; 2]) {
    std::fs::create_dir(folder).unwrap();
    for (i, value) in values.iter().enumerate() {
        let grey = f32::from(*value) / 127.5 - 1.0;
        let image = Array::new([3, size[0], size[1]], vec![grey; 3 * size[0] * size[1]]).unwrap();
        // Without zeros before it: 10 comes behind 9.
        let path = folder.join(format!("f{i}.png"));
        write_image(&path, &image, &PictureOptions::default()).unwrap();
    }
}

fn metrics(sides: &[String], more: &[&str]) -> crate::support::Run {
    let sides = sides.iter().map(String::as_str);
    let fixed = ["--reference", "a"].into_iter().chain(more.iter().copied());
    run(&["metrics"]
        .into_iter()
        .chain(sides)
        .chain(fixed)
        .collect::<Vec<_>>())
}

/// PSNR of grey frames that differ by so many steps of limited range.
fn psnr(steps: f64) -> f64 {
    -20.0 * (steps / 219.0).log10()
}

#[test]
fn metrics_of_clips_are_means_and_name_the_worst_frame() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_y4m(&at("a.y4m"), &[100; 5], [32, 48]);
    let others = [101, 102, 110, 102, 101];
    write_y4m(&at("b.y4m"), &others, [32, 48]);
    let sides = [
        format!("a={}", text(&at("a.y4m"))),
        format!("b={}", text(&at("b.y4m"))),
    ];
    let report: Value = serde_json::from_str(&metrics(&sides, &["--json"]).ok()).unwrap();
    let [a, b] = [0, 1].map(|i| &report["pictures"][i]);
    assert_eq!((&a["name"], &b["name"]), (&"a".into(), &"b".into()));
    assert_eq!(b["frames"], serde_json::json!([0, 1, 2, 3, 4]));
    assert!(a["psnr"].is_null() && a["worst"]["psnr"].is_null());
    let by_frame: Vec<f64> = serde_json::from_value(b["by_frame"]["psnr"].clone()).unwrap();
    for (value, other) in by_frame.iter().zip(others) {
        let exact = psnr(f64::from(other) - 100.0);
        assert!((value - exact).abs() < 0.01, "{value} {exact}");
    }
    let mean = by_frame.iter().sum::<f64>() / 5.0;
    assert!((b["psnr"].as_f64().unwrap() - mean).abs() < 1e-9);
    assert_eq!(report["means"][1]["psnr"], b["psnr"]);
    assert_eq!(b["worst"]["psnr"]["frame"], 2);
    assert_eq!(b["worst"]["psnr"]["value"], by_frame[2]);
    // Frames keep their numbers in a part of the clip.
    let part = metrics(&sides, &["--json", "--range", "1..4", "--every", "3"]).ok();
    let part: Value = serde_json::from_str(&part).unwrap();
    assert_eq!(part["pictures"][1]["frames"], serde_json::json!([1, 4]));
    assert_eq!(part["pictures"][1]["worst"]["psnr"]["frame"], 1);
    let said = metrics(&sides, &[]).ok();
    assert!(
        said.contains("26.81 (frame 2)") && said.contains("worst"),
        "{said}"
    );
}

#[test]
fn folders_of_frames_are_clips_when_they_are_meant_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let values: Vec<u8> = (0..12).map(|i| 40 + 10 * i).collect();
    write_frames(&at("a"), &values, [16, 16]);
    let mut other = values.clone();
    other[10] += 4;
    // Of twice the size.
    write_frames(&at("large"), &other, [32, 32]);
    let sides = [
        format!("a={}", text(&at("a"))),
        format!("b={}", text(&at("large"))),
    ];
    let clips = metrics(&sides, &["--clip", "--json"]);
    let said = metrics(&sides, &["--clip"]).ok_stderr();
    assert_eq!(
        said.matches("resampled from 32x32 to 16x16").count(),
        1,
        "{said}"
    );
    let clips: Value = serde_json::from_str(&clips.ok()).unwrap();
    assert_eq!(clips["pictures"].as_array().unwrap().len(), 2);
    assert_eq!(clips["pictures"][1]["worst"]["psnr"]["frame"], 10);
    assert_eq!(clips["pictures"][1]["by_frame"]["psnr"][9], "inf");
    // Otherwise they are images.
    let images: Value = serde_json::from_str(&metrics(&sides, &["--json"]).ok()).unwrap();
    assert_eq!(images["pictures"].as_array().unwrap().len(), 24);
    // A video and a folder.
    write_y4m(&at("v.y4m"), &[16; 12], [16, 16]);
    let mixed = [sides[0].clone(), format!("b={}", text(&at("v.y4m")))];
    let mixed: Value = serde_json::from_str(&metrics(&mixed, &["--clip", "--json"]).ok()).unwrap();
    assert_eq!(mixed["pictures"][1]["frames"].as_array().unwrap().len(), 12);
}

#[test]
fn clips_of_other_lengths_and_sides_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_y4m(&at("long.y4m"), &[50; 9], [16, 16]);
    write_y4m(&at("short.y4m"), &[50; 7], [16, 16]);
    write_y4m(&at("wide.y4m"), &[50; 9], [16, 32]);
    let sides = |name: &str| {
        [
            format!("a={}", text(&at("long.y4m"))),
            format!("b={}", text(&at(name))),
        ]
    };
    let short = sides("short.y4m");
    let said = metrics(&short, &[]).fails(1);
    for fact in ["9 in ", "long.y4m", "7 in ", "short.y4m", "--range 0..6"] {
        assert!(said.contains(fact), "'{fact}' is not in: {said}");
    }
    metrics(&short, &["--range", "0..6"]).ok();
    assert!(
        metrics(&short, &["--range", "3..7"])
            .fails(1)
            .contains("frames 3 to 7")
    );
    metrics(&short, &["--range", "7..3"]).fails(2);
    metrics(&short, &["--every", "0"]).fails(2);
    let said = metrics(&sides("wide.y4m"), &[]).fails(1);
    assert!(
        said.contains("frame 0") && said.contains("wide.y4m"),
        "{said}"
    );
    // Nor is an image a clip of nine frames.
    let image = Array::zeros([3, 16, 16]);
    write_image(&at("i.png"), &image, &PictureOptions::default()).unwrap();
    let said = metrics(&sides("i.png"), &[]).fails(1);
    assert!(said.contains("1 in ") && said.contains("i.png"), "{said}");
}

fn compare(sides: &[&Path], out: &Path, more: &[&str]) -> crate::support::Run {
    let sides: Vec<String> = sides.iter().map(|path| text(path)).collect();
    let out = text(out);
    let mut arguments = vec!["compare"];
    arguments.extend(sides.iter().map(String::as_str));
    arguments.extend(["-o", &out]);
    arguments.extend(more);
    run(&arguments)
}

/// The page's own data.
fn report(page: &str) -> Value {
    let (_, rest) = page
        .split_once("<script id=\"report\" type=\"application/json\">")
        .unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn the_page_has_every_frame_of_every_clip() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_frames(&at("a"), &[10, 20, 30, 40], [16, 24]);
    write_y4m(&at("b.y4m"), &[30, 40, 50, 60], [16, 24]);
    let out = at("page.html");
    let said = compare(&[&at("a"), &at("b.y4m")], &out, &["--clip"]).ok();
    assert!(said.contains("1 row, 2 clips"), "{said}");
    assert_eq!(entries(folder.path()), ["a", "b.y4m", "page.html"]);
    let page = std::fs::read_to_string(&out).unwrap();
    let row = &report(&page)["rows"][0];
    assert_eq!(row["timeline"]["numbers"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!(row["timeline"]["rate"], 12.0, "that of the video");
    let frame = |id: &str| {
        use base64::Engine;
        let start = format!("<div id=\"{id}\" hidden><script type=\"text/plain\">");
        let (_, rest) = page.split_once(&start).unwrap();
        let base64 = rest.split_once("</script>").unwrap().0;
        base64::engine::general_purpose::STANDARD
            .decode(base64)
            .unwrap()
    };
    for i in 0..4 {
        // Files are there as they are.
        let file = std::fs::read(at("a").join(format!("f{i}.png"))).unwrap();
        assert!(frame(&format!("picture-0-0-{i}")) == file);
        let made = frame(&format!("picture-0-1-{i}"));
        let pixels = vae2x_media::picture::decode_image(Path::new("made"), &made)
            .unwrap()
            .pixels;
        let grey = (f64::from(pixels.data()[0]) + 1.0) / 2.0 * 219.0;
        assert!((grey - 14.0 - 10.0 * i as f64).abs() < 0.5, "{grey}");
    }
    assert!(!page.contains("picture-0-0-4"));
    assert!(page.contains("4 frames at 12 per second") && page.contains("frame 3</button>"));
    // A part of the clip, and of the image.
    let part = [
        "--clip", "--range", "1..", "--every", "2", "--crop", "8x8+2+2", "--fps", "8",
    ];
    compare(&[&at("a"), &at("b.y4m")], &out, &part).ok();
    let report = report(&std::fs::read_to_string(&out).unwrap());
    let row = &report["rows"][0];
    assert_eq!(row["timeline"]["numbers"], serde_json::json!([1, 3]));
    assert_eq!(row["timeline"]["rate"], 8.0);
    assert_eq!(row["pictures"][1]["width"], 8);
}

#[test]
fn clips_that_do_not_fit_into_a_page_are_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["a", "b"] {
        write_frames(&at(name), &[10; 20], [64, 64]);
    }
    let before = entries(folder.path());
    let out = at("page.html");
    let said = compare(
        &[&at("a"), &at("b")],
        &out,
        &["--clip", "--page-limit", "2000B"],
    )
    .fails(1);
    for fact in ["--page-limit", "--range 0..", "--every ", "--crop"] {
        assert!(said.contains(fact), "'{fact}' is not in: {said}");
    }
    assert_eq!(entries(folder.path()), before);
    // As images they are not limited.
    compare(&[&at("a"), &at("b")], &out, &["--page-limit", "2000B"]).ok();
}

#[test]
fn a_clip_that_breaks_stops_no_other_row() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for side in ["a", "b"] {
        std::fs::create_dir(at(side)).unwrap();
        write_y4m(&at(side).join("good.y4m"), &[50, 60], [16, 16]);
        write_y4m(&at(side).join("bad.y4m"), &[50, 60], [16, 16]);
        let image = Array::zeros([3, 16, 16]);
        write_image(&at(side).join("i.png"), &image, &PictureOptions::default()).unwrap();
    }
    std::fs::write(at("b").join("bad.y4m"), "YUV4MPEG2 W2 H2\nFRAME\nx").unwrap();
    let out = at("page.html");
    let said = compare(&[&at("a"), &at("b")], &out, &[]).fails(1);
    assert!(
        said.contains("bad.y4m") && said.contains("failed: bad"),
        "{said}"
    );
    let report = report(&std::fs::read_to_string(&out).unwrap());
    let names: Vec<_> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert_eq!(names, ["good", "i"]);
    let [a, b] = ["a", "b"].map(|name| format!("{name}={}", text(&at(name))));
    let said = metrics(&[a, b], &["--json"]).fails(1);
    assert!(said.contains("failed: bad"), "{said}");
    // A frame that breaks later.
    write_frames(&at("c"), &[10; 4], [16, 16]);
    write_frames(&at("d"), &[10; 4], [16, 16]);
    let frame = at("d").join("f2.png");
    let bytes = std::fs::read(&frame).unwrap();
    std::fs::write(&frame, &bytes[..bytes.len() - 30]).unwrap();
    let before = entries(folder.path());
    let said = compare(&[&at("c"), &at("d")], &at("e.html"), &["--clip"]).fails(1);
    assert!(said.contains("f2.png"), "{said}");
    assert_eq!(entries(folder.path()), before);
}

#[test]
fn videos_that_ffmpeg_reads_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_y4m(&at("a.y4m"), &[60, 90, 120, 150, 180], [32, 32]);
    // Without it the message says what is missing.
    let missing = finish(
        without_ffmpeg()
            .args(["metrics", "--reference", "a"])
            .arg(format!("a={}", text(&at("a.y4m"))))
            .arg(format!(
                "b={}",
                text(&{
                    std::fs::write(at("b.webm"), "no video").unwrap();
                    at("b.webm")
                })
            )),
    )
    .fails(1);
    assert!(missing.contains("ffmpeg is not installed"), "{missing}");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i", &text(&at("a.y4m"))])
        .args(["-c:v", "ffv1", "-pix_fmt", "yuv444p", &text(&at("b.mkv"))])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("VAE2X_TEST_FFMPEG").is_none());
        println!("skipped: there is no FFmpeg");
        return;
    }
    let sides = ["a.y4m", "b.mkv"].map(|name| format!("{}={}", &name[..1], text(&at(name))));
    let report: Value = serde_json::from_str(&metrics(&sides, &["--json"]).ok()).unwrap();
    let worst = report["pictures"][1]["worst"]["psnr"]["value"].clone();
    let worst = worst.as_f64().unwrap_or(f64::INFINITY);
    assert!(worst > 45.0, "{worst}");
    compare(&[&at("a.y4m"), &at("b.mkv")], &at("page.html"), &[]).ok();
}
