//! Videos: what is written is read back, by FFmpeg and by this program.
//!
//! FFmpeg is not needed to build or run the program; without it these tests say that they are skipped, unless `VAE2X_TEST_FFMPEG`
//! is set, as it is where they must run.

use std::path::{Path, PathBuf};
use std::process::Command;

use vae2x_core::{Array, Error};
use vae2x_media::frames::{FrameSource, SourceOptions, open_source};
use vae2x_media::output::{Input, Output, OutputOptions, VideoOptions};
use vae2x_media::video::{Codec, Ffmpeg, PixelFormat, Rate, Wishes};

const FRAMES: usize = 9;

/// A ball over a gradient that moves.
fn frame(index: usize, [h, w]: [usize; 2]) -> Array {
    let mut data = Vec::with_capacity(3 * h * w);
    for c in 0..3 {
        for y in 0..h {
            for x in 0..w {
                let (u, v) = (x as f32 / w as f32, y as f32 / h as f32);
                let distance = (u - 0.3 - 0.04 * index as f32).hypot(v - 0.5);
                let ball = 1.0 / (1.0 + (40.0 * (distance - 0.2)).exp());
                let ground = [u, v, 1.0 - u * v][c] * 1.6 - 0.8;
                data.push(ground * (1.0 - ball) + [0.9, -0.7, 0.1][c] * ball);
            }
        }
    }
    Array::new([3, h, w], data).unwrap()
}

/// Writes a clip of [`FRAMES`] frames.
fn write(
    path: &Path,
    size: [usize; 2],
    video: VideoOptions,
    text: &[(&str, &str)],
) -> Result<Vec<String>, Error> {
    write_frames(path, size, FRAMES, video, text)
}

fn write_frames(
    path: &Path,
    size: [usize; 2],
    frames: usize,
    video: VideoOptions,
    text: &[(&str, &str)],
) -> Result<Vec<String>, Error> {
    let input = Input {
        path: "clip.latent".into(),
        name: "clip".into(),
        items: 1,
        frames,
    };
    let options = OutputOptions {
        video,
        ..OutputOptions::default()
    };
    let output = Output::plan(path, &[input], options)?;
    let text = text.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    let mut sink = output.open(0, text.collect())?;
    for index in 0..frames {
        sink.push(&frame(index, size))?;
    }
    let notes = sink.notes();
    sink.finish()?;
    Ok(notes)
}

fn open(path: &Path) -> Box<dyn FrameSource> {
    open_source(path, &SourceOptions::default()).unwrap()
}

/// The greatest difference and the PSNR in decibels, of [0, 1].
fn errors(a: &Array, b: &Array) -> (f32, f64) {
    assert_eq!(a.shape(), b.shape());
    let pairs = || a.data().iter().zip(b.data());
    let greatest = pairs()
        .map(|(a, b)| (a - b).abs() / 2.0)
        .fold(0.0, f32::max);
    let square = pairs()
        .map(|(a, b)| f64::from((a - b) / 2.0).powi(2))
        .sum::<f64>();
    (greatest, -10.0 * (square / a.data().len() as f64).log10())
}

/// Reads a clip and compares it with what was written; greatest difference and least PSNR.
fn read_back(path: &Path, size: [usize; 2]) -> (f32, f64) {
    let mut source = open(path);
    assert_eq!(source.spec().size, size);
    assert_eq!(source.spec().frames, FRAMES);
    let mut worst = (0.0f32, f64::INFINITY);
    for index in 0..FRAMES {
        let read = source.next().unwrap().unwrap();
        assert_eq!((read.item, read.index), (0, index));
        let (greatest, psnr) = errors(&read.pixels, &frame(index, size));
        worst = (worst.0.max(greatest), worst.1.min(psnr));
    }
    assert!(source.next().unwrap().is_none());
    worst
}

fn wishes(codec: Codec, format: &str, crf: Option<u8>) -> VideoOptions {
    VideoOptions {
        wishes: Wishes {
            codec: Some(codec),
            format: format.parse::<PixelFormat>().ok(),
            crf,
        },
        ..VideoOptions::default()
    }
}

fn has_ffmpeg() -> bool {
    let found = Ffmpeg::find(None).is_ok();
    assert!(
        found || std::env::var_os("VAE2X_TEST_FFMPEG").is_none(),
        "ffmpeg is not installed"
    );
    if !found {
        println!("skipped: ffmpeg is not installed");
    }
    found
}

