//! Whether an embedded colour profile is sRGB, judged by what it does to colours and not by its name.

use moxcms::{ColorProfile, DataColorSpace, Layout, ProfileText, TransformOptions};

/// A sentence about a profile whose colours are not sRGB's; `None` if they are.
pub(super) fn note(profile: &[u8]) -> Option<String> {
    let Ok(parsed) = ColorProfile::new_from_slice(profile) else {
        return Some("its colour profile cannot be read; its colours are taken as sRGB".into());
    };
    if is_srgb(&parsed) == Some(true) {
        return None;
    }
    let name = parsed.description.as_ref().and_then(text).map_or(String::new(), |name| format!(" ({name})"));
    Some(format!("its colour profile{name} is not sRGB and is ignored; convert the picture to sRGB for true colours"))
}

/// Whether a conversion to sRGB leaves all probes within one 8-bit step; `None` for profiles of no RGB or grey picture.
fn is_srgb(profile: &ColorProfile) -> Option<bool> {
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
    let source: Vec<f32> = probes.iter().flat_map(|p| p[..channels].iter().copied()).collect();
    let expected: Vec<f32> = probes.iter().flatten().copied().collect();
    let mut converted = vec![0.0; expected.len()];
    let srgb = ColorProfile::new_srgb();
    let transform = profile.create_transform_f32(layout, &srgb, Layout::Rgb, TransformOptions::default()).ok()?;
    transform.transform(&source, &mut converted).ok()?;
    Some(converted.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= STEP))
}

fn text(description: &ProfileText) -> Option<String> {
    let text = match description {
        ProfileText::PlainString(text) => text,
        ProfileText::Localizable(texts) => &texts.first()?.value,
        ProfileText::Description(text) => &text.ascii_string,
    };
    Some(text.trim_matches(|c: char| c.is_control() || c.is_whitespace()).to_owned()).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srgb_is_silent_and_others_are_named() {
        assert_eq!(note(&ColorProfile::new_srgb().encode().unwrap()), None);
        let p3 = note(&ColorProfile::new_display_p3().encode().unwrap()).unwrap();
        assert!(p3.contains("P3") && p3.contains("not sRGB"), "{p3}");
        assert!(note(&ColorProfile::new_adobe_rgb().encode().unwrap()).is_some());
    }

    #[test]
    fn rubbish_is_noted() {
        assert!(note(b"no profile").unwrap().contains("cannot be read"));
    }
}
