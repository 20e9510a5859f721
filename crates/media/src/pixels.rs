//! Where the model's range [-1, 1] becomes stored samples, [0, 1] or light, and back; nothing else
//! in this crate does.
//!
//! `[3, H, W]` planar arrays on one side, interleaved RGB samples on the other. Conversions round
//! to nearest and clamp, so every 8- and 16-bit sample survives a round trip. NaN has no colour:
//! the scalar functions return black for it, and writers refuse arrays that hold any
//! ([`require_finite`]).

use vae2x_core::{Array, Error, Result};

/// A sample of 0..=255 in [-1, 1].
pub fn from_u8(sample: u8) -> f32 {
    f32::from(sample) / 127.5 - 1.0
}

/// A sample of 0..=65535 in [-1, 1].
pub fn from_u16(sample: u16) -> f32 {
    f32::from(sample) / 32767.5 - 1.0
}

/// A sample of [0, 1] in [-1, 1].
pub fn from_unit(sample: f32) -> f32 {
    sample * 2.0 - 1.0
}

/// A value of [-1, 1] as 0..=255: nearest, clamped, NaN black.
pub fn to_u8(value: f32) -> u8 {
    // The cast saturates and takes NaN to 0.
    ((value + 1.0) * 127.5).round() as u8
}

/// A value of [-1, 1] as 0..=65535: nearest, clamped, NaN black.
pub fn to_u16(value: f32) -> u16 {
    ((value + 1.0) * 32767.5).round() as u16
}

/// A value of [-1, 1] in [0, 1], clamped, NaN black.
pub fn to_unit(value: f32) -> f32 {
    match value.is_nan() {
        true => 0.0,
        false => ((value + 1.0) * 0.5).clamp(0.0, 1.0),
    }
}

/// A value of [-1, 1] in [0, 1] for arithmetic in double precision, not clamped.
pub fn to_unit_f64(value: f32) -> f64 {
    (f64::from(value) + 1.0) / 2.0
}

/// A sample of [0, 1] in double precision, clamped, in [-1, 1].
pub fn from_unit_f64(sample: f64) -> f32 {
    (sample.clamp(0.0, 1.0) * 2.0 - 1.0) as f32
}

/// A number of steps between neighbouring 8-bit samples, as a difference in [-1, 1].
pub const fn u8_steps(count: f64) -> f64 {
    count / 127.5
}

/// What becomes of values beyond [-1, 1], which decoders give and colour changes make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overshoot {
    /// They become -1 or 1.
    #[default]
    Clamp,
    /// They stay, for formats that hold floats.
    Keep,
}

impl Overshoot {
    /// The value, or what is left of it.
    pub fn apply(self, value: f32) -> f32 {
        match self {
            Self::Clamp => clamp(value),
            Self::Keep => value,
        }
    }

    /// An image of such values.
    #[must_use]
    pub fn limit(self, mut image: Array) -> Array {
        if self == Self::Clamp {
            image.data_mut().iter_mut().for_each(|v| *v = clamp(*v));
        }
        image
    }
}

/// A value limited to [-1, 1]; NaN stays.
pub fn clamp(value: f32) -> f32 {
    value.clamp(-1.0, 1.0)
}

/// Linear light of [0, 1] from an sRGB value of [0, 1] (IEC 61966-2-1).
pub fn srgb_to_linear(value: f32) -> f32 {
    match value <= 0.04045 {
        true => value / 12.92,
        false => ((value + 0.055) / 1.055).powf(2.4),
    }
}

/// An sRGB value from linear light (IEC 61966-2-1); the inverse of [`srgb_to_linear`].
pub fn linear_to_srgb(light: f32) -> f32 {
    match light <= 0.003_130_8 {
        true => light * 12.92,
        false => 1.055 * light.powf(1.0 / 2.4) - 0.055,
    }
}

/// A value of [-1, 1] as linear light of [0, 1], clamped.
pub fn to_linear(value: f32) -> f32 {
    srgb_to_linear(to_unit(value))
}

/// Linear light of any value: below -1 the curve goes on straight, above 1 as it is.
pub fn to_light(value: f32) -> f32 {
    srgb_to_linear((value + 1.0) * 0.5)
}

/// The inverse of [`to_light`].
pub fn from_light(light: f32) -> f32 {
    from_unit(linear_to_srgb(light))
}

/// Linear light in [-1, 1]; light outside [0, 1] is clamped.
pub fn from_linear(light: f32) -> f32 {
    from_unit(linear_to_srgb(light.clamp(0.0, 1.0)))
}

/// Interleaved samples of a planar image, each converted by `convert`.
///
/// # Shapes
/// `[3, H, W]` -> `H * W * 3`, or `[4, H, W]` with opacity -> `H * W * 4`
///
/// # Errors
/// [`Error::Shape`] unless the array is an image, with or without opacity.
pub fn interleave<T>(image: &Array, convert: impl Fn(f32) -> T) -> Result<Vec<T>> {
    let channels = match *image.shape() {
        [4, height, width] if height > 0 && width > 0 => 4,
        _ => picture_size(image).map(|_| 3)?,
    };
    let data = image.data();
    let plane = data.len() / channels;
    let mut samples = Vec::with_capacity(data.len());
    for i in 0..plane {
        samples.extend((0..channels).map(|c| convert(data[c * plane + i])));
    }
    Ok(samples)
}

