//! Latent files of training scripts, nodes and pipelines: each gives the images of a plain file of the same latent.
//!
//! All are parts of one clip, `[1, 16, 16, 40, 64]`, normalized. The plain file is `[1, 16, T, h, w]` with its space marked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vae2x_core::latent::Normalized;
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, VaeConfig};
use vae2x_media::picture::decode_image;
use vae2x_testkit::files::{Pickle, View, archive, deflated_archive, floats, npy, torch};

use crate::support::{entries, fixture, run, text};

/// Extents of the whole clip.
const FRAMES: usize = 16;
const HEIGHT: usize = 40;
const WIDTH: usize = 64;

/// A file of `tests/data/public/latents`.
fn case(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/public/latents");
    folder.join(name)
}

/// The first `t` frames of the clip from a row and a column on: `[1, 16, t, h, w]`.
fn part(t: usize, [top, left]: [usize; 2], [h, w]: [usize; 2]) -> Array {
    let file = TensorFile::open(Path::new(&fixture(
        "data/wan_cheesecake_normalized.safetensors",
    )));
    let clip = file.unwrap().read("latents").unwrap();
    let value = |i: usize| {
        let (x, y, frame, c) = (i % w, i / w % h, i / (w * h) % t, i / (w * h * t));
        clip.data()[((c * FRAMES + frame) * HEIGHT + top + y) * WIDTH + left + x]
    };
    let count = 16 * t * h * w;
    Array::new([1, 16, t, h, w], (0..count).map(value).collect()).unwrap()
}

/// The part that most of the cases hold.
fn image() -> Array {
    part(1, [8, 16], [24, 32])
}

fn raw(normalized: &Array) -> Array {
    let latent = Normalized::new(normalized.clone()).unwrap();
    let raw = latent.denormalize(&VaeConfig::default()).unwrap();
    raw.array().clone()
}

fn reshaped(array: &Array, shape: &[usize]) -> Array {
    array.clone().reshape(shape).unwrap()
}

/// The previews of a file in the order of their names, and what was said.
#[track_caller]
fn previews(file: &Path, options: &[&str]) -> (Vec<Vec<u8>>, String) {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (text(file), text(folder.path()));
    let arguments = [&["preview", &file, "-o", &out], options].concat();
    let said = run(&arguments).ok_stderr();
    let mut names = entries(folder.path());
    names.sort_by_key(|name| (name.len(), name.clone()));
    let read = |name: &String| std::fs::read(folder.path().join(name)).unwrap();
    (names.iter().map(read).collect(), said)
}

/// The previews of the plain file of a normalized latent.
#[track_caller]
fn wanted(normalized: &Array) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.safetensors");
    let metadata = BTreeMap::from([("latent_space".to_owned(), "normalized".to_owned())]);
    write_arrays(&path, &[("latents", normalized)], &metadata).unwrap();
    previews(&path, &[]).0
}

/// Whether images are equal but for one step of 8 bits, by which sums in another order may differ.
fn alike(a: &[Vec<u8>], b: &[Vec<u8>]) -> bool {
    let pixels = |file: &Vec<u8>| decode_image(Path::new("image"), file).unwrap().pixels;
    a.iter().zip(b).all(|(a, b)| {
        let (a, b) = (pixels(a), pixels(b));
        let pairs = || a.data().iter().zip(b.data());
        a.shape() == b.shape() && pairs().all(|(a, b)| (a - b).abs() < 2.1 / 255.0)
    })
}

/// Checks that a file is read as this normalized latent; gives what was said.
#[track_caller]
fn is_read_as(file: &Path, options: &[&str], normalized: &Array) -> String {
    let (images, said) = previews(file, options);
    let want = wanted(normalized);
    assert_eq!(images.len(), want.len(), "{}: {said}", file.display());
    assert!(alike(&images, &want), "{}: {said}", file.display());
    said
}

#[track_caller]
fn info(file: &Path) -> serde_json::Value {
    let printed = run(&["info", &text(file), "--json"]).ok();
    serde_json::from_str(&printed).unwrap()
}

