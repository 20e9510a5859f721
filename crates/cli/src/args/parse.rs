//! Parsers of option values.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use vae2x::{Axes, Precision, Space, SpaceChoice, Taking};
use vae2x_compare::page::Crop;
use vae2x_core::weights::{DType, Layout};
use vae2x_media::picture::{BitDepth, PictureFormat};
use vae2x_media::sharpen::SIGMAS;

/// A parser of names that `T` knows, each with its help.
fn names<T>(names: &[(&'static str, &'static str)]) -> impl TypedValueParser<Value = T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let value = |(name, help): &(&'static str, &'static str)| PossibleValue::new(name).help(help);
    let values: Vec<_> = names.iter().map(value).collect();
    PossibleValuesParser::new(values).try_map(|name| name.parse::<T>())
}

pub(super) fn precisions() -> impl TypedValueParser<Value = Precision> {
    names(&PRECISIONS)
}

pub(super) fn dtypes() -> impl TypedValueParser<Value = DType> {
    names(&PRECISIONS)
}

const PRECISIONS: [(&str, &str); 3] = [
    ("f32", "32 bits"),
    ("bf16", "16 bits, 8 of them mantissa"),
    ("f16", "16 bits, 11 of them mantissa"),
];

pub(super) fn layouts() -> impl TypedValueParser<Value = Layout> {
    names(&[
        ("original", "Wan2.1's own names, as ComfyUI reads them"),
        ("diffusers", "A diffusers folder with config.json"),
        ("2d", "Two-dimensional convolutions, for single frames only"),
    ])
}

const SPACES: [(&str, &str); 2] = [
    ("raw", "As the VAE speaks"),
    ("normalized", "(raw - mean) / std per channel"),
];

pub(super) fn space_choices() -> impl TypedValueParser<Value = SpaceChoice> {
    const AUTO: (&str, &str) = ("auto", "Decide from the kind of file and its statistics");
    names(&[AUTO, SPACES[0], SPACES[1]])
}

pub(super) fn spaces() -> impl TypedValueParser<Value = Space> {
    names(&SPACES)
}

pub(super) fn takings() -> impl TypedValueParser<Value = Taking> {
    const LOW: &str = "Place by place: brightness coarser than a latent cell, colour coarser than \
                       two pixels of the base resolution";
    const STATS: &str = "Each channel's mean and standard deviation; for references that show \
                         something else";
    let parser = PossibleValuesParser::new([
        PossibleValue::new("low").help(LOW),
        PossibleValue::new("stats").help(STATS),
    ]);
    parser.map(|name| match name.as_str() {
        "stats" => Taking::Stats,
        _ => Taking::Low,
    })
}

pub(super) fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let parts: Vec<usize> = text
        .split(['x', 'X'])
        .map_while(|p| p.parse().ok())
        .collect();
    match parts[..] {
        [h, w] if text.matches(['x', 'X']).count() == 1 && h > 0 && w > 0 => Ok([h, w]),
        _ => Err("expected HEIGHTxWIDTH in pixels, such as 1328x1024".into()),
    }
}

pub(super) fn parse_axes(text: &str) -> Result<Axes, String> {
    text.parse().map_err(|e: vae2x::Error| e.to_string())
}

pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 6] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("B", 1),
    ];
    let unit = UNITS
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)));
    let (number, unit) = unit.unwrap_or((text, 1));
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number * unit as f64) as u64),
        _ => Err("expected a size such as 4GiB, 1.5GB or 800MiB".into()),
    }
}

pub(super) fn parse_crop(text: &str) -> Result<Crop, String> {
    let numbers: Option<Vec<usize>> = text
        .split(['x', '+'])
        .map(|part| part.parse().ok())
        .collect();
    let has_form = text.replace(|c: char| c.is_ascii_digit(), "") == "x++";
    match numbers.as_deref() {
        Some(&[width, height, left, top]) if has_form && width > 0 && height > 0 => Ok(Crop {
            width,
            height,
            left,
            top,
        }),
        _ => Err("expected WIDTHxHEIGHT+LEFT+TOP in pixels, such as 512x512+128+64".into()),
    }
}

