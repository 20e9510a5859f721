//! `upscale` and `hires`: images and latents at twice their size, with all that files carry.

use std::io::Cursor;
use std::path::Path;

use vae2x_core::Array;
use vae2x_core::latent::Space;
use vae2x_core::weights::TensorFile;
use vae2x_media::latent::{LatentFile, write_latent};
use vae2x_media::picture::{
    BitDepth, Opacity, PictureOptions, read_image, read_image_with, write_image,
};
use vae2x_media::resample::{Filter, resize};
use vae2x_testkit::compare::{assert_close, relative_l2};

use crate::finish::asset;
use crate::support::{entries, fixture, read, run, text};

/// The upper left corner of a photo.
fn photo(height: usize, width: usize) -> Array {
    let whole = read_image(Path::new(&asset("photos/chelsea.png")))
        .unwrap()
        .pixels;
    let [_, h, w] = whole.dims("photo").unwrap();
    let rows = whole
        .data()
        .chunks_exact(w)
        .enumerate()
        .filter(|(i, _)| (100..100 + height).contains(&(i % h)));
    Array::new(
        [3, height, width],
        rows.flat_map(|(_, row)| &row[120..120 + width])
            .copied()
            .collect(),
    )
    .unwrap()
}

fn write(path: &Path, picture: &Array) {
    write_image(path, picture, &PictureOptions::default()).unwrap();
}

#[test]
fn any_size_comes_out_at_exactly_twice_it() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.png"), folder.path().join("out.png"));
    for [h, w] in [[64, 96], [61, 83], [5, 3], [1, 1]] {
        write(&input, &photo(h, w));
        run(&[
            "upscale",
            &text(&input),
            "--vae",
            "demo:2x",
            "-o",
            &text(&out),
        ])
        .ok();
        let large = read_image(&out).unwrap().pixels;
        assert_eq!(large.shape(), [3, 2 * h, 2 * w]);
        let enlarged = resize(&photo(h, w), [2 * h, 2 * w], Filter::CatmullRom).unwrap();
        let distance = relative_l2(large.data(), enlarged.data());
        assert!(distance < 0.35, "{w}x{h}: {distance}");
    }
    // Padding beyond the image does not shift it: halved again, it lies on the input.
    write(&input, &photo(61, 83));
    run(&[
        "upscale",
        &text(&input),
        "--vae",
        "demo:2x",
        "-o",
        &text(&out),
        "--match-color",
    ])
    .ok();
    let back = resize(&read_image(&out).unwrap().pixels, [61, 83], Filter::Area).unwrap();
    let lies = |dx: usize| {
        let (got, want) = (back.data(), photo(61, 83 + dx));
        let shifted: Vec<f32> = want
            .data()
            .chunks_exact(83 + dx)
            .flat_map(|row| &row[dx..])
            .copied()
            .collect();
        relative_l2(got, &shifted)
    };
    assert!(
        lies(0) < 0.1 && lies(0) < 0.6 * lies(1),
        "{} {}",
        lies(0),
        lies(1)
    );
}

