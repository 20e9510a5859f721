//! Shapes that leave the axes open, settled by names and values: crops of a real clip of every size, as clips and as images,
//! and what nothing can settle.

use std::collections::BTreeMap;
use std::path::Path;

use vae2x_core::latent::{Normalized, Space};
use vae2x_core::weights::write::write_arrays;
use vae2x_core::weights::{TensorFile, formula};
use vae2x_core::{Array, VaeConfig};
use vae2x_media::latent::{LatentFile, LatentOptions, SpaceChoice, decide_space, look_at_latent};
use vae2x_testkit::fixture;

/// Extents of the clip.
const FRAMES: usize = 16;
const HEIGHT: usize = 40;
const WIDTH: usize = 64;

/// `[1, 16, 16, 40, 64]`, normalized.
fn clip() -> Array {
    let file = TensorFile::open(&fixture("data/wan_cheesecake_normalized.safetensors"));
    file.unwrap().read("latents").unwrap()
}

fn raw(normalized: &Array) -> Array {
    let latent = Normalized::new(normalized.clone()).unwrap();
    let raw = latent.denormalize(&VaeConfig::default()).unwrap();
    raw.array().clone()
}

/// A part of the clip, from frame, row and column `at` on: `[1, 16, t, h, w]`.
fn crop(clip: &Array, at: [usize; 3], extent: [usize; 3]) -> Array {
    let [t, h, w] = extent;
    let value = |i: usize| {
        let (x, y, frame, c) = (i % w, i / w % h, i / (w * h) % t, i / (w * h * t));
        clip.data()[((c * FRAMES + at[0] + frame) * HEIGHT + at[1] + y) * WIDTH + at[2] + x]
    };
    let count = 16 * t * h * w;
    Array::new([1, 16, t, h, w], (0..count).map(value).collect()).unwrap()
}

/// The first two of the axes behind the batch exchanged.
fn exchanged(array: &Array) -> Array {
    let [1, m, n, h, w] = array.dims("clip").unwrap() else {
        panic!("one item is expected");
    };
    let plane = |i: usize| &array.data()[(i % m * n + i / m) * h * w..][..h * w];
    let data = (0..m * n).flat_map(|i| plane(i).to_vec()).collect();
    Array::new([1, n, m, h, w], data).unwrap()
}

fn without_batch(array: &Array) -> Array {
    array.clone().reshape(&array.shape()[1..]).unwrap()
}

/// Places of crops, spread by a formula.
fn places(extent: [usize; 2], count: usize) -> Vec<[usize; 2]> {
    let unit: Vec<f32> = formula::unit("places", 2 * count).collect();
    let place = |i: usize| {
        let along = |axis: usize, whole: usize| {
            let share = (unit[2 * i + axis] + 1.0) / 2.0;
            ((whole - extent[axis]) as f32 * share) as usize
        };
        [along(0, HEIGHT), along(1, WIDTH)]
    };
    (0..count).map(place).collect()
}

/// The latent as it is read from a file of this tensor alone.
fn opened(folder: &Path, key: &str, array: &Array, axes: &str) -> Result<LatentFile, String> {
    let path = folder.join("x.safetensors");
    write_arrays(&path, &[(key, array)], &BTreeMap::new()).unwrap();
    let options = LatentOptions {
        axes: (!axes.is_empty()).then(|| axes.parse().unwrap()),
        ..LatentOptions::default()
    };
    let file = TensorFile::open(&path).unwrap();
    let seen = look_at_latent(&file, &options);
    let read = LatentFile::from_file(&file, &options);
    if let (Ok(seen), Ok(read)) = (&seen, &read) {
        assert_eq!(*seen, read.shape());
    }
    read.map_err(|e| e.to_string())
}

#[test]
fn clips_without_a_batch_are_clips_at_any_size_and_in_either_space() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip();
    for [h, w] in [[24, 32], [12, 12], [8, 8], [4, 6]] {
        for [y, x] in places([h, w], 5) {
            let normalized = crop(&whole, [0, y, x], [FRAMES, h, w]);
            for want in [normalized.clone(), raw(&normalized)] {
                let file = opened(folder.path(), "x", &without_batch(&want), "").unwrap();
                assert_eq!(file.stored(), &want, "{h}x{w} at {y}, {x}");
                assert!(file.notes[0].contains("read as CTHW"), "{:?}", file.notes);
            }
        }
    }
}

#[test]
fn sixteen_images_stay_images() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip();
    for [h, w] in [[24, 32], [16, 16], [12, 12]] {
        let images: Vec<Array> = places([h, w], 16)
            .into_iter()
            .enumerate()
            .map(|(t, [y, x])| crop(&whole, [t, y, x], [1, h, w]).item(0))
            .collect();
        let different = Array::stack(&images).unwrap();
        let equal = Array::stack(&vec![images[0].clone(); 16]).unwrap();
        for want in [&different, &raw(&different), &equal] {
            let array = want.clone().reshape([16, 16, h, w]).unwrap();
            let file = opened(folder.path(), "x", &array, "").unwrap();
            assert_eq!(file.stored(), want, "{h}x{w}");
        }
    }
}

#[test]
fn frames_come_before_or_behind_channels() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip();
    for [y, x] in places([16, 24], 4) {
        let normalized = crop(&whole, [0, y, x], [FRAMES, 16, 24]);
        for want in [normalized.clone(), raw(&normalized)] {
            for array in [want.clone(), exchanged(&want)] {
                let file = opened(folder.path(), "x", &array, "").unwrap();
                assert_eq!(file.stored(), &want);
            }
        }
    }
    // What tells nothing is what it mostly is, and is said to be.
    let zeros = Array::zeros([2, 16, 16, 2, 2]);
    let file = opened(folder.path(), "x", &zeros, "").unwrap();
    assert_eq!(file.stored(), &zeros);
    assert!(file.notes[0].contains("--axes BTCHW"), "{:?}", file.notes);
}

