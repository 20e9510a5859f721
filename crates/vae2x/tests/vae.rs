//! The library as its users meet it: whole values, sessions, finishing, and the README's example.

use vae2x::{
    Array, Cancel, Detail, Device, Error, Extent, Finish, Image, Latent, LatentOptions, Pixels,
    SpaceChoice, Upscale, Vae, VaeConfig,
};
use vae2x_core::weights::formula::FormulaWeights;

fn open(name: &str) -> Vae {
    Vae::open(name)
        .unwrap()
        .device(Device::Cpu)
        .build()
        .unwrap()
}

/// A small model with temporal taps that differ.
fn small(out_channels: usize) -> Vae {
    let config = VaeConfig::with_widths(8, out_channels);
    let weights = std::sync::Arc::new(FormulaWeights::new(config));
    Vae::from_weights(weights, "formula")
        .device(Device::Cpu)
        .threads(Some(2))
        .build()
        .unwrap()
}

fn wave(shape: &[usize], step: f32) -> Array {
    let count = shape.iter().product::<usize>();
    Array::new(shape, (0..count).map(|i| (step * i as f32).sin()).collect()).unwrap()
}

#[test]
fn whole_clips_are_their_steps() {
    let vae = small(12);
    let latent = wave(&[2, 16, 3, 2, 3], 0.7);
    let whole = vae.decode(&Latent::raw(latent.clone()).unwrap()).unwrap();
    assert_eq!(whole.array().shape(), [2, 3, 9, 32, 48]);
    for item in 0..2 {
        let clip = Extent {
            frames: 3,
            cells: [2, 3],
        };
        let mut session = vae.decoder(clip).unwrap();
        let mut frames = Vec::new();
        for t in 0..3 {
            let step = latent.item(item).narrow1(t..t + 1);
            frames.extend(session.step(&step).unwrap());
        }
        assert!(session.is_done());
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(frame, &whole.frame(item, index));
        }
    }
}

#[test]
fn clips_are_encoded_frame_by_frame_as_whole() {
    let vae = small(3);
    let pixels = Pixels::new(wave(&[1, 3, 5, 16, 24], 0.3)).unwrap();
    let latent = vae.encode(&pixels).unwrap();
    assert_eq!(latent.shape(), [1, 16, 2, 2, 3]);
    let mut session = vae.encoder(latent.extent()).unwrap();
    let clip = pixels.array().item(0);
    let first = session.step(&clip.narrow1(0..1)).unwrap();
    assert_eq!(session.next_frames(), 4);
    let second = session.step(&clip.narrow1(1..5)).unwrap();
    let (raw, decision) = latent.settle(vae.config()).unwrap();
    assert!(decision.is_none());
    assert_eq!(raw.frame(0, 0), first);
    assert_eq!(raw.frame(0, 1), second);
}

#[test]
fn a_session_refuses_what_does_not_fit_its_clip() {
    let vae = small(3);
    let mut session = vae.decoder(Extent::image([2, 2])).unwrap();
    let shape = |array: Array, session: &mut vae2x::DecodeSession| session.step(&array);
    let wrong = shape(Array::zeros([16, 1, 2, 3]), &mut session);
    assert!(matches!(wrong, Err(Error::Shape { .. })));
    session.step(&Array::zeros([16, 1, 2, 2])).unwrap();
    let beyond = shape(Array::zeros([16, 1, 2, 2]), &mut session);
    assert!(matches!(beyond, Err(Error::Shape { .. })));
    let empty = Extent {
        frames: 0,
        cells: [2, 2],
    };
    assert!(matches!(vae.decoder(empty), Err(Error::Shape { .. })));
}

#[test]
fn a_session_moves_between_threads() {
    let vae = small(12);
    let clip = Extent {
        frames: 2,
        cells: [2, 2],
    };
    let latent = wave(&[16, 2, 2, 2], 0.4);
    let mut here = vae.decoder(clip).unwrap();
    let mut there = vae.decoder(clip).unwrap();
    let [first, second] = [0, 1].map(|t| latent.narrow1(t..t + 1));
    assert_eq!(here.step(&first).unwrap(), there.step(&first).unwrap());
    let expected = here.step(&second).unwrap();
    let found = std::thread::spawn(move || there.step(&second).unwrap());
    assert_eq!(found.join().unwrap(), expected);
}

#[test]
fn damaged_weights_do_not_become_an_image() {
    let vae = small(3);
    let mut session = vae.decoder(Extent::image([2, 2])).unwrap();
    let damaged = Array::new([16, 1, 2, 2], vec![f32::NAN; 64]).unwrap();
    assert!(matches!(
        session.step(&damaged),
        Err(Error::NotFinite { .. })
    ));
}

#[test]
fn images_of_any_size_are_enlarged_to_exactly_twice_it() {
    let vae = open("demo:2x");
    let image = Image::new(wave(&[3, 19, 30], 0.05)).unwrap();
    let large = vae.upscale(&image, &Upscale::default()).unwrap();
    assert_eq!(large.pixels().shape(), [3, 38, 60]);
    let blurred = Upscale {
        detail: Detail::Blur(2.0),
        match_color: true,
    };
    let blurred = vae.upscale(&image, &blurred).unwrap();
    assert_ne!(blurred.pixels(), large.pixels());
    let base = open("demo:base").upscale(&image, &Upscale::default());
    assert!(matches!(base, Err(Error::BadRequest(_))));
}

