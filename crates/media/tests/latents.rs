//! Latent files of every maker, real ones among them: found, laid out, judged, and written for
//! others to read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vae2x_core::latent::{Normalized, Raw, Space, guess};
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, Error, VaeConfig};
use vae2x_media::latent::{
    Decision, LatentFile, LatentFormat, LatentOptions, Origin, SpaceChoice, WriteOptions,
    decide_space, write_latent, write_normalized, write_raw,
};
use vae2x_media::preview::preview_frame;
use vae2x_testkit::compare::{assert_close, assert_same};
use vae2x_testkit::fixture;

/// Rounding of one multiplication and one addition in f32.
const ROUNDING: f64 = 1e-6;

fn cheesecake() -> LatentFile {
    LatentFile::open(
        &fixture("data/wan_cheesecake_normalized.safetensors"),
        &LatentOptions::default(),
    )
    .unwrap()
}

fn first_frame() -> LatentFile {
    LatentFile::open(
        &fixture("data/wan_cheesecake_frame0.latent"),
        &LatentOptions::default(),
    )
    .unwrap()
}

fn denormalized(array: Array) -> Array {
    Normalized::new(array)
        .unwrap()
        .denormalize(&VaeConfig::default())
        .unwrap()
        .array()
        .clone()
}

fn frame_of(clip: &Array, t: usize) -> Array {
    Array::stack(&[clip.item(0).narrow1(t..t + 1)]).unwrap()
}

fn decide(file: &LatentFile) -> Decision {
    decide_space(file, &VaeConfig::default(), SpaceChoice::Auto).unwrap()
}

fn ramp(shape: &[usize]) -> Array {
    Array::new(
        shape,
        (0..shape.iter().product())
            .map(|i| (i as f32 * 0.61).sin())
            .collect(),
    )
    .unwrap()
}

/// Writes tensors to a file of the folder and gives its path.
fn saved(folder: &Path, name: &str, tensors: &[(&str, &Array)]) -> PathBuf {
    let path = folder.join(name);
    write_arrays(&path, tensors, &BTreeMap::new()).unwrap();
    path
}

fn open(path: &Path) -> vae2x_core::Result<LatentFile> {
    LatentFile::open(path, &LatentOptions::default())
}

#[test]
fn the_real_files_agree() {
    let (clip, frame) = (cheesecake(), first_frame());
    assert_eq!(
        (clip.stored().shape(), clip.origin),
        (&[1, 16, 16, 40, 64][..], Origin::Safetensors)
    );
    assert_eq!(
        (frame.stored().shape(), frame.origin),
        (&[1, 16, 1, 40, 64][..], Origin::Comfy)
    );
    assert_close(
        "frame 0",
        &denormalized(frame_of(clip.stored(), 0)),
        frame.stored(),
        ROUNDING,
    );
}

#[test]
fn the_real_files_are_judged_right() {
    let clip = decide(&cheesecake());
    assert_eq!(
        (clip.space, clip.doubtful, clip.warning()),
        (Space::Normalized, false, None)
    );
    let frame = decide(&first_frame());
    assert_eq!((frame.space, frame.doubtful), (Space::Raw, false));
    assert!(frame.confidence > 0.99, "{frame:?}");
}

#[test]
fn statistics_alone_tell_the_spaces_of_the_real_clip() {
    let config = VaeConfig::default();
    let clip = cheesecake().stored().clone();
    let raw = guess(&denormalized(clip.clone()), &config).unwrap();
    assert!(raw.space == Space::Raw && raw.confidence > 0.99, "{raw:?}");
    let normalized = guess(&clip, &config).unwrap();
    assert!(
        normalized.space == Space::Normalized && normalized.confidence > 0.99,
        "{normalized:?}"
    );
    for t in 0..16 {
        let frame = frame_of(&clip, t);
        let verdict = guess(&frame, &config).unwrap();
        assert!(
            verdict.space == Space::Normalized && verdict.confidence > 0.9,
            "frame {t} {verdict:?}"
        );
        let verdict = guess(&denormalized(frame), &config).unwrap();
        assert!(verdict.space == Space::Raw, "raw frame {t} {verdict:?}");
    }
}