/// A clip and as much noise as `share` of each plane's contrast.
fn with_noise(clip: &Array, share: f32) -> Array {
    let noise: Vec<f32> = formula::unit("noise", clip.data().len()).collect();
    let values = clip.data().iter().zip(&noise);
    let data = values.map(|(x, n)| x + share * n).collect();
    Array::new(clip.shape(), data).unwrap()
}

#[test]
fn ordinary_clips_are_read_and_those_that_look_exchanged_are_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip();
    let read = |array: &Array| opened(folder.path(), "x", array, "").map(|f| f.stored().clone());
    for [h, w] in [[24, 32], [12, 16], [8, 8], [4, 6], [3, 3], [2, 2]] {
        for [y, x] in places([h, w], 12) {
            let normalized = crop(&whole, [0, y, x], [FRAMES, h, w]);
            for want in [raw(&normalized), normalized] {
                assert_eq!(read(&want).as_ref(), Ok(&want), "{h}x{w} at {y}, {x}");
            }
        }
    }
    let [h, w] = [12, 16];
    for [y, x] in places([h, w], 4) {
        let noisy = with_noise(&crop(&whole, [0, y, x], [FRAMES, h, w]), 4.0);
        assert_eq!(read(&noisy).as_ref(), Ok(&noisy));
        let cuts: Vec<Array> = places([h, w], FRAMES)
            .into_iter()
            .enumerate()
            .map(|(t, [y, x])| {
                crop(&whole, [t, y, x], [1, h, w])
                    .reshape([16, h, w])
                    .unwrap()
            })
            .collect();
        let cuts = Array::stack(&cuts)
            .unwrap()
            .reshape([1, FRAMES, 16, h, w])
            .unwrap();
        for array in [exchanged(&noisy), cuts] {
            let refused = read(&array).unwrap_err();
            assert!(refused.contains("--axes BTCHW"), "{refused}");
        }
    }
}

#[test]
fn a_name_says_what_values_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = Array::zeros([16, 16, 4, 6]);
    let shape = |key: &str| opened(folder.path(), key, &zeros, "").map(|f| f.shape());
    assert_eq!(shape("latents_16x4x6_bfloat16").unwrap(), [1, 16, 16, 4, 6]);
    assert_eq!(shape("latents_1x4x6").unwrap(), [16, 16, 1, 4, 6]);
    for key in ["latents", "latents_4x6", "latents_16x6x4_float32"] {
        let refused = shape(key).unwrap_err();
        let says = [
            "--axes CTHW for a clip of 16 latent frames",
            "--axes BCHW for 16 images",
        ];
        assert!(says.iter().all(|said| refused.contains(said)), "{refused}");
    }
}

#[test]
fn what_stays_doubtful_is_refused_until_axes_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let noise = formula::unit("noise", 256 * 64).collect();
    let noise = Array::new([16, 16, 8, 8], noise).unwrap();
    assert!(opened(folder.path(), "x", &noise, "").is_err());
    let shape = |axes: &str| opened(folder.path(), "x", &noise, axes).unwrap().shape();
    assert_eq!(shape("CTHW"), [1, 16, 16, 8, 8]);
    assert_eq!(shape("BCHW"), [16, 16, 1, 8, 8]);
    let frames_first = opened(folder.path(), "x", &noise, "TCHW").unwrap();
    assert_eq!(frames_first.shape(), [1, 16, 16, 8, 8]);
    let planes = frames_first.stored().data();
    assert_eq!(planes[64..128], noise.data()[16 * 64..17 * 64]);
    let refused = opened(folder.path(), "x", &noise, "BCTHW").unwrap_err();
    assert!(refused.contains("5 axes, for --axes BCTHW"), "{refused}");
}

/// ComfyUI's file of a latent in either space.
fn saved_by_comfyui(folder: &Path, latent: &Array) -> LatentFile {
    let path = folder.join("x.latent");
    let version = Array::zeros([0]);
    let tensors = [
        ("latent_tensor", latent),
        ("latent_format_version_0", &version),
    ];
    write_arrays(&path, &tensors, &BTreeMap::new()).unwrap();
    LatentFile::open(&path, &LatentOptions::default()).unwrap()
}

#[test]
fn statistics_decide_the_space_of_a_latent_file_of_comfyui() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, config) = (clip(), VaeConfig::default());
    let decide = |latent: &Array| {
        let file = saved_by_comfyui(folder.path(), latent);
        let decision = decide_space(&file, &config, SpaceChoice::Auto).unwrap();
        assert_eq!(
            decide_space(&file, &config, SpaceChoice::Raw)
                .unwrap()
                .space,
            Space::Raw
        );
        decision
    };
    let (mut followed, mut count) = (0, 0);
    for (i, [h, w]) in [[40, 64], [32, 32], [24, 32], [16, 24], [12, 12]]
        .into_iter()
        .enumerate()
    {
        for (j, [y, x]) in places([h, w], 12).into_iter().enumerate() {
            let frames = if j % 3 == 2 { 4 } else { 1 };
            let normalized = crop(&whole, [(i + j) % 12, y, x], [frames, h, w]);
            let right = decide(&raw(&normalized));
            assert_eq!(right.space, Space::Raw, "{h}x{w} at {y}, {x}: {right:?}");
            let wrong = decide(&normalized);
            count += 1;
            followed += usize::from(wrong.space == Space::Normalized);
            assert!(wrong.doubtful || wrong.space == Space::Raw, "{wrong:?}");
        }
    }
    println!("{followed} of {count}");
    assert!(4 * followed >= 3 * count, "{followed} of {count}");
}
