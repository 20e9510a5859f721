//! Text chunks of PNG files, before the pixels or behind them.
//!
//! ComfyUI writes ASCII JSON through Pillow, hence `tEXt`. Its frontend reads every text as UTF-8;
//! older versions do not parse the header of an `iTXt` chunk
//! (<https://github.com/Comfy-Org/ComfyUI_frontend/blob/072a6c245aa78bf276548c5673938af4bbf9867d/src/scripts/metadata/png.ts>).
//! So JSON is written as ComfyUI writes it, with everything beyond ASCII escaped, which every
//! reader understands; other text beyond ASCII goes into `iTXt`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{Read, Write};

use flate2::read::ZlibDecoder;

/// Keyword and text of a chunk that takes at most `most` bytes when it is unpacked; `None` if it
/// takes more or is damaged.
pub(super) fn decode(name: [u8; 4], data: &[u8], most: usize) -> Option<(String, String)> {
    let (keyword, rest) = split_at_zero(data)?;
    let text = match &name {
        b"tEXt" => latin1(rest),
        b"zTXt" => latin1(&unpack(rest.strip_prefix(&[0])?, most)?),
        b"iTXt" => {
            let ([is_packed, method], rest) = rest.split_first_chunk()?;
            let (_language, rest) = split_at_zero(rest)?;
            let (_translated, text) = split_at_zero(rest)?;
            let text = match (is_packed, method) {
                (0, _) => text.to_vec(),
                (1, 0) => unpack(text, most)?,
                _ => return None,
            };
            String::from_utf8(text).ok()?
        }
        _ => return None,
    };
    let is_valid = (1..80).contains(&keyword.len()) && keyword.iter().all(|&b| is_printable(b));
    // No text of a PNG holds a zero.
    (is_valid && text.len() <= most).then(|| (latin1(keyword), text.replace('\0', "")))
}

/// Whether a byte stands for a character of Latin-1 that may be in a keyword.
fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e | 0xa1..)
}

fn split_at_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

fn unpack(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let limit = most as u64 + 1;
    ZlibDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut text)
        .ok()?;
    (text.len() <= most).then_some(text)
}

/// Latin-1, as the format has it, unless it is UTF-8, as many programs write it.
pub(super) fn latin1(text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => text.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Adds a text chunk.
///
/// # Errors
/// If the keyword is not valid in PNG: 1 to 79 characters of Latin-1.
pub(crate) fn add<W: Write>(
    encoder: &mut png::Encoder<'_, W>,
    keyword: &str,
    text: &str,
) -> Result<(), png::EncodingError> {
    let text = plain(text);
    match text.is_ascii() {
        true => encoder.add_text_chunk(keyword.into(), text.into_owned()),
        false => encoder.add_itxt_chunk(keyword.into(), text.into_owned()),
    }
}

/// JSON without characters beyond ASCII, which only occur in its strings; any other text as it is.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || serde_json::from_str::<serde_json::Value>(text).is_err() {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + text.len() / 4);
    for c in text.chars() {
        match c.is_ascii() {
            true => escaped.push(c),
            // Writing to a string does not fail.
            false => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| _ = write!(escaped, "\\u{unit:04x}")),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_escaped_as_python_does() {
        assert_eq!(
            plain(r#"{"a": "蛋糕 é 🍰"}"#),
            r#"{"a": "\u86cb\u7cd5 \u00e9 \ud83c\udf70"}"#
        );
        assert_eq!(plain("Größe"), "Größe");
        assert_eq!(plain(r#"{"a": 1}"#), r#"{"a": 1}"#);
    }

    proptest! {
        #[test]
        fn escaped_json_means_the_same(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let escaped = plain(&json);
            prop_assert!(escaped.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }

        #[test]
        fn what_is_read_can_be_written(data in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some((keyword, text)) = decode(*b"tEXt", &data, 1000) {
                let mut file = Vec::new();
                let mut encoder = png::Encoder::new(&mut file, 1, 1);
                add(&mut encoder, &keyword, &text).unwrap();
                encoder.write_header().unwrap();
            }
        }
    }

    #[test]
    fn every_kind_of_chunk_is_read() {
        let packed = |text: &[u8]| {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let read = |name: &[u8; 4], data: &[u8]| decode(*name, data, 100);
        let pair = |text: &str| Some(("k".to_owned(), text.to_owned()));
        assert_eq!(read(b"tEXt", b"k\0\xe9"), pair("é"));
        assert_eq!(read(b"tEXt", "k\0蛋".as_bytes()), pair("蛋"));
        let zipped = [&b"k\0\0"[..], &packed(b"\xe9")].concat();
        assert_eq!(read(b"zTXt", &zipped), pair("é"));
        assert_eq!(read(b"iTXt", "k\0\0\0de\0wort\0蛋".as_bytes()), pair("蛋"));
        let zipped = [&b"k\0\x01\0\0\0"[..], &packed("蛋".as_bytes())].concat();
        assert_eq!(read(b"iTXt", &zipped), pair("蛋"));
        let long = [&b"k\0\0"[..], &packed(&[b'a'; 101])].concat();
        assert_eq!(read(b"zTXt", &long), None);
        assert_eq!(read(b"zTXt", b"k\0\0junk"), None);
        assert_eq!(read(b"tEXt", b"\0text"), None);
        assert_eq!(read(b"tEXt", b"no keyword"), None);
    }
}
