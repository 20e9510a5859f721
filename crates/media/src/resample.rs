//! Antialiased resizing of `[3, H, W]` images, in the sRGB values as they are, and of other planes.
//!
//! `fast_image_resize` works on each plane. Filters widen with the reduction, so every source pixel
//! counts. Lanczos and Catmull-Rom overshoot at edges: results may leave [-1, 1] a little, and
//! conversions to pixels clamp them.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use vae2x_core::{Array, Error, Result};

use crate::pixels::picture_size;

/// A resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The mean of the covered area: exact for whole reductions; nearest pixels for enlargement.
    Area,
    /// Cubic through the samples: smooth enlargement with little ringing.
    CatmullRom,
    /// Windowed sinc over three lobes: the sharpest.
    Lanczos3,
}

/// Resizes an image.
///
/// # Shapes
/// `[3, H, W]` -> `[3, height, width]`
///
/// # Errors
/// [`Error::Shape`] if the array is not an image or a size is 0 or above 2^32.
pub fn resize(image: &Array, size: [usize; 2], filter: Filter) -> Result<Array> {
    picture_size(image)?;
    resize_planes(image, size, filter)
}

/// Resizes each plane by itself.
///
/// # Shapes
/// `[C, H, W]` -> `[C, height, width]`
///
/// # Errors
/// [`Error::Shape`] if the array has other axes or a size is 0 or above 2^32.
pub fn resize_planes(planes: &Array, [height, width]: [usize; 2], filter: Filter) -> Result<Array> {
    let [channels, from_height, from_width] = planes.dims("planes")?;
    let refuse = |what: String| Error::Shape {
        what: "resizing".into(),
        expected: "sizes from 1 to 2^32 - 1".into(),
        got: format!("{from_width}x{from_height} to {width}x{height}{what}"),
    };
    let side = |n: usize| {
        u32::try_from(n)
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| refuse(String::new()))
    };
    let (from, to) = (
        (side(from_width)?, side(from_height)?),
        (side(width)?, side(height)?),
    );
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(match filter {
        Filter::Area => FilterType::Box,
        Filter::CatmullRom => FilterType::CatmullRom,
        Filter::Lanczos3 => FilterType::Lanczos3,
    }));
    let mut resizer = Resizer::new();
    let mut data = Vec::with_capacity(channels * height * width);
    for plane in planes.data().chunks_exact(from_height * from_width) {
        let source: Vec<F32> = plane.iter().map(|&v| F32::new(v)).collect();
        let source =
            TypedImageRef::new(from.0, from.1, &source).map_err(|e| refuse(format!(": {e}")))?;
        let mut target = TypedImage::<F32>::new(to.0, to.1);
        resizer
            .resize_typed(&source, &mut target, &options)
            .map_err(|e| refuse(format!(": {e}")))?;
        data.extend(target.pixels().iter().map(|p| p.0));
    }
    Array::new([channels, height, width], data)
}

/// Halves an image: each pixel is the mean of four.
///
/// # Shapes
/// `[3, 2h, 2w]` -> `[3, h, w]`
///
/// # Errors
/// [`Error::Shape`] unless height and width are even.
pub fn halve(image: &Array) -> Result<Array> {
    let [height, width] = picture_size(image)?;
    if height % 2 != 0 || width % 2 != 0 {
        return Err(Error::Shape {
            what: "image to halve".into(),
            expected: "an even height and width".into(),
            got: format!("{width}x{height}"),
        });
    }
    resize(image, [height / 2, width / 2], Filter::Area)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_testkit::compare::assert_close;

    fn wave(height: usize, width: usize, period: f32) -> Array {
        let value = |c: usize, y: usize, x: usize| {
            ((x as f32 + 0.5) / period + (y as f32 + 0.5) / period / 2.0 + c as f32).sin()
        };
        let data = (0..3 * height * width)
            .map(|i| value(i / (height * width), i / width % height, i % width))
            .collect();
        Array::new([3, height, width], data).unwrap()
    }

    #[test]
    fn halving_is_the_mean_of_four() {
        let image = wave(6, 10, 1.7);
        let at = |c: usize, y: usize, x: usize| image.data()[(c * 6 + y) * 10 + x];
        let mut want = Array::zeros([3, 3, 5]);
        for (i, v) in want.data_mut().iter_mut().enumerate() {
            let (c, y, x) = (i / 15, i / 5 % 3, i % 5);
            *v = (at(c, 2 * y, 2 * x)
                + at(c, 2 * y, 2 * x + 1)
                + at(c, 2 * y + 1, 2 * x)
                + at(c, 2 * y + 1, 2 * x + 1))
                / 4.0;
        }
        assert_close("half", &halve(&image).unwrap(), &want, 1e-6);
    }

    #[test]
    fn smooth_pictures_survive_enlarging() {
        let (small, large) = (wave(32, 48, 4.0), wave(64, 96, 8.0));
        for (filter, tolerance) in [
            (Filter::Lanczos3, 0.02),
            (Filter::CatmullRom, 0.02),
            (Filter::Area, 0.2),
        ] {
            assert_close(
                "doubled",
                &resize(&small, [64, 96], filter).unwrap(),
                &large,
                tolerance,
            );
        }
    }

    #[test]
    fn fine_patterns_become_grey_and_not_aliases() {
        let checks = (0..3 * 64 * 64)
            .map(|i| {
                if (i / 64 + i % 64) % 2 == 0 {
                    1.0
                } else {
                    -1.0
                }
            })
            .collect();
        let checks = Array::new([3, 64, 64], checks).unwrap();
        for filter in [Filter::Area, Filter::Lanczos3] {
            let small = resize(&checks, [16, 16], filter).unwrap();
            assert!(small.data().iter().all(|v| v.abs() < 0.05), "{filter:?}");
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(matches!(
            halve(&wave(5, 4, 1.0)),
            Err(Error::Shape { got, .. }) if got == "4x5"
        ));
        assert!(resize(&wave(4, 4, 1.0), [0, 4], Filter::Area).is_err());
        assert!(resize(&Array::zeros([1, 4, 4]), [2, 2], Filter::Area).is_err());
    }
}
