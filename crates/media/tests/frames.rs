//! Frames from images, folders and arrays, one at a time, fitted to an encoder and written again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, Error, VaeConfig};
use vae2x_media::frames::{
    Edges, Fit, Fitted, Frame, FrameSink, FrameSource, ImageSink, SourceOptions, open_source,
};
use vae2x_media::output::{Input, Output, OutputOptions};
use vae2x_media::picture::{BitDepth, PictureOptions, read_image, write_image};

const PLAIN: SourceOptions = SourceOptions {
    clip: false,
    opacity: false,
    ffmpeg: None,
};
const CLIP: SourceOptions = SourceOptions {
    clip: true,
    opacity: false,
    ffmpeg: None,
};

/// An image of 8-bit samples that differ from one `number` to the next.
fn image(number: usize, [h, w]: [usize; 2]) -> Array {
    let value = |i: usize| ((number * 31 + i * 7) % 256) as f32 / 127.5 - 1.0;
    Array::new([3, h, w], (0..3 * h * w).map(value).collect()).unwrap()
}

fn ramp(shape: &[usize]) -> Array {
    let count = shape.iter().product();
    Array::new(shape, (0..count).map(|i| (i as f32 * 0.13).sin()).collect()).unwrap()
}

fn save(folder: &Path, name: &str, image: &Array) -> PathBuf {
    let path = folder.join(name);
    write_image(&path, image, &PictureOptions::default()).unwrap();
    path
}

fn save_array(folder: &Path, name: &str, tensors: &[(&str, &Array)]) -> PathBuf {
    let path = folder.join(name);
    write_arrays(&path, tensors, &BTreeMap::new()).unwrap();
    path
}

fn all(source: &mut dyn FrameSource) -> Vec<Frame> {
    std::iter::from_fn(|| source.next().unwrap()).collect()
}

fn problem(result: vae2x_core::Result<impl Sized>, file: &Path) -> String {
    match result.err() {
        Some(Error::Format { path, problem }) if path == file => problem,
        other => panic!("expected a format error at {}: {other:?}", file.display()),
    }
}

fn fitted(path: &Path, options: &SourceOptions, edges: Edges) -> vae2x_core::Result<Fitted> {
    let fit = Fit::to(&VaeConfig::default(), edges);
    Fitted::new(open_source(path, options)?, fit)
}

#[test]
fn an_image_is_one_frame_with_its_text_and_depth() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let text = vec![("prompt".to_owned(), "{}".to_owned())];
    let options = PictureOptions {
        depth: BitDepth::Sixteen,
        metadata: text.clone().into(),
        ..PictureOptions::default()
    };
    write_image(&path, &image(1, [4, 6]), &options).unwrap();
    let mut source = open_source(&path, &PLAIN).unwrap();
    let spec = source.spec().clone();
    assert_eq!((spec.items, spec.frames, spec.size), (1, 1, [4, 6]));
    assert_eq!((spec.depth, spec.text), (BitDepth::Sixteen, text));
    let frames = all(&mut *source);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].pixels, read_image(&path).unwrap().pixels);
    assert!(frames[0].notes.is_empty() && frames[0].opacity.is_none());
}

#[test]
fn opacity_comes_if_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut clear = ramp(&[4, 2, 3]);
    clear.data_mut()[18..].fill(-1.0);
    let path = save(folder.path(), "a.png", &clear);
    let keep = SourceOptions {
        opacity: true,
        ..PLAIN
    };
    let kept = open_source(&path, &keep).unwrap().next().unwrap().unwrap();
    assert_eq!(kept.opacity.unwrap().data(), [-1.0; 6]);
    assert!(kept.notes.is_empty());
    let left = open_source(&path, &PLAIN).unwrap().next().unwrap().unwrap();
    assert!(left.opacity.is_none());
    assert!(left.notes.len() == 1 && left.notes[0].contains("a.png"));
}

#[test]
fn a_folder_is_a_clip_in_the_order_of_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    for number in [10, 1, 2] {
        save(
            folder.path(),
            &format!("f_{number}.png"),
            &image(number, [8, 8]),
        );
    }
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let mut source = open_source(folder.path(), &CLIP).unwrap();
    assert_eq!((source.spec().items, source.spec().frames), (1, 3));
    let frames = all(&mut *source);
    for (index, (frame, number)) in frames.iter().zip([1, 2, 10]).enumerate() {
        assert_eq!((frame.item, frame.index), (0, index));
        assert_eq!(frame.pixels, image(number, [8, 8]));
    }
    assert_eq!(frames.len(), 3);
    assert!(matches!(
        open_source(folder.path(), &PLAIN),
        Err(Error::BadRequest(_))
    ));
}

