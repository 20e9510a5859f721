//! YUV4MPEG2, the plain stream of frames that video programs pass to each other: a line of text, then for each frame the line `FRAME`
//! and its planes.
//!
//! The format names the resolution and depth of colour differences, and not their matrix. Files written here say it in a parameter of
//! their own, `XMATRIX=BT709`; for others it follows from the size, as in players. The range is in FFmpeg's `XCOLORRANGE`.

use std::io::{BufRead, Read, Write};

use super::Rate;
use super::yuv::{Chroma, Matrix, Range, Site, Yuv};

const MAGIC: &str = "YUV4MPEG2";
const FRAME: &[u8] = b"FRAME";
/// Bytes of a line; none that programs write has more than a hundred.
const MAX_LINE: u64 = 1024;

/// What the first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Frames per second, if known.
    pub rate: Option<Rate>,
    /// How frames are stored.
    pub yuv: Yuv,
    /// Whether frames are two fields, of two moments.
    pub is_interlaced: bool,
    /// Width and height of a pixel, if it is not square.
    pub pixel_aspect: Option<(u32, u32)>,
}

/// What is wrong with a stream.
#[derive(Debug)]
pub enum Problem {
    /// It cannot be read.
    Io(std::io::Error),
    /// It is not as the format wants it.
    Format(String),
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn wrong<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Format(problem.into()))
}

/// Names of the ways to store frames, after the letter C.
const NAMES: [(&str, Chroma); 7] = [
    ("420jpeg", Chroma::JPEG),
    ("420mpeg2", Chroma::MPEG2),
    ("420paldv", Chroma::Quarter(Site::On, Site::On)),
    // With a depth behind it, this one is H.264's.
    ("420", Chroma::JPEG),
    ("422", Chroma::Half),
    ("444", Chroma::Full),
    ("mono", Chroma::Grey),
];

impl Header {
    /// Reads the first line.
    ///
    /// # Errors
    /// [`Problem::Format`] if it is not that of a stream which can be read.
    pub fn read(source: &mut impl BufRead) -> Result<Self, Problem> {
        let line = line(source)?.unwrap_or_default();
        let text = std::str::from_utf8(&line).unwrap_or_default();
        let mut words = text.split(' ');
        if words.next() != Some(MAGIC) {
            return wrong("not a YUV4MPEG2 stream");
        }
        let (mut width, mut height, mut rate, mut name) = (0usize, 0usize, None, "420jpeg");
        let (mut range, mut matrix) = (Range::Limited, None);
        let (mut is_interlaced, mut pixel_aspect) = (false, None);
        for word in words.filter(|word| !word.is_empty()) {
            let (letter, value) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            match letter {
                "W" => width = value.parse().unwrap_or(0),
                "H" => height = value.parse().unwrap_or(0),
                "F" => rate = value.parse().ok(),
                "C" => name = value,
                "I" => is_interlaced = matches!(value, "t" | "b" | "m"),
                "A" => pixel_aspect = aspect(value),
                "X" => match value.split_once('=') {
                    Some(("COLORRANGE", "FULL")) => range = Range::Full,
                    Some(("MATRIX", "BT601")) => matrix = Some(Matrix::Bt601),
                    Some(("MATRIX", "BT709")) => matrix = Some(Matrix::Bt709),
                    Some(("MATRIX", "BT2020")) => matrix = Some(Matrix::Bt2020),
                    _ => {}
                },
                _ => {}
            }
        }
        if width == 0 || height == 0 {
            return wrong(format!("the stream's first line gives no size: '{text}'"));
        }
        let (chroma, bits) = stored(name)?;
        let size = [height, width];
        Ok(Self {
            size,
            rate,
            yuv: Yuv {
                chroma,
                bits,
                matrix: matrix.unwrap_or_else(|| Matrix::usual(size)),
                range,
            },
            is_interlaced,
            pixel_aspect,
        })
    }

    /// Writes the first line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let [height, width] = self.size;
        let (frames, seconds) = self.rate.unwrap_or_default().fraction();
        let range = match self.yuv.range {
            Range::Limited => "LIMITED",
            Range::Full => "FULL",
        };
        let matrix = match self.yuv.matrix {
            Matrix::Bt601 => "BT601",
            Matrix::Bt709 => "BT709",
            Matrix::Bt2020 => "BT2020",
        };
        let name = name(self.yuv);
        writeln!(
            out,
            "{MAGIC} W{width} H{height} F{frames}:{seconds} Ip A1:1 C{name} XCOLORRANGE={range} XMATRIX={matrix}"
        )
    }
}

/// The way of storing frames that has this name.
fn stored(name: &str) -> Result<(Chroma, u32), Problem> {
    let unknown = || wrong(format!("frames stored as 'C{name}' are not read"));
    // `mono12`, `420p10`; `420jpeg` and `420mpeg2` end in no depth.
    let (base, bits) = match name.split_once('p') {
        Some((base, depth)) if !depth.is_empty() && depth.bytes().all(|b| b.is_ascii_digit()) => {
            (base, depth.parse().unwrap_or(0))
        }
        _ => match name.strip_prefix("mono") {
            Some(depth) if !depth.is_empty() => ("mono", depth.parse().unwrap_or(0)),
            _ => (name, 8),
        },
    };
    let found = NAMES.iter().find(|(known, _)| *known == base);
    match found {
        None => unknown(),
        Some(_) if !(8..=16).contains(&bits) => unknown(),
        Some(("420", _)) if bits > 8 => Ok((Chroma::MPEG2, bits)),
        Some((_, chroma)) => Ok((*chroma, bits)),
    }
}