/// A value of the first video stream, as ffprobe prints it; `None` without ffprobe.
fn probed(path: &Path, entries: &str) -> Option<String> {
    let arguments = [
        "-v",
        "error",
        "-count_frames",
        "-select_streams",
        "v:0",
        "-of",
        "csv=p=0",
        "-show_entries",
    ];
    let output = Command::new("ffprobe")
        .args(arguments)
        .arg(entries)
        .arg(path)
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn plain_video_survives_at_every_depth() {
    let folder = tempfile::tempdir().unwrap();
    // Sides that are odd, with halved colours too.
    for (format, least) in [
        ("yuv444p", 46.0),
        ("yuv444p10", 58.0),
        ("yuv444p16", 90.0),
        ("yuv420p", 36.0),
        ("yuv422p12", 38.0),
    ] {
        let path = folder.path().join(format!("{format}.y4m"));
        let video = VideoOptions {
            rate: "24000/1001".parse().ok(),
            wishes: Wishes {
                format: format.parse().ok(),
                ..Wishes::default()
            },
            ..VideoOptions::default()
        };
        write(&path, [31, 45], video, &[]).unwrap();
        let (_, psnr) = read_back(&path, [31, 45]);
        assert!(psnr > least, "{format}: {psnr} dB");
        assert_eq!(open(&path).spec().rate, "23.976".parse::<Rate>().ok());
    }
}

#[test]
fn plain_video_that_is_cut_or_empty_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.y4m");
    write(&path, [8, 8], VideoOptions::default(), &[]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match open_source(&path, &SourceOptions::default()) {
            Err(Error::Format { problem, .. }) => problem,
            _ => panic!("it is read"),
        }
    };
    assert!(refused(&whole[..whole.len() - 1]).contains("ends within frame 8"));
    let header = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
    assert!(refused(&whole[..header]).contains("no frames"));
    assert!(refused(b"hello").contains("not a YUV4MPEG2"));
    assert!(refused(b"YUV4MPEG2 W4000000000 H4000000000 C444p16\nFRAME\n").contains("at most"));
    let mut damaged = whole.clone();
    damaged[header] = b'X';
    assert!(refused(&damaged).contains("damaged"));
}

#[test]
fn lossless_video_is_within_a_step_of_8_bits() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mkv");
    write(&path, [48, 66], wishes(Codec::Ffv1, "", None), &[]).unwrap();
    let (greatest, psnr) = read_back(&path, [48, 66]);
    assert!(greatest <= 1.0 / 255.0, "{greatest}");
    assert!(psnr > 58.0, "{psnr}");
}

#[test]
fn every_codec_writes_a_file_that_says_what_it_is() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let size = [64, 96];
    let cases = [
        (
            "a.mp4",
            wishes(Codec::H264, "yuv444p10", Some(10)),
            "h264",
            45.0,
        ),
        (
            "b.mp4",
            wishes(Codec::H265, "yuv444p10", Some(10)),
            "hevc",
            45.0,
        ),
        (
            "c.mov",
            wishes(Codec::ProRes, "yuv444p10", None),
            "prores",
            45.0,
        ),
        (
            "d.mkv",
            wishes(Codec::Vp9, "yuv444p", Some(10)),
            "vp9",
            42.0,
        ),
        (
            "f.webm",
            wishes(Codec::Av1, "yuv420p10", Some(20)),
            "av1",
            36.0,
        ),
        (
            "e.mp4",
            wishes(Codec::H264, "yuv420p", Some(10)),
            "h264",
            36.0,
        ),
    ];
    for (name, video, codec, least) in cases {
        let path = folder.path().join(name);
        let video = VideoOptions {
            rate: "30000/1001".parse().ok(),
            ..video
        };
        write(&path, size, video, &[]).unwrap();
        let (_, psnr) = read_back(&path, size);
        assert!(psnr > least, "{name}: {psnr} dB");
        let mut source = open(&path);
        assert_eq!(
            source.spec().rate.unwrap().to_string(),
            "30000/1001",
            "{name}"
        );
        assert!(!source.spec().has_audio);
        assert_eq!(
            source.next().unwrap().unwrap().notes,
            [] as [String; 0],
            "{name}"
        );
        if let Some(facts) = probed(&path, "stream=codec_name,width,height,nb_read_frames") {
            assert_eq!(facts, format!("{codec},96,64,{FRAMES}"), "{name}");
            let tags = "stream=color_range,color_space,color_transfer,color_primaries";
            assert_eq!(
                probed(&path, tags).unwrap(),
                "tv,bt709,bt709,bt709",
                "{name}"
            );
        }
    }
}

#[test]
fn odd_sides_are_padded_where_colours_are_halved() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    let notes = write(&path, [33, 47], VideoOptions::default(), &[]).unwrap();
    assert!(notes[0].contains("padded from 47x33 to 48x34"), "{notes:?}");
    assert_eq!(open(&path).spec().size, [34, 48]);
    assert_eq!(open(&path).spec().rate, Some(Rate::WAN));
}

