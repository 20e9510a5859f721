//! Latent files as people have them give the latent that they were made of.

use std::path::{Path, PathBuf};

use vae2x_core::latent::Space;
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, VaeConfig};
use vae2x_media::latent::{LatentFile, LatentOptions, SpaceChoice, decide_space};
use vae2x_testkit::fixture;

fn case(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/public/latents");
    folder.join(name)
}

/// The first `t` frames of the clip from a row and a column on: `[1, 16, t, h, w]`.
fn part(t: usize, [top, left]: [usize; 2], [h, w]: [usize; 2]) -> Array {
    let file = TensorFile::open(&fixture("data/wan_cheesecake_normalized.safetensors"));
    let clip = file.unwrap().read("latents").unwrap();
    let value = |i: usize| {
        let (x, y, frame, c) = (i % w, i / w % h, i / (w * h) % t, i / (w * h * t));
        clip.data()[((c * 16 + frame) * 40 + top + y) * 64 + left + x]
    };
    let count = 16 * t * h * w;
    Array::new([1, 16, t, h, w], (0..count).map(value).collect()).unwrap()
}

/// Opens a case, whose space must be found to be normalized.
#[track_caller]
fn opened(name: &str, size: Option<[usize; 2]>) -> LatentFile {
    let options = LatentOptions {
        packed_size: size,
        ..LatentOptions::default()
    };
    let file = LatentFile::open(&case(name), &options).unwrap_or_else(|e| panic!("{e}"));
    let decision = decide_space(&file, &VaeConfig::default(), SpaceChoice::Auto).unwrap();
    assert_eq!(decision.space, Space::Normalized, "{name}: {decision:?}");
    file
}

#[test]
fn every_case_is_read_as_what_it_was_made_of() {
    let image = part(1, [8, 16], [24, 32]);
    let small = [8, 16];
    for (name, want) in [
        (
            "musubi_t2v_61_frames.safetensors",
            part(16, [14, 20], [16, 16]),
        ),
        (
            "musubi_t2v_61_frames_with_batch.safetensors",
            part(16, [14, 20], [16, 16]),
        ),
        ("musubi_i2v.safetensors", part(3, small, [16, 24])),
        ("musubi_qwen_edit.safetensors", image.clone()),
        ("sdscripts_anima.npz", image.clone()),
        ("diffsynth_new.pth", image.clone()),
        ("beside_a_set.pt", image.clone()),
        ("seed_above_2_63.pt", image.clone()),
        ("beside_a_numpy_scalar.pt", image.clone()),
    ] {
        assert_eq!(opened(name, None).stored(), &want, "{name}");
    }
    let expanded = opened("expanded_batch.pt", None);
    let one = part(1, small, [16, 24]);
    assert_eq!(expanded.shape(), [4, 16, 1, 16, 24]);
    assert_eq!(expanded.stored().data(), one.data().repeat(4));
    // Rounded to fp8 and to halves.
    for (name, step) in [("e4m3", 0.0626), ("e5m2", 0.1251)] {
        let read = opened(&format!("latent_f8_{name}.safetensors"), None);
        for (value, exact) in read.stored().data().iter().zip(image.data()) {
            assert!(
                (value - exact).abs() <= step * exact.abs() + 0.001,
                "{value} {exact}"
            );
        }
    }
    let wrapper = opened("wrapper_saved.latent", None);
    let exact = part(1, [4, 4], [32, 56]);
    for (value, exact) in wrapper.stored().data().iter().zip(exact.data()) {
        assert!(
            (value - exact).abs() <= 1e-3 * exact.abs() + 1e-6,
            "{value} {exact}"
        );
    }
    let packed = opened("packed_320x512.safetensors", Some([320, 512]));
    assert_eq!(packed.stored(), &part(1, [0, 0], [40, 64]));
    let options = LatentOptions {
        packed_size: Some([512, 320]),
        ..LatentOptions::default()
    };
    let refused = LatentFile::open(&case("packed_320x512.safetensors"), &options);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("--size 320x512 (height first)"),
        "{refused}"
    );
}
