//! Images as phones, editors and makers of images write them.

use std::path::Path;

use vae2x_core::Array;
use vae2x_media::picture::{Metadata, decode_image, read_image};

use crate::support::{run, text};

fn case(name: &str) -> String {
    format!(
        "{}/../../tests/data/public/pictures/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// Upscales an image; its result and what was printed.
fn upscaled(input: &str, out: &str, more: &[&str]) -> (Array, Metadata, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join(out));
    let args = ["upscale", input, "--vae", "demo:2x", "-o", &out];
    let said = run(&[&args[..], more].concat()).ok_stderr();
    let large = read_image(Path::new(&out)).unwrap();
    (large.pixels, large.metadata, said)
}

/// The largest difference between two images, as a share of all values.
fn difference(a: &Array, b: &Array) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let pairs = a.data().iter().zip(b.data());
    pairs.map(|(a, b)| (a - b).abs() / 2.0).fold(0.0, f32::max)
}

#[test]
fn jpegs_are_read_to_their_own_end() {
    let (plain, _, said) = upscaled(&case("photo.jfif"), "a.png", &[]);
    assert!(!said.contains("warning"), "{said}");
    for name in ["motion_photo.jpg", "second_picture_cut.jpg"] {
        let (large, _, said) = upscaled(&case(name), "a.png", &[]);
        assert_eq!(large, plain, "{name}");
        assert!(!said.contains("warning"), "{name}: {said}");
    }
    // The first image cut, and another whole one behind it.
    let whole = std::fs::read(case("photo.jfif")).unwrap();
    for cut in [whole.len() / 2, whole.len() - 40] {
        let error = decode_image(Path::new("a.jpg"), &[&whole[..cut], &whole].concat());
        assert!(error.is_err(), "{cut}");
    }
}

#[test]
fn colours_of_chunks_are_converted() {
    let reference = read_image(Path::new(&case("ref.png"))).unwrap().pixels;
    for name in [
        "cicp_display_p3.png",
        "chrm_display_p3.png",
        "gama_linear.png",
    ] {
        let picture = read_image(Path::new(&case(name))).unwrap();
        let worst = difference(&picture.pixels, &reference);
        assert!(worst < 0.01, "{name}: {worst}");
        assert!(
            picture.notes[0].contains("converted"),
            "{:?}",
            picture.notes
        );
        let (_, _, said) = upscaled(&case(name), "a.png", &[]);
        assert!(said.contains("are converted from its"), "{name}: {said}");
    }
}

#[test]
fn the_first_frame_of_an_animation_is_noted() {
    let (_, _, said) = upscaled(&case("anim.webp"), "a.png", &[]);
    assert!(said.contains("the first of 4 frames"), "{said}");
}

#[test]
fn metadata_is_carried_through() {
    let keywords = |metadata: &Metadata| {
        let mut all: Vec<_> = metadata.text.iter().map(|(k, _)| k.clone()).collect();
        all.sort();
        all
    };
    let input = case("meta_a1111_swarm_invoke.png");
    let (_, kept, said) = upscaled(&input, "a.png", &[]);
    let expected = ["Comment", "Software", "invokeai_metadata", "parameters"];
    assert_eq!(keywords(&kept), expected);
    assert!(!said.contains("left out"), "{said}");
    assert_eq!(
        kept.text,
        read_image(Path::new(&input)).unwrap().metadata.text
    );
    let (_, kept, said) = upscaled(&input, "a.webp", &[]);
    assert_eq!(keywords(&kept), ["parameters"]);
    for keyword in ["'Comment'", "'Software'", "'invokeai_metadata'"] {
        assert!(said.contains(keyword), "{said}");
    }
    for input in ["meta_comfy.webp", "meta_after_idat.png"] {
        for out in ["a.png", "a.webp", "a.jpg"] {
            let (_, kept, said) = upscaled(&case(input), out, &[]);
            assert_eq!(keywords(&kept), ["prompt", "workflow"], "{input} {out}");
            assert!(kept.text.iter().all(|(_, text)| {
                text.is_ascii() && serde_json::from_str::<serde_json::Value>(text).is_ok()
            }));
            assert!(!said.contains("left out"), "{said}");
        }
    }
    let (_, kept, _) = upscaled(&input, "a.png", &["--no-metadata"]);
    assert_eq!(kept, Metadata::default());
}

#[test]
fn folders_give_images_by_every_usual_name() {
    let folder = tempfile::tempdir().unwrap();
    let photo = case("photo.jfif");
    for name in ["a.jfif", "b.jpe", "c.JPG", "d.jpeg", "e.jpg~", "._f.jpg"] {
        std::fs::copy(&photo, folder.path().join(name)).unwrap();
    }
    let (input, out) = (text(folder.path()), folder.path().join("large"));
    run(&[
        "upscale",
        &input,
        "--vae",
        "demo:2x",
        "-o",
        &format!("{}/", text(&out)),
    ])
    .ok();
    let mut found: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, ["a.png", "b.png", "c.png", "d.png"]);
}

#[test]
fn formats_that_are_not_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, expected) in [
        (
            "a.heic",
            &b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..],
            "HEIC images are not read; convert",
        ),
        (
            "a.jxl",
            b"\xff\x0a\0\0\0\0",
            "JPEG XL images are not read; convert",
        ),
        ("a.jpg", b"<!doctype html><html>", "a web page"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let out = text(&folder.path().join("o.png"));
        let run = run(&["upscale", &text(&path), "--vae", "demo:2x", "-o", &out]);
        let said = run.fails(1);
        assert!(said.contains(expected), "{said}");
    }
}