#[test]
fn kind_and_statistics_are_weighed() {
    let folder = tempfile::tempdir().unwrap();
    let raw = first_frame().stored().clone();
    // Unmarked and alone the frame's statistics lean to raw; the name 'latents' speaks against it.
    let plain = decide(&open(&saved(folder.path(), "plain.safetensors", &[("x", &raw)])).unwrap());
    assert_eq!(plain.space, Space::Raw);
    let named = decide(
        &open(&saved(
            folder.path(),
            "named.safetensors",
            &[("latents", &raw)],
        ))
        .unwrap(),
    );
    assert!(named.doubtful, "{named:?}");
    let warning = named.warning().unwrap();
    assert!(warning.contains("--latent-space"), "{warning}");
    // Where the statistics are clear they overrule the name, and the reason says so.
    let raw_clip = denormalized(cheesecake().stored().clone());
    let clear = saved(
        folder.path(),
        "clear.safetensors",
        &[("latents", &raw_clip)],
    );
    let clear = decide(&open(&clear).unwrap());
    assert_eq!((clear.space, clear.doubtful), (Space::Raw, false));
    assert!(
        clear
            .why
            .contains("mostly normalized, but its statistics are those of a raw one"),
        "{clear:?}"
    );
    // Zeros tell nothing.
    let zeros = Array::zeros([1, 16, 1, 4, 4]);
    let zeros = decide(&open(&saved(folder.path(), "zeros.npy", &[("x", &zeros)])).unwrap());
    assert!(
        zeros.doubtful && zeros.why == "all of its values are zero",
        "{zeros:?}"
    );
    // A normalized latent that came into a .latent file is taken as such, with a warning.
    let clip = cheesecake().stored().clone();
    let version = Array::zeros([0]);
    let tensors = [
        ("latent_tensor", &clip),
        ("latent_format_version_0", &version),
    ];
    let odd = decide(&open(&saved(folder.path(), "odd.latent", &tensors)).unwrap());
    assert!(odd.space == Space::Normalized && odd.doubtful, "{odd:?}");
    assert!(
        odd.warning().unwrap().contains("--latent-space raw"),
        "{odd:?}"
    );
}

#[test]
fn a_request_overrules_the_file() {
    let config = VaeConfig::default();
    let decision = decide_space(&first_frame(), &config, SpaceChoice::Normalized).unwrap();
    assert_eq!(
        (decision.space, decision.doubtful),
        (Space::Normalized, false)
    );
    assert_eq!(
        decide_space(&cheesecake(), &config, SpaceChoice::Raw)
            .unwrap()
            .space,
        Space::Raw
    );
}

#[test]
fn written_latents_come_back_marked() {
    let folder = tempfile::tempdir().unwrap();
    // With the statistics of raw latents, lest .latent files be doubted.
    let latent = denormalized(ramp(&[1, 16, 2, 3, 4]));
    let text = [("workflow".to_owned(), "{\"a\": 1}".to_owned())];
    for (name, space, origin) in [
        ("a.latent", Space::Raw, Origin::Comfy),
        ("b.safetensors", Space::Raw, Origin::Safetensors),
        ("c.safetensors", Space::Normalized, Origin::Safetensors),
        ("d.npy", Space::Normalized, Origin::Npy),
    ] {
        let path = folder.path().join(name);
        write_latent(&path, &latent, space, &text).unwrap();
        let back = open(&path).unwrap();
        assert_same(name, back.stored(), &latent);
        assert_eq!(back.origin, origin, "{name}");
        if origin != Origin::Npy {
            assert_eq!(back.text, text, "{name}");
            let decision = decide(&back);
            assert_eq!(
                (decision.space, decision.doubtful),
                (space, false),
                "{name}"
            );
            // A .latent has no marker.
            let is_certain = decision.confidence == 1.0;
            assert_eq!(is_certain, origin == Origin::Safetensors, "{name}");
            assert!(decision.confidence > 0.99, "{name}: {decision:?}");
        }
    }
}

#[test]
fn every_file_becomes_raw_in_one_way() {
    let config = VaeConfig::default();
    let (clip, stored) = (cheesecake(), cheesecake().stored().clone());
    assert_eq!(clip.shape(), [1, 16, 16, 40, 64]);
    let (raw, decision) = clip.into_raw(&config, SpaceChoice::Auto).unwrap();
    assert_eq!(decision.space, Space::Normalized);
    assert_same("denormalized", raw.array(), &denormalized(stored));
    let (raw, decision) = first_frame().into_raw(&config, SpaceChoice::Auto).unwrap();
    assert_eq!(decision.space, Space::Raw);
    assert_same("as it was", raw.array(), first_frame().stored());
    let normalized = first_frame().into_normalized_from(Space::Raw, &config);
    let want = raw.normalize(&config).unwrap();
    assert_same("normalized", normalized.unwrap().array(), want.array());
}

