//! The score on grids, noise and textures made by formula, and on the photos of the repository.

use super::*;
use vae2x_core::weights::formula::unit;
use vae2x_media::picture::read_image;
use vae2x_media::pixels::{from_u8, to_u8};

mod lattice;

/// An 8-bit step in [-1, 1].
const STEP: f64 = 2.0 / 255.0;

/// An image of `value(y, x)` in 8-bit steps, the same in all channels.
fn picture(size: [usize; 2], value: impl Fn(usize, usize) -> f64) -> Array {
    let at = |i: usize| (value(i / size[1] % size[0], i % size[1]) * STEP - 1.0) as f32;
    Array::new(
        [3, size[0], size[1]],
        (0..3 * size[0] * size[1]).map(at).collect(),
    )
    .unwrap()
}

/// Adds `value(y, x)` 8-bit steps.
fn plus(picture: &Array, value: impl Fn(usize, usize) -> f64) -> Array {
    let [h, w] = picture_size(picture).unwrap();
    let at = |(i, v): (usize, &f32)| v + (value(i / w % h, i % w) * STEP) as f32;
    Array::new(
        picture.shape(),
        picture.data().iter().enumerate().map(at).collect(),
    )
    .unwrap()
}

/// The image after it was saved with 8 bits.
fn saved(picture: &Array) -> Array {
    Array::new(
        picture.shape(),
        picture.data().iter().map(|&v| from_u8(to_u8(v))).collect(),
    )
    .unwrap()
}

/// Noise of the given deviation in 8-bit steps, and a slope as of a sky.
fn sky(size: [usize; 2], deviation: f64) -> Array {
    let noise: Vec<f32> = unit("sky", size[0] * size[1]).collect();
    let noise = |y: usize, x: usize| deviation * 3f64.sqrt() * f64::from(noise[y * size[1] + x]);
    plus(
        &picture(size, |y, x| 100.0 + 0.08 * y as f64 + 0.04 * x as f64),
        noise,
    )
}

/// Waves along both axes that together reach `amplitude`.
fn grid(period: usize, amplitude: f64) -> impl Fn(usize, usize) -> f64 {
    let wave = move |n: usize| (std::f64::consts::TAU * n as f64 / period as f64).cos();
    move |y, x| amplitude * (wave(y) + wave(x)) / 2.0
}

fn photo(name: &str) -> Array {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../cli/assets/photos")
        .join(name);
    read_image(&path).unwrap().pixels
}

fn of(picture: &Array) -> Speckle {
    speckle(picture, 1).unwrap()
}

#[test]
fn photos_noise_and_slopes_have_none() {
    /// A grid of one 8-bit step scores more in flat regions.
    const NONE: f64 = 1.0;
    for (name, picture) in [
        ("chelsea", photo("chelsea.png")),
        ("coffee", photo("coffee.png")),
    ] {
        let score = of(&picture);
        assert!(score.speckle_db <= NONE, "{name}: {score:?}");
    }
    for deviation in [0.0, 0.5, 2.0, 8.0] {
        let score = of(&saved(&sky([512, 384], deviation)));
        assert!(
            score.speckle_db <= score.noise_db.max(0.1),
            "{deviation}: {score:?}"
        );
    }
}

#[test]
fn grids_raise_it_with_their_amplitude_at_every_period() {
    // The photo is rough nearly everywhere and hides half a step. Noise carries it through rounding.
    for (base, at_half_a_step, keep) in [
        (
            photo("coffee.png"),
            0.0,
            Array::clone as fn(&Array) -> Array,
        ),
        (sky([384, 512], 1.5), 0.5, saved),
    ] {
        for period in [2, 4, 8, 16] {
            let scores = [0.5, 1.0, 2.0, 4.0, 8.0]
                .map(|amplitude| of(&keep(&plus(&base, grid(period, amplitude)))));
            assert!(
                scores[0].speckle_db > at_half_a_step,
                "{period}: {:?}",
                scores[0]
            );
            for pair in scores.windows(2) {
                assert!(
                    pair[1].speckle_db > pair[0].speckle_db + 0.2,
                    "{period}: {pair:?}"
                );
                assert_eq!(pair[1].period, period, "{pair:?}");
            }
            assert!(scores[4].speckle_db > 9.0, "{period}: {:?}", scores[4]);
        }
    }
}

#[test]
fn a_flat_regions_grid_is_found_beside_texture() {
    // The upper third is a sky, the rest rough.
    let size = [768, 768];
    let rough: Vec<f32> = unit("rough", size[0] * size[1]).collect();
    let landscape = plus(&sky(size, 1.0), |y, x| {
        if y < 256 {
            0.0
        } else {
            40.0 * f64::from(rough[y * size[1] + x])
        }
    });
    assert!(of(&landscape).speckle_db < 0.5);
    for period in [2, 4, 8, 16] {
        let score = of(&plus(&landscape, |y, x| {
            if y < 256 {
                grid(period, 1.0)(y, x)
            } else {
                0.0
            }
        }));
        assert!(
            score.speckle_db > 4.0 && score.period == period,
            "{score:?}"
        );
        assert!((score.flat_share - 1.0 / 3.0).abs() < 0.05, "{score:?}");
    }
}

