//! EXIF: directories of tagged values, in the layout of TIFF (CIPA DC-008).
//!
//! Read are the directory of the image and those of the photo and of the place, without what is true
//! of the stored pixels only: their layout, size, orientation and thumbnail. Values are copied as
//! they are, in the byte order of the file. A camera's own notes hold addresses that cannot be moved,
//! and are left out.

use super::user_comment;
use crate::picture::limits::MAX_METADATA;

/// `Make`, where ComfyUI puts `workflow:` and its JSON.
pub(super) const MAKE: u16 = 0x010f;
/// `Model`, where ComfyUI puts `prompt:` and its JSON.
pub(super) const MODEL: u16 = 0x0110;
const PHOTO_DIRECTORY: u16 = 0x8769;
const PLACE_DIRECTORY: u16 = 0x8825;
const USER_COMMENT: u16 = 0x9286;
const MAKER_NOTE: u16 = 0x927c;
/// XMP in a TIFF file.
const XMP: u16 = 0x02bc;

const ASCII: u16 = 2;
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;

/// Byte order of the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }

    fn put16(self, out: &mut Vec<u8>, value: u16) {
        match self {
            Self::Little => out.extend(value.to_le_bytes()),
            Self::Big => out.extend(value.to_be_bytes()),
        }
    }

    fn put32(self, out: &mut Vec<u8>, value: u32) {
        match self {
            Self::Little => out.extend(value.to_le_bytes()),
            Self::Big => out.extend(value.to_be_bytes()),
        }
    }
}

/// A tagged value, or several of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    /// In the byte order of the file.
    value: Vec<u8>,
}

/// The values that stay true when an image is enlarged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exif {
    order: Order,
    image: Vec<Entry>,
    photo: Vec<Entry>,
    place: Vec<Entry>,
    /// XMP that lies inside, as in TIFF files.
    pub xmp: Option<Vec<u8>>,
    /// Whether a camera's own notes were left out.
    pub had_maker_note: bool,
    /// Whether values were left out that do not lie in the file.
    pub is_damaged: bool,
}

