//! Metadata as each format stores it, and what of it each cannot store.

use super::exif::{Exif, MAKE, MODEL};
use super::{COMMENT, Metadata, PARAMETERS, list, png_text};
use crate::picture::PictureFormat;

/// XMP's keyword in PNG files.
pub(super) const XMP_KEYWORD: &str = "XML:com.adobe.xmp";

/// The parts to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Text chunks.
    pub text: Vec<(String, String)>,
    /// A block of EXIF, from its byte order on.
    pub exif: Option<Vec<u8>>,
    /// An XMP packet.
    pub xmp: Option<Vec<u8>>,
    /// A comment segment.
    pub comment: Option<String>,
    /// What is left out.
    pub left_out: Vec<String>,
}

/// Bytes of a JPEG's segment besides its length.
const SEGMENT: usize = u16::MAX as usize - 2;
const EXIF_HEAD: &[u8] = b"Exif\0\0";
const XMP_HEAD: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

impl Stored {
    /// Decides what a file of this format holds.
    pub fn new(format: PictureFormat, metadata: &Metadata) -> Self {
        let mut stored = match format {
            PictureFormat::Png => Self {
                text: metadata.text.clone(),
                exif: metadata.exif.clone(),
                xmp: metadata.xmp.clone(),
                ..Self::default()
            },
            PictureFormat::Webp => Self::in_exif(metadata, usize::MAX, false),
            PictureFormat::Jpeg => {
                let mut stored = Self::in_exif(metadata, SEGMENT - EXIF_HEAD.len(), true);
                let most = SEGMENT - XMP_HEAD.len();
                if stored.xmp.take_if(|xmp| xmp.len() > most).is_some() {
                    let why = format!("XMP, which takes more than the {most} bytes of a JPEG's");
                    stored.left_out.push(why);
                }
                stored
            }
            PictureFormat::Exr => Self {
                left_out: metadata.names(),
                ..Self::default()
            },
        };
        stored.left_out.extend(metadata.left_out.iter().cloned());
        stored
    }

    /// Texts that have a place in EXIF, as long as the block takes at most `most` bytes.
    fn in_exif(metadata: &Metadata, most: usize, has_comment: bool) -> Self {
        let mut stored = Self {
            xmp: metadata.xmp.clone(),
            ..Self::default()
        };
        let mut placed: Vec<(Place, &str, &str)> = Vec::new();
        for (keyword, text) in &metadata.text {
            match place(keyword) {
                Some(place) => placed.push((place, keyword, text)),
                None if has_comment && keyword == COMMENT && text.len() <= SEGMENT => {
                    stored.comment = Some(text.clone());
                }
                None => stored.left_out.push(format!("'{keyword}'")),
            }
        }
        let kept = metadata.exif.as_deref().and_then(Exif::parse);
        let kept = kept.unwrap_or_default();
        // The longest text goes first if there is no room for all.
        placed.sort_by_key(|(_, _, text)| text.len());
        loop {
            let mut exif = kept.clone();
            for (place, keyword, text) in &placed {
                place.put(&mut exif, keyword, text);
            }
            stored.exif = exif.to_bytes();
            if stored.exif.as_ref().is_none_or(|e| e.len() <= most) {
                return stored;
            }
            let name = placed.pop().map(|(_, keyword, _)| format!("'{keyword}'"));
            let is_last = name.is_none();
            let name = name.unwrap_or("EXIF".into());
            stored
                .left_out
                .push(format!("{name}, for which {most} bytes are not enough"));
            if is_last {
                stored.exif = None;
                return stored;
            }
        }
    }
}

impl Metadata {
    /// All parts in words.
    fn names(&self) -> Vec<String> {
        let texts = self.text.iter().map(|(keyword, _)| format!("'{keyword}'"));
        let exif = self.exif.as_ref().map(|_| "EXIF".to_owned());
        let xmp = self.xmp.as_ref().map(|_| "XMP".to_owned());
        texts.chain(exif).chain(xmp).collect()
    }

    /// A sentence on what a file of this format leaves out of the metadata, if anything.
    pub fn note_on(&self, format: PictureFormat) -> Option<String> {
        let left_out = Stored::new(format, self).left_out;
        (!left_out.is_empty()).then(|| format!("metadata left out: {}", list(&left_out)))
    }
}

/// Where EXIF holds a text.
#[derive(Clone, Copy)]
enum Place {
    /// In a text of the image's directory, behind its keyword.
    Named(u16),
    UserComment,
}

fn place(keyword: &str) -> Option<Place> {
    match keyword {
        "prompt" => Some(Place::Named(MODEL)),
        "workflow" => Some(Place::Named(MAKE)),
        PARAMETERS => Some(Place::UserComment),
        _ => None,
    }
}

impl Place {
    fn put(self, exif: &mut Exif, keyword: &str, text: &str) {
        match self {
            Self::Named(tag) => {
                exif.set_text(tag, Some(&format!("{keyword}:{}", png_text::plain(text))));
            }
            Self::UserComment => exif.set_user_comment(Some(text)),
        }
    }
}

/// The contents of a PNG's `iTXt` chunk with an XMP packet: not packed, of no language.
pub(crate) fn png_xmp(packet: &[u8]) -> Vec<u8> {
    [XMP_KEYWORD.as_bytes(), &[0; 5], packet].concat()
}

/// The segments of metadata, put into a JPEG behind its first segment.
pub(crate) fn add_to_jpeg(file: Vec<u8>, stored: &Stored) -> Vec<u8> {
    let exif = stored
        .exif
        .as_ref()
        .map(|block| segment(0xe1, &[EXIF_HEAD, block]));
    let xmp = stored
        .xmp
        .as_ref()
        .map(|packet| segment(0xe1, &[XMP_HEAD, packet]));
    let comment = stored
        .comment
        .as_ref()
        .map(|text| segment(0xfe, &[text.as_bytes()]));
    let added: Vec<u8> = [exif, xmp, comment]
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    // JFIF's segment comes first, if there is one.
    let at = match file.get(2..6) {
        Some(&[0xff, 0xe0, high, low]) => 4 + usize::from(u16::from_be_bytes([high, low])),
        _ => 2,
    };
    match file.split_at_checked(at) {
        Some((head, rest)) if !added.is_empty() => [head, &added, rest].concat(),
        _ => file,
    }
}

/// A segment of at most [`SEGMENT`] bytes.
fn segment(marker: u8, parts: &[&[u8]]) -> Vec<u8> {
    let data = parts.concat();
    let length = (data.len() + 2) as u16;
    [&[0xff, marker], &length.to_be_bytes()[..], &data].concat()
}
