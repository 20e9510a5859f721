//! Parameter sets and the heads of slices (ITU-T H.264, 7.3), as far as it must be known what they ask of the decoder.
//!
//! They are read here before OpenH264 sees them, so that sizes have limits and what it does not decode is named.

use super::bits::Bits;
use super::foreign;
use crate::video::stream::Colours;
use crate::video::yuv::{Matrix, Range};

/// Macroblocks of the largest frame: level 5.2, the greatest that OpenH264 decodes.
const MAX_BLOCKS: u64 = 36_864;
/// Reference frames that the standard allows.
const MAX_REFERENCES: u32 = 16;

/// A sequence parameter set of what is decoded: progressive frames in 4:2:0 of 8 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    id: u32,
    /// Baseline, which reorders nothing.
    pub is_baseline: bool,
    frame_number_bits: u32,
    /// Bits of the order of frames where it is told (type 0).
    order_bits: Option<u32>,
    /// Macroblocks of a frame.
    blocks: u32,
    /// Height and width, cropped.
    pub size: [usize; 2],
    /// Width and height of a pixel.
    pub pixel_aspect: Option<(u32, u32)>,
    /// The range, if it is told, and with it the rest.
    pub colours: Option<Colours>,
    /// Whether the colours tell more than the range.
    pub has_colours: bool,
}

const DAMAGED: &str = "its sequence parameter set is damaged";

impl Sequence {
    /// Reads a NAL unit of type 7; the error says what is wrong.
    pub fn read(nal: &[u8]) -> Result<Self, String> {
        let mut bits = Bits::of_nal(nal);
        let profile = bits.bits(8).ok_or(DAMAGED)?;
        bits.bits(16).ok_or(DAMAGED)?;
        let profile_name = match profile {
            66 | 77 | 100 => None,
            88 => Some("Extended"),
            110 => Some("High 10"),
            122 => Some("High 4:2:2"),
            244 | 44 => Some("High 4:4:4"),
            _ => Some("an unknown profile"),
        };
        if let Some(name) = profile_name {
            return Err(foreign(format!("H.264 of another profile ({name})")));
        }
        let id = bits.unsigned().filter(|&id| id < 32).ok_or(DAMAGED)?;
        if profile == 100 {
            sampling(&mut bits)?;
        }
        let field = |bits: &mut Bits, most: u32| bits.unsigned().filter(|&v| v <= most);
        let frame_number_bits = field(&mut bits, 12).ok_or(DAMAGED)? + 4;
        let order_bits = order(&mut bits).ok_or(DAMAGED)?;
        field(&mut bits, MAX_REFERENCES).ok_or(DAMAGED)?;
        bits.flag().ok_or(DAMAGED)?;
        let [width, height] = [(); 2].map(|()| field(&mut bits, 8191));
        let [width, height] = [width.ok_or(DAMAGED)? + 1, height.ok_or(DAMAGED)? + 1];
        if u64::from(width) * u64::from(height) > MAX_BLOCKS {
            let found = format!("frames of {}x{} pixels", 16 * width, 16 * height);
            return Err(foreign(format!("{found}, more than {}", 256 * MAX_BLOCKS)));
        }
        if !bits.flag().ok_or(DAMAGED)? {
            return Err(foreign("interlaced H.264"));
        }
        bits.flag().ok_or(DAMAGED)?;
        let size = cropped(&mut bits, [height, width]).ok_or(DAMAGED)?;
        let mut read = Self {
            id,
            is_baseline: profile == 66,
            frame_number_bits,
            order_bits,
            blocks: width * height,
            size,
            pixel_aspect: None,
            colours: None,
            has_colours: false,
        };
        if bits.flag().ok_or(DAMAGED)? {
            read.usability(&mut bits).ok_or(DAMAGED)?;
        }
        Ok(read)
    }

