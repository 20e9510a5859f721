//! Where images go: decided before any work, refused early, whole or not at all.

use std::path::{Path, PathBuf};

use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_media::output::{ArrayFormat, Input, Output, OutputOptions, Target};
use vae2x_media::picture::{BitDepth, PictureFormat, read_image};

fn input(path: &str, items: usize, frames: usize) -> Input {
    Input {
        path: path.into(),
        items,
        frames,
    }
}

/// A frame that tells which one it is.
fn frame(number: usize) -> Array {
    let value = |i: usize| (number * 8 + i % 8) as f32 / 127.5 - 1.0;
    Array::new([3, 2, 4], (0..24).map(value).collect()).unwrap()
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn refusal(path: &Path, inputs: &[Input]) -> String {
    Output::plan(path, inputs, OutputOptions::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_path_decides() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let target = |path: PathBuf| {
        Output::plan(&path, &[input("a.latent", 1, 1)], OutputOptions::default())
            .unwrap()
            .target()
            .clone()
    };
    assert_eq!(target(at("a.JPEG")), Target::Picture(at("a.JPEG")));
    assert_eq!(
        target(at("a.npy")),
        Target::Array(at("a.npy"), ArrayFormat::Npy)
    );
    assert_eq!(
        target(at("a.safetensors")),
        Target::Array(at("a.safetensors"), ArrayFormat::Safetensors)
    );
    assert_eq!(
        target(folder.path().into()),
        Target::Folder(folder.path().into())
    );
    assert_eq!(target(at("new")), Target::Folder(at("new")));
    assert_eq!(target(at("v1.0/")), Target::Folder(at("v1.0/")));
    // An existing folder is one, whatever its name; files are not left behind by planning.
    std::fs::create_dir(at("b.png")).unwrap();
    assert_eq!(target(at("b.png")), Target::Folder(at("b.png")));
    assert_eq!(entries(folder.path()), ["b.png", "new", "v1.0"]);
}

#[test]
fn what_does_not_fit_is_refused_early() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let clip = [input("a.latent", 1, 61)];
    let many = refusal(&at("out.png"), &clip);
    assert!(
        many.contains("61 frames") && many.contains("give a folder") && many.contains("out/"),
        "{many}"
    );
    let two = [input("a.latent", 1, 1), input("b.latent", 1, 1)];
    assert!(refusal(&at("out.png"), &two).contains("2 frames"));
    assert!(refusal(&at("out.npy"), &two).contains("2 inputs"));
    let unknown = refusal(&at("out.tga"), &clip);
    assert!(
        unknown.contains("'.tga'") && unknown.contains(".webp") && unknown.contains(".safetensors"),
        "{unknown}"
    );
    assert!(refusal(&at("out"), &[]).contains("nothing to write"));
    assert!(refusal(&at("missing/out.npy"), &clip).contains("missing/out.npy"));
    let deep = OutputOptions {
        depth: BitDepth::Sixteen,
        folder_format: PictureFormat::Webp,
    };
    assert!(Output::plan(&at("a.jpg"), &clip[..0], deep).is_err());
    assert!(
        Output::plan(&at("a.jpg"), &[input("a", 1, 1)], deep)
            .unwrap_err()
            .to_string()
            .contains("JPEG")
    );
    assert!(
        Output::plan(&at("deep/"), &clip, deep)
            .unwrap_err()
            .to_string()
            .contains("WebP")
    );
    let own = at("own.safetensors");
    std::fs::write(&own, b"x").unwrap();
    let overwrite = refusal(
        &own,
        &[Input {
            path: own.clone(),
            items: 1,
            frames: 1,
        }],
    );
    assert!(
        overwrite.contains("would overwrite the input"),
        "{overwrite}"
    );
    assert_eq!(entries(folder.path()), ["own.safetensors"]);
}

#[cfg(unix)]
#[test]
fn places_that_cannot_be_written_are_refused() {
    // A file where a folder is needed cannot be written into, by root neither.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let one = [input("a.latent", 1, 1)];
    assert!(refusal(&file, &one).contains("file"));
    assert!(refusal(&file.join("out.png"), &one).contains("out.png"));
    assert!(refusal(Path::new("/proc/vae2x.png"), &one).contains("/proc/vae2x.png"));
    assert!(refusal(Path::new("/proc/vae2x/"), &one).contains("/proc/vae2x"));
}

#[test]
fn folders_take_numbered_frames() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = [
        input("x/cake.latent", 1, 3),
        input("y/Cake.pt", 2, 1),
        input("z/b.npy", 2, 2),
    ];
    let output = Output::plan(folder.path(), &inputs, OutputOptions::default()).unwrap();
    for (i, count) in [3, 2, 4].into_iter().enumerate() {
        let mut sink = output
            .open(i, vec![("prompt".into(), "{}".into())])
            .unwrap();
        for k in 0..count {
            sink.push(&frame(10 * i + k)).unwrap();
        }
        assert_eq!(sink.finish().unwrap().len(), count);
    }
    let want = [
        "Cake-2_00000.png",
        "Cake-2_00001.png",
        "b_0_00000.png",
        "b_0_00001.png",
        "b_1_00000.png",
        "b_1_00001.png",
        "cake_00000.png",
        "cake_00001.png",
        "cake_00002.png",
    ];
    assert_eq!(entries(folder.path()), want);
    let back = read_image(&output.file(2, 1, 0).unwrap()).unwrap().pixels;
    assert_eq!(back, frame(22));
    assert_eq!(output.file(2, 2, 0), None);
    assert_eq!(output.file(3, 0, 0), None);
}