#[test]
fn opacity_and_depth_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.png"), folder.path().join("out.png"));
    let (h, w) = (40, 52);
    // A disc that fades out, over black.
    let alpha = |i: usize| {
        let (y, x) = ((i / w) as f32 - 20.0, (i % w) as f32 - 26.0);
        (17.0 - (x * x + y * y).sqrt()).clamp(-1.0, 1.0)
    };
    let colours = photo(h, w);
    let masked = colours
        .data()
        .iter()
        .enumerate()
        .map(|(i, v)| if alpha(i % (h * w)) > -1.0 { *v } else { -1.0 });
    let data: Vec<f32> = masked.chain((0..h * w).map(alpha)).collect();
    let picture = Array::new([4, h, w], data).unwrap();
    let options = PictureOptions {
        depth: BitDepth::Sixteen,
        ..Default::default()
    };
    write_image(&input, &picture, &options).unwrap();
    run(&[
        "upscale",
        &text(&input),
        "--vae",
        "demo:2x",
        "-o",
        &text(&out),
    ])
    .ok();
    let large = read_image_with(&out, Opacity::Keep).unwrap();
    assert_eq!(
        (large.depth, large.pixels.shape()),
        (BitDepth::Sixteen, &[3, 2 * h, 2 * w][..])
    );
    let opacity = large.opacity.expect("opacity is kept");
    let at = |y: usize, x: usize| opacity.data()[y * 2 * w + x];
    assert!(at(40, 52) == 1.0 && at(0, 0) == -1.0 && at(79, 103) == -1.0);
    // The black under clear pixels is not drawn into what is visible: along the rim colours are those without it.
    write_image(&input, &colours, &options).unwrap();
    let plain = folder.path().join("plain.png");
    run(&[
        "upscale",
        &text(&input),
        "--vae",
        "demo:2x",
        "-o",
        &text(&plain),
    ])
    .ok();
    let plain = read_image(&plain).unwrap().pixels;
    let rim: Vec<usize> = (0..12 * h * w)
        .filter(|i| opacity.data()[i % (4 * h * w)] > -0.5)
        .collect();
    let pick = |p: &Array| rim.iter().map(|&i| p.data()[i]).collect::<Vec<_>>();
    let distance = relative_l2(&pick(&large.pixels), &pick(&plain));
    assert!(distance < 0.15, "{distance}");
    // 8 bits on request, and JPEG without opacity.
    write_image(&input, &picture, &options).unwrap();
    run(&[
        "upscale",
        &text(&input),
        "--vae",
        "demo:2x",
        "-o",
        &text(&out),
        "--bit-depth",
        "8",
    ])
    .ok();
    assert_eq!(
        read_image_with(&out, Opacity::Keep).unwrap().depth,
        BitDepth::Eight
    );
    let jpeg = folder.path().join("out.jpg");
    let said = run(&[
        "upscale",
        &text(&input),
        "--vae",
        "demo:2x",
        "-o",
        &text(&jpeg),
    ])
    .ok_stderr();
    assert!(said.contains("out.jpg"), "{said}");
    run(&[
        "upscale",
        &text(&input),
        "--vae",
        "demo:2x",
        "-o",
        &text(&jpeg),
        "--bit-depth",
        "16",
    ])
    .fails(2);
}

/// A PNG with a colour profile and texts.
fn png(path: &Path, picture: &Array, profile: Option<Vec<u8>>, texts: &[(&str, &str)]) {
    let [_, h, w] = picture.dims("picture").unwrap();
    let mut info = png::Info::with_size(w as u32, h as u32);
    (info.color_type, info.bit_depth) = (png::ColorType::Rgb, png::BitDepth::Eight);
    info.icc_profile = profile.map(Into::into);
    let mut encoder = png::Encoder::with_info(std::fs::File::create(path).unwrap(), info).unwrap();
    for (key, words) in texts {
        encoder
            .add_itxt_chunk((*key).into(), (*words).into())
            .unwrap();
    }
    let samples = vae2x_media::pixels::interleave(picture, vae2x_media::pixels::to_u8).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&samples).unwrap();
    writer.finish().unwrap();
}

#[test]
fn profiles_are_converted_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (
        folder.path().join("wide.png"),
        folder.path().join("out.png"),
    );
    let orange = Array::new(
        [3, 16, 16],
        [0.8, 0.0, -0.6]
            .iter()
            .flat_map(|&v| vec![v; 256])
            .collect(),
    )
    .unwrap();
    png(
        &input,
        &orange,
        Some(moxcms::ColorProfile::new_display_p3().encode().unwrap()),
        &[],
    );
    let said = run(&[
        "upscale",
        &text(&input),
        "--vae",
        "demo:2x",
        "-o",
        &text(&out),
        "--match-color",
    ])
    .ok_stderr();
    assert!(said.contains("wide.png") && said.contains("P3"), "{said}");
    let red = read_image(&out).unwrap().pixels.data()[..1024]
        .iter()
        .sum::<f32>()
        / 1024.0;
    assert!(red > 0.86, "orange of P3 has more red in sRGB: {red}");
    let latent = folder.path().join("wide.latent");
    let said = run(&[
        "encode",
        &text(&input),
        "--vae",
        "demo:2x",
        "-o",
        &text(&latent),
    ])
    .ok_stderr();
    assert!(said.contains("wide.png"), "{said}");
}

