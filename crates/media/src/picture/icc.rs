//! Embedded colour profiles: whether one is sRGB, judged by what it does to colours and not by its
//! name, and conversion of all others to sRGB by `moxcms`. Colours outside the sRGB gamut are
//! clipped to it.

use moxcms::{ColorProfile, DataColorSpace, Layout, ProfileText, TransformOptions};
use vae2x_core::Array;

use crate::pixels as range;

/// A note on a profile that is not understood.
pub(super) const UNREADABLE: &str =
    "its colour profile cannot be read; its colours are taken as sRGB";

/// Pixels converted at a time.
const BLOCK: usize = 4096;

/// Converts `pixels`, `[3, H, W]` in [-1, 1], from `profile` to sRGB and returns a note on it;
/// `None` if the profile is sRGB.
pub(super) fn to_srgb(profile: &[u8], pixels: &mut Array, is_grey: bool) -> Option<String> {
    let Ok(parsed) = ColorProfile::new_from_slice(profile) else {
        return Some(UNREADABLE.into());
    };
    if is_srgb(&parsed) == Some(true) {
        return None;
    }
    let name = parsed
        .description
        .as_ref()
        .and_then(text)
        .map_or(String::new(), |name| format!(" ({name})"));
    let layout = match parsed.color_space {
        DataColorSpace::Rgb => Some(Layout::Rgb),
        DataColorSpace::Gray if is_grey => Some(Layout::Gray),
        _ => None,
    };
    let converted = layout.and_then(|layout| convert(&parsed, layout, pixels));
    Some(match converted {
        Some(()) => format!("its colours are converted from its profile{name} to sRGB"),
        None => format!(
            "its colour profile{name} is not for such images; its colours are taken as sRGB"
        ),
    })
}

/// `None`, with the pixels unchanged, if the profile cannot be applied.
pub(super) fn convert(profile: &ColorProfile, layout: Layout, pixels: &mut Array) -> Option<()> {
    let options = TransformOptions {
        prefer_fixed_point: false,
        ..TransformOptions::default()
    };
    let srgb = ColorProfile::new_srgb();
    let transform = profile
        .create_transform_f64(layout, &srgb, Layout::Rgb, options)
        .ok()?;
    let channels = if layout == Layout::Gray { 1 } else { 3 };
    let plane = pixels.data().len() / 3;
    let data = pixels.data_mut();
    for start in (0..plane).step_by(BLOCK) {
        let places = start..plane.min(start + BLOCK);
        let mut source = Vec::with_capacity(channels * places.len());
        for i in places.clone() {
            source.extend((0..channels).map(|c| range::to_unit_f64(data[c * plane + i])));
        }
        let mut converted = vec![0.0; 3 * places.len()];
        // If this fails, it fails for the first block.
        transform.transform(&source, &mut converted).ok()?;
        for (i, colour) in places.zip(converted.as_chunks::<3>().0) {
            (0..3).for_each(|c| data[c * plane + i] = range::from_unit_f64(colour[c]));
        }
    }
    Some(())
}

