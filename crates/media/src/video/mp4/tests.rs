//! Files that are written here and by FFmpeg, read here and by FFmpeg, and damaged ones.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use vae2x_core::{Array, Error, Result};

use super::{Decoder, Encoder, Index};
use crate::video::yuv::Range;
use crate::video::{Container, Decode, Encode, Encoding, Ffmpeg, Movie, Wishes};

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
                data.push(ground * (1.0 - ball) + [0.6, -0.5, 0.1][c] * ball);
            }
        }
    }
    Array::new([3, h, w], data).unwrap()
}

fn movie(path: &Path, frames: usize) -> Movie {
    Movie {
        path: path.to_path_buf(),
        encoding: Encoding::new(Container::Mp4, Wishes::default()).unwrap(),
        rate: "24000/1001".parse().unwrap(),
        frames,
        audio: None,
        text: Vec::new(),
    }
}

fn write(movie: &Movie, size: [usize; 2]) {
    let mut encoder = Box::new(Encoder::new(movie, size).unwrap());
    for index in 0..movie.frames {
        encoder.push(&frame(index, size)).unwrap();
    }
    encoder.close(movie.frames).unwrap().persist().unwrap();
}

fn read(path: &Path) -> Result<Vec<Array>> {
    let index = Arc::new(Index::read(path)?);
    let mut decoder = Decoder::new(path, &index)?;
    (0..index.video.frames).map(|i| decoder.next(i)).collect()
}

