//! `vae2x compare`: the page's contents, messages and errors. How it behaves in a browser is tested in `crates/compare`.

use std::path::Path;

use base64::Engine;
use serde_json::Value;
use vae2x_core::Array;
use vae2x_media::picture::{BitDepth, PictureOptions, decode_image, write_image};

use crate::support::{entries, run, text};

/// The images of a page, as its scripts find them.
pub struct Embedded {
    pub names: Vec<String>,
    pub rows: Vec<String>,
    /// Row after row; those that a row lacks are left out.
    pub pictures: Vec<Array>,
    /// As they are in the page.
    pub files: Vec<Vec<u8>>,
}

/// Reads a page.
pub fn embedded(page: &str) -> Embedded {
    let between = |start: &str, end: &str| {
        page.split_once(start)
            .and_then(|(_, rest)| rest.split_once(end))
            .expect(start)
            .0
    };
    let report = between(
        "<script id=\"report\" type=\"application/json\">",
        "</script>",
    );
    let report: Value = serde_json::from_str(report).unwrap();
    let texts = |values: &Value| -> Vec<String> { serde_json::from_value(values.clone()).unwrap() };
    let rows = report["rows"].as_array().unwrap();
    let shown = rows
        .iter()
        .flat_map(|row| row["pictures"].as_array().unwrap())
        .filter(|picture| !picture.is_null());
    let files: Vec<Vec<u8>> = shown
        .map(|picture| {
            let id = picture["data"].as_str().unwrap();
            let data = between(
                &format!("<div id=\"{id}\" hidden><script type=\"text/plain\">"),
                "</div>",
            );
            let pieces = data
                .trim_end_matches("</script>")
                .split("</script><script type=\"text/plain\">");
            pieces
                .flat_map(|piece| {
                    base64::engine::general_purpose::STANDARD
                        .decode(piece)
                        .unwrap()
                })
                .collect()
        })
        .collect();
    let pictures = files
        .iter()
        .map(|bytes| decode_image(Path::new("embedded"), bytes).unwrap().pixels)
        .collect();
    let names = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap().into())
        .collect();
    Embedded {
        names: texts(&report["names"]),
        rows: names,
        pictures,
        files,
    }
}

fn grey(height: usize, width: usize, value: f32) -> Array {
    Array::new([3, height, width], vec![value; 3 * height * width]).unwrap()
}

/// Folders `a` with x and y, `b` with x and z of half the size, as other formats.
pub fn folders(root: &Path) {
    for name in ["a", "b"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    for (file, picture) in [
        ("a/x.png", grey(32, 48, 0.0)),
        ("a/y.png", grey(32, 48, 0.5)),
        ("b/x.webp", grey(16, 24, 0.2)),
        ("b/z.jpg", grey(16, 24, 0.5)),
    ] {
        write_image(&root.join(file), &picture, &PictureOptions::default()).unwrap();
    }
    std::fs::write(root.join("b/notes.txt"), "no picture").unwrap();
}

#[test]
fn folders_become_rows_and_gaps_are_told() {
    let folder = tempfile::tempdir().unwrap();
    folders(folder.path());
    let [a, b, out] = ["a", "b", "page.html"].map(|name| text(&folder.path().join(name)));
    let said = run(&["compare", &format!("the <first>={a}"), &b, "-o", &out]).ok_stderr();
    assert!(said.contains("y: ") && said.contains("z: "), "{said}");
    let page = std::fs::read_to_string(&out).unwrap();
    let shown = embedded(&page);
    assert_eq!(shown.names, ["the <first>", "b"]);
    assert_eq!(shown.rows, ["x"]);
    // Files that browsers show are there as they are.
    for (embedded, file) in shown.files.iter().zip(["a/x.png", "b/x.webp"]) {
        assert_eq!(embedded, &std::fs::read(folder.path().join(file)).unwrap());
    }
    assert!(
        !page.contains("<first>") && page.contains("the &lt;first&gt;"),
        "names are escaped"
    );
    assert!(page.contains("20.17¹"), "25 of 255 apart");
    assert_eq!(entries(folder.path()), ["a", "b", "page.html"]);
}

#[test]
fn gaps_in_rows_stay_and_parts_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    folders(folder.path());
    let at = |name: &str| text(&folder.path().join(name));
    let sides = [
        format!("p={}", at("a")),
        format!("q={}", at("a")),
        format!("r={}", at("b")),
    ];
    let said = run(&[
        "compare",
        &sides[0],
        &sides[1],
        &sides[2],
        "--reference",
        "r",
        "--crop",
        "20x10+4+6",
        "-o",
        &at("c.html"),
    ]);
    let said = said.ok_stderr();
    assert!(said.contains("y: "), "{said}");
    let shown = embedded(&std::fs::read_to_string(at("c.html")).unwrap());
    assert_eq!(shown.rows, ["x", "y"]);
    let sizes: Vec<_> = shown
        .pictures
        .iter()
        .map(|p| p.shape()[1..].to_vec())
        .collect();
    assert_eq!(sizes, [[10, 20], [10, 20], [5, 10], [10, 20], [10, 20]]);
}