#[test]
fn a_single_frame_is_a_video_too() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.webm"] {
        let path = folder.path().join(name);
        write_frames(&path, [32, 32], 1, VideoOptions::default(), &[]).unwrap();
        assert_eq!(open(&path).spec().frames, 1);
    }
}

#[test]
fn workflows_travel_in_videos() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Longer than a command line may be.
    let long = format!("{{\"nodes\": \"{}\"}}", "äöü=;#\\n ".repeat(30_000));
    let texts = [
        ("prompt", "{\"3\": {\"seed\": 1}}"),
        ("workflow", long.as_str()),
    ];
    for name in ["a.mp4", "a.mov", "a.mkv", "a.webm"] {
        let path = folder.path().join(name);
        write(&path, [32, 32], VideoOptions::default(), &texts).unwrap();
        let read = open(&path).spec().text.clone();
        assert!(read.len() == 2, "{name}: {} texts", read.len());
        for ((keyword, text), expected) in read.iter().zip(texts) {
            assert_eq!(keyword, expected.0, "{name}");
            // They are too long to be printed.
            assert!(text == expected.1, "{name}: {keyword}");
        }
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        4,
        "nothing else is left"
    );
    let path = folder.path().join("a.mp4");
    if let Some(tag) = probed(&path, "format_tags=prompt") {
        assert!(tag.contains("seed"), "{tag}");
    }
    write(&path, [32, 32], VideoOptions::default(), &[]).unwrap();
    assert_eq!(open(&path).spec().text, []);
}

/// A file made by FFmpeg's own arguments, one part of a second long.
fn made(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let program = Ffmpeg::find(None).unwrap();
    let mut command = Command::new(program.path());
    command.args([
        "-y",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x48:r=10:d=0.9",
    ]);
    let status = command.args(arguments).arg(&path).status().unwrap();
    assert!(status.success());
    path
}

#[test]
fn sound_is_kept_and_ends_with_the_frames() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sound = made(
        folder.path(),
        "s.m4a",
        &[
            "-f",
            "lavfi",
            "-i",
            "sine=440:d=9",
            "-map",
            "1",
            "-c:a",
            "aac",
        ],
    );
    for name in ["a.mp4", "a.mov", "a.webm", "a.mkv"] {
        let path = folder.path().join(name);
        let video = VideoOptions {
            audio: Some(sound.clone()),
            ..VideoOptions::default()
        };
        write(&path, [32, 32], video, &[]).unwrap();
        assert!(open(&path).spec().has_audio, "{name}");
        assert_eq!(open(&path).spec().frames, FRAMES, "{name}");
        if let Some(length) = probed(&path, "format=duration") {
            let length: f64 = length.parse().unwrap();
            assert!(length < 0.75, "{name}: {length} s");
        }
    }
    let video = VideoOptions {
        audio: Some(made(folder.path(), "mute.mp4", &[])),
        ..VideoOptions::default()
    };
    let refused = write(&folder.path().join("b.mp4"), [32, 32], video, &[]).unwrap_err();
    assert!(refused.to_string().contains("no audio"), "{refused}");
}

#[test]
fn what_other_programs_write_is_read() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, arguments: &[&str]| made(folder.path(), name, arguments);
    let notes = |path: &Path| open(path).next().unwrap().unwrap().notes.concat();

    let turned = at("plain.mp4", &["-c:v", "libx264"]);
    assert_eq!(open(&turned).spec().size, [48, 64]);
    assert_eq!(open(&turned).spec().frames, 9);
    let uneven = at(
        "uneven.mp4",
        &[
            "-vf",
            "select='not(mod(n\\,3))+eq(n\\,1)'",
            "-fps_mode",
            "vfr",
            "-c:v",
            "libx264",
        ],
    );
    assert!(notes(&uneven).contains("varies"), "{}", notes(&uneven));
    assert_eq!(open(&uneven).spec().frames, 4);
    let wide = at("wide.mp4", &["-vf", "setsar=4/3", "-c:v", "libx264"]);
    assert!(notes(&wide).contains("not square"), "{}", notes(&wide));
    let bright = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc";
    let options = "-c:v ffv1 -pix_fmt yuv420p10le -color_trc smpte2084 -color_primaries bt2020";
    let options: Vec<_> = ["-vf", bright]
        .into_iter()
        .chain(options.split(' '))
        .collect();
    let bright = at("hdr.mkv", &options);
    let said = notes(&bright);
    assert!(said.contains("high dynamic range"), "{said}");
}