/// A file of the folder with these bytes.
fn saved(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn written(folder: &TempDir, name: &str, tensors: &[(&str, &Array)]) -> PathBuf {
    let path = folder.path().join(name);
    write_arrays(&path, tensors, &BTreeMap::new()).unwrap();
    path
}

#[test]
fn a_cached_clip_without_a_batch_is_one_clip() {
    let clip = part(16, [14, 20], [16, 16]);
    let said = is_read_as(&case("musubi_t2v_61_frames.safetensors"), &[], &clip);
    assert!(said.contains("read as CTHW, as its name says"), "{said}");
    is_read_as(
        &case("musubi_t2v_61_frames_with_batch.safetensors"),
        &[],
        &clip,
    );
    let report = info(&case("musubi_t2v_61_frames.safetensors"));
    assert_eq!(report["shape"], serde_json::json!([1, 16, 16, 16, 16]));
    assert_eq!(
        (&report["frames"], &report["space"]),
        (&61.into(), &"normalized".into())
    );
}

#[test]
fn clips_of_sixteen_latent_frames_are_told_by_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let clip = part(16, [8, 16], [24, 32]);
    let alone = [16, 16, 24, 32];
    for (name, array) in [("n", clip.clone()), ("r", raw(&clip))] {
        let space = [
            "--latent-space",
            if name == "n" { "normalized" } else { "raw" },
        ];
        let file = written(
            &folder,
            "x.safetensors",
            &[("x", &reshaped(&array, &alone))],
        );
        let said = is_read_as(&file, &space, &clip);
        assert!(said.contains("read as CTHW"), "{said}");
        let report = info(&file);
        assert_eq!(report["space"], space[1]);
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (16, 16, 24, 32)}\n";
        let file = saved(&folder, "x.npy", &npy(1, header, &floats(array.data())));
        is_read_as(&file, &space, &clip);
        let view = View {
            key: "0",
            class: "Float",
            len: 16 * 16 * 24 * 32,
            offset: 0,
            shape: &[16, 16, 24, 32],
            strides: &[16 * 24 * 32, 24 * 32, 32, 1],
        };
        let pickle = Pickle::new().tensor(&view).stop();
        let file = saved(&folder, "x.pt", &torch(&pickle, &floats(array.data())));
        is_read_as(&file, &space, &clip);
    }
}

#[test]
fn frames_and_channels_are_told_in_either_order() {
    let folder = tempfile::tempdir().unwrap();
    let clip = part(16, [8, 16], [24, 32]);
    let plane = |i: usize| &clip.data()[(i % 16 * 16 + i / 16) * 24 * 32..][..24 * 32];
    let exchanged = (0..256).flat_map(|i| plane(i).to_vec()).collect();
    let exchanged = Array::new([1, 16, 16, 24, 32], exchanged).unwrap();
    for array in [&clip, &exchanged] {
        let file = written(&folder, "x.safetensors", &[("latents", array)]);
        is_read_as(&file, &[], &clip);
    }
    // Without a batch only --axes tells a clip with its frames first from images.
    let alone = reshaped(&exchanged, &[16, 16, 24, 32]);
    let file = written(&folder, "x.safetensors", &[("latents", &alone)]);
    is_read_as(&file, &["--axes", "tchw"], &clip);
    assert_eq!(info(&file)["shape"][0], 16);
}

#[test]
fn axes_that_nothing_tells_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let flat = Array::zeros([16, 16, 4, 6]);
    let file = text(&written(&folder, "x.safetensors", &[("latents", &flat)]));
    let refused = run(&["info", &file]).fails(1);
    for says in ["--axes CTHW", "--axes BCHW", "'latents'", "x.safetensors"] {
        assert_eq!(refused.matches(says).count(), 1, "{refused}");
    }
    for (axes, shape) in [("CTHW", [1, 16, 16, 4, 6]), ("BCHW", [16, 16, 1, 4, 6])] {
        let report = run(&["info", &file, "--json", "--axes", axes]).ok();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["shape"], serde_json::json!(shape));
    }
    let unknown = run(&["info", &file, "--axes", "CXHW"]).fails(2);
    assert!(
        unknown.contains("unknown order of axes 'CXHW'"),
        "{unknown}"
    );
}

