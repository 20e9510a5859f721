//! Which colours an image's values stand for, and their conversion to sRGB.
//!
//! In PNG four kinds of chunks tell it. The first of `cICP`, `iCCP`, `sRGB`, and `gAMA` with `cHRM`
//! that is there counts, as the third edition of the format has it
//! (<https://www.w3.org/TR/png-3/#color-chunk-precendence>) and browsers do. What cannot be
//! converted is said: brightness beyond white (PQ, HLG), values of a narrow range.

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile,
    MatrixCoefficients, ToneReprCurve, TransferCharacteristics, XyY,
};
use vae2x_core::Array;

use super::{chunks, icc};

/// What a PNG's chunks say, one of which counts, or that a JPEG has a profile.
enum Said<'a> {
    /// Code points of ITU-T H.273: primaries, transfer, matrix, whether all values are used.
    CodePoints(&'a [u8]),
    /// A colour profile.
    Profile,
    /// sRGB.
    Srgb,
    /// Gamma and primaries, in units of 1 / 100000.
    Curve {
        gamma: Option<&'a [u8]>,
        primaries: Option<&'a [u8]>,
    },
    Nothing,
}

/// Converts `pixels`, `[3, H, W]` in [-1, 1], to sRGB, with the `profile` that a decoder found in
/// `file`, and returns a note on it; `None` if they are sRGB.
pub(super) fn to_srgb(
    file: &[u8],
    profile: Option<&[u8]>,
    pixels: &mut Array,
    is_grey: bool,
) -> Option<String> {
    match (said(file), profile) {
        (Said::CodePoints(points), _) => from_code_points(points, pixels),
        (_, Some(profile)) => icc::to_srgb(profile, pixels, is_grey),
        // Decoders leave out a profile that is damaged, lacks a part, or unpacks to too much.
        (Said::Profile, None) => Some(icc::UNREADABLE.into()),
        (Said::Curve { gamma, primaries }, None) => from_curve(gamma, primaries, pixels),
        (Said::Srgb | Said::Nothing, None) => None,
    }
}

/// What a part of a profile begins with in a JPEG.
const ICC: &[u8] = b"ICC_PROFILE\0";

fn said(file: &[u8]) -> Said<'_> {
    let is_profile = |(marker, data): (u8, &[u8])| marker == 0xe2 && data.starts_with(ICC);
    if chunks::jpeg(file).any(is_profile) {
        return Said::Profile;
    }
    let before = chunks::png(file).take_while(|chunk| &chunk.name != b"IDAT");
    let (mut points, mut has_profile, mut is_srgb) = (None, false, false);
    let (mut gamma, mut primaries) = (None, None);
    for chunk in before {
        match &chunk.name {
            b"cICP" if chunk.is_whole() => points = points.or(Some(chunk.data)),
            b"iCCP" => has_profile = true,
            b"sRGB" if chunk.is_whole() => is_srgb = true,
            b"gAMA" if chunk.is_whole() => gamma = gamma.or(Some(chunk.data)),
            b"cHRM" if chunk.is_whole() => primaries = primaries.or(Some(chunk.data)),
            _ => (),
        }
    }
    match points {
        Some(points) => Said::CodePoints(points),
        None if has_profile => Said::Profile,
        None if is_srgb => Said::Srgb,
        None if gamma.is_some() || primaries.is_some() => Said::Curve { gamma, primaries },
        None => Said::Nothing,
    }
}

fn from_code_points(points: &[u8], pixels: &mut Array) -> Option<String> {
    let as_srgb = |why: &str| {
        Some(format!(
            "its cICP chunk {why}; its colours are taken as sRGB"
        ))
    };
    let &[primaries, transfer, matrix, full] = points else {
        return as_srgb("is damaged");
    };
    if (matrix, full) != (0, 1) {
        return as_srgb("tells of YCbCr or a narrow range, which is not read");
    }
    let is_named = |primaries: u8, transfer: u8| {
        let primaries = CicpColorPrimaries::try_from(primaries).ok()?;
        let transfer = TransferCharacteristics::try_from(transfer).ok()?;
        Some((primaries, transfer))
    };
    let Some((primaries, transfer)) = is_named(primaries, transfer) else {
        return as_srgb("has unknown numbers");
    };
    match transfer {
        TransferCharacteristics::Smpte2084 => {
            return as_srgb("tells of HDR (PQ), which is not read");
        }
        TransferCharacteristics::Hlg => return as_srgb("tells of HDR (HLG), which is not read"),
        _ => (),
    }
    let mut profile = ColorProfile::new_srgb();
    profile.cicp = None;
    // What it returns does not tell whether they were set.
    profile.update_rgb_colorimetry_from_cicp(CicpProfile {
        color_primaries: primaries,
        transfer_characteristics: transfer,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    });
    if profile.cicp.is_none() || ToneReprCurve::try_from(transfer).is_err() {
        return as_srgb("names no colours that are known");
    }
    // The curve is to be taken, not the code points.
    profile.cicp = None;
    converted(&profile, pixels, "cICP chunk")
}

