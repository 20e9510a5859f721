//! A training pair: a crop of a photo at a random scale, and its half.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use vae2x_core::{Array, Result};
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};

/// The filters that halve a crop, one drawn for each.
const HALVING: [Filter; 3] = [Filter::Area, Filter::CatmullRom, Filter::Lanczos3];

/// How crops are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CropOptions {
    /// Side of the target.
    pub side: usize,
    /// Side of the target per side of the input: 2, or 1 for a VAE of its own.
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

/// Cuts a pair from a photo whose sides are at least `options.side`.
///
/// # Errors
/// If the photo is not an image.
pub fn cut(
    name: String,
    photo: &Array,
    options: &CropOptions,
    rng: &mut ChaCha8Rng,
) -> Result<Sample> {
    let [height, width] = picture_size(photo)?;
    let scale = rng.random_range(options.scale[0]..=options.scale[1]);
    // The part of the photo that becomes the crop.
    let window =
        ((options.side as f64 / scale).round() as usize).clamp(options.side, height.min(width));
    let top = rng.random_range(0..=height - window);
    let left = rng.random_range(0..=width - window);
    let mirror = options.flip && rng.random_bool(0.5);
    let halving = HALVING[rng.random_range(0..HALVING.len())];
    let part = window_of(photo, [top, left], [window; 2], mirror)?;
    let target = match window == options.side {
        true => part,
        false => clamped(resize(&part, [options.side; 2], Filter::Lanczos3)?),
    };
    let input = match options.factor {
        1 => target.clone(),
        factor => clamped(resize(&target, [options.side / factor; 2], halving)?),
    };
    Ok(Sample {
        name,
        target,
        input,
    })
}

/// The part of an image at a place, mirrored if asked for.
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
    let [height, width] = picture_size(picture)?;
    let mut data = Vec::with_capacity(3 * h * w);
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
    Array::new([3, h, w], data)
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

    fn photo() -> Array {
        Array::new(
            [3, 40, 60],
            (0..7200).map(|i| ((i as f32) * 0.37).sin()).collect(),
        )
        .unwrap()
    }

    #[test]
    fn pairs_have_their_sizes_and_come_back_with_their_seed() {
        let options = CropOptions {
            side: 32,
            factor: 2,
            scale: [0.5, 1.0],
            flip: true,
        };
        let cut = |seed| {
            cut(
                "p".into(),
                &photo(),
                &options,
                &mut ChaCha8Rng::seed_from_u64(seed),
            )
            .unwrap()
        };
        for seed in 0..20 {
            let sample = cut(seed);
            assert_eq!(
                (sample.target.shape(), sample.input.shape()),
                (&[3, 32, 32][..], &[3, 16, 16][..])
            );
            assert!(
                sample
                    .target
                    .data()
                    .iter()
                    .chain(sample.input.data())
                    .all(|v| v.abs() <= 1.0)
            );
            assert_eq!(sample, cut(seed));
        }
        assert_ne!(cut(0), cut(1));
    }

    #[test]
    fn a_window_is_a_part_and_its_mirror_image() {
        let whole = photo();
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
