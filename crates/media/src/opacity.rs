//! Opacity beside colours, and colours under clear pixels.
//!
//! Colours and opacity are one array `[4, H, W]` where a model or a file takes both, and two arrays
//! everywhere else.
//!
//! Fully clear pixels may have any colour, often black, which a model would see and draw into the
//! edges of what is visible. [`fill_clear`] fills them from nearby: means weighted by opacity on a
//! pyramid of halves, each level filling what the finer one lacks ("pull and push", Gortler et al.,
//! "The Lumigraph", 1996).

use vae2x_core::{Array, Error, Result};

use crate::pixels::{picture_size, to_unit};

/// Colours and opacity as one array; opaque if there is none.
///
/// # Shapes
/// `[3, H, W]` and `[1, H, W]` -> `[4, H, W]`
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit.
pub fn join(colours: &Array, opacity: Option<&Array>) -> Result<Array> {
    let [h, w] = picture_size(colours)?;
    let mut data = colours.data().to_vec();
    match opacity {
        Some(opacity) => data.extend_from_slice(opacity.data()),
        None => data.resize(4 * h * w, 1.0),
    }
    Array::new([4, h, w], data)
}

/// Colours, and opacity if there is one.
///
/// # Shapes
/// `[3, H, W]` or `[4, H, W]` -> `[3, H, W]` and `[1, H, W]`
///
/// # Errors
/// [`Error::Shape`] for other shapes.
pub fn split(image: Array) -> Result<(Array, Option<Array>)> {
    match *image.shape() {
        [3, _, _] => Ok((image, None)),
        [4, h, w] => {
            let mut colours = image.into_data();
            let opacity = colours.split_off(3 * h * w);
            Ok((
                Array::new([3, h, w], colours)?,
                Some(Array::new([1, h, w], opacity)?),
            ))
        }
        _ => Err(Error::Shape {
            what: "image".into(),
            expected: "[3, height, width], or [4, height, width] with opacity".into(),
            got: format!("shape {:?}", image.shape()),
        }),
    }
}

/// The image with the colours of fully clear pixels replaced by nearby ones; all others stay as
/// they are.
///
/// # Shapes
/// image `[3, H, W]`, opacity `[1, H, W]` from -1, clear, to 1 -> `[3, H, W]`
///
/// # Errors
/// [`vae2x_core::Error::Shape`] if the shapes do not fit.
pub fn fill_clear(image: &Array, opacity: &Array) -> Result<Array> {
    let size = picture_size(image)?;
    let weights = opacity
        .clone()
        .reshape(size)?
        .into_data()
        .iter()
        .map(|&v| to_unit(v))
        .collect();
    let level = Level {
        size,
        colours: image.data().to_vec(),
        weights,
    };
    let mut filled = level.filled();
    // A fully clear image stays as it is.
    if filled.iter().any(|v| v.is_nan()) {
        filled = image.data().to_vec();
    }
    Array::new([3, size[0], size[1]], filled)
}

/// A level of the pyramid: colours are known where weights are above 0.
struct Level {
    size: [usize; 2],
    /// `[3, H, W]`
    colours: Vec<f32>,
    /// `[H, W]`
    weights: Vec<f32>,
}

impl Level {
    /// All colours; NaN if none is known.
    fn filled(self) -> Vec<f32> {
        let [h, w] = self.size;
        let is_known = |&weight: &f32| weight > 0.0;
        if self.weights.iter().all(is_known) {
            return self.colours;
        }
        if h * w == 1 {
            return vec![f32::NAN; 3];
        }
        let coarse = self.halved();
        let [ch, cw] = coarse.size;
        let coarse = coarse.filled();
        let mut colours = self.colours;
        for (i, _) in self
            .weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| !is_known(weight))
        {
            let (rows, columns) = (between(i / w, ch), between(i % w, cw));
            for c in 0..3 {
                let at = |y: usize, x: usize| coarse[(c * ch + y) * cw + x];
                let along = |y: usize| {
                    columns
                        .iter()
                        .map(|&(x, share)| share * at(y, x))
                        .sum::<f32>()
                };
                colours[c * h * w + i] = rows.iter().map(|&(y, share)| share * along(y)).sum();
            }
        }
        colours
    }

    /// Half of the size, rounded up: weighted means, and the sums of weights up to 1.
    fn halved(&self) -> Self {
        let [h, w] = self.size;
        let [ch, cw] = self.size.map(|n| n.div_ceil(2));
        let mut coarse = Self {
            size: [ch, cw],
            colours: vec![0.0; 3 * ch * cw],
            weights: vec![0.0; ch * cw],
        };
        for (i, &weight) in self.weights.iter().enumerate() {
            let place = i / w / 2 * cw + i % w / 2;
            coarse.weights[place] += weight;
            (0..3).for_each(|c| {
                coarse.colours[c * ch * cw + place] += weight * self.colours[c * h * w + i]
            });
        }
        for plane in coarse.colours.chunks_exact_mut(ch * cw) {
            plane
                .iter_mut()
                .zip(&coarse.weights)
                .for_each(|(sum, weight)| *sum /= weight.max(f32::MIN_POSITIVE));
        }
        coarse
            .weights
            .iter_mut()
            .for_each(|weight| *weight = weight.min(1.0));
        coarse
    }
}

