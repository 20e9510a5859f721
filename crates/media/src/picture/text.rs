//! ComfyUI's `prompt` and `workflow` in the text chunks of PNG files.
//!
//! ComfyUI writes ASCII JSON through Pillow, hence `tEXt`. Its frontend reads every text as UTF-8;
//! older versions do not parse the header of an `iTXt` chunk
//! (<https://github.com/Comfy-Org/ComfyUI_frontend/blob/072a6c245aa78bf276548c5673938af4bbf9867d/src/scripts/metadata/png.ts>).
//! So JSON is written as ComfyUI writes it, with everything beyond ASCII escaped, which every
//! reader understands; other text beyond ASCII goes into `iTXt`. Only chunks before the pixels are
//! read, which is where Pillow puts them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{BufRead, Seek, Write};

use png::text_metadata::{ITXtChunk, TEXtChunk, ZTXtChunk};

use super::limits::MAX_METADATA;

/// The texts that ComfyUI puts into images and latents.
pub const COMFY_TEXTS: [&str; 2] = ["prompt", "workflow"];

/// ComfyUI's keywords and texts in a PNG file, each at most once, and a sentence if one is left out;
/// empty if there are none, and for other files.
pub(super) fn read(file: impl BufRead + Seek) -> (Vec<(String, String)>, Option<String>) {
    let limits = png::Limits {
        bytes: MAX_METADATA as usize,
    };
    let mut decoder = png::Decoder::new_with_limits(file, limits);
    decoder.set_ignore_iccp_chunk(true);
    let Ok(reader) = decoder.read_info() else {
        return Default::default();
    };
    let info = reader.info();
    let plain = info.uncompressed_latin1_text.iter();
    let zipped = info.compressed_latin1_text.iter();
    let unicode = info.utf8_text.iter();
    let chunks = plain
        .map(|chunk| (&chunk.keyword, Chunk::Plain(chunk)))
        .chain(zipped.map(|chunk| (&chunk.keyword, Chunk::Zipped(chunk))))
        .chain(unicode.map(|chunk| (&chunk.keyword, Chunk::Unicode(chunk))));
    let (mut seen, mut found, mut note) = (Vec::new(), Vec::new(), None);
    for (keyword, chunk) in chunks {
        if !COMFY_TEXTS.contains(&keyword.as_str()) || seen.contains(&keyword) {
            continue;
        }
        seen.push(keyword);
        match chunk.text() {
            Ok(text) if text.is_empty() => {}
            Ok(text) => found.push((keyword.clone(), text)),
            Err(_) => {
                let most = MAX_METADATA;
                note = Some(format!(
                    "its text '{keyword}' is left out: it is damaged or takes more than {most} bytes"
                ));
            }
        }
    }
    (found, note)
}

/// A text chunk of a PNG file.
enum Chunk<'a> {
    Plain(&'a TEXtChunk),
    Zipped(&'a ZTXtChunk),
    Unicode(&'a ITXtChunk),
}

impl Chunk<'_> {
    fn text(self) -> Result<String, png::DecodingError> {
        let most = MAX_METADATA as usize;
        match self {
            Self::Plain(chunk) => Ok(chunk.text.clone()),
            Self::Zipped(chunk) => {
                let mut chunk = chunk.clone();
                chunk.decompress_text_with_limit(most)?;
                Ok(chunk.get_text()?)
            }
            Self::Unicode(chunk) => {
                let mut chunk = chunk.clone();
                chunk.decompress_text_with_limit(most)?;
                Ok(chunk.get_text()?)
            }
        }
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
fn plain(text: &str) -> Cow<'_, str> {
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
    use std::io::Cursor;

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
        fn rubbish_has_no_text(file in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(Cursor::new(&file)).0.is_empty());
        }
    }

    #[test]
    fn every_kind_of_chunk_is_read_and_foreign_keywords_are_not() {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 1, 1);
        encoder
            .add_text_chunk("Software".into(), "other".into())
            .unwrap();
        encoder.add_ztxt_chunk("prompt".into(), "é".into()).unwrap();
        encoder
            .add_itxt_chunk("workflow".into(), "蛋".into())
            .unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[0]).unwrap();
        writer.finish().unwrap();
        assert_eq!(
            read(Cursor::new(&file)).0,
            [
                ("prompt".into(), "é".into()),
                ("workflow".into(), "蛋".into())
            ]
        );
    }

    #[test]
    fn a_text_that_unpacks_to_much_is_left_out_with_a_note() {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 1, 1);
        let long = "a".repeat(MAX_METADATA as usize + 1);
        encoder.add_ztxt_chunk("prompt".into(), long).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[0]).unwrap();
        writer.finish().unwrap();
        let (found, note) = read(Cursor::new(&file));
        assert!(found.is_empty());
        assert!(note.unwrap().contains("'prompt' is left out"));
    }
}
