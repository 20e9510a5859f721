//! Finishing in `decode`: size, detail and colours of images, and ComfyUI's workflow.

use std::path::Path;

use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::write::write_arrays;
use vae2x_measure::metrics::{ciede2000, psnr};
use vae2x_media::match_color::{Matching, match_color};
use vae2x_media::picture::read_image;
use vae2x_media::pixels::Overshoot;
use vae2x_media::reduce::{Light, reduce};
use vae2x_media::resample::{Filter, halve, resize};
use vae2x_media::sharpen::{blur, sharpen};

use crate::support::{entries, fixture, read, run, text};

const FRAME: &str = "data/wan_cheesecake_frame0.latent";

pub fn asset(name: &str) -> String {
    format!("{}/assets/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Decodes to an array file with further arguments.
fn decode(folder: &Path, latent: &str, args: &[&str]) -> Array {
    let out = text(&folder.join("out.safetensors"));
    run(&[&["decode", latent, "-o", &out], args].concat()).ok();
    read(Path::new(&out), "pixels")
}

fn picture(pixels: Array) -> Array {
    let shape = pixels.shape().to_vec();
    pixels.reshape([3, shape[3], shape[4]]).unwrap()
}

fn largest_difference(a: &Array, b: &Array) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.data()
        .iter()
        .zip(b.data())
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// What is saved of an image whose values may leave [-1, 1].
fn limited(image: vae2x_core::Result<Array>) -> Array {
    Overshoot::Clamp.limit(image.unwrap())
}

#[test]
fn sizes_below_the_decoders_are_reduced() {
    let folder = tempfile::tempdir().unwrap();
    let latent = fixture(FRAME);
    let decode = |args: &[&str]| picture(decode(folder.path(), &latent, args));
    let two_x = decode(&["--vae", "demo:2x"]);
    assert_eq!(two_x.shape(), [3, 640, 1024]);
    for (args, light) in [
        (&[][..], Light::Encoded),
        (&["--linear-light"], Light::Linear),
    ] {
        let one_x = decode(&[&["--vae", "demo:2x", "--scale", "1"], args].concat());
        let want = limited(reduce(&two_x, 2, light));
        assert!(largest_difference(&one_x, &want) < 1e-5);
    }
    assert_eq!(decode(&["--vae", "demo:2x", "--scale", "2"]), two_x);
    let base = decode(&["--vae", "demo:base"]);
    assert_eq!(decode(&["--vae", "demo:base", "--scale", "1"]), base);
    let out = text(&folder.path().join("x.png"));
    for (vae, scale, channels) in [("demo:base", "2", " 12 "), ("demo:2x", "4", " 48 ")] {
        let message = run(&[
            "decode", &latent, "--vae", vae, "-o", &out, "--scale", scale,
        ])
        .fails(2);
        assert!(
            message.contains(channels) && message.contains(vae),
            "{message}"
        );
    }
    assert!(!Path::new(&out).exists());
}

#[test]
fn detail_is_changed_as_asked_in_pixels_of_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let latent = fixture(FRAME);
    let decode = |scale: &str, args: &[&str]| {
        let args = [&["--vae", "demo:2x", "--scale", scale], args].concat();
        picture(decode(folder.path(), &latent, &args))
    };
    // What is reduced may leave the range, and is not limited before the last step.
    let plain = reduce(&decode("2", &[]), 2, Light::Encoded).unwrap();
    let blurred = decode("1", &["--blur", "1.5"]);
    assert!(largest_difference(&blurred, &limited(blur(&plain, 1.5))) < 1e-5);
    let sharpened = decode("1", &["--sharpen", "0.8"]);
    assert!(largest_difference(&sharpened, &limited(sharpen(&plain, 0.8))) < 1e-5);
    let out = text(&folder.path().join("x.png"));
    for wrong in [
        &["--blur", "1", "--sharpen", "1"][..],
        &["--blur", "0"],
        &["--sharpen", "21"],
        &["--sharpen", "NaN"],
        &["--scale", "3"],
    ] {
        run(&[&["decode", &latent, "--vae", "demo:2x", "-o", &out], wrong].concat()).fails(2);
    }
}

/// Clips pass frame by frame, the base decoder's beside the other's.
#[test]
fn clips_are_finished_frame_by_frame() {
    let folder = tempfile::tempdir().unwrap();
    let cases = fixture("vae_tiny_up2x/cases.safetensors");
    let key = [
        "--key",
        "decode.clip2.latent",
        "--latent-space",
        "raw",
        "--vae",
        "demo:2x",
    ];
    let decode_2x = |args: &[&str]| decode(folder.path(), &cases, &[&key, args].concat());
    let plain = decode_2x(&[]);
    let finished = decode_2x(&["--scale", "1", "--match-color", "base:demo:base"]);
    let [_, _, frames, h, w] = plain.dims("pixels").unwrap();
    assert_eq!(
        (frames, finished.shape()),
        (5, &[1, 3, 5, h / 2, w / 2][..])
    );
    let base = decode(
        folder.path(),
        &cases,
        &[
            "--key",
            key[1],
            "--latent-space",
            "raw",
            "--vae",
            "demo:base",
        ],
    );
    let frame = |clip: &Array, f: usize| {
        let [_, _, _, h, w] = clip.dims("clip").unwrap();
        clip.item(0).narrow1(f..f + 1).reshape([3, h, w]).unwrap()
    };
    for f in 0..frames {
        let matching = Matching::Low {
            brightness: 16,
            colour: 4,
        };
        let matched = match_color(&frame(&plain, f), &frame(&base, f), matching).unwrap();
        let want = reduce(&matched, 2, Light::Encoded).unwrap();
        assert!(
            largest_difference(&frame(&finished, f), &want) < 1e-5,
            "frame {f}"
        );
    }
}

/// The latent of half a photo, the photo's half, and the base decoder's image of it.
struct Photo {
    latent: String,
    small: Array,
    base: Array,
}

fn photo(folder: &Path, name: &str) -> Photo {
    let whole = read_image(Path::new(&asset(&format!("photos/{name}.png"))))
        .unwrap()
        .pixels;
    let [_, h, w] = whole.dims("photo").unwrap();
    let [rows, columns] = [h / 16 * 16, w / 16 * 16];
    let data = whole
        .data()
        .chunks_exact(w)
        .enumerate()
        .filter(|(i, _)| i % h < rows)
        .flat_map(|(_, row)| &row[..columns]);
    let whole = Array::new([3, rows, columns], data.copied().collect()).unwrap();
    let small = halve(&whole).unwrap();
    let pixels = folder.join(format!("{name}.safetensors"));
    crate::support::write_safetensors(&pixels, "pixels", &small);
    let latent = text(&folder.join(format!("{name}.latent")));
    run(&[
        "encode",
        &text(&pixels),
        "--vae",
        "demo:base",
        "-o",
        &latent,
    ])
    .ok();
    let base = picture(decode(folder, &latent, &["--vae", "demo:base"]));
    Photo {
        latent,
        small,
        base,
    }
}

#[test]
fn one_x_from_two_is_nearer_to_the_photo_than_the_base_decoder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["chelsea", "coffee"] {
        let photo = photo(folder.path(), name);
        let psnr = |p: &Array| psnr(p, &photo.small).unwrap();
        let one_x = picture(decode(
            folder.path(),
            &photo.latent,
            &["--vae", "demo:2x", "--scale", "1"],
        ));
        assert!(
            psnr(&one_x) > psnr(&photo.base) + 0.2,
            "{name}: {} {}",
            psnr(&one_x),
            psnr(&photo.base)
        );
    }
}

