//! Clips as video files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{decode_clip, entries, finish, run, text, vae2x, without_ffmpeg};

fn decode(out: &Path, more: &[&str]) -> crate::support::Run {
    let mut all = decode_clip(out);
    all.extend(more.iter().map(|&m| m.to_owned()));
    run(&all)
}

/// A stream of frames in 4:4:4 of 8 bits: size, and the bytes of each frame.
fn frames(stream: &[u8]) -> ([usize; 2], Vec<&[u8]>) {
    let end = stream.iter().position(|&b| b == b'\n').unwrap();
    let header = std::str::from_utf8(&stream[..end]).unwrap();
    let number = |letter: &str| {
        let word = header.split(' ').find_map(|word| word.strip_prefix(letter));
        word.unwrap().parse::<usize>().unwrap()
    };
    assert!(header.contains(" C444 "), "{header}");
    let size = [number("H"), number("W")];
    let length = 3 * size[0] * size[1];
    let chunks = stream[end + 1..].chunks_exact(b"FRAME\n".len() + length);
    assert!(chunks.remainder().is_empty());
    (
        size,
        chunks
            .map(|chunk| chunk.strip_prefix(b"FRAME\n").unwrap())
            .collect(),
    )
}

#[test]
fn plain_video_holds_the_frames_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [images, video] = ["images", "clip.y4m"].map(|name| folder.path().join(name));
    decode(&images, &[]).ok();
    assert!(decode(&video, &["--fps", "24"]).ok().contains("clip.y4m"));
    let stream = std::fs::read(&video).unwrap();
    assert!(stream.starts_with(b"YUV4MPEG2 ") && stream.windows(6).any(|w| w == b" F24:1"));
    let (size, frames) = frames(&stream);
    assert_eq!(frames.len(), entries(&images).len());
    for (name, frame) in entries(&images).iter().zip(frames) {
        let image = vae2x_media::picture::read_image(&images.join(name))
            .unwrap()
            .pixels;
        let area = size[0] * size[1];
        assert_eq!(image.shape(), [3, size[0], size[1]]);
        for i in 0..area {
            // BT.709, limited: the inverse of what was written, to the next 8-bit step.
            let y = (f32::from(frame[i]) - 16.0) / 219.0;
            let [cb, cr] = [1, 2].map(|plane| (f32::from(frame[plane * area + i]) - 128.0) / 224.0);
            let rgb = [
                y + 1.5748 * cr,
                y - 0.187_324 * cb - 0.468_124 * cr,
                y + 1.8556 * cb,
            ];
            for (c, value) in rgb.into_iter().enumerate() {
                let exact = (image.data()[c * area + i] + 1.0) / 2.0;
                assert!(
                    (value - exact).abs() < 0.014,
                    "{name} {c} {i}: {value} {exact}"
                );
            }
        }
    }
}

#[test]
fn standard_output_gets_the_stream_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.y4m");
    decode(&file, &[]).ok();
    let output = vae2x().args(decode_clip(Path::new("-"))).output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == std::fs::read(&file).unwrap());
    assert_eq!(entries(folder.path()), ["clip.y4m"]);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut command = vae2x();
    command
        .args(decode_clip(Path::new("-")))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut start = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start, b"YUV4MPEG2 ");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn without_ffmpeg_the_error_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("clip.mkv");
    let said = finish(without_ffmpeg().args(decode_clip(&out))).fails(1);
    assert!(
        said.contains("ffmpeg is not installed") && said.contains("--ffmpeg"),
        "{said}"
    );
    let said = decode(&out, &["--ffmpeg", "no/such/ffmpeg"]).fails(2);
    assert!(said.contains("no/such/ffmpeg"), "{said}");
    assert_eq!(entries(folder.path()), [] as [&str; 0]);
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, more: &[&str]| decode(&folder.path().join(name), more).fails(2);
    assert!(refused("a/", &["--fps", "24"]).contains("--fps is for videos"));
    assert!(refused("a.png", &["--crf", "10"]).contains("one image cannot hold"));
    assert!(refused("a.npy", &["--crf", "10"]).contains("--crf is for videos"));
    assert!(refused("a.mp4", &["--codec", "ffv1"]).contains("h264, h265, av1"));
    assert!(refused("a.mp4", &["--codec", "theora"]).contains("theora"));
    assert!(refused("a.mp4", &["--fps", "0"]).contains("frames per second"));
    assert!(refused("a.y4m", &["--audio", "a.wav"]).contains("no sound"));
    assert_eq!(entries(folder.path()), [] as [&str; 0]);
}

