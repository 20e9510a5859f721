//! Invalid inputs and command lines: a clear message, the right exit code, nothing left behind.

use std::path::{Path, PathBuf};

use vae2x_core::Array;

use crate::support::{Run, copy_fixture, entries, fixture, run, text, write_safetensors};

const ORIGINAL: &str = "vae_tiny_up2x/original.safetensors";
const FRAME: &str = "data/wan_cheesecake_frame0.latent";

/// A folder whose only entries must be those that a test put there.
struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Decodes `latent` with `vae`, which must fail with `code`, name what `expected` lists and write nothing.
    #[track_caller]
    fn refuses(&self, latent: &Path, vae: &Path, code: i32, expected: &[&str]) {
        let before = entries(self.folder.path());
        let out = self.path("out.png");
        let message = run(&[
            "decode",
            &text(latent),
            "--vae",
            &text(vae),
            "-o",
            &text(&out),
        ])
        .fails(code);
        for words in expected {
            assert!(message.contains(words), "'{words}' is not in: {message}");
        }
        assert_eq!(
            entries(self.folder.path()),
            before,
            "files were left behind"
        );
    }
}

fn frame() -> PathBuf {
    vae2x_testkit::fixture(FRAME)
}

#[test]
fn truncated_weights() {
    let room = Room::new();
    for (file, name) in [
        (ORIGINAL, "w.safetensors"),
        ("vae_tiny_up2x/original_bf16.pth", "w.pth"),
    ] {
        let path = copy_fixture(file, room.folder.path(), name);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 3, 8, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            room.refuses(&frame(), &path, 1, &[name]);
        }
    }
}