/// Whether a conversion to sRGB leaves all probes within one 8-bit step; `None` for profiles that
/// are neither RGB nor grey.
pub(super) fn is_srgb(profile: &ColorProfile) -> Option<bool> {
    /// Greys, the corners of the cube and muted tones: transfer curves and primaries show in them.
    const PROBES: [[f32; 3]; 10] = [
        [0.1, 0.1, 0.1],
        [0.25, 0.25, 0.25],
        [0.5, 0.5, 0.5],
        [0.75, 0.75, 0.75],
        [1.0, 1.0, 1.0],
        [0.8, 0.1, 0.1],
        [0.1, 0.8, 0.1],
        [0.1, 0.1, 0.8],
        [0.6, 0.5, 0.2],
        [0.2, 0.4, 0.6],
    ];
    const STEP: f32 = 1.0 / 255.0;
    let (layout, probes): (_, &[[f32; 3]]) = match profile.color_space {
        DataColorSpace::Rgb => (Layout::Rgb, &PROBES),
        DataColorSpace::Gray => (Layout::Gray, &PROBES[..5]),
        _ => return None,
    };
    let channels = if layout == Layout::Gray { 1 } else { 3 };
    let source: Vec<f32> = probes
        .iter()
        .flat_map(|p| p[..channels].iter().copied())
        .collect();
    let expected: Vec<f32> = probes.iter().flatten().copied().collect();
    let mut converted = vec![0.0; expected.len()];
    let srgb = ColorProfile::new_srgb();
    let transform = profile
        .create_transform_f32(layout, &srgb, Layout::Rgb, TransformOptions::default())
        .ok()?;
    transform.transform(&source, &mut converted).ok()?;
    Some(
        converted
            .iter()
            .zip(&expected)
            .all(|(a, b)| (a - b).abs() <= STEP),
    )
}

fn text(description: &ProfileText) -> Option<String> {
    let text = match description {
        ProfileText::PlainString(text) => text,
        ProfileText::Localizable(texts) => &texts.first()?.value,
        ProfileText::Description(text) => &text.ascii_string,
    };
    Some(
        text.trim_matches(|c: char| c.is_control() || c.is_whitespace())
            .to_owned(),
    )
    .filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colours(values: &[f32]) -> Array {
        Array::new([3, 1, values.len() / 3], values.to_vec()).unwrap()
    }

    #[test]
    fn srgb_is_silent_and_left_alone() {
        let mut pixels = colours(&[0.1, 0.2, 0.3]);
        assert_eq!(
            to_srgb(
                &ColorProfile::new_srgb().encode().unwrap(),
                &mut pixels,
                false
            ),
            None
        );
        assert_eq!(pixels.data(), [0.1, 0.2, 0.3]);
    }

    #[test]
    fn p3_becomes_srgb() {
        /// [0.4, 0.6, 0.3] of Display P3, by the primaries and the curve of both standards.
        const GREEN: [f32; 3] = [0.333_80, 0.606_64, 0.254_70];
        // That green, and one that sRGB lacks.
        let mut pixels = colours(&[-0.2, -1.0, 0.2, 1.0, -0.4, -1.0]);
        let note = to_srgb(
            &ColorProfile::new_display_p3().encode().unwrap(),
            &mut pixels,
            false,
        )
        .unwrap();
        assert!(note.contains("P3") && note.contains("converted"), "{note}");
        let unit = |i: usize| (pixels.data()[i] + 1.0) / 2.0;
        for (got, want) in [unit(0), unit(2), unit(4)].into_iter().zip(GREEN) {
            assert!((got - want).abs() < 5e-4, "{got} {want}");
        }
        assert_eq!(
            [pixels.data()[1], pixels.data()[3]],
            [-1.0, 1.0],
            "the gamut's border"
        );
    }

    #[test]
    fn grey_profiles_convert_grey_pictures_alone() {
        let profile = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        let mut pixels = colours(&[0.0; 3]);
        assert!(
            to_srgb(&profile, &mut pixels, true)
                .unwrap()
                .contains("converted")
        );
        // Half of the light.
        assert!(
            pixels
                .data()
                .iter()
                .all(|v| ((v + 1.0) / 2.0 - 0.7354).abs() < 1e-3),
            "{pixels:?}"
        );
        let mut pixels = colours(&[0.0, 0.1, 0.2]);
        assert!(
            to_srgb(&profile, &mut pixels, false)
                .unwrap()
                .contains("taken as sRGB")
        );
        assert_eq!(pixels.data(), [0.0, 0.1, 0.2]);
    }

    #[test]
    fn rubbish_is_noted() {
        assert!(
            to_srgb(b"no profile", &mut colours(&[0.0; 3]), false)
                .unwrap()
                .contains("cannot be read")
        );
    }
}