/// Numbers of frames from 0, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameRange {
    /// The first.
    pub first: usize,
    /// The last, if it is not that of the clip.
    pub last: Option<usize>,
}

pub(super) fn parse_frames(text: &str) -> Result<FrameRange, String> {
    let number = |text: &str| text.parse::<usize>().ok();
    let range = match text.split_once("..") {
        Some(("", "")) => None,
        Some(("", last)) => number(last).map(|last| (0, Some(last))),
        Some((first, "")) => number(first).map(|first| (first, None)),
        Some((first, last)) => number(first).zip(number(last).map(Some)),
        None => number(text).map(|only| (only, Some(only))),
    };
    match range {
        Some((first, last)) if last.is_none_or(|last| first <= last) => {
            Ok(FrameRange { first, last })
        }
        _ => Err("expected frames such as 0..60, 24.. or ..60, counted from 0".into()),
    }
}

#[cfg(feature = "train")]
pub(super) fn parse_named(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, place)) if !name.is_empty() && !place.is_empty() => {
            Ok((name.into(), place.into()))
        }
        _ => Err("expected NAME=LATENTS, such as clean=latents/".into()),
    }
}

#[cfg(feature = "train")]
pub(super) fn parse_time(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(t) if (0.0..=1.0).contains(&t) => Ok(t),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

pub(super) fn parse_scale(text: &str) -> Result<usize, String> {
    match text {
        "1" | "2" | "4" => Ok(usize::from(text.as_bytes()[0] - b'0')),
        _ => Err("expected 1, 2 or 4".into()),
    }
}

pub(super) fn parse_sigma(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(sigma) if SIGMAS.contains(&sigma) => Ok(sigma),
        _ => Err(format!(
            "expected a number of pixels from {} to {}",
            SIGMAS.start(),
            SIGMAS.end()
        )),
    }
}

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a number from 1".into()),
    }
}

pub(super) fn parse_picture_format(text: &str) -> Result<PictureFormat, String> {
    let written = PictureFormat::from_extension(&text.to_ascii_lowercase());
    written.ok_or_else(|| "expected png, jpg, webp or exr".into())
}

pub(super) fn parse_bit_depth(text: &str) -> Result<BitDepth, String> {
    match text {
        "8" => Ok(BitDepth::Eight),
        "16" => Ok(BitDepth::Sixteen),
        _ => Err("expected 8 or 16".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_its_unit() {
        assert_eq!(parse_bytes("4GiB"), Ok(4 << 30));
        assert_eq!(parse_bytes("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for bad in ["", "GiB", "-1GB", "0", "4Gb", "infGiB", "NaN"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_are_read_strictly() {
        assert_eq!(
            parse_crop("20x10+3+0"),
            Ok(Crop {
                width: 20,
                height: 10,
                left: 3,
                top: 0
            })
        );
        for bad in [
            "",
            "20x10",
            "20x10+3",
            "20x10+3+",
            "20+10x3+0",
            "0x10+3+0",
            "20x10+-3+0",
            "20x10+3+0+1",
        ] {
            assert!(parse_crop(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn frames_are_a_range_with_both_ends() {
        let range = |first, last| Ok(FrameRange { first, last });
        assert_eq!(parse_frames("3..9"), range(3, Some(9)));
        assert_eq!(parse_frames("3.."), range(3, None));
        assert_eq!(parse_frames("..9"), range(0, Some(9)));
        assert_eq!(parse_frames("7"), range(7, Some(7)));
        for bad in ["", "..", "9..3", "1...2", "-1..2", "a..b", "1..=2"] {
            assert!(parse_frames(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_strictly() {
        assert_eq!(parse_size("1328x1024"), Ok([1328, 1024]));
        for bad in ["", "12", "12x", "x12", "1x2x3", "0x8", "ax8"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