fn read_by_ffmpeg(path: &Path) -> Vec<Array> {
    let ffmpeg = Ffmpeg::find(None).unwrap();
    let video = ffmpeg.probe(path).unwrap();
    let mut decoder = ffmpeg.decode(path, &video).unwrap();
    (0..video.frames)
        .map(|i| decoder.next(i).unwrap())
        .collect()
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

/// Y' of BT.601.
fn brightness(frame: &Array) -> Array {
    let [_, h, w] = frame.dims("frame").unwrap();
    let data = frame.data();
    let y = |i: usize| 0.299 * data[i] + 0.587 * data[h * w + i] + 0.114 * data[2 * h * w + i];
    Array::new([1, h, w], (0..h * w).map(y).collect()).unwrap()
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

/// A file made by FFmpeg's own arguments, behind those of its input.
fn made(folder: &Path, name: &str, arguments: &str) -> PathBuf {
    let path = folder.join(name);
    let mut command = Command::new(Ffmpeg::find(None).unwrap().path());
    command.args([
        "-y",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "mandelbrot=s=96x64:r=25:end_scale=0.01",
    ]);
    command.args(arguments.split(' ')).arg(&path);
    assert!(command.status().unwrap().success(), "{arguments}");
    path
}

fn problem(path: &Path) -> String {
    match read(path) {
        Err(Error::Format { problem, .. }) => problem,
        found => panic!("{:?}", found.map(|frames| frames.len())),
    }
}

#[test]
fn what_is_written_is_read_here_and_by_ffmpeg() {
    let folder = tempfile::tempdir().unwrap();
    for (size, frames) in [
        ([64, 96], 9),
        ([16, 16], 3),
        ([34, 50], 1),
        ([18, 130], 255),
    ] {
        let path = folder.path().join("a.mp4");
        write(&movie(&path, frames), size);
        let video = Index::read(&path).unwrap().video;
        assert_eq!((video.frames, video.size), (frames, size));
        assert_eq!(video.rate.unwrap().to_string(), "24000/1001");
        assert_eq!(video.colours.matrix, Some(crate::video::yuv::Matrix::Bt709));
        assert_eq!(video.colours.range, Range::Limited);
        assert!(!video.is_varying && video.pixel_aspect.is_none());
        let found = read(&path).unwrap();
        for (index, found) in found.iter().enumerate() {
            let quality = psnr(found, &frame(index, size));
            assert!(
                quality > 34.0 || size == [16, 16],
                "{size:?} {index}: {quality} dB"
            );
        }
        if has_ffmpeg() {
            assert!(read_by_ffmpeg(&path) == found, "{size:?}");
            let told = Ffmpeg::find(None).unwrap().probe(&path).unwrap();
            assert_eq!(told.rate, video.rate);
            assert_eq!(told.colours.transfer, "bt709");
            assert_eq!(told.damage, None);
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_lower_factor_is_better_and_larger() {
    let folder = tempfile::tempdir().unwrap();
    let size = [64, 96];
    let [fine, coarse] = [5, 40].map(|crf| {
        let path = folder.path().join(format!("{crf}.mp4"));
        let mut movie = movie(&path, 5);
        movie.encoding.crf = Some(crf);
        write(&movie, size);
        let quality = psnr(&read(&path).unwrap()[4], &frame(4, size));
        (quality, path.metadata().unwrap().len())
    });
    assert!(
        fine.0 > coarse.0 + 5.0 && fine.1 > 2 * coarse.1,
        "{fine:?} {coarse:?}"
    );
}

#[test]
fn the_index_comes_first_and_fills_its_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    write(&movie(&path, 7), [32, 32]);
    let bytes = std::fs::read(&path).unwrap();
    let kinds: Vec<_> = super::boxes::Children(&bytes)
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds, [*b"ftyp", *b"moov", *b"free", *b"mdat"]);
}

#[test]
fn texts_travel_as_ffmpeg_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    let long = format!("{{\"nodes\": \"{}\"}}", "äöü=;#\\n ".repeat(30_000));
    let text = [("prompt", "{\"3\": {}}"), ("workflow", &long)];
    let text: Vec<_> = text.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    write(
        &Movie {
            text: text.clone(),
            ..movie(&path, 2)
        },
        [16, 16],
    );
    assert!(Index::read(&path).unwrap().video.text == text);
    if has_ffmpeg() {
        assert!(Ffmpeg::find(None).unwrap().probe(&path).unwrap().text == text);
        let copied = folder.path().join("b.mp4");
        let mut command = Command::new(Ffmpeg::find(None).unwrap().path());
        command.args(["-v", "error", "-i"]).arg(&path);
        command
            .args(["-c", "copy", "-movflags", "use_metadata_tags"])
            .arg(&copied);
        assert!(command.status().unwrap().success());
        assert!(Index::read(&copied).unwrap().video.text == text);
    }
}

/// OpenH264 rounds a few pixels of B frames otherwise than FFmpeg.
#[test]
fn frames_come_in_the_order_of_display() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        "-t 2 -c:v libx264 -pix_fmt yuv420p",
        "-t 2 -c:v libx264 -pix_fmt yuv420p -bf 7 -b_strategy 0 -x264-params b-pyramid=normal:keyint=12:open-gop=1",
        "-t 2 -c:v libx264 -pix_fmt yuv420p -profile:v main -bf 2 -x264-params keyint=9:b-pyramid=strict:slices=3",
        "-t 2 -c:v libx264 -pix_fmt yuv420p -profile:v baseline",
        "-t 2 -c:v libx264 -pix_fmt yuv420p -bf 0 -color_range pc -colorspace bt709",
        "-t 2 -c:v libx264 -pix_fmt yuv420p -bf 3 -b_strategy 0 -vf crop=90:62",
        "-frames:v 1 -c:v libx264 -pix_fmt yuv420p",
        "-frames:v 2 -c:v libx264 -pix_fmt yuv420p -movflags +negative_cts_offsets",
    ] {
        let path = made(folder.path(), "a.mp4", arguments);
        let (found, expected) = (read(&path).unwrap(), read_by_ffmpeg(&path));
        assert_eq!(found.len(), expected.len(), "{arguments}");
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let quality = psnr(found, expected);
            assert!(quality > 55.0, "{arguments} {index}: {quality} dB");
        }
        let [here, there] = [
            Index::read(&path).unwrap().video,
            Ffmpeg::find(None).unwrap().probe(&path).unwrap(),
        ];
        assert_eq!(
            (here.rate, here.size, here.is_varying),
            (there.rate, there.size, there.is_varying),
            "{arguments}"
        );
        assert_eq!(
            (here.colours.matrix, here.colours.range),
            (there.colours.matrix, there.colours.range),
            "{arguments}"
        );
    }
}

