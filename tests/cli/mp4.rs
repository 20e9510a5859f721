//! One real video file without FFmpeg.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vae2x_core::Array;
use vae2x_media::picture::read_image;

use crate::support::{Run, decode_clip, entries, finish, text, without_ffmpeg, write_safetensors};

fn alone(arguments: &[&str]) -> Command {
    let mut command = without_ffmpeg();
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Run {
    finish(&mut alone(arguments))
}

fn decode(out: &Path, more: &[&str]) -> Run {
    finish(without_ffmpeg().args(decode_clip(out)).args(more))
}

/// In decibels, of [0, 1].
fn psnr(a: &Array, b: &Array) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let pairs = a.data().iter().zip(b.data());
    let square = pairs
        .map(|(a, b)| f64::from((a - b) / 2.0).powi(2))
        .sum::<f64>();
    -10.0 * (square / a.data().len() as f64).log10()
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("-version").output().is_ok();
    assert!(
        found || std::env::var_os("VAE2X_TEST_FFMPEG").is_none(),
        "{program} is not installed"
    );
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

fn probed(path: &Path, entries: &str) -> String {
    let arguments = "-v error -count_frames -select_streams v:0 -of csv=p=0 -show_entries";
    let mut command = Command::new("ffprobe");
    command.args(arguments.split(' ')).arg(entries).arg(path);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What FFmpeg makes of a file's frames: images in a folder.
fn images_of(path: &Path, folder: &Path) -> Vec<PathBuf> {
    std::fs::create_dir(folder).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path);
    command.args(["-sws_flags", "accurate_rnd+full_chroma_int+bicubic"]);
    let status = command.arg(folder.join("%05d.png")).status().unwrap();
    assert!(status.success());
    entries(folder)
        .iter()
        .map(|name| folder.join(name))
        .collect()
}

#[test]
fn a_clip_is_decoded_to_a_file_that_players_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let said = decode(&at("clip.mp4"), &["--fps", "24000/1001", "--crf", "12"]).ok_stderr();
    assert_eq!(said.matches("written without FFmpeg").count(), 1, "{said}");
    decode(&at("images"), &[]).ok();
    let names = entries(&at("images"));
    assert_eq!(entries(folder.path()), ["clip.mp4", "images"]);
    if !has("ffprobe") || !has("ffmpeg") {
        return;
    }
    let facts = "stream=codec_name,profile,width,height,pix_fmt,r_frame_rate,nb_read_frames";
    assert_eq!(
        probed(&at("clip.mp4"), facts),
        "h264,Constrained Baseline,24,48,yuv420p,24000/1001,5"
    );
    let tags = "stream=color_range,color_space,color_transfer,color_primaries";
    assert_eq!(probed(&at("clip.mp4"), tags), "tv,bt709,bt709,bt709");
    let found = images_of(&at("clip.mp4"), &at("found"));
    assert_eq!(found.len(), names.len());
    for (found, name) in found.iter().zip(names) {
        let [found, exact] = [found.clone(), at("images").join(name)];
        let quality = psnr(
            &read_image(&found).unwrap().pixels,
            &read_image(&exact).unwrap().pixels,
        );
        // Of frames whose colours differ from pixel to pixel.
        assert!(quality > 24.0, "{}: {quality} dB", found.display());
    }
}

#[test]
fn what_needs_ffmpeg_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, more, expected) in [
        ("a.mp4", &["--codec", "h265"][..], "--codec needs it"),
        (
            "a.mp4",
            &["--pixel-format", "yuv444p"],
            "--pixel-format needs it",
        ),
        ("a.mp4", &["--audio", "sound.wav"], "sound needs it"),
        ("a.mov", &["--codec", "h264"], "only .mp4 and .y4m"),
        ("a.webm", &[], "only .mp4 and .y4m"),
    ] {
        let said = decode(&at(name), more).fails(1);
        assert!(said.contains("ffmpeg is not installed"), "{said}");
        assert!(
            said.contains(expected) && said.contains("--ffmpeg"),
            "{said}"
        );
    }
    let said = decode(&at("a.mp4"), &["--crf", "52"]).fails(2);
    assert!(said.contains("0 to 51"), "{said}");
    assert_eq!(entries(folder.path()), [] as [&str; 0]);
}