/// The 2x demo model with its head's tensors changed by `edit`.
fn edited_model(folder: &Path, edit: impl Fn(&str, Array) -> Array) -> String {
    let file = TensorFile::open(&vae2x_testkit::demo_model("demo_2x.safetensors")).unwrap();
    let changed = |key: &String| {
        let array = file.read(key).unwrap();
        (
            key.clone(),
            if key.starts_with("decoder.head.2.") {
                edit(key, array)
            } else {
                array
            },
        )
    };
    let arrays: Vec<(String, Array)> = file.tensors().keys().map(changed).collect();
    let path = folder.join("edited.safetensors");
    let arrays: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    write_arrays(&path, &arrays, file.metadata()).unwrap();
    text(&path)
}

/// With every red, green and blue shifted. Channel `4 c + 2 i + j` is colour `c`.
fn shifted_model(folder: &Path, shift: [f32; 3]) -> String {
    edited_model(folder, |key, mut array| {
        if key.ends_with("bias") {
            array
                .data_mut()
                .iter_mut()
                .enumerate()
                .for_each(|(i, v)| *v += shift[i / 4]);
        }
        array
    })
}

/// With each pixel four times: channel `16 c + 4 i + j` is that of `4 c + 2 (i / 2) + j / 2`.
fn model_4x(folder: &Path) -> String {
    edited_model(folder, |_, array| {
        let of = |k: usize| 4 * (k / 16) + 2 * (k / 8 % 2) + k / 2 % 2;
        let shape = [&[48], &array.shape()[1..]].concat();
        Array::new(
            shape,
            (0..48)
                .flat_map(|k| array.item(of(k)).into_data())
                .collect(),
        )
        .unwrap()
    })
}