/// The two of `length` coarse places around fine place `i`, with their shares.
fn between(i: usize, length: usize) -> [(usize, f32); 2] {
    let (near, far) = (
        i / 2,
        if i.is_multiple_of(2) {
            (i / 2).saturating_sub(1)
        } else {
            i / 2 + 1
        },
    );
    [(near, 0.75), (far.min(length - 1), 0.25)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_pixels_take_what_is_near_and_others_stay() {
        let (h, w) = (13, 22);
        // Red on the left and blue on the right of a clear, black band.
        let clear = |x: usize| (8..15).contains(&x);
        let colour = |c: usize, x: usize| match (clear(x), c) {
            (true, _) => -1.0,
            (false, 0) => {
                if x < 8 {
                    0.8
                } else {
                    -0.5
                }
            }
            (false, 2) => {
                if x < 8 {
                    -0.5
                } else {
                    0.8
                }
            }
            (false, _) => -0.5,
        };
        let data = (0..3 * h * w).map(|i| colour(i / (h * w), i % w)).collect();
        let image = Array::new([3, h, w], data).unwrap();
        let opacity = Array::new(
            [1, h, w],
            (0..h * w)
                .map(|i| if clear(i % w) { -1.0 } else { 0.1 })
                .collect(),
        )
        .unwrap();
        let filled = fill_clear(&image, &opacity).unwrap();
        for (i, (new, old)) in filled.data().iter().zip(image.data()).enumerate() {
            match clear(i % w) {
                true => assert!((-0.5001..=0.8001).contains(new), "{new}"),
                false => assert_eq!(new, old),
            }
        }
        // Halfway from red to blue there is 0.15 of each.
        let at = |c: usize, x: usize| filled.data()[c * h * w + x];
        assert!(
            at(0, 8) > 0.15 && at(0, 8) > at(2, 8),
            "beside red: {} {}",
            at(0, 8),
            at(2, 8)
        );
        assert!(
            at(2, 14) > 0.15 && at(2, 14) > at(0, 14),
            "beside blue: {} {}",
            at(0, 14),
            at(2, 14)
        );
    }

    #[test]
    fn opacity_is_joined_and_split_off_again() {
        let colours = Array::new([3, 1, 2], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).unwrap();
        let opacity = Array::new([1, 1, 2], vec![-1.0, 0.5]).unwrap();
        let both = join(&colours, Some(&opacity)).unwrap();
        assert_eq!(both.shape(), [4, 1, 2]);
        assert_eq!(both.data()[6..], [-1.0, 0.5]);
        assert_eq!(split(both).unwrap(), (colours.clone(), Some(opacity)));
        let opaque = join(&colours, None).unwrap();
        assert_eq!(opaque.data()[6..], [1.0, 1.0]);
        assert_eq!(split(colours.clone()).unwrap(), (colours.clone(), None));
        assert!(join(&colours, Some(&Array::zeros([1, 1, 3]))).is_err());
        assert!(split(Array::zeros([2, 1, 2])).is_err());
    }

    #[test]
    fn a_wholly_clear_picture_stays() {
        let image = Array::new([3, 2, 3], (0..18).map(|i| i as f32 / 18.0).collect()).unwrap();
        let clear = Array::new([1, 2, 3], vec![-1.0; 6]).unwrap();
        assert_eq!(fill_clear(&image, &clear).unwrap(), image);
        assert!(fill_clear(&image, &Array::zeros([1, 3, 3])).is_err());
    }
}
