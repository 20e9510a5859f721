//! What names, files and servers bring along does not reach a terminal as it is: escapes are shown, and none begins a line.

use std::path::Path;
use std::process::Command;

use vae2x_core::Array;

use crate::codec::npy;
use crate::support::{fixture, text, vae2x, write_safetensors};

/// Colours, a window's title, a line of its own, and letters that turn the direction of text.
const EVIL: &str = "\x1b[31mRED\x1b]0;owned\x07\nerror: forged\r\u{202e}\u{9b}1m\u{200b}";
/// The same, as it is to be printed.
const SHOWN: &str = r"\x1b[31mRED\x1b]0;owned\x07\nerror: forged\r\u{202e}\u{9b}1m\u{200b}";

/// Runs a command whose output must be clean, and returns that.
#[track_caller]
fn output(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{printed:?}");
    assert!(!printed.contains("panicked"), "{printed}");
    let obeyed = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!printed.contains(obeyed), "{printed:?}");
    let is_forged = |line: &str| line.trim_start().starts_with("error: forged");
    assert!(!printed.lines().any(is_forged), "{printed}");
    printed
}

/// Runs the program, whose output must be clean and show [`EVIL`].
#[track_caller]
fn shows(code: i32, args: &[&str]) -> String {
    let printed = output(vae2x().args(args), code);
    assert!(printed.contains(SHOWN), "{printed}");
    printed
}

/// The same, and what is printed is a line for each error.
#[track_caller]
fn fails(args: &[&str]) {
    let printed = shows(1, args);
    let is_error = |line: &&str| line.starts_with("error: ");
    assert_eq!(printed.lines().filter(is_error).count(), 1, "{printed}");
}

/// A safetensors file of tensors that need no data of their own.
fn safetensors(path: &Path, header: &serde_json::Value, bytes: usize) {
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    std::fs::write(path, file).unwrap();
}

fn photo(path: &Path, side: usize) {
    let image = Array::zeros([3, side, side]);
    vae2x_media::picture::write_image(path, &image, &Default::default()).unwrap();
}

/// A folder, and the paths of names in it.
struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name))
    }

    /// The path of a new file.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

const FRAME: &str = "data/wan_cheesecake_frame0.latent";

#[test]
fn names_of_files() {
    let room = Room::new();
    fails(&["info", &room.path(&format!("{EVIL}.safetensors"))]);
    fails(&["info", &room.file(&format!("{EVIL}.pt"), "x")]);
    fails(&["info", &room.file(&format!("{EVIL}.html"), "<html>")]);

    let latent = room.path(&format!("a{EVIL}.npy"));
    std::fs::write(&latent, npy(&[1, 16, 1, 4, 4], 0.1)).unwrap();
    let info = ["info", &latent, "--latent-space", "raw"];
    shows(0, &info);
    let json = output(vae2x().args(info).arg("--json"), 0);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["file"], latent.as_str());
    let decode = [
        "decode",
        &latent,
        "--latent-space",
        "raw",
        "--vae",
        "demo:base",
        "-o",
    ];
    shows(0, &[&decode[..], &[&room.path("out/")]].concat());
    let note = output(vae2x().args(decode).arg(room.path("x.png")), 0);
    assert!(
        note.lines().any(|line| line == room.path("x.png")),
        "{note}"
    );

    let weights = room.path(&format!("{EVIL}v.safetensors"));
    std::fs::copy(fixture("vae_tiny_base/original.safetensors"), &weights).unwrap();
    shows(0, &["info", &weights]);
}

#[test]
fn names_of_images_in_tables_and_lists() {
    let room = Room::new();
    std::fs::create_dir(room.path("in")).unwrap();
    let named = |name: &str| room.folder.path().join("in").join(name);
    photo(&named(&format!("p{EVIL}.png")), 16);
    photo(&named("q\nerror: forged\r.png"), 16);
    let (folder, out) = (room.path("in"), room.path("up/"));
    shows(0, &["upscale", &folder, "--vae", "demo:2x", "-o", &out]);
    std::fs::write(named(&format!("broken{EVIL}.png")), "no").unwrap();
    let printed = shows(1, &["upscale", &folder, "--vae", "demo:2x", "-o", &out]);
    assert!(printed.contains("1 of 3 inputs failed"), "{printed}");
    std::fs::remove_file(named(&format!("broken{EVIL}.png"))).unwrap();

    let sides = [format!("a={folder}"), format!("b{EVIL}={folder}")];
    let metrics = ["metrics", &sides[0], &sides[1], "--reference", "a"];
    shows(0, &metrics);
    let json = output(vae2x().args(metrics).arg("--json"), 0);
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    shows(1, &["speckle", &folder]);
    shows(2, &["metrics", &sides[0], &sides[1], "--reference", EVIL]);
    let page = room.path(&format!("{EVIL}.html"));
    shows(0, &["compare", &sides[0], &sides[1], "-o", &page]);
}