/// A planar image of interleaved samples, each converted by `convert`.
///
/// # Shapes
/// `H * W * 3` -> `[3, H, W]`
///
/// # Errors
/// [`Error::Shape`] if the count of samples is not `H * W * 3`.
pub fn planar<T: Copy>(
    samples: &[T],
    [height, width]: [usize; 2],
    convert: impl Fn(T) -> f32,
) -> Result<Array> {
    let mut data = Vec::with_capacity(samples.len());
    for c in 0..3 {
        data.extend(
            samples
                .iter()
                .skip(c)
                .step_by(3)
                .map(|&sample| convert(sample)),
        );
    }
    Array::new([3, height, width], data)
}

/// Height and width of an image.
///
/// # Errors
/// [`Error::Shape`] unless the array is `[3, H, W]` and not empty.
pub fn picture_size(image: &Array) -> Result<[usize; 2]> {
    match image.dims("image")? {
        [3, height, width] if height > 0 && width > 0 => Ok([height, width]),
        shape => Err(Error::Shape {
            what: "image".into(),
            expected: "[3, height, width], not empty".into(),
            got: format!("shape {shape:?}"),
        }),
    }
}

/// Refuses an array that holds NaN or infinity: the model or its weights are broken, and a black
/// image would hide it.
///
/// # Errors
/// [`Error::NotFinite`] with `what` and the place of the first.
pub fn require_finite(what: &str, array: &Array) -> Result<()> {
    array.require_finite(|| what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_sample_survives_a_round_trip() {
        assert!((0..=u8::MAX).all(|s| to_u8(from_u8(s)) == s));
        assert!((0..=u16::MAX).all(|s| to_u16(from_u16(s)) == s));
        assert!((0..=u8::MAX).all(|s| to_u8(from_linear(to_linear(from_u8(s)))) == s));
        assert!((0..=u16::MAX).all(|s| to_u16(from_linear(to_linear(from_u16(s)))) == s));
    }

    #[test]
    fn ends_ties_and_strangers() {
        assert_eq!([-1.0, 0.0, 1.0].map(to_u8), [0, 128, 255]);
        assert_eq!(
            [-1.5, 7.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN].map(to_u8),
            [0, 255, 255, 0, 0]
        );
        assert_eq!([-1.5, 7.0, f32::NAN].map(to_u16), [0, 65535, 0]);
        assert_eq!(
            [-2.0, -1.0, 0.0, 1.0, 9.0, f32::NAN].map(to_unit),
            [0.0, 0.0, 0.5, 1.0, 1.0, 0.0]
        );
        assert!((srgb_to_linear(0.5) - 0.214_041).abs() < 1e-6);
    }

    #[test]
    fn non_finite_values_are_counted_and_located() {
        let mut array = Array::zeros([3, 2, 4]);
        array.data_mut()[8 + 4 + 3] = f32::NAN;
        array.data_mut()[23] = f32::INFINITY;
        let found = require_finite("frame 3", &array);
        let Err(Error::NotFinite { what, count, total }) = found else {
            panic!("{found:?}");
        };
        assert_eq!(what, "frame 3, first at [1, 1, 3]");
        assert_eq!((count, total), (2, 24));
        assert!(require_finite("frame", &Array::zeros([3, 2, 4])).is_ok());
    }

    #[test]
    fn foreign_shapes_are_refused() {
        assert!(interleave(&Array::zeros([2, 2, 2]), to_u8).is_err());
        assert!(interleave(&Array::zeros([3, 0, 2]), to_u8).is_err());
        assert!(planar(&[0u8; 11], [2, 2], from_u8).is_err());
    }

    proptest! {
        #[test]
        fn conversion_is_nearest_and_monotone(a in -1.5f32..1.5, b in -1.5f32..1.5) {
            let inside = a.clamp(-1.0, 1.0);
            prop_assert!((from_u8(to_u8(a)) - inside).abs() <= 1.0 / 255.0 + 1e-6);
            prop_assert!((from_u16(to_u16(a)) - inside).abs() <= 1.0 / 65535.0 + 1e-6);
            if a <= b {
                prop_assert!(to_u8(a) <= to_u8(b) && to_u16(a) <= to_u16(b) && to_linear(a) <= to_linear(b));
            }
        }

        #[test]
        fn interleaving_is_undone(height in 1usize..6, width in 1usize..6, seed in any::<u8>()) {
            let samples: Vec<u8> = (0..height * width * 3).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let image = planar(&samples, [height, width], from_u8).unwrap();
            prop_assert_eq!(interleave(&image, to_u8).unwrap(), samples);
        }
    }
}
