//! The formats that images are written in, and what each of them stores.

use std::path::Path;

use vae2x_core::{Error, Result};

use crate::pixels::Overshoot;

/// A format that images are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PictureFormat {
    /// 8 or 16 bits, lossless.
    #[default]
    Png,
    /// 8 bits at quality 95.
    Jpeg,
    /// 8 bits, lossless.
    Webp,
    /// 32-bit floats in linear light, as readers of the format expect; Rec. 709 primaries.
    Exr,
}

impl PictureFormat {
    /// The format for a file's extension.
    pub fn from_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Self::from_extension(&extension)
    }

    /// The format for an extension in lower case.
    pub fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "png" => Self::Png,
            "jpg" | "jpeg" | "jpe" | "jfif" => Self::Jpeg,
            "webp" => Self::Webp,
            "exr" => Self::Exr,
            _ => return None,
        })
    }

    /// The usual extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
            Self::Exr => "exr",
        }
    }

    /// Whether the format stores opacity: all but JPEG do.
    pub fn keeps_opacity(self) -> bool {
        self != Self::Jpeg
    }

    /// The depth to write an image of `depth` in, where none was asked for: PNG keeps it, other
    /// formats have one of their own.
    pub fn usual_depth(self, depth: BitDepth) -> BitDepth {
        match self {
            Self::Png => depth,
            Self::Jpeg | Self::Webp | Self::Exr => BitDepth::Eight,
        }
    }

    /// Checks that the format stores `depth`. EXR stores floats and takes any.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for 16 bits as JPEG or WebP.
    pub fn check_depth(self, depth: BitDepth) -> Result<()> {
        match (self, depth) {
            (Self::Jpeg | Self::Webp, BitDepth::Sixteen) => Err(Error::BadRequest(format!(
                "{self} stores 8 bits per channel; for --bit-depth 16 write PNG, or EXR for floats"
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that the format stores values beyond [-1, 1], if they are kept.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for all but EXR.
    pub fn check_overshoot(self, overshoot: Overshoot) -> Result<()> {
        match (self, overshoot) {
            (Self::Exr, _) | (_, Overshoot::Clamp) => Ok(()),
            (_, Overshoot::Keep) => Err(keeps_no_overshoot(self)),
        }
    }
}

/// The error for values beyond black and white that `what` cannot hold.
pub(crate) fn keeps_no_overshoot(what: impl std::fmt::Display) -> Error {
    Error::BadRequest(format!(
        "--no-clamp: {what} holds nothing darker than black or brighter than white; write .exr, .npy or .safetensors"
    ))
}

/// The extensions of images that are read, in lower case: what is taken from folders.
pub const IMAGE_EXTENSIONS: [&str; 12] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "exr", "bmp", "gif", "tif", "tiff", "apng",
];

/// Whether a file has one of [`IMAGE_EXTENSIONS`].
pub fn is_picture_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        let mut known = IMAGE_EXTENSIONS.iter();
        known.any(|known| extension.eq_ignore_ascii_case(known))
    })
}

impl std::fmt::Display for PictureFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Webp => "WebP",
            Self::Exr => "EXR",
        })
    }
}

/// Bits per channel of a written image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BitDepth {
    /// 0..=255.
    #[default]
    Eight,
    /// 0..=65535; PNG only.
    Sixteen,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_name_formats_in_any_case() {
        let of = |path: &str| PictureFormat::from_path(Path::new(path));
        assert_eq!(of("a.PNG"), Some(PictureFormat::Png));
        assert_eq!(of("a.b.jpeg"), Some(PictureFormat::Jpeg));
        assert_eq!(of("a.tga"), None);
        assert_eq!(of("png"), None);
        for name in ["a.Bmp", "a.webp", "a.JFIF", "a.jpe", "a.tif"] {
            assert!(is_picture_name(Path::new(name)), "{name}");
        }
        assert!(!is_picture_name(Path::new("a.txt")) && !is_picture_name(Path::new("bmp")));
    }

    #[test]
    fn sixteen_bits_need_png_or_exr() {
        assert!(matches!(
            PictureFormat::Jpeg.check_depth(BitDepth::Sixteen),
            Err(Error::BadRequest(problem)) if problem.contains("JPEG")
        ));
        assert!(PictureFormat::Webp.check_depth(BitDepth::Sixteen).is_err());
        assert!(PictureFormat::Png.check_depth(BitDepth::Sixteen).is_ok());
        assert!(PictureFormat::Exr.check_depth(BitDepth::Sixteen).is_ok());
    }
}
