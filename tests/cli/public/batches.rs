//! Many inputs at once: folders of mixed files, patterns, equal names, bad files among good ones, and a second run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use vae2x_core::Array;
use vae2x_core::weights::formula::unit;
use vae2x_media::picture::{PictureOptions, read_image, write_image};

use crate::support::{copy_fixture, entries, fixture, run, text};

const WEIGHTS: &str = "vae_tiny_up2x/original.safetensors";
const FRAME: &str = "data/wan_cheesecake_frame0.latent";

/// A case of `folders` in the public cases.
fn case(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/public/folders");
    text(&folder.join(name))
}

/// Writes an image of this size.
fn image(path: &Path, [h, w]: [usize; 2]) {
    let values = unit(&path.display().to_string(), 3 * h * w).collect();
    let array = Array::new([3, h, w], values).unwrap();
    write_image(path, &array, &PictureOptions::default()).unwrap();
}

/// Cuts a file to a part of its length.
fn cut(path: &Path, share: f64) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..(bytes.len() as f64 * share) as usize]).unwrap();
}

/// The last change of every file in a folder.
fn changes(folder: &Path) -> BTreeMap<String, SystemTime> {
    let change = |name: String| {
        let at = folder.join(&name).metadata().unwrap().modified().unwrap();
        (name, at)
    };
    entries(folder).into_iter().map(change).collect()
}

/// The arguments of `upscale` over one input.
fn upscale<'a>(input: &'a str, weights: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["upscale", input, "--vae", weights, "-o", out], more].concat()
}

const GOOD: [&str; 9] = [
    "a.jpg",
    "a.png",
    "a-2.png",
    "A.webp",
    "photo 10.PNG",
    "photo 2.png",
    "x[1].png",
    "ü☃.png",
    "odd.jpeg",
];
const NAMES: [&str; 9] = [
    "A.png",
    "a-2.png",
    "a-3.png",
    "a-4.png",
    "odd.png",
    "photo 10.png",
    "photo 2.png",
    "x[1].png",
    "ü☃.png",
];
/// Those that fail when they are opened, and when they are read.
const BAD: [&str; 7] = [
    "broken_head.png",
    "empty.png",
    "list.txt.png",
    "locked.png",
    "text.jpg",
    "broken_data.png",
    "cut.jpg",
];
const SKIPPED: [&str; 8] = [
    "b.jxl",
    "c.heic",
    "d.psd",
    "README",
    "movie.mpx",
    "notes.txt",
    "z1.txt",
    "inner",
];
const HIDDEN: [&str; 6] = [
    ".hidden.png",
    "._a.jpg",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "__MACOSX",
];

/// A folder of thirty mixed files; whether `locked.png` cannot be read.
fn mixed(folder: &Path) -> bool {
    let at = |name: &str| folder.join(name);
    for (i, name) in GOOD.iter().enumerate() {
        image(&at(name), [9 + i, 16]);
    }
    for name in [
        "broken_head.png",
        "broken_data.png",
        "cut.jpg",
        "locked.png",
    ] {
        image(&at(name), [24, 24]);
    }
    cut(&at("broken_head.png"), 0.005);
    cut(&at("broken_data.png"), 0.6);
    cut(&at("cut.jpg"), 0.7);
    std::fs::write(at("empty.png"), []).unwrap();
    for name in ["list.txt.png", "text.jpg"].iter().chain(&SKIPPED[..7]) {
        std::fs::write(at(name), "no image").unwrap();
    }
    for name in &HIDDEN[..5] {
        std::fs::write(at(name), "left by a system").unwrap();
    }
    std::fs::create_dir(at("inner")).unwrap();
    std::fs::create_dir(at("__MACOSX")).unwrap();
    assert_eq!(entries(folder).len(), 30);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let none = std::fs::Permissions::from_mode(0o0);
        std::fs::set_permissions(at("locked.png"), none).unwrap();
    }
    // Root reads it all the same.
    std::fs::read(at("locked.png")).is_err()
}

