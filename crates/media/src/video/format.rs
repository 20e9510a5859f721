//! The video files that can be written: containers, codecs and their usual settings.
//!
//! Defaults are those that users of ComfyUI's VideoHelperSuite expect: H.264 at a constant quality of 19 in 4:2:0, BT.709.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use vae2x_core::{Error, Result};

use super::yuv::Chroma;

/// A kind of video file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `.mp4`, `.m4v`
    Mp4,
    /// `.mov`
    Mov,
    /// `.mkv`
    Mkv,
    /// `.webm`
    Webm,
    /// `.y4m`: plain frames, which need no other program.
    Y4m,
}

impl Container {
    /// The kind that a path is named as.
    pub fn from_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_string_lossy().to_ascii_lowercase();
        Some(match extension.as_str() {
            "mp4" | "m4v" => Self::Mp4,
            "mov" => Self::Mov,
            "mkv" => Self::Mkv,
            "webm" => Self::Webm,
            "y4m" => Self::Y4m,
            _ => return None,
        })
    }

    /// Whether such a file can have sound.
    pub fn has_sound(self) -> bool {
        self != Self::Y4m
    }

    /// FFmpeg's name for it.
    pub(super) fn muxer(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Mkv => "matroska",
            Self::Webm => "webm",
            Self::Y4m => "yuv4mpegpipe",
        }
    }

    fn codecs(self) -> &'static [Codec] {
        use Codec::{Av1, Ffv1, H264, H265, ProRes, Vp9};
        match self {
            Self::Mp4 => &[H264, H265, Av1],
            Self::Mov => &[ProRes, H264, H265],
            Self::Mkv => &[H264, H265, Av1, Vp9, Ffv1],
            Self::Webm => &[Vp9, Av1],
            Self::Y4m => &[],
        }
    }

    /// Codecs of audio that are copied into it as they are; others become the first encoder's.
    pub(super) fn audio(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Mp4 => (&["aac", "mp3", "ac3", "eac3", "alac"], "aac"),
            Self::Mov => (
                &["aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le"],
                "pcm_s16le",
            ),
            Self::Mkv => (
                &[
                    "aac",
                    "mp3",
                    "ac3",
                    "eac3",
                    "flac",
                    "opus",
                    "vorbis",
                    "pcm_s16le",
                ],
                "aac",
            ),
            Self::Webm => (&["opus", "vorbis"], "libopus"),
            Self::Y4m => (&[], ""),
        }
    }
}

/// A kind of animated image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Animation {
    /// `.apng`
    Png,
    /// `.webp` of more than one frame.
    Webp,
    /// `.gif`, of 256 colours.
    Gif,
}

impl Animation {
    /// The kind that a path is named as, for that many frames.
    pub fn from_path(path: &Path, frames: usize) -> Option<Self> {
        let extension = path.extension()?;
        if extension.eq_ignore_ascii_case("apng") {
            return Some(Self::Png);
        }
        if extension.eq_ignore_ascii_case("gif") {
            return Some(Self::Gif);
        }
        (extension.eq_ignore_ascii_case("webp") && frames > 1).then_some(Self::Webp)
    }
}

/// A way of compressing frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264, which everything plays.
    H264,
    /// H.265.
    H265,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
    /// ProRes, for editing: 422 HQ, or 4444 with all colours.
    ProRes,
    /// FFV1, lossless.
    Ffv1,
}