impl Exif {
    /// Reads a block that begins with its byte order, with or without the `Exif` of JPEG before it;
    /// `None` if it is damaged.
    pub fn parse(block: &[u8]) -> Option<Self> {
        let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        let order = match block.first_chunk()? {
            b"II*\0" => Order::Little,
            b"MM\0*" => Order::Big,
            _ => return None,
        };
        let mut reader = Reader {
            block,
            order,
            left: MAX_METADATA as usize,
            is_damaged: false,
        };
        let first = order.u32(block, 4)? as usize;
        let mut image = reader.directory(first)?;
        let mut inner = |tag: u16| -> Option<Vec<Entry>> {
            let at = image.iter().position(|entry| entry.tag == tag);
            let Some(pointer) = at.map(|at| image.swap_remove(at)) else {
                return Some(Vec::new());
            };
            reader.directory(order.u32(&pointer.value, 0)? as usize)
        };
        let mut photo = inner(PHOTO_DIRECTORY)?;
        let place = inner(PLACE_DIRECTORY)?;
        let xmp = image.iter().position(|entry| entry.tag == XMP);
        let xmp = xmp.map(|at| image.swap_remove(at).value);
        let had_maker_note = photo.iter().any(|entry| entry.tag == MAKER_NOTE);
        image.retain(|entry| !is_about_pixels(entry.tag));
        photo.retain(|entry| !is_about_pixels(entry.tag) && entry.tag != MAKER_NOTE);
        Some(Self {
            order,
            image,
            photo,
            place,
            xmp,
            had_maker_note,
            is_damaged: reader.is_damaged,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.image.is_empty() && self.photo.is_empty() && self.place.is_empty()
    }

    /// Takes out the texts of the image's directory that begin with a name and a colon, in upper or
    /// lower case.
    pub fn take_named(&mut self, name: &str) -> Option<String> {
        let named = |entry: &Entry| {
            let (key, text) = entry.value.split_at_checked(name.len())?;
            let text = text.strip_prefix(b":")?;
            let is_named = entry.kind == ASCII && key.eq_ignore_ascii_case(name.as_bytes());
            let text = text.split(|&byte| byte == 0).next()?;
            is_named.then(|| String::from_utf8_lossy(text).into_owned())
        };
        let found = self.image.iter().find_map(named)?;
        self.image.retain(|entry| named(entry).is_none());
        Some(found)
    }

    /// The text of the user's comment, if it is one.
    pub fn user_comment(&self) -> Option<String> {
        let entry = self.photo.iter().find(|entry| entry.tag == USER_COMMENT)?;
        user_comment::decode(&entry.value)
    }

    /// Sets the user's comment, or takes it out.
    pub fn set_user_comment(&mut self, text: Option<&str>) {
        self.photo.retain(|entry| entry.tag != USER_COMMENT);
        self.photo.extend(text.map(|text| {
            let value = user_comment::encode(text);
            Entry {
                tag: USER_COMMENT,
                kind: UNDEFINED,
                count: value.len() as u32,
                value,
            }
        }));
    }

    /// Sets a text of the image's directory, or takes it out.
    pub fn set_text(&mut self, tag: u16, text: Option<&str>) {
        self.image.retain(|entry| entry.tag != tag);
        self.image.extend(text.map(|text| {
            let value = [text.as_bytes(), b"\0"].concat();
            Entry {
                tag,
                kind: ASCII,
                count: value.len() as u32,
                value,
            }
        }));
    }

    /// The block, beginning with its byte order; `None` if there is nothing in it.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        const HEADER: usize = 8;
        let mut block = match self.order {
            Order::Little => b"II*\0".to_vec(),
            Order::Big => b"MM\0*".to_vec(),
        };
        self.order.put32(&mut block, HEADER as u32);
        let mut image = self.image.clone();
        // Each directory lies where the one before it ends; pointers do not change its length.
        let photo_at = HEADER + length(&image) + self.pointers() * ENTRY;
        let place_at = photo_at + directory_length(&self.photo);
        for (tag, at, inner) in [
            (PHOTO_DIRECTORY, photo_at, &self.photo),
            (PLACE_DIRECTORY, place_at, &self.place),
        ] {
            if !inner.is_empty() {
                let mut value = Vec::new();
                self.order.put32(&mut value, at as u32);
                image.push(Entry {
                    tag,
                    kind: LONG,
                    count: 1,
                    value,
                });
            }
        }
        for directory in [&image, &self.photo, &self.place] {
            write_directory(&mut block, directory, self.order);
        }
        Some(block)
    }

    /// Directories that the image's leads to.
    fn pointers(&self) -> usize {
        usize::from(!self.photo.is_empty()) + usize::from(!self.place.is_empty())
    }
}

/// Bytes of an entry; values of more than four lie behind the directory.
const ENTRY: usize = 12;
const INLINE: usize = 4;

/// Bytes of a directory with the values behind it.
fn length(entries: &[Entry]) -> usize {
    let behind = entries.iter().map(|entry| match entry.value.len() {
        ..=INLINE => 0,
        length => length.next_multiple_of(2),
    });
    2 + entries.len() * ENTRY + 4 + behind.sum::<usize>()
}

/// As [`length`]; an empty directory is not written.
fn directory_length(entries: &[Entry]) -> usize {
    match entries.is_empty() {
        true => 0,
        false => length(entries),
    }
}

fn write_directory(block: &mut Vec<u8>, entries: &[Entry], order: Order) {
    if entries.is_empty() {
        return;
    }
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.tag);
    let mut behind = block.len() + 2 + entries.len() * ENTRY + 4;
    order.put16(block, entries.len() as u16);
    for entry in &sorted {
        order.put16(block, entry.tag);
        order.put16(block, entry.kind);
        order.put32(block, entry.count);
        if entry.value.len() <= INLINE {
            block.extend(&entry.value);
            block.resize(block.len() + INLINE - entry.value.len(), 0);
        } else {
            order.put32(block, behind as u32);
            behind += entry.value.len().next_multiple_of(2);
        }
    }
    order.put32(block, 0);
    for entry in sorted {
        if entry.value.len() > INLINE {
            block.extend(&entry.value);
            block.resize(block.len().next_multiple_of(2), 0);
        }
    }
}

/// Reads directories, and no more bytes of values than are left.
struct Reader<'a> {
    block: &'a [u8],
    order: Order,
    left: usize,
    is_damaged: bool,
}