#[test]
fn lying_headers() {
    let room = Room::new();
    let path = room.path("w.safetensors");
    for header in [
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,400]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,16]}}"#,
        r#"{"a":{"dtype":"F99","shape":[4],"data_offsets":[0,16]}}"#,
        r#"{"a":[]}"#,
        "{",
    ] {
        let bytes = [
            &(header.len() as u64).to_le_bytes()[..],
            header.as_bytes(),
            &[0; 16],
        ]
        .concat();
        std::fs::write(&path, bytes).unwrap();
        room.refuses(&frame(), &path, 1, &["w.safetensors"]);
        room.refuses(
            &path,
            &vae2x_testkit::fixture(ORIGINAL),
            1,
            &["w.safetensors"],
        );
    }
    std::fs::write(&path, [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    room.refuses(&frame(), &path, 1, &["w.safetensors"]);
}

#[test]
fn a_pickle_that_would_run_code() {
    let room = Room::new();
    let path = copy_fixture(
        "vae_tiny_up2x/original_bf16.pth",
        room.folder.path(),
        "w.pth",
    );
    let mut bytes = std::fs::read(&path).unwrap();
    // The class that rebuilds tensors, replaced by one that runs commands, of the same length.
    let (safe, evil) = (&b"_rebuild_tensor_v2"[..], &b"system____________"[..]);
    let at = bytes
        .windows(safe.len())
        .position(|w| w == safe)
        .expect("the pickle names its class");
    bytes[at..at + safe.len()].copy_from_slice(evil);
    std::fs::write(&path, bytes).unwrap();
    room.refuses(&frame(), &path, 1, &["w.pth"]);
}

/// Writes the tiny model to `path` with one tensor changed by `edit`, or dropped.
pub fn edited(path: &Path, name: &str, edit: impl Fn(Array) -> Option<(String, Array)>) {
    use vae2x_core::weights::{TensorFile, write::write_arrays};
    let file = TensorFile::open(&vae2x_testkit::fixture(ORIGINAL)).unwrap();
    let arrays: Vec<(String, Array)> = file
        .tensors()
        .keys()
        .filter_map(|key| {
            let array = file.read(key).unwrap();
            if key == name {
                edit(array)
            } else {
                Some((key.clone(), array))
            }
        })
        .collect();
    let arrays: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    write_arrays(path, &arrays, &Default::default()).unwrap();
}

#[test]
fn tensors_missing_extra_or_misshapen() {
    let room = Room::new();
    let name = "decoder.middle.0.residual.3.gamma";
    let path = room.path("edited.safetensors");
    edited(&path, name, |_| None);
    room.refuses(&frame(), &path, 1, &["edited.safetensors", name]);
    edited(&path, name, |a| Some((format!("{name}.extra"), a)));
    room.refuses(&frame(), &path, 1, &[name, ".extra"]);
    edited(&path, name, |a| {
        Some((name.into(), a.reshape([1, 32, 1, 1]).unwrap()))
    });
    room.refuses(
        &frame(),
        &path,
        1,
        &[name, "[32, 1, 1, 1]", "[1, 32, 1, 1]"],
    );
    edited(&path, "decoder.head.2.bias", |_| {
        Some(("decoder.head.2.bias".into(), Array::zeros([4])))
    });
    room.refuses(&frame(), &path, 1, &["decoder.head.2.bias"]);
}

#[test]
fn output_channels_that_are_no_picture() {
    let room = Room::new();
    let path = room.path("edited.safetensors");
    edited(&path, "decoder.head.2.weight", |_| {
        Some((
            "decoder.head.2.weight".into(),
            Array::zeros([5, 8, 3, 3, 3]),
        ))
    });
    room.refuses(&frame(), &path, 1, &["edited.safetensors", " 5 "]);
}

#[test]
fn latents_that_no_decoder_takes() {
    let room = Room::new();
    let path = room.path("l.safetensors");
    let vae = vae2x_testkit::fixture(ORIGINAL);
    let latent = |array: &Array, expected: &[&str]| {
        write_safetensors(&path, "latents", array);
        room.refuses(&path, &vae, 1, expected);
    };
    latent(
        &Array::zeros([1, 48, 1, 4, 4]),
        &["l.safetensors", "48", "Wan2.2-5B"],
    );
    latent(&Array::zeros([1, 4, 8, 8]), &["16"]);
    latent(&Array::zeros([1, 16, 1, 0, 4]), &["l.safetensors"]);
    latent(&Array::zeros([16]), &["l.safetensors"]);
    let mut broken = Array::zeros([1, 16, 1, 2, 2]);
    broken.data_mut()[5] = f32::NAN;
    latent(&broken, &["l.safetensors", "1"]);
}

#[test]
fn latent_files_that_are_none() {
    let room = Room::new();
    let vae = vae2x_testkit::fixture(ORIGINAL);
    room.refuses(&room.path("absent.latent"), &vae, 1, &["absent.latent"]);
    room.refuses(room.folder.path(), &vae, 1, &[]);
    let path = room.path("noise.latent");
    std::fs::write(&path, [0x5a; 1000]).unwrap();
    room.refuses(&path, &vae, 1, &["noise.latent"]);
    let message = run(&[
        "decode",
        &fixture("vae_tiny_up2x/cases.safetensors"),
        "--vae",
        "demo:2x",
        "-o",
        "x.png",
    ])
    .fails(1);
    assert!(message.contains("--key"), "{message}");
}

#[test]
fn weights_that_are_none() {
    let room = Room::new();
    room.refuses(
        &frame(),
        Path::new("no_such_file.safetensors"),
        1,
        &["no_such_file.safetensors"],
    );
    room.refuses(&frame(), &frame(), 1, &[]);
    room.refuses(
        &frame(),
        &vae2x_testkit::fixture("dit_tiny/original.safetensors"),
        1,
        &["dit_tiny/original.safetensors"],
    );
    room.refuses(&frame(), Path::new("demo:8x"), 2, &["demo:8x"]);
}

fn decode_to(out: &Path) -> Run {
    run(&[
        "decode",
        &fixture(FRAME),
        "--vae",
        "demo:base",
        "-o",
        &text(out),
    ])
}

#[test]
fn outputs_that_cannot_be() {
    let room = Room::new();
    assert!(decode_to(&room.path("x.bmp2")).fails(2).contains(".png"));
    let message = decode_to(&room.path("missing/x.png")).fails(1);
    assert!(message.contains("missing/x.png"), "{message}");
    let args = [
        "decode",
        &fixture(FRAME),
        "--vae",
        "demo:base",
        "--bit-depth",
        "16",
        "-o",
        &text(&room.path("x.jpg")),
    ];
    assert!(run(&args).fails(2).contains("16"));
    assert_eq!(entries(room.folder.path()), Vec::<String>::new());
    let message = run(&[
        "encode",
        &fixture(FRAME),
        "--vae",
        "demo:2x",
        "-o",
        &text(&room.path("x.png")),
    ])
    .fails(2);
    assert!(message.contains(".latent"), "{message}");
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/photos/coffee.png");
    let args = [
        "encode",
        photo,
        "--vae",
        "demo:2x",
        "--latent-space",
        "normalized",
        "-o",
        &text(&room.path("x.latent")),
    ];
    assert!(run(&args).fails(2).contains("raw"));
    let args = [
        "encode",
        photo,
        photo,
        "--vae",
        "demo:2x",
        "-o",
        &text(&room.path("x.latent")),
    ];
    assert!(run(&args).fails(2).contains("x.latent"));
}

#[test]
fn pictures_that_are_none() {
    let room = Room::new();
    let out = text(&room.path("x.latent"));
    let path = room.path("picture.png");
    let photo = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/assets/photos/coffee.png"
    ))
    .unwrap();
    for bytes in [&b"not a picture"[..], &[], &photo[..photo.len() / 2]] {
        std::fs::write(&path, bytes).unwrap();
        let message = run(&["encode", &text(&path), "--vae", "demo:2x", "-o", &out]).fails(1);
        assert!(message.contains("picture.png"), "{message}");
        assert_eq!(entries(room.folder.path()), ["picture.png"]);
    }
    std::fs::remove_file(&path).unwrap();
    let jpeg = room.path("picture.jpg");
    decode_to(&jpeg).ok();
    let whole = std::fs::read(&jpeg).unwrap();
    std::fs::write(&jpeg, &whole[..whole.len() / 2]).unwrap();
    let message = run(&["encode", &text(&jpeg), "--vae", "demo:2x", "-o", &out]).fails(1);
    assert!(message.contains("picture.jpg"), "{message}");
    assert_eq!(entries(room.folder.path()), ["picture.jpg"]);
}

