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

/// The texts that ComfyUI puts into images and latents.
pub const COMFY_TEXTS: [&str; 2] = ["prompt", "workflow"];

/// Most bytes that a compressed text may become.
const MAX_TEXT: usize = 1 << 26;

/// ComfyUI's keywords and texts in a PNG file; empty if there are none, and for other files.
pub(super) fn read(file: impl BufRead + Seek) -> Vec<(String, String)> {
    let Ok(reader) = png::Decoder::new(file).read_info() else {
        return Vec::new();
    };
    let info = reader.info();
    let mut found: Vec<(String, String)> = Vec::new();
    found.extend(
        info.uncompressed_latin1_text
            .iter()
            .map(|t| (t.keyword.clone(), t.text.clone())),
    );
    for chunk in &info.compressed_latin1_text {
        let mut chunk = chunk.clone();
        let text = chunk
            .decompress_text_with_limit(MAX_TEXT)
            .and_then(|()| chunk.get_text());
        found.extend(text.ok().map(|text| (chunk.keyword.clone(), text)));
    }
    for chunk in &info.utf8_text {
        let mut chunk = chunk.clone();
        let text = chunk
            .decompress_text_with_limit(MAX_TEXT)
            .and_then(|()| chunk.get_text());
        found.extend(text.ok().map(|text| (chunk.keyword.clone(), text)));
    }
    found.retain(|(keyword, text)| COMFY_TEXTS.contains(&keyword.as_str()) && !text.is_empty());
    found
}

/// Adds a text chunk.
///
/// # Errors
/// If the keyword is not valid in PNG: 1 to 79 characters of Latin-1.
pub(super) fn add<W: Write>(
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
            prop_assert!(read(Cursor::new(&file)).is_empty());
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
            read(Cursor::new(&file)),
            [
                ("prompt".into(), "é".into()),
                ("workflow".into(), "蛋".into())
            ]
        );
    }
}