#[test]
fn a_4x_decoder_gives_every_smaller_size() {
    let folder = tempfile::tempdir().unwrap();
    let (latent, vae) = (fixture(FRAME), model_4x(folder.path()));
    let decode = |args: &[&str]| {
        picture(decode(
            folder.path(),
            &latent,
            &[&["--vae", &vae], args].concat(),
        ))
    };
    let four = decode(&[]);
    assert_eq!(four.shape(), [3, 1280, 2048]);
    assert_eq!(decode(&["--scale", "4"]), four);
    for (scale, factor) in [("2", 2), ("1", 4)] {
        let want = limited(reduce(&four, factor, Light::Encoded));
        assert!(largest_difference(&decode(&["--scale", scale]), &want) < 1e-5);
    }
}

/// The energy of what a Gaussian of two pixels takes away.
fn high_band(picture: &Array) -> f64 {
    let low = blur(picture, 2.0).unwrap();
    picture
        .data()
        .iter()
        .zip(low.data())
        .map(|(p, l)| f64::from(p - l).powi(2))
        .sum()
}

#[test]
fn colours_follow_the_base_decoder_and_detail_stays() {
    let folder = tempfile::tempdir().unwrap();
    let shifted = shifted_model(folder.path(), [0.08, -0.05, 0.06]);
    for (name, vae) in [
        ("chelsea", "demo:2x"),
        ("coffee", "demo:2x"),
        ("chelsea", &shifted),
        ("coffee", &shifted),
    ] {
        let photo = photo(folder.path(), name);
        let decode = |args: &[&str]| {
            picture(decode(
                folder.path(),
                &photo.latent,
                &[&["--vae", vae], args].concat(),
            ))
        };
        let plain = decode(&[]);
        let follow = ["--match-color", "base:demo:base"];
        let matched = decode(&follow);
        let one_x = decode(&[&follow[..], &["--scale", "1"]].concat());
        // Of pixels, most of what is left is detail, which is to stay; means over latent cells have colour alone.
        let cells =
            |p: &Array| resize(p, [1, 2].map(|axis| p.shape()[axis] / 8), Filter::Area).unwrap();
        let pixels = |p: &Array| ciede2000(p, &photo.base).unwrap();
        let before = pixels(&reduce(&plain, 2, Light::Encoded).unwrap());
        let after = [
            pixels(&one_x),
            ciede2000(&cells(&one_x), &cells(&photo.base)).unwrap(),
        ];
        assert!(
            after[0] < 0.7 && after[0] < 0.75 * before && after[1] < 0.25,
            "{name}, {vae}: {before} to {after:?}"
        );
        let change = high_band(&matched) / high_band(&plain) - 1.0;
        assert!(change.abs() < 0.01, "{name}, {vae}: {change}");
        // An image does the same as the weights that made it.
        let file = folder.path().join("base.png");
        run(&[
            "decode",
            &photo.latent,
            "--vae",
            "demo:base",
            "-o",
            &text(&file),
            "--bit-depth",
            "16",
        ])
        .ok();
        let by_picture = decode(&["--match-color", &text(&file)]);
        assert!(
            largest_difference(&by_picture, &matched) < 1e-3,
            "{name}, {vae}"
        );
    }
}

#[test]
fn references_that_do_not_fit_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (latent, out) = (fixture(FRAME), text(&folder.path().join("x.png")));
    let args = [
        "decode",
        &latent,
        "--vae",
        "demo:2x",
        "-o",
        &out,
        "--match-color",
    ];
    let said = run(&[&args[..], &[&asset("photos/chelsea.png")]].concat()).ok_stderr();
    assert!(
        said.contains("451x300") && said.contains("512x320"),
        "{said}"
    );
    let said = run(&[
        &args[..],
        &[&asset("photos/chelsea.png"), "--match-color-by", "stats"],
    ]
    .concat())
    .ok_stderr();
    assert!(!said.contains("451x300"), "{said}");
    let message = run(&[&args[..], &["nowhere.png"]].concat()).fails(1);
    assert!(message.contains("nowhere.png"), "{message}");
    run(&[&args[..], &["base:"]].concat()).fails(2);
    let message = run(&[&args[..], &["base:demo:8x"]].concat()).fails(2);
    assert!(message.contains("demo:8x"), "{message}");
    run(&[
        "decode",
        &latent,
        "--vae",
        "demo:2x",
        "-o",
        &out,
        "--match-color-by",
        "stats",
    ])
    .fails(2);
    assert_eq!(entries(folder.path()), ["x.png"]);
}