#[test]
fn latents_take_the_space_that_their_file_can_hold() {
    let (folder, config) = (tempfile::tempdir().unwrap(), VaeConfig::default());
    let raw = Raw::new(ramp(&[1, 16, 1, 4, 6])).unwrap();
    let normalized = raw.clone().normalize(&config).unwrap();
    for (name, asked, taken) in [
        ("a.latent", None, Space::Raw),
        ("a.latent", Some(Space::Normalized), Space::Raw),
        ("a.safetensors", None, Space::Normalized),
        ("a.safetensors", Some(Space::Raw), Space::Raw),
        ("a.npy", None, Space::Normalized),
    ] {
        let path = folder.path().join(name);
        let options = WriteOptions {
            space: asked,
            ..Default::default()
        };
        let from_raw = write_raw(&path, &raw, &config, &options).unwrap();
        let first = open(&path).unwrap();
        let from_normalized = write_normalized(&path, &normalized, &config, &options).unwrap();
        let second = open(&path).unwrap();
        assert_eq!([from_raw, from_normalized], [taken; 2], "{name} {asked:?}");
        assert_close(name, first.stored(), second.stored(), ROUNDING);
        let unchanged = match taken {
            Space::Raw => (first.stored(), raw.array()),
            Space::Normalized => (second.stored(), normalized.array()),
        };
        assert_same(name, unchanged.0, unchanged.1);
    }
}

#[test]
fn packed_latents_stay_packed_but_for_comfyui() {
    let (folder, config) = (tempfile::tempdir().unwrap(), VaeConfig::default());
    let raw = Raw::new(ramp(&[1, 16, 1, 4, 6])).unwrap();
    let options = WriteOptions {
        packed: true,
        ..Default::default()
    };
    for (name, shape) in [
        ("a.safetensors", &[1, 6, 64][..]),
        ("a.npy", &[1, 6, 64]),
        ("a.latent", &[1, 16, 1, 4, 6]),
    ] {
        let path = folder.path().join(name);
        write_raw(&path, &raw, &config, &options).unwrap();
        let file = TensorFile::open(&path).unwrap();
        let found = file
            .tensors()
            .values()
            .find(|info| !info.shape.contains(&0));
        assert_eq!(found.unwrap().shape, shape, "{name}");
    }
}

#[test]
fn choices_of_a_space_have_names() {
    for name in SpaceChoice::NAMES {
        assert_eq!(name.parse::<SpaceChoice>().unwrap().to_string(), name);
    }
    let unknown = "odd".parse::<SpaceChoice>();
    assert!(matches!(unknown, Err(Error::BadRequest(_))));
}

#[test]
fn a_written_latent_is_as_comfyui_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.latent");
    let original = fixture("data/wan_cheesecake_frame0.latent");
    write_latent(&path, first_frame().stored(), Space::Raw, &[]).unwrap();
    let (ours, theirs) = (
        TensorFile::open(&path).unwrap(),
        TensorFile::open(&original).unwrap(),
    );
    assert_eq!(ours.tensors(), theirs.tensors());
    assert_eq!(ours.metadata(), theirs.metadata());
    assert_same(
        "latent_tensor",
        &ours.read("latent_tensor").unwrap(),
        &theirs.read("latent_tensor").unwrap(),
    );
}