#[test]
fn names_of_tensors_and_metadata() {
    let room = Room::new();
    let path = |name: &str| room.folder.path().join(name);
    let decode = |name: &str| {
        let (latent, out) = (room.path(name), room.path("x.png"));
        fails(&["decode", &latent, "--vae", "demo:base", "-o", &out]);
    };
    let latent = |range: [usize; 2]| serde_json::json!({ "dtype": "F32", "shape": [1, 16, 1, 1, 1], "data_offsets": range });
    let two = serde_json::json!({ format!("{EVIL}1"): latent([0, 64]), format!("{EVIL}2"): latent([64, 128]) });
    safetensors(&path("two.safetensors"), &two, 128);
    decode("two.safetensors");
    let marked =
        serde_json::json!({ "__metadata__": { "latent_space": EVIL }, "latents": latent([0, 64]) });
    safetensors(&path("marked.safetensors"), &marked, 64);
    decode("marked.safetensors");
    let nan = Array::new([1, 16, 1, 1, 1], vec![f32::NAN; 16]).unwrap();
    write_safetensors(&path("nan.safetensors"), EVIL, &nan);
    decode("nan.safetensors");
    safetensors(
        &path("one.safetensors"),
        &serde_json::json!({ EVIL: latent([0, 64]) }),
        64,
    );
    shows(0, &["info", &room.path("one.safetensors")]);

    let gamma =
        serde_json::json!({ "dtype": "F32", "shape": [96, 1, 1, 1], "data_offsets": [0, 384] });
    let other = serde_json::json!({ "dtype": "F32", "shape": [1], "data_offsets": [384, 388] });
    let layer = format!("decoder.{EVIL}");
    let weights = serde_json::json!({ "decoder.head.0.gamma": gamma, layer: other });
    safetensors(&path("vae.safetensors"), &weights, 388);
    fails(&["info", &room.path("vae.safetensors")]);
    let foreign =
        serde_json::json!({ EVIL: { "dtype": "F32", "shape": [1], "data_offsets": [0, 4] } });
    safetensors(&path("foreign.safetensors"), &foreign, 4);
    let dtype = serde_json::json!({ "a": { "dtype": EVIL, "shape": [1], "data_offsets": [0, 4] } });
    safetensors(&path("dtype.safetensors"), &dtype, 4);
    let (frame, out) = (fixture(FRAME), room.path("x.png"));
    let with = |vae: &str| ["decode", &frame, "-o", &out, "--vae", vae].map(str::to_owned);
    for name in ["vae.safetensors", "foreign.safetensors"] {
        fails(&with(&room.path(name)).each_ref().map(String::as_str));
    }
    output(vae2x().args(["info", &room.path("dtype.safetensors")]), 1);
    fails(&[
        "decode",
        &frame,
        "--vae",
        "demo:base",
        "--key",
        EVIL,
        "-o",
        &out,
    ]);

    std::fs::create_dir(room.path("model")).unwrap();
    std::fs::copy(
        fixture("vae_tiny_base/diffusers/diffusion_pytorch_model.safetensors"),
        path("model/diffusion_pytorch_model.safetensors"),
    )
    .unwrap();
    let config = serde_json::json!({ "_class_name": EVIL });
    room.file("model/config.json", config.to_string());
    fails(&with(&room.path("model")).each_ref().map(String::as_str));
}

#[test]
fn contents_of_other_formats() {
    let room = Room::new();
    let out = room.path("x.png");
    for name in ["names", "two_names", "byteorder"] {
        let file = fixture(&format!("terminal/{name}.pt"));
        let printed = output(
            vae2x().args(["decode", &file, "--vae", "demo:base", "-o", &out]),
            1,
        );
        assert!(printed.contains(r"\x1b[31m"), "{printed}");
    }
    let mut array = npy(&[1, 16, 1, 4, 4], 0.1);
    let at = array.windows(3).position(|w| w == b"<f4").unwrap();
    array[at..at + 3].copy_from_slice(b"\x1b[m");
    let array = room.file("x.npy", array);
    let printed = output(
        vae2x().args(["decode", &array, "--vae", "demo:base", "-o", &out]),
        1,
    );
    assert!(printed.contains(r"\x1b[m"), "{printed}");
    let (profile, latent) = (fixture("terminal/profile.png"), room.path("x.latent"));
    let printed = output(
        vae2x().args(["encode", &profile, "--vae", "demo:base", "-o", &latent]),
        0,
    );
    assert!(
        printed.contains(r"A\x1b[31mRED\x1b]0;owned\x07\nerror: forged line\nZ"),
        "{printed}"
    );
}