#[test]
fn frames_of_other_sizes_are_refused_before_work_and_in_between() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a1.png", &image(1, [8, 16]));
    let second = save(folder.path(), "a2.png", &image(2, [8, 24]));
    let found = problem(open_source(folder.path(), &CLIP), &second);
    for fact in ["16x8", "a1.png", "24x8"] {
        assert!(found.contains(fact), "'{fact}' is not in: {found}");
    }
    save(folder.path(), "a2.png", &image(2, [8, 16]));
    let mut source = open_source(folder.path(), &CLIP).unwrap();
    source.next().unwrap();
    save(folder.path(), "a2.png", &image(2, [16, 16]));
    assert!(problem(source.next(), &second).contains("16x16"));
}

#[test]
fn arrays_give_the_frames_of_each_item() {
    let folder = tempfile::tempdir().unwrap();
    let clips = ramp(&[2, 3, 4, 5, 6]);
    let path = save_array(folder.path(), "a.safetensors", &[("pixels", &clips)]);
    let mut source = open_source(&path, &PLAIN).unwrap();
    let spec = source.spec().clone();
    assert_eq!((spec.items, spec.frames, spec.size), (2, 4, [5, 6]));
    let frames = all(&mut *source);
    assert_eq!(frames.len(), 8);
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!((frame.item, frame.index), (i / 4, i % 4));
        let want = clips.item(i / 4).narrow1(i % 4..i % 4 + 1);
        assert_eq!(frame.pixels, want.reshape([3, 5, 6]).unwrap());
    }
    for (shape, items) in [(&[3, 5, 6][..], 1), (&[2, 3, 5, 6], 2)] {
        let images = ramp(shape);
        let path = save_array(folder.path(), "b.safetensors", &[("x", &images)]);
        let frames = all(&mut *open_source(&path, &PLAIN).unwrap());
        let data: Vec<f32> = frames
            .iter()
            .flat_map(|f| f.pixels.data())
            .copied()
            .collect();
        assert_eq!((frames.len(), &data[..]), (items, images.data()));
    }
}

#[test]
fn arrays_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |tensors: &[(&str, &Array)]| {
        let path = save_array(folder.path(), "a.safetensors", tensors);
        problem(open_source(&path, &PLAIN), &path)
    };
    let (wrong, empty) = (ramp(&[1, 5, 8, 8]), Array::zeros([3, 0, 8]));
    assert!(refused(&[("x", &wrong)]).contains("[1, 5, 8, 8]"));
    assert!(refused(&[("x", &empty)]).contains("[3, 0, 8]"));
    assert!(refused(&[("x", &wrong), ("y", &wrong)]).contains("'pixels'"));
}

#[test]
fn values_out_of_range_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut clip = ramp(&[1, 3, 2, 4, 4]);
    clip.data_mut()[16..19].copy_from_slice(&[1.5, f32::NAN, 1.0005]);
    let path = save_array(folder.path(), "a.safetensors", &[("pixels", &clip)]);
    let mut source = open_source(&path, &PLAIN).unwrap();
    assert!(source.next().unwrap().is_some());
    assert_eq!(
        problem(source.next(), &path),
        "2 values of frame 1 are not in [-1, 1]"
    );
    let one = Array::new([3, 1, 1], vec![-9.0, 0.0, 9.0]).unwrap();
    let path = save_array(folder.path(), "b.safetensors", &[("pixels", &one)]);
    let mut source = open_source(&path, &PLAIN).unwrap();
    assert_eq!(problem(source.next(), &path), "2 values are not in [-1, 1]");
}

