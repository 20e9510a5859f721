//! Videos that are turned, of fields, or transparent: what is honoured, and what is noted.

use std::path::{Path, PathBuf};
use std::process::Command;

use vae2x_core::Array;
use vae2x_media::frames::{Frame, SourceOptions, open_source};
use vae2x_media::video::Ffmpeg;

fn ffmpeg() -> Option<Ffmpeg> {
    let found = Ffmpeg::find(None).ok();
    assert!(
        found.is_some() || std::env::var_os("VAE2X_TEST_FFMPEG").is_none(),
        "ffmpeg is not installed"
    );
    if found.is_none() {
        println!("skipped: ffmpeg is not installed");
    }
    found
}

/// Runs FFmpeg to make a file of these arguments.
fn made(ffmpeg: &Ffmpeg, path: PathBuf, arguments: &[&str]) -> Option<PathBuf> {
    let mut command = Command::new(ffmpeg.path());
    command.args(["-y", "-v", "error"]).args(arguments);
    let status = command.arg(&path).status().unwrap();
    status.success().then_some(path)
}

fn first_frame(path: &Path) -> Frame {
    let mut source = open_source(path, &SourceOptions::default()).unwrap();
    source.next().unwrap().unwrap()
}

const SOURCE: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.4"];

/// A quarter turn, clockwise or not.
fn turned(image: &Array, clockwise: bool) -> Array {
    let [_, h, w] = image.dims("image").unwrap();
    let value = |i: usize| {
        let (c, y, x) = (i / (h * w), i / h % w, i % h);
        let (from_y, from_x) = match clockwise {
            true => (h - 1 - x, y),
            false => (x, w - 1 - y),
        };
        image.data()[(c * h + from_y) * w + from_x]
    };
    Array::new([3, w, h], (0..3 * h * w).map(value).collect()).unwrap()
}

fn mean_difference(a: &Array, b: &Array) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let sum: f32 = a
        .data()
        .iter()
        .zip(b.data())
        .map(|(a, b)| (a - b).abs())
        .sum();
    sum / a.data().len() as f32
}

#[test]
fn turned_videos_are_upright() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.mp4");
    let plain = made(
        &ffmpeg,
        plain,
        &[&SOURCE[..], &["-pix_fmt", "yuv420p"]].concat(),
    )
    .unwrap();
    let input = plain.to_str().unwrap();
    // Versions before 6 have the option on the output.
    let later = ["-display_rotation", "90", "-i", input, "-c", "copy"];
    let earlier = ["-i", input, "-c", "copy", "-metadata:s:v:0", "rotate=90"];
    let path = folder.path().join("turned.mp4");
    let made = made(&ffmpeg, path.clone(), &later).or_else(|| made(&ffmpeg, path, &earlier));
    let made = made.unwrap();
    let spec = open_source(&made, &SourceOptions::default())
        .unwrap()
        .spec()
        .clone();
    assert_eq!(spec.size, [64, 48]);
    let (before, after) = (first_frame(&plain), first_frame(&made));
    let differences =
        [true, false].map(|way| mean_difference(&after.pixels, &turned(&before.pixels, way)));
    let [least, most] = [
        differences[0].min(differences[1]),
        differences[0].max(differences[1]),
    ];
    // The places of colours of half the resolution turn as well.
    assert!(least < 0.06 && most > 0.3, "{differences:?}");
    assert!(after.notes.is_empty(), "{:?}", after.notes);
}

#[test]
fn fields_and_transparency_are_noted() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let noted = |name: &str, arguments: &[&str]| {
        let path = folder.path().join(name);
        let path = made(&ffmpeg, path, &[&SOURCE[..], arguments].concat()).unwrap();
        first_frame(&path).notes
    };
    let fields = ["-vf", "setfield=tff", "-pix_fmt", "yuv420p", "-c:v", "ffv1"];
    let notes = noted("fields.mkv", &fields);
    assert!(
        notes.len() == 1 && notes[0].contains("interlaced"),
        "{notes:?}"
    );
    let notes = noted("clear.mkv", &["-vf", "format=yuva420p", "-c:v", "ffv1"]);
    assert!(
        notes.len() == 1 && notes[0].contains("transparency"),
        "{notes:?}"
    );
    assert!(noted("plain.mkv", &["-pix_fmt", "yuv420p", "-c:v", "ffv1"]).is_empty());
}
