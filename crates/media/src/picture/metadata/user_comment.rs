//! EXIF's `UserComment`, where makers of images put their parameters in JPEG and WebP: eight bytes
//! that name an encoding, then text.

/// UTF-16.
const UNICODE: &[u8] = b"UNICODE\0";

/// The text of a comment; `None` if its encoding is not known.
pub(super) fn decode(value: &[u8]) -> Option<String> {
    let text = match value.split_at_checked(UNICODE.len()) {
        Some((UNICODE, text)) => utf16(text)?,
        Some((b"ASCII\0\0\0" | b"\0\0\0\0\0\0\0\0", text)) => utf8(text)?,
        Some((b"JIS\0\0\0\0\0", _)) => return None,
        // Written without the name of an encoding.
        _ => utf8(value)?,
    };
    Some(text.trim_end_matches(['\0', ' ']).to_owned())
}

/// A comment as A1111's web UI writes it, whatever the byte order of the other values.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_be_bytes);
    UNICODE.iter().copied().chain(units).collect()
}

fn utf8(text: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

/// UTF-16 of either byte order: the standard takes that of the file, most programs take big-endian.
/// Texts have spaces and digits, whose upper bytes are zero.
fn utf16(text: &[u8]) -> Option<String> {
    let (pairs, _) = text.as_chunks::<2>();
    let zeros = |i: usize| pairs.iter().filter(|pair| pair[i] == 0).count();
    let is_little = match pairs.first() {
        Some([0xff, 0xfe]) => true,
        Some([0xfe, 0xff]) => false,
        _ => zeros(1) > zeros(0),
    };
    let units: Vec<u16> = pairs
        .iter()
        .map(|&pair| match is_little {
            true => u16::from_le_bytes(pair),
            false => u16::from_be_bytes(pair),
        })
        .collect();
    let text = String::from_utf16(&units).ok()?;
    Some(text.trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_is_read() {
        let text = "a cat, 猫 🐈\nSteps: 20";
        assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&[UNICODE, &little].concat()).as_deref(), Some(text));
        let marked = [UNICODE, b"\xff\xfe", &little].concat();
        assert_eq!(decode(&marked).as_deref(), Some(text));
        assert_eq!(
            decode(b"ASCII\0\0\0Steps: 20\0").as_deref(),
            Some("Steps: 20")
        );
        assert_eq!(decode(b"\0\0\0\0\0\0\0\0Steps").as_deref(), Some("Steps"));
        assert_eq!(decode(b"plain text").as_deref(), Some("plain text"));
        assert_eq!(decode(b"JIS\0\0\0\0\0\x1b$B"), None);
        assert_eq!(decode(b"").as_deref(), Some(""));
    }
}