impl Codec {
    /// All, as the command line names them.
    pub const ALL: [Self; 6] = [
        Self::H264,
        Self::H265,
        Self::Av1,
        Self::Vp9,
        Self::ProRes,
        Self::Ffv1,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Av1 => "av1",
            Self::Vp9 => "vp9",
            Self::ProRes => "prores",
            Self::Ffv1 => "ffv1",
        }
    }

    /// The largest and the usual constant rate factor, of codecs that have one.
    fn crf(self) -> Option<(u8, u8)> {
        match self {
            Self::H264 => Some((51, 19)),
            Self::H265 => Some((51, 22)),
            Self::Av1 => Some((63, 30)),
            Self::Vp9 => Some((63, 24)),
            Self::ProRes | Self::Ffv1 => None,
        }
    }

    /// What it stores if nothing is asked for, and whether it stores another format.
    fn stores(self, format: PixelFormat) -> bool {
        let PixelFormat { chroma, bits } = format;
        let is_quarter = matches!(chroma, Chroma::Quarter(..));
        match self {
            Self::H264 => matches!(bits, 8 | 10),
            Self::H265 => matches!(bits, 8 | 10 | 12),
            Self::Av1 => is_quarter && matches!(bits, 8 | 10),
            Self::Vp9 => matches!(bits, 8 | 10 | 12),
            Self::ProRes => !is_quarter && bits == 10,
            Self::Ffv1 => matches!(bits, 8 | 10 | 12 | 16),
        }
    }

    fn usual_format(self) -> PixelFormat {
        let (chroma, bits) = match self {
            Self::H264 | Self::Vp9 => (Chroma::MPEG2, 8),
            Self::H265 | Self::Av1 => (Chroma::MPEG2, 10),
            Self::ProRes => (Chroma::Half, 10),
            Self::Ffv1 => (Chroma::Full, 10),
        };
        PixelFormat { chroma, bits }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|codec| codec.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("expected one of {names}")
        })
    }
}

/// How frames are stored: FFmpeg's `yuv420p`, `yuv422p10` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    /// Resolution of the colour differences.
    pub chroma: Chroma,
    /// Bits of a sample.
    pub bits: u32,
}

impl FromStr for PixelFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "expected yuv420p, yuv422p or yuv444p, with 10, 12 or 16 behind it for more than 8 bits"
                .to_string()
        };
        let name = text.strip_suffix("le").unwrap_or(text);
        let (name, bits) = name.rsplit_once('p').ok_or_else(wrong)?;
        let chroma = match name {
            "yuv420" => Chroma::MPEG2,
            "yuv422" => Chroma::Half,
            "yuv444" => Chroma::Full,
            _ => return Err(wrong()),
        };
        let bits = match bits {
            "" => 8,
            "10" => 10,
            "12" => 12,
            "16" => 16,
            _ => return Err(wrong()),
        };
        Ok(Self { chroma, bits })
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.chroma {
            Chroma::Grey => "gray",
            Chroma::Quarter(..) => "yuv420p",
            Chroma::Half => "yuv422p",
            Chroma::Full => "yuv444p",
        })?;
        match self.bits {
            8 => Ok(()),
            bits => write!(f, "{bits}"),
        }
    }
}

/// Settings of a video file, checked against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The file.
    pub container: Container,
    /// The codec; none in y4m.
    pub codec: Option<Codec>,
    /// How frames are stored.
    pub format: PixelFormat,
    /// Constant rate factor, of codecs that have one.
    pub crf: Option<u8>,
}

/// Settings that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The codec.
    pub codec: Option<Codec>,
    /// How frames are stored.
    pub format: Option<PixelFormat>,
    /// Constant rate factor: lower is better and larger.
    pub crf: Option<u8>,
}

impl Encoding {
    /// Settings for a file of this kind.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if they do not fit together.
    pub fn new(container: Container, wishes: Wishes) -> Result<Self> {
        let refuse = |problem: String| Err(Error::BadRequest(problem));
        let muxer = container.muxer();
        let codec = match (wishes.codec, container.codecs()) {
            (None, codecs) => codecs.first().copied(),
            (Some(codec), codecs) if codecs.contains(&codec) => Some(codec),
            (Some(codec), []) => {
                return refuse(format!("--codec {codec}: a .y4m file has no codec"));
            }
            (Some(codec), codecs) => {
                let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
                return refuse(format!(
                    "--codec {codec}: {muxer} files are written with {}",
                    names.join(", ")
                ));
            }
        };
        let usual = codec.map_or_else(
            || PixelFormat {
                chroma: Chroma::Full,
                bits: 8,
            },
            Codec::usual_format,
        );
        let format = wishes.format.unwrap_or(usual);
        if let Some(codec) = codec.filter(|codec| !codec.stores(format)) {
            return refuse(format!(
                "--pixel-format {format}: {codec} does not store it; it usually stores {usual}"
            ));
        }
        let limits = codec.and_then(Codec::crf);
        let crf = match (wishes.crf, limits) {
            (None, limits) => limits.map(|(_, usual)| usual),
            (Some(crf), Some((most, _))) if crf <= most => Some(crf),
            (Some(crf), Some((most, _))) => {
                return refuse(format!("--crf {crf}: expected 0 to {most}"));
            }
            (Some(_), None) => {
                let what = codec.map_or("a .y4m file", Codec::name);
                return refuse(format!("--crf: {what} has no such setting"));
            }
        };
        Ok(Self {
            container,
            codec,
            format,
            crf,
        })
    }

