//! Planes `[N, H, W]` in another size without resampling: cropped, or padded on the right and
//! below.

use vae2x_core::{Array, Result};

/// The middle of each plane.
///
/// # Shapes
/// `[N, H, W]` -> `[N, height, width]`, neither above the input's
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless the array has three axes.
pub fn crop(planes: &Array, [height, width]: [usize; 2]) -> Result<Array> {
    let [n, h, w] = planes.dims("planes")?;
    let (top, left) = ((h - height) / 2, (w - width) / 2);
    gather(planes, [n, height, width], |y| top + y, |x| left + x)
}

/// Each plane with its last row and column repeated.
///
/// # Shapes
/// `[N, H, W]` -> `[N, height, width]`, neither below the input's
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless the array has three axes.
pub fn pad(planes: &Array, [height, width]: [usize; 2]) -> Result<Array> {
    let [n, h, w] = planes.dims("planes")?;
    gather(
        planes,
        [n, height, width],
        |y| y.min(h - 1),
        |x| x.min(w - 1),
    )
}

/// Each plane continued by its mirror image.
///
/// # Shapes
/// `[N, H, W]` -> `[N, height, width]`, neither below the input's
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless the array has three axes.
pub fn mirror(planes: &Array, [height, width]: [usize; 2]) -> Result<Array> {
    let [n, h, w] = planes.dims("planes")?;
    let mirrored =
        |i: usize, length: usize| (i % (2 * length)).min(2 * length - 1 - i % (2 * length));
    gather(
        planes,
        [n, height, width],
        |y| mirrored(y, h),
        |x| mirrored(x, w),
    )
}

/// The upper left part of each plane.
///
/// # Shapes
/// `[N, H, W]` -> `[N, height, width]`, neither above the input's
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless the array has three axes.
pub fn corner(planes: &Array, [height, width]: [usize; 2]) -> Result<Array> {
    gather(planes, [planes.shape()[0], height, width], |y| y, |x| x)
}

fn gather(
    planes: &Array,
    [n, height, width]: [usize; 3],
    row: impl Fn(usize) -> usize,
    column: impl Fn(usize) -> usize,
) -> Result<Array> {
    let [_, h, w] = planes.dims("planes")?;
    let mut out = Vec::with_capacity(n * height * width);
    for plane in planes.data().chunks_exact(h * w) {
        for y in 0..height {
            let source = &plane[row(y) * w..][..w];
            out.extend((0..width).map(|x| source[column(x)]));
        }
    }
    Array::new([n, height, width], out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_cut_and_continued() {
        let planes = Array::new([1, 3, 3], (0..9).map(|i| i as f32).collect()).unwrap();
        assert_eq!(crop(&planes, [1, 2]).unwrap().data(), [3., 4.]);
        assert_eq!(
            pad(&planes, [4, 4]).unwrap().data()[10..],
            [8., 8., 6., 7., 8., 8.]
        );
        assert_eq!(
            mirror(&planes, [3, 8]).unwrap().data()[..8],
            [0., 1., 2., 2., 1., 0., 0., 1.]
        );
        assert_eq!(corner(&planes, [2, 1]).unwrap().data(), [0., 3.]);
    }
}
