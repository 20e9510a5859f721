//! A training pair: a sharp crop of a photo at a random scale, and its half.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use vae2x_core::{Array, Result};
use vae2x_measure::metrics::sharpness;
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};

use super::photo::Photo;

/// The filters that halve a crop, one drawn for each.
const HALVING: [Filter; 3] = [Filter::Area, Filter::CatmullRom, Filter::Lanczos3];

/// How crops are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CropOptions {
    /// Side of the target.
    pub side: usize,
    /// Side of the target per side of the input.
    pub factor: usize,
    /// Least and greatest scale of the photo.
    pub scale: [f64; 2],
    /// Mirror half of the crops.
    pub flip: bool,
}

/// A crop and its half.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The photo.
    pub name: String,
    /// `[3, side, side]` in [-1, 1]
    pub target: Array,
    /// `[3, side / factor, side / factor]` in [-1, 1]
    pub input: Array,
}

/// Places tried for a crop that is sharp enough.
pub const DRAWS: usize = 4;

/// What came of cutting a pair.
#[derive(Clone, Debug, PartialEq)]
pub enum Cut {
    /// A crop that is sharp enough, and its half.
    Sharp {
        /// As [`Sample::target`].
        target: Array,
        /// As [`Sample::input`].
        input: Array,
    },
    /// None of the crops that were tried is.
    Blurred {
        /// The largest sharpness found.
        best: f64,
    },
}

/// Cuts a pair from a photo whose sides are at least `options.side`: the first of [`DRAWS`] crops whose sharpness is `least` or
/// more. What is clear or translucent lies on a colour drawn for the crop.
///
/// # Errors
/// If the photo is not an image.
pub fn cut(photo: &Photo, options: &CropOptions, least: f64, rng: &mut ChaCha8Rng) -> Result<Cut> {
    let mut best = f64::NEG_INFINITY;
    for _ in 0..DRAWS {
        let target = target(photo, options, rng)?;
        let halving = HALVING[rng.random_range(0..HALVING.len())];
        let found = match least > 0.0 {
            true => sharpness(&target)?,
            false => f64::INFINITY,
        };
        if found >= least {
            let input = match options.factor {
                1 => target.clone(),
                factor => clamped(resize(&target, [options.side / factor; 2], halving)?),
            };
            return Ok(Cut::Sharp { target, input });
        }
        best = best.max(found);
    }
    Ok(Cut::Blurred { best })
}

/// A crop at a random place and scale.
fn target(photo: &Photo, options: &CropOptions, rng: &mut ChaCha8Rng) -> Result<Array> {
    let [height, width] = picture_size(&photo.pixels)?;
    let scale = rng.random_range(options.scale[0]..=options.scale[1]);
    // The part of the photo that becomes the crop.
    let window =
        ((options.side as f64 / scale).round() as usize).clamp(options.side, height.min(width));
    let place = [
        rng.random_range(0..=height - window),
        rng.random_range(0..=width - window),
    ];
    let mirror = options.flip && rng.random_bool(0.5);
    let mut part = window_of(&photo.pixels, place, [window; 2], mirror)?;
    if let Some(opacity) = &photo.opacity {
        let colour: [f32; 3] = std::array::from_fn(|_| rng.random_range(-1.0..=1.0));
        let opacity = window_of(opacity, place, [window; 2], mirror)?;
        lay_on(&mut part, &opacity, colour);
    }
    Ok(match window == options.side {
        true => part,
        false => clamped(resize(&part, [options.side; 2], Filter::Lanczos3)?),
    })
}

/// Lays an image on a colour, in the sRGB values as they are, as browsers do.
///
/// # Shapes
/// `[3, H, W]` in [-1, 1], opacity `[1, H, W]` from -1, clear, to 1
pub fn lay_on(picture: &mut Array, opacity: &Array, colour: [f32; 3]) {
    let plane = opacity.data().len().max(1);
    for (values, colour) in picture.data_mut().chunks_exact_mut(plane).zip(colour) {
        for (value, opacity) in values.iter_mut().zip(opacity.data()) {
            let share = (opacity + 1.0) / 2.0;
            *value = colour + (*value - colour) * share;
        }
    }
}

/// The part of an image at a place, mirrored if asked for.
///
/// # Shapes
/// `[C, H, W]` -> `[C, h, w]`
///
/// # Errors
/// If the image is none.
///
/// # Panics
/// If the part is not inside.
pub fn window_of(
    picture: &Array,
    [top, left]: [usize; 2],
    [h, w]: [usize; 2],
    mirror: bool,
) -> Result<Array> {
    let [channels, height, width] = picture.dims("image")?;
    let mut data = Vec::with_capacity(channels * h * w);
    for plane in picture.data().chunks_exact(height * width) {
        for row in plane.chunks_exact(width).skip(top).take(h) {
            let row = &row[left..left + w];
            if mirror {
                data.extend(row.iter().rev())
            } else {
                data.extend(row)
            }
        }
    }
    Array::new([channels, h, w], data)
}