/// A program that says it is FFmpeg, and then does what `script` says.
#[cfg(unix)]
fn fake(folder: &Path, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("ffmpeg");
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = -version ]; then echo 'ffmpeg version 6.0 Copyright'; exit 0; fi\n{script}\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[cfg(unix)]
#[test]
fn an_ffmpeg_that_dies_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    for script in [
        "head -c 100 >/dev/null; echo '[libx264 @ 0x1] no such luck' >&2; exit 3",
        "cat >/dev/null; echo no such luck >&2; exit 3",
        "echo no such luck >&2; exit 3",
        // More than a pipe holds.
        "i=0; while [ $i -lt 3000 ]; do echo 'the same words again and again' >&2; i=$((i+1)); done; echo no such luck >&2; exit 3",
    ] {
        let program = fake(folder.path(), script);
        let said = decode(&out.join("clip.mp4"), &["--ffmpeg", &text(&program)]).fails(1);
        assert!(
            said.contains("clip.mp4: ffmpeg cannot write it") && said.contains("no such luck"),
            "{said}"
        );
        assert_eq!(said.matches("error:").count(), 1, "{said}");
        assert_eq!(entries(&out), [] as [&str; 0]);
    }
    let program = fake(folder.path(), "kill -9 $$");
    let said = decode(&out.join("clip.mp4"), &["--ffmpeg", &text(&program)]).fails(1);
    assert!(said.contains("signal"), "{said}");
    assert_eq!(entries(&out), [] as [&str; 0]);
}

#[cfg(unix)]
#[test]
fn a_program_that_is_not_ffmpeg_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let said = decode(&folder.path().join("clip.mp4"), &["--ffmpeg", "/bin/true"]).fails(2);
    assert!(said.contains("does not say that it is FFmpeg"), "{said}");
}

/// Writes a clip of `frames` frames as plain video: squares that move over a gradient.
fn write_y4m(path: &Path, frames: usize, [h, w]: [usize; 2]) {
    let mut bytes = format!("YUV4MPEG2 W{w} H{h} F12:1 Ip A1:1 C444\n").into_bytes();
    for t in 0..frames {
        bytes.extend(b"FRAME\n");
        for plane in 0..3 {
            for i in 0..h * w {
                let (x, y) = (i % w, i / w);
                let square = (x / 8 + y / 8 + t / 2) % 2;
                bytes.push((60 + plane * 30 + square * 40 + x) as u8);
            }
        }
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn clips_of_any_length_and_size_are_upscaled() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.y4m");
    // Neither whole latent frames nor whole cells.
    for count in [1, 2, 5, 7] {
        write_y4m(&input, count, [18, 31]);
        let out = folder.path().join("out.y4m");
        run(&[
            "upscale",
            &text(&input),
            "--vae",
            "demo:2x",
            "-o",
            &text(&out),
        ])
        .ok();
        let stream = std::fs::read(&out).unwrap();
        let (size, decoded) = frames(&stream);
        assert_eq!((size, decoded.len()), ([36, 62], count));
        assert!(
            stream.windows(6).any(|w| w == b" F12:1"),
            "the rate is kept"
        );
    }
}

#[test]
fn the_first_frame_of_an_upscaled_clip_is_the_upscaled_image() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let frames = at("frames");
    std::fs::create_dir(&frames).unwrap();
    for i in 0..3 {
        let values = (0..3 * 16 * 24).map(|v| ((v * (i + 3)) as f32 * 0.01).sin());
        let image = vae2x_core::Array::new([3, 16, 24], values.collect()).unwrap();
        vae2x_media::picture::write_image(
            &frames.join(format!("{i}.png")),
            &image,
            &Default::default(),
        )
        .unwrap();
    }
    let (clip, image) = (text(&at("clip")), text(&at("image.png")));
    run(&[
        "upscale",
        &text(&frames),
        "--clip",
        "--vae",
        "demo:2x",
        "-o",
        &clip,
    ])
    .ok();
    run(&[
        "upscale",
        &text(&frames.join("0.png")),
        "--vae",
        "demo:2x",
        "-o",
        &image,
    ])
    .ok();
    assert_eq!(entries(&at("clip")).len(), 3);
    let read = |path: &Path| vae2x_media::picture::read_image(path).unwrap().pixels;
    assert_eq!(
        read(&at("clip").join(&entries(&at("clip"))[0])),
        read(&at("image.png"))
    );
}

#[test]
fn images_and_videos_are_upscaled_in_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_y4m(&at("a.y4m"), 2, [16, 16]);
    std::fs::write(at("b.y4m"), "YUV4MPEG2 W2 H2\nFRAME\nx").unwrap();
    let image = vae2x_core::Array::zeros([3, 16, 16]);
    vae2x_media::picture::write_image(&at("c.png"), &image, &Default::default()).unwrap();
    let inputs = ["a.y4m", "b.y4m", "c.png"].map(|name| text(&at(name)));
    let out = text(&at("out"));
    let all: Vec<&str> = ["upscale"]
        .into_iter()
        .chain(inputs.iter().map(String::as_str))
        .chain(["--vae", "demo:2x", "-o", &out])
        .collect();
    let said = run(&all).fails(1);
    assert!(
        said.contains("1 of 3 inputs failed") && said.contains("ends within frame 0"),
        "{said}"
    );
    assert_eq!(entries(&at("out")), ["a.y4m", "c.png"]);
    // The folder stands for the same.
    std::fs::write(at("notes.txt"), "x").unwrap();
    {
        let (from, to) = (text(folder.path()), text(&at("from")));
        let said = run(&["upscale", &from, "--vae", "demo:2x", "-o", &to]).fails(1);
        assert!(
            said.contains("1 of 3 inputs failed") && said.contains("notes.txt"),
            "{said}"
        );
        assert_eq!(entries(&at("from")), ["a.y4m", "c.png"]);
    }
    let again: Vec<&str> = all.iter().copied().chain(["--skip-existing"]).collect();
    assert!(run(&again).fails(1).contains("2 inputs skipped"));
}