/// The curve of sRGB is taken for a gamma that far from its own, as libpng does.
const NEAR: f64 = 0.05;
/// The gamma that files of sRGB name.
const SRGB_GAMMA: f64 = 0.45455;

fn from_curve(
    gamma: Option<&[u8]>,
    primaries: Option<&[u8]>,
    pixels: &mut Array,
) -> Option<String> {
    let number = |bytes: &[u8; 4]| f64::from(u32::from_be_bytes(*bytes)) / 100_000.0;
    let mut profile = ColorProfile::new_srgb();
    profile.cicp = None;
    if let Some(gamma) = gamma {
        let gamma = gamma.first_chunk().map(number);
        // Beyond these no image could be seen.
        let Some(gamma) = gamma.filter(|gamma| (0.01..=100.0).contains(gamma)) else {
            return Some("its gAMA chunk is damaged; its colours are taken as sRGB".into());
        };
        if (gamma / SRGB_GAMMA - 1.0).abs() > NEAR {
            let curve = ToneReprCurve::Parametric(vec![(1.0 / gamma) as f32]);
            profile.red_trc = Some(curve.clone());
            profile.green_trc = Some(curve.clone());
            profile.blue_trc = Some(curve);
        }
    }
    if let Some(primaries) = primaries {
        let (numbers, _) = primaries.as_chunks::<4>();
        let places: Vec<[f64; 2]> = numbers
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| [number(&pair[0]), number(&pair[1])])
            .collect();
        if !set_primaries(&mut profile, &places) {
            return Some("its cHRM chunk is damaged; its colours are taken as sRGB".into());
        }
    }
    let chunks = match (gamma, primaries) {
        (Some(_), Some(_)) => "gAMA and cHRM chunks",
        (Some(_), None) => "gAMA chunk",
        (None, _) => "cHRM chunk",
    };
    converted(&profile, pixels, chunks)
}

/// Places of white, red, green and blue; whether they are such.
fn set_primaries(profile: &mut ColorProfile, places: &[[f64; 2]]) -> bool {
    let &[white, red, green, blue] = places else {
        return false;
    };
    // Primaries on a line, or nearly so, make no colours; sRGB's triangle has 0.11.
    const LEAST: f64 = 0.01;
    let area =
        (red[0] - blue[0]) * (green[1] - blue[1]) - (green[0] - blue[0]) * (red[1] - blue[1]);
    let is_place = |[x, y]: [f64; 2]| x >= 0.0 && y > 0.0 && x + y <= 1.0;
    // The green of wide spaces is near the border, and blue may lie on it.
    let is_primary = |[x, y]: [f64; 2]| x >= 0.0 && y >= 0.0 && x + y <= 1.0001;
    if !is_place(white)
        || ![red, green, blue].into_iter().all(is_primary)
        || area.abs() < 2.0 * LEAST
    {
        return false;
    }
    let at = |[x, y]: [f64; 2]| Chromaticity::new(x as f32, (y as f32).max(1e-4));
    let white = XyY {
        x: white[0],
        y: white[1],
        yb: 1.0,
    };
    let primaries = ColorPrimaries {
        red: at(red),
        green: at(green),
        blue: at(blue),
    };
    profile.update_rgb_colorimetry(white, primaries);
    true
}

fn converted(profile: &ColorProfile, pixels: &mut Array, chunks: &str) -> Option<String> {
    if icc::is_srgb(profile) == Some(true) {
        return None;
    }
    Some(match icc::convert(profile, moxcms::Layout::Rgb, pixels) {
        Some(()) => format!("its colours are converted from its {chunks} to sRGB"),
        None => format!("its {chunks} cannot be applied; its colours are taken as sRGB"),
    })
}