#[test]
fn npz_files_are_read_stored_and_deflated() {
    let image = image();
    is_read_as(&case("sdscripts_anima.npz"), &[], &image);
    assert_eq!(
        info(&case("sdscripts_anima.npz"))["tensor"],
        "latents_24x32"
    );

    let folder = tempfile::tempdir().unwrap();
    let stored = |array: &Array, shape: &str| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n");
        npy(1, &header, &floats(array.data()))
    };
    let latents = stored(&image, "(16, 24, 32)");
    let flipped = stored(&Array::zeros([16, 24, 32]), "(16, 24, 32)");
    let mask = stored(&Array::zeros([192, 256]), "(192, 256)");
    let path = npy(
        1,
        "{'descr': '<U1', 'fortran_order': False, 'shape': ()}\n",
        b"a\0\0\0",
    );
    let beside: [(&str, &[u8]); 4] = [
        ("latents_24x32.npy", &latents),
        ("latents_flipped_24x32.npy", &flipped),
        ("alpha_mask_24x32.npy", &mask),
        ("path.npy", &path),
    ];
    // Half floats, column by column.
    let order = |i: usize| {
        let (c, y, x) = (i % 16, i / 16 % 24, i / (16 * 24));
        half::f16::from_f32(image.data()[(c * 24 + y) * 32 + x])
    };
    let columns: Vec<u8> = (0..16 * 24 * 32)
        .flat_map(|i| order(i).to_le_bytes())
        .collect();
    let header = "{'descr': '<f2', 'fortran_order': True, 'shape': (16, 24, 32)}\n";
    let columns = npy(1, header, &columns);
    let halves = image
        .data()
        .iter()
        .map(|&v| half::f16::from_f32(v).to_f32());
    let halves = Array::new([1, 16, 1, 24, 32], halves.collect()).unwrap();
    for pack in [archive, deflated_archive] {
        let file = saved(&folder, "x.npz", &pack(&beside));
        let said = is_read_as(&file, &[], &image);
        for says in [
            "left out",
            "'latents_flipped_24x32' F32",
            "'alpha_mask_24x32' F32",
        ] {
            assert!(said.contains(says), "{said}");
        }
        let file = saved(&folder, "y.npz", &pack(&[("arr_0.npy", &columns)]));
        is_read_as(&file, &["--latent-space", "normalized"], &halves);
    }
}

/// The value of an 8-bit float with `mantissa` bits of mantissa and this bias.
fn fp8(code: u8, mantissa: u32, bias: i32) -> f32 {
    let (exponent, fraction) = ((code & 0x7F) >> mantissa, code & ((1 << mantissa) - 1));
    let fraction = f32::from(fraction) / (1u32 << mantissa) as f32;
    let size = match exponent {
        0 => fraction * 2f32.powi(1 - bias),
        e => (1.0 + fraction) * 2f32.powi(i32::from(e) - bias),
    };
    if code & 0x80 == 0 { size } else { -size }
}

#[test]
fn latents_in_8_bit_floats_are_their_values() {
    for (name, mantissa, bias) in [("latent_f8_e4m3", 3, 7), ("latent_f8_e5m2", 2, 15)] {
        let file = case(&format!("{name}.safetensors"));
        let bytes = std::fs::read(&file).unwrap();
        let codes = &bytes[bytes.len() - 16 * 24 * 32..];
        let values: Vec<f32> = codes.iter().map(|&c| fp8(c, mantissa, bias)).collect();
        // The steps of both types are an eighth and a quarter of a value at most.
        let step = 2f32.powi(-(mantissa as i32));
        for (value, exact) in values.iter().zip(image().data()) {
            assert!(
                (value - exact).abs() <= step * exact.abs() + 0.01,
                "{value} {exact}"
            );
        }
        is_read_as(&file, &[], &Array::new([1, 16, 1, 24, 32], values).unwrap());
    }
}

