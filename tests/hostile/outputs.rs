//! Where outputs go: what was there, links, devices, names, inputs, permissions.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use libtest_mimic::Trial;

use vae2x_testkit::special;

use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::png::photo;
use crate::make::tensors::{latent, latent8, plain_latent};

const PNG: &[u8] = b"\x89PNG";

/// Decodes a small latent to `output`.
pub fn decode(name: &str, expect: Expect, output: &str) -> Case {
    let args = [
        "decode",
        "latent8.latent",
        "--vae",
        "demo:base",
        "-o",
        output,
        "--latent-space",
        "raw",
    ];
    case(format!("outputs {name}"), expect, &args).bytes("latent8.latent", latent8())
}

/// Runs that touch an input as no run may: a failure that leaves all as it was.
fn refused(name: &str, args: &[&str]) -> Case {
    case(format!("outputs {name}"), Error, args).bytes("latent8.latent", latent8())
}

pub fn cases() -> Vec<Trial> {
    let mut cases = present();
    cases.extend(links());
    cases.extend(devices());
    cases.extend(names());
    cases.extend(inputs());
    cases.extend(colours());
    cases.into_iter().map(Trial::from).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata()
        .map_or(0, |m| m.permissions().mode() & 0o777)
}

fn is(right: bool, wrong: impl Into<String>) -> Result<(), String> {
    if right { Ok(()) } else { Err(wrong.into()) }
}

/// Files that are there already, and the mode of new ones.
fn present() -> Vec<Case> {
    let old = |name: &str, bits: u32| {
        let case = decode(name, Either, "o.png")
            .bytes("o.png", "old")
            .replaces("o.png");
        case.make(move |room| {
            fs::set_permissions(room.path("o.png"), Permissions::from_mode(bits)).expect("a mode")
        })
    };
    let mut cases = vec![
        decode("plain", Success, "o.png"),
        old("over a file of mode 0600", 0o600).check(|room, outcome| {
            is(outcome.code == Some(0), "is refused")?;
            is(
                mode(&room.path("o.png")) == 0o600,
                format!("mode {:o}", mode(&room.path("o.png"))),
            )
        }),
        old("over a read-only file", 0o444).check(|room, outcome| {
            is(
                outcome.code == Some(1) && room.read("o.png") == b"old",
                "replaces a file that is marked read-only",
            )
        }),
        old("over one of two hard links", 0o644)
            .make(|room| {
                fs::hard_link(room.path("o.png"), room.path("second.png")).expect("a link");
            })
            .check(|room, _| is(room.read("second.png") == b"old", "changes the other link")),
        decode("over a folder named .png", Either, "o.png")
            .make(|room| fs::create_dir(room.path("o.png")).expect("a folder")),
        case(
            "outputs a folder with a file of the same name",
            Either,
            &["decode", "x.latent", "--vae", "demo:base", "-o", "q"],
        )
        .bytes("x.latent", latent8())
        .bytes("q/x_00000.png", "old")
        .replaces("x_00000.png"),
    ];
    for mask in [0o077, 0o027, 0o000] {
        let case = decode(&format!("umask {mask:03o}"), Success, "o.png")
            .setting(|s| s.before = format!("umask {mask:03o}; "));
        cases.push(case.check(move |room, _| {
            let mode = mode(&room.path("o.png"));
            is(mode == 0o666 & !mask, format!("mode {mode:o}"))
        }));
    }
    cases
}

fn links() -> Vec<Case> {
    let linked = |name: &str, expect, target: &'static str| {
        decode(name, expect, "o.png")
            .make(move |room| symlink(target, room.path("o.png")).expect("a link"))
    };
    vec![
        linked("to a link", Success, "real.png")
            .bytes("real.png", "old")
            .replaces("real.png")
            .check(|room, _| {
                is(
                    room.path("o.png").is_symlink() && room.read("real.png").starts_with(PNG),
                    "the link is gone",
                )
            }),
        linked("to a dangling link", Either, "nowhere.png")
            .replaces("o.png")
            .check(|room, outcome| {
                is(
                    outcome.code != Some(0) || room.path("o.png").exists(),
                    "nothing is there",
                )
            }),
        linked("to a loop of links", Either, "p.png")
            .make(|room| symlink("o.png", room.path("p.png")).expect("a link"))
            .replaces("o.png"),
        linked("to a link into /proc", Error, "/proc/1/mem"),
        linked("to a link to /dev/full", Error, "/dev/full"),
        linked("to a link to /dev/null", Error, "/dev/null"),
        linked("to a link to /dev/stdout", Error, "/dev/stdout"),
    ]
}