impl Reader<'_> {
    /// The entries of the directory at `at`; those that are damaged or of an unknown type are left
    /// out.
    fn directory(&mut self, at: usize) -> Option<Vec<Entry>> {
        let count = usize::from(self.order.u16(self.block, at)?);
        let entries = (0..count).map(|i| self.entry(at + 2 + i * ENTRY));
        Some(entries.flatten().collect())
    }

    fn entry(&mut self, at: usize) -> Option<Entry> {
        let (block, order) = (self.block, self.order);
        let Some(head) = block.get(at..at + ENTRY) else {
            self.is_damaged = true;
            return None;
        };
        let (tag, kind) = (order.u16(head, 0)?, order.u16(head, 2)?);
        let count = order.u32(head, 4)?;
        let each = match kind {
            1 | ASCII | 6 | UNDEFINED => 1,
            3 | 8 => 2,
            LONG | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        // The pixels of a TIFF file are as large as it is, and none of them is kept.
        if is_about_pixels(tag) {
            return None;
        }
        let length = usize::try_from(count).ok()?.checked_mul(each)?;
        let start = match length {
            0 => return None,
            1..=INLINE => at + 8,
            _ => order.u32(block, at + 8)? as usize,
        };
        let value = start
            .checked_add(length)
            .and_then(|end| block.get(start..end));
        self.is_damaged |= value.is_none();
        let value = value?;
        self.left = self.left.checked_sub(length)?;
        Some(Entry {
            tag,
            kind,
            count,
            value: value.to_vec(),
        })
    }
}

/// Whether a tag tells how the pixels are stored, which an image of another size, upright and in
/// sRGB, stores in another way.
fn is_about_pixels(tag: u16) -> bool {
    matches!(
        tag,
        // Size, bits, compression, kind of colours, threshold, cells and fill order.
        0x00fe..=0x010a
        // Strips; orientation, samples and rows of strips.
        | 0x0111 | 0x0112 | 0x0115..=0x0119
        // Planes, and curves of grey values.
        | 0x011c | 0x0120..=0x0125 | 0x012d
        // Predictor, white point, colours, tiles, inner directories, inks.
        | 0x013d..=0x0159
        // Tables of JPEG, thumbnails.
        | 0x015b | 0x0200..=0x0209
        // YCbCr.
        | 0x0211..=0x0214
        // Profile of colours; image resources and layers of Photoshop.
        | 0x8773 | 0x8649 | 0x935c
        // Compressed bits, colour space, width and height, directory of compatibility.
        | 0x9102 | 0xa001..=0xa003 | 0xa005
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        for order in [Order::Little, Order::Big] {
            let mut exif = Exif {
                order,
                ..Exif::default()
            };
            exif.set_text(MODEL, Some("prompt:{\"a\": 1}"));
            exif.set_text(0x0131, Some("x"));
            exif.set_user_comment(Some("Steps: 20, é"));
            exif.place.push(Entry {
                tag: 1,
                kind: ASCII,
                count: 2,
                value: b"N\0".to_vec(),
            });
            let mut back = Exif::parse(&exif.to_bytes().unwrap()).unwrap();
            back.image.sort_by_key(|entry| entry.tag);
            exif.image.sort_by_key(|entry| entry.tag);
            assert_eq!(back, exif);
            assert_eq!(back.user_comment().unwrap(), "Steps: 20, é");
            assert_eq!(back.take_named("Prompt").unwrap(), "{\"a\": 1}");
            assert_eq!(back.take_named("prompt"), None);
        }
        assert_eq!(Exif::default().to_bytes(), None);
    }

    #[test]
    fn what_is_about_pixels_is_left_out() {
        let mut exif = Exif::default();
        for tag in [0x0112, 0x0100, MAKE] {
            exif.set_text(tag, Some("a camera"));
        }
        let back = Exif::parse(&exif.to_bytes().unwrap()).unwrap();
        assert_eq!(back.image.len(), 1);
        assert_eq!(back.image[0].tag, MAKE);
    }

    proptest! {
        #[test]
        fn rubbish_is_read_without_harm(mut block in prop::collection::vec(any::<u8>(), 8..300)) {
            block[..4].copy_from_slice(b"II*\0");
            if let Some(exif) = Exif::parse(&block) {
                // Values are copied for each entry, and an entry takes 12 bytes.
                prop_assert!(exif.to_bytes().is_none_or(|b| b.len() <= 8 + 3 * 300 * 25 * 2));
            }
        }
    }
}