#[test]
fn wrong_command_lines() {
    for args in [
        &["decode"][..],
        &["fly"],
        &["decode", "a", "--vae", "b"],
        &["decode", "a", "-o", "b", "--threads", "0"],
    ] {
        run(args).fails(2);
    }
}

#[test]
fn no_output_replaces_an_input_or_another_output() {
    let room = Room::new();
    let latent = copy_fixture(FRAME, room.folder.path(), "l.latent");
    let weights = copy_fixture(ORIGINAL, room.folder.path(), "w.safetensors");
    let before = [
        std::fs::read(&latent).unwrap(),
        std::fs::read(&weights).unwrap(),
    ];
    let (l, w, out) = (text(&latent), text(&weights), text(&room.path("x.png")));
    let link = room.path("link.safetensors");
    std::fs::hard_link(&weights, room.path("other.safetensors")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&weights, &link).unwrap();
    for args in [
        &["decode", &l, "--vae", &w, "-o", &w][..],
        &["decode", &l, "--vae", &w, "-o", &out, "--timings", &w],
        &["decode", &l, "--vae", &w, "-o", &out, "--timings", &l],
        &["decode", &l, "--vae", &w, "-o", &out, "--timings", &out],
        &["decode", &l, "--vae", &text(&link), "-o", &w],
        &["encode", &l, "--vae", &w, "-o", &l],
        &["convert", &w, "-o", &w, "--layout", "original"],
    ] {
        run(args).fails(2);
    }
    assert_eq!(
        [
            std::fs::read(&latent).unwrap(),
            std::fs::read(&weights).unwrap()
        ],
        before
    );
    assert!(!room.path("x.png").exists());
}

