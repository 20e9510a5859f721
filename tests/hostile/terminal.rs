//! What reaches a terminal from names, metadata and arguments: no control character, no forged line.

use libtest_mimic::Trial;

use crate::case::{Case, Either, Error, Expect, Success, case, trial};
use crate::make::png::{chunk, photo, with_chunks};
use crate::make::profile::icc;
use crate::make::tensors::*;
use crate::make::zlib;
use crate::room::control_characters;

/// Colours the text, and titles the window.
pub const ESCAPES: &str = "\x1b[31mRED\x1b]0;owned\x07";
const DECODE: &[&str] = &["decode", "latent8.latent", "--vae"];

fn named(suffix: &str) -> String {
    format!("{ESCAPES}{suffix}")
}

fn of(name: &str, expect: Expect, args: &[&str]) -> Case {
    case(format!("terminal {name}"), expect, args)
        .bytes("latent8.latent", latent8())
        .never("\nerror: fake")
        .never("\nerror: forged")
}

pub fn cases() -> Vec<Trial> {
    let mut cases = file_names();
    cases.extend(folders());
    cases.extend(tensor_names());
    cases.extend(weights());
    cases.extend(arguments());
    let mut trials: Vec<Trial> = cases.into_iter().map(Trial::from).collect();
    trials.push(trial("terminal escapes of a profile's name", profile_name));
    trials
}

fn file_names() -> Vec<Case> {
    let (missing, bad, latent) = (named(".safetensors"), named(".pt"), named(".latent"));
    let with = |case: Case| case.bytes(latent.clone(), latent8());
    vec![
        of("missing file", Error, &["info", &missing]),
        of("bad file", Error, &["info", &bad]).bytes(bad.clone(), "x"),
        with(of("info", Success, &["info", &latent])),
        with(of("info --json", Success, &["info", "--json", &latent])),
        with(of(
            "decode",
            Success,
            &["decode", &latent, "--vae", "demo:base", "-o", "out/"],
        )),
        of("web page", Error, &["info", "x.pt"]).bytes("x.pt", format!("<{ESCAPES}")),
    ]
}

/// A folder of photos whose names are hostile.
fn photos(case: Case, size: u32) -> Case {
    case.bytes(format!("pics/p{ESCAPES}.png"), photo(size, size, 0))
        .bytes("pics/q\nerror: fake\r.png", photo(size, size, 1))
        .bytes("pics/r\u{202e}gnp.exe.png", photo(size, size, 2))
}

fn folders() -> Vec<Case> {
    let b = format!("b{ESCAPES}=pics");
    let upscale = ["upscale", "pics", "--vae", "demo:2x", "-o", "up/"];
    let broken = photos(of("a folder with a broken image", Error, &upscale), 32);
    // The rest of the folder is done, so the failed run leaves a folder.
    let broken = broken
        .bytes(format!("pics/broken{ESCAPES}.png"), "no")
        .goes_on();
    let mut cases = vec![
        broken,
        photos(of("a folder", Success, &upscale), 32),
        photos(
            of(
                "a table",
                Success,
                &["metrics", "a=pics", &b, "--reference", "a"],
            ),
            32,
        ),
        photos(
            of(
                "a table as JSON",
                Success,
                &["metrics", "a=pics", &b, "--reference", "a", "--json"],
            ),
            32,
        ),
        photos(of("speckle, too small", Error, &["speckle", "pics"]), 32),
        photos(of("speckle", Success, &["speckle", "pics"]), 128),
        photos(
            of(
                "compare",
                Success,
                &["compare", "a=pics", &b, "-o", "c.html"],
            ),
            32,
        ),
    ];
    if cfg!(feature = "train") {
        let scan = of(
            "scan",
            Either,
            &["dataset", "scan", "scan", "-o", "m.jsonl"],
        );
        let scan = scan
            .bytes(format!("scan/x{ESCAPES}.png"), "broken")
            .bytes("scan/ok.png", photo(64, 64, 0));
        cases.push(scan.check(|room, _| {
            let manifest = String::from_utf8_lossy(&room.read("m.jsonl")).into_owned();
            if control_characters(&manifest).is_empty() {
                Ok(())
            } else {
                Err("the manifest has control characters".into())
            }
        }));
    }
    cases
}