#[test]
fn the_latent_is_taken_from_among_others() {
    let three = part(3, [8, 16], [16, 24]);
    let said = is_read_as(&case("musubi_i2v.safetensors"), &[], &three);
    let left_out = "left out: 'clip_bfloat16' BF16 [257, 8], 'latents_image_3x16x24_bfloat16' BF16 [20, 3, 16, 24]";
    assert!(said.contains(left_out), "{said}");
    let said = is_read_as(&case("musubi_qwen_edit.safetensors"), &[], &image());
    assert!(
        said.contains("'latents_control_0_1x24x32_bfloat16'"),
        "{said}"
    );
    // --key decides and needs no note.
    let key = ["--key", "latents_control_0_1x24x32_bfloat16"];
    let (images, said) = previews(&case("musubi_qwen_edit.safetensors"), &key);
    assert!(
        images != wanted(&image()) && !said.contains("left out"),
        "{said}"
    );
    let said = is_read_as(&case("diffsynth_new.pth"), &[], &image());
    assert!(said.contains("tensor '0.input_latents' is read"), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (image(), Array::zeros([1, 16, 1, 24, 32]));
    let file = written(
        &folder,
        "x.safetensors",
        &[("a", &a), ("b", &b), ("c", &Array::zeros([4, 4]))],
    );
    let refused = run(&["info", &text(&file)]).fails(1);
    assert!(
        refused.contains("--key: 'a' F32 [1, 16, 1, 24, 32], 'b' F32"),
        "{refused}"
    );
    assert!(!refused.contains("'c'"), "{refused}");
}

#[test]
fn plain_data_beside_a_latent_is_passed_by() {
    for name in [
        "beside_a_set.pt",
        "seed_above_2_63.pt",
        "beside_a_numpy_scalar.pt",
    ] {
        is_read_as(&case(name), &[], &image());
    }
}

#[test]
fn an_expanded_batch_is_equal_images() {
    let (images, _) = previews(&case("expanded_batch.pt"), &[]);
    let want = wanted(&part(1, [8, 16], [16, 24]));
    assert_eq!(images.len(), 4);
    assert!(images.iter().all(|image| *image == want[0]));
}

#[test]
fn normalized_values_in_a_latent_file_are_taken_as_such() {
    let halves = part(1, [4, 4], [32, 56]);
    let halves = halves
        .data()
        .iter()
        .map(|&v| half::f16::from_f32(v).to_f32());
    let want = Array::new([1, 16, 1, 32, 56], halves.collect()).unwrap();
    let file = case("wrapper_saved.latent");
    let said = is_read_as(&file, &[], &want);
    assert!(
        said.contains("warning: ") && said.contains("--latent-space raw"),
        "{said}"
    );
    let (images, said) = previews(&file, &["--latent-space", "raw"]);
    assert!(
        !alike(&images, &wanted(&want)) && !said.contains("warning"),
        "{said}"
    );
    // A batch of them, and the right kind.
    let folder = tempfile::tempdir().unwrap();
    let two = Array::new([2, 16, 1, 32, 56], want.data().repeat(2)).unwrap();
    let version = Array::zeros([0]);
    let comfy = |array: &Array| {
        let tensors = [
            ("latent_tensor", array),
            ("latent_format_version_0", &version),
        ];
        written(&folder, "x.latent", &tensors)
    };
    is_read_as(&comfy(&two), &[], &two);
    let said = is_read_as(&comfy(&raw(&two)), &["--latent-space", "raw"], &two);
    assert!(!said.contains("warning"), "{said}");
    assert_eq!(info(&comfy(&raw(&two)))["space_doubtful"], false);
}

#[test]
fn a_packed_latent_of_exchanged_sides_is_noticed() {
    let file = case("packed_320x512.safetensors");
    is_read_as(&file, &["--size", "320x512"], &part(1, [0, 0], [40, 64]));
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path());
    let refused = run(&["preview", &text(&file), "--size", "512x320", "-o", &out]).fails(1);
    for says in ["--size 320x512 (height first)", "--size 512x320"] {
        assert_eq!(refused.matches(says).count(), 1, "{refused}");
    }
    assert!(entries(folder.path()).is_empty());
}

#[test]
fn messages_about_values_shapes_and_keys_say_a_thing_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut nan = image();
    nan.data_mut()[33] = f32::NAN;
    let file = text(&written(&folder, "nan.safetensors", &[("latents", &nan)]));
    for command in [
        &["info", &file][..],
        &["preview", &file, "-o", "nowhere.png"],
    ] {
        let said = run(command).fails(1);
        for once in ["nan.safetensors", "finite", "latents'", "[0, 0, 0, 1, 1]"] {
            assert_eq!(said.matches(once).count(), 1, "{said}");
        }
    }
    let wide = Array::zeros([1, 20, 1, 4, 4]);
    let file = text(&written(&folder, "wide.safetensors", &[("latents", &wide)]));
    let said = run(&["info", &file]).fails(1);
    for once in ["wide.safetensors", "16 channels", "[1, 20, 1, 4, 4]"] {
        assert_eq!(said.matches(once).count(), 1, "{said}");
    }
    let said = run(&["info", &file, "--key", "q"]).fails(1);
    for once in ["wide.safetensors", "'q'", "'latents' F32 [1, 20, 1, 4, 4]"] {
        assert_eq!(said.matches(once).count(), 1, "{said}");
    }
}