#[test]
fn refined_latents_have_twice_the_cells() {
    let vae = small(12);
    let latent = Latent::raw(wave(&[1, 16, 2, 2, 2], 0.6)).unwrap();
    let refined = vae.refine(&latent).unwrap();
    assert_eq!(refined.shape(), [1, 16, 2, 4, 4]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refined.latent");
    assert_eq!(refined.save(&path).unwrap().1, vae2x::Space::Raw);
    assert_eq!(Latent::open(&path).unwrap().shape(), refined.shape());
}

#[test]
fn finishing_gives_the_scale_that_is_asked_for() {
    let vae = open("demo:2x");
    let latent = Latent::raw(wave(&[1, 16, 1, 2, 2], 0.6)).unwrap();
    let frame = vae.decode(&latent).unwrap().frame(0, 0);
    let finish = Finish {
        scale: Some(1),
        ..Finish::default()
    };
    let finisher = finish.for_decoder(vae.config(), vae.name()).unwrap();
    assert_eq!(finisher.apply(frame, None).unwrap().shape(), [3, 16, 16]);
}

#[test]
fn pixels_are_fitted_saved_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = VaeConfig::default();
    let pixels = Pixels::new(wave(&[1, 3, 6, 20, 17], 0.2)).unwrap();
    let cropped = pixels.clone().fitted(&config, false).unwrap();
    assert_eq!(cropped.array().shape(), [1, 3, 5, 16, 16]);
    let padded = pixels.fitted(&config, true).unwrap();
    assert_eq!(padded.array().shape(), [1, 3, 5, 24, 24]);
    let array = folder.path().join("clip.safetensors");
    cropped.save(&array).unwrap();
    assert_eq!(Pixels::open(&array).unwrap().array(), cropped.array());
    let frames = folder.path().join("frames");
    assert_eq!(cropped.save(&frames).unwrap().len(), 5);
    assert_eq!(
        Pixels::open(&frames).unwrap().array().shape(),
        [1, 3, 5, 16, 16]
    );
    let one = cropped.save(folder.path().join("one.png"));
    assert!(matches!(one, Err(Error::BadRequest(_))));
}

#[test]
fn names_that_lead_nowhere_are_told_apart() {
    let error = |name: &str| Vae::open(name).err().unwrap();
    assert!(matches!(error("demo:4x"), Error::BadRequest(_)));
    assert!(matches!(error("./none.safetensors"), Error::Io { .. }));
    let device = Vae::open("demo:2x")
        .unwrap()
        .device("cuda".parse().unwrap());
    if cfg!(not(feature = "cuda")) {
        assert!(matches!(
            device.build(),
            Err(Error::Missing {
                feature: "cuda",
                ..
            })
        ));
    }
}

#[test]
fn the_readme_shows_the_example_that_is_tested() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(root).unwrap();
    let start = readme.find("```rust\n").expect("README has an example") + "```rust\n".len();
    let example = &readme[start..][..readme[start..].find("```").unwrap()];
    let tested = include_str!("../src/lib.rs");
    for line in example.lines().filter(|line| !line.is_empty()) {
        assert!(tested.contains(&format!("//! {line}\n")), "{line}");
    }
}

#[test]
fn arrays_of_any_layout_become_latents() {
    let latent = |shape: &[usize], options: &LatentOptions| {
        Latent::from_array(wave(shape, 0.7), options).map(|latent| latent.shape().to_vec())
    };
    let plain = LatentOptions::default();
    for (given, taken) in [
        (&[16, 2, 3][..], [1, 16, 1, 2, 3]),
        (&[2, 16, 2, 3], [2, 16, 1, 2, 3]),
        (&[16, 5, 2, 3], [1, 16, 5, 2, 3]),
        (&[2, 16, 5, 2, 3], [2, 16, 5, 2, 3]),
    ] {
        assert_eq!(latent(given, &plain).unwrap(), taken);
    }
    let packed = LatentOptions {
        packed_size: Some([64, 48]),
        ..LatentOptions::default()
    };
    assert_eq!(latent(&[1, 12, 64], &packed).unwrap(), [1, 16, 1, 8, 6]);
    let other = LatentOptions {
        axes: Some("TCHW".parse().unwrap()),
        space: SpaceChoice::Raw,
        ..LatentOptions::default()
    };
    assert_eq!(latent(&[3, 16, 2, 3], &other).unwrap(), [1, 16, 3, 2, 3]);
    assert!(latent(&[15, 2, 3], &plain).is_err());
    let infinite = Array::new([16, 1, 1], vec![f32::INFINITY; 16]).unwrap();
    let refused = Latent::from_array(infinite, &plain);
    assert!(matches!(refused, Err(Error::NotFinite { .. })));
}

#[test]
fn a_cancelled_model_stops_and_its_clones_do_not() {
    let (vae, cancel) = (small(12), Cancel::new());
    let latent = Latent::raw(wave(&[1, 16, 2, 4, 4], 0.7)).unwrap();
    let stoppable = vae.with_cancel(&cancel);
    let mut heard = 0;
    let stopped = stoppable.refine_with(&latent, &mut |_| {
        heard += 1;
        cancel.cancel();
    });
    assert!(matches!(stopped, Err(Error::Cancelled)), "{heard}");
    assert!(heard > 0);
    assert!(matches!(stoppable.decode(&latent), Err(Error::Cancelled)));
    vae.decode(&latent).unwrap();
}