#[test]
fn the_amplitude_is_that_of_the_wave() {
    let noisy = sky([512, 512], 1.0);
    let directions: [fn(usize, usize) -> usize; 4] =
        [|y, _| y, |_, x| x, |y, x| y + x, |y, x| 512 + y - x];
    for period in [2, 4, 8, 16] {
        for direction in directions {
            let wave =
                |y, x| 3.0 * (std::f64::consts::TAU * direction(y, x) as f64 / period as f64).cos();
            let score = of(&plus(&noisy, wave));
            assert!(
                (score.amplitude - 3.0).abs() < 0.1 && score.period == period,
                "{period}: {score:?}"
            );
        }
    }
}

#[test]
fn texture_does_not_look_like_a_grid() {
    let size = [512, 512];
    // Cloth or bricks 12 steps deep, turned by some degrees, as if on a body that bends it by `bend` pixels.
    let weave = |period: f64, degrees: f64, bend: f64| {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        picture(size, move |y, x| {
            let (y, x) = (
                y as f64 + bend * (x as f64 / 60.0).sin(),
                x as f64 + bend * (y as f64 / 45.0).cos(),
            );
            let wave = |v: f64| (std::f64::consts::TAU * v / period).sin();
            128.0
                + 12.0 * wave(cosine * x + sine * y) * wave(cosine * y - sine * x)
                + 6.0 * wave(x / 2.3)
        })
    };
    let straight = [
        (3.7, 0.0, 0.0),
        (7.6, 0.0, 0.0),
        (8.5, 0.0, 0.0),
        (15.0, 0.0, 0.0),
    ];
    let turned = [
        (2.0, 3.0, 0.0),
        (4.0, 3.0, 0.0),
        (8.0, 5.0, 0.0),
        (16.0, 10.0, 0.0),
    ];
    let bent = [
        (2.0, 0.0, 2.0),
        (4.0, 0.0, 3.0),
        (8.0, 0.0, 6.0),
        (16.0, 3.0, 16.0),
    ];
    for (period, degrees, bend) in [straight, turned, bent].concat() {
        let score = of(&weave(period, degrees, bend));
        assert!(
            score.speckle_db < 1.5,
            "{period} {degrees} {bend}: {score:?}"
        );
    }
}

#[test]
fn speckles_count_as_stripes_do() {
    let noisy = sky([512, 512], 1.0);
    let dots = |period: usize, height: f64| {
        saved(&plus(&noisy, |y, x| {
            if y % period == 0 && x % period == 0 {
                height
            } else {
                0.0
            }
        }))
    };
    // The root mean square of all is 1 step; the longer the period, the less of it is on the axes and the diagonals.
    for (period, height) in [(2, 2.0), (4, 4.0), (8, 8.0), (16, 16.0)] {
        let score = of(&dots(period, height));
        assert!(score.speckle_db > 2.5, "{period}: {score:?}");
    }
}

#[test]
fn a_grid_that_changes_with_the_place_is_found() {
    let flipped = |y: usize, x: usize| {
        if (y / 256 + x / 256).is_multiple_of(2) {
            2.0
        } else {
            -2.0
        }
    };
    let score = of(&plus(&sky([1024, 1024], 1.5), |y, x| {
        flipped(y, x) * grid(8, 1.0)(y, x)
    }));
    assert!(score.speckle_db > 8.0, "{score:?}");
}

#[test]
fn twice_the_size_has_twice_the_periods() {
    let noisy = sky([512, 768], 1.5);
    for period in [2, 4, 8, 16, 32] {
        let score = speckle(&plus(&noisy, grid(period, 2.0)), 2).unwrap();
        assert!(
            score.speckle_db > 8.0 && score.period == period,
            "{score:?}"
        );
        assert_eq!(
            score.periods.iter().map(|p| p.period).collect::<Vec<_>>(),
            [2, 4, 8, 16, 32]
        );
    }
    assert_eq!(scale_to([800, 600], [400, 300]), 2);
    assert_eq!(scale_to([801, 600], [400, 300]), 1);
    assert_eq!(scale_to([400, 300], [400, 300]), 1);
}

#[test]
fn constants_clipped_and_broken_pictures() {
    for value in [0.0, 128.0, 255.0] {
        assert!(of(&picture([128, 200], |_, _| value)).speckle_db < 1e-9);
    }
    // Black bars hide nothing.
    let barred = plus(&sky([512, 512], 1.0), |y, x| {
        if y < 256 { -1e3 } else { grid(8, 2.0)(y, x) }
    });
    assert!(of(&barred).speckle_db > 8.0);
    let mut broken = picture([128, 128], |_, _| 9.0);
    broken.data_mut()[77] = f32::NAN;
    assert!(of(&broken).speckle_db.is_nan());
    assert!(speckle(&Array::zeros([3, 127, 300]), 1).is_err());
    assert!(speckle(&Array::zeros([3, 200, 300]), 2).is_err());
}