#[test]
fn formats_and_spaces_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let latent = ramp(&[1, 16, 1, 2, 2]);
    for (name, space) in [("a.latent", Space::Normalized), ("a.pt", Space::Raw)] {
        let refused = write_latent(&folder.path().join(name), &latent, space, &[]);
        assert!(matches!(refused, Err(Error::BadRequest(_))), "{name}");
    }
    assert_eq!(
        LatentFormat::from_path(Path::new("x.LATENT"))
            .unwrap()
            .usual_space(),
        Space::Raw
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_early_comfyui_file_is_rescaled() {
    let folder = tempfile::tempdir().unwrap();
    let scaled = Array::new([1, 16, 1, 1], vec![0.18215; 16]).unwrap();
    let file = open(&saved(
        folder.path(),
        "a.latent",
        &[("latent_tensor", &scaled)],
    ))
    .unwrap();
    assert_eq!(file.origin, Origin::ComfyLegacy);
    assert_close(
        "rescaled",
        file.stored(),
        &Array::new([1, 16, 1, 1, 1], vec![1.0; 16]).unwrap(),
        ROUNDING,
    );
}

#[test]
fn the_tensor_is_found_or_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (ramp(&[1, 16, 1, 2, 2]), ramp(&[1, 16, 2, 2]));
    let key = |name: &str, tensors: &[(&str, &Array)]| {
        open(&saved(folder.path(), name, tensors)).map(|f| f.key)
    };
    assert_eq!(
        key("a.safetensors", &[("samples", &a), ("latents", &b)]).unwrap(),
        "latents"
    );
    assert_eq!(
        key("b.safetensors", &[("mask", &ramp(&[4, 4])), ("z", &b)]).unwrap(),
        "z"
    );
    let ambiguous = key("c.safetensors", &[("x", &a), ("y", &b)]);
    assert!(lists(ambiguous, "'x' F32 [1, 16, 1, 2, 2]"));
    let none = key("d.safetensors", &[("mask", &ramp(&[4]))]);
    assert!(lists(none, "'mask' F32 [4]"));
    let options = LatentOptions {
        key: Some("y".into()),
        ..Default::default()
    };
    assert_eq!(
        LatentFile::open(&folder.path().join("c.safetensors"), &options)
            .unwrap()
            .key,
        "y"
    );
    let options = LatentOptions {
        key: Some("q".into()),
        ..Default::default()
    };
    let unknown = LatentFile::open(&folder.path().join("c.safetensors"), &options);
    assert!(lists(unknown, "'y' F32 [1, 16, 2, 2]"));
}

/// Whether an error lists a tensor that the file holds.
fn lists<T>(result: vae2x_core::Result<T>, tensor: &str) -> bool {
    matches!(result, Err(Error::Format { problem, .. }) if problem.contains(tensor))
}

#[test]
fn models_are_not_latents() {
    let folder = tempfile::tempdir().unwrap();
    let cells = ramp(&[1, 16, 1, 2, 2]);
    let norm = ramp(&[4]);
    let refused = |name: &str, tensors: &[(&str, &Array)]| {
        let refused = open(&saved(folder.path(), name, tensors));
        refused.unwrap_err().to_string()
    };
    let alone = refused("alone.safetensors", &[("head.weight", &cells)]);
    assert!(alone.contains("a model, not a latent"), "{alone}");
    let few = [("conv_in.weight", &cells), ("conv_out.weight", &cells)];
    let few = refused("few.safetensors", &few);
    assert!(few.contains("a model, not a latent"), "{few}");
    let names: Vec<_> = (0..30).map(|i| format!("layers.{i}.weight")).collect();
    let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), &norm)).collect();
    many.push(("samples", &cells));
    let many = refused("many.safetensors", &many);
    assert!(many.contains("a model, not a latent"), "{many}");
    let transformer = [
        ("patch_embedding.weight", &cells),
        ("blocks.0.self_attn.q.weight", &norm),
    ];
    let wide = ramp(&[64, 64, 1, 1, 1]);
    for (name, tensors, said) in [
        (
            "qwen21",
            &[("decoder.head.0.gamma", &norm), ("conv2.weight", &wide)][..],
            "(the VAE of Qwen-Image 2.1 (64 latent channels)), not",
        ),
        ("dit", &transformer, "(a diffusion transformer), not"),
        (
            "lora",
            &[("diffusion_model.blocks.0.self_attn.q.lora_A.weight", &cells)],
            "(a LoRA), not",
        ),
        (
            "vae",
            &[("decoder.head.0.gamma", &norm), ("conv2.weight", &cells)],
            "a VAE, not a latent; VAEs go to --vae",
        ),
    ] {
        let said_here = refused(&format!("{name}.safetensors"), tensors);
        assert!(said_here.contains(said), "{said_here}");
    }
    let options = LatentOptions {
        key: Some("patch_embedding.weight".into()),
        ..LatentOptions::default()
    };
    let beside = [("x", &cells), ("proj.weight", &cells)];
    let beside = open(&saved(folder.path(), "beside.safetensors", &beside)).unwrap();
    assert_eq!(beside.key, "x");
    let asked = LatentFile::open(&folder.path().join("dit.safetensors"), &options);
    assert_eq!(asked.unwrap().stored(), &cells);
}