    /// FFmpeg's arguments for the codec.
    pub(super) fn arguments(&self) -> Vec<String> {
        let Some(codec) = self.codec else {
            return Vec::new();
        };
        let named: &[&str] = match codec {
            Codec::H264 => &["libx264", "-preset", "medium"],
            // Without the tag Apple's programs do not play it; the encoder has a log of its own.
            Codec::H265 => &[
                "libx265",
                "-preset",
                "medium",
                "-tag:v",
                "hvc1",
                "-x265-params",
                "log-level=error",
            ],
            Codec::Av1 => &["libsvtav1", "-preset", "8"],
            Codec::Vp9 => &[
                "libvpx-vp9",
                "-b:v",
                "0",
                "-row-mt",
                "1",
                "-deadline",
                "good",
                "-cpu-used",
                "2",
            ],
            Codec::ProRes => match self.format.chroma {
                Chroma::Full => &["prores_ks", "-profile:v", "4444", "-vendor", "apl0"],
                _ => &["prores_ks", "-profile:v", "hq", "-vendor", "apl0"],
            },
            Codec::Ffv1 => &["ffv1", "-level", "3", "-slices", "16", "-slicecrc", "1"],
        };
        let named = named
            .iter()
            .filter(|a| self.container != Container::Mkv || !["-tag:v", "hvc1"].contains(a));
        let mut arguments = vec!["-c:v".to_string()];
        arguments.extend(named.map(|&a| a.to_owned()));
        if let Some(crf) = self.crf {
            arguments.extend(["-crf".into(), crf.to_string()]);
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(codec: Option<Codec>, format: &str, crf: Option<u8>) -> Wishes {
        Wishes {
            codec,
            format: format.parse().ok(),
            crf,
        }
    }

    #[test]
    fn usual_settings_are_those_that_play_everywhere() {
        let usual = |name: &str| {
            let container = Container::from_path(Path::new(name)).unwrap();
            let found = Encoding::new(container, Wishes::default()).unwrap();
            let codec = found.codec.map_or("none", Codec::name);
            format!("{codec} {} {:?}", found.format, found.crf)
        };
        assert_eq!(usual("a.MP4"), "h264 yuv420p Some(19)");
        assert_eq!(usual("a.mov"), "prores yuv422p10 None");
        assert_eq!(usual("a.mkv"), "h264 yuv420p Some(19)");
        assert_eq!(usual("a.webm"), "vp9 yuv420p Some(24)");
        assert_eq!(usual("a.y4m"), "none yuv444p None");
        assert_eq!(Container::from_path(Path::new("a.png")), None);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let refused = |container, wishes| match Encoding::new(container, wishes) {
            Err(Error::BadRequest(problem)) => problem,
            found => panic!("{found:?}"),
        };
        let found = refused(Container::Mp4, wishes(Some(Codec::ProRes), "", None));
        assert!(found.contains("h264, h265, av1"), "{found}");
        let found = refused(Container::Webm, wishes(Some(Codec::Av1), "yuv444p", None));
        assert!(found.contains("yuv420p10"), "{found}");
        let found = refused(Container::Mov, wishes(None, "", Some(10)));
        assert!(found.contains("prores"), "{found}");
        let found = refused(Container::Mp4, wishes(None, "", Some(52)));
        assert!(found.contains("0 to 51"), "{found}");
        refused(Container::Y4m, wishes(Some(Codec::H264), "", None));
        refused(Container::Y4m, wishes(None, "", Some(1)));
    }

    #[test]
    fn pixel_formats_have_their_usual_names() {
        for name in ["yuv420p", "yuv422p10", "yuv444p16"] {
            assert_eq!(name.parse::<PixelFormat>().unwrap().to_string(), name);
        }
        assert_eq!(
            "yuv420p10le".parse::<PixelFormat>().unwrap().to_string(),
            "yuv420p10"
        );
        for name in ["", "rgb24", "yuv420", "yuv420p9", "yuv411p"] {
            assert!(name.parse::<PixelFormat>().is_err(), "{name}");
        }
    }
}