fn devices() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "/dev/full",
        "/dev/null",
        "/dev/stdout",
        "/dev/tty",
        "/dev/zero",
    ]
    .map(|device| decode(device, Error, device))
    .into();
    cases.push(decode("to a fifo", Error, "o.png").make(|room| special::fifo(&room.path("o.png"))));
    cases.push(
        decode("to a socket", Error, "o.png").make(|room| special::socket(&room.path("o.png"))),
    );
    let timings = [
        "decode",
        "latent8.latent",
        "--vae",
        "demo:base",
        "-o",
        "o.png",
        "--timings",
    ];
    // The image is written before its times can be.
    cases.push(
        refused(
            "--timings to /dev/full",
            &[&timings[..], &["/dev/full"]].concat(),
        )
        .goes_on(),
    );
    cases.push(refused(
        "--timings to the output",
        &[&timings[..], &["o.png"]].concat(),
    ));
    cases.push(refused(
        "--timings to the input",
        &[&timings[..], &["latent8.latent"]].concat(),
    ));
    cases
}

fn names() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("/proc/x.png", Error),
        ("no/such/folder/x.png", Error),
        ("latent8.latent/x.png", Error),
        ("a.png/", Either),
        ("", Error),
        (".", Either),
        ("..png", Either),
        ("x.PNG", Success),
        ("x.gif", Success),
        ("x.png.", Either),
    ]
    .map(|(name, expect)| decode(&format!("named '{name}'"), expect, name))
    .into();
    for length in [204, 240, 244, 247, 250, 255] {
        let name = "n".repeat(length - 4) + ".png";
        cases.push(decode(&format!("a name of {length} bytes"), Success, &name));
    }
    cases.push(decode(
        "a name of 264 bytes",
        Error,
        &("n".repeat(260) + ".png"),
    ));
    cases
}

/// Outputs that are inputs, by one path or another.
fn inputs() -> Vec<Case> {
    let onto = |name: &str, expect, output: &str| {
        let args = [
            "decode",
            "in.safetensors",
            "--vae",
            "demo:base",
            "-o",
            output,
            "--latent-space",
            "raw",
        ];
        case(format!("outputs {name}"), expect, &args).bytes("in.safetensors", latent8())
    };
    let folder = |name: &str, output: &str| {
        let case = case(
            format!("outputs {name}"),
            Error,
            &["upscale", "ph", "--vae", "demo:2x", "-o", output],
        );
        case.bytes("ph/a.png", photo(32, 32, 0))
            .make(|room| symlink("ph", room.path("link")).expect("a link"))
    };
    let convert = |name: &str, output: &str| {
        let args = [
            "convert",
            "v.safetensors",
            "-o",
            output,
            "--layout",
            "original",
        ];
        case(format!("outputs {name}"), Error, &args).make(|room| {
            let model = vae2x_testkit::fixture("vae_tiny_base/original.safetensors");
            room.write("v.safetensors", fs::read(model).expect("the fixture"));
            symlink("v.safetensors", room.path("link.safetensors")).expect("a link");
        })
    };
    let item = |args: &[&str]| {
        let name = format!("outputs {}", args.join(" "));
        let case =
            case(name, Error, args).bytes("lf/x0.safetensors", plain_latent([1, 1, 8, 8], 1));
        case.bytes("lf/x1.safetensors", plain_latent([1, 1, 8, 8], 2))
    };
    let x0 = "lf/x0.safetensors";
    vec![
        onto("the input", Error, "in.safetensors"),
        onto("a hard link of the input", Either, "hard.safetensors")
            .replaces("hard.safetensors")
            .make(|room| {
                fs::hard_link(room.path("in.safetensors"), room.path("hard.safetensors"))
                    .expect("a link");
            }),
        onto("a link to the input", Error, "link.safetensors").make(|room| {
            symlink("in.safetensors", room.path("link.safetensors")).expect("a link");
        }),
        folder("a folder onto itself", "ph"),
        folder("a folder onto itself by another path", "ph/../ph/"),
        folder("a folder onto itself by a link", "link"),
        convert("convert onto itself", "v.safetensors"),
        convert("convert onto itself by a link", "link.safetensors"),
        item(&["hires", x0, "--vae", "demo:2x", "-o", "lf"]),
        item(&["hires", x0, "--vae", "demo:2x", "-o", "lf/"]),
        item(&["decode", x0, "--vae", "demo:base", "-o", x0]),
        item(&["encode", x0, "--vae", "demo:base", "-o", x0]),
    ]
}

/// The image of `--match-color` is an input, too.
fn colours() -> Vec<Case> {
    let with = |name: &str, output: &str| {
        let args = [
            "decode",
            "mc.latent",
            "--vae",
            "demo:2x",
            "--match-color",
            "mc_00000.png",
            "-o",
            output,
        ];
        case(format!("outputs {name}"), Error, &args)
            .bytes("mc.latent", latent([1, 1, 8, 8], 1))
            .bytes("mc_00000.png", photo(64, 64, 0))
    };
    vec![
        with("the --match-color image", "mc_00000.png"),
        with("a folder with the --match-color image", "."),
    ]
}