/// Sharp filters overshoot; saved images do not.
pub fn clamped(mut picture: Array) -> Array {
    for v in picture.data_mut() {
        *v = v.clamp(-1.0, 1.0);
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn pixels() -> Array {
        Array::new(
            [3, 40, 60],
            (0..7200).map(|i| ((i as f32) * 0.37).sin()).collect(),
        )
        .unwrap()
    }

    const OPTIONS: CropOptions = CropOptions {
        side: 32,
        factor: 2,
        scale: [0.5, 1.0],
        flip: true,
    };

    fn seeded(photo: &Photo, options: &CropOptions, least: f64, seed: u64) -> Cut {
        cut(photo, options, least, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap()
    }

    #[test]
    fn pairs_have_their_sizes_and_come_back_with_their_seed() {
        let photo = Photo::opaque(pixels());
        for (seed, factor) in (0..20).zip([1, 2, 4].into_iter().cycle()) {
            let options = CropOptions { factor, ..OPTIONS };
            let found = seeded(&photo, &options, 0.0, seed);
            let Cut::Sharp { target, input } = &found else {
                panic!("{found:?}")
            };
            let small = 32 / factor;
            assert_eq!(
                (target.shape(), input.shape()),
                (&[3, 32, 32][..], &[3, small, small][..])
            );
            assert!(
                target
                    .data()
                    .iter()
                    .chain(input.data())
                    .all(|v| v.abs() <= 1.0)
            );
            assert_eq!(found, seeded(&photo, &options, 0.0, seed));
        }
        assert_ne!(
            seeded(&photo, &OPTIONS, 0.0, 0),
            seeded(&photo, &OPTIONS, 0.0, 1)
        );
    }

    /// Left half flat, right half noise: the crop decides, and not the photo.
    #[test]
    fn crops_are_taken_where_the_photo_is_sharp() {
        let noise: Vec<f32> = vae2x_core::weights::formula::unit("sharp", 3 * 64 * 256).collect();
        let value = |i: usize| if i % 256 < 128 { 0.0 } else { noise[i] };
        let half = Array::new([3, 64, 256], (0..3 * 64 * 256).map(value).collect()).unwrap();
        let (half, flat) = (
            Photo::opaque(half),
            Photo::opaque(Array::zeros([3, 64, 256])),
        );
        let options = CropOptions {
            scale: [1.0, 1.0],
            ..OPTIONS
        };
        let mut found = [0, 0];
        for seed in 0..40 {
            match seeded(&half, &options, 100.0, seed) {
                Cut::Sharp { target, .. } => {
                    found[0] += 1;
                    assert!(sharpness(&target).unwrap() >= 100.0);
                }
                Cut::Blurred { best } => {
                    found[1] += 1;
                    assert!(best < 100.0);
                }
            }
            assert_eq!(
                seeded(&flat, &options, 100.0, seed),
                Cut::Blurred { best: 0.0 }
            );
        }
        // Half of the crops are sharp; four in a row that are not, one in about twelve times.
        assert!(found[0] >= 30, "{found:?}");
    }

    #[test]
    fn clear_pixels_show_a_colour_that_is_drawn() {
        // Red where it is opaque; what is clear holds white.
        let is_clear = |i: usize| i % 64 >= 32;
        let pixel = |i: usize| match (i / 4096, is_clear(i)) {
            (_, true) | (0, _) => 1.0,
            _ => -1.0,
        };
        let photo = Photo {
            pixels: Array::new([3, 64, 64], (0..3 * 4096).map(pixel).collect()).unwrap(),
            opacity: Some(
                Array::new(
                    [1, 64, 64],
                    (0..4096)
                        .map(|i| if is_clear(i) { -1.0 } else { 1.0 })
                        .collect(),
                )
                .unwrap(),
            ),
        };
        let options = CropOptions {
            side: 64,
            scale: [1.0, 1.0],
            flip: false,
            ..OPTIONS
        };
        let corner = |seed| {
            let Cut::Sharp { target, .. } = seeded(&photo, &options, 0.0, seed) else {
                panic!("the limit is 0")
            };
            let at = |x: usize| [0, 1, 2].map(|c| target.data()[c * 4096 + x]);
            assert_eq!(at(0), [1.0, -1.0, -1.0]);
            at(63)
        };
        assert_eq!(corner(1), corner(1));
        assert_ne!(corner(1), corner(2));
        assert_ne!(corner(1), [1.0; 3]);
        let mut grey = Array::new([3, 1, 1], vec![1.0, 0.0, -1.0]).unwrap();
        lay_on(&mut grey, &Array::zeros([1, 1, 1]), [0.0, 0.0, 1.0]);
        assert_eq!(grey.data(), [0.5, 0.0, 0.0]);
    }

    #[test]
    fn a_window_is_a_part_and_its_mirror_image() {
        let whole = pixels();
        let part = window_of(&whole, [3, 5], [2, 4], false).unwrap();
        assert_eq!(part.data()[..4], whole.data()[3 * 60 + 5..][..4]);
        let mirrored = window_of(&whole, [3, 5], [2, 4], true).unwrap();
        assert!(
            mirrored.data()[..4]
                .iter()
                .eq(part.data()[..4].iter().rev())
        );
    }
}