#[test]
fn turned_uneven_and_stretched_files_are_as_for_ffmpeg() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let uneven = made(
        folder.path(),
        "uneven.mp4",
        "-t 1 -vf select='not(mod(n\\,3))+eq(n\\,1)',setsar=4/3 -fps_mode vfr -c:v libx264 -pix_fmt yuv420p",
    );
    let video = Index::read(&uneven).unwrap().video;
    let told = Ffmpeg::find(None).unwrap().probe(&uneven).unwrap();
    assert!(video.is_varying && told.is_varying);
    assert_eq!(
        (video.frames, video.rate, video.pixel_aspect),
        (told.frames, told.rate, told.pixel_aspect)
    );
    for degrees in ["90", "180", "270"] {
        let path = folder.path().join("turned.mp4");
        let mut command = Command::new(Ffmpeg::find(None).unwrap().path());
        command.args(["-y", "-v", "error", "-i"]).arg(&uneven);
        command.args([
            "-c",
            "copy",
            "-metadata:s:v:0",
            &format!("rotate={degrees}"),
        ]);
        assert!(command.arg(&path).status().unwrap().success());
        let (found, expected) = (read(&path).unwrap(), read_by_ffmpeg(&path));
        assert_eq!(found[0].shape(), expected[0].shape(), "{degrees}");
        // FFmpeg turns colours as they are stored, which then lie between other pixels.
        let quality = psnr(&brightness(&found[3]), &brightness(&expected[3]));
        assert!(quality > 40.0, "{degrees}: {quality} dB");
    }
}

#[test]
fn what_is_not_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    for (bytes, expected) in [
        (&b"hello, I am a text"[..], "not an MP4 file"),
        (b"", "there is no index"),
        (b"abc", "not an MP4 file"),
        (b"\0\0\0\x08ftyp\0\0\0\x08free", "there is no index"),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov", "there is no video in it"),
        (
            b"\0\0\0\x08ftyp\0\0\0\x09moov",
            "ends within its 'moov' box",
        ),
        (
            b"\0\0\0\x08ftyp\0\0\0\x01moov\x7f\0\0\0\0\0\0\0",
            "ends within its 'moov' box",
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let found = problem(&path);
        assert!(found.contains(expected), "{found}");
    }
    if !has_ffmpeg() {
        return;
    }
    for (arguments, expected) in [
        ("-t 1 -c:v libx265 -x265-params log-level=error", "H.265"),
        ("-t 1 -c:v mpeg4", "MPEG-4 Part 2"),
        (
            "-t 1 -c:v libx264 -pix_fmt yuv420p -movflags frag_keyframe+empty_moov",
            "fragments",
        ),
        ("-t 1 -c:v libx264 -pix_fmt yuv444p", "profile"),
        ("-t 1 -c:v libx264 -pix_fmt yuv420p10", "High 10"),
        (
            "-t 1 -c:v libx264 -pix_fmt yuv420p -x264-params interlaced=1",
            "interlaced",
        ),
        ("-f lavfi -i sine -map 1:a -t 1", "no video"),
    ] {
        let found = problem(&made(folder.path(), "b.mp4", arguments));
        assert!(found.contains(expected), "{arguments}: {found}");
        assert!(
            found.contains("install FFmpeg") || expected == "no video",
            "{found}"
        );
    }
    let long = made(
        folder.path(),
        "long.mp4",
        "-t 2 -c:v libx264 -pix_fmt yuv420p -g 10",
    );
    let cut = folder.path().join("cut.mp4");
    let mut command = Command::new(Ffmpeg::find(None).unwrap().path());
    command.args(["-v", "error", "-ss", "0.3", "-i"]).arg(long);
    command.args(["-c", "copy"]).arg(&cut);
    assert!(command.status().unwrap().success());
    assert!(problem(&cut).contains("edit list"));
}

#[test]
fn a_file_that_is_cut_off_is_refused_before_it_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    write(&movie(&path, 5), [32, 48]);
    let whole = std::fs::read(&path).unwrap();
    for length in [whole.len() - 1, whole.len() / 2, 40, 20] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(Index::read(&path).is_err(), "{length}");
    }
}

#[test]
fn frames_beyond_the_encoder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    let refused = Encoder::new(&movie(&path, 1), [2400, 2400])
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("2400x2400") && refused.contains("install FFmpeg"),
        "{refused}"
    );
    assert!(Encoder::new(&movie(&path, 1), [8, 32]).is_err());
    assert!(Encoder::new(&movie(&path, 1), [3840, 2160]).is_ok());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes of the index and of the frames that are changed end in an error, or in frames of the size that is told.
    #[test]
    fn damaged_files_end_in_an_error(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        write(&movie(&path, 4), [32, 48]);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(index) = Index::read(&path) {
            let size = index.video.size;
            if let Ok(frames) = read(&path) {
                prop_assert!(frames.iter().all(|frame| frame.shape() == [3, size[0], size[1]]));
            }
        }
    }
}