    /// The first part of the video usability information: pixels and colours.
    fn usability(&mut self, bits: &mut Bits) -> Option<()> {
        if bits.flag()? {
            self.pixel_aspect = match bits.bits(8)? {
                255 => Some((bits.bits(16)?, bits.bits(16)?)),
                index => ASPECTS.get(index as usize).copied(),
            };
        }
        if bits.flag()? {
            bits.flag()?;
        }
        if bits.flag()? {
            bits.bits(3)?;
            let range = match bits.flag()? {
                true => Range::Full,
                false => Range::Limited,
            };
            let mut codes = None;
            if bits.flag()? {
                codes = Some([bits.bits(8)?, bits.bits(8)?, bits.bits(8)?]);
            }
            self.has_colours = codes.is_some();
            self.colours = Some(colours(codes.unwrap_or([2; 3]), range));
        }
        Some(())
    }
}

/// Shapes of pixels by number (table E-1).
const ASPECTS: [(u32, u32); 17] = [
    (1, 1),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Colours by the numbers of primaries, transfer and matrix (ITU-T H.273), which boxes of MP4 have too.
pub(super) fn colours([primaries, transfer, matrix]: [u32; 3], range: Range) -> Colours {
    Colours {
        matrix: match matrix {
            1 => Some(Matrix::Bt709),
            4..=6 => Some(Matrix::Bt601),
            9 | 10 => Some(Matrix::Bt2020),
            _ => None,
        },
        range,
        transfer: match transfer {
            16 => "smpte2084",
            18 => "arib-std-b67",
            _ => "",
        }
        .into(),
        primaries: if primaries == 9 { "bt2020" } else { "" }.into(),
    }
}

/// What profile High tells of samples: nothing but 4:2:0 of 8 bits passes.
fn sampling(bits: &mut Bits) -> Result<(), String> {
    let chroma = bits.unsigned().ok_or(DAMAGED)?;
    if chroma != 1 {
        return Err(foreign("H.264 that is not in 4:2:0"));
    }
    let depths = [(); 2].map(|()| bits.unsigned());
    if depths != [Some(0); 2] {
        return Err(foreign("H.264 of more than 8 bits"));
    }
    if bits.flag().ok_or(DAMAGED)? {
        return Err(foreign("lossless H.264"));
    }
    if bits.flag().ok_or(DAMAGED)? {
        for list in 0..8 {
            if bits.flag().ok_or(DAMAGED)? {
                let length = if list < 6 { 16 } else { 64 };
                scaling_list(bits, length).ok_or(DAMAGED)?;
            }
        }
    }
    Ok(())
}

fn scaling_list(bits: &mut Bits, length: usize) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..length {
        if next != 0 {
            next = (last + bits.signed()? + 256).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// How the order of frames is told: its bits in type 0.
fn order(bits: &mut Bits) -> Option<Option<u32>> {
    match bits.unsigned()? {
        0 => Some(Some(bits.unsigned().filter(|&v| v <= 12)? + 4)),
        1 => {
            bits.flag()?;
            bits.signed()?;
            bits.signed()?;
            for _ in 0..bits.unsigned().filter(|&v| v <= 255)? {
                bits.signed()?;
            }
            Some(None)
        }
        2 => Some(None),
        _ => None,
    }
}

/// Height and width in pixels, of sizes in macroblocks.
fn cropped(bits: &mut Bits, [height, width]: [u32; 2]) -> Option<[usize; 2]> {
    let mut size = [16 * height, 16 * width];
    if bits.flag()? {
        let [left, right, top, bottom] = [(); 4].map(|()| bits.unsigned());
        // Steps of two pixels, as colours have.
        let cut = |a: Option<u32>, b: Option<u32>| a?.checked_add(b?)?.checked_mul(2);
        size = [
            size[0].checked_sub(cut(top, bottom)?)?,
            size[1].checked_sub(cut(left, right)?)?,
        ];
    }
    (!size.contains(&0)).then_some(size.map(|side| side as usize))
}

/// A picture parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    id: u32,
    has_order_of_fields: bool,
}

impl Picture {
    /// Reads a NAL unit of type 8 for a sequence; the error says what is wrong.
    pub fn read(nal: &[u8], sequence: &Sequence) -> Result<Self, String> {
        const DAMAGED: &str = "its picture parameter set is damaged";
        let mut bits = Bits::of_nal(nal);
        let id = bits.unsigned().filter(|&id| id < 256).ok_or(DAMAGED)?;
        if bits.unsigned() != Some(sequence.id) {
            return Err("a picture parameter set of an unknown sequence".into());
        }
        bits.flag().ok_or(DAMAGED)?;
        let has_order_of_fields = bits.flag().ok_or(DAMAGED)?;
        if bits.unsigned().ok_or(DAMAGED)? != 0 {
            return Err(foreign("H.264 with slice groups"));
        }
        Ok(Self {
            id,
            has_order_of_fields,
        })
    }
}

/// The head of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Whether frames behind it need nothing before it.
    pub is_idr: bool,
    /// Whether it takes from two frames.
    pub is_b: bool,
    /// Whether others take from it.
    pub is_reference: bool,
    /// The low bits of its place in the order of frames, and what is added to it.
    pub order: Option<(u32, i64)>,
}

impl Slice {
    /// Reads the head of a NAL unit of type 1 or 5; `None` if it is damaged or of a kind that is not decoded.
    pub fn read(nal: &[u8], sequence: &Sequence, pictures: &[Picture]) -> Option<Self> {
        let head = *nal.first()?;
        let is_idr = head & 31 == 5;
        let mut bits = Bits::of_nal(nal);
        bits.unsigned().filter(|&first| first < sequence.blocks)?;
        let kind = bits.unsigned().filter(|&kind| kind < 10)? % 5;
        // Slices that switch streams.
        if kind > 2 {
            return None;
        }
        let id = bits.unsigned()?;
        let picture = pictures.iter().find(|picture| picture.id == id)?;
        bits.bits(sequence.frame_number_bits)?;
        if is_idr {
            bits.unsigned()?;
        }
        let order = match sequence.order_bits {
            Some(count) => {
                let low = bits.bits(count)?;
                let more = match picture.has_order_of_fields {
                    true => bits.signed()?,
                    false => 0,
                };
                Some((low, more))
            }
            None => None,
        };
        Some(Self {
            is_idr,
            is_b: kind == 1,
            is_reference: head & 0x60 != 0,
            order,
        })
    }
}

impl Sequence {
    /// One more than the low bits of the order of frames hold.
    pub fn order_modulus(&self) -> Option<i64> {
        self.order_bits.map(|bits| 1 << bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As x264 writes it for 98 rows of 130 pixels in BT.709, limited range: High, level 1.1.
    const HIGH: &[u8] = &[
        0x67, 0x64, 0x00, 0x0b, 0xac, 0xd9, 0x42, 0x47, 0xef, 0x01, 0x6a, 0x02, 0x02, 0x02, 0x80,
    ];

    #[test]
    fn damaged_sets_are_refused() {
        assert!(Sequence::read(&[]).is_err());
        assert!(
            Sequence::read(&[0x67, 110, 0, 30, 0xff])
                .unwrap_err()
                .contains("High 10")
        );
        for length in 1..8 {
            assert!(Sequence::read(&HIGH[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_set_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in 0usize..3) {
            let mut nal = vec![0x67, [66, 77, 100][kind]];
            nal.extend(&bytes);
            if let Ok(sequence) = Sequence::read(&nal) {
                let [h, w] = sequence.size;
                prop_assert!(h > 0 && w > 0 && h * w <= 256 * MAX_BLOCKS as usize);
                if let Ok(picture) = Picture::read(&bytes, &sequence) {
                    Slice::read(&bytes, &sequence, &[picture]);
                }
            }
        }
    }
}