#[test]
fn a_folder_of_mixed_files_is_done_as_far_as_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, out) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::create_dir(&inputs).unwrap();
    let is_locked = mixed(&inputs);
    let (shown, shown_out, weights) = (text(&inputs), text(&out), fixture(WEIGHTS));
    let said = run(&upscale(&shown, &weights, &shown_out, &[])).fails(1);

    let bad: Vec<&str> = BAD
        .into_iter()
        .filter(|name| is_locked || *name != "locked.png")
        .collect();
    let last = said.lines().last().unwrap();
    let count = format!("error: {} of 16 inputs failed: ", bad.len());
    assert!(last.starts_with(&count), "{last}");
    for name in &bad {
        let path = text(&inputs.join(name));
        let reason = |line: &&str| line.starts_with(&format!("error: {path}: "));
        assert_eq!(said.lines().filter(reason).count(), 1, "{name}: {said}");
        assert!(last.contains(&path), "{name}: {last}");
    }
    let skipped = format!(
        "{shown}: skipped 3 images in formats that are not read (b.jxl, c.heic, d.psd), 4 files (README, \
         movie.mpx, notes.txt, z1.txt), 1 folder (inner)"
    );
    assert!(said.lines().any(|line| line == skipped), "{said}");
    for name in HIDDEN {
        assert!(!said.contains(name), "{name}: {said}");
    }
    let mut names = NAMES.map(String::from).to_vec();
    if !is_locked {
        names.push("locked.png".into());
        names.sort();
    }
    assert_eq!(entries(&out), names);
    // Equal stems are numbered in the order of the names, around those that others have.
    for (input, output) in [
        ("A.webp", "A"),
        ("a-2.png", "a-2"),
        ("a.jpg", "a-3"),
        ("a.png", "a-4"),
    ] {
        let [h, w] = size(&inputs.join(input));
        let large = size(&out.join(format!("{output}.png")));
        assert_eq!(large, [2 * h, 2 * w], "{input}");
    }

    // A second run tries only those that failed.
    let before = changes(&out);
    let said = run(&upscale(&shown, &weights, &shown_out, &["--skip-existing"])).fails(1);
    let done = format!("{} inputs skipped: their outputs exist", names.len());
    assert!(said.lines().any(|line| line == done), "{said}");
    assert_eq!(said.lines().last().unwrap(), last);
    assert_eq!(changes(&out), before);

    // Outputs that are missing or no finished files are made again, under the same names.
    std::fs::remove_file(out.join("a-3.png")).unwrap();
    std::fs::write(out.join("odd.png"), []).unwrap();
    for name in &bad {
        std::fs::remove_file(inputs.join(name)).unwrap();
    }
    run(&upscale(&shown, &weights, &shown_out, &["--skip-existing"])).ok();
    assert_eq!(entries(&out), names);
    let after = changes(&out);
    let changed: Vec<_> = names
        .iter()
        .filter(|name| after[*name] != before[*name])
        .collect();
    assert_eq!(changed, ["a-3.png", "odd.png"]);

    // Nothing is left: no weights are looked for.
    let none = text(&folder.path().join("none.safetensors"));
    run(&upscale(&shown, &none, &shown_out, &["--skip-existing"])).ok();
}

fn size(path: &Path) -> [usize; 2] {
    let [_, h, w] = read_image(path).unwrap().pixels.dims("image").unwrap();
    [h, w]
}

#[test]
fn the_cases_of_folders_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture(WEIGHTS);
    let out = text(&folder.path().join("one_bad"));
    let said = run(&upscale(&case("one_bad"), &weights, &out, &[])).fails(1);
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("error: 1 of 4 inputs failed: ") && last.ends_with("1b.png"),
        "{last}"
    );
    assert_eq!(entries(Path::new(&out)), ["0.png", "1.png", "2.png"]);
    let out = text(&folder.path().join("same_stem"));
    run(&upscale(&case("same_stem"), &weights, &out, &[])).ok();
    assert_eq!(entries(Path::new(&out)), ["a-2.png", "a.png"]);
}

#[test]
fn patterns_are_expanded_by_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("clips/b/c")).unwrap();
    for name in ["x2.latent", "x10.latent", "b/x1.latent", "b/c/y1.latent"] {
        copy_fixture(FRAME, folder.path(), &format!("clips/{name}"));
    }
    let preview = |pattern: &str, out: &str| {
        let (pattern, out) = (text(&at(pattern)), text(&at(out)));
        run(&["preview", &pattern, "-o", &out])
    };
    preview("clips/**/x?.latent", "1/").ok();
    assert_eq!(entries(&at("1")), ["x1_00000.png", "x2_00000.png"]);
    preview("clips/*.latent", "2/").ok();
    assert_eq!(entries(&at("2")), ["x10_00000.png", "x2_00000.png"]);
    preview("clips", "3/").ok();
    assert_eq!(entries(&at("3")), ["x10_00000.png", "x2_00000.png"]);
    let said = preview("clips/*.png", "4/").fails(1);
    assert!(
        said.contains("clips/*.png: no file matches this pattern"),
        "{said}"
    );
    assert!(!at("4").exists());
    // What exists as it stands is taken before what it would match.
    copy_fixture(FRAME, folder.path(), "a[1].latent");
    copy_fixture(FRAME, folder.path(), "a1.latent");
    preview("a[1].latent", "one.png").ok();
    let decoded = run(&[
        "decode",
        &text(&at("a*.latent")),
        "--vae",
        &fixture(WEIGHTS),
        "-o",
        &text(&at("5")),
    ]);
    decoded.ok();
    assert_eq!(entries(&at("5")), ["a1_00000.png", "a[1]_00000.png"]);
}