#[test]
fn folders_pass_one_by_one_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, out) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::create_dir(&inputs).unwrap();
    write(&inputs.join("b.png"), &photo(16, 24));
    write(&inputs.join("a.JPG"), &photo(8, 9));
    std::fs::write(inputs.join("notes.txt"), "no picture").unwrap();
    let said = run(&[
        "upscale",
        &text(&inputs),
        "--vae",
        "demo:2x",
        "-o",
        &text(&out),
    ])
    .ok();
    assert!(said.contains("a.png") && said.contains("b.png"), "{said}");
    assert_eq!(entries(&out), ["a.png", "b.png"]);
    assert_eq!(
        read_image(&out.join("a.png")).unwrap().pixels.shape(),
        [3, 16, 18]
    );
    let latents = folder.path().join("latents");
    run(&[
        "encode",
        &text(&inputs),
        "--vae",
        "demo:2x",
        "-o",
        &text(&latents),
    ])
    .ok();
    assert_eq!(entries(&latents), ["a.latent", "b.latent"]);
    let message = run(&[
        "upscale",
        &text(&inputs),
        "--vae",
        "demo:2x",
        "-o",
        &text(&inputs),
    ])
    .fails(2);
    assert!(message.contains("b.png"), "{message}");
    write(&inputs.join("a.png"), &photo(8, 8));
    let message = run(&[
        "upscale",
        &text(&inputs),
        "--vae",
        "demo:2x",
        "-o",
        &text(&out),
    ])
    .ok();
    // The names of equal stems are numbered.
    assert!(
        message.contains("a.png") && message.contains("a-2.png"),
        "{message}"
    );
    let message = run(&[
        "upscale",
        &text(&out.join("b.png")),
        "--vae",
        "demo:base",
        "-o",
        &text(&folder.path().join("c.png")),
    ]);
    assert!(message.fails(2).contains("demo:base"));
    std::fs::write(inputs.join("a.png"), "broken").unwrap();
    let message = run(&[
        "upscale",
        &text(&inputs.join("a.png")),
        "--vae",
        "demo:2x",
        "-o",
        &text(&folder.path().join("new")),
    ]);
    assert!(message.fails(1).contains("a.png"));
    assert_eq!(entries(folder.path()), ["in", "latents", "out"]);
}

const FRAME: &str = "data/wan_cheesecake_frame0.latent";

#[test]
fn hires_latents_decode_to_twice_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let said = run(&[
        "hires",
        &fixture(FRAME),
        "--vae",
        "demo:2x",
        "-o",
        &text(&path("large.latent")),
    ])
    .ok_stderr();
    assert!(said.contains("KSampler"), "{said}");
    let large = LatentFile::open(&path("large.latent"), &Default::default()).unwrap();
    assert_eq!(large.shape(), [1, 16, 1, 80, 128]);
    run(&[
        "decode",
        &fixture(FRAME),
        "--vae",
        "demo:2x",
        "-o",
        &text(&path("two.png")),
    ])
    .ok();
    run(&[
        "decode",
        &text(&path("large.latent")),
        "--vae",
        "demo:base",
        "-o",
        &text(&path("back.png")),
    ])
    .ok();
    let [two, back] = ["two.png", "back.png"].map(|name| read_image(&path(name)).unwrap().pixels);
    let distance = relative_l2(back.data(), two.data());
    assert!(distance < 0.15, "{distance}");
}

