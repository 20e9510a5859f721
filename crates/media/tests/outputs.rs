//! Where images go: decided before any work, refused early, whole or not at all.

use std::path::{Path, PathBuf};

use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, Error};
use vae2x_media::output::{ArrayFormat, Input, Output, OutputOptions, Target};
use vae2x_media::picture::{BitDepth, PictureFormat, read_image};

fn input(path: &str, items: usize, frames: usize) -> Input {
    Input {
        path: path.into(),
        name: Path::new(path)
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into(),
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

fn refusal(path: &Path, inputs: &[Input]) -> Error {
    Output::plan(path, inputs, OutputOptions::default()).unwrap_err()
}

fn is_impossible(error: Error) -> bool {
    matches!(error, Error::BadRequest(_))
}

fn is_miscounted<T>(result: vae2x_core::Result<T>, planned: &str, came: &str) -> bool {
    matches!(result, Err(Error::Shape { expected, got, .. }) if expected == planned && got == came)
}

/// Whether the system refused a path that ends so.
fn is_refused_at(error: Error, end: &str) -> bool {
    matches!(error, Error::Io { path, .. } if path.ends_with(end))
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
    assert!(is_impossible(refusal(&at("out.png"), &clip)));
    let two = [input("a.latent", 1, 1), input("b.latent", 1, 1)];
    assert!(is_impossible(refusal(&at("out.png"), &two)));
    assert!(is_impossible(refusal(&at("out.npy"), &two)));
    assert!(is_impossible(refusal(&at("out.tga"), &clip)));
    assert!(is_impossible(refusal(&at("out"), &[])));
    assert!(is_refused_at(
        refusal(&at("missing/out.npy"), &clip),
        "missing/out.npy"
    ));
    let deep = OutputOptions {
        depth: BitDepth::Sixteen,
        folder_format: PictureFormat::Webp,
        ..OutputOptions::default()
    };
    for (name, inputs) in [("a.jpg", &[input("a", 1, 1)][..]), ("deep/", &clip)] {
        let refused = Output::plan(&at(name), inputs, deep.clone()).unwrap_err();
        assert!(is_impossible(refused), "{name}");
    }
    let own = at("own.safetensors");
    std::fs::write(&own, b"x").unwrap();
    let same = Input {
        name: "a".into(),
        path: own.clone(),
        items: 1,
        frames: 1,
    };
    assert!(is_impossible(refusal(&own, &[same])));
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
    assert!(is_refused_at(refusal(&file, &one), "file"));
    assert!(is_refused_at(
        refusal(&file.join("out.png"), &one),
        "out.png"
    ));
    for path in ["/proc/vae2x.png", "/proc/vae2x/"] {
        assert!(is_refused_at(refusal(Path::new(path), &one), path));
    }
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
        assert!(is_miscounted(sink.push(&wild), "1 x 1", "2"));
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
    let wide = sink.push(&Array::zeros([3, 2, 5]));
    assert!(matches!(wide, Err(Error::Shape { got, .. }) if got == "3 channels of 5x2 pixels"));
    let mut nan = frame(1);
    nan.data_mut()[3] = f32::NAN;
    let broken = sink.push(&nan);
    assert!(matches!(
        broken,
        Err(Error::NotFinite {
            count: 1,
            total: 24,
            ..
        })
    ));
    assert!(is_miscounted(sink.finish(), "1 x 3", "1"));
    assert!(output.open(1, Vec::new()).is_err());
    assert_eq!(entries(folder.path()), Vec::<String>::new());
}