#[test]
fn videos_are_encoded() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.y4m");
    write_y4m(&input, 5, [16, 24]);
    let out = folder.path().join("clip.latent");
    run(&[
        "encode",
        &text(&input),
        "--vae",
        "demo:base",
        "-o",
        &text(&out),
    ])
    .ok();
    assert_eq!(
        crate::support::read(&out, "latent_tensor").shape(),
        [1, 16, 2, 2, 3]
    );
}

#[test]
fn animations_hold_all_frames() {
    use image::AnimationDecoder;
    use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    decode(&images, &[]).ok();
    let open = |name: &str| {
        let path = folder.path().join(name);
        decode(&path, &["--fps", "20"]).ok();
        std::io::BufReader::new(std::fs::File::open(path).unwrap())
    };
    let gif = GifDecoder::new(open("a.gif")).unwrap().into_frames();
    let gif = gif.collect_frames().unwrap();
    assert_eq!(gif.len(), entries(&images).len());
    assert!(
        gif.iter()
            .all(|frame| frame.delay().numer_denom_ms() == (50, 1))
    );
    let png = PngDecoder::new(open("a.apng"))
        .unwrap()
        .apng()
        .unwrap()
        .into_frames();
    let webp = WebPDecoder::new(open("a.webp")).unwrap().into_frames();
    for decoded in [
        png.collect_frames().unwrap(),
        webp.collect_frames().unwrap(),
    ] {
        assert_eq!(decoded.len(), entries(&images).len());
        for (frame, name) in decoded.iter().zip(entries(&images)) {
            assert_eq!(frame.delay().numer_denom_ms(), (50, 1));
            let exact = image::open(images.join(name)).unwrap().into_rgb8();
            let frame = image::DynamicImage::from(frame.buffer().clone()).into_rgb8();
            assert!(frame == exact);
        }
    }
}

/// An FFmpeg that has not opened its output yet would create it anew when this program has deleted it.
#[cfg(unix)]
#[test]
fn an_interrupt_ends_ffmpeg_and_leaves_nothing() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::time::{Duration, Instant};
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let mark = folder.path().join("mark");
    // The last argument is its output.
    let script = format!(
        "for last; do :; done; echo $$ > {}; cat >/dev/null; sleep 1; echo late > \"${{last#file:}}\"",
        mark.display()
    );
    let program = fake(folder.path(), &script);
    let mut all = decode_clip(&out.join("clip.mp4"));
    all.extend(["--ffmpeg".into(), text(&program)]);
    let mut child = vae2x().args(all).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !mark.exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "FFmpeg is not started"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(entries(&out), [] as [&str; 0]);
}

#[test]
fn what_is_read_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Frames with the names that the program gives.
    let frames = at("f");
    std::fs::create_dir(&frames).unwrap();
    for i in 0..2 {
        let image = vae2x_core::Array::zeros([3, 16, 16]);
        let name = format!("f_{i:05}.png");
        vae2x_media::picture::write_image(&frames.join(name), &image, &Default::default()).unwrap();
    }
    let (from, to) = (text(&frames), text(&at("out")));
    let said = run(&["upscale", &from, "--clip", "--vae", "demo:2x", "-o", &from]).fails(2);
    assert!(said.contains("would overwrite an input"), "{said}");
    let sound = text(&at("x.y4m"));
    std::fs::write(&sound, "x").unwrap();
    assert!(
        decode(&at("x.y4m"), &["--audio", &sound])
            .fails(2)
            .contains("no sound")
    );
    // Frames that are there are not made again.
    run(&["upscale", &from, "--clip", "--vae", "demo:2x", "-o", &to]).ok();
    let again = [
        "upscale",
        &from,
        "--clip",
        "--vae",
        "demo:2x",
        "-o",
        &to,
        "--skip-existing",
    ];
    assert!(run(&again).ok_stderr().contains("1 input skipped"));
    let said = run(&["upscale", &from, "--clip", "--vae", "demo:2x", "-o", "-"]).fails(2);
    assert!(
        said.contains("only `decode` writes to standard output"),
        "{said}"
    );
}