#[test]
fn hires_keeps_the_space_and_the_kind_of_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let raw = LatentFile::open(Path::new(&fixture(FRAME)), &Default::default())
        .unwrap()
        .stored()
        .clone();
    let config = vae2x_core::VaeConfig::default();
    let normalized = vae2x_core::latent::Raw::new(raw.clone())
        .unwrap()
        .normalize(&config)
        .unwrap();
    write_latent(
        &path("n.safetensors"),
        normalized.array(),
        Space::Normalized,
        &[],
    )
    .unwrap();
    write_latent(&path("r.safetensors"), &raw, Space::Raw, &[]).unwrap();
    write_latent(&path("n.npy"), normalized.array(), Space::Normalized, &[]).unwrap();
    let out = path("out");
    let inputs = ["n.safetensors", "r.safetensors"].map(|name| text(&path(name)));
    run(&[
        "hires",
        &inputs[0],
        &inputs[1],
        &fixture(FRAME),
        "--vae",
        "demo:2x",
        "-o",
        &text(&out),
    ])
    .ok();
    assert_eq!(
        entries(&out),
        [
            "n.safetensors",
            "r.safetensors",
            "wan_cheesecake_frame0.latent"
        ]
    );
    let marked = |name: &str| {
        TensorFile::open(&out.join(name))
            .unwrap()
            .metadata()
            .get("latent_space")
            .cloned()
    };
    assert_eq!(marked("n.safetensors").as_deref(), Some("normalized"));
    assert_eq!(marked("r.safetensors").as_deref(), Some("raw"));
    let want = read(&out.join("wan_cheesecake_frame0.latent"), "latent_tensor");
    assert_close(
        "raw",
        &read(&out.join("r.safetensors"), "latents"),
        &want,
        1e-5,
    );
    // The demo model has statistics of its own, by which the normalized file was read and written.
    run(&[
        "hires",
        &text(&path("n.npy")),
        "--vae",
        "demo:2x",
        "--latent-space",
        "normalized",
        "-o",
        &text(&path("m.npy")),
    ])
    .ok();
    assert_close(
        "npy",
        &read(&path("m.npy"), ""),
        &read(&out.join("n.safetensors"), "latents"),
        1e-6,
    );
    run(&[
        "hires",
        &inputs[0],
        "--vae",
        "demo:2x",
        "-o",
        &text(&path("x.png")),
    ])
    .fails(2);
    run(&[
        "hires",
        &inputs[0],
        "--vae",
        "demo:base",
        "-o",
        &text(&path("x.npy")),
    ])
    .fails(2);
    let message = run(&["hires", &inputs[0], "--vae", "demo:2x", "-o", &inputs[0]]).fails(2);
    assert!(message.contains("n.safetensors"), "{message}");
}

#[test]
fn hires_keeps_packed_latents_packed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let raw = LatentFile::open(Path::new(&fixture(FRAME)), &Default::default())
        .unwrap()
        .stored()
        .clone();
    write_latent(&path("plain.npy"), &raw, Space::Raw, &[]).unwrap();
    write_latent(
        &path("packed.npy"),
        &vae2x_media::latent::pack(&raw).unwrap(),
        Space::Raw,
        &[],
    )
    .unwrap();
    let hires = |name: &str, out: &str, size: &[&str]| {
        let (input, out) = (text(&path(name)), text(&path(out)));
        run(&[
            &[
                "hires",
                &input,
                "--vae",
                "demo:2x",
                "--latent-space",
                "raw",
                "-o",
                &out,
            ],
            size,
        ]
        .concat())
        .ok();
    };
    hires("plain.npy", "a.npy", &[]);
    hires("packed.npy", "b.npy", &["--size", "320x512"]);
    let want = vae2x_media::latent::pack(&read(&path("a.npy"), "")).unwrap();
    assert_eq!(read(&path("b.npy"), ""), want);
}

/// A clip's frames pass one latent frame at a time; the result is that of all frames at once.
#[test]
fn hires_clips_are_their_frames_encoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    let cases = fixture("vae_tiny_up2x/cases.safetensors");
    let reading = [
        "--key",
        "decode.clip2.latent",
        "--latent-space",
        "raw",
        "--vae",
        "demo:2x",
    ];
    run(&[
        &["hires", &cases, "-o", &path("direct.latent")],
        &reading[..],
    ]
    .concat())
    .ok();
    run(&[
        &["decode", &cases, "-o", &path("pixels.safetensors")],
        &reading[..],
    ]
    .concat())
    .ok();
    run(&[
        "encode",
        &path("pixels.safetensors"),
        "--vae",
        "demo:2x",
        "-o",
        &path("stepwise.latent"),
    ])
    .ok();
    let [direct, stepwise] = ["direct.latent", "stepwise.latent"]
        .map(|name| read(Path::new(&path(name)), "latent_tensor"));
    assert_close("latent", &direct, &stepwise, 1e-6);
}

/// What ComfyUI writes is ASCII; other writers' is not.
const WORKFLOW: &str =
    r#"{"nodes": [{"id": 3, "type": "KSampler", "title": "Käsekuchen 蛋糕 🍰"}]}"#;
const PROMPT: &str =
    r#"{"3": {"class_type": "KSampler", "inputs": {"text": "a \"slice\" of cake"}}}"#;