/// Frames of squares that move, as plain video.
fn write_y4m(path: &Path, frames: usize, [h, w]: [usize; 2]) {
    let mut bytes = format!("YUV4MPEG2 W{w} H{h} F12:1 Ip A1:1 C444\n").into_bytes();
    for t in 0..frames {
        bytes.extend(b"FRAME\n");
        for plane in 0..3 {
            for i in 0..h * w {
                let square = (i % w / 8 + i / w / 8 + t / 2) % 2;
                bytes.push((60 + plane * 30 + square * 40 + i % w) as u8);
            }
        }
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn videos_are_read_and_written_in_one_go() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let upscale = |from: &str, to: &str| {
        let (from, to) = (text(&at(from)), text(&at(to)));
        run(&["upscale", &from, "--vae", "demo:2x", "-o", &to]).ok_stderr()
    };
    // One frame, and sides that are odd.
    for (count, size, shown) in [(7, [18, 31], "62x36"), (1, [16, 16], "32x32")] {
        write_y4m(&at("in.y4m"), count, size);
        upscale("in.y4m", "once.mp4");
        upscale("once.mp4", "twice.mp4");
        if has("ffprobe") {
            let facts = "stream=width,height,r_frame_rate,nb_read_frames";
            let (w, h) = shown.split_once('x').unwrap();
            assert_eq!(
                probed(&at("once.mp4"), facts),
                format!("{w},{h},12/1,{count}")
            );
        }
        let info = run(&[
            "encode",
            &text(&at("twice.mp4")),
            "--vae",
            "demo:base",
            "-o",
            &text(&at("l.npy")),
        ]);
        info.ok();
    }
}

#[test]
fn workflows_go_in_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let image = Array::zeros([3, 16, 16]);
    let workflow = "{\"nodes\": [\"\u{e4}\"]}";
    let metadata = vec![
        ("prompt".to_owned(), "{\"3\": 1}".to_owned()),
        ("workflow".to_owned(), workflow.to_owned()),
    ];
    std::fs::create_dir(at("frames")).unwrap();
    for i in 0..2 {
        let options = vae2x_media::picture::PictureOptions {
            metadata: metadata.clone().into(),
            ..Default::default()
        };
        let path = at("frames").join(format!("{i}.png"));
        vae2x_media::picture::write_image(&path, &image, &options).unwrap();
    }
    let (frames, clip, again) = (text(&at("frames")), text(&at("a.mp4")), text(&at("b.mp4")));
    run(&[
        "upscale", &frames, "--clip", "--vae", "demo:2x", "-o", &clip,
    ])
    .ok();
    run(&["upscale", &clip, "--vae", "demo:2x", "-o", &again]).ok();
    if has("ffprobe") {
        for path in ["a.mp4", "b.mp4"] {
            assert_eq!(
                probed(&at(path), "format_tags=prompt"),
                "\"{\"\"3\"\": 1}\""
            );
            assert!(
                probed(&at(path), "format_tags=workflow").contains("nodes"),
                "{path}"
            );
        }
    }
}

#[test]
fn files_that_are_no_videos_are_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let encode = |name: &str| {
        let (from, to) = (text(&at(name)), text(&at("l.latent")));
        run(&["encode", &from, "--vae", "demo:base", "-o", &to]).fails(1)
    };
    std::fs::write(at("text.mp4"), "dear diary").unwrap();
    assert!(encode("text.mp4").contains("text.mp4: not an MP4 file"));
    decode(&at("cut.mp4"), &[]).ok();
    let whole = std::fs::read(at("cut.mp4")).unwrap();
    std::fs::write(at("cut.mp4"), &whole[..whole.len() - 9]).unwrap();
    assert!(encode("cut.mp4").contains("is it cut off?"));
    std::fs::write(at("other.mkv"), "dear diary").unwrap();
    assert!(encode("other.mkv").contains("ffmpeg is not installed"));
    assert_eq!(entries(folder.path()), ["cut.mp4", "other.mkv", "text.mp4"]);
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::time::{Duration, Instant};
    let folder = tempfile::tempdir().unwrap();
    let latent = folder.path().join("l.safetensors");
    write_safetensors(&latent, "latents", &Array::zeros([1, 16, 40, 32, 32]));
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let (latent, clip) = (text(&latent), text(&out.join("a.mp4")));
    let arguments = [
        "decode",
        &latent,
        "--vae",
        "demo:2x",
        "--latent-space",
        "raw",
        "-o",
        &clip,
    ];
    let mut child = alone(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // The first frame is there.
    let is_begun = || {
        let files = std::fs::read_dir(&out).unwrap().flatten();
        files
            .into_iter()
            .any(|file| file.metadata().is_ok_and(|m| m.len() > 0))
    };
    while !is_begun() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing is written"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(entries(&out), [] as [&str; 0]);
}