fn name(yuv: Yuv) -> String {
    let base = match yuv.chroma {
        Chroma::Grey if yuv.bits > 8 => return format!("mono{}", yuv.bits),
        Chroma::Quarter(..) if yuv.bits > 8 => "420",
        chroma => NAMES
            .iter()
            .find(|(_, known)| *known == chroma)
            .map_or("420mpeg2", |(name, _)| name),
    };
    match yuv.bits {
        8 => base.into(),
        bits => format!("{base}p{bits} XYSCSS={base}P{bits}"),
    }
}

/// The shape of a pixel, unless it is square or unknown.
fn aspect(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once(':')?;
    let aspect = (width.parse().ok()?, height.parse().ok()?);
    (aspect.0 != aspect.1 && aspect.0 > 0 && aspect.1 > 0).then_some(aspect)
}

/// The bytes of a line, without its end; none at the end of the stream.
fn line(source: &mut impl BufRead) -> Result<Option<Vec<u8>>, Problem> {
    let mut line = Vec::new();
    source
        .by_ref()
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(Some(line)),
        None => Ok(None),
        Some(_) => wrong("not a YUV4MPEG2 stream: a line does not end"),
    }
}

/// Reads the line before a frame; whether there is one.
///
/// # Errors
/// [`Problem::Format`] for any other line.
pub fn begins_frame(source: &mut impl BufRead) -> Result<bool, Problem> {
    let Some(line) = line(source)? else {
        return Ok(false);
    };
    match line.strip_prefix(FRAME) {
        Some([] | [b' ', ..]) => Ok(true),
        _ => wrong("the stream is damaged: expected a frame, found other bytes"),
    }
}

/// Writes the line before a frame.
///
/// # Errors
/// Those of `out`.
pub fn begin_frame(out: &mut impl Write) -> std::io::Result<()> {
    out.write_all(FRAME)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Header, Problem> {
        Header::read(&mut text.as_bytes())
    }

    #[test]
    fn headers_are_read_as_programs_write_them() {
        // FFmpeg's, at 8 and at 10 bits.
        let header = read(
            "YUV4MPEG2 W128 H64 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=FULL\n",
        );
        let header = header.unwrap();
        assert_eq!(header.size, [64, 128]);
        assert_eq!(header.rate.unwrap().to_string(), "30000/1001");
        assert_eq!(header.yuv.chroma, Chroma::MPEG2);
        assert_eq!(header.yuv.range, Range::Full);
        assert_eq!(header.yuv.matrix, Matrix::Bt601);
        let header = read("YUV4MPEG2 W1920 H1080 F24:1 It A10:11 C422p10 XYSCSS=422P10\n").unwrap();
        assert_eq!((header.yuv.chroma, header.yuv.bits), (Chroma::Half, 10));
        assert_eq!(header.yuv.matrix, Matrix::Bt709);
        assert!(header.is_interlaced);
        assert_eq!(header.pixel_aspect, Some((10, 11)));
        // mjpegtools' shortest.
        let header = read("YUV4MPEG2 W2 H2\n").unwrap();
        assert_eq!((header.yuv.chroma, header.yuv.bits), (Chroma::JPEG, 8));
        assert_eq!(header.rate, None);
    }

    #[test]
    fn headers_are_written_as_they_are_read() {
        for name in [
            "420jpeg", "420mpeg2", "420paldv", "422", "444", "mono", "420p10", "444p16", "mono12",
        ] {
            let (chroma, bits) = stored(name).unwrap();
            let header = Header {
                size: [6, 8],
                rate: Some(Rate::WAN),
                yuv: Yuv {
                    chroma,
                    bits,
                    matrix: Matrix::Bt709,
                    range: Range::Limited,
                },
                is_interlaced: false,
                pixel_aspect: None,
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes).unwrap();
            assert_eq!(Header::read(&mut &bytes[..]).unwrap(), header, "{name}");
        }
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for text in [
            "",
            "RIFF",
            "YUV4MPEG2",
            "YUV4MPEG2 W0 H2\n",
            "YUV4MPEG2 H2\n",
            "YUV4MPEG2 W2 H2 C411\n",
            "YUV4MPEG2 W2 H2 C420p7\n",
            "YUV4MPEG2 W2 H2 C420p17\n",
            "YUV4MPEG2 W2 H2 C444alpha\n",
            "YUV4MPEG2 W99999999999999999999999 H2\n",
        ] {
            assert!(matches!(read(text), Err(Problem::Format(_))), "{text}");
        }
        let long = format!("YUV4MPEG2 W2 H2 X{}\n", "x".repeat(2000));
        assert!(read(&long).is_err());
        assert!(begins_frame(&mut &b"FRAME\nabc"[..]).unwrap());
        assert!(begins_frame(&mut &b"FRAME Ip\nabc"[..]).unwrap());
        assert!(!begins_frame(&mut &b""[..]).unwrap());
        assert!(begins_frame(&mut &b"FRAMED\n"[..]).is_err());
    }
}
