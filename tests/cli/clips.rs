//! Clips as folders of frames, out and in again.

use std::path::Path;

use vae2x_core::weights::Weights;
use vae2x_core::weights::formula::{FormulaWeights, unit};
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, VaeConfig, arch};
use vae2x_media::picture::{PictureOptions, write_image};
use vae2x_testkit::compare::assert_close;

use crate::support::{Run, decode_clip, entries, read, run, text, write_safetensors};

/// 16 bits per channel, through an encoder.
const SIXTEEN_BITS: f64 = 1e-3;

/// Decodes a clip of the fixtures to `out`.
fn decode(out: &Path) {
    let arguments = [
        decode_clip(out),
        ["--bit-depth", "16"].map(String::from).into(),
    ];
    run(&arguments.concat()).ok();
}

/// Encodes `input` with further arguments to a raw latent.
fn encode(input: &Path, out: &Path, more: &[&str]) -> Array {
    let (input, target) = (text(input), text(out));
    let fixed = ["encode", &input, "--vae", "demo:base", "-o", &target];
    run(&[&fixed[..], more].concat()).ok();
    read(out, "latent_tensor")
}

#[test]
fn a_folder_of_frames_is_the_clip_that_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let [frames, array] = ["frames", "clip.safetensors"].map(|name| folder.path().join(name));
    decode(&frames);
    decode(&array);
    let count = entries(&frames).len();
    assert_eq!(read(&array, "pixels").shape()[2], count);
    let latent = |input: &Path, more: &[&str]| encode(input, &folder.path().join("x.latent"), more);
    let (as_clip, as_array) = (latent(&frames, &["--clip"]), latent(&array, &[]));
    assert_eq!(as_clip.shape()[2], 1 + (count - 1) / 4);
    assert_close("frames", &as_clip, &as_array, SIXTEEN_BITS);
    // Frames that fill no latent frame are left out.
    std::fs::remove_file(frames.join(entries(&frames).last().unwrap())).unwrap();
    let shorter = latent(&frames, &["--clip"]);
    assert_eq!(shorter.shape()[2], as_clip.shape()[2] - 1);
    // Without the option, each frame is an image.
    let images = folder.path().join("images");
    let (from, to) = (text(&frames), text(&images));
    run(&["encode", &from, "--vae", "demo:base", "-o", &to]).ok();
    assert_eq!(entries(&images).len(), count - 1);
}

#[test]
fn a_frame_of_another_size_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    std::fs::create_dir(&frames).unwrap();
    for (name, width) in [("1.png", 32), ("2.png", 32), ("10.png", 40)] {
        let image = Array::zeros([3, 16, width]);
        write_image(&frames.join(name), &image, &PictureOptions::default()).unwrap();
    }
    let (from, out) = (text(&frames), folder.path().join("x.latent"));
    let args = ["encode", &from, "--clip", "--vae", "demo:base", "-o"];
    let message = run(&[&args[..], &[&text(&out)]].concat()).fails(1);
    for fact in ["10.png", "32x16", "40x16"] {
        assert!(message.contains(fact), "{message}");
    }
    assert!(!out.exists());
}

/// A clip whose decoder mixes frames as none of the bundled ones does, and its weights.
fn clip_of_formula(folder: &Path, frames: usize, cells: usize) -> [String; 2] {
    let config = VaeConfig::with_widths(2, 12);
    let weights = FormulaWeights::new(config.clone());
    let arrays = arch::tensors(&config).into_iter().map(|spec| {
        let array = weights.tensor(&spec).unwrap();
        (spec.name, array)
    });
    let arrays: Vec<_> = arrays.collect();
    let arrays: Vec<_> = arrays
        .iter()
        .map(|(n, array)| (n.as_str(), array))
        .collect();
    let [vae, latent] = ["w.safetensors", "clip.safetensors"].map(|name| folder.join(name));
    write_arrays(&vae, &arrays, &Default::default()).unwrap();
    let shape = [1, 16, frames, cells, cells];
    let values = unit("clip", shape.iter().product()).map(|v| 2.0 * v);
    write_safetensors(
        &latent,
        "latents",
        &Array::new(shape, values.collect()).unwrap(),
    );
    [text(&vae), text(&latent)]
}