fn tensor_names() -> Vec<Case> {
    let decode = [
        "decode",
        "x.safetensors",
        "--vae",
        "demo:base",
        "-o",
        "o.png",
    ];
    let with = |name: &str, expect, args: &[&str], bytes: Vec<u8>| {
        of(name, expect, args).bytes("x.safetensors", bytes)
    };
    let one = |value| cell(ESCAPES, "F32", same(value, 16));
    let shape = [1, 16, 1, 1, 1];
    let two = ["1", "2"].map(|n| tensor(&named(n), "F32", &shape, same(0.1, 16)));
    let escaped: String = ESCAPES
        .chars()
        .map(|c| {
            if c.is_control() {
                format!("\\u{:04x}", c as u32)
            } else {
                c.to_string()
            }
        })
        .collect();
    let unknown = format!(r#"{{"a":{{"dtype":"{escaped}","shape":[1],"data_offsets":[0,4]}}}}"#);
    let mut cases = vec![
        with("two tensors", Error, &decode, file(&two)),
        with("one tensor", Success, &["info", "x.safetensors"], one(0.1)),
        with("one tensor of NaN", Error, &decode, one(f32::NAN)),
        with(
            "an unknown type",
            Error,
            &["info", "x.safetensors"],
            header(&unknown, 4),
        ),
    ];
    for key in ["vae2x.latent_space", "latent_space", "vae2x.space", "space"] {
        let latent = tensor("latents", "F32", &shape, same(0.1, 16));
        cases.push(with(
            &format!("metadata {key}"),
            Either,
            &decode,
            with_metadata(&[latent], &[(key, ESCAPES)]),
        ));
    }
    cases
}

fn weights() -> Vec<Case> {
    let decode = [DECODE, &["x.safetensors", "-o", "o.png"]].concat();
    let gamma = || tensor("decoder.head.0.gamma", "F32", &[96, 1, 1, 1], vec![0; 384]);
    let layer = format!("decoder.{ESCAPES}");
    let extra = file(&[gamma(), tensor(&layer, "F32", &[1], vec![0; 4])]);
    let mean = with_metadata(&[gamma()], &[("latents_mean", ESCAPES)]);
    let foreign = file(&[tensor(ESCAPES, "F32", &[3], vec![0; 12])]);
    [
        (
            "weights, info",
            vec!["info", "x.safetensors"],
            extra.clone(),
        ),
        ("weights", decode.clone(), extra),
        ("latents_mean", decode.clone(), mean),
        ("a foreign model", decode, foreign),
    ]
    .into_iter()
    .map(|(name, args, bytes)| of(name, Error, &args).bytes("x.safetensors", bytes))
    .collect()
}

fn arguments() -> Vec<Case> {
    let (path, id, option) = (
        format!("o/n:{ESCAPES}"),
        format!("{ESCAPES}/x"),
        format!("--{ESCAPES}"),
    );
    let to = |rest: &[&'static str]| [DECODE, &["demo:base", "-o", "o.png"], rest].concat();
    vec![
        of("--key", Error, &[&to(&["--key"])[..], &[ESCAPES]].concat()),
        of("a path on the hub", Error, &["info", &path]),
        of("an id of the hub", Error, &["info", &id]),
        of("an option", Error, &["decode", &option]),
        of(
            "a number",
            Error,
            &[&to(&["--threads"])[..], &[ESCAPES]].concat(),
        ),
        of("an instruction set", Error, &to(&[]))
            .setting(|s| s.env.push(("VAE2X_ISA".into(), "\x1b[31m".into()))),
    ]
}

/// The warning on a profile names it.
fn profile_name(room: &crate::room::Room) -> Result<(), String> {
    let name = format!("A{ESCAPES}\nerror: forged line\nZ");
    let profile = chunk(b"iCCP", &[b"x\0\0", &zlib(&icc(&name))[..]].concat());
    room.write("p.png", with_chunks(32, 32, profile));
    let outcome = room.run(&["encode", "p.png", "--vae", "demo:base", "-o", "o.latent"]);
    let text = outcome.text();
    if !text.contains("RED") || text.contains("\nerror: forged") || !outcome.faults().is_empty() {
        return Err(format!(
            "{}\n{}",
            outcome.faults().join("; "),
            outcome.describe()
        ));
    }
    Ok(())
}