#[test]
fn what_browsers_do_not_show_becomes_png() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let sixteen = PictureOptions {
        depth: BitDepth::Sixteen,
        ..Default::default()
    };
    write_image(&at("deep.png"), &grey(16, 16, 0.1234), &sixteen).unwrap();
    write_image(
        &at("light.exr"),
        &grey(16, 16, 0.1234),
        &PictureOptions::default(),
    )
    .unwrap();
    let said = run(&[
        "compare",
        &text(&at("deep.png")),
        &text(&at("light.exr")),
        "-o",
        &text(&at("o.html")),
    ]);
    assert!(said.ok_stderr().contains("deep.png: "));
    let page = std::fs::read_to_string(at("o.html")).unwrap();
    for (bytes, picture) in embedded(&page).files.iter().zip(embedded(&page).pictures) {
        assert!(bytes.starts_with(b"\x89PNG"));
        assert!((picture.data()[0] - 0.1234).abs() < 0.01);
    }
    assert!(page.contains("PNG, 16 bit") && page.contains("EXR, 32 bit"));
}

#[test]
fn what_cannot_be_compared_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    folders(folder.path());
    std::fs::create_dir(folder.path().join("c")).unwrap();
    std::fs::write(folder.path().join("c/x.png"), b"\x89PNG\r\n\x1a\nno more").unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let out = at("o.html");
    let before = entries(folder.path());
    let refused = |arguments: &[&str], code: i32, words: &[&str]| {
        let message = run(&[&["compare"], arguments, &["-o", &out]].concat()).fails(code);
        for word in words {
            assert!(message.contains(word), "'{word}' is not in: {message}");
        }
        assert_eq!(entries(folder.path()), before, "files were left behind");
    };
    let (a, b) = (at("a"), at("b"));
    let named = |name: &str, path: &str| format!("{name}={path}");
    refused(&[&a], 2, &[]);
    refused(&[&named("n", &a), &named("n", &b)], 2, &["'n'"]);
    refused(&[&at("a/x.png"), &at("b/x.webp")], 2, &["'x'"]);
    refused(&[&a, &b, "--reference", "c"], 2, &["--reference c", "a, b"]);
    refused(&[&a, &b, "--crop", "20x10"], 2, &["20x10"]);
    refused(&[&a, &b, "--crop", "40x10+20+0"], 1, &["'x'", "48x32"]);
    refused(&[&a, &b, "--crop", "5x10+0+0"], 1, &["24x16"]);
    refused(&[&at("a/y.png"), &at("b")], 1, &["y, b"]);
    refused(&[&a, &at("nowhere")], 1, &["nowhere"]);
    refused(&[&a, &at("c")], 1, &["c/x.png"]);
    refused(&[&at("a/x.png"), &at("b/notes.txt")], 1, &["notes.txt"]);
    let message = run(&[
        "compare",
        &named("p", &at("a/x.png")),
        &b,
        "-o",
        &at("a/x.png"),
    ])
    .fails(2);
    assert!(message.contains("a/x.png"), "{message}");
}