fn decode_formula([vae, latent]: &[String; 2], out: &Path, more: &[&str]) -> Run {
    let out = text(out);
    let fixed = ["decode", latent, "--vae", vae, "--latent-space", "raw"];
    run(&[&fixed[..], &["-o", &out], more].concat())
}

/// Frames of `[1, 3, F, H, W]`.
fn frames(array: &Array, range: std::ops::Range<usize>) -> Array {
    array.item(0).narrow1(range)
}

#[test]
fn a_part_of_a_clip_has_the_bits_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip_of_formula(folder.path(), 52, 2);
    let pixels = |more: &[&str]| {
        let out = folder.path().join("x.safetensors");
        decode_formula(&clip, &out, more).ok();
        read(&out, "pixels")
    };
    let whole = pixels(&[]);
    assert_eq!(whole.shape()[2], 205);
    for (start, count) in [(0, 1), (0, 6), (1, 4), (3, 3), (184, 2), (189, 9), (201, 4)] {
        let part = pixels(&[
            "--start",
            &start.to_string(),
            "--frames",
            &count.to_string(),
        ]);
        assert_eq!(
            frames(&part, 0..count),
            frames(&whole, start..start + count),
            "{start} {count}"
        );
    }
    let rest = pixels(&["--start", "194"]);
    assert_eq!(frames(&rest, 0..11), frames(&whole, 194..205));
    let beyond = pixels(&["--start", "203", "--frames", "9"]);
    assert_eq!(beyond.shape()[2], 2);
    // Less of the past is another clip, of as many frames.
    let near = pixels(&["--start", "194", "--run-in", "2"]);
    assert_eq!(near.shape(), rest.shape());
    assert_ne!(near, rest);
    let refused = |more: &[&str]| {
        let out = folder.path().join("y.npy");
        decode_formula(&clip, &out, more).fails(2)
    };
    let said = refused(&["--start", "205"]);
    assert!(said.contains("frames 0 to 204"), "{said}");
    // The first latent frame that is decoded gives one frame of its four.
    refused(&["--start", "9", "--run-in", "0"]);
    refused(&["--start", "9", "--frames", "0"]);
    let least = pixels(&["--start", "9", "--frames", "1", "--run-in", "1"]);
    assert_eq!(least.shape()[2], 1);
}

#[test]
fn what_is_beyond_black_and_white_is_kept_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip_of_formula(folder.path(), 2, 2);
    let pixels = |more: &[&str]| {
        let out = folder.path().join("x.safetensors");
        decode_formula(&clip, &out, more).ok();
        read(&out, "pixels")
    };
    let most = |array: &Array| array.data().iter().fold(0f32, |most, v| most.max(v.abs()));
    let (clamped, kept) = (pixels(&[]), pixels(&["--no-clamp"]));
    assert!(
        most(&clamped) == 1.0 && most(&kept) > 1.5,
        "{}",
        most(&kept)
    );
    for (a, b) in clamped.data().iter().zip(kept.data()) {
        assert_eq!(*a, b.clamp(-1.0, 1.0));
    }
    // What is beyond counts when pixels are averaged.
    let reduced = |more: &[&str]| pixels(&[&["--scale", "1", "--linear-light"], more].concat());
    assert_ne!(reduced(&["--no-clamp"]), reduced(&[]));
    // EXR stores light: what is brighter than white is more than 1.
    let images = folder.path().join("exr");
    decode_formula(&clip, &images, &["--no-clamp", "--format", "exr"]).ok();
    let names = entries(&images);
    assert_eq!(names.len(), 5);
    let values = names.iter().flat_map(|name| {
        let image = image::open(images.join(name)).unwrap().into_rgb32f();
        image.into_raw()
    });
    let [darkest, brightest] =
        values.fold([0f32; 2], |[least, most], v| [least.min(v), most.max(v)]);
    assert!(brightest > 1.1 && darkest < 0.0, "{brightest} {darkest}");
    for out in ["y.png", "y.mp4", "y.gif", "y/"] {
        let first = ["--no-clamp", "--frames", "1"];
        let more = if out == "y.png" {
            &first[..]
        } else {
            &first[..1]
        };
        let said = decode_formula(&clip, &folder.path().join(out), more).fails(2);
        assert!(said.contains("--no-clamp"), "{said}");
    }
}