#[test]
fn packed_latents_need_their_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(
        folder.path(),
        "a.safetensors",
        &[("latents", &ramp(&[1, 6, 64]))],
    );
    assert!(matches!(open(&path), Err(Error::Tensor { .. })));
    let sized = |size| {
        LatentFile::open(
            &path,
            &LatentOptions {
                packed_size: Some(size),
                ..LatentOptions::default()
            },
        )
    };
    let file = sized([32, 48]).unwrap();
    assert_eq!(
        (file.stored().shape(), file.packed),
        (&[1, 16, 1, 4, 6][..], true)
    );
    assert!(matches!(sized([48, 48]), Err(Error::Tensor { .. })));
}

#[test]
fn packing_leans_to_normalized() {
    // Half a clip's frame, packed as diffusers does: cells of 2x2 with all channels form a token.
    let folder = tempfile::tempdir().unwrap();
    let latent = frame_of(&cheesecake().stored().clone(), 0);
    let value = |i: usize| {
        let (token, c, dy, dx) = (i / 64, i % 64 / 4, i % 4 / 2, i % 2);
        latent.data()[(c * 40 + token / 32 * 2 + dy) * 64 + token % 32 * 2 + dx]
    };
    let packed = Array::new(
        [1, 20 * 32, 64],
        (0..latent.data().len()).map(value).collect(),
    )
    .unwrap();
    let path = saved(folder.path(), "a.safetensors", &[("x", &packed)]);
    let options = LatentOptions {
        packed_size: Some([320, 512]),
        ..LatentOptions::default()
    };
    let file = LatentFile::open(&path, &options).unwrap();
    assert_same("unpacked", file.stored(), &latent);
    let decision = decide(&file);
    assert!(
        decision.space == Space::Normalized && decision.confidence > 0.99,
        "{decision:?}"
    );
}

#[test]
fn broken_and_foreign_latents_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut nan = ramp(&[1, 16, 1, 2, 2]);
    nan.data_mut()[7] = f32::NAN;
    nan.data_mut()[9] = f32::INFINITY;
    let refused = |name: &str, array: &Array| {
        open(&saved(folder.path(), name, &[("latents", array)])).unwrap_err()
    };
    let Error::NotFinite { what, count, total } = refused("nan.safetensors", &nan) else {
        panic!("expected values that are not finite");
    };
    assert_eq!((count, total), (2, 64));
    assert!(
        what.ends_with("nan.safetensors: tensor 'latents', first at [0, 1, 0, 1, 1]"),
        "{what}"
    );
    for (name, shape) in [
        ("big.safetensors", &[1, 48, 1, 2, 2][..]),
        ("sd.safetensors", &[1, 4, 8, 8]),
        ("empty.safetensors", &[1, 16, 0, 2, 2]),
    ] {
        let Error::Tensor { path, tensor, .. } = refused(name, &ramp(shape)) else {
            panic!("expected a tensor error");
        };
        assert!(path.ends_with(name) && tensor == "latents", "{name}");
    }
    let file = folder.path().join("marked.safetensors");
    let metadata = BTreeMap::from([("latent_space".to_owned(), "odd".to_owned())]);
    write_arrays(&file, &[("latents", &ramp(&[1, 16, 1, 2, 2]))], &metadata).unwrap();
    let is_refused = || matches!(open(&file), Err(Error::Format { path, .. }) if path == file);
    assert!(is_refused());
    std::fs::write(&file, b"not tensors").unwrap();
    assert!(is_refused());
}

#[test]
fn the_real_latent_previews_a_cheesecake() {
    let latent = Normalized::new(cheesecake().stored().clone()).unwrap();
    let picture = preview_frame(&latent, 0, 0).unwrap();
    assert_eq!(picture.shape(), [3, 320, 512]);
    // Warm colours and a contrast that photographs have; the wrong space gives 0.2 or more than 1.
    let means: Vec<f32> = picture
        .data()
        .chunks_exact(320 * 512)
        .map(|p| p.iter().sum::<f32>() / p.len() as f32)
        .collect();
    assert!(means[0] > means[1] && means[1] > means[2], "{means:?}");
    let spread = picture.data().iter().map(|v| v * v).sum::<f32>() / picture.data().len() as f32;
    assert!((0.3..0.7).contains(&spread.sqrt()), "{spread}");
}