#[test]
fn decode_and_preview_go_on_and_resume() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("in/more")).unwrap();
    copy_fixture(FRAME, &at("in"), "a.latent");
    copy_fixture(
        "data/wan_cheesecake_normalized.safetensors",
        &at("in"),
        "clip.safetensors",
    );
    copy_fixture(FRAME, &at("in/more"), "A.latent");
    std::fs::write(at("in/b.latent"), "no latent").unwrap();
    // Listed, although it is gone by now.
    let missing = at("in/more/a.latent");
    let preview = |more: &[&str]| {
        let paths: Vec<String> = [at("in"), missing.clone(), at("in/more"), at("out/")]
            .iter()
            .map(|p| text(p))
            .collect();
        let arguments = ["preview", &paths[0], &paths[1], &paths[2], "-o", &paths[3]];
        run(&[&arguments[..], more].concat())
    };
    let said = preview(&[]).fails(1);
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("error: 2 of 5 inputs failed: "), "{last}");
    assert!(
        last.contains("b.latent") && last.contains(&text(&missing)),
        "{last}"
    );
    let out = at("out");
    let names = entries(&out);
    assert_eq!(names.len(), 18);
    // The input that failed keeps its number.
    let numbered = |name: &str| names.contains(&format!("{name}_00000.png"));
    assert!(
        numbered("a") && numbered("A-3") && numbered("clip"),
        "{names:?}"
    );

    // A clip of which a frame is missing is done again, others are not.
    let before = changes(&out);
    std::fs::remove_file(out.join("clip_00007.png")).unwrap();
    let said = preview(&["--skip-existing"]).fails(1);
    assert!(
        said.contains("2 inputs skipped: their outputs exist"),
        "{said}"
    );
    let after = changes(&out);
    assert_eq!(entries(&out), names);
    let is_new = |name: &&String| after[*name] != before[*name];
    let changed: Vec<&String> = names.iter().filter(is_new).collect();
    assert!(
        changed.len() == 16 && changed.iter().all(|name| name.starts_with("clip")),
        "{changed:?}"
    );
    let none = text(&at("none.safetensors"));
    let decode = [
        "decode",
        &text(&at("in/a.latent")),
        "--vae",
        &none,
        "-o",
        &text(&out),
    ];
    run(&[&decode[..], &["--skip-existing"]].concat()).ok();
}

#[test]
fn one_bad_image_stops_no_measurement() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for side in ["p", "q"] {
        std::fs::create_dir(at(side)).unwrap();
        for name in ["a.png", "b.png", "c.png"] {
            image(&at(side).join(name), [128, 128]);
        }
    }
    std::fs::write(at("q/b.png"), "broken").unwrap();
    std::fs::write(at("q/notes.txt"), "broken").unwrap();
    let (p, q) = (
        format!("p={}", text(&at("p"))),
        format!("q={}", text(&at("q"))),
    );
    let bad = text(&at("q/b.png"));
    let check = |arguments: &[&str]| {
        let said = run(arguments).fails(1);
        let last = said.lines().last().unwrap();
        assert!(
            last.contains("1 of ") && last.ends_with(&format!("inputs failed: {bad}")),
            "{said}"
        );
        assert!(said.contains("q: skipped 1 file (notes.txt)"), "{said}");
    };
    check(&["metrics", &p, &q, "--reference", "p"]);
    let page = text(&at("page.html"));
    check(&["compare", &p, &q, "-o", &page]);
    assert!(Path::new(&page).exists());
    check(&["speckle", &text(&at("q"))]);
}

#[test]
fn numbers_of_the_images_that_can_be_read_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["a.png", "b.png"] {
        image(&at(name), [128, 128]);
    }
    std::fs::write(at("c.png"), "broken").unwrap();
    let paths: Vec<PathBuf> = ["a.png", "c.png", "b.png"].map(at).to_vec();
    let paths: Vec<String> = paths.iter().map(|path| text(path)).collect();
    let output = crate::support::vae2x()
        .args(["speckle", &paths[0], &paths[1], &paths[2], "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let files: Vec<&str> = report
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, [&*paths[0], &*paths[2]]);
}