/// A file of a quarter of a tebibyte, nearly all of it a hole: whoever reads it whole fails for
/// lack of memory.
#[cfg(unix)]
#[test]
fn an_array_is_never_read_whole() {
    const FRAMES: u64 = 1 << 28;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let shape = format!("(1, 3, {FRAMES}, 8, 8)");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let head = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
    std::fs::write(&path, &head).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(head.len() as u64 + 3 * FRAMES * 64 * 4)
        .unwrap();
    let mut source = fitted(&path, &PLAIN, Edges::Crop).unwrap();
    assert_eq!(source.spec().frames as u64, FRAMES - 3);
    for index in 0..6 {
        let frame = source.next().unwrap().unwrap();
        assert_eq!(
            (frame.index, frame.pixels),
            (index, Array::zeros([3, 8, 8]))
        );
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = save_array(folder.path(), "a.safetensors", &[("x", &ramp(&[3, 8, 8]))]);
    let mut source = open_source(&path, &PLAIN).unwrap();
    save_array(folder.path(), "a.safetensors", &[("x", &ramp(&[3, 8, 9]))]);
    problem(source.next(), &path);
}

#[test]
fn sizes_between_are_cropped_or_padded() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "a.png", &image(3, [17, 26]));
    let mut cropped = fitted(&path, &PLAIN, Edges::Crop).unwrap();
    assert_eq!(cropped.spec().size, [16, 24]);
    let frame = cropped.next().unwrap().unwrap();
    assert_eq!(frame.pixels.shape(), [3, 16, 24]);
    // One row below and a column on each side are left out.
    assert_eq!(frame.pixels.data()[..24], image(3, [17, 26]).data()[1..25]);
    let shown = path.display();
    assert_eq!(
        frame.notes,
        [format!(
            "{shown}: cropped from 26x17 to 24x16 pixels, multiples of 8"
        )]
    );
    let mut padded = fitted(&path, &PLAIN, Edges::Pad).unwrap();
    let frame = padded.next().unwrap().unwrap();
    assert_eq!(frame.pixels.shape(), [3, 24, 32]);
    assert_eq!(
        frame.notes,
        [format!(
            "{shown}: padded from 26x17 to 32x24 pixels, multiples of 8"
        )]
    );
    let small = save(folder.path(), "b.png", &image(0, [8, 7]));
    assert_eq!(
        problem(fitted(&small, &PLAIN, Edges::Crop), &small),
        "7x8 pixels are smaller than a latent cell of 8x8; `encode --pad` pads them"
    );
    let whole = save(folder.path(), "c.png", &image(0, [8, 16]));
    let frame = fitted(&whole, &PLAIN, Edges::Pad).unwrap().next();
    let frame = frame.unwrap().unwrap();
    assert_eq!((frame.pixels, frame.notes.len()), (image(0, [8, 16]), 0));
}

#[test]
fn frames_left_over_are_dropped_from_every_item() {
    let folder = tempfile::tempdir().unwrap();
    let mut clips = ramp(&[2, 3, 7, 8, 8]);
    // The very last frame is dropped before it is looked at.
    *clips.data_mut().last_mut().unwrap() = 7.0;
    let path = save_array(folder.path(), "a.npy.safetensors", &[("pixels", &clips)]);
    let mut source = fitted(&path, &PLAIN, Edges::Crop).unwrap();
    assert_eq!((source.spec().items, source.spec().frames), (2, 5));
    let frames = all(&mut source);
    let places: Vec<_> = frames.iter().map(|f| (f.item, f.index)).collect();
    let want: Vec<_> = (0..10).map(|i| (i / 5, i % 5)).collect();
    assert_eq!(places, want);
    let [note] = &frames[0].notes[..] else {
        panic!("{:?}", frames[0].notes)
    };
    let file = path.display().to_string();
    assert!(note.starts_with(&file) && note.contains("2 of 7"), "{note}");
    assert!(frames[1..].iter().all(|f| f.notes.is_empty()));
}

#[test]
fn counts_of_frames_follow_the_model() {
    let config = VaeConfig::default();
    let fit = Fit::to(&config, Edges::Crop);
    for frames in 0..40 {
        assert_eq!(fit.frames(frames), config.whole_frames(frames), "{frames}");
    }
}

fn plan(path: &Path, items: usize, frames: usize) -> Output {
    let input = Input {
        path: "a.latent".into(),
        name: "a".into(),
        items,
        frames,
    };
    Output::plan(path, &[input], OutputOptions::default()).unwrap()
}

#[test]
fn what_was_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["clip.npy", "clip.safetensors", "frames/"] {
        let path = folder.path().join(name);
        let mut sink = plan(&path, 1, 12).open(0, Vec::new()).unwrap();
        for number in 0..12 {
            sink.push(&image(number, [8, 16])).unwrap();
        }
        sink.finish().unwrap();
        let frames = all(&mut *open_source(&path, &CLIP).unwrap());
        assert_eq!(frames.len(), 12, "{name}");
        for (number, frame) in frames.into_iter().enumerate() {
            assert_eq!(frame.pixels, image(number, [8, 16]), "{name} {number}");
        }
    }
}

#[test]
fn a_sink_that_is_dropped_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.npy", "a.safetensors", "a.png"] {
        let output = plan(&folder.path().join(name), 1, 1);
        let mut sink = output.open(0, Vec::new()).unwrap();
        drop(output);
        if name != "a.png" {
            sink.push(&image(0, [8, 8])).unwrap();
        }
        drop(sink);
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "{name}");
    }
}

#[test]
fn opacity_is_left_out_of_a_jpeg_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let clear = ramp(&[4, 8, 8]);
    for (name, notes) in [("a.jpg", 1), ("a.png", 0)] {
        let path = folder.path().join(name);
        let mut sink: Box<dyn FrameSink> =
            Box::new(ImageSink::new(path.clone(), PictureOptions::default()));
        sink.push(&clear).unwrap();
        let found = sink.notes();
        assert_eq!(found.len(), notes, "{name}");
        assert!(found.iter().all(|note| note.contains("a.jpg")));
        assert!(sink.notes().is_empty());
        assert_eq!(sink.finish().unwrap(), [path]);
    }
}