/// Keys and texts of a PNG's chunks, as ComfyUI's page reads them: whatever follows the head, as UTF-8.
fn chunks(path: &Path) -> Vec<(String, String)> {
    let reader = png::Decoder::new(Cursor::new(std::fs::read(path).unwrap()))
        .read_info()
        .unwrap();
    let info = reader.info();
    assert!(
        info.utf8_text.is_empty() && info.compressed_latin1_text.is_empty(),
        "tEXt alone"
    );
    info.uncompressed_latin1_text
        .iter()
        .map(|t| (t.keyword.clone(), t.text.clone()))
        .collect()
}

#[track_caller]
fn assert_carries_workflow(path: &Path) {
    let found = chunks(path);
    assert!(found.iter().all(|(_, words)| words.is_ascii()), "{found:?}");
    let json = |words: &str| serde_json::from_str::<serde_json::Value>(words).unwrap();
    let of = |key: &str| {
        json(
            &found
                .iter()
                .find(|(k, _)| k == key)
                .unwrap_or_else(|| panic!("no {key}: {found:?}"))
                .1,
        )
    };
    assert_eq!(
        (of("workflow"), of("prompt"), found.len()),
        (json(WORKFLOW), json(PROMPT), 2)
    );
}

#[test]
fn workflows_go_from_latents_to_pictures_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let texts = [
        ("prompt".to_owned(), PROMPT.to_owned()),
        ("workflow".to_owned(), WORKFLOW.to_owned()),
    ];
    let latent = read(Path::new(&fixture(FRAME)), "latent_tensor")
        .item(0)
        .reshape([16, 1, 40, 64])
        .unwrap();
    let small: Vec<f32> = latent
        .data()
        .chunks_exact(64)
        .enumerate()
        .filter(|(i, _)| i % 40 < 4)
        .flat_map(|(_, r)| &r[..6])
        .copied()
        .collect();
    // A batch of two: both images carry it.
    let batch = Array::new([2, 16, 1, 4, 6], small.repeat(2)).unwrap();
    write_latent(&path("batch.latent"), &batch, Space::Raw, &texts).unwrap();
    let decode = |out: &str, more: &[&str]| {
        let (input, out) = (text(&path("batch.latent")), text(&path(out)));
        run(&[&["decode", &input, "--vae", "demo:2x", "-o", &out], more].concat()).ok()
    };
    decode("pictures", &[]);
    assert_eq!(entries(&path("pictures")).len(), 2);
    entries(&path("pictures"))
        .iter()
        .for_each(|name| assert_carries_workflow(&path("pictures").join(name)));
    decode("bare", &["--no-metadata"]);
    assert_eq!(chunks(&path("bare").join("batch_00000.png")), []);

    let picture = path("pictures").join("batch_00000.png");
    let args = |command: &'static str, out: &str| {
        [
            command.into(),
            text(&picture),
            "--vae".into(),
            "demo:2x".into(),
            "-o".into(),
            text(&path(out)),
        ]
    };
    run(&args("upscale", "large.png")).ok();
    assert_carries_workflow(&path("large.png"));
    run(&args("encode", "again.latent")).ok();
    run(&[
        "hires",
        &text(&path("again.latent")),
        "--vae",
        "demo:2x",
        "-o",
        &text(&path("hires.latent")),
    ])
    .ok();
    for name in ["again.latent", "hires.latent"] {
        let found = LatentFile::open(&path(name), &Default::default())
            .unwrap()
            .text;
        let parsed: Vec<serde_json::Value> = found
            .iter()
            .map(|(_, words)| serde_json::from_str(words).unwrap())
            .collect();
        assert_eq!(
            parsed,
            [PROMPT, WORKFLOW]
                .map(|words| serde_json::from_str::<serde_json::Value>(words).unwrap()),
            "{name}"
        );
    }
    let bare = [
        &args("encode", "bare.latent")[..],
        &["--no-metadata".into()],
    ]
    .concat();
    run(&bare).ok();
    assert_eq!(
        LatentFile::open(&path("bare.latent"), &Default::default())
            .unwrap()
            .text,
        []
    );
    // An iTXt chunk of another writer.
    png(
        &path("foreign.png"),
        &photo(16, 16),
        None,
        &[("prompt", PROMPT), ("workflow", WORKFLOW)],
    );
    run(&[
        "upscale",
        &text(&path("foreign.png")),
        "--vae",
        "demo:2x",
        "-o",
        &text(&path("large.png")),
    ])
    .ok();
    assert_carries_workflow(&path("large.png"));
}