#[test]
fn arrays_gather_frames_by_colour() {
    let folder = tempfile::tempdir().unwrap();
    for (name, key) in [("clip.npy", ""), ("clip.safetensors", "pixels")] {
        let path = folder.path().join(name);
        let output =
            Output::plan(&path, &[input("a.latent", 2, 3)], OutputOptions::default()).unwrap();
        let mut sink = output.open(0, Vec::new()).unwrap();
        (0..6).for_each(|k| sink.push(&frame(k)).unwrap());
        assert!(!path.exists(), "{name} appeared before it was complete");
        assert_eq!(sink.finish().unwrap(), std::slice::from_ref(&path));
        let whole = TensorFile::open(&path).unwrap().read(key).unwrap();
        assert_eq!(whole.shape(), [2, 3, 3, 2, 4]);
        for (b, c, f) in [(0, 0, 0), (1, 2, 1), (0, 1, 2), (1, 0, 2)] {
            let at = ((b * 3 + c) * 3 + f) * 8;
            assert_eq!(
                whole.data()[at..at + 8],
                frame(b * 3 + f).data()[c * 8..][..8],
                "{name} {b} {c} {f}"
            );
        }
    }
}

#[test]
fn arrays_are_clamped_and_single_pictures_written() {
    let folder = tempfile::tempdir().unwrap();
    let wild = Array::new([3, 1, 1], vec![-3.0, 0.25, 7.0]).unwrap();
    for name in ["a.npy", "a.png"] {
        let output = Output::plan(
            &folder.path().join(name),
            &[input("a", 1, 1)],
            OutputOptions::default(),
        )
        .unwrap();
        let mut sink = output.open(0, Vec::new()).unwrap();
        sink.push(&wild).unwrap();
        assert!(
            sink.push(&wild)
                .unwrap_err()
                .to_string()
                .contains("expected 1 x 1, found 2")
        );
        sink.finish().unwrap();
    }
    let array = TensorFile::open(&folder.path().join("a.npy"))
        .unwrap()
        .read("")
        .unwrap();
    assert_eq!(array.data(), [-1.0, 0.25, 1.0]);
}

#[test]
fn an_incomplete_array_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let output = Output::plan(&path, &[input("a", 1, 3)], OutputOptions::default()).unwrap();
    let mut sink = output.open(0, Vec::new()).unwrap();
    sink.push(&frame(0)).unwrap();
    assert!(
        sink.push(&Array::zeros([3, 2, 5]))
            .unwrap_err()
            .to_string()
            .contains("4x2 pixels, as the first")
    );
    let mut nan = frame(1);
    nan.data_mut()[3] = f32::NAN;
    assert!(sink.push(&nan).unwrap_err().to_string().contains("frame 1"));
    assert!(
        sink.finish()
            .unwrap_err()
            .to_string()
            .contains("expected 1 x 3, found 1")
    );
    assert!(output.open(1, Vec::new()).is_err());
    assert_eq!(entries(folder.path()), Vec::<String>::new());
}