#[test]
fn weights_with_values_that_are_no_numbers() {
    let room = Room::new();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/photos/chelsea.png");
    let vae = room.path("edited.safetensors");
    let poison = |name: &str, value: f32| {
        edited(&vae, name, |mut a| {
            a.data_mut()[0] = value;
            Some((name.into(), a))
        });
    };
    for value in [f32::NAN, f32::INFINITY] {
        poison("decoder.head.2.bias", value);
        room.refuses(&frame(), &vae, 1, &[]);
        poison("conv1.bias", value);
        run(&[
            "encode",
            photo,
            "--vae",
            &text(&vae),
            "-o",
            &text(&room.path("x.latent")),
        ])
        .fails(1);
        assert_eq!(entries(room.folder.path()), ["edited.safetensors"]);
    }
}

#[test]
fn a_clip_for_weights_without_time() {
    let room = Room::new();
    let vae = text(&room.path("2d.safetensors"));
    run(&["convert", &fixture(ORIGINAL), "-o", &vae, "--layout", "2d"]).ok();
    let clip = room.path("clip.safetensors");
    write_safetensors(&clip, "latents", &Array::zeros([1, 16, 3, 4, 4]));
    let args = [
        "decode",
        &text(&clip),
        "--vae",
        &vae,
        "--latent-space",
        "raw",
        "-o",
        &text(&room.path("frames")),
    ];
    let message = run(&args).fails(1);
    assert!(message.contains("clip.safetensors"), "{message}");
    assert_eq!(
        entries(room.folder.path()),
        ["2d.safetensors", "clip.safetensors"]
    );
}

/// A limit on file sizes stands in for a full disk: the system refuses the write half way.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    use std::process::Command;
    let room = Room::new();
    for name in ["x.png", "x.npy"] {
        let script = format!(
            "trap '' XFSZ; ulimit -f 20; exec '{}' decode '{}' --vae demo:base -o '{}'",
            env!("CARGO_BIN_EXE_vae2x"),
            fixture(FRAME),
            text(&room.path(name)),
        );
        let message = crate::support::finish(Command::new("bash").args(["-c", &script])).fails(1);
        assert!(message.contains(name), "{message}");
        assert_eq!(entries(room.folder.path()), Vec::<String>::new());
    }
}

/// Ctrl-C in the middle of a long decode.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let room = Room::new();
    let latents = room.path("l.safetensors");
    write_safetensors(&latents, "latents", &Array::zeros([1, 16, 40, 32, 32]));
    let args = [
        "decode",
        &text(&latents),
        "--vae",
        "demo:2x",
        "--latent-space",
        "raw",
        "-o",
        &text(&room.path("x.npy")),
    ];
    let mut child = crate::support::vae2x()
        .args(args)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !entries(room.folder.path())
        .iter()
        .any(|name| name.ends_with(".tmp"))
    {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "decoding never started"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert_eq!(entries(room.folder.path()), ["l.safetensors"]);
}

#[test]
fn a_latent_beyond_memory_is_refused_with_an_estimate() {
    let room = Room::new();
    // One row of cells, so long that its rows of pixels take a hundred gigabytes. The file is a hole but for its header.
    let path = room.path("long.npy");
    let cells = 4_000_000;
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (1, 16, 1, {cells}), }}");
    let start = [
        b"\x93NUMPY\x01\x00\x76\x00",
        format!("{header:117}\n").as_bytes(),
    ]
    .concat();
    std::fs::write(&path, &start).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len((start.len() + 16 * cells * 4) as u64).unwrap();
    let mut command = crate::support::vae2x();
    command.args([
        "decode",
        &text(&path),
        "--vae",
        "demo:2x",
        "--latent-space",
        "raw",
        "-o",
        &text(&room.path("x.npy")),
    ]);
    let message = crate::support::finish(&mut command).fails(1);
    assert!(
        message.contains("long.npy") && message.contains(" MB"),
        "{message}"
    );
    assert_eq!(entries(room.folder.path()), ["long.npy"]);
}