/// Red of 10 bits, whose integers are those of the standards.
#[test]
fn matrices_and_ranges_are_those_of_the_file() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = Ffmpeg::find(None).unwrap();
    for (name, [y, cb, cr], tags) in [
        ("hd", [250u16, 409, 960], "range=tv:colorspace=bt709"),
        ("sd", [326, 361, 960], "range=tv:colorspace=smpte170m"),
        ("untold", [326, 361, 960], "range=tv"),
        ("full", [218, 395, 1023], "range=pc:colorspace=bt709"),
    ] {
        let raw = folder.path().join("raw");
        let planes =
            [y, cb, cr].map(|sample| vec![sample; 64 * 48].into_iter().flat_map(u16::to_le_bytes));
        std::fs::write(&raw, planes.into_iter().flatten().collect::<Vec<u8>>()).unwrap();
        let path = folder.path().join(format!("{name}.mkv"));
        let mut command = Command::new(program.path());
        command
            .args("-y -v error -f rawvideo -pix_fmt yuv444p10le -s 64x48 -i".split(' '))
            .arg(&raw);
        command.args(["-vf", &format!("setparams={tags}"), "-c:v", "ffv1"]);
        let (range, space) = match name {
            "full" => ("pc", "bt709"),
            "hd" => ("tv", "bt709"),
            "sd" => ("tv", "smpte170m"),
            _ => ("tv", "unspecified"),
        };
        command.args(["-color_range", range, "-colorspace", space]);
        assert!(command.arg(&path).status().unwrap().success());
        let pixels = open(&path).next().unwrap().unwrap().pixels;
        for (channel, expected) in pixels.data().chunks_exact(64 * 48).zip([1.0, -1.0, -1.0]) {
            assert!(
                channel.iter().all(|v| (v - expected).abs() < 0.01),
                "{name}: {}",
                channel[0]
            );
        }
    }
}

/// Phones and webcams write it, under another name of the format in older versions.
#[test]
fn full_range_h264_has_its_colours() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options = "-f lavfi -i color=0x808080:s=64x48:r=10:d=0.3 -map 1 -vf \
                   scale=out_range=pc,format=yuvj420p -color_range pc -c:v libx264 -qp 0";
    let path = made(
        folder.path(),
        "full.mp4",
        &options.split_whitespace().collect::<Vec<_>>(),
    );
    let pixels = open(&path).next().unwrap().unwrap().pixels;
    let grey = 2.0 * 128.0 / 255.0 - 1.0;
    assert!(
        pixels.data().iter().all(|v| (v - grey).abs() < 0.012),
        "{}",
        pixels.data()[0]
    );
}

#[test]
fn a_title_cannot_pose_as_a_frame() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let title = "title=[Parsed_showinfo_0 @ 0] [info] n: 0 pts: 0 fmt:yuv420p s:96x96";
    let path = made(
        folder.path(),
        "a.mp4",
        &["-c:v", "libx264", "-metadata", title],
    );
    assert_eq!(
        (open(&path).spec().frames, open(&path).spec().size),
        (9, [48, 64])
    );
}

#[test]
fn a_cut_video_is_noted() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = made(
        folder.path(),
        "a.mp4",
        &["-c:v", "libx264", "-g", "1", "-movflags", "+faststart"],
    );
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() * 7 / 10]).unwrap();
    let notes = open(&path).next().unwrap().unwrap().notes.concat();
    assert!(notes.contains("cannot read all of it"), "{notes}");
}

#[test]
fn what_is_no_video_is_refused() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| match open_source(path, &SourceOptions::default()) {
        Err(Error::Format {
            path: named,
            problem,
        }) if named == path => problem,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is read"),
    };
    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "this is not a video").unwrap();
    assert!(refused(&text).contains("not a video that ffmpeg reads"));
    // A playlist must not make FFmpeg open what it names.
    let list = folder.path().join("list.mp4");
    let secret = made(folder.path(), "secret.ts", &["-c:v", "mpeg2video"]);
    std::fs::write(
        &list,
        format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
            secret.display()
        ),
    )
    .unwrap();
    refused(&list);
    std::fs::write(
        &list,
        format!("ffconcat version 1.0\nfile '{}'\n", secret.display()),
    )
    .unwrap();
    refused(&list);
    let sound = made(
        folder.path(),
        "sound.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "sine=440:d=1",
            "-map",
            "1",
            "-c:a",
            "aac",
        ],
    );
    assert!(refused(&sound).contains("not a video"));
    let cut = folder.path().join("cut.mp4");
    let whole = std::fs::read(made(folder.path(), "whole.mp4", &["-c:v", "libx264"])).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    refused(&cut);
}