#[test]
fn arguments_hub_ids_and_the_environment() {
    let room = Room::new();
    let (frame, out) = (fixture(FRAME), room.path("x.png"));
    let decode = ["decode", &frame, "--vae", "demo:base", "-o", &out];
    let with = |more: &[&'static str]| [&decode[..], more].concat();
    shows(2, &with(&["--threads", EVIL]));
    shows(2, &with(&["--memory", EVIL]));
    shows(2, &with(&["--device", EVIL]));
    shows(2, &with(&["--scale", EVIL]));
    shows(2, &["decode", &format!("--{EVIL}")]);
    shows(2, &[EVIL]);
    shows(
        2,
        &[
            "decode",
            &frame,
            "--vae",
            &format!("demo:{EVIL}"),
            "-o",
            &out,
        ],
    );
    shows(2, &["compare", "a", "b", "--crop", EVIL, "-o", "x.html"]);
    output(vae2x().args(with(&["--threads", "\u{fffd}"])), 2);

    let offline = |args: &[&str]| {
        let mut command = vae2x();
        command
            .args(args)
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", room.folder.path());
        let printed = output(&mut command, 1);
        assert!(printed.contains(SHOWN), "{printed}");
    };
    offline(&["info", &format!("o/n:{EVIL}")]);
    offline(&["info", &format!("{EVIL}/x")]);
    let mut command = vae2x();
    command
        .args(["info", "o/n"])
        .env("HF_HOME", room.folder.path())
        .env("HF_ENDPOINT", "http://\x1b[31m");
    assert!(output(&mut command, 1).contains(r"\x1b[31m"));
    let printed = output(vae2x().args(decode).env("VAE2X_ISA", EVIL), 2);
    assert!(printed.contains(SHOWN), "{printed}");
}

#[cfg(feature = "train")]
#[test]
fn photos_configurations_and_pairs() {
    let room = Room::new();
    std::fs::create_dir(room.path("scan")).unwrap();
    photo(&room.folder.path().join("scan/ok.png"), 64);
    room.file(&format!("scan/x{EVIL}.png"), "broken");
    let list = room.path(&format!("{EVIL}.jsonl"));
    shows(0, &["dataset", "scan", &room.path("scan"), "-o", &list]);

    let config = crate::train::tiny_run(room.folder.path());
    let written = std::fs::read_to_string(&config).unwrap();
    let quoted = serde_json::Value::from(EVIL).to_string();
    let train = |config: &str, more: &[&str]| {
        let args = [
            "train",
            "decoder",
            "--config",
            config,
            "--out",
            &room.path("run"),
        ];
        fails(&[&args[..], more].concat());
    };
    train(
        &room.file("a.toml", format!("{written}\n{quoted} = 1\n")),
        &[],
    );
    let raw = EVIL.replace('\n', " ");
    let bad = room.file("b.toml", format!("[model]\nbase = \"{raw}\" oops\n"));
    let printed = output(
        vae2x().args(["train", "decoder", "--config", &bad, "--out", "run"]),
        1,
    );
    assert!(printed.contains(r"line 2, column"), "{printed}");
    train(&config, &["--set", &format!("{EVIL}=1")]);
    train(&config, &["--set", &format!("data.photos=[{quoted}]")]);
    let entry = serde_json::json!({
        "path": format!("/no/{EVIL}"), "width": 64, "height": 64, "sharpness": 1.0, "hash": "0".repeat(16)
    });
    let list = room.file("m.jsonl", format!("{entry}\n"));
    train(&config, &["--set", &format!("data.photos=[\"{list}\"]")]);

    std::fs::create_dir(room.path("pairs")).unwrap();
    let latent = |range: [usize; 2]| serde_json::json!({ "dtype": "F32", "shape": [16, 2, 2], "data_offsets": range });
    let pair = serde_json::json!({
        format!("{EVIL}.clean"): latent([0, 256]),
        format!("{EVIL}.degraded"): latent([256, 512]),
        format!("{EVIL}.t"): { "dtype": "F32", "shape": [2], "data_offsets": [512, 520] }
    });
    safetensors(&room.folder.path().join("pairs/p.safetensors"), &pair, 520);
    let proxy = room.file(
        "proxy.toml",
        "width = 4\nblocks = 1\nsteps = 1\nbatch = 1\ncrop = 8\n",
    );
    fails(&[
        "train",
        "degradation",
        "--pairs",
        &room.path("pairs"),
        "--config",
        &proxy,
        "--out",
        &room.path("run"),
    ]);
}
